//! What the new process does to itself between `fork` and `exec`. Nothing here allocates.

use super::{check, check_int, check_size};
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// A number of `prctl` and its two arguments.
fn prctl(option: i32, first: u64, second: u64) -> io::Result<()> {
    // SAFETY: the options used in this file take numbers, not pointers.
    check_int(unsafe { libc::prctl(option, first, second, 0_u64, 0_u64) }).map(drop)
}

/// The kernel kills this process when the thread that started it ends.
///
/// # Errors
/// None in practice.
pub(crate) fn die_with_parent() -> io::Result<()> {
    prctl(libc::PR_SET_PDEATHSIG, u64::from(libc::SIGKILL.unsigned_abs()), 0)
}

/// Neither this process nor any it starts gains a privilege by executing a program.
///
/// # Errors
/// None in practice.
pub(crate) fn no_new_privileges() -> io::Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0)
}

/// Orphans below this process become its children.
///
/// # Errors
/// None in practice.
pub(crate) fn adopt_orphans() -> io::Result<()> {
    prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0)
}

/// Takes a capability out of what programs executed from now on may ever have.
///
/// # Errors
/// `EPERM` without `CAP_SETPCAP`, `EINVAL` past the last capability.
pub(crate) fn drop_bounding(capability: u32) -> io::Result<()> {
    prctl(libc::PR_CAPBSET_DROP, u64::from(capability), 0)
}

/// Forgets the ambient capabilities.
///
/// # Errors
/// None in practice.
pub(crate) fn clear_ambient() -> io::Result<()> {
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as u64, 0)
}

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: i32,
}

/// Bits of one process's capabilities.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Capabilities {
    /// In force, low and high word as the kernel wants them.
    words: [u32; 6],
}

impl Capabilities {
    /// The same without those in `mask`.
    #[must_use]
    pub(crate) fn without(mut self, mask: u64) -> Self {
        let low = u32::try_from(mask & 0xffff_ffff).expect("masked to 32 bits");
        let high = u32::try_from(mask >> 32).expect("shifted to 32 bits");
        for (index, word) in self.words.iter_mut().enumerate() {
            *word &= if index < 3 { !low } else { !high };
        }
        self
    }
}

const CAPABILITY_VERSION: u32 = 0x2008_0522;

/// The capabilities of this thread.
///
/// # Errors
/// None in practice.
pub(crate) fn capabilities() -> io::Result<Capabilities> {
    let mut header = CapabilityHeader { version: CAPABILITY_VERSION, pid: 0 };
    let mut found = Capabilities::default();
    // SAFETY: for this version the kernel writes two entries of three words each, which is what `found` has.
    let result =
        unsafe { libc::syscall(libc::SYS_capget, std::ptr::from_mut(&mut header), std::ptr::from_mut(&mut found)) };
    check(result)?;
    Ok(found)
}

/// Puts these capabilities in force for this thread; never more than it has.
///
/// # Errors
/// `EPERM` for one it does not have.
pub(crate) fn set_capabilities(wanted: Capabilities) -> io::Result<()> {
    let mut header = CapabilityHeader { version: CAPABILITY_VERSION, pid: 0 };
    // SAFETY: for this version the kernel reads two entries of three words each, which is what `wanted` has.
    let result =
        unsafe { libc::syscall(libc::SYS_capset, std::ptr::from_mut(&mut header), std::ptr::from_ref(&wanted)) };
    check(result).map(drop)
}

