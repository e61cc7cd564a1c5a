//! SQL over the lake: the views that people read, the limits that keep a question from hurting others, and the shell.
//!
//! Never: writes to the lake, or reads a file that the table's current version does not name. What may run is decided by the
//! plan of a statement, not by its text.
//!
//! ```text
//! question ─► parse one statement ─► plan ─► guard (read only) ─► prune by Delta statistics and bloom filters ─► limits ─► rows
//!                                                  `records` at one version of the table, the same for the whole question
//! ```
#![forbid(unsafe_code)]

mod clock;
pub mod config;
pub mod context;
pub mod doors;
mod error;
mod filters;
mod guard;
mod limits;
mod needle;
mod plans;
mod prune;
mod records;
pub mod render;
mod rolled;
pub mod saved;
mod schema;
mod seek;
pub mod shell;
mod stop;
pub mod views;

pub use config::Config;
pub use context::{Answer, Asker, Engine, OnQuery};
pub use error::{Place, QueryError};
