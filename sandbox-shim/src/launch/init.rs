//! The tiny init of a session: a copy of the shim's process that starts the agent, reaps, and does as it is told.
//!
//! In a process namespace it is number 1, so the kernel kills the whole tree when it ends, and it ends when the shim does. It
//! shares its table of descriptors with the agent's first process until that executes: so the listener, which is made by the
//! agent, can be passed on by a process that no filter watches.
//!
//! ```text
//! shim ──fork──► init ──fork, same descriptors──► agent: capabilities, Landlock, filter ─► tells the listener's number
//!   ◄──listener── init: own table, closes the listener ────────────────────────────────────► "go" ─► execve (waits for the shim)
//! ```
//! Everything here runs on a copy of a process that had threads: nothing allocates, nothing takes a lock.

use super::frame::{self, Frame};
use super::wall;
use crate::confine::IdMaps;
use crate::sys::seccomp::Instruction;
use crate::sys::{self, child, fs, landlock, process, seccomp};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// One mount to make in the agent's namespace.
#[derive(Debug)]
pub(crate) struct Mount {
    /// As of `mount(2)`.
    pub source: CString,
    /// As of `mount(2)`.
    pub target: CString,
    /// As of `mount(2)`.
    pub kind: &'static std::ffi::CStr,
    /// As of `mount(2)`.
    pub flags: u64,
    /// As of `mount(2)`.
    pub options: &'static std::ffi::CStr,
    /// Without it the agent must not start.
    pub required: bool,
}

/// All that the new processes need, made before the fork.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Maps for a user namespace, when there is one.
    pub id_maps: Option<IdMaps>,
    /// Whether there are process and mount namespaces.
    pub namespaces: bool,
    /// Whether the agent has a network of its own, with the shim's listeners in it.
    pub walled: bool,
    /// Whether a fresh `/proc` is mounted.
    pub own_proc: bool,
    /// Further mounts, in order.
    pub mounts: Vec<Mount>,
    /// Landlock's ruleset, and the rights to grant on `/proc` once it is mounted.
    pub ruleset: Option<(OwnedFd, u64)>,
    /// The filter.
    pub filter: Vec<Instruction>,
    /// Capabilities to keep.
    pub keep: u64,
    /// The agent's limits: which, and soft and hard.
    pub limits: Vec<(libc::__rlimit_resource_t, (u64, u64))>,
    /// The agent's working directory.
    pub cwd: CString,
    /// The agent's program.
    pub program: CString,
    /// Its arguments.
    pub argv: child::Texts,
    /// Its environment.
    pub environment: child::Texts,
    /// What becomes its standard output, when that is not the shim's own.
    pub stdout: Option<OwnedFd>,
    /// The agent's standard input, if it is not the shim's own.
    pub stdin: Option<OwnedFd>,
    /// An open `/dev/null`.
    pub null: OwnedFd,
    /// This side of the line to the shim.
    pub line: OwnedFd,
}

/// Runs the init; never returns.
pub(crate) fn run(plan: &Plan) -> ! {
    let line = plan.line.as_fd();
    let code = match start(plan) {
        Ok((agent, children)) => {
            serve(plan, agent, children.as_fd());
            0
        }
        Err((step, error)) => {
            // The shim may be gone; there is nobody else to tell.
            drop(frame::send(line, Frame { kind: frame::FAILED, a: sys::errno(&error), b: step }));
            1
        }
    };
    child::exit(code)
}

type Step<T> = Result<T, (i32, io::Error)>;

/// Names of the steps, for the error message.
pub(crate) const STEPS: &[&str] = &[
    "tying the init to the shim",
    "mapping the user",
    "leaving the host's mounts",
    "mounting /proc",
    "covering what the agent must not reach",
    "preparing the init",
    "starting the agent's process",
    "dropping capabilities",
    "setting limits",
    "putting on Landlock",
    "entering the working directory",
    "installing the filter",
    "passing the listener",
    "executing the agent",
    "making the agent's network",
];

fn step<T>(number: i32, result: io::Result<T>) -> Step<T> {
    result.map_err(|error| (number, error))
}

