//! Processes: starting, looking into, signalling and watching them.

use super::{check, check_int, check_size};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Which side of a fork this is.
#[derive(Debug)]
pub(crate) enum Fork {
    /// The one that asked, with a descriptor that stands for the new process.
    Parent {
        /// The new process's id.
        pid: i32,
        /// Stands for the new process.
        pidfd: OwnedFd,
    },
    /// The new process.
    Child,
}

/// Starts a copy of this process; `flags` are `CLONE_NEW*` and `CLONE_FILES`.
///
/// The copy has only the calling thread. Until it executes a program or exits it may call nothing that allocates or takes a
/// lock, because another thread may have held that lock at the moment of the fork.
///
/// # Errors
/// `EPERM` where namespaces are refused, `EAGAIN` at a limit.
pub(crate) fn fork(flags: i32, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Fork> {
    let mut pidfd: RawFd = -1;
    // SAFETY: every field of these arguments may be zero.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = u64::from(flags.unsigned_abs() | libc::CLONE_PIDFD.unsigned_abs());
    args.pidfd = std::ptr::from_mut(&mut pidfd) as u64;
    args.exit_signal = u64::from(libc::SIGCHLD.unsigned_abs());
    if let Some(cgroup) = cgroup {
        const INTO_CGROUP: u64 = 0x2_0000_0000;
        args.flags |= INTO_CGROUP;
        args.cgroup = u64::from(cgroup.as_raw_fd().unsigned_abs());
    }
    // SAFETY: without CLONE_VM and with no stack given, the child runs on a copy of this thread's memory, as after fork(2);
    // the kernel writes the descriptor into `pidfd` before the parent returns.
    let result = unsafe { libc::syscall(libc::SYS_clone3, std::ptr::from_ref(&args), size_of::<libc::clone_args>()) };
    let result = match check(result) {
        // Docker's default profile hides clone3, so that its filter sees the flags.
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) && cgroup.is_none() => {
            let flags = flags | libc::CLONE_PIDFD | libc::SIGCHLD;
            // SAFETY: as above; the third argument is where the kernel writes the descriptor.
            let result = unsafe {
                libc::syscall(libc::SYS_clone, flags, 0_usize, std::ptr::from_mut(&mut pidfd), 0_usize, 0_usize)
            };
            check(result)?
        }
        other => other?,
    };
    if result == 0 {
        return Ok(Fork::Child);
    }
    let pid = i32::try_from(result).map_err(|_| io::Error::from_raw_os_error(libc::EIO))?;
    // SAFETY: the kernel just made this descriptor for us and nobody else knows it.
    Ok(Fork::Parent { pid, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } })
}

/// A descriptor that stands for the process (not a thread) `pid`.
///
/// # Errors
/// `ESRCH` when there is none, `EINVAL` for a thread that is not the first of its process.
pub(crate) fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: no pointer is passed.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0_u32) };
    let fd = RawFd::try_from(check(result)?).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
    // SAFETY: the kernel just made this descriptor for us and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A copy of descriptor `fd` of another process; both refer to the same open file.
///
/// # Errors
/// `EBADF` when it has no such descriptor, `EPERM` where looking into it is refused.
pub(crate) fn pidfd_getfd(process: BorrowedFd<'_>, fd: i32) -> io::Result<OwnedFd> {
    // SAFETY: no pointer is passed.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), fd, 0_u32) };
    let fd = RawFd::try_from(check(result)?).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
    // SAFETY: the kernel just made this descriptor for us and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sends a signal to the process that `process` stands for, never to another that took its number.
///
/// # Errors
/// `ESRCH` when it is gone.
pub(crate) fn pidfd_signal(process: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    // SAFETY: a null pointer for the details of the signal is allowed.
    let result = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), signal, std::ptr::null::<u8>(), 0_u32)
    };
    check(result).map(drop)
}

/// How a process ended, as `wait` says it; since Linux 6.15 this works for a process that is not our child.
///
/// # Errors
/// `ENOTTY` on an older kernel, `ESRCH` when it is not to be had.
pub(crate) fn pidfd_exit_status(process: BorrowedFd<'_>) -> io::Result<Option<i32>> {
    const INFO_EXIT: u64 = 1 << 3;
    const SIZE: usize = 64;
    // `_IOWR(0xFF, 11, struct pidfd_info)` for the first published size of 64 bytes.
    const GET_INFO: libc::c_ulong = (3 << 30) | ((SIZE as libc::c_ulong) << 16) | (0xff << 8) | 11;
    let mut info = [0_u64; SIZE / 8];
    info[0] = INFO_EXIT;
    // SAFETY: the request's number says that the kernel writes at most 64 bytes, and `info` is exactly that long.
    let result = unsafe { libc::ioctl(process.as_raw_fd(), GET_INFO, info.as_mut_ptr()) };
    check_int(result)?;
    if info[0] & INFO_EXIT == 0 {
        return Ok(None);
    }
    // The exit code is the last 32-bit field of the first published layout, at byte 60.
    let bytes = info[7].to_ne_bytes();
    Ok(Some(i32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]])))
}

