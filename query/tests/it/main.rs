//! Questions to a real lake in a folder: made by wk-store, committed as ingest commits, asked through the engine.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod agents;
mod compaction;
mod evolution;
mod keeper;
mod known;
mod lake;
mod limits;
mod plans;
mod prune;
mod read_only;
mod rolled;
mod saved;
mod slt;
mod sql;
mod stories;
mod views;
