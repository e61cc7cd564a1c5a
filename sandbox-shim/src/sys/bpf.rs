//! eBPF: maps, programs, and memory that is shared with them.

use super::{check, check_int};
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::AtomicU64;

/// One instruction of a program, as the kernel reads it on a machine whose lowest byte comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Instruction {
    /// What is done.
    pub code: u8,
    /// To which register, in the lower half, and from which.
    pub registers: u8,
    /// How far from the pointer, or how many instructions to jump.
    pub offset: i16,
    /// A number.
    pub immediate: i32,
}

const MAP_CREATE: libc::c_int = 0;
const PROG_LOAD: libc::c_int = 5;
const RAW_TRACEPOINT_OPEN: libc::c_int = 17;

/// Makes a map: of which kind, with keys and values of which sizes, room for how much, and which flags.
fn make(kind: u32, key: u32, value: u32, room: u32, flags: u32) -> io::Result<OwnedFd> {
    let attributes = [kind, key, value, room, flags, 0];
    // SAFETY: making a map takes numbers, no pointer.
    owned(unsafe { bpf(MAP_CREATE, &attributes) }?)
}

/// Makes a ring of so many bytes that programs write into: a power of two, and whole pages.
///
/// # Errors
/// `EPERM` without the right to, `EINVAL` before Linux 5.8.
pub(crate) fn ring(bytes: u32) -> io::Result<OwnedFd> {
    const RING: u32 = 27;
    make(RING, 0, 0, bytes, 0)
}

/// Makes room for one value of so many bytes, a multiple of eight, on each processor, which only programs work on.
///
/// # Errors
/// `EPERM` without the right to, `E2BIG` for more than 32 KiB.
pub(crate) fn room(bytes: u32) -> io::Result<OwnedFd> {
    const ARRAY_OF_EACH_PROCESSOR: u32 = 6;
    make(ARRAY_OF_EACH_PROCESSOR, 4, bytes, 1, 0)
}

/// An array of values of so many bytes, a multiple of eight, that a program and whoever maps it share; all zero.
#[derive(Debug)]
pub(crate) struct Array {
    map: OwnedFd,
    words: Pages,
}

impl Array {
    /// Makes one of so many values.
    ///
    /// # Errors
    /// `EPERM` without the right to, `EINVAL` before Linux 5.5.
    pub(crate) fn new(value_bytes: u32, count: u32) -> io::Result<Self> {
        const ARRAY: u32 = 2;
        const MAPPABLE: u32 = 1 << 10;
        let bytes = usize::try_from(value_bytes * count).unwrap_or(usize::MAX).next_multiple_of(page_bytes());
        let map = make(ARRAY, 4, value_bytes, count, MAPPABLE)?;
        let words = Pages::of(map.as_fd(), 0, bytes, true)?;
        Ok(Self { map, words })
    }

    /// The descriptor, for a program.
    pub(crate) fn number(&self) -> RawFd {
        self.map.as_raw_fd()
    }

    /// The word that begins at this byte of all values.
    pub(crate) fn word(&self, at: usize) -> &AtomicU64 {
        self.words.word(at)
    }
}

/// What a program may be used under: some of what the kernel does, it does for programs under the GPL alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum License {
    /// That of the project.
    Apache,
    /// The GPL, version 2, or the MIT license.
    Gpl,
}

/// Loads a program for raw tracepoints. With `of`, the number of a tracepoint's type, for that one, whose arguments the kernel then knows the types of.
///
/// # Errors
/// `EPERM` without the right to, `EINVAL` or `EACCES` for a program that the kernel does not take, with what it says about it.
pub(crate) fn load(program: &[Instruction], license: License, of: Option<u32>) -> io::Result<OwnedFd> {
    match load_telling(program, license, of, &mut []) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EACCES)) => {
            let mut log = vec![0; 1 << 20];
            load_telling(program, license, of, &mut log).map_err(|error| {
                let text = String::from_utf8_lossy(&log);
                let lines: Vec<&str> = text.trim_end_matches('\0').trim_end().lines().collect();
                let last = lines[lines.len().saturating_sub(4)..].join("; ");
                io::Error::new(error.kind(), format!("{error}: {last}"))
            })
        }
        loaded => loaded,
    }
}

