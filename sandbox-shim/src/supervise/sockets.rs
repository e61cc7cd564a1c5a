//! Where a process's sockets cannot be copied (Docker's default profile refuses `pidfd_getfd`), the shim makes them itself, keeps a
//! copy of each and hands the other over.
//!
//! A kept copy would keep a connection open that the agent has closed, so a stream's copy is let go as soon as it is connected or
//! bound. Datagram sockets have nothing to close; theirs are kept until the session ends.

use crate::lock::lock;
use crate::sys::net;
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::Mutex;

/// The copies, by the number of the socket's inode.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    kept: Mutex<HashMap<u64, OwnedFd>>,
}

fn inode(socket: &OwnedFd) -> io::Result<u64> {
    Ok(std::fs::File::from(socket.try_clone()?).metadata()?.ino())
}

impl Sockets {
    /// Makes a socket and keeps a copy.
    pub(crate) fn make(&self, domain: i32, kind: i32, protocol: i32) -> io::Result<OwnedFd> {
        let socket = net::socket(domain, kind, protocol)?;
        lock(&self.kept).insert(inode(&socket)?, socket.try_clone()?);
        Ok(socket)
    }

    /// A copy of a thread's descriptor, if it is a socket that was made here and not let go.
    pub(crate) fn copy(&self, thread: i32, descriptor: i32) -> io::Result<OwnedFd> {
        let link = std::fs::read_link(format!("/proc/{thread}/fd/{descriptor}"));
        let link = link.map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
        let number = link.to_str().and_then(|text| text.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
        let number: u64 = number.ok_or_else(|| io::Error::from_raw_os_error(libc::ENOTSOCK))?;
        let kept = lock(&self.kept);
        kept.get(&number).ok_or_else(|| io::Error::from_raw_os_error(libc::EPERM))?.try_clone()
    }

    /// Lets a stream's copy go.
    pub(crate) fn let_go(&self, socket: &OwnedFd) {
        let is_stream = net::option(socket.as_fd(), libc::SO_TYPE).is_ok_and(|kind| kind == libc::SOCK_STREAM);
        if let (true, Ok(number)) = (is_stream, inode(socket)) {
            lock(&self.kept).remove(&number);
        }
    }
}
