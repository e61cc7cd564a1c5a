//! What the shim and its init say to each other: three numbers at a time.

use crate::sys::child;
use std::io;
use std::os::fd::BorrowedFd;

/// To the shim: the listener comes with this; `a` is the agent's id as the init sees it.
pub(crate) const LISTENER: i32 = 1;
/// To the shim: step `b` failed with error number `a`.
pub(crate) const FAILED: i32 = 2;
/// To the shim: the agent's first process ended with status `a`.
pub(crate) const EXITED: i32 = 3;
/// To the shim: order `b` was carried out, or failed with error number `a`.
pub(crate) const DONE: i32 = 4;
/// To the shim: a socket of the agent's network comes with this; `a` says which.
pub(crate) const SOCKET: i32 = 5;
/// To the init: stop every process.
pub(crate) const STOP: i32 = 10;
/// To the init: kill every process.
pub(crate) const KILL: i32 = 12;
/// To the init: send signal `a` to the agent.
pub(crate) const SIGNAL: i32 = 13;

/// To the init: make a socket for streams of family `a` in the agent's network; it comes back with the answer.
pub(crate) const STREAM: i32 = 14;

/// Three numbers; the first says what it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame {
    /// One of the constants above.
    pub kind: i32,
    /// First detail.
    pub a: i32,
    /// Second detail.
    pub b: i32,
}

/// Length of a frame on the line.
pub(crate) const LENGTH: usize = 12;

impl Frame {
    /// The frame as bytes.
    #[must_use]
    pub(crate) fn bytes(self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        bytes[..4].copy_from_slice(&self.kind.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.a.to_le_bytes());
        bytes[8..].copy_from_slice(&self.b.to_le_bytes());
        bytes
    }

    /// The frame that these bytes are.
    #[must_use]
    pub(crate) fn parse(bytes: [u8; LENGTH]) -> Self {
        let number = |at: usize| i32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        Self { kind: number(0), a: number(4), b: number(8) }
    }
}

/// Sends a frame; allocates nothing. Twelve bytes go through a pipe or a local socket in one piece.
///
/// # Errors
/// `EPIPE` when nobody listens.
pub(crate) fn send(line: BorrowedFd<'_>, frame: Frame) -> io::Result<()> {
    child::write(line, &frame.bytes()).map(drop)
}

/// Receives a frame; allocates nothing.
///
/// # Errors
/// `UnexpectedEof` when the other side is gone.
pub(crate) fn receive(line: BorrowedFd<'_>) -> io::Result<Frame> {
    let mut bytes = [0; LENGTH];
    let mut at = 0;
    while at < LENGTH {
        match child::read(line, &mut bytes[at..]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => at += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Frame::parse(bytes))
}
