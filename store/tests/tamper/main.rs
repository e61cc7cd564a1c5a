//! Everything that can be done to a lake, done to a real one: each case is found, and named.
//!
//! ```text
//! bytes.rs     an attacker who can write to the disk: data files
//! commits.rs   the same: commits, tiles, checkpoint
//! derived.rs   the same: what readers go by instead of the commits
//! compacted.rs either of them: what a compaction wrote, what it replaced, and its commit
//! insider.rs   an attacker who holds the signing key: text, statistics and history made to fit, and signed again
//! removed.rs   either of them: days removed without a signature that counts, under a hold, or further than was signed
//! before.rs    what was done before the lake: records altered, withheld or invented on their way, clocks moved
//! notebook.rs  what an earlier verification noted; the cases of all others are verified with such a notebook, too
//! ```
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod before;
mod blocks;
mod bytes;
mod commits;
#[expect(dead_code, reason = "shared with the tests in `lake`, which use more of it")]
#[path = "../lake/common.rs"]
mod common;
mod compacted;
mod derived;
mod insider;
mod notebook;
mod removed;
mod rollups;
mod stage;
