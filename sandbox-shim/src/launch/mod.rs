//! Starts the agent as a child of the shim, confined and watched from its first instruction.

pub(crate) mod frame;
pub(crate) mod init;
pub(crate) mod inside;
mod limits;
pub(crate) mod line;
pub(crate) mod wall;

use crate::calls::{self, Setup, filter};
use crate::confine::{self, IdMaps, Means, c_path};
use crate::doors;
use crate::ebpf;
use crate::egress::{self, NamesFile, Services};
use crate::fanotify::Watch;
use crate::floor::{self, Floor};
use crate::freeze::Brake;
use crate::policy::Policy;
use crate::sys::{self, child, process};
use init::{Mount, Plan};
use line::Line;
use std::ffi::{CString, OsString};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wall::Listeners;

/// What becomes of the agent's standard input and output. Errors always go where the shim's own go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stdio {
    /// They are the shim's own, so that an interactive agent keeps its terminal.
    #[default]
    Inherit,
    /// The output comes out of a pipe that the shim reads: see [`Running::take_stdout`](crate::supervise::Running::take_stdout).
    Capture,
    /// And the input goes into one: see [`Running::take_stdin`](crate::supervise::Running::take_stdin).
    Converse,
}

/// What is to be started, and how.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The program and its arguments.
    pub argv: Vec<OsString>,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// Where it starts.
    pub cwd: PathBuf,
    /// The folder it is meant to work in.
    pub workspace: PathBuf,
    /// What it may do.
    pub policy: Arc<Policy>,
    /// What it must never reach: the data folder, keys.
    pub protected: Vec<PathBuf>,
    /// Where it must never connect: the broker, the registry.
    pub protected_endpoints: Vec<SocketAddr>,
    /// Services of the shim's own on the machine's loopback that the agent reaches, whatever is between.
    pub reachable: Vec<SocketAddr>,
    /// Is told, once a reason, why something was refused; for an agent that no adapter speaks to.
    pub teller: Option<crate::supervise::Teller>,
    /// What becomes of its standard input and output.
    pub stdio: Stdio,
    /// Whether fanotify watches what the kernel opens for execution, where it can.
    pub fanotify: bool,
    /// Whether eBPF tells how calls ended that were let through, where it can.
    pub ebpf: bool,
    /// Whether opens for reading go on at once and eBPF tells of them afterwards, where it can and the policy leaves all of them free.
    pub ebpf_reads: bool,
}

/// The agent could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// There is no such program.
    #[error("`{program}` is not a program that can be executed")]
    NoProgram {
        /// As given.
        program: String,
    },
    /// The kernel cannot make system calls wait for the shim, and without that nothing would be seen.
    #[error("this kernel offers no seccomp notifications; Linux 5.19 or later is needed")]
    NoNotifications,
    /// The policy limits the number of processes, and nothing here can count them.
    #[error(
        "the policy limits the number of processes, which needs a cgroup with the controller `pids`, or a user namespace"
    )]
    NoProcessLimit,
    /// Working in a folder that is out of reach makes no sense.
    #[error("the working directory `{cwd}` lies inside `{protected}`, which the agent must not reach")]
    CwdProtected {
        /// The directory.
        cwd: PathBuf,
        /// The folder.
        protected: PathBuf,
    },
    /// A text for the agent holds a zero byte.
    #[error("an argument or environment variable holds a zero byte")]
    ZeroByte,
    /// The agent's process could not be made ready.
    #[error("starting the agent failed while {step}")]
    Step {
        /// What was being done.
        step: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

fn step(step: &'static str) -> impl FnOnce(io::Error) -> LaunchError {
    move |source| LaunchError::Step { step, source }
}

/// All that must be known before the fork.
#[derive(Debug)]
pub(crate) struct Prepared {
    plan: Plan,
    means: Means,
    line: Arc<Line>,
    cgroup: Option<(PathBuf, OwnedFd)>,
    pub(crate) floor: Floor,
    pub(crate) protected: Vec<PathBuf>,
    pub(crate) stdin: Option<std::fs::File>,
    pub(crate) stdout: Option<std::fs::File>,
    pub(crate) words: Vec<String>,
    pub(crate) wall: Option<(Services, Option<Listeners>)>,
    pub(crate) names: Option<NamesFile>,
    reads: Option<ebpf::ReadsBegun>,
}

/// A session whose agent waits with its first system call.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) listener: OwnedFd,
    pub(crate) brake: Brake,
    pub(crate) inside: Option<Listeners>,
    pub(crate) watch: Option<Watch>,
    pub(crate) results: Option<(ebpf::Results, ebpf::Ring)>,
    pub(crate) reads: Option<(ebpf::Reads, ebpf::Told)>,
}

