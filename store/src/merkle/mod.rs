//! The Merkle log: leaf N is the bytes of Delta commit N.
//!
//! RFC 6962 hashing ([`tree`]), C2SP tlog-tiles on disk ([`tiles`]), checkpoints as signed notes ([`note`]). Anybody's verifier reads it.

pub mod blocks;
pub mod log;
pub mod note;
pub mod proof;
pub mod records;
pub mod tiles;
pub mod timestamp;
pub mod tree;
pub mod witness;

pub use log::Log;
pub use note::{Checkpoint, NoteError, verifier_key};
pub use tiles::LogError;
