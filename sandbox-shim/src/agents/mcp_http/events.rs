//! Server-sent events, taken from a stream piece by piece: <https://html.spec.whatwg.org/multipage/server-sent-events.html>.

/// An event longer than this is not passed on: it could not be read.
const EVENT_BYTES_MAX: usize = 16 << 20;

/// One event, or a blank line between two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    /// As it came, with the blank line that ends it.
    pub(super) raw: Vec<u8>,
    /// Its type, where it names one.
    pub(super) name: Option<String>,
    /// Its data, where it has any.
    pub(super) data: Option<String>,
}

/// An event that does not end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLong;

/// What has come of an event that is not whole yet.
#[derive(Debug, Default)]
pub(super) struct Events {
    buffer: Vec<u8>,
    /// Where the last line begins.
    line: usize,
    /// Up to where the last line is known to have no end.
    seen: usize,
}

impl Events {
    /// Takes a piece of the stream; gives the events that it ends.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<Vec<Event>, TooLong> {
        self.buffer.extend_from_slice(piece);
        let mut events = Vec::new();
        loop {
            let Some(found) = self.buffer[self.seen..].iter().position(|b| matches!(b, b'\n' | b'\r')) else {
                self.seen = self.buffer.len();
                break;
            };
            let end = self.seen + found;
            let next = match (self.buffer[end], self.buffer.get(end + 1)) {
                (b'\r', None) => {
                    // A line feed may follow, and belongs to it.
                    self.seen = end;
                    break;
                }
                (b'\r', Some(b'\n')) => end + 2,
                _ => end + 1,
            };
            if end == self.line {
                events.push(Event::read(self.buffer.drain(..next).collect()));
                (self.line, self.seen) = (0, 0);
            } else {
                (self.line, self.seen) = (next, next);
            }
        }
        if self.buffer.len() > EVENT_BYTES_MAX { Err(TooLong) } else { Ok(events) }
    }

    /// What is left when the stream has ended; readers pass over an event without its end.
    pub(super) fn rest(self) -> Vec<u8> {
        self.buffer
    }
}

impl Event {
    fn read(raw: Vec<u8>) -> Self {
        let (mut name, mut data) = (None, None::<String>);
        for (field, value) in fields(&raw) {
            match field {
                "event" => name = Some(value.to_owned()),
                "data" => {
                    data = Some(match data {
                        Some(before) => before + "\n" + value,
                        None => value.to_owned(),
                    });
                }
                _ => {}
            }
        }
        Self { raw, name, data }
    }

    /// The same event with other data, which must be of one line.
    pub(super) fn with_data(&self, data: &str) -> Vec<u8> {
        let mut text = String::new();
        for (field, value) in fields(&self.raw).filter(|(field, _)| *field != "data") {
            text += &format!("{field}: {value}\n");
        }
        text += &format!("data: {data}\n\n");
        text.into_bytes()
    }
}

/// The fields of an event; what is not UTF-8 is none.
fn fields(raw: &[u8]) -> impl Iterator<Item = (&str, &str)> {
    let raw = raw.strip_prefix(b"\xef\xbb\xbf").unwrap_or(raw);
    let lines = raw.split(|b| matches!(b, b'\n' | b'\r')).filter(|line| !line.is_empty());
    lines.filter_map(|line| std::str::from_utf8(line).ok()).filter_map(|line| {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        // A line that begins with a colon is a comment.
        (!field.is_empty()).then(|| (field, value.strip_prefix(' ').unwrap_or(value)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] =
        b": hello\r\n\r\nid: 7\nevent: message\ndata: {\"a\":\ndata: 1}\nretry: 5\n\ndata:x\r\rid\n\ndata: left";

    #[test]
    fn events_are_the_same_however_the_stream_is_cut() {
        let mut whole = Events::default();
        let expected = whole.push(STREAM).unwrap();
        let told: Vec<_> = expected.iter().map(|e| (e.name.as_deref(), e.data.as_deref())).collect();
        assert_eq!(told, [(None, None), (Some("message"), Some("{\"a\":\n1}")), (None, Some("x")), (None, None)]);
        assert_eq!(whole.rest(), b"data: left");
        for size in 1..STREAM.len() {
            let mut events = Events::default();
            let found: Vec<_> = STREAM.chunks(size).flat_map(|piece| events.push(piece).unwrap()).collect();
            let passed: Vec<u8> = found.iter().flat_map(|e| e.raw.clone()).chain(events.rest()).collect();
            assert_eq!(passed, STREAM, "pieces of {size}");
            assert_eq!(found, expected, "pieces of {size}");
        }
    }

    #[test]
    fn other_data_leaves_the_rest_of_an_event_as_it_is() {
        let event = Events::default().push(STREAM).unwrap().remove(1);
        assert_eq!(event.with_data("{}"), b"id: 7\nevent: message\nretry: 5\ndata: {}\n\n");
    }

    #[test]
    fn an_event_without_an_end_is_given_up() {
        let mut events = Events::default();
        let piece = vec![b'x'; EVENT_BYTES_MAX];
        assert_eq!(events.push(&piece), Ok(Vec::new()));
        assert_eq!(events.push(b"x"), Err(TooLong));
    }
}
