//! A ring that programs in the kernel write into, read without a system call.
//!
//! ```text
//! first page          how far was read                    written by us
//! second page         how far was written                 written by the kernel
//! the rest            header, 16 bytes, header, …         written by the kernel
//! ```
//! A header is 8 bytes: the length in its first half, with a bit for what is still being written and one for what is to be skipped.

use crate::sys::bpf::{self, Pages};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
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
    /// How many bytes it has, if there is something in it, and where the next one begins.
    Finished(Option<u64>, u64),
}

/// Reads a header that lies at `at`.
fn head(header: u64, at: u64) -> Head {
    let [a, b, c, d, ..] = header.to_ne_bytes();
    let length = u32::from_ne_bytes([a, b, c, d]);
    if length & UNFINISHED != 0 {
        return Head::Unfinished;
    }
    let bytes = u64::from(length & !SKIPPED);
    Head::Finished((length & SKIPPED == 0).then_some(bytes), at + 8 + bytes.next_multiple_of(8))
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
        let written = Pages::of(map.as_fd(), page, page + bytes, false)?;
        Ok(Self { map, read, written, page, bytes })
    }

    /// The map, for the program.
    pub(super) fn number(&self) -> RawFd {
        self.map.as_raw_fd()
    }

    /// Takes the next two words out, or `None` when there is nothing.
    pub(super) fn next(&mut self) -> Option<[u64; 2]> {
        self.take(|ring, at, _| [0, 8].map(|offset| ring.word(at + offset).load(Ordering::Relaxed)))
    }

    /// Takes the next entry out, in place of what `bytes` held, or says that there is nothing.
    pub(super) fn next_into(&mut self, bytes: &mut Vec<u8>) -> bool {
        let taken = self.take(|ring, at, length| {
            bytes.clear();
            let words = (0..length.next_multiple_of(8)).step_by(8);
            bytes.extend(words.flat_map(|offset| ring.word(at + offset).load(Ordering::Relaxed).to_ne_bytes()));
            bytes.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        });
        taken.is_some()
    }

    /// How many bytes wait to be read, of how many there is room for.
    pub(super) fn waiting(&self) -> (u64, u64) {
        let read = self.read.word(0).load(Ordering::Relaxed);
        let written = self.written.word(0).load(Ordering::Acquire);
        (written.saturating_sub(read), self.bytes as u64)
    }

    /// The map, to wait for.
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.map.as_fd()
    }

    /// Takes the next entry out, of which `read` is told where it begins and how many bytes it has.
    fn take<T>(&mut self, read: impl FnOnce(&Self, u64, u64) -> T) -> Option<T> {
        let mut at = self.read.word(0).load(Ordering::Relaxed);
        let mut looks = 0;
        while at < self.written.word(0).load(Ordering::Acquire) {
            let (length, next) = match head(self.word(at).load(Ordering::Acquire), at) {
                Head::Finished(length, next) => (length, next),
                Head::Unfinished if looks < LOOKS_MAX => {
                    looks += 1;
                    std::hint::spin_loop();
                    continue;
                }
                Head::Unfinished => return None,
            };
            let done = |ring: &Self| ring.read.word(0).store(next, Ordering::Release);
            if let Some(length) = length {
                let told = read(self, at + 8, length);
                done(self);
                return Some(told);
            }
            done(self);
            at = next;
        }
        None
    }

    /// The word of the rest at this byte, counted on where the rest ends and begins again.
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
        assert_eq!(head(header(16), 48), Head::Finished(Some(16), 72));
        assert_eq!(head(header(13), 0), Head::Finished(Some(13), 24));
        assert_eq!(head(header(16 | SKIPPED), 0), Head::Finished(None, 24));
        assert_eq!(head(header(16 | UNFINISHED), 0), Head::Unfinished);
    }
}