fn start(plan: &Plan) -> Step<(i32, OwnedFd)> {
    step(0, child::block_signals(true))?;
    if plan.namespaces {
        step(0, child::die_with_parent())?;
    }
    // Without a namespace the init has to outlive the shim for a moment, to kill what is left: it notices that the line is dead.
    step(0, child::adopt_orphans())?;
    if let Some(maps) = &plan.id_maps {
        step(1, maps.write())?;
    }
    if plan.walled {
        step(14, sys::net::loopback_up())?;
        for (index, socket) in step(14, wall::listeners())?.iter().enumerate() {
            let told = Frame { kind: frame::SOCKET, a: i32::try_from(index).unwrap_or(0), b: 0 };
            step(14, sys::net::send_descriptor(plan.line.as_fd(), &told.bytes(), socket.as_fd()))?;
        }
    }
    if plan.namespaces {
        step(2, fs::mount(c"none", c"/", c"", libc::MS_REC | libc::MS_SLAVE, c""))?;
    }
    if plan.own_proc {
        let quiet = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
        step(3, fs::mount(c"proc", c"/proc", c"proc", quiet, c""))?;
    }
    for mount in &plan.mounts {
        let made = fs::mount(&mount.source, &mount.target, mount.kind, mount.flags, mount.options);
        if mount.required {
            step(4, made)?;
        }
    }
    if let Some((ruleset, rights)) = &plan.ruleset
        && *rights != 0
    {
        let proc = step(9, fs::open(c"/proc", libc::O_PATH | libc::O_DIRECTORY))?;
        step(9, landlock::grant(ruleset.as_fd(), proc.as_fd(), *rights))?;
    }
    close_all_but(plan);
    let children = step(5, child::child_events())?;
    let (their_end, our_end) = step(5, pipe())?;
    let (go, say_go) = step(5, pipe())?;
    let forked = step(6, process::fork(libc::CLONE_FILES, None))?;
    let agent = match forked {
        process::Fork::Child => agent(plan, our_end.as_fd(), go.as_fd()),
        process::Fork::Parent { pid, pidfd } => {
            drop(pidfd);
            pid
        }
    };
    let heard = step(12, frame::receive(their_end.as_fd()))?;
    if heard.kind != frame::LISTENER {
        return Err((heard.b, io::Error::from_raw_os_error(heard.a)));
    }
    let listener = child::adopt(heard.a);
    let told = Frame { kind: frame::LISTENER, a: agent, b: 0 };
    step(12, sys::net::send_descriptor(plan.line.as_fd(), &told.bytes(), listener.as_fd()))?;
    // Closed here it is closed in the agent too, because the table is still shared: only the shim holds it from now on.
    drop(listener);
    step(12, process::unshare_files())?;
    drop(our_end);
    for standard in 0..3 {
        step(12, child::duplicate_to(plan.null.as_fd(), standard))?;
    }
    for theirs in [&plan.stdin, &plan.stdout].into_iter().flatten() {
        child::close(theirs.as_raw_fd());
    }
    step(12, child::write(say_go.as_fd(), b"g"))?;
    drop(say_go);
    drop(go);
    // Orders to stop and to go on must not wait behind the tree they are about. Only root may; others do without. Not before
    // everybody: the kernel spins in the end of a namespace's init, and the processes it waits for need the processor.
    drop(process::set_priority(-10));
    // The agent's end closes when it executes; a frame instead says why it could not.
    match frame::receive(their_end.as_fd()) {
        Ok(failed) => Err((failed.b, io::Error::from_raw_os_error(failed.a))),
        Err(_) => Ok((agent, children)),
    }
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = io::pipe()?;
    Ok((read.into(), write.into()))
}

/// Closes every descriptor of the shim's that is not needed: the outbox's lock and the broker's sockets must not live on here.
fn close_all_but(plan: &Plan) {
    let mut keep = [-1_i32; 6];
    keep[0] = plan.line.as_raw_fd();
    keep[1] = plan.null.as_raw_fd();
    keep[2] = plan.ruleset.as_ref().map_or(-1, |(ruleset, _)| ruleset.as_raw_fd());
    keep[3] = plan.stdout.as_ref().map_or(-1, AsRawFd::as_raw_fd);
    keep[4] = plan.stdin.as_ref().map_or(-1, AsRawFd::as_raw_fd);
    keep.sort_unstable();
    let mut next = 3_u32;
    for fd in keep {
        let Ok(fd) = u32::try_from(fd) else { continue };
        if fd >= next {
            if fd > next {
                drop(process::close_range(next, fd - 1));
            }
            next = fd + 1;
        }
    }
    drop(process::close_range(next, u32::MAX));
}

/// The agent's first process, until it executes.
fn agent(plan: &Plan, tell: BorrowedFd<'_>, go: BorrowedFd<'_>) -> ! {
    let (at, error) = match become_agent(plan, tell, go) {
        Ok(error) => (13, error),
        Err(failed) => failed,
    };
    drop(frame::send(tell, Frame { kind: frame::FAILED, a: sys::errno(&error), b: at }));
    child::exit(127)
}

