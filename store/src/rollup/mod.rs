//! Roll-ups: what is asked again and again of a day, made once, when a compaction has the records of a file in its hands.
//!
//! ```text
//! sessions   one row for each session of the file: when, who, where, how it stands, how many records of which kind
//! hosts      one row for each remote host:  who reached for it first, when, how often
//! paths      one row for each path:         who touched it first, when, how often
//! images     one row for each program:      who ran it first, when, how often
//! ```
//! They are *partial*: of the records of one file. Files of a day, and days, are put together by least, greatest and sum, so it does not matter
//! how often a day was compacted, or which records were late. What is first among equal times is the record with the smaller id.
//!
//! ```text
//! file    columns │ sessions │ hosts │ paths │ images │ footer, with `watchkeeper.rollups`: where each of the four is
//! commit  add.tags `watchkeeper.rollups`: the same, so that a question knows without opening a file what it need not read
//! ```
//! Each is a small Parquet file of its own ([`Part::schema`]) between the last column and the footer, where other readers do not look. The digest in the signed
//! commit covers it, a removal takes it along, and `wk verify` makes it again from the rows. Nothing is cut off: a part that
//! would be too large ([`Bounds`]) is said not to be there, and whoever asks reads the file's records. So it is in files that
//! were written before there were roll-ups, in those that were not compacted, and in those whose schema knows more than this program.

mod blob;
mod first_seen;
mod fold;
mod place;
mod sessions;

pub use blob::read;
pub use fold::{Bounds, Rollups};
pub use place::{Part, Places};

pub(crate) use fold::Encoded;
