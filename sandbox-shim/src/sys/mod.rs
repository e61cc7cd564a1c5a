//! Every system call that the standard library does not offer: one safe function each.
//!
//! All `unsafe` of the project lives in this folder. Each function does one call, checks its result, and turns a failure into
//! [`std::io::Error`], which allocates nothing, so that these functions may also run between `fork` and `exec`.
#![expect(unsafe_code, reason = "this folder is where the project keeps its unsafe code")]

pub(crate) mod arch;
pub(crate) mod bpf;
pub(crate) mod child;
pub(crate) mod fanotify;
pub(crate) mod fs;
pub(crate) mod heap;
pub(crate) mod landlock;
pub(crate) mod net;
pub(crate) mod process;
pub(crate) mod seccomp;

use std::io;

/// Turns a system call's return value into a result.
fn check(result: libc::c_long) -> io::Result<u64> {
    u64::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// As [`check`], for calls of the C library that return an `int`.
fn check_int(result: libc::c_int) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// As [`check`], for calls that return a size.
fn check_size(result: libc::ssize_t) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// The number of an error; `EIO` for one that has none.
#[must_use]
pub(crate) fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}
