//! Reads a waiting system call: from its number and registers, and the memory they point to, to what it asks for.

use super::memory::Memory;
use crate::sys::arch::nr;
use crate::sys::seccomp::Notification;
use libc::{AT_EMPTY_PATH, AT_FDCWD, AT_REMOVEDIR, AT_SYMLINK_FOLLOW, AT_SYMLINK_NOFOLLOW};
use std::io;
use wk_schemas::body::FileOperation;

/// A path as given: against a descriptor, or the working directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// Descriptor of a directory, or `AT_FDCWD`.
    pub directory: i32,
    /// The text; empty when the descriptor itself is meant.
    pub path: Vec<u8>,
}

/// What is done to one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Remove a name.
    Unlink,
    /// Remove an empty directory.
    RemoveDirectory,
    /// Make a directory with these mode bits.
    MakeDirectory(u32),
    /// Make a node with these mode bits and device number.
    MakeNode(u32, u64),
    /// Cut or stretch.
    Truncate(i64),
    /// Set mode bits.
    Mode(u32),
    /// Set owner and group.
    Owner(u32, u32),
}

impl Change {
    /// The record's word for it.
    #[must_use]
    pub(crate) const fn operation(self) -> FileOperation {
        match self {
            Self::Unlink => FileOperation::Unlink,
            Self::RemoveDirectory => FileOperation::RemoveDirectory,
            Self::MakeDirectory(_) => FileOperation::MakeDirectory,
            Self::MakeNode(..) => FileOperation::MakeNode,
            Self::Truncate(_) => FileOperation::Truncate,
            Self::Mode(_) => FileOperation::ChangeMode,
            Self::Owner(..) => FileOperation::ChangeOwner,
        }
    }

    /// Whether the name itself is meant rather than what it refers to.
    #[must_use]
    pub(crate) const fn is_about_the_name(self) -> bool {
        matches!(self, Self::Unlink | Self::RemoveDirectory | Self::MakeDirectory(_) | Self::MakeNode(..))
    }

    /// Flags or mode bits, for the record.
    #[must_use]
    pub(crate) fn flags(self) -> i64 {
        match self {
            Self::Unlink => 0,
            Self::RemoveDirectory => i64::from(AT_REMOVEDIR),
            Self::MakeDirectory(mode) | Self::MakeNode(mode, _) | Self::Mode(mode) => i64::from(mode),
            Self::Truncate(length) => length,
            Self::Owner(user, group) => (i64::from(user) << 32) | i64::from(group),
        }
    }
}

/// What a waiting call asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    /// Execute a program.
    Execute { place: Place, argv: u64, follow: bool },
    /// Open a file.
    Open { place: Place, flags: i32, mode: u32, resolve: u64 },
    /// Change one path.
    Change { place: Place, follow: bool, change: Change },
    /// Change an open file: only recorded, because what it may do was decided when it was opened.
    ChangeOpen { descriptor: i32, change: Change },
    /// Rename or hard-link.
    Move { from: Place, to: Place, link: bool, follow: bool, flags: u32 },
    /// Make a symbolic link.
    Symlink { text: Vec<u8>, place: Place },
    /// Connect a socket.
    Connect { socket: i32, address: Vec<u8> },
    /// Take an address.
    Bind { socket: i32, address: Vec<u8> },
    /// Await connections.
    Listen { socket: i32 },
    /// Send a datagram to an address.
    SendTo { socket: i32, data: u64, length: u64, flags: i32, address: Vec<u8> },
    /// Send one message or several; their headers lie in memory.
    SendMessages { socket: i32, headers: u64, count: u64, flags: i32, several: bool },
    /// Make an IP socket; only where the shim makes them.
    Socket { domain: i32, kind: i32, protocol: i32 },
    /// Only seen.
    Seen,
}

/// The longest address the kernel takes.
const ADDRESS_MAX: usize = 128;

#[expect(clippy::cast_possible_truncation, reason = "the kernel takes the low 32 bits of such a register")]
const fn low(register: u64) -> u32 {
    register as u32
}

#[expect(clippy::cast_possible_wrap, reason = "the kernel takes the low 32 bits of such a register, with their sign")]
const fn int(register: u64) -> i32 {
    low(register) as i32
}

