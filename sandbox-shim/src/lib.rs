//! The sandbox shim: runs an agent as its child, confines it, records what it says and what it does, holds and freezes it.
//!
//! **Never**: trusts what the agent can write; goes on when it cannot record; lets a command act that is not signed for this
//! session.
//!
//! [`session::run_session`] wires everything. `supervise` sees what processes do, `agents` hears what the agent says,
//! [`causality`] ties the two together, [`recorder`] keeps the records until the log has them, [`drain`] brings them there,
//! [`control`] carries out the commands that come back.
#![deny(unsafe_code)]

pub mod agents;
pub mod arguments;
mod calls;
mod carry;
pub mod causality;
pub mod clock;
pub mod config;
pub mod confine;
pub mod contract;
pub mod control;
mod doors;
pub mod drain;
pub mod ebpf;
mod egress;
pub mod ephemeral;
pub mod fanotify;
mod floor;
mod fold;
mod freeze;
mod gate;
pub mod gvisor;
mod hold;
mod launch;
mod lock;
mod mountinfo;
mod observe;
mod outbox;
pub mod outer;
pub mod policy;
mod process;
pub mod recorder;
mod redact;
pub mod session;
mod spool;
pub mod supervise;
mod sys;
mod workers;

pub use config::Config;
pub use outbox::OutboxError;
