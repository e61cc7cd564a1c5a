//! Finds out what this machine lets the shim confine the agent with.
//!
//! Everything is tried rather than read from a version: containers and security modules refuse what the kernel offers. What was
//! found is listed in `session_started`, so that a record says how far it can be trusted.

use crate::sys::process::Fork;
use crate::sys::{self, child, fs, landlock, seccomp};
use std::ffi::CString;
use std::io;
use std::path::{Path, PathBuf};

/// What can be had.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Means {
    /// System calls can be made to wait for the shim.
    pub notifications: bool,
    /// Landlock's version; 0 for none.
    pub landlock: u32,
    /// Process and mount namespaces can be made.
    pub namespaces: bool,
    /// Only inside a user namespace of their own.
    pub user_namespace: bool,
    /// A fresh `/proc` can be mounted in them.
    pub own_proc: bool,
    /// Folders can be covered by an empty mount in them.
    pub covers: bool,
    /// A descriptor of another process can be copied; without it the shim makes every IP socket itself.
    pub copies_descriptors: bool,
    /// A network namespace may be tried, for policies that want one; whether it can be had is seen when one is made.
    pub network: bool,
    /// What the kernel opens for execution can be watched by fanotify, on mounts of the session's own.
    pub fanotify: bool,
    /// A program in the kernel can tell how calls end, and numbers threads as the shim does.
    pub ebpf: bool,
    /// A folder of cgroup v2 in which the session's own can be made.
    pub cgroup: Option<PathBuf>,
}

const OWN_PROC: i32 = 1;
const COVERS: i32 = 2;
const REACHED: i32 = 64;

/// Flags for `fork` that give the new process namespaces of its own.
#[must_use]
pub(crate) fn namespace_flags(user: bool) -> i32 {
    let own_user = if user { libc::CLONE_NEWUSER } else { 0 };
    // Message queues and shared memory of System V and POSIX lead to other processes of the user without any path.
    libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_NEWIPC | own_user
}

/// What is written to map the caller's user and group onto themselves inside a new user namespace.
#[derive(Debug, Clone)]
pub(crate) struct IdMaps {
    user: Vec<u8>,
    group: Vec<u8>,
}

impl IdMaps {
    /// Maps the ids this process acts as.
    #[must_use]
    pub(crate) fn identity() -> Self {
        let (user, group) = (sys::process::effective_user(), sys::process::effective_group());
        Self { user: format!("{user} {user} 1").into_bytes(), group: format!("{group} {group} 1").into_bytes() }
    }

    /// Writes the maps from inside the namespace. Allocates nothing.
    ///
    /// # Errors
    /// `EPERM` where user namespaces are only half allowed.
    pub(crate) fn write(&self) -> io::Result<()> {
        use std::os::fd::AsFd;
        for (path, text) in [
            (c"/proc/self/setgroups", b"deny".as_slice()),
            (c"/proc/self/gid_map", &self.group),
            (c"/proc/self/uid_map", &self.user),
        ] {
            let file = fs::open(path, libc::O_WRONLY)?;
            child::write(file.as_fd(), text)?;
        }
        Ok(())
    }
}

impl Means {
    /// Tries everything on this machine.
    #[must_use]
    pub fn probe() -> Self {
        let mut means = Self {
            notifications: seccomp::notifications_offered(),
            landlock: landlock::abi().min(7),
            copies_descriptors: copies_descriptors(),
            cgroup: cgroup_parent(),
            ..Self::default()
        };
        let plain_first = sys::process::effective_user() == 0;
        for user in if plain_first { vec![false, true] } else { vec![true] } {
            if let Some(found) = try_namespaces(user) {
                means.namespaces = true;
                means.user_namespace = user;
                means.own_proc = found & OWN_PROC != 0;
                means.covers = found & COVERS != 0;
                break;
            }
        }
        means.network = true;
        means.fanotify = crate::fanotify::offered();
        means.ebpf = crate::ebpf::offered();
        means
    }

    /// Whether what the kernel opens for execution can be watched: on the machine's own mounts it would be told of every process.
    #[must_use]
    pub(crate) fn offers_fanotify(&self) -> bool {
        self.fanotify && self.namespaces && !self.user_namespace
    }

    /// Whether the agent can have a network of its own, made and tried in a process that ends at once. Resolution by name has to be
    /// covered there, and sockets have to be copied, because those that the shim makes are in the network of the machine.
    #[must_use]
    pub(crate) fn offers_network(&self) -> bool {
        let may_be = self.network && self.namespaces && self.covers && self.copies_descriptors;
        may_be && try_network(self.user_namespace)
    }

    /// The list for `session_started`.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let mut words = vec!["seccomp-unotify".to_owned(), "no-new-privileges".to_owned()];
        if self.landlock > 0 {
            words.push(format!("landlock-{}", self.landlock));
        }
        for (there, word) in [
            (self.user_namespace, "user-namespace"),
            (self.namespaces, "pid-namespace"),
            (self.namespaces, "mount-namespace"),
            (self.own_proc, "own-proc"),
            (self.covers, "covered-folders"),
            (!self.namespaces, "no-pid-namespace"),
            (!self.copies_descriptors, "sockets-made-by-shim"),
            (self.cgroup.is_some(), "cgroup-freezer"),
            (self.cgroup.is_none() && self.namespaces, "sigstop-freezer"),
            (self.cgroup.is_none() && !self.namespaces, "tree-sigstop-freezer"),
        ] {
            if there {
                words.push(word.to_owned());
            }
        }
        words
    }
}

