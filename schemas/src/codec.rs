//! Records to bytes and back. Bytes that are not the canonical form of exactly one record are refused.

use crate::avro::{Avro, Input, Shape};
use crate::body::{Body, Kind};
use crate::digest::Digest;
use crate::ids::{IdError, RecordId};
use crate::record::{Header, Origin, Record};
use crate::time::Timestamp;

/// The most bytes a record may have on the log. Writers cut long texts themselves, and keep their size and digest.
///
/// Kafka's default for a message is 1 MiB including its batch header; the embedded broker refuses more.
pub const MAX_RECORD_BYTES: usize = 900_000;

/// Encodes a record canonically: an Avro datum of the schema in [`crate::SCHEMA`], without framing.
#[must_use]
pub fn encode(record: &Record) -> Vec<u8> {
    encode_parts(&record.header, &record.body)
}

/// As [`encode`], of a record whose parts are kept apart.
#[must_use]
pub fn encode_parts(header: &Header, body: &Body) -> Vec<u8> {
    // Nearly all records of a session are shorter.
    let mut out = Vec::with_capacity(1024);
    header.write(body.kind(), &mut out);
    body.write(&mut out);
    out
}

/// Decodes a datum that is exactly one canonical record.
///
/// # Errors
/// [`CodecError`] names what was found and at which byte.
pub fn decode(datum: &[u8]) -> Result<Record, CodecError> {
    let mut input = Input::new(datum);
    let (header, kind) = Header::read(&mut input)?;
    let body = Body::read(&mut input, kind)?;
    end(&input)?;
    Ok(Record { header, body })
}

fn end(input: &Input<'_>) -> Result<(), CodecError> {
    match input.remaining() {
        0 => Ok(()),
        bytes => Err(CodecError::Trailing { at: input.position(), bytes }),
    }
}

/// The parts of a header that are needed to place a record, borrowed from its bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeaderView<'a> {
    /// The record's id, in its canonical text form.
    pub record_id: &'a str,
    /// The session.
    pub session_id: &'a str,
    /// The writer.
    pub writer: &'a str,
    /// Place in the writer's chain.
    pub seq: i64,
    /// Digest of the record before it.
    pub prev_digest: Digest,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// Which kind of record it is.
    pub kind: Kind,
}

/// Proves that `datum` is exactly one canonical record, without allocating, and returns what places it.
///
/// A bulk decoder that is fed unproven bytes can shift rows against offsets (see `ingest/src/walk.rs`); this is the proof.
///
/// # Errors
/// As [`decode`].
pub fn walk(datum: &[u8]) -> Result<HeaderView<'_>, CodecError> {
    let mut input = Input::new(datum);
    let start = input.clone();
    RecordId::skip(&mut input)?;
    let record_id = start.clone().text()?;
    let mut session = input.clone();
    crate::ids::SessionId::skip(&mut input)?;
    let session_id = session.text()?;
    let writer = input.text()?;
    let seq = input.long()?;
    let prev_digest = Digest::read(&mut input)?;
    let occurred_at = Timestamp::read(&mut input)?;
    Origin::skip(&mut input)?;
    Vec::<RecordId>::skip(&mut input)?;
    String::skip(&mut input)?; // tenant
    String::skip(&mut input)?; // host
    for _ in 0..5 {
        Option::<String>::skip(&mut input)?; // agent name, version, model; principal; policy digest
    }
    let kind = Kind::read(&mut input)?;
    Body::skip(&mut input, kind)?;
    end(&input)?;
    Ok(HeaderView { record_id, session_id, writer, seq, prev_digest, occurred_at, kind })
}

/// The whole record's shape, for the test that compares it with the `.avsc`.
#[must_use]
pub fn shape() -> Shape {
    let mut fields = Header::shapes();
    fields.extend(Body::shapes());
    Shape::Record("AuditRecord".to_owned(), String::new(), fields)
}

/// Bytes that are not exactly one canonical record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The bytes end too early.
    #[error("the record is cut short at byte {at}")]
    Truncated {
        /// Where the value began that is cut.
        at: usize,
    },
    /// Bytes follow the record.
    #[error("{bytes} bytes follow the record, which ends at byte {at}")]
    Trailing {
        /// Where the record ends.
        at: usize,
        /// How many follow.
        bytes: usize,
    },
    /// The value could have been written otherwise.
    #[error("not the canonical encoding at byte {at}: {what}")]
    NotCanonical {
        /// Where.
        at: usize,
        /// What was found.
        what: &'static str,
    },
    /// A string is not UTF-8.
    #[error("the text at byte {at} is not UTF-8")]
    NotUtf8 {
        /// Where.
        at: usize,
    },
    /// An enum has no such symbol.
    #[error("the enum {name} at byte {at} has no symbol number {index}")]
    UnknownSymbol {
        /// Where.
        at: usize,
        /// Name of the enum.
        name: String,
        /// The index that was found.
        index: i64,
    },
    /// An identifier is not in its canonical form.
    #[error("at byte {at}")]
    BadId {
        /// Where.
        at: usize,
        /// What is wrong with it.
        #[source]
        source: IdError,
    },
    /// None of the sub-records is set.
    #[error("the record has no body")]
    NoBody,
    /// Another sub-record is set than the header says.
    #[error("the header says `{said}`, the body is `{found}`")]
    WrongKind {
        /// What the header says.
        said: Kind,
        /// What is set.
        found: Kind,
    },
}
