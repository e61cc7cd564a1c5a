//! Starts a real program under watch with a recorder that keeps everything in memory.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use wk_schemas::body::{ConnectionAttempted, FileAccessed, FileOperation, Mediation, ProcessStarted};
use wk_schemas::{Body, RecordId};
use wk_shim::clock;
use wk_shim::confine::Means;
use wk_shim::contract::{Causality, Event, ProcessFacts, RecordError, Recorder, Tie};
use wk_shim::policy::{Places, Policy};
use wk_shim::supervise::{Ended, Launch, LaunchError, Running, Stdio, Teller, launch_with};

/// Keeps what it is given, and can be told to fail.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    events: Mutex<Vec<(RecordId, Event)>>,
    news: Condvar,
    pub fails_after: Mutex<Option<usize>>,
}

impl Recorder for Memory {
    fn record(&self, event: Event) -> Result<RecordId, RecordError> {
        let mut events = self.events.lock().unwrap();
        if self.fails_after.lock().unwrap().is_some_and(|limit| events.len() >= limit) {
            return Err(RecordError::Full { detail: "told to".into() });
        }
        let id = RecordId(clock::new_id());
        events.push((id, event));
        self.news.notify_all();
        Ok(id)
    }
    fn record_durable(&self, event: Event) -> Result<RecordId, RecordError> {
        self.record(event)
    }
}

impl Memory {
    pub(crate) fn bodies(&self) -> Vec<Body> {
        self.events.lock().unwrap().iter().map(|(_, event)| event.body.clone()).collect()
    }

    pub(crate) fn events(&self) -> Vec<(RecordId, Event)> {
        self.events.lock().unwrap().clone()
    }

    /// Waits until `find` finds what it looks for; panics with everything recorded when that takes unreasonably long.
    pub(crate) fn wait_for<T>(&self, what: &str, mut find: impl FnMut(&Body) -> Option<T>) -> T {
        let mut events = self.events.lock().unwrap();
        loop {
            if let Some(found) = events.iter().find_map(|(_, event)| find(&event.body)) {
                return found;
            }
            let (back, timeout) = self.news.wait_timeout(events, Duration::from_secs(600)).unwrap();
            events = back;
            assert!(!timeout.timed_out(), "waited for {what}; recorded: {:#?}", *events);
        }
    }
}

/// Ties everything to nothing.
#[derive(Debug)]
pub(crate) struct NoTies;

impl Causality for NoTies {
    fn process_started(&self, process: &ProcessFacts, _: Option<&Tie>) -> Tie {
        Tie { tool_call_id: None, is_agent: process.is_root }
    }
    fn mediation(&self, tie: &Tie, _: &str) -> (Option<String>, Mediation) {
        (None, if tie.is_agent { Mediation::Agent } else { Mediation::None })
    }
}

/// A program to run under watch.
pub(crate) struct Trial {
    pub folder: tempfile::TempDir,
    pub argv: Vec<OsString>,
    pub policy: String,
    pub protected: Vec<PathBuf>,
    pub endpoints: Vec<SocketAddr>,
    pub means: Means,
    pub recorder: Arc<Memory>,
    pub stdio: Stdio,
    pub ebpf: bool,
    /// See [`Launch::ebpf_reads`].
    pub ebpf_reads: bool,
    pub told: Arc<Mutex<Vec<String>>>,
}

pub(crate) const FREE: &str = "name = \"t\"\n[network]\ndefault = \"allow\"\n";

impl Trial {
    pub(crate) fn shell(script: &str) -> Self {
        Self::program(["/bin/sh", "-c", script])
    }

    pub(crate) fn program<const N: usize>(argv: [&str; N]) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            argv: argv.iter().map(OsString::from).collect(),
            policy: FREE.to_owned(),
            protected: vec![],
            endpoints: vec![],
            means: Means::probe(),
            recorder: Arc::default(),
            stdio: Stdio::Inherit,
            ebpf: true,
            ebpf_reads: false,
            told: Arc::default(),
        }
    }

    pub(crate) fn policy(mut self, policy: &str) -> Self {
        self.policy = policy.to_owned();
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().canonicalize().unwrap()
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    pub(crate) fn start(&self) -> Running {
        self.try_start().unwrap()
    }

    pub(crate) fn try_start(&self) -> Result<Running, LaunchError> {
        let places = Places { home: self.root(), workspace: self.root() };
        let spec = Launch {
            argv: self.argv.clone(),
            env: vec![("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into()), ("HOME".into(), self.root().into())],
            cwd: self.root(),
            workspace: self.root(),
            policy: Arc::new(Policy::parse(&self.policy, "test", &places).unwrap()),
            protected: self.protected.clone(),
            protected_endpoints: self.endpoints.clone(),
            reachable: vec![],
            teller: Some(Teller::new({
                let told = Arc::clone(&self.told);
                move |_, line| told.lock().unwrap().push(line.to_owned())
            })),
            stdio: self.stdio,
            fanotify: true,
            ebpf: self.ebpf,
            ebpf_reads: self.ebpf_reads,
        };
        launch_with(self.means.clone(), spec, self.recorder.clone(), Arc::new(NoTies), |_| {})
    }

    pub(crate) fn run(&self) -> Ended {
        self.start().wait()
    }

    pub(crate) fn files(&self) -> Vec<FileAccessed> {
        let pick = |body| if let Body::FileAccessed(body) = body { Some(body) } else { None };
        self.recorder.bodies().into_iter().filter_map(pick).collect()
    }

    pub(crate) fn connections(&self) -> Vec<ConnectionAttempted> {
        let pick = |body| if let Body::ConnectionAttempted(body) = body { Some(body) } else { None };
        self.recorder.bodies().into_iter().filter_map(pick).collect()
    }

    pub(crate) fn programs(&self) -> Vec<ProcessStarted> {
        let pick = |body| if let Body::ProcessStarted(body) = body { Some(body) } else { None };
        self.recorder.bodies().into_iter().filter_map(pick).collect()
    }

    /// What was done inside the trial's folder, with names relative to it.
    pub(crate) fn touched(&self) -> Vec<(FileOperation, String, Option<String>)> {
        let root = self.root();
        let short = |path: &str| Path::new(path).strip_prefix(&root).ok().map(|p| p.to_string_lossy().into_owned());
        let inside = self.files().into_iter().filter_map(|file| {
            Some((file.operation, short(&file.path)?, file.target_path.map(|t| short(&t).unwrap_or(t))))
        });
        inside.filter(|touch| !touch.1.is_empty()).collect()
    }
}