/// Makes namespaces in a process that ends at once, and tells what worked in them.
fn try_namespaces(user: bool) -> Option<i32> {
    let maps = user.then(IdMaps::identity);
    match sys::process::fork(namespace_flags(user), None).ok()? {
        Fork::Child => child::exit(try_inside(maps.as_ref())),
        Fork::Parent { pid, .. } => {
            let status = sys::process::wait_for(pid).ok()?;
            let code = libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status))?;
            (code & REACHED != 0).then_some(code)
        }
    }
}

fn try_network(user: bool) -> bool {
    let maps = user.then(IdMaps::identity);
    let flags = namespace_flags(user) | libc::CLONE_NEWNET;
    let try_inside = || {
        let mapped = maps.as_ref().is_none_or(|maps| maps.write().is_ok());
        mapped && sys::net::loopback_up().is_ok() && crate::launch::wall::listeners().is_ok()
    };
    match sys::process::fork(flags, None) {
        Ok(Fork::Child) => child::exit(i32::from(!try_inside())),
        Ok(Fork::Parent { pid, .. }) => {
            sys::process::wait_for(pid).is_ok_and(|status| libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0)
        }
        Err(_) => false,
    }
}

/// Runs in the new namespaces. Allocates nothing.
fn try_inside(maps: Option<&IdMaps>) -> i32 {
    if maps.is_some_and(|maps| maps.write().is_err()) {
        return 0;
    }
    if fs::mount(c"none", c"/", c"", libc::MS_REC | libc::MS_SLAVE, c"").is_err() {
        return 0;
    }
    let quiet = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    let mut found = REACHED;
    if fs::mount(c"proc", c"/proc", c"proc", quiet, c"").is_ok() {
        found |= OWN_PROC;
    }
    if fs::mount(c"none", c"/tmp", c"tmpfs", quiet | libc::MS_RDONLY, c"mode=000,size=4k").is_ok() {
        found |= COVERS;
    }
    found
}

/// Tried on a descriptor of our own: what refuses it (a container's filter) refuses it for every process.
fn copies_descriptors() -> bool {
    use std::os::fd::AsFd;
    let own = i32::try_from(std::process::id()).ok().and_then(|pid| sys::process::pidfd_open(pid).ok());
    own.is_some_and(|own| {
        let any = sys::process::event();
        any.is_ok_and(|any| {
            let number = std::os::fd::AsRawFd::as_raw_fd(&any);
            sys::process::pidfd_getfd(own.as_fd(), number).is_ok()
        })
    })
}

/// The folder of cgroup v2 that this process is in, if a folder can be made there.
fn cgroup_parent() -> Option<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mount = mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        (after.split(' ').next() == Some("cgroup2")).then(|| before.split(' ').nth(4)).flatten()
    })?;
    let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    let parent = Path::new(mount).join(own.trim_start_matches('/'));
    let probe = parent.join(format!("wk-probe-{}", crate::clock::new_id().simple()));
    std::fs::create_dir(&probe).ok()?;
    let usable = probe.join("cgroup.freeze").exists() && probe.join("cgroup.kill").exists();
    let removed = std::fs::remove_dir(&probe).is_ok();
    (usable && removed).then_some(parent)
}

/// Every system call of this architecture: name, what becomes of it, why. One line of the list each.
pub fn calls() -> impl Iterator<Item = (&'static str, String, &'static str)> {
    use crate::calls::{Then, table};
    let here = table().iter().filter(|entry| crate::sys::arch::NATIVE.number(entry).is_some());
    here.map(|entry| {
        let then = match entry.then {
            Then::Harmless => "let through unseen".to_owned(),
            Then::Trapped => "waits for the shim".to_owned(),
            Then::Told => "waits for the shim, or is told of afterwards where that was asked for".to_owned(),
            Then::Observed => "recorded and let through".to_owned(),
            Then::Refused(errno) => format!("recorded and refused: {}", io::Error::from_raw_os_error(errno)),
            Then::Closed(errno) => format!("refused: {}", io::Error::from_raw_os_error(errno)),
            Then::Fenced(_) => "without a process namespace: refused when it is aimed out of the session".to_owned(),
            Then::Muted => "without a process namespace: has no effect".to_owned(),
        };
        (entry.name, then, entry.reason)
    })
}

/// What an agent that runs as root keeps of its capabilities: what ordinary work as root needs, and nothing that reaches past
/// files, processes and ports of its own.
pub const KEPT_CAPABILITIES: u64 = {
    const CHOWN: u64 = 1 << 0;
    const DAC_OVERRIDE: u64 = 1 << 1;
    const FOWNER: u64 = 1 << 3;
    const FSETID: u64 = 1 << 4;
    const KILL: u64 = 1 << 5;
    const SETGID: u64 = 1 << 6;
    const SETUID: u64 = 1 << 7;
    const SETPCAP: u64 = 1 << 8;
    const NET_BIND_SERVICE: u64 = 1 << 10;
    const IPC_LOCK: u64 = 1 << 14;
    const SYS_RESOURCE: u64 = 1 << 24;
    const SETFCAP: u64 = 1 << 31;
    CHOWN
        | DAC_OVERRIDE
        | FOWNER
        | FSETID
        | KILL
        | SETGID
        | SETUID
        | SETPCAP
        | NET_BIND_SERVICE
        | IPC_LOCK
        | SYS_RESOURCE
        | SETFCAP
};

/// A text for a system call.
///
/// # Errors
/// `EINVAL` when it holds a zero byte.
pub(crate) fn c_path(path: &Path) -> io::Result<CString> {
    use std::os::unix::ffi::OsStrExt;
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}