/// Reads from another process's memory; returns how many bytes could be read.
///
/// # Errors
/// `EFAULT` for an address that is not there, `EPERM` where looking into the process is refused.
pub(crate) fn read_memory(pid: i32, address: u64, into: &mut [u8]) -> io::Result<usize> {
    let local = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    let remote = libc::iovec {
        iov_base: std::ptr::without_provenance_mut(usize::try_from(address).unwrap_or(usize::MAX)),
        iov_len: into.len(),
    };
    // SAFETY: the kernel writes at most `into.len()` bytes into `into`; the remote address is only used over there.
    let result =
        unsafe { libc::process_vm_readv(pid, std::ptr::from_ref(&local), 1, std::ptr::from_ref(&remote), 1, 0) };
    check_size(result)
}

/// Sends a signal by number; negative ids mean groups, -1 everything in reach.
///
/// # Errors
/// `ESRCH` when there is nothing to signal.
pub(crate) fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: no pointer is passed.
    let result = unsafe { libc::kill(pid, signal) };
    check_int(result).map(drop)
}

/// Reaps one child, if one has ended: its id and its status.
///
/// # Errors
/// `ECHILD` when there are no children.
pub(crate) fn reap() -> io::Result<Option<(i32, i32)>> {
    let mut status: libc::c_int = 0;
    // SAFETY: the kernel writes one int into `status`.
    let result = unsafe { libc::waitpid(-1, std::ptr::from_mut(&mut status), libc::WNOHANG) };
    let pid = check_int(result)?;
    Ok((pid != 0).then_some((pid, status)))
}

/// Waits for one child of ours to end.
///
/// # Errors
/// `ECHILD` when it is not ours.
pub(crate) fn wait_for(pid: i32) -> io::Result<i32> {
    loop {
        let mut status: libc::c_int = 0;
        // SAFETY: the kernel writes one int into `status`.
        let result = unsafe { libc::waitpid(pid, std::ptr::from_mut(&mut status), 0) };
        match check_int(result) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(_) => return Ok(status),
        }
    }
}