/// Does everything that can be done before the fork.
pub(crate) fn prepare(spec: &Launch, mut means: Means) -> Result<Prepared, LaunchError> {
    means.fanotify &= spec.fanotify;
    means.ebpf &= spec.ebpf;
    if !means.notifications {
        return Err(LaunchError::NoNotifications);
    }
    let program = find_program(spec)?;
    let real = |path: &PathBuf| path.canonicalize().unwrap_or_else(|_| path.clone());
    let protected: Vec<PathBuf> = spec.protected.iter().map(real).collect();
    let cwd = real(&spec.cwd);
    if let Some(folder) = protected.iter().find(|folder| cwd.starts_with(folder)) {
        return Err(LaunchError::CwdProtected { cwd, protected: folder.clone() });
    }
    let covered = means.namespaces && means.covers;
    let floor = plan_floor(spec, if covered { &[] } else { &protected });
    let mut mounts = if covered { mounts(&means, &protected)? } else { Vec::new() };
    let wall = choose_wall(spec, &means)?;
    let walled = matches!(wall, Some((_, None)));
    let names = walled.then(NamesFile::make).transpose().map_err(step("saying where names are asked for"))?;
    if let Some(names) = &names {
        mounts.extend(cover_resolv_conf(names)?);
    }
    let mut environment = spec.env.clone();
    if let Some((services, _)) = &wall {
        egress::put_into(&mut environment, services.door);
    }
    let ruleset = match means.landlock {
        0 => None,
        abi => {
            let ruleset = floor.ruleset(abi).map_err(step("making the Landlock ruleset"))?;
            // The agent's own /proc is mounted after this, and a grant belongs to the mount it was made on.
            let proc_rights = if means.own_proc { floor.rights(abi) } else { 0 };
            Some((ruleset, proc_rights))
        }
    };
    let cgroup = means.cgroup.as_ref().and_then(|parent| make_cgroup(parent));
    let reads = if spec.ebpf_reads { reads(spec, &means, &floor, cgroup.is_some()) } else { None };
    let setup = Setup {
        fences: !means.namespaces,
        mutes: !means.namespaces && sys::process::effective_user() != 0,
        makes_sockets: !means.copies_descriptors,
        tells_reads: reads.is_some(),
    };
    let (ours, theirs) = UnixStream::pair().map_err(step("opening a line to the init"))?;
    let (mut stdin, mut stdout, mut their_stdin, mut their_stdout) = (None, None, None, None);
    if matches!(spec.stdio, Stdio::Capture | Stdio::Converse) {
        let (read, write) = io::pipe().map_err(step("opening a pipe"))?;
        (stdout, their_stdout) = (Some(OwnedFd::from(read).into()), Some(write.into()));
    }
    if spec.stdio == Stdio::Converse {
        let (read, write) = io::pipe().map_err(step("opening a pipe"))?;
        (stdin, their_stdin) = (Some(OwnedFd::from(write).into()), Some(read.into()));
    }
    let null = std::fs::File::options().read(true).write(true).open("/dev/null");
    let mut words = means.words();
    match &wall {
        Some((_, None)) => words.extend(["network-namespace".to_owned(), "egress-proxy".to_owned()]),
        Some((_, Some(_))) => words.extend(["no-network-namespace".to_owned(), "egress-proxy".to_owned()]),
        None => {}
    }
    let mut limits = vec![(libc::RLIMIT_NOFILE, descriptor_limit().map_err(step("reading limits"))?)];
    let folder = cgroup.as_ref().map(|(path, _)| path.as_path());
    limits.extend(limits::put_on(spec.policy.limits, folder, means.user_namespace, &mut words)?);
    let plan = Plan {
        id_maps: means.user_namespace.then(IdMaps::identity),
        namespaces: means.namespaces,
        walled,
        own_proc: means.own_proc,
        mounts,
        ruleset,
        filter: filter::compile(calls::table(), &sys::arch::NATIVE, setup),
        keep: if means.user_namespace || sys::process::effective_user() != 0 { 0 } else { confine::KEPT_CAPABILITIES },
        limits,
        cwd: c_path(&cwd).map_err(|_| LaunchError::ZeroByte)?,
        program: c_path(&program).map_err(|_| LaunchError::ZeroByte)?,
        argv: texts(spec.argv.iter().map(|word| word.as_bytes().to_vec()))?,
        environment: texts(environment.iter().map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()].concat()))?,
        stdin: their_stdin,
        stdout: their_stdout,
        null: null.map_err(step("opening /dev/null"))?.into(),
        line: theirs.into(),
    };
    let line = Arc::new(Line::new(ours));
    Ok(Prepared { plan, means, line, cgroup, floor, protected, stdin, stdout, words, wall, names, reads })
}

