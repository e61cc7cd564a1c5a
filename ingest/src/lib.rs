//! Log to lake, exactly once.
//!
//! Reads every message of the five topics, proves that it is exactly one canonical record, and commits it to the lake together with
//! the offsets it accounts for. What is no record is set aside as a dead letter, with its place and the reason, and counted.
//!
//! **Never**: judges what a record says; loses a message without a dead letter; takes the consumer group's offset for the truth.
#![forbid(unsafe_code)]

mod clock;
mod commit;
pub mod compact;
pub mod config;
pub mod dead_letter;
pub mod error;
pub mod plan;
pub mod progress;
pub mod replay;
pub mod run;
mod same_log;
mod schema_ids;
pub mod seal;
#[cfg(any(test, feature = "synthetic"))]
pub mod synthetic;
mod through;
pub mod walk;

pub use config::Config;
pub use dead_letter::Identity;
pub use error::IngestError;
pub use progress::{Committed, Progress, Summary};
pub use run::Ingest;
