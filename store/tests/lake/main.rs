//! The lake as a whole, on real folders.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod checkpoints;
mod commit;
mod common;
mod compaction;
mod evolution;
mod faults;
mod kinds;
mod others;
mod proof;
mod rollups;
mod rows;
mod verify;