impl Prepared {
    /// Forks. The calling thread must live as long as the agent may: the init dies with it.
    pub(crate) fn begin(self) -> Result<Begun, LaunchError> {
        let Self { plan, means, line, cgroup, reads, .. } = self;
        let mut flags = if means.namespaces { confine::namespace_flags(means.user_namespace) } else { 0 };
        let walled = plan.walled;
        if walled {
            flags |= libc::CLONE_NEWNET;
        }
        let into = cgroup.as_ref().map(|(_, folder)| folder.as_fd());
        let forked = process::fork(flags, into).map_err(step("starting the init"))?;
        let init = match forked {
            process::Fork::Child => init::run(&plan),
            process::Fork::Parent { pid, .. } => pid,
        };
        drop(plan);
        let stopped_before = std::sync::Mutex::default();
        let cgroup = cgroup.map(|(path, _)| path);
        let orders = std::sync::Mutex::default();
        let brake = Brake { cgroup, namespaces: means.namespaces, init, line, orders, stopped_before };
        let inside = if walled { Listeners::receive(&brake.line).map(|got| got.map(Some)) } else { Ok(Ok(None)) };
        let listener = match inside {
            Ok(Ok(inside)) => brake.line.listener().map(|got| got.map(|listener| (listener, inside))),
            Ok(Err(failed)) => Ok(Err(failed)),
            Err(error) => Err(error),
        };
        match listener {
            Ok(Ok((listener, inside))) => {
                // All its mounts are made, and its agent waits for the shim with its first exec.
                let watch = means.offers_fanotify().then(|| watch(init)).flatten();
                let (reads, results) = match reads {
                    Some(ebpf::ReadsBegun { reads, results }) => {
                        reads.0.of_namespace(init).map_err(step("naming the session to the kernel"))?;
                        (Some(reads), Some(results))
                    }
                    None => (None, means.ebpf.then(results).flatten()),
                };
                Ok(Begun { listener, brake, inside, watch, results, reads })
            }
            Ok(Err(failed)) => Err(failure(&brake, failed)),
            Err(source) => {
                sys::process::wait_for(init).ok();
                brake.clean_up();
                Err(LaunchError::Step { step: "starting the init", source })
            }
        }
    }

    /// The name of the session's cgroup, if there is one.
    pub(crate) fn line(&self) -> Arc<Line> {
        Arc::clone(&self.line)
    }
}

/// Watches what the kernel opens for execution; a session can do without, and then says so by not naming it.
fn watch(init: i32) -> Option<Watch> {
    let begun = Watch::begin(init);
    if let Err(error) = &begun {
        tracing::warn!(%error, "the session goes without fanotify: interpreters and loaders will not be on record");
    }
    begun.ok()
}

/// Has it told how calls end; a session can do without, and then says so by not naming it.
fn results() -> Option<(ebpf::Results, ebpf::Ring)> {
    let begun = ebpf::Results::begin(ebpf::RING_BYTES);
    if let Err(error) = &begun {
        tracing::warn!(%error, "the session goes without eBPF: how calls end that are let through will not be on record");
    }
    begun.ok()
}