/// Gives a signal back its default effect.
///
/// # Errors
/// `EINVAL` for a number that is none.
pub(crate) fn default_signal(signal: i32) -> io::Result<()> {
    // SAFETY: the default action needs no handler.
    let before = unsafe { libc::signal(signal, libc::SIG_DFL) };
    if before == libc::SIG_ERR { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Blocks every signal, or none.
///
/// # Errors
/// None in practice.
pub(crate) fn block_signals(block: bool) -> io::Result<()> {
    let mut set = empty_set();
    if block {
        // SAFETY: the call writes to `set` only.
        check_int(unsafe { libc::sigfillset(std::ptr::from_mut(&mut set)) })?;
    }
    // SAFETY: the kernel reads `set`; nobody asks for the mask before.
    check_int(unsafe { libc::sigprocmask(libc::SIG_SETMASK, std::ptr::from_ref(&set), std::ptr::null_mut()) }).map(drop)
}

/// A descriptor that becomes readable when a child has ended. The signal must be blocked.
///
/// # Errors
/// `EMFILE`.
pub(crate) fn child_events() -> io::Result<OwnedFd> {
    let mut set = empty_set();
    // SAFETY: the call writes to `set` only.
    check_int(unsafe { libc::sigaddset(std::ptr::from_mut(&mut set), libc::SIGCHLD) })?;
    // SAFETY: the kernel reads `set`.
    let fd = unsafe { libc::signalfd(-1, std::ptr::from_ref(&set), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    let fd = check_int(fd)?;
    // SAFETY: the kernel just made this descriptor for us and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn empty_set() -> libc::sigset_t {
    // SAFETY: a set of signals is an array of numbers, of which all may be zero; zero is the empty set.
    unsafe { std::mem::zeroed() }
}

/// Reads into `bytes`; allocates nothing.
///
/// # Errors
/// What the kernel says.
pub(crate) fn read(fd: BorrowedFd<'_>, bytes: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the kernel writes at most `bytes.len()` bytes into `bytes`.
    check_size(unsafe { libc::read(fd.as_raw_fd(), bytes.as_mut_ptr().cast(), bytes.len()) })
}

/// Writes `bytes`; allocates nothing.
///
/// # Errors
/// What the kernel says.
pub(crate) fn write(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: the kernel reads `bytes.len()` bytes from `bytes`.
    check_size(unsafe { libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) })
}

/// Makes `to` refer to what `from` refers to.
///
/// # Errors
/// `EBADF`.
pub(crate) fn duplicate_to(from: BorrowedFd<'_>, to: i32) -> io::Result<()> {
    // SAFETY: between fork and exec this process owns its table of descriptors; `to` is one of the standard three.
    check_int(unsafe { libc::dup2(from.as_raw_fd(), to) }).map(drop)
}

/// Closes a descriptor by number.
pub(crate) fn close(fd: i32) {
    // SAFETY: between fork and exec this process owns its table of descriptors; a bad number is only an error.
    unsafe { libc::close(fd) };
}

/// Takes a descriptor by number that another process sharing this table has opened.
#[must_use]
pub(crate) fn adopt(fd: i32) -> OwnedFd {
    // SAFETY: the caller was told this number by the process that opened it and left it to us.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Changes the working directory.
///
/// # Errors
/// What the kernel says.
pub(crate) fn change_directory(path: &CStr) -> io::Result<()> {
    // SAFETY: the path ends in a zero byte.
    check_int(unsafe { libc::chdir(path.as_ptr()) }).map(drop)
}

/// Sets a limit (`RLIMIT_…`) of the calling process and all it starts.
///
/// # Errors
/// `EPERM` above the hard limit.
pub(crate) fn set_limit(resource: libc::__rlimit_resource_t, (soft, hard): (u64, u64)) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    // SAFETY: the kernel reads one limit.
    check_int(unsafe { libc::setrlimit(resource, std::ptr::from_ref(&limit)) }).map(drop)
}

/// Texts for `exec`: an array of pointers that ends in null, and what they point at.
#[derive(Debug)]
pub(crate) struct Texts {
    _owned: Vec<std::ffi::CString>,
    pointers: Vec<*const libc::c_char>,
}

// SAFETY: the pointers point into `_owned`, which moves and dies with them and is never changed.
unsafe impl Send for Texts {}

impl Texts {
    /// Collects the texts.
    #[must_use]
    pub(crate) fn new(owned: Vec<std::ffi::CString>) -> Self {
        let pointers = owned.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect();
        Self { _owned: owned, pointers }
    }
}

/// Executes a program in place of this one; returns only when that failed.
#[must_use]
pub(crate) fn execute(path: &CStr, argv: &Texts, environment: &Texts) -> io::Error {
    // SAFETY: the path ends in a zero byte and both arrays end in a null pointer; all live as long as this process's memory.
    unsafe { libc::execve(path.as_ptr(), argv.pointers.as_ptr(), environment.pointers.as_ptr()) };
    io::Error::last_os_error()
}

/// Ends this process at once: no destructor and no exit handler runs, because they belong to the process that forked.
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: the call does not return.
    unsafe { libc::_exit(code) }
}
