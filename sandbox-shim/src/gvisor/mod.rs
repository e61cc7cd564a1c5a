//! Sees what happens in gVisor's sandboxes, through the runtime monitoring of `runsc`.
//!
//! A sandbox connects to a socket and tells what its processes do; each of its containers becomes a session, with the records that a
//! session under the shim has. It is asynchronous: nothing can be held or refused here, and the policy is the sandbox's own. A
//! process waits, for a minute, while what it did cannot be handed over; what is dropped after that is counted, and recorded
//! (`records_lost`). `docs/0005-gvisor.md` says what is seen and what is not.
//!
//! **Never**: believes a length, a time or a path of a sandbox without a limit.

pub mod points;
mod reading;
mod sandbox;
mod serve;
mod trace;
pub mod wire;

pub use reading::Container;
pub use sandbox::{Book, Shelf};
pub use serve::{ServeError, Serving, connect};
pub use trace::trace_session;
