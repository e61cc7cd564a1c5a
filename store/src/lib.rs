//! The lake: one append-only Delta table of records, and a Merkle log over its commits.
//!
//! A commit holds data files, the offsets of the log that they account for, and in each file's tags its SHA-256 and the Merkle
//! root over its records. Offsets in the table are the truth about what has been read: a commit is refused unless its ranges start
//! where the table ends, so every record of the log is in the table exactly once.
//!
//! **Never**: sees Kafka; changes a committed file, or deletes one but by a signed act ([`retention`]); reads a clock or draws a random number (times and ids come in as
//! arguments); interprets what a record means.
#![forbid(unsafe_code)]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod checkpoint;
pub mod commit;
pub mod compact;
pub mod delta;
pub mod files;
mod find;
pub mod lake;
pub mod layout;
pub mod merkle;
pub mod offsets;
pub mod place;
pub mod publish;
pub mod read;
pub mod replayed;
pub mod retention;
pub mod rollup;
pub mod rows;
pub mod stats;
pub mod verify;
pub mod writer;

pub use commit::{Commit, PrepareError};
pub use lake::{DataFile, Lake, OpenError, Snapshot, Version};
pub use offsets::{Offsets, Range, Source};
pub use rows::Row;
pub use stats::Stats;
pub use writer::{CommitError, Writer, WriterError};
