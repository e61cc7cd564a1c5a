//! The directory that a relative path is meant against.
//!
//! It is asked of the kernel for every call, because a process can close a directory and have another under the same number without a
//! call that the shim hears of. What is kept is the way to ask: the thread's folder in `/proc`, held open. It stands for that thread
//! and no other, and says so when the thread is gone, whoever has its number by then.

use crate::sys::fs;
use std::ffi::{CStr, CString, OsString};
use std::io::{self, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// How many folders are kept open: more threads than that seldom open files by turns.
const OPEN_MAX: usize = 16;

/// As long as the kernel lets a path be.
const PATH_MAX: usize = 4096;

/// The folders in `/proc` of the threads that asked last.
#[derive(Debug)]
pub(crate) struct Bases {
    /// The one that is replaced next stands at `next`.
    open: Vec<(i32, OwnedFd)>,
    next: usize,
    buffer: Box<[u8; PATH_MAX]>,
}

impl Default for Bases {
    fn default() -> Self {
        Self { open: Vec::new(), next: 0, buffer: Box::new([0; PATH_MAX]) }
    }
}

impl Bases {
    /// What `directory`, a descriptor of `thread` or `AT_FDCWD`, refers to, as the kernel names it.
    ///
    /// # Errors
    /// `EBADF` or `ENOTDIR` when the descriptor is none.
    pub(crate) fn of(&mut self, thread: i32, directory: i32, must_be_directory: bool) -> io::Result<PathBuf> {
        let bad = || io::Error::from_raw_os_error(libc::EBADF);
        if directory == libc::AT_FDCWD {
            return self.link(thread, c"cwd");
        }
        if directory < 0 {
            return Err(bad());
        }
        // Made without the heap: this is done for every file that is opened in a folder.
        let mut name = [0_u8; 16];
        write!(&mut name[..], "fd/{directory}")?;
        let name = CStr::from_bytes_until_nul(&name).map_err(|_| bad())?;
        let base = self.link(thread, name).map_err(|_| bad())?;
        if must_be_directory && !base.is_absolute() {
            return Err(io::Error::from_raw_os_error(libc::ENOTDIR));
        }
        Ok(base)
    }

    fn link(&mut self, thread: i32, name: &CStr) -> io::Result<PathBuf> {
        if let Some(at) = self.open.iter().position(|(whose, _)| *whose == thread) {
            let found = fs::read_link_at(self.open[at].1.as_fd(), name, &mut self.buffer[..]);
            match found {
                Ok(length) => return Ok(self.text(length)),
                // Either there is no such descriptor, or the thread is gone and another has its number: asked anew, it is clear which.
                Err(_) => drop(self.open.swap_remove(at)),
            }
        }
        let path = CString::new(format!("/proc/{thread}"))?;
        let folder = fs::open(&path, libc::O_PATH | libc::O_DIRECTORY)?;
        let found = fs::read_link_at(folder.as_fd(), name, &mut self.buffer[..]);
        if self.open.len() < OPEN_MAX {
            self.open.push((thread, folder));
        } else {
            self.open[self.next] = (thread, folder);
            self.next = (self.next + 1) % OPEN_MAX;
        }
        found.map(|length| self.text(length))
    }

    fn text(&self, length: usize) -> PathBuf {
        PathBuf::from(OsString::from_vec(self.buffer[..length].to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd as _;
    use std::process::{Command, Stdio};

    fn me() -> i32 {
        i32::try_from(std::process::id()).unwrap()
    }

    #[test]
    fn a_number_that_means_another_directory_by_now_is_not_taken_for_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let (a, b) = (root.join("a"), root.join("b"));
        std::fs::create_dir(&a).unwrap();
        std::fs::create_dir(&b).unwrap();
        let mut bases = Bases::default();
        let open = std::fs::File::open(&a).unwrap();
        assert_eq!(bases.of(me(), open.as_raw_fd(), true).unwrap(), a);
        std::fs::rename(&a, root.join("c")).unwrap();
        assert_eq!(bases.of(me(), open.as_raw_fd(), true).unwrap(), root.join("c"));
        let other = std::fs::File::open(&b).unwrap();
        assert_eq!(bases.of(me(), other.as_raw_fd(), true).unwrap(), b);
        let number = other.as_raw_fd();
        let gone = i32::MAX;
        assert_eq!(bases.of(me(), gone, true).unwrap_err().raw_os_error(), Some(libc::EBADF));
        // An error costs the folder, not the next answer.
        assert_eq!(bases.of(me(), number, true).unwrap(), b);
        assert_eq!(bases.of(me(), -5, true).unwrap_err().raw_os_error(), Some(libc::EBADF));
    }

    #[test]
    fn what_is_no_directory_is_named_only_when_it_need_not_be_one() {
        let mut bases = Bases::default();
        let (reader, _writer) = std::io::pipe().unwrap();
        let refused = bases.of(me(), reader.as_raw_fd(), true).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::ENOTDIR));
        let name = bases.of(me(), reader.as_raw_fd(), false).unwrap();
        assert!(name.to_str().unwrap().starts_with("pipe:"), "{}", name.display());
    }

    #[test]
    fn more_threads_than_folders_are_each_answered_for_and_one_that_is_gone_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let mut children = Vec::new();
        for number in 0..OPEN_MAX + 3 {
            let place = root.join(number.to_string());
            std::fs::create_dir(&place).unwrap();
            let child = Command::new("cat").current_dir(&place).stdin(Stdio::piped()).spawn().unwrap();
            children.push((child, place));
        }
        let mut bases = Bases::default();
        for _ in 0..2 {
            for (child, place) in &children {
                let pid = i32::try_from(child.id()).unwrap();
                assert_eq!(&bases.of(pid, libc::AT_FDCWD, true).unwrap(), place);
            }
        }
        assert_eq!(bases.open.len(), OPEN_MAX);
        for (mut child, _) in children {
            let pid = i32::try_from(child.id()).unwrap();
            drop(child.stdin.take());
            child.wait().unwrap();
            assert!(bases.of(pid, libc::AT_FDCWD, true).is_err());
        }
    }
}
