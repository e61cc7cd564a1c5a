//! The server's name in the first words of a TLS client, which nothing hides yet. Nothing here trusts a length.

/// What the first bytes of a stream say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Hello {
    /// They do not begin TLS.
    NotTls,
    /// They may, and more is needed to tell.
    More,
    /// A client asks for this server, in lower case.
    Named(String),
    /// A client asks for no server by name.
    Nameless,
    /// They begin TLS and go on with something else.
    Broken,
}

/// A client's first message is never longer in earnest.
const LENGTH_MAX: usize = 1 << 16;

/// Reads as much of a stream as has come.
#[must_use]
pub(crate) fn read(stream: &[u8]) -> Hello {
    let mut message = Vec::new();
    let mut rest = stream;
    loop {
        // A message may be cut into any number of frames.
        match rest {
            [] => return Hello::More,
            [22] | [22, 3, ..] => {}
            _ if message.is_empty() => return Hello::NotTls,
            _ => return Hello::Broken,
        }
        let Some((head, after)) = rest.split_at_checked(5) else { return Hello::More };
        let length = usize::from(u16::from_be_bytes([head[3], head[4]]));
        if length == 0 || message.len() + length > LENGTH_MAX {
            return Hello::Broken;
        }
        let Some((part, after)) = after.split_at_checked(length) else { return Hello::More };
        message.extend_from_slice(part);
        rest = after;
        if let [kind, a, b, c, body @ ..] = message.as_slice() {
            let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
            if *kind != 1 || length > LENGTH_MAX {
                return Hello::Broken;
            }
            if body.len() >= length {
                return server(&body[..length]);
            }
        }
    }
}

/// Walks over what a message holds.
struct Walk<'a>(&'a [u8]);

impl<'a> Walk<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// What a length of one or two bytes stands before.
    fn counted(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let length = self.take(bytes)?.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        self.take(length)
    }
}

fn server(message: &[u8]) -> Hello {
    let extensions = || {
        let mut walk = Walk(message);
        // Version and random bytes, the session, ciphers, compressions.
        walk.take(34)?;
        walk.counted(1)?;
        walk.counted(2)?;
        walk.counted(1)?;
        if walk.0.is_empty() { Some(&[][..]) } else { walk.counted(2) }
    };
    let Some(extensions) = extensions() else { return Hello::Broken };
    let mut walk = Walk(extensions);
    while !walk.0.is_empty() {
        let (Some(kind), Some(content)) = (walk.take(2), walk.counted(2)) else { return Hello::Broken };
        if kind == [0, 0] {
            let mut list = Walk(content);
            let name = list.counted(2).and_then(|list| {
                let mut list = Walk(list);
                (list.take(1)? == [0]).then(|| list.counted(2)).flatten()
            });
            return match name.map(std::str::from_utf8) {
                Some(Ok(name)) => Hello::Named(name.trim_end_matches('.').to_ascii_lowercase()),
                Some(Err(_)) | None => Hello::Broken,
            };
        }
    }
    Hello::Nameless
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(name: Option<&[u8]>) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.extend([0, 0, 2, 0x13, 1, 1, 0]);
        let mut extensions = vec![0, 43, 0, 3, 2, 3, 4];
        if let Some(name) = name {
            let length = u8::try_from(name.len()).unwrap();
            extensions.extend([0, 0, 0, length + 5, 0, length + 3, 0, 0, length]);
            extensions.extend(name);
        }
        body.extend([0, u8::try_from(extensions.len()).unwrap()]);
        body.extend(extensions);
        let mut message = vec![1, 0, 0, u8::try_from(body.len()).unwrap()];
        message.extend(body);
        message
    }

    fn framed(message: &[u8], each: usize) -> Vec<u8> {
        let frame = |part: &[u8]| [&[22, 3, 1, 0, u8::try_from(part.len()).unwrap()], part].concat();
        message.chunks(each).flat_map(frame).collect()
    }

    #[test]
    fn the_server_is_found_however_the_message_is_cut() {
        let message = message(Some(b"API.Example.org"));
        for each in [1, 3, 50, 200] {
            let stream = framed(&message, each);
            assert_eq!(read(&stream), Hello::Named("api.example.org".into()), "{each}");
            for cut in 0..stream.len() {
                assert_eq!(read(&stream[..cut]), Hello::More, "{each} {cut}");
            }
        }
        assert_eq!(read(&framed(&self::message(None), 200)), Hello::Nameless);
    }

    #[test]
    fn other_streams_are_left_alone_and_broken_ones_are_not() {
        assert_eq!(read(b"GET / HTTP/1.1\r\n"), Hello::NotTls);
        assert_eq!(read(b"SSH-2.0-x\r\n"), Hello::NotTls);
        assert_eq!(read(&[22, 1]), Hello::NotTls);
        assert_eq!(read(&framed(&[2, 0, 0, 1, 0], 200)), Hello::Broken);
        let mut two = framed(&message(Some(b"a.test")), 9);
        two[14] = 23;
        assert_eq!(read(&two), Hello::Broken);
    }

    proptest! {
        #[test]
        fn no_bytes_make_reading_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            drop(read(&bytes));
            drop(read(&[&[22, 3, 1, 0, 100, 1, 0, 0, 90], &bytes[..]].concat()));
        }
    }
}