/// Has it told what is opened for reading, if nobody needs to decide about that; else every open waits for the shim.
fn reads(spec: &Launch, means: &Means, floor: &Floor, has_cgroup: bool) -> Option<ebpf::ReadsBegun> {
    let hindrance = [
        (!spec.policy.reads_are_free(), "the policy does not leave every read free"),
        (!means.ebpf, "eBPF needs root in the machine's own namespaces"),
        (!means.namespaces || means.user_namespace, "there is no process namespace of the session's own"),
        (!floor.grants_all_reading(), "what the shim protects cannot be covered by mounts"),
        (!has_cgroup, "there is no cgroup of version 2, by which the agent could be kept from running ahead"),
    ];
    if let Some((_, reason)) = hindrance.iter().find(|(hinders, _)| *hinders) {
        tracing::warn!(reason, "every open for reading waits for the shim");
        return None;
    }
    let begun = ebpf::Reads::begin();
    if let Err(error) = &begun {
        tracing::warn!(%error, "every open for reading waits for the shim");
    }
    begun.ok()
}

fn failure(brake: &Brake, failed: frame::Frame) -> LaunchError {
    sys::process::wait_for(brake.init).ok();
    brake.clean_up();
    let step = usize::try_from(failed.b).ok().and_then(|index| init::STEPS.get(index)).copied();
    LaunchError::Step { step: step.unwrap_or("starting"), source: io::Error::from_raw_os_error(failed.a) }
}

fn texts(words: impl Iterator<Item = Vec<u8>>) -> Result<child::Texts, LaunchError> {
    let texts = words.map(|word| CString::new(word).map_err(|_| LaunchError::ZeroByte));
    Ok(child::Texts::new(texts.collect::<Result<_, _>>()?))
}

/// Finds the program as a shell would, along the agent's own PATH.
fn find_program(spec: &Launch) -> Result<PathBuf, LaunchError> {
    let missing = |program: &OsString| LaunchError::NoProgram { program: program.to_string_lossy().into_owned() };
    let program = spec.argv.first().ok_or_else(|| missing(&OsString::new()))?;
    let can_run = |path: &Path| {
        use std::os::unix::fs::PermissionsExt;
        path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    if program.as_bytes().contains(&b'/') {
        let path = spec.cwd.join(program);
        return if can_run(&path) { Ok(path) } else { Err(missing(program)) };
    }
    let path = spec.env.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.clone());
    let path = path.unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    let folders = path.as_bytes().split(|byte| *byte == b':');
    let mut found =
        folders.map(|folder| spec.cwd.join(PathBuf::from(OsString::from_vec(folder.to_vec()))).join(program));
    found.find(|path| can_run(path)).ok_or_else(|| missing(program))
}

/// What Landlock grants: what the policy allows as a whole, but what it singles out, and what no mount covers.
fn plan_floor(spec: &Launch, uncovered: &[PathBuf]) -> Floor {
    let real = |path: PathBuf| path.canonicalize().unwrap_or(path);
    let all_real = |paths: Vec<PathBuf>| paths.into_iter().map(real).collect::<Vec<_>>();
    // What is not there cannot be granted; when it is made later, the shim does what is done in it.
    let there = |paths: Vec<PathBuf>| all_real(paths).into_iter().filter(|path| path.exists());
    // Processes look at themselves and write to terminals whatever the policy says about files.
    let always = ["/proc", "/dev"].map(PathBuf::from);
    let guarded = spec.policy.guarded();
    let left_out: Vec<PathBuf> = guarded.0.into_iter().map(real).chain(uncovered.iter().cloned()).collect();
    let plan = floor::Plan {
        writable: there(spec.policy.writable()).chain(always).collect(),
        readable: there(spec.policy.readable()).collect(),
        left_out_of_writing: all_real(guarded.1),
        left_out,
        carry_every_open: spec.policy.has_floating_rules(),
    };
    Floor::plan(&plan)
}

/// The mounts that hide what is protected and, from an agent that runs as root, what reaches past files.
fn mounts(means: &Means, protected: &[PathBuf]) -> Result<Vec<Mount>, LaunchError> {
    let text = |path: &Path| c_path(path).map_err(|_| LaunchError::ZeroByte);
    let quiet = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC | libc::MS_RDONLY;
    let mut mounts = Vec::new();
    for path in protected {
        let (source, kind, flags, options) = if path.is_file() {
            (c"/dev/null".to_owned(), c"", libc::MS_BIND, c"")
        } else {
            (c"none".to_owned(), c"tmpfs", quiet, c"mode=000,size=4k")
        };
        if path.exists() {
            mounts.push(Mount { source, target: text(path)?, kind, flags, options, required: true });
        }
    }
    for door in doors::present() {
        mounts.push(cover_file(&door, false)?);
    }
    if !means.user_namespace {
        for folder in ["/sys", "/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus"] {
            let target = text(Path::new(folder))?;
            let bind = Mount {
                source: target.clone(),
                target: target.clone(),
                kind: c"",
                flags: libc::MS_BIND,
                options: c"",
                required: false,
            };
            let flags = libc::MS_BIND | libc::MS_REMOUNT | quiet;
            let read_only =
                Mount { source: c"none".to_owned(), target, kind: c"", flags, options: c"", required: false };
            mounts.extend([bind, read_only]);
        }
        for device in raw_devices() {
            mounts.push(cover_file(&device, false)?);
        }
    }
    Ok(mounts)
}