fn become_agent(plan: &Plan, tell: BorrowedFd<'_>, go: BorrowedFd<'_>) -> Step<io::Error> {
    step(0, child::die_with_parent())?;
    for (theirs, standard) in [(&plan.stdin, 0), (&plan.stdout, 1)] {
        if let Some(theirs) = theirs {
            step(8, child::duplicate_to(theirs.as_fd(), standard))?;
        }
    }
    step(7, child::clear_ambient())?;
    let capabilities = step(7, child::capabilities())?;
    for capability in 0..64 {
        // Past the last capability, or without the right to, this fails; no_new_privs and capset below still hold.
        if plan.keep & (1 << capability) == 0 && child::drop_bounding(capability).is_err() {
            break;
        }
    }
    step(7, child::set_capabilities(capabilities.without(!plan.keep)))?;
    step(7, child::no_new_privileges())?;
    for (resource, limit) in &plan.limits {
        step(8, child::set_limit(*resource, *limit))?;
    }
    for signal in [
        libc::SIGPIPE,
        libc::SIGINT,
        libc::SIGQUIT,
        libc::SIGTERM,
        libc::SIGTSTP,
        libc::SIGTTIN,
        libc::SIGTTOU,
        libc::SIGCHLD,
        libc::SIGUSR1,
        libc::SIGUSR2,
        libc::SIGWINCH,
    ] {
        step(8, child::default_signal(signal))?;
    }
    step(8, child::block_signals(false))?;
    step(10, child::change_directory(&plan.cwd))?;
    if let Some((ruleset, _)) = &plan.ruleset {
        step(9, landlock::restrict_self(ruleset.as_fd()))?;
    }
    let listener = step(11, seccomp::install(&plan.filter))?;
    step(12, frame::send(tell, Frame { kind: frame::LISTENER, a: listener.as_raw_fd(), b: 0 }))?;
    // The init closes it in the table that both share.
    std::mem::forget(listener);
    step(12, child::read(go, &mut [0_u8; 1]))?;
    Ok(child::execute(&plan.program, &plan.argv, &plan.environment))
}

/// Reaps, and does as the shim says, until the agent's first process has ended or the shim is gone.
fn serve(plan: &Plan, agent: i32, children: BorrowedFd<'_>) {
    let line = plan.line.as_fd();
    loop {
        let Ok([asked, ended]) = process::poll([line, children], -1) else { continue };
        if ended != 0 {
            // Only empties the descriptor; which children ended is asked below.
            drop(child::read(children, &mut [0_u8; 1024]));
            while let Ok(Some((pid, status))) = process::reap() {
                if pid == agent {
                    drop(frame::send(line, Frame { kind: frame::EXITED, a: status, b: 0 }));
                    return end(plan);
                }
            }
        }
        if asked != 0 {
            match frame::receive(line) {
                Ok(frame) => obey(plan, agent, frame),
                Err(_) => return end(plan),
            }
        }
    }
}

/// Ends what is left. In a process namespace the kernel does that when the init ends.
fn end(plan: &Plan) {
    if plan.namespaces {
        return;
    }
    // Orphans become the init's children, so killing children until there are none reaches every process of the tree.
    while kill_children() {
        while let Ok(Some(_)) = process::reap() {}
    }
}

/// Kills the init's children; whether there were any.
fn kill_children() -> bool {
    let Ok(list) = fs::open(c"/proc/thread-self/children", libc::O_RDONLY) else { return false };
    let mut bytes = [0_u8; 4096];
    let length = child::read(list.as_fd(), &mut bytes).unwrap_or(0);
    let (mut pid, mut any) = (0_i32, false);
    for byte in &bytes[..length] {
        if byte.is_ascii_digit() {
            pid = pid.saturating_mul(10).saturating_add(i32::from(byte - b'0'));
        } else if pid > 0 {
            drop(process::kill(pid, libc::SIGKILL));
            (pid, any) = (0, true);
        }
    }
    any
}

fn obey(plan: &Plan, agent: i32, frame: Frame) {
    let mut made = None;
    let done = match frame.kind {
        // -1 means every process of this namespace; without one it would mean every process of the user.
        frame::STOP if plan.namespaces => process::kill(-1, libc::SIGSTOP),
        frame::KILL if plan.namespaces => process::kill(-1, libc::SIGKILL),
        frame::KILL => process::kill(agent, libc::SIGKILL),
        frame::SIGNAL => process::kill(agent, frame.a),
        // A socket stays in the network that it was made in, whoever has it.
        frame::STREAM if plan.walled => {
            sys::net::socket(frame.a, libc::SOCK_STREAM | libc::SOCK_NONBLOCK, 0).map(|socket| made = Some(socket))
        }
        _ => Err(io::Error::from_raw_os_error(libc::ENOSYS)),
    };
    let result = done.map_or_else(|error| sys::errno(&error), |()| 0);
    let told = Frame { kind: frame::DONE, a: result, b: frame.kind };
    drop(match made {
        Some(socket) => sys::net::send_descriptor(plan.line.as_fd(), &told.bytes(), socket.as_fd()),
        None => frame::send(plan.line.as_fd(), told),
    });
}
