//! What a note says of a dead letter that was replayed: where its message is now.
//!
//! A note is a dead letter of no parts. Ingest writes the sentence, and verification reads it: a record that comes after its successor
//! has been put in another order unless a note says that it was replayed.

use crate::offsets::Source;

const BEGINS: &str = "replayed: the message is at ";

/// The reason that a note gives.
#[must_use]
pub fn reason(source: Source, offset: i64) -> String {
    format!("{BEGINS}{source}@{offset}")
}

/// The place that a note names.
#[must_use]
pub fn place(reason: &str) -> Option<(Source, i64)> {
    let (source, offset) = reason.strip_prefix(BEGINS)?.rsplit_once('@')?;
    Some((Source::parse(source)?, offset.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wk_schemas::Topic;

    #[test]
    fn a_place_is_said_and_read() {
        let source = Source { topic: Topic::Findings, partition: 2 };
        assert_eq!(place(&reason(source, 17)), Some((source, 17)));
        assert_eq!(place("not framed as a record"), None);
    }
}
