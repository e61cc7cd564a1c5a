//! Carries out the commands that come back over the log.
//!
//! A command is obeyed when it is addressed to this session (by key and by content), signed with the one trusted key over its
//! session and its id, within its time, and for the first time. Everything else is refused, counted and traced; there is no record
//! for a refusal, because anybody who may write to the topic could fill the session's chain with them.
//!
//! The fact follows the effect: `session_frozen` is written when nothing runs any more, and names the command and the time from
//! its arrival.

mod brake;
mod obey;
#[cfg(test)]
mod tests;

pub use brake::{Brake, Cause, Effect, Hands, Stopper};
pub use obey::{Control, Refusal};
