//! The audit record: its types, its one encoding, its digest chain, and the topics it travels on.
//!
//! Never: does I/O, reads a clock, draws a random number, depends on another crate of this project.
//!
//! The schema in `avro/audit_record.avsc` is the contract. The Rust types are written by hand; a test compares both field by field,
//! and `golden/` holds the bytes of every released version.
#![forbid(unsafe_code)]

pub mod avro;
pub mod body;
pub mod codec;
pub mod command;
pub mod digest;
pub mod ids;
pub mod record;
pub mod schema;
pub mod sigma;
pub mod time;
pub mod topic;

pub use avro::Bytes;
pub use body::{Body, Kind};
pub use codec::{CodecError, MAX_RECORD_BYTES};
pub use digest::{Chain, Digest};
pub use ids::{RecordId, SessionId};
pub use record::{Header, Origin, Record};
pub use schema::Schema;
pub use time::Timestamp;
pub use topic::Topic;

/// The Avro schema of every topic, as registered.
pub const SCHEMA: &str = include_str!("../avro/audit_record.avsc");
