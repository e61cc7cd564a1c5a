//! Takes events, gives each its place in the session's chain, and keeps it until the log has it.
//!
//! ```text
//! record() ── seal ── spool (one write) ──► taken ──► drain ──► log ──► acked, removed
//!                        │ flusher: fdatasync
//!                        └──► durable
//! ```
//! A record that counts as taken survives `kill -9` of the shim; the flusher makes it survive a loss of power within
//! `FLUSH_EVERY`, unless the log has acknowledged it in the meantime. Nothing is dropped: when a record cannot be taken, the
//! caller is told, and the agent must stop.
//!
//! Taking a record wakes nobody as a rule: the agent's system call waits for it, and a wake-up costs more than the record. The
//! flusher and the drain look by themselves, a moment after the first record that they have not seen.

mod flush;
mod identity;
mod journal;
mod room;
mod sent;
mod take;
#[cfg(test)]
mod tests;

pub use crate::contract::{Event, RecordError, Recorder};
pub use identity::{Identity, WRITER};
pub use journal::Journal;
pub use room::{Limits, Pressure};
