//! Being told which files the kernel opens for execution.

use super::{check_int, check_size};
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// What the kernel tells.
#[derive(Debug)]
pub(crate) enum Told {
    /// A file was opened for execution.
    Opened {
        /// For which process, in the numbering of whoever reads this.
        pid: i32,
        /// The very file, open for reading.
        file: OwnedFd,
    },
    /// More happened than the kernel keeps: what came after is not told.
    Overflow,
}

/// Makes a group that is told of nothing yet; reading from it does not wait.
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN` in the machine's own user namespace, `EMFILE` at the user's limit of groups, `ENOSYS` in a kernel
/// without fanotify.
pub(crate) fn group() -> io::Result<OwnedFd> {
    let flags = libc::FAN_CLASS_NOTIF | libc::FAN_CLOEXEC | libc::FAN_NONBLOCK;
    let files = (libc::O_RDONLY | libc::O_CLOEXEC).unsigned_abs();
    // SAFETY: no pointer is passed.
    let group = check_int(unsafe { libc::fanotify_init(flags, files) })?;
    // SAFETY: the kernel just made this descriptor for us and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(group) })
}

/// Has the group told of each file that is opened for execution on the mount that `path`, below `directory`, is on. Asking again
/// changes nothing.
///
/// # Errors
/// `EINVAL` before Linux 5.0 and for a mount of the kernel's own, `ENOENT` when nothing is there.
pub(crate) fn mark_mount(group: BorrowedFd<'_>, directory: BorrowedFd<'_>, path: &CStr) -> io::Result<()> {
    let flags = libc::FAN_MARK_ADD | libc::FAN_MARK_MOUNT | libc::FAN_MARK_DONT_FOLLOW;
    let (group, directory) = (group.as_raw_fd(), directory.as_raw_fd());
    // SAFETY: `path` ends in a zero byte; both descriptors are open while borrowed.
    check_int(unsafe { libc::fanotify_mark(group, flags, libc::FAN_OPEN_EXEC, directory, path.as_ptr()) }).map(drop)
}

/// Takes the next thing out of the queue, or `None` when there is nothing. One at a time: of several in one read the kernel loses,
/// without a word, the one whose file it cannot open.
///
/// # Errors
/// Why the file of one event could not be opened, `EMFILE` say: that event is gone.
pub(crate) fn next(group: BorrowedFd<'_>) -> io::Result<Option<Told>> {
    // SAFETY: every field of an event may be zero.
    let mut event: libc::fanotify_event_metadata = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes at most one event into `event`.
    let result = unsafe { libc::read(group.as_raw_fd(), (&raw mut event).cast(), size_of_val(&event)) };
    match check_size(result) {
        Ok(length) if length == size_of_val(&event) => told(&event).map(Some),
        Ok(_) => Err(io::ErrorKind::InvalidData.into()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// What an event says that the kernel has just written.
fn told(event: &libc::fanotify_event_metadata) -> io::Result<Told> {
    if event.mask & libc::FAN_Q_OVERFLOW != 0 {
        return Ok(Told::Overflow);
    }
    if event.vers != libc::FANOTIFY_METADATA_VERSION || event.fd < 0 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    // SAFETY: the kernel made this descriptor for whoever reads the event, which nobody else has.
    let file = unsafe { OwnedFd::from_raw_fd(event.fd) };
    Ok(Told::Opened { pid: event.pid, file })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_without_a_file_is_an_overflow_or_nothing_that_we_know() {
        let event = |mask, vers| libc::fanotify_event_metadata {
            event_len: 24,
            vers,
            reserved: 0,
            metadata_len: 24,
            mask,
            fd: -1,
            pid: 0,
        };
        let version = libc::FANOTIFY_METADATA_VERSION;
        assert!(matches!(told(&event(libc::FAN_Q_OVERFLOW, version)), Ok(Told::Overflow)));
        assert!(told(&event(libc::FAN_OPEN_EXEC, version)).is_err());
        assert!(told(&event(libc::FAN_OPEN_EXEC, version + 1)).is_err());
        assert_eq!(size_of::<libc::fanotify_event_metadata>(), 24, "as long as the kernel's");
    }
}