fn load_telling(program: &[Instruction], license: License, of: Option<u32>, log: &mut [u8]) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Load {
        kind: u32,
        count: u32,
        instructions: u64,
        license: u64,
        log_level: u32,
        log_bytes: u32,
        log: u64,
        kernel: u32,
        flags: u32,
        name: [u8; 16],
        interface: u32,
        attaches: u32,
        btf_functions_lines: [u64; 4],
        lines: u32,
        attaches_to: u32,
    }
    const RAW_TRACEPOINT: u32 = 17;
    const TRACING: u32 = 26;
    const AT_RAW_TRACEPOINT: u32 = 23;
    let license = match license {
        License::Apache => c"Apache-2.0",
        License::Gpl => c"Dual MIT/GPL",
    };
    let count = u32::try_from(program.len()).map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?;
    let load = Load {
        kind: if of.is_some() { TRACING } else { RAW_TRACEPOINT },
        count,
        instructions: program.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: u32::from(!log.is_empty()),
        log_bytes: u32::try_from(log.len()).unwrap_or(u32::MAX),
        log: if log.is_empty() { 0 } else { log.as_mut_ptr() as u64 },
        kernel: 0,
        flags: 0,
        name: [0; 16],
        interface: 0,
        attaches: if of.is_some() { AT_RAW_TRACEPOINT } else { 0 },
        btf_functions_lines: [0; 4],
        lines: 0,
        attaches_to: of.unwrap_or(0),
    };
    // SAFETY: the kernel reads `count` instructions, and the license up to its zero byte, and writes at most `log_bytes` to `log`; all of
    // them live until the call returns.
    owned(unsafe { bpf(PROG_LOAD, &load) }?)
}

/// Runs a program at each pass of a raw tracepoint, until the descriptor is closed; `None` where it was loaded for one.
///
/// # Errors
/// `ENOENT` when there is no such tracepoint, `EPERM` without the right to.
pub(crate) fn attach(tracepoint: Option<&CStr>, program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let name = tracepoint.map_or(0, |name| name.as_ptr() as u64);
    let attributes = [name, u64::from(program.as_raw_fd().unsigned_abs())];
    // SAFETY: the kernel reads the name up to its zero byte.
    owned(unsafe { bpf(RAW_TRACEPOINT_OPEN, &attributes) }?)
}

/// The one system call behind all of these.
///
/// # Safety
/// What `attributes` points at must be as `command` wants it, and live until this returns.
unsafe fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<u64> {
    // SAFETY: the kernel reads `size_of::<T>()` bytes of `attributes`; what these point at is the caller's promise.
    check(unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>()) })
}

fn owned(number: u64) -> io::Result<OwnedFd> {
    let number = RawFd::try_from(number).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
    // SAFETY: every caller passes the descriptor that the kernel just made for it and nobody else knows.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// How many bytes the kernel has in a page.
#[must_use]
pub(crate) fn page_bytes() -> usize {
    // SAFETY: the call touches no memory.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

/// Memory that is shared with the kernel, word by word.
#[derive(Debug)]
pub(crate) struct Pages {
    start: *mut AtomicU64,
    bytes: usize,
}

// SAFETY: the memory belongs to nobody's thread, and is reached through atomics alone.
unsafe impl Send for Pages {}
// SAFETY: as above.
unsafe impl Sync for Pages {}

impl Pages {
    /// Maps so many bytes of a file from an offset on, to be read, and written if that is said.
    ///
    /// # Errors
    /// `EPERM` where they may not be written.
    pub(crate) fn of(file: BorrowedFd<'_>, offset: usize, bytes: usize, writable: bool) -> io::Result<Self> {
        let rights = libc::PROT_READ | if writable { libc::PROT_WRITE } else { 0 };
        let offset = libc::off_t::try_from(offset).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
        // SAFETY: with no address given, the kernel chooses one where nothing is.
        let start =
            unsafe { libc::mmap(std::ptr::null_mut(), bytes, rights, libc::MAP_SHARED, file.as_raw_fd(), offset) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { start: start.cast(), bytes })
    }

    /// The word that begins at this byte, which must be a multiple of eight. One that may not be written must only be read.
    #[must_use]
    pub(crate) fn word(&self, at: usize) -> &AtomicU64 {
        assert!(at.is_multiple_of(8) && at < self.bytes, "a word inside the pages");
        let word = self.start.wrapping_add(at / 8);
        // SAFETY: the word lies in the mapping, which ends with `self` and is a multiple of eight bytes long; it begins at a page, so the
        // word is aligned; whatever else changes it does so as a whole.
        unsafe { &*word }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `of`, and no reference into it outlives `self`.
        let unmapped = unsafe { libc::munmap(self.start.cast(), self.bytes) };
        debug_assert!(check_int(unmapped).is_ok(), "a mapping can be undone");
    }
}
