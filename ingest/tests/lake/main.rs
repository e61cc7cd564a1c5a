//! Ingest against a real log and a real lake.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod away;
mod bad_input;
mod bucket;
mod bucket_faults;
mod compaction;
mod crash;
mod disk;
mod evolution;
mod exactly_once;
mod kafka;
mod other_writers;
mod replay;
mod stage;
