//! `--ephemeral`: the agent works on an overlay of its workspace, and what it changed comes into the original on a person's word only.
//!
//! `overlay.rs` puts the overlay on and says where its layers are, `listing.rs` keeps what stood there at the start, `changes.rs` says
//! what is different now, `apply.rs` carries that over, all of it or nothing. What is shown for a text file is in `lines.rs`.
//!
//! **Never** writes to the original but in [`Overlay::apply`]. Extended attributes and access lists are not carried over; pipes and
//! sockets are of use only to the processes that made them and are left behind.

mod apply;
mod changes;
mod lines;
mod listing;
mod overlay;

pub use apply::ApplyError;
pub use changes::{Change, Changes, State};
pub use lines::unified;
pub use listing::Kind;
pub use overlay::{EphemeralError, Overlay};
