//! seccomp: installing a filter with a listener, and speaking with the listener.

use super::{check, check_int};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// One instruction of a filter.
pub(crate) type Instruction = libc::sock_filter;

/// A system call that waits for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Notification {
    /// Names it until it is answered.
    pub id: u64,
    /// The thread that waits, in the numbering of whoever received the notification. A thread, not a process.
    pub thread: i32,
    /// Number of the system call.
    pub nr: i64,
    /// Its arguments, as in the registers.
    pub args: [u64; 6],
}

const EMPTY_NOTIFICATION: libc::seccomp_notif = libc::seccomp_notif {
    id: 0,
    pid: 0,
    flags: 0,
    data: libc::seccomp_data { nr: 0, arch: 0, instruction_pointer: 0, args: [0; 6] },
};

/// Installs `program` for the calling thread and all it starts, and returns the listener.
///
/// With `WAIT_KILLABLE_RECV`: once a call has been received, only a deadly signal interrupts its wait. Without it a timer in the
/// agent would restart a held call for ever, and a freeze would issue the call again under another id.
///
/// # Errors
/// `EINVAL` for a bad program or an old kernel, `EBUSY` when a filter with a listener is already there, `EACCES` without
/// `no_new_privs`.
pub(crate) fn install(program: &[Instruction]) -> io::Result<OwnedFd> {
    let len = u16::try_from(program.len()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let fprog = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    // SAFETY: `fprog` points at `len` instructions that live until the call returns; the kernel copies and never writes them.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, std::ptr::from_ref(&fprog)) };
    let fd = RawFd::try_from(check(result)?).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
    // SAFETY: the kernel just made this descriptor for us and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Whether the running kernel offers notifications in the layout that this module was written for.
#[must_use]
pub(crate) fn notifications_offered() -> bool {
    let mut sizes = [0_u16; 3];
    // SAFETY: the kernel writes three 16-bit numbers into `sizes`, which has room for exactly these.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_NOTIF_SIZES, 0, sizes.as_mut_ptr()) };
    result == 0
        && usize::from(sizes[0]) == size_of::<libc::seccomp_notif>()
        && usize::from(sizes[1]) == size_of::<libc::seccomp_notif_resp>()
}

/// Takes the next notification; blocks when there is none, whatever the descriptor's flags say, so poll first.
///
/// # Errors
/// `ENOENT` when the waiting thread died in between.
pub(crate) fn receive(listener: BorrowedFd<'_>) -> io::Result<Notification> {
    let mut raw = EMPTY_NOTIFICATION;
    // SAFETY: `raw` is a zeroed notification that the kernel fills in; the descriptor is open as long as it is borrowed.
    let result =
        unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, std::ptr::from_mut(&mut raw)) };
    check_int(result)?;
    Ok(Notification {
        id: raw.id,
        thread: i32::try_from(raw.pid).unwrap_or(0),
        nr: i64::from(raw.data.nr),
        args: raw.data.args,
    })
}

/// What a waiting call is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The kernel goes on with the call, reading its arguments anew.
    Continue,
    /// The call returns this value.
    Value(i64),
    /// The call fails with this error number.
    Error(i32),
}

/// Answers a notification.
///
/// # Errors
/// `ENOENT` when the waiting thread is gone.
pub(crate) fn answer(listener: BorrowedFd<'_>, id: u64, answer: Answer) -> io::Result<()> {
    let mut raw = libc::seccomp_notif_resp { id, val: 0, error: 0, flags: 0 };
    match answer {
        Answer::Continue => raw.flags = u32::try_from(libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE).unwrap_or(1),
        Answer::Value(value) => raw.val = value,
        Answer::Error(errno) => raw.error = -errno,
    }
    // SAFETY: `raw` is a complete answer that the kernel only reads.
    let result =
        unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, std::ptr::from_mut(&mut raw)) };
    check_int(result).map(drop)
}

/// Whether the call still waits. What was read about its thread before a `true` belongs to that thread.
#[must_use]
pub(crate) fn is_valid(listener: BorrowedFd<'_>, id: u64) -> bool {
    let mut id = id;
    // SAFETY: the kernel reads eight bytes from `id`.
    let result =
        unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID, std::ptr::from_mut(&mut id)) };
    result == 0
}

/// Gives the waiting process a copy of `file` and lets its call return the new descriptor's number, in one step.
///
/// # Errors
/// `EBADF` for an `O_PATH` descriptor, `EMFILE` when the process has no room, `ENOENT` when the thread is gone.
pub(crate) fn answer_with_descriptor(
    listener: BorrowedFd<'_>,
    id: u64,
    file: BorrowedFd<'_>,
    close_on_exec: bool,
) -> io::Result<()> {
    let mut raw = libc::seccomp_notif_addfd {
        id,
        flags: u32::try_from(libc::SECCOMP_ADDFD_FLAG_SEND).unwrap_or(2),
        srcfd: u32::try_from(file.as_raw_fd()).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?,
        newfd: 0,
        newfd_flags: if close_on_exec { libc::O_CLOEXEC.unsigned_abs() } else { 0 },
    };
    // SAFETY: `raw` is a complete request that the kernel only reads; `file` stays open while it is borrowed.
    let result =
        unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ADDFD, std::ptr::from_mut(&mut raw)) };
    check_int(result).map(drop)
}

/// Wakes the other side on the same processor: the one lever that makes a notification cost 7 instead of 50 microseconds.
///
/// # Errors
/// `EINVAL` before Linux 6.6; the shim works without it, more slowly.
pub(crate) fn wake_synchronously(listener: BorrowedFd<'_>) -> io::Result<()> {
    const SYNC_WAKE_UP: libc::c_ulong = 1;
    // SAFETY: the argument is a number, not a pointer.
    let result = unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS, SYNC_WAKE_UP) };
    check_int(result).map(drop)
}
