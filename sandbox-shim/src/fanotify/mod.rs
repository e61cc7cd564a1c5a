//! Sees, as root, which files the kernel opens to execute a program: the program itself, the interpreter of a script, the loader.
//!
//! It stands beside the notifications, which see what a process asks for and not what the kernel does about it: the kernel opens an
//! interpreter and a loader without a call, and reads the path of an exec again after the shim has read it.
//!
//! fanotify marks the mounts of the session's own namespace, so nothing else on the machine wakes the shim.
//! `docs/0006-observers.md` says what is seen and what is not.
//!
//! **Never**: holds an exec back; that is the notifications' part.

mod chain;
mod interpreter;
mod mounts;
mod watch;

pub(crate) use chain::{Asked, Chains, Meaning};
pub(crate) use interpreter::is_interpreter_of;
pub(crate) use watch::{Opened, Seen, Watch, offered};

use crate::contract::{Observer, Sees};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// Its word in `session_started`'s `confinement`.
pub const WORD: &str = "fanotify-exec";

/// The `flags` of a `file_accessed` that the kernel did by itself: `__FMODE_EXEC`, with which it opens what it executes. A process
/// that puts it into a call of its own only has it on record there: without a reason, and let through instead of done.
pub const OPENED_TO_EXECUTE: i64 = 0x20;

/// Which file it is, under whatever name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// The file that this is said of.
    #[must_use]
    pub(crate) fn of(found: &Metadata) -> Self {
        Self { device: found.dev(), inode: found.ino() }
    }
}

impl Observer for Watch {
    fn word(&self) -> &'static str {
        WORD
    }

    fn sees(&self) -> Sees {
        Sees {
            programs: false,
            loaders: true,
            ends: false,
            opens: false,
            names: false,
            connections: false,
            results: false,
            holds: false,
        }
    }
}
