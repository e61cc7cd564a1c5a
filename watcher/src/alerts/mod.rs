//! Tells the outside what was found: webhook, Slack, syslog over TLS, OpenTelemetry logs.
//!
//! ```text
//! findings topic ─► one task per receiver ─► formatted, secrets taken out ─► sent, tried again ─► cursor saved
//!                                                                    └─ given up ─► dead letter ─► cursor saved
//! ```
//! Each receiver has a cursor of its own in the watcher's state, so one that is away holds up nobody else. The cursor moves only
//! after the receiver has taken an alert or the dead letter is on the log: every alert is delivered at least once, and the
//! record's id in it tells a repetition. A receiver that is new begins at the end of the log.
//!
//! **Never**: decides; delays deciding.

mod alert;
mod clock;
mod config;
mod otlp;
mod send;
mod slack;
mod syslog;
mod task;
mod webhook;

pub use alert::Alert;
pub use config::{AlertConfig, Kind};
pub use send::{Receiver, SendError};
pub use task::{Desk, Undelivered};
pub use webhook::signature;
