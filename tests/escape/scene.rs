//! Where a technique is played: what is out of reach, who listens outside, and what must be as it was afterwards.

use crate::harness::{Memory, NoTies};
use crate::technique::{Expect, Programs, Technique};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Read;
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use wk_schemas::Body;
use wk_schemas::body::Outcome;
use wk_shim::clock;
use wk_shim::confine::Means;
use wk_shim::policy::{Places, Policy};
use wk_shim::supervise::{Ended, Launch, Stdio, launch_with};

const SECRET: &str = "TOP SECRET";
/// How often a race is tried; `tests/escape/races` asks for a million.
pub(crate) fn tries() -> u64 {
    std::env::var("WK_ESCAPE_TRIES").ok().and_then(|tries| tries.parse().ok()).unwrap_or(2000)
}

/// No technique needs a tenth of it, on a busy machine.
fn patience() -> Duration {
    Duration::from_secs(900) + Duration::from_millis(5 * tries())
}

/// One scene.
pub(crate) struct Scene {
    folder: tempfile::TempDir,
    /// Where nobody may connect.
    outside: TcpListener,
    outside_udp: UdpSocket,
    /// Where everybody may connect.
    allowed: Host,
    /// Where the log would be: the policy allows it, the shim does not.
    broker: TcpListener,
    abstract_name: String,
    abstract_door: UnixListener,
    sealed_door: UnixListener,
    shared: Shared,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let write = |name: &str, text: &str| {
            let path = root.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        std::fs::create_dir(root.join("work")).unwrap();
        write("guarded/key", SECRET);
        write("guarded/script", "#!/bin/cat\nTOP SECRET\n");
        std::fs::set_permissions(root.join("guarded/script"), PermissionsExt::from_mode(0o755)).unwrap();
        write("sealed/outbox/spool", SECRET);
        write("sealed/keys/approval.key", SECRET);
        write("sealed/policy.toml", "name = \"strict\"\n");
        let quiet = |listener: TcpListener| {
            listener.set_nonblocking(true).unwrap();
            listener
        };
        let tcp = || quiet(TcpListener::bind("127.0.0.1:0").unwrap());
        let outside_udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        outside_udp.set_nonblocking(true).unwrap();
        let abstract_name = format!("wk-escape-{}", clock::new_id().simple());
        let address = SocketAddr::from_abstract_name(&abstract_name).unwrap();
        let local = |listener: UnixListener| {
            listener.set_nonblocking(true).unwrap();
            listener
        };
        Self {
            outside: tcp(),
            outside_udp,
            allowed: Host::new(),
            broker: tcp(),
            abstract_door: local(UnixListener::bind_addr(&address).unwrap()),
            sealed_door: local(UnixListener::bind(root.join("sealed/door.sock")).unwrap()),
            abstract_name,
            shared: Shared::new(),
            folder,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join(name)
    }

    fn environment(&self) -> Vec<(OsString, OsString)> {
        let port = |listener: &TcpListener| listener.local_addr().unwrap().port().to_string();
        let text = [
            ("PATH", "/usr/local/bin:/usr/bin:/bin".to_owned()),
            ("LC_ALL", "C".to_owned()),
            ("TRIES", tries().to_string()),
            ("PORT", port(&self.outside)),
            ("UDP", self.outside_udp.local_addr().unwrap().port().to_string()),
            ("ALLOWED", self.allowed.port.to_string()),
            ("BROKER", port(&self.broker)),
            ("SHIM", std::process::id().to_string()),
            ("SHM", self.shared.key.to_string()),
            ("ABSTRACT", self.abstract_name.clone()),
        ];
        let paths = [("WORK", "work"), ("HOME", "work"), ("GUARDED", "guarded"), ("SEALED", "sealed")];
        let text = text.into_iter().map(|(name, value)| (name.into(), value.into()));
        text.chain(paths.into_iter().map(|(name, path)| (name.into(), self.path(path).into()))).collect()
    }

    fn policy(&self, places: &Places, behind_proxy: bool) -> Policy {
        let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
        let mut text = format!(
            "name = \"escape\"\n[files]\ndefault = \"allow\"\n\
             rules = [{{ match = \"{}/**\", action = \"deny\", reason = \"guarded\" }}]\n\
             [network]\ndefault = \"deny\"\nrules = [\n\
             {{ match = \"loopback:{}\", action = \"allow\", reason = \"a server of its own\" }},\n\
             {{ match = \"loopback:{}\", action = \"allow\", reason = \"a rule too wide\" }} ]\n",
            self.path("guarded").display(),
            self.allowed.port,
            port(&self.broker),
        );
        if behind_proxy {
            text.push_str(&format!(
                "[egress]\ndefault = \"deny\"\nrules = [\n\
                 {{ match = \"api.test\", at = \"127.0.0.1:{}\", action = \"allow\", reason = \"the model\" }},\n\
                 {{ match = \"log.test\", at = \"127.0.0.1:{}\", action = \"allow\", reason = \"a rule too wide\" }} ]\n",
                self.allowed.port,
                port(&self.broker),
            ));
        }
        Policy::parse(&text, "escape", places).unwrap()
    }

    /// Plays a technique under the shim.
    ///
    /// # Errors
    /// What it reached, or which record is missing.
    pub(crate) fn play(&self, technique: &Technique, programs: &Programs, means: &Means) -> Result<(), String> {
        let before = self.sealed();
        let recorder: Arc<Memory> = Arc::default();
        let work = self.path("work");
        let places = Places { home: work.clone(), workspace: work.clone() };
        let spec = Launch {
            argv: technique.argv(programs).into_iter().map(Into::into).collect(),
            env: self.environment(),
            cwd: work.clone(),
            workspace: work,
            policy: Arc::new(self.policy(&places, technique.behind_proxy)),
            protected: vec![self.path("sealed")],
            protected_endpoints: vec![self.broker.local_addr().unwrap()],
            reachable: vec![],
            teller: None,
            stdio: Stdio::Capture,
            fanotify: true,
            ebpf: true,
            ebpf_reads: false,
        };
        let mut running = launch_with(means.clone(), spec, recorder.clone(), Arc::new(NoTies), |_| {})
            .map_err(|error| format!("could not be started: {error}"))?;
        let mut stdout = running.take_stdout().unwrap();
        let (tell, told) = mpsc::sync_channel(1);
        let reading = std::thread::spawn(move || {
            let mut said = Vec::new();
            stdout.read_to_end(&mut said).unwrap();
            tell.send(()).ok();
            String::from_utf8_lossy(&said).into_owned()
        });
        let in_time = match told.recv_timeout(patience()) {
            Ok(()) => true,
            Err(_) => {
                running.kill().unwrap();
                false
            }
        };
        let ended = running.wait();
        drop(running);
        let said = reading.join().unwrap();
        let bodies = recorder.bodies();
        let verdict = if in_time { self.judge(technique, ended, &said, &before, &bodies) } else { Err("hangs".into()) };
        verdict.map_err(|what| {
            let shown: Vec<String> = bodies.iter().rev().take(12).map(|body| format!("{body:?}")).collect();
            format!(
                "{what}\n  it said: {said}\n  it ended: {ended:?}\n  last records, latest first:\n  {}",
                shown.join("\n  ")
            )
        })
    }

    fn judge(
        &self,
        technique: &Technique,
        ended: Ended,
        said: &str,
        before: &BTreeMap<PathBuf, String>,
        bodies: &[Body],
    ) -> Result<(), String> {
        if said.contains("ESCAPED") || said.contains(SECRET) || said.contains("BROKEN") {
            return Err("it says that it escaped, or that it is broken".into());
        }
        if self.sealed() != *before {
            return Err("what was out of reach is not what it was".into());
        }
        self.nobody_came()?;
        let refused = said.contains("REFUSED") || ended.signal.is_some() || technique.name.ends_with(".sh");
        match technique.expect {
            Expect::Blocked if ended.exit_code == Some(0) || !refused => return Err("it was not refused".into()),
            Expect::Recorded if !said.contains("DONE") => return Err("it did not work".into()),
            Expect::Blocked | Expect::Recorded => {}
        }
        for (kind, text) in &technique.records {
            let tells = |body: &&Body| {
                body.kind().as_str() == kind
                    && format!("{body:?}").contains(text)
                    && (technique.expect == Expect::Recorded || outcome(body).is_none_or(|o| o == Outcome::Denied))
            };
            if !bodies.iter().any(|body| tells(&body)) {
                return Err(format!("no {kind} tells of `{text}`"));
            }
        }
        self.nothing_lives_on()
    }

    /// Nobody outside was reached.
    fn nobody_came(&self) -> Result<(), String> {
        let mut byte = [0];
        for (came, who) in [
            (self.outside.accept().is_ok(), "the host that is not allowed"),
            (self.outside_udp.recv(&mut byte).is_ok(), "the datagram socket that is not allowed"),
            (self.broker.accept().is_ok(), "the log"),
            (self.abstract_door.accept().is_ok(), "the abstract socket outside"),
            (self.sealed_door.accept().is_ok(), "the socket in the data folder"),
        ] {
            if came {
                return Err(format!("it reached {who}"));
            }
        }
        Ok(())
    }

    /// A process that holds this lock has outlived its session. The kernel may take a moment to kill what was left.
    fn nothing_lives_on(&self) -> Result<(), String> {
        let Ok(lock) = std::fs::File::open(self.path("work/outlived.lock")) else { return Ok(()) };
        let until = clock::instant() + patience();
        while let Err(error) = lock.try_lock() {
            if clock::instant() > until {
                return Err(format!("a process has outlived its session: {error}"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// What is out of reach: path, and content with mode.
    fn sealed(&self) -> BTreeMap<PathBuf, String> {
        fn walk(folder: &Path, into: &mut BTreeMap<PathBuf, String>) {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let mode = path.symlink_metadata().unwrap().permissions().mode();
                let text = std::fs::read_to_string(&path).unwrap_or_default();
                into.insert(path.clone(), format!("{mode:o} {text}"));
                if path.is_dir() {
                    walk(&path, into);
                }
            }
        }
        let mut all = BTreeMap::new();
        for name in ["guarded", "sealed"] {
            walk(&self.path(name), &mut all);
        }
        all
    }

    /// Plays a technique without a shim, and returns what it said.
    pub(crate) fn play_bare(&self, technique: &Technique, programs: &Programs) -> String {
        let argv = technique.argv(programs);
        let mut command = Command::new(&argv[0]);
        command.args(&argv[1..]).env_clear().envs(self.environment()).current_dir(self.path("work"));
        String::from_utf8_lossy(&command.output().unwrap().stdout).into_owned()
    }
}

/// What became of it, where the shim alone decides: a call that is only watched may still be refused by the kernel.
fn outcome(body: &Body) -> Option<Outcome> {
    match body {
        // What lies in /proc is opened by the kernel.
        Body::FileAccessed(body) if body.path.starts_with("/proc/") => None,
        Body::FileAccessed(body) => Some(body.outcome),
        Body::ConnectionAttempted(body) => Some(body.outcome),
        Body::ProcessStarted(body) => Some(body.outcome),
        _ => None,
    }
}

/// A piece of shared memory that a process outside has made; removed when dropped.
struct Shared {
    key: u32,
}

const SHARED: &str = "import ctypes,sys\nlibc=ctypes.CDLL(None)\nlibc.shmat.restype=ctypes.c_void_p\n\
                      s=libc.shmget(int(sys.argv[1]),4096,0o1666)\nctypes.memmove(libc.shmat(s,None,0),b'TOP SECRET',10)\n";

impl Shared {
    fn new() -> Self {
        let key = u32::try_from(clock::new_id().as_u128() & 0x3fff_ffff).unwrap() | 1;
        let made = Command::new("/usr/bin/python3").args(["-c", SHARED, &key.to_string()]).status();
        assert!(made.unwrap().success());
        Self { key }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        Command::new("ipcrm").arg("-M").arg(self.key.to_string()).status().ok();
    }
}

/// A server that takes everybody in and sends them away.
struct Host {
    port: u16,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Host {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !stopping.load(Ordering::Relaxed) {
                drop(listener.accept());
            }
        });
        Self { port, stop, thread: Some(thread) }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the server, so that it sees that it is to stop.
        drop(std::net::TcpStream::connect(("127.0.0.1", self.port)));
        self.thread.take().map(std::thread::JoinHandle::join);
    }
}