/// Which of `fds` can be read or has been hung up on; waits at most `timeout_ms`, for ever when that is negative.
///
/// # Errors
/// `EINTR` when a signal came.
pub(crate) fn poll<const N: usize>(fds: [BorrowedFd<'_>; N], timeout_ms: i32) -> io::Result<[i16; N]> {
    poll_for(fds.map(|fd| (fd, libc::POLLIN)), timeout_ms)
}

/// As [`poll`], for the given events of each.
///
/// # Errors
/// `EINTR` when a signal came.
pub(crate) fn poll_for<const N: usize>(fds: [(BorrowedFd<'_>, i16); N], timeout_ms: i32) -> io::Result<[i16; N]> {
    let mut raw = fds.map(|(fd, events)| libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 });
    let count = libc::nfds_t::try_from(N).expect("a handful of descriptors");
    // SAFETY: the kernel reads and writes `count` entries of `raw`, which has exactly these.
    let result = unsafe { libc::poll(raw.as_mut_ptr(), count, timeout_ms) };
    check_int(result)?;
    Ok(raw.map(|entry| entry.revents))
}

/// Makes a counter that wakes a poll.
///
/// # Errors
/// `EMFILE`.
pub(crate) fn event() -> io::Result<OwnedFd> {
    // SAFETY: no pointer is passed.
    let fd = check_int(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
    // SAFETY: the kernel just made this descriptor for us and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Makes an epoll instance.
///
/// # Errors
/// `EMFILE`.
pub(crate) fn epoll() -> io::Result<OwnedFd> {
    // SAFETY: no pointer is passed.
    let fd = check_int(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
    // SAFETY: the kernel just made this descriptor for us and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Watches `fd` until it is readable, once; `token` comes back with it.
///
/// # Errors
/// `ENOSPC` at the user's limit of watches.
pub(crate) fn epoll_watch_once(epoll: BorrowedFd<'_>, fd: BorrowedFd<'_>, token: u64) -> io::Result<()> {
    epoll_add(epoll, fd, libc::EPOLLIN | libc::EPOLLONESHOT, token)
}

/// Watches `fd` for ever: each time that more has come, it is readable once. Its token is 0.
///
/// # Errors
/// `ENOSPC` at the user's limit of watches.
pub(crate) fn epoll_watch_changes(epoll: BorrowedFd<'_>, fd: BorrowedFd<'_>) -> io::Result<()> {
    epoll_add(epoll, fd, libc::EPOLLIN | libc::EPOLLET, 0)
}

fn epoll_add(epoll: BorrowedFd<'_>, fd: BorrowedFd<'_>, events: libc::c_int, token: u64) -> io::Result<()> {
    let mut event = libc::epoll_event { events: events.cast_unsigned(), u64: token };
    // SAFETY: the kernel reads one event.
    let result = unsafe {
        libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd.as_raw_fd(), std::ptr::from_mut(&mut event))
    };
    check_int(result).map(drop)
}

/// Waits until something watched is readable; the tokens of up to 64 of them.
///
/// # Errors
/// `EINTR` when a signal came.
pub(crate) fn epoll_wait(epoll: BorrowedFd<'_>, timeout_ms: i32) -> io::Result<Vec<u64>> {
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; 64];
    // SAFETY: the kernel writes at most 64 events into `events`, which has room for exactly these.
    let result = unsafe { libc::epoll_wait(epoll.as_raw_fd(), events.as_mut_ptr(), 64, timeout_ms) };
    let count = usize::try_from(check_int(result)?).unwrap_or(0);
    Ok(events[..count].iter().map(|event| event.u64).collect())
}

/// Gives the calling thread its own working directory, root and file creation mask.
///
/// # Errors
/// `ENOMEM`.
pub(crate) fn unshare_fs() -> io::Result<()> {
    // SAFETY: no pointer is passed.
    check_int(unsafe { libc::unshare(libc::CLONE_FS) }).map(drop)
}

/// Moves the calling process, which must have one thread, into new namespaces.
///
/// # Errors
/// `EPERM` where they are not allowed, `EINVAL` when a user namespace is asked for and there are more threads.
pub(crate) fn unshare(namespaces: i32) -> io::Result<()> {
    // SAFETY: no pointer is passed.
    check_int(unsafe { libc::unshare(namespaces) }).map(drop)
}

/// Gives the calling process its own table of descriptors.
///
/// # Errors
/// `ENOMEM`.
pub(crate) fn unshare_files() -> io::Result<()> {
    // SAFETY: no pointer is passed.
    check_int(unsafe { libc::unshare(libc::CLONE_FILES) }).map(drop)
}

/// The user this process acts as.
#[must_use]
pub(crate) fn effective_user() -> u32 {
    // SAFETY: the call cannot fail and touches no memory.
    unsafe { libc::geteuid() }
}

/// The group this process acts as.
#[must_use]
pub(crate) fn effective_group() -> u32 {
    // SAFETY: the call cannot fail and touches no memory.
    unsafe { libc::getegid() }
}

/// Gives the calling thread the scheduling priority `nice` (-20 is the highest).
///
/// # Errors
/// `EACCES` for an ordinary user.
pub(crate) fn set_priority(nice: i32) -> io::Result<()> {
    // SAFETY: no pointer is passed; 0 means the calling thread.
    check_int(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) }).map(drop)
}

/// Lets the calling thread run before every ordinary one, as soon as it can.
///
/// # Errors
/// `EPERM` for an ordinary user.
pub(crate) fn go_first() -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: 1 };
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: the kernel reads one set of parameters; 0 means the calling thread.
    check_int(unsafe { libc::sched_setscheduler(0, policy, std::ptr::from_ref(&parameters)) }).map(drop)
}

/// Lets the calling thread, and those it starts, never take the processor from another that runs: for work that nobody waits for.
///
/// # Errors
/// What the kernel says.
pub(crate) fn give_way() -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the kernel reads one set of parameters; 0 means the calling thread.
    check_int(unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, std::ptr::from_ref(&parameters)) }).map(drop)
}

/// Raises the limit of open descriptors to the most that is allowed, and returns the limit before.
///
/// # Errors
/// What the kernel says.
pub(crate) fn raise_descriptor_limit() -> io::Result<(u64, u64)> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one limit into `limit`.
    check_int(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, std::ptr::from_mut(&mut limit)) })?;
    let before = (limit.rlim_cur, limit.rlim_max);
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the kernel reads one limit.
    check_int(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, std::ptr::from_ref(&limit)) })?;
    Ok(before)
}

/// Closes the descriptors from `first` to `last`.
///
/// # Errors
/// `EINVAL` when `first` is above `last`.
pub(crate) fn close_range(first: u32, last: u32) -> io::Result<()> {
    // SAFETY: closing descriptors is what the caller, which owns the process between fork and exec, asks for.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0_u32) }).map(drop)
}

/// Writes into another process's memory; only used to fill in what a call that the shim carried out would have filled in.
///
/// # Errors
/// `EFAULT` for an address that is not there.
pub(crate) fn write_memory(pid: i32, address: u64, bytes: &[u8]) -> io::Result<usize> {
    let local = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let remote = libc::iovec {
        iov_base: std::ptr::without_provenance_mut(usize::try_from(address).unwrap_or(usize::MAX)),
        iov_len: bytes.len(),
    };
    // SAFETY: the kernel reads `bytes.len()` bytes from `bytes`; the remote address is only used over there.
    let result =
        unsafe { libc::process_vm_writev(pid, std::ptr::from_ref(&local), 1, std::ptr::from_ref(&remote), 1, 0) };
    check_size(result)
}
