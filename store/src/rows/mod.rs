//! Records as rows: from the log's bytes to columns and back, without losing a bit on the way.

mod columns;
mod decode;
mod encode;
mod schema;

pub use columns::Columns;
pub use decode::{Decoder, decode};
pub use encode::Encoder;
pub use schema::{DAY, PLACE, doc, schema};

pub(crate) use schema::micros;

use bytes::Bytes;
use std::sync::Arc;
use wk_schemas::avro::Input;
use wk_schemas::{CodecError, Kind, Schema, Timestamp, Topic};

/// One record and its place in the log. Whoever holds a `Row` holds proof that its datum is exactly one canonical record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub(crate) topic: Topic,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) recorded_at: Timestamp,
    pub(crate) occurred_at: Timestamp,
    pub(crate) kind: Kind,
    /// The place of its kind among those of its schema.
    kind_index: usize,
    pub(crate) schema: Arc<Schema>,
    pub(crate) datum: Bytes,
}

impl Row {
    /// Walks the datum and takes it as a row of this program's own schema.
    ///
    /// # Errors
    /// [`CodecError`] names what is wrong with the datum and at which byte.
    pub fn read(
        topic: Topic,
        partition: i32,
        offset: i64,
        recorded_at: Timestamp,
        datum: Bytes,
    ) -> Result<Self, CodecError> {
        Self::read_as(&Schema::ours(), topic, partition, offset, recorded_at, datum)
    }

    /// Walks the datum and takes it as a row of the schema that it was written with.
    ///
    /// # Errors
    /// As [`Row::read`].
    pub fn read_as(
        schema: &Arc<Schema>,
        topic: Topic,
        partition: i32,
        offset: i64,
        recorded_at: Timestamp,
        datum: Bytes,
    ) -> Result<Self, CodecError> {
        let (header, kind_index) = schema.walk(&datum)?;
        let (occurred_at, kind) = (header.occurred_at, header.kind);
        let schema = Arc::clone(schema);
        Ok(Self { topic, partition, offset, recorded_at, occurred_at, kind, kind_index, schema, datum })
    }

    /// The topic.
    #[must_use]
    pub const fn topic(&self) -> Topic {
        self.topic
    }

    /// The partition of the topic.
    #[must_use]
    pub const fn partition(&self) -> i32 {
        self.partition
    }

    /// The place in the partition.
    #[must_use]
    pub const fn offset(&self) -> i64 {
        self.offset
    }

    /// When the log took it.
    #[must_use]
    pub const fn recorded_at(&self) -> Timestamp {
        self.recorded_at
    }

    /// Which kind of record it is; unspecified for one that this program does not know.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The place of its kind among those of its schema.
    pub(crate) const fn kind_index(&self) -> usize {
        self.kind_index
    }

    /// The name of its kind, as its own schema has it.
    #[must_use]
    pub fn kind_name(&self) -> KindName {
        if self.kind == Kind::Unspecified {
            KindName::new(&self.schema.kinds()[self.kind_index])
        } else {
            self.kind.into()
        }
    }

    /// The schema that it was written with.
    #[must_use]
    pub const fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// The session.
    ///
    /// # Panics
    /// Never: the datum was walked when the row was made.
    #[must_use]
    pub fn session_id(&self) -> &str {
        str::from_utf8(self.session_bytes()).expect("a proven record's session is a text")
    }

    /// The session's bytes: the record's second field, after its id.
    pub(crate) fn session_bytes(&self) -> &[u8] {
        let mut input = Input::new(&self.datum);
        input.blob().and_then(|_| input.blob()).expect("a proven record begins with two texts")
    }

    /// The session, the writer, and the place in the writer's chain.
    pub(crate) fn chain(&self) -> (&str, &str, i64) {
        let mut input = Input::new(&self.datum);
        let mut read = || -> Result<_, CodecError> { Ok((input.blob()?, input.text()?, input.text()?, input.long()?)) };
        let (_, session, writer, seq) = read().expect("a proven record begins with three texts and a number");
        (session, writer, seq)
    }

    /// The record as encoded, without framing.
    #[must_use]
    pub const fn datum(&self) -> &Bytes {
        &self.datum
    }
}

/// A kind of record, which may be one that this program does not know.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KindName {
    /// One of ours.
    Known(Kind),
    /// One of a newer schema.
    Newer(Arc<str>),
}

impl KindName {
    /// The kind of that name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let known = Kind::ALL.iter().copied().find(|kind| kind.as_str() == name);
        known.map_or_else(|| Self::Newer(name.into()), Self::Known)
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Known(kind) => kind.as_str(),
            Self::Newer(name) => name,
        }
    }
}

impl From<Kind> for KindName {
    fn from(kind: Kind) -> Self {
        Self::Known(kind)
    }
}

impl std::fmt::Display for KindName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why columns and records do not agree.
#[derive(Debug, thiserror::Error)]
pub enum RowsError {
    /// A column is missing or of another type.
    #[error("column `{name}` is of another type than the record says: {found}")]
    Column {
        /// The column, nested fields joined with dots.
        name: String,
        /// Its type.
        found: String,
    },
    /// An enum column holds text that the schema does not know.
    #[error("column `{column}` holds `{found}`, which is no symbol of its enum")]
    Symbol {
        /// The column.
        column: String,
        /// The text.
        found: String,
    },
    /// The bulk decoder and the strict walk do not agree.
    #[error("the bulk decoder failed on proven records: {reason}")]
    Decode {
        /// What it says.
        reason: String,
    },
    /// The columns do not give back the bytes they came from.
    #[error("record {topic} {partition} {offset} does not survive the way into columns and back")]
    NotFaithful {
        /// Its topic.
        topic: Topic,
        /// Its partition.
        partition: i32,
        /// Its offset.
        offset: i64,
    },
}
