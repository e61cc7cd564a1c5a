//! Ties what processes do to the tool calls that the agent declared.
//!
//! A process that the agent starts while a shell-like call is open belongs to the call whose command it carries in its
//! arguments, or else to the only one that is open; its children inherit the tie for good, also when the call has returned.
//! An effect is *declared* when the call's own words name its object, *inherited* when only the tie speaks for it, the
//! *agent*'s when the agent's own process did it outside such a call, and *none* when nothing explains it. That the agent's
//! words decide is the point: what they do not cover is what a watcher wants to see.
//!
//! [`CallTable`] is pure; [`Calls`] puts it behind a lock and implements [`Causality`](crate::contract::Causality).

mod calls;
mod program;
mod table;
mod words;

pub use calls::Calls;
pub use program::program_name;
pub use table::{CallFacts, CallTable};