/// How what leaves is kept to the proxy, when the policy has rules about it: where its services are, and they themselves when they
/// are not in a network of the agent's own.
fn choose_wall(spec: &Launch, means: &Means) -> Result<Option<(Services, Option<Listeners>)>, LaunchError> {
    if spec.policy.egress().is_none() {
        return Ok(None);
    }
    if means.offers_network() {
        return Ok(Some((Services::INSIDE, None)));
    }
    tracing::warn!("no network namespace can be made here: each connect is turned to the proxy instead");
    let listeners = Listeners::on_loopback().map_err(step("opening the proxy"))?;
    let services = listeners.services().map_err(step("opening the proxy"))?;
    Ok(Some((services, Some(listeners))))
}

/// Puts the file that names the shim's resolver over the machine's own.
fn cover_resolv_conf(names: &NamesFile) -> Result<Option<Mount>, LaunchError> {
    // It is a link on many machines, and a mount is made on what it leads to.
    let Ok(target) = Path::new("/etc/resolv.conf").canonicalize() else { return Ok(None) };
    let text = |path: &Path| c_path(path).map_err(|_| LaunchError::ZeroByte);
    Ok(Some(Mount {
        source: text(names.path())?,
        target: text(&target)?,
        kind: c"",
        flags: libc::MS_BIND,
        options: c"",
        required: true,
    }))
}

/// Puts `/dev/null` in place of a file.
fn cover_file(path: &Path, required: bool) -> Result<Mount, LaunchError> {
    let target = c_path(path).map_err(|_| LaunchError::ZeroByte)?;
    Ok(Mount { source: c"/dev/null".to_owned(), target, kind: c"", flags: libc::MS_BIND, options: c"", required })
}

/// Devices through which root reads a disk or memory past every path.
fn raw_devices() -> Vec<PathBuf> {
    use std::os::unix::fs::FileTypeExt;
    let folders = ["/dev", "/dev/mapper"].iter().filter_map(|folder| std::fs::read_dir(folder).ok());
    let all = folders.flat_map(|entries| entries.flatten().map(|entry| entry.path()).collect::<Vec<_>>());
    let is_raw = |path: &PathBuf| {
        let block = path.symlink_metadata().is_ok_and(|found| found.file_type().is_block_device());
        block || ["/dev/mem", "/dev/kmem", "/dev/port"].iter().any(|raw| path == Path::new(raw))
    };
    all.filter(is_raw).collect()
}

/// Raises the shim's own limit, once, and returns what it was: each process that is watched takes a descriptor.
fn descriptor_limit() -> io::Result<(u64, u64)> {
    static BEFORE: std::sync::OnceLock<(u64, u64)> = std::sync::OnceLock::new();
    if let Some(before) = BEFORE.get() {
        return Ok(*before);
    }
    let before = process::raise_descriptor_limit()?;
    Ok(*BEFORE.get_or_init(|| before))
}

fn make_cgroup(parent: &Path) -> Option<(PathBuf, OwnedFd)> {
    remove_left_over(parent);
    let name = format!("{CGROUP}{}-{}", std::process::id(), crate::clock::new_id().simple());
    let path = parent.join(name);
    std::fs::create_dir(&path).ok()?;
    let folder = std::fs::File::open(&path).ok()?;
    Some((path, folder.into()))
}

const CGROUP: &str = "watchkeeper-";

/// Removes the empty cgroups of shims that were killed; their processes died with them.
fn remove_left_over(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(CGROUP)?.split('-').next());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            std::fs::remove_dir(entry.path()).ok();
        }
    }
}
