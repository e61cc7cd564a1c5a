//! A ring that programs in the kernel write into, read without a system call.
//!
//! ```text
//! first page          how far was read                    written by us
//! second page         how far was written                 written by the kernel
//! the rest, twice     header, 16 bytes, header, …         written by the kernel
//! ```
//! A header is 8 bytes: the length in its first half, with a bit for what is still being written and one for what is to be skipped.

use crate::sys::bpf::{self, Pages};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};

const UNFINISHED: u32 = 1 << 31;
const SKIPPED: u32 = 1 << 30;

/// How often an entry is looked at that is still being written. The kernel writes it without being interrupted, so it takes no time.
const LOOKS_MAX: u32 = 1 << 20;

/// What lies where reading goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Head {
    /// It is still being written.
    Unfinished,
    /// Whether there is something in it, and how far it goes.
    Finished(bool, u64),
}

/// Reads a header that lies at `at`.
fn head(header: u64, at: u64) -> Head {
    let [a, b, c, d, ..] = header.to_ne_bytes();
    let length = u32::from_ne_bytes([a, b, c, d]);
    if length & UNFINISHED != 0 {
        return Head::Unfinished;
    }
    let bytes = u64::from(length & !SKIPPED);
    Head::Finished(length & SKIPPED == 0, at + 8 + bytes.next_multiple_of(8))
}

/// A ring, and our end of it.
#[derive(Debug)]
pub(crate) struct Ring {
    map: OwnedFd,
    read: Pages,
    written: Pages,
    page: usize,
    bytes: usize,
}

impl Ring {
    /// Makes a ring of so many bytes: a power of two, and whole pages.
    ///
    /// # Errors
    /// `EPERM` without the right to, `EINVAL` before Linux 5.8.
    pub(super) fn new(bytes: u32) -> io::Result<Self> {
        let map = bpf::ring(bytes)?;
        let (page, bytes) = (bpf::page_bytes(), usize::try_from(bytes).unwrap_or(usize::MAX));
        let read = Pages::of(map.as_fd(), 0, page, true)?;
        let written = Pages::of(map.as_fd(), page, page + 2 * bytes, false)?;
        Ok(Self { map, read, written, page, bytes })
    }

    /// The map, for the program.
    pub(super) fn number(&self) -> RawFd {
        self.map.as_raw_fd()
    }

    /// Takes the next two words out, or `None` when there is nothing.
    pub(super) fn next(&mut self) -> Option<[u64; 2]> {
        let mut at = self.read.word(0).load(Ordering::Relaxed);
        let mut looks = 0;
        while at < self.written.word(0).load(Ordering::Acquire) {
            let (is_told, next) = match head(self.word(at).load(Ordering::Acquire), at) {
                Head::Finished(is_told, next) => (is_told, next),
                Head::Unfinished if looks < LOOKS_MAX => {
                    looks += 1;
                    std::hint::spin_loop();
                    continue;
                }
                Head::Unfinished => return None,
            };
            let told = [8, 16].map(|offset| self.word(at + offset).load(Ordering::Relaxed));
            self.read.word(0).store(next, Ordering::Release);
            if is_told {
                return Some(told);
            }
            at = next;
        }
        None
    }

    /// The word of the rest at this byte; the rest is there twice, so that what begins in it can be read on.
    fn word(&self, at: u64) -> &AtomicU64 {
        let inside = usize::try_from(at).unwrap_or(usize::MAX) & (self.bytes - 1);
        self.written.word(self.page + inside)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_says_what_follows_it() {
        let header = |length: u32| {
            let [a, b, c, d] = length.to_ne_bytes();
            u64::from_ne_bytes([a, b, c, d, 1, 2, 3, 4])
        };
        assert_eq!(head(header(16), 48), Head::Finished(true, 72));
        assert_eq!(head(header(13), 0), Head::Finished(true, 24));
        assert_eq!(head(header(16 | SKIPPED), 0), Head::Finished(false, 24));
        assert_eq!(head(header(16 | UNFINISHED), 0), Head::Unfinished);
    }
}
