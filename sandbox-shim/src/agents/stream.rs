//! Listens to what an agent reads and writes on its standard streams, while passing it on unchanged: only the answer to a tool call during
//! which something was refused is told why.

use super::ear::Ear;
use super::refusals::Refusals;
use super::{Adapter, Channel};
use crate::contract::RecordError;
use crate::lock::lock;
use serde_json::Value;
use std::io::{self, Read, Write};
use std::sync::{Mutex, Weak};

/// A line longer than this is passed on and counted as lost.
const LINE_BYTES_MAX: usize = 16 << 20;

/// Which of the agent's streams this is, and so what comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The agent's output, for a person or a program that reads along. Passing on comes first: the user's stream never waits for a
    /// record. When it cannot be passed on, listening goes on: a closed pipe of the user's is no reason to be deaf.
    Output,
    /// The agent's half of a dialogue with another program. Each line is recorded, then passed on: who waits for an answer waits for
    /// the record as well.
    Answers,
    /// The other half: what the program asks of the agent, recorded before the agent reads it.
    Questions,
}

/// Where lines are heard.
#[derive(Clone, Copy)]
pub struct Listener<'a> {
    /// Which stream this is.
    pub way: Way,
    /// Translates a line.
    pub adapter: &'a Mutex<Box<dyn Adapter>>,
    /// Records what it says, as long as the session lasts: input may come when nobody is left to hear it.
    pub ear: &'a Weak<Ear>,
    /// What was refused during the calls that have not returned yet.
    pub refusals: &'a Refusals,
}

/// Copies `from` to `to` until it ends, and hands each whole line of JSON to the adapter.
///
/// # Errors
/// [`RecordError`] when something that was said could not be recorded: the agent must stop. That line has not been passed on,
/// unless this is [`Way::Output`].
pub fn listen(mut from: impl Read, mut to: impl Write, listener: Listener<'_>) -> Result<(), RecordError> {
    let mut buffer = vec![0; 64 << 10];
    let mut line = Vec::new();
    let mut is_too_long = false;
    let mut passes_on = true;
    let mut pass = |bytes: &[u8]| passes_on = passes_on && to.write_all(bytes).and_then(|()| to.flush()).is_ok();
    let passes_first = listener.way == Way::Output;
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => {
                listener.lost(format!("a stream of the agent's cannot be read: {e}"))?;
                break;
            }
        };
        let mut rest = &buffer[..read];
        if passes_first {
            pass(rest);
        }
        while let Some(end) = rest.iter().position(|b| *b == b'\n') {
            line.extend_from_slice(&rest[..=end]);
            rest = &rest[end + 1..];
            let instead = listener.hear_line(&line, is_too_long)?;
            if !passes_first {
                pass(instead.as_deref().unwrap_or(&line));
            }
            line.clear();
            is_too_long = false;
        }
        line.extend_from_slice(rest);
        if line.len() > LINE_BYTES_MAX {
            is_too_long = true;
            if !passes_first {
                pass(&line);
            }
            line.clear();
        }
    }
    if !line.is_empty() || is_too_long {
        let instead = listener.hear_line(&line, is_too_long)?;
        if !passes_first {
            pass(instead.as_deref().unwrap_or(&line));
        }
    }
    listener.end()
}

impl std::fmt::Debug for Listener<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener").field("way", &self.way).finish_non_exhaustive()
    }
}

