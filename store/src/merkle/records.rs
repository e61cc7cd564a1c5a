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
    let mut hash = Sha256::new().chain_update([0]);
    head(topic, partition, offset, recorded_at, datum, |part| hash.update(part));
    Digest(hash.chain_update(datum).finalize().into())
}

/// What the leaf of one record is the hash of.
#[must_use]
pub fn record_entry(topic: Topic, partition: i32, offset: i64, recorded_at: Timestamp, datum: &[u8]) -> Vec<u8> {
    let mut entry = Vec::with_capacity(datum.len() + 64);
    head(topic, partition, offset, recorded_at, datum, |part| entry.extend_from_slice(part));
    entry.extend_from_slice(datum);
    entry
}

/// Tells `put` what stands before the datum, part by part.
fn head(topic: Topic, partition: i32, offset: i64, recorded_at: Timestamp, datum: &[u8], mut put: impl FnMut(&[u8])) {
    let len = |bytes: &[u8]| u32::try_from(bytes.len()).expect("a record is smaller than 4 GiB").to_be_bytes();
    let topic = topic.name().as_bytes();
    put(&len(topic));
    put(topic);
    put(&partition.to_be_bytes());
    put(&offset.to_be_bytes());
    put(&recorded_at.0.to_be_bytes());
    put(&len(datum));
}
