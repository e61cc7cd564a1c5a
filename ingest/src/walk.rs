//! Proves that a message is exactly one canonical record of ours, filed under its session, or says why not.
//!
//! The bulk decoder behind the table appends field by field: a broken record, a record that is cut short, or two records in one
//! payload would shift every row behind it against its offset. So nothing reaches it that has not been walked here to its last byte.

use crate::error::chain;
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::Arc;
use wk_schemas::{CodecError, MAX_RECORD_BYTES, Schema, Timestamp};
use wk_store::{Row, Source};
use wk_wire::framing::FrameError;
use wk_wire::{Message, unframe};

/// A message of a topic of ours, as the log holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The partition.
    pub source: Source,
    /// The place in it.
    pub offset: i64,
    /// When the log took it, in milliseconds since 1970.
    pub timestamp_ms: Option<i64>,
    /// The key.
    pub key: Bytes,
    /// The value, with its frame.
    pub value: Bytes,
}

impl Taken {
    /// Takes a message that was read from `source`.
    #[must_use]
    pub fn new(source: Source, message: Message) -> Self {
        let Message { offset, timestamp_ms, key, value, .. } = message;
        Self { source, offset, timestamp_ms, key, value }
    }
}

/// What is known of schema ids.
pub type SchemaIds = HashMap<i32, Standing>;

/// What a schema of the registry is to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// That of an audit record: our own, or another version of it.
    Record(Arc<Schema>),
    /// None of an audit record that lies beside those of the lake, and why not.
    Other(String),
}

/// Why a message is not a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No frame.
    #[error("not framed as a record")]
    Frame(#[from] FrameError),
    /// No schema that the registry knows.
    #[error("schema id {id} is not that of an audit record in the registry")]
    Schema {
        /// The id.
        id: i32,
    },
    /// A schema that is none of an audit record, or of one that does not lie beside those of the lake.
    #[error("schema id {id} is not that of an audit record of this lake: {reason}")]
    Incompatible {
        /// The id.
        id: i32,
        /// What keeps it from being one, field by field.
        reason: String,
    },
    /// Not one canonical record.
    #[error("not exactly one canonical record")]
    Codec(#[source] CodecError),
    /// Filed under another session than it says.
    #[error("the message's key is not the record's session id, {session_id}")]
    Key {
        /// What the record says.
        session_id: String,
    },
    /// Longer than a record may be.
    #[error("the record has {bytes} bytes, more than {MAX_RECORD_BYTES}")]
    TooBig {
        /// Its length.
        bytes: usize,
    },
    /// The log does not say when it took the message.
    #[error("the log gives no time for the message")]
    NoTime,
    /// The walk takes it, the way into columns does not.
    #[error("the record does not survive the way into columns and back")]
    Columns,
}

impl Refusal {
    /// The whole reason in one line.
    #[must_use]
    pub fn reason(&self) -> String {
        chain(self)
    }
}

/// The schema id that a message names, if it has a frame.
#[must_use]
pub fn schema_id(value: &[u8]) -> Option<i32> {
    unframe(value).ok().map(|(id, _)| id)
}

/// Walks a message to its last byte and takes it as a row.
///
/// # Errors
/// [`Refusal`].
pub fn walk(taken: &Taken, ids: &SchemaIds) -> Result<Row, Refusal> {
    let (id, datum) = unframe(&taken.value)?;
    let schema = match ids.get(&id) {
        Some(Standing::Record(schema)) => schema,
        Some(Standing::Other(reason)) => return Err(Refusal::Incompatible { id, reason: reason.clone() }),
        None => return Err(Refusal::Schema { id }),
    };
    if datum.len() > MAX_RECORD_BYTES {
        return Err(Refusal::TooBig { bytes: datum.len() });
    }
    let recorded_at = taken.timestamp_ms.and_then(|ms| ms.checked_mul(1000)).map(Timestamp).ok_or(Refusal::NoTime)?;
    let Source { topic, partition } = taken.source;
    let datum = taken.value.slice_ref(datum);
    let row = Row::read_as(schema, topic, partition, taken.offset, recorded_at, datum).map_err(Refusal::Codec)?;
    let session_id = row.session_id();
    if session_id.as_bytes() == taken.key { Ok(row) } else { Err(Refusal::Key { session_id: session_id.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::Synthetic;
    use proptest::prelude::*;
    use wk_schemas::Topic;
    use wk_wire::frame;

    const ID: i32 = 7;

    fn ids() -> SchemaIds {
        SchemaIds::from([(ID, Standing::Record(Schema::ours())), (8, Standing::Other("`seq` is missing".into()))])
    }

    fn taken(key: &[u8], value: Vec<u8>) -> Taken {
        let source = Source { topic: Topic::Events, partition: 2 };
        Taken {
            source,
            offset: 11,
            timestamp_ms: Some(1_793_000_000_123),
            key: key.to_vec().into(),
            value: value.into(),
        }
    }

    fn sample() -> (Vec<u8>, Vec<u8>) {
        let sample = Synthetic::new(5).nth(70).unwrap();
        (sample.session_id.as_str().as_bytes().to_vec(), sample.datum)
    }

    #[test]
    fn a_record_becomes_a_row_at_its_place() {
        let (key, datum) = sample();
        let row = walk(&taken(&key, frame(ID, &datum)), &ids()).unwrap();
        assert_eq!((row.topic(), row.partition(), row.offset()), (Topic::Events, 2, 11));
        assert_eq!(row.recorded_at(), Timestamp(1_793_000_000_123_000));
        assert_eq!(row.datum()[..], datum);
    }

    #[test]
    fn what_is_not_exactly_one_record_is_refused_with_its_reason() {
        let (key, datum) = sample();
        let two = [datum.clone(), datum.clone()].concat();
        let cut = &datum[..datum.len() - 1];
        let reason = |key: &[u8], value: Vec<u8>| walk(&taken(key, value), &ids()).unwrap_err().reason();
        for (value, expected) in [
            (Vec::new(), "not framed as a record: value of 0 bytes is too short"),
            (b"{\"a\": 1}".to_vec(), "not framed as a record: value begins with byte 0x7b"),
            (frame(ID, &two), "not exactly one canonical record: "),
            (frame(ID, cut), "not exactly one canonical record: "),
            (frame(ID, b""), "not exactly one canonical record: the record is cut short at byte 0"),
            (frame(8, &datum), "schema id 8 is not that of an audit record of this lake: `seq` is missing"),
            (frame(9, &datum), "schema id 9 is not that of an audit record in the registry"),
            (frame(ID, &vec![0; MAX_RECORD_BYTES + 1]), "the record has 900001 bytes, more than 900000"),
        ] {
            let found = reason(&key, value);
            assert!(found.starts_with(expected), "{found}");
        }
        assert!(reason(b"another", frame(ID, &datum)).starts_with("the message's key is not the record's session id"));
        let timeless = Taken { timestamp_ms: None, ..taken(&key, frame(ID, &datum)) };
        assert_eq!(walk(&timeless, &ids()), Err(Refusal::NoTime));
    }

    proptest! {
        /// Whoever changes a byte gets a refusal or another record, never a panic and never the same record.
        #[test]
        fn no_change_of_a_byte_goes_unnoticed(at in any::<prop::sample::Index>(), flip in 1u8..=255) {
            let (key, datum) = sample();
            let mut value = frame(ID, &datum);
            let at = at.index(value.len());
            value[at] ^= flip;
            if let Ok(row) = walk(&taken(&key, value), &ids()) {
                prop_assert_ne!(&row.datum()[..], &datum[..]);
            }
        }
    }
}