impl Listener<'_> {
    const fn channel(&self) -> Channel {
        match self.way {
            Way::Output => Channel::Stream,
            Way::Answers | Way::Questions => Channel::Proxy,
        }
    }

    /// Records what a line says; gives the line that is to be passed on in its place.
    fn hear_line(&self, line: &[u8], is_too_long: bool) -> Result<Option<Vec<u8>>, RecordError> {
        if is_too_long {
            return self.lost(format!("a line of more than {LINE_BYTES_MAX} bytes")).map(|()| None);
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(None);
        }
        match serde_json::from_slice::<Value>(line) {
            Ok(value) => {
                let mut adapter = lock(self.adapter);
                let said = match self.way {
                    Way::Output | Way::Answers => adapter.stream_line(&value),
                    Way::Questions => adapter.question_line(&value),
                };
                let instead = match self.way {
                    Way::Answers => adapter.explain(&value, &said, self.refusals),
                    Way::Output | Way::Questions => None,
                };
                // Under the adapter's lock, so that both halves of a dialogue are recorded in the order in which they were translated.
                self.ear.upgrade().map_or(Ok(()), |ear| ear.hear(said, self.channel()))?;
                Ok(instead.map(|line| format!("{line}\n").into_bytes()))
            }
            // Agents mix plain warnings into their streams; those are not evidence. A dialogue has no place for them.
            Err(_) if self.way == Way::Output && !line.starts_with(b"{") => Ok(None),
            Err(error) => self.lost(format!("a line of {} bytes that is not JSON: {error}", line.len())).map(|()| None),
        }
    }

    fn lost(&self, reason: String) -> Result<(), RecordError> {
        self.ear.upgrade().map_or(Ok(()), |ear| ear.lost(self.channel(), reason))
    }

    /// The stream has ended: what was waiting for more is said now.
    fn end(&self) -> Result<(), RecordError> {
        if self.way == Way::Questions {
            return Ok(());
        }
        let mut adapter = lock(self.adapter);
        let said = adapter.stream_end();
        match self.ear.upgrade() {
            Some(ear) if !said.is_empty() => ear.hear(said, self.channel()),
            Some(_) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agents::ear::tests::{Kept, ear_for};
    use std::sync::Arc;
    use wk_schemas::Body;

    /// Hands out its bytes in pieces of seven.
    struct Pieces<'a>(&'a [u8]);

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let piece = self.0.len().min(7);
            buffer[..piece].copy_from_slice(&self.0[..piece]);
            self.0 = &self.0[piece..];
            Ok(piece)
        }
    }

    /// Remembers how many records there were at each write.
    struct Watching(Arc<Kept>, Vec<u8>, Vec<usize>);

    impl Write for Watching {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1.extend_from_slice(bytes);
            self.2.push(self.0.events().len());
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","arguments":{}}}"#;

    fn pass(way: Way, bytes: &[u8]) -> (Vec<u8>, Vec<usize>, Vec<Body>) {
        let refusals = Refusals::default();
        let kept = Arc::new(Kept::default());
        let ear = Arc::new(ear_for(&kept));
        let weak = Arc::downgrade(&ear);
        let adapter = Mutex::new(crate::agents::adapter("mcp").unwrap());
        let mut to = Watching(Arc::clone(&kept), Vec::new(), Vec::new());
        listen(Pieces(bytes), &mut to, Listener { way, adapter: &adapter, ear: &weak, refusals: &refusals }).unwrap();
        (to.1, to.2, kept.events().into_iter().map(|e| e.body).collect())
    }

    #[test]
    fn every_byte_is_passed_on_whatever_it_says() {
        let garbage: &[&[u8]] =
            &[b"", b"\n\n", b"{", b"{\"a\":\n{}\nxx", b"\xff\xfe\n\x00\n", CALL.as_bytes(), b"[1]\r\nnull\r\n"];
        for way in [Way::Output, Way::Answers, Way::Questions] {
            for bytes in garbage {
                assert_eq!(pass(way, bytes).0, *bytes, "{way:?}");
            }
        }
    }

    #[test]
    fn a_question_is_on_record_before_it_is_passed_on() {
        let (_, records, bodies) = pass(Way::Questions, format!("{CALL}\n").as_bytes());
        assert_eq!(records, [1]);
        assert!(matches!(&bodies[..], [Body::ToolCalled(c)] if c.channel == "proxy" && c.decision == "allowed"));
    }

    #[test]
    fn what_cannot_be_read_in_a_dialogue_is_lost_evidence() {
        for broken in [&CALL[..40], "plain words", "\u{0}"] {
            let (_, _, bodies) = pass(Way::Questions, broken.as_bytes());
            assert!(matches!(&bodies[..], [Body::RecordsLost(lost)] if lost.reason.contains("not JSON")), "{bodies:?}");
        }
    }
}
