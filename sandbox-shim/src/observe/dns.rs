//! Reads the question of a DNS query. What comes is the agent's own bytes: nothing here trusts a length.

/// A question: the name in lower case without its last dot, and the type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    /// The name.
    pub name: String,
    /// A, AAAA, …, or the number.
    pub record_type: String,
}

/// The first question of a query; `None` when these bytes are not a plain query.
#[must_use]
pub(crate) fn question(packet: &[u8]) -> Option<Question> {
    let header = packet.get(..12)?;
    let is_query = header[2] & 0xf8 == 0;
    let questions = u16::from_be_bytes([header[4], header[5]]);
    if !is_query || questions == 0 {
        return None;
    }
    let mut name = String::new();
    let mut at = 12;
    loop {
        let length = usize::from(*packet.get(at)?);
        at += 1;
        match length {
            0 => break,
            1..=63 => {
                let label = packet.get(at..at + length)?;
                at += length;
                if !name.is_empty() {
                    name.push('.');
                }
                name.push_str(&String::from_utf8_lossy(label).to_ascii_lowercase());
            }
            _ => return None,
        }
        if name.len() > 255 {
            return None;
        }
    }
    let number = u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?]);
    let record_type = match number {
        1 => "A".to_owned(),
        5 => "CNAME".to_owned(),
        12 => "PTR".to_owned(),
        15 => "MX".to_owned(),
        16 => "TXT".to_owned(),
        28 => "AAAA".to_owned(),
        33 => "SRV".to_owned(),
        65 => "HTTPS".to_owned(),
        other => other.to_string(),
    };
    Some(Question { name, record_type })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const QUERY: &[u8] =
        b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03wWw\x07example\x03org\x00\x00\x1c\x00\x01";

    #[test]
    fn a_query_gives_its_name_and_type() {
        let expected = Question { name: "www.example.org".into(), record_type: "AAAA".into() };
        assert_eq!(question(QUERY), Some(expected));
    }

    #[test]
    fn a_cut_query_gives_nothing() {
        for length in 0..QUERY.len() - 2 {
            assert_eq!(question(&QUERY[..length]), None, "{length}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_reading_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            drop(question(&bytes));
        }
    }
}
