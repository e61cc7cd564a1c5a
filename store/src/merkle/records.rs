//! The tree over one data file's records: its root stands in the commit, so a single record is proven in two steps.
//!
//! ```text
//! leaf = SHA-256(0x00 || len topic || topic || partition || offset || recorded_at || len datum || datum)
//!                        u32 BE       UTF-8    i32 BE       i64 BE    i64 BE µs      u32 BE       as on the log, unframed
//! ```
//! Leaves are in the order of the file's rows. Nodes and proofs are those of [`super::tree`].

use sha2::{Digest as _, Sha256};
use wk_schemas::{Digest, Timestamp, Topic};

/// The leaf of one record: the RFC 6962 hash of [`record_entry`], without making it.
#[must_use]
pub fn record_leaf(topic: Topic, partition: i32, offset: i64, recorded_at: Timestamp, datum: &[u8]) -> Digest {
    let head = head(topic, partition, offset, recorded_at, datum);
    Digest(Sha256::new().chain_update([0]).chain_update(head).chain_update(datum).finalize().into())
}

/// What the leaf of one record is the hash of.
#[must_use]
pub fn record_entry(topic: Topic, partition: i32, offset: i64, recorded_at: Timestamp, datum: &[u8]) -> Vec<u8> {
    let mut entry = head(topic, partition, offset, recorded_at, datum);
    entry.extend_from_slice(datum);
    entry
}

/// What stands before the datum.
fn head(topic: Topic, partition: i32, offset: i64, recorded_at: Timestamp, datum: &[u8]) -> Vec<u8> {
    let len = |bytes: &[u8]| u32::try_from(bytes.len()).expect("a record is smaller than 4 GiB").to_be_bytes();
    let topic = topic.name().as_bytes();
    let mut head = Vec::with_capacity(topic.len() + 28);
    head.extend_from_slice(&len(topic));
    head.extend_from_slice(topic);
    head.extend_from_slice(&partition.to_be_bytes());
    head.extend_from_slice(&offset.to_be_bytes());
    head.extend_from_slice(&recorded_at.0.to_be_bytes());
    head.extend_from_slice(&len(datum));
    head
}
