//! Files: what the shim does in the agent's place, and the mounts that hide what the agent must not reach.

use super::{check, check_int};
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Opens `path` below `directory`; the descriptor is closed on exec.
///
/// # Errors
/// What the kernel says.
pub(crate) fn open_at(directory: BorrowedFd<'_>, path: &CStr, flags: i32, mode: u32) -> io::Result<OwnedFd> {
    // SAFETY: `path` ends in a zero byte; the directory is open while borrowed.
    let fd = unsafe { libc::openat(directory.as_raw_fd(), path.as_ptr(), flags | libc::O_CLOEXEC, mode) };
    let fd = check_int(fd)?;
    // SAFETY: the kernel just made this descriptor for us and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Opens an absolute path, or one that is meant against the shim's own working directory.
///
/// # Errors
/// What the kernel says.
pub(crate) fn open(path: &CStr, flags: i32) -> io::Result<OwnedFd> {
    // SAFETY: `path` ends in a zero byte.
    let fd = unsafe { libc::open(path.as_ptr(), flags | libc::O_CLOEXEC, 0) };
    let fd = check_int(fd)?;
    // SAFETY: the kernel just made this descriptor for us and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// What a symbolic link says, written into `buffer`; how many bytes it is long.
///
/// # Errors
/// `EINVAL` when it is not a link.
pub(crate) fn read_link(path: &CStr, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the kernel writes at most `buffer.len()` bytes into `buffer`; `path` ends in a zero byte.
    let result = unsafe { libc::readlink(path.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len()) };
    super::check_size(result)
}

/// As [`read_link`], of a link below `directory`.
///
/// # Errors
/// `EINVAL` when it is not a link.
pub(crate) fn read_link_at(directory: BorrowedFd<'_>, path: &CStr, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the kernel writes at most `buffer.len()` bytes into `buffer`; `path` ends in a zero byte; the directory is open while
    // borrowed.
    let result =
        unsafe { libc::readlinkat(directory.as_raw_fd(), path.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len()) };
    super::check_size(result)
}

/// Renames between two directories, with the flags of `renameat2`.
///
/// # Errors
/// What the kernel says.
pub(crate) fn rename_at(from: (BorrowedFd<'_>, &CStr), to: (BorrowedFd<'_>, &CStr), flags: u32) -> io::Result<()> {
    // SAFETY: both names end in a zero byte; both directories are open while borrowed.
    let result = unsafe {
        libc::syscall(libc::SYS_renameat2, from.0.as_raw_fd(), from.1.as_ptr(), to.0.as_raw_fd(), to.1.as_ptr(), flags)
    };
    check(result).map(drop)
}

/// Makes a hard link.
///
/// # Errors
/// What the kernel says.
pub(crate) fn link_at(from: (BorrowedFd<'_>, &CStr), to: (BorrowedFd<'_>, &CStr), flags: i32) -> io::Result<()> {
    // SAFETY: both names end in a zero byte; both directories are open while borrowed.
    let result = unsafe { libc::linkat(from.0.as_raw_fd(), from.1.as_ptr(), to.0.as_raw_fd(), to.1.as_ptr(), flags) };
    check_int(result).map(drop)
}

/// Makes a symbolic link.
///
/// # Errors
/// What the kernel says.
pub(crate) fn symlink_at(text: &CStr, directory: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    // SAFETY: both texts end in a zero byte; the directory is open while borrowed.
    let result = unsafe { libc::symlinkat(text.as_ptr(), directory.as_raw_fd(), name.as_ptr()) };
    check_int(result).map(drop)
}

/// Removes a name; a directory's with `AT_REMOVEDIR`.
///
/// # Errors
/// What the kernel says.
pub(crate) fn unlink_at(directory: BorrowedFd<'_>, name: &CStr, flags: i32) -> io::Result<()> {
    // SAFETY: the name ends in a zero byte; the directory is open while borrowed.
    let result = unsafe { libc::unlinkat(directory.as_raw_fd(), name.as_ptr(), flags) };
    check_int(result).map(drop)
}

/// Makes a directory.
///
/// # Errors
/// What the kernel says.
pub(crate) fn mkdir_at(directory: BorrowedFd<'_>, name: &CStr, mode: u32) -> io::Result<()> {
    // SAFETY: the name ends in a zero byte; the directory is open while borrowed.
    let result = unsafe { libc::mkdirat(directory.as_raw_fd(), name.as_ptr(), mode) };
    check_int(result).map(drop)
}

/// Makes a pipe, a socket or an empty file.
///
/// # Errors
/// What the kernel says.
pub(crate) fn mknod_at(directory: BorrowedFd<'_>, name: &CStr, mode: u32, device: u64) -> io::Result<()> {
    // SAFETY: the name ends in a zero byte; the directory is open while borrowed.
    let result = unsafe { libc::mknodat(directory.as_raw_fd(), name.as_ptr(), mode, device) };
    check_int(result).map(drop)
}

/// Cuts or stretches a file by path.
///
/// # Errors
/// What the kernel says.
pub(crate) fn truncate(path: &CStr, length: i64) -> io::Result<()> {
    // SAFETY: the path ends in a zero byte.
    let result = unsafe { libc::truncate(path.as_ptr(), length) };
    check_int(result).map(drop)
}

/// Changes mode bits by path, following links.
///
/// # Errors
/// What the kernel says.
pub(crate) fn chmod(path: &CStr, mode: u32) -> io::Result<()> {
    // SAFETY: the path ends in a zero byte.
    let result = unsafe { libc::chmod(path.as_ptr(), mode) };
    check_int(result).map(drop)
}

/// Changes the owner by path, following links.
///
/// # Errors
/// What the kernel says.
pub(crate) fn chown(path: &CStr, user: u32, group: u32) -> io::Result<()> {
    // SAFETY: the path ends in a zero byte.
    let result = unsafe { libc::chown(path.as_ptr(), user, group) };
    check_int(result).map(drop)
}

/// Sets an extended attribute by path, following links, or removes it when there is no value.
///
/// # Errors
/// What the kernel says.
pub(crate) fn set_attribute(path: &CStr, name: &CStr, value: Option<&[u8]>, flags: i32) -> io::Result<()> {
    let result = match value {
        // SAFETY: both texts end in a zero byte, and the kernel reads `value.len()` bytes from `value`.
        Some(value) => unsafe {
            libc::setxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), flags)
        },
        // SAFETY: both texts end in a zero byte.
        None => unsafe { libc::removexattr(path.as_ptr(), name.as_ptr()) },
    };
    check_int(result).map(drop)
}

