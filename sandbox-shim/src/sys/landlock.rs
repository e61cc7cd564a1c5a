//! Landlock: a ruleset is filled by the shim and put on by the agent's first process before it executes anything.
//!
//! The calls are made directly, because the last rule is added between `fork` and `exec`, where nothing may allocate.

use super::check;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Rights over files, as the kernel numbers them.
pub(crate) mod right {
    /// Execute a file.
    pub(crate) const EXECUTE: u64 = 1;
    /// Open a file for writing.
    pub(crate) const WRITE_FILE: u64 = 1 << 1;
    /// Open a file for reading.
    pub(crate) const READ_FILE: u64 = 1 << 2;
    /// Move or link between directories, since ABI 2.
    pub(crate) const REFER: u64 = 1 << 13;
    /// Cut a file, since ABI 3.
    pub(crate) const TRUNCATE: u64 = 1 << 14;
    /// Device controls, since ABI 5.
    pub(crate) const IOCTL_DEV: u64 = 1 << 15;
    /// List a folder.
    pub(crate) const READ_DIR: u64 = 1 << 3;
    /// What reading and executing take.
    pub(crate) const OF_READING: u64 = EXECUTE | READ_FILE | READ_DIR;
    /// Every right of the first ABI: bits 0 to 12.
    pub(crate) const FIRST: u64 = (1 << 13) - 1;
    /// The rights that a rule on a single file may grant.
    pub(crate) const OF_A_FILE: u64 = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV;
}

const NET_CONNECT_TCP: u64 = 2;
const SCOPE_ABSTRACT_UNIX: u64 = 1;
const SCOPE_SIGNAL: u64 = 2;

#[repr(C)]
struct RulesetAttr {
    handled_access_fs: u64,
    handled_access_net: u64,
    scoped: u64,
}

#[repr(C, packed)]
struct PathBeneathAttr {
    allowed_access: u64,
    parent_fd: i32,
}

/// The version of Landlock the kernel speaks; 0 when it has none or it is switched off.
#[must_use]
pub(crate) fn abi() -> u32 {
    const VERSION: u32 = 1;
    // SAFETY: with the version flag the kernel takes a null pointer and a size of zero, and reads nothing.
    let result =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<RulesetAttr>(), 0_usize, VERSION) };
    u32::try_from(result).unwrap_or(0)
}

/// Every right over files that this version knows and the shim handles.
#[must_use]
pub(crate) const fn file_rights(abi: u32) -> u64 {
    let mut rights = right::FIRST;
    if abi >= 2 {
        rights |= right::REFER;
    }
    if abi >= 3 {
        rights |= right::TRUNCATE;
    }
    if abi >= 5 {
        rights |= right::IOCTL_DEV;
    }
    rights
}

/// Makes a ruleset that denies these file rights and every TCP connect, and, from ABI 6 on, keeps signals and abstract sockets
/// inside. Rules then grant.
///
/// # Errors
/// What the kernel says; `ENOMEM`, `EMFILE`.
pub(crate) fn create(abi: u32, file_rights: u64) -> io::Result<OwnedFd> {
    let attr = RulesetAttr {
        handled_access_fs: file_rights,
        handled_access_net: if abi >= 4 { NET_CONNECT_TCP } else { 0 },
        scoped: if abi >= 6 { SCOPE_ABSTRACT_UNIX | SCOPE_SIGNAL } else { 0 },
    };
    let size: usize = match abi {
        0..=3 => 8,
        4..=5 => 16,
        _ => 24,
    };
    // SAFETY: the kernel reads the first `size` bytes of `attr`, which is at least that long.
    let result = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::from_ref(&attr), size, 0_u32) };
    let fd = RawFd::try_from(check(result)?).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
    // SAFETY: the kernel just made this descriptor for us and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Grants `rights` on the file or directory that `object` (an `O_PATH` descriptor) refers to, and all below it.
///
/// # Errors
/// `EINVAL` for a right that does not fit the object.
pub(crate) fn grant(ruleset: BorrowedFd<'_>, object: BorrowedFd<'_>, rights: u64) -> io::Result<()> {
    const PATH_BENEATH: u32 = 1;
    let attr = PathBeneathAttr { allowed_access: rights, parent_fd: object.as_raw_fd() };
    // SAFETY: the kernel reads one rule from `attr`; both descriptors are open while borrowed.
    let result = unsafe {
        libc::syscall(libc::SYS_landlock_add_rule, ruleset.as_raw_fd(), PATH_BENEATH, std::ptr::from_ref(&attr), 0_u32)
    };
    check(result).map(drop)
}

/// Puts the ruleset on the calling thread and all it starts. There is no way back.
///
/// # Errors
/// `EPERM` without `no_new_privs`, `E2BIG` below sixteen layers.
pub(crate) fn restrict_self(ruleset: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: no pointer is passed.
    let result = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0_u32) };
    check(result).map(drop)
}