/// Reads what `call` asks for.
///
/// # Errors
/// `EFAULT`, `ENAMETOOLONG` or `EINVAL`, as the kernel itself would answer; `EPERM` when memory may not be looked into.
pub(crate) fn read(call: &Notification, memory: Memory) -> io::Result<Request> {
    let a = call.args;
    let here = |path: u64| Ok::<_, io::Error>(Place { directory: AT_FDCWD, path: memory.path(path)? });
    let at =
        |directory: u64, path: u64| Ok::<_, io::Error>(Place { directory: int(directory), path: memory.path(path)? });
    let change = |place: Place, follow: bool, change: Change| Request::Change { place, follow, change };
    let nofollow = |flags: u64| int(flags) & AT_SYMLINK_NOFOLLOW == 0;
    Ok(match call.nr {
        libc::SYS_execve => Request::Execute { place: here(a[0])?, argv: a[1], follow: true },
        libc::SYS_execveat => Request::Execute { place: at(a[0], a[1])?, argv: a[2], follow: nofollow(a[4]) },
        libc::SYS_openat => Request::Open { place: at(a[0], a[1])?, flags: int(a[2]), mode: low(a[3]), resolve: 0 },
        nr::OPEN => Request::Open { place: here(a[0])?, flags: int(a[1]), mode: low(a[2]), resolve: 0 },
        nr::CREAT => {
            let flags = libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC;
            Request::Open { place: here(a[0])?, flags, mode: low(a[1]), resolve: 0 }
        }
        libc::SYS_openat2 => {
            if a[3] < 24 {
                return Err(io::Error::from_raw_os_error(libc::EINVAL));
            }
            let (flags, mode, resolve) = (memory.number(a[2])?, memory.number(a[2] + 8)?, memory.number(a[2] + 16)?);
            Request::Open { place: at(a[0], a[1])?, flags: int(flags), mode: low(mode), resolve }
        }
        nr::UNLINK => change(here(a[0])?, false, Change::Unlink),
        nr::RMDIR => change(here(a[0])?, false, Change::RemoveDirectory),
        libc::SYS_unlinkat if int(a[2]) & AT_REMOVEDIR != 0 => change(at(a[0], a[1])?, false, Change::RemoveDirectory),
        libc::SYS_unlinkat => change(at(a[0], a[1])?, false, Change::Unlink),
        nr::MKDIR => change(here(a[0])?, false, Change::MakeDirectory(low(a[1]))),
        libc::SYS_mkdirat => change(at(a[0], a[1])?, false, Change::MakeDirectory(low(a[2]))),
        nr::MKNOD => change(here(a[0])?, false, Change::MakeNode(low(a[1]), a[2])),
        libc::SYS_mknodat => change(at(a[0], a[1])?, false, Change::MakeNode(low(a[2]), a[3])),
        libc::SYS_truncate => change(here(a[0])?, true, Change::Truncate(a[1].cast_signed())),
        nr::CHMOD => change(here(a[0])?, true, Change::Mode(low(a[1]))),
        libc::SYS_fchmodat => change(at(a[0], a[1])?, true, Change::Mode(low(a[2]))),
        nr::FCHMODAT2 => change(at(a[0], a[1])?, nofollow(a[3]), Change::Mode(low(a[2]))),
        nr::CHOWN => change(here(a[0])?, true, Change::Owner(low(a[1]), low(a[2]))),
        nr::LCHOWN => change(here(a[0])?, false, Change::Owner(low(a[1]), low(a[2]))),
        libc::SYS_fchownat => change(at(a[0], a[1])?, nofollow(a[4]), Change::Owner(low(a[2]), low(a[3]))),
        libc::SYS_fchmod => Request::ChangeOpen { descriptor: int(a[0]), change: Change::Mode(low(a[1])) },
        libc::SYS_fchown => Request::ChangeOpen { descriptor: int(a[0]), change: Change::Owner(low(a[1]), low(a[2])) },
        nr::RENAME => Request::Move { from: here(a[0])?, to: here(a[1])?, link: false, follow: false, flags: 0 },
        libc::SYS_renameat => {
            Request::Move { from: at(a[0], a[1])?, to: at(a[2], a[3])?, link: false, follow: false, flags: 0 }
        }
        libc::SYS_renameat2 => {
            Request::Move { from: at(a[0], a[1])?, to: at(a[2], a[3])?, link: false, follow: false, flags: low(a[4]) }
        }
        nr::LINK => Request::Move { from: here(a[0])?, to: here(a[1])?, link: true, follow: false, flags: 0 },
        libc::SYS_linkat => {
            let follow = int(a[4]) & (AT_SYMLINK_FOLLOW | AT_EMPTY_PATH) != 0;
            Request::Move { from: at(a[0], a[1])?, to: at(a[2], a[3])?, link: true, follow, flags: low(a[4]) }
        }
        nr::SYMLINK => Request::Symlink { text: memory.path(a[0])?, place: here(a[1])? },
        libc::SYS_symlinkat => Request::Symlink { text: memory.path(a[0])?, place: at(a[1], a[2])? },
        libc::SYS_connect => Request::Connect { socket: int(a[0]), address: address(memory, a[1], a[2])? },
        libc::SYS_bind => Request::Bind { socket: int(a[0]), address: address(memory, a[1], a[2])? },
        libc::SYS_listen => Request::Listen { socket: int(a[0]) },
        libc::SYS_sendto => Request::SendTo {
            socket: int(a[0]),
            data: a[1],
            length: a[2],
            flags: int(a[3]),
            address: address(memory, a[4], a[5])?,
        },
        libc::SYS_sendmsg => {
            Request::SendMessages { socket: int(a[0]), headers: a[1], count: 1, flags: int(a[2]), several: false }
        }
        libc::SYS_sendmmsg => Request::SendMessages {
            socket: int(a[0]),
            headers: a[1],
            count: u64::from(low(a[2])).min(1024),
            flags: int(a[3]),
            several: true,
        },
        libc::SYS_socket => Request::Socket { domain: int(a[0]), kind: int(a[1]), protocol: int(a[2]) },
        _ => Request::Seen,
    })
}

/// An address, copied once: everything is decided and done on this copy.
fn address(memory: Memory, pointer: u64, length: u64) -> io::Result<Vec<u8>> {
    let length = usize::try_from(int(length)).ok().filter(|length| (2..=ADDRESS_MAX).contains(length));
    memory.bytes(pointer, length.ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?)
}
