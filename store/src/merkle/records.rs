//! The tree over one data file's records: its root stands in the commit, so a single record is proven in two steps.
//!
//! ```text
//! leaf = SHA-256(0x00 || len topic || topic || partition || offset || recorded_at || len datum || datum)
//!                        u32 BE       UTF-8    i32 BE       i64 BE    i64 BE µs      u32 BE       as on the log, unframed
//! ```
//! Leaves are in the order of the file's rows. Nodes and proofs are those of [`super::tree`].

use sha2::{Digest as _, Sha256};
use wk_schemas::{Digest, Timestamp, Topic};

/// The leaf of one record.
#[must_use]
pub fn record_leaf(topic: Topic, partition: i32, offset: i64, recorded_at: Timestamp, datum: &[u8]) -> Digest {
    let len = |bytes: &[u8]| u32::try_from(bytes.len()).expect("a record is smaller than 4 GiB").to_be_bytes();
    let topic = topic.name().as_bytes();
    let hash = Sha256::new()
        .chain_update([0])
        .chain_update(len(topic))
        .chain_update(topic)
        .chain_update(partition.to_be_bytes())
        .chain_update(offset.to_be_bytes())
        .chain_update(recorded_at.0.to_be_bytes())
        .chain_update(len(datum))
        .chain_update(datum);
    Digest(hash.finalize().into())
}
