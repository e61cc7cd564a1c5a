//! The log: everything in Watchkeeper that knows a broker.
//!
//! Producer and reader over the Kafka protocol, the framing of a message's value, the client of a schema registry, the
//! topics and their settings; and, behind the feature `embedded`, a broker and a registry inside the process, durable
//! on local disk. There is one code path: the same client speaks to either.
//!
//! **Never**: interprets what it carries. A value is bytes with a schema id in front of it; who reads a record decodes
//! it with `wk-schemas`. It never resets a reader's position, and never drops a message in silence.
//!
//! The traits [`Append`] and [`Read`] are in [`log`]; [`kafka::Producer`] and [`kafka::Reader`] implement them.

#![forbid(unsafe_code)]

#[cfg(feature = "embedded")]
pub mod embedded;
pub mod framing;
pub mod in_use;
pub mod kafka;
pub mod log;
pub mod registry;
#[cfg(feature = "embedded")]
pub mod registry_server;
pub mod topics;

pub use framing::{frame, unframe};
pub use kafka::Brokers;
pub use log::{Append, AppendError, Disposition, Message, Position, Read, ReadError};