/// Reads an extended attribute by path into `buffer`, following links; how many bytes it is long.
///
/// # Errors
/// `ENODATA` when there is none, `ERANGE` when it is longer than `buffer`.
pub(crate) fn get_attribute(path: &CStr, name: &CStr, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: both texts end in a zero byte, and the kernel writes at most `buffer.len()` bytes into `buffer`.
    let result = unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len()) };
    super::check_size(result)
}

/// The flags of the mount that `path` is on, in the numbers of `mount(2)` for no set-user-id, no devices and no execution.
///
/// # Errors
/// What the kernel says.
pub(crate) fn mount_flags(path: &CStr) -> io::Result<u64> {
    // SAFETY: all zeros is a valid `statvfs`.
    let mut found: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path ends in a zero byte, and the kernel writes one `statvfs`.
    check_int(unsafe { libc::statvfs(path.as_ptr(), &raw mut found) })?;
    Ok(found.f_flag & (libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC))
}

/// Mounts; all arguments as of `mount(2)`.
///
/// # Errors
/// `EPERM` without the capability in the mount namespace.
pub(crate) fn mount(source: &CStr, target: &CStr, kind: &CStr, flags: u64, options: &CStr) -> io::Result<()> {
    // SAFETY: every text ends in a zero byte.
    let result =
        unsafe { libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, options.as_ptr().cast()) };
    check_int(result).map(drop)
}

/// Sets the calling thread's file creation mask and returns the one before.
pub(crate) fn umask(mask: u32) -> u32 {
    // SAFETY: the call cannot fail and touches no memory.
    unsafe { libc::umask(mask) }
}
