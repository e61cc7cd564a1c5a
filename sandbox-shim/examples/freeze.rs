//! Prints how long it takes to stop a tree of processes that fork all the time, a third of them detached from their parents; how long
//! to let it go on; and how long to kill it.
//!
//! ```text
//! cargo build --workspace --ignore-rust-version --example freeze
//! target/debug/examples/freeze [workers] [rounds] [signals]
//! ```
//! With `signals` the cgroup freezer is left aside, as on a machine that gives the shim no cgroup. Aim: 25 ms, p99, for 200 workers.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wk_schemas::RecordId;
use wk_schemas::body::Mediation;
use wk_shim::clock;
use wk_shim::confine::Means;
use wk_shim::contract::{Causality, Event, ProcessFacts, RecordError, Recorder, Tie};
use wk_shim::policy::{Places, Policy};
use wk_shim::supervise::{Launch, Running, Stdio, launch_with};

struct Forget;

impl Recorder for Forget {
    fn record(&self, _: Event) -> Result<RecordId, RecordError> {
        Ok(RecordId(clock::new_id()))
    }
    fn record_durable(&self, event: Event) -> Result<RecordId, RecordError> {
        self.record(event)
    }
}

struct NoTies;

impl Causality for NoTies {
    fn process_started(&self, _: &ProcessFacts, _: Option<&Tie>) -> Tie {
        Tie::default()
    }
    fn mediation(&self, _: &Tie, _: &str) -> (Option<String>, Mediation) {
        (None, Mediation::None)
    }
}

/// Each worker says once that it is at work.
const WORKERS: &str = "
import os,sys,time
def work():
    os.close(os.open('up.%d' % os.getpid(), os.O_CREAT))
    while True:
        pid=os.fork()
        if pid==0: os._exit(0)
        os.waitpid(pid,0)
for n in range(int(sys.argv[1])):
    if os.fork()==0:
        if n%3==0:
            os.setsid()
            if os.fork(): os._exit(0)
        work()
time.sleep(3600)
";

fn start(workers: usize, means: &Means) -> (tempfile::TempDir, Running) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let root = folder.path().canonicalize().expect("it was just made");
    let places = Places { home: root.clone(), workspace: root.clone() };
    let count = workers.to_string();
    let spec = Launch {
        argv: ["/usr/bin/env", "python3", "-c", WORKERS, &count].map(OsString::from).to_vec(),
        env: std::env::vars_os().collect(),
        cwd: root.clone(),
        workspace: root.clone(),
        policy: Arc::new(Policy::preset("workspace", &places).expect("a preset can be read")),
        protected: vec![],
        protected_endpoints: vec![],
        reachable: vec![],
        teller: None,
        stdio: Stdio::Inherit,
        fanotify: true,
        ebpf: true,
        ebpf_reads: false,
    };
    let running =
        launch_with(means.clone(), spec, Arc::new(Forget), Arc::new(NoTies), |_| {}).expect("the agent starts");
    let at_work = || std::fs::read_dir(&root).expect("the folder is there").count() >= workers;
    while !at_work() {
        std::thread::sleep(Duration::from_millis(20));
    }
    (folder, running)
}

fn line(what: &str, mut took: Vec<f64>) {
    took.sort_by(f64::total_cmp);
    let at = |part: usize| took[(took.len() * part / 100).min(took.len() - 1)];
    println!(
        "{what:22} p50 {:8.2}   p90 {:8.2}   p99 {:8.2}   max {:8.2}   of {}",
        at(50),
        at(90),
        at(99),
        at(100),
        took.len()
    );
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default| arguments.next().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (workers, rounds) = (number(200), number(100));
    let mut means = Means::probe();
    if arguments.next().as_deref() == Some("signals") {
        means.cgroup = None;
    }
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!(
        "{workers} workers, {rounds} rounds, load before {}, means: {}; milliseconds",
        load.trim(),
        means.words().join(" ")
    );
    let (folder, running) = start(workers, &means);
    let (mut freezes, mut resumes) = (Vec::new(), Vec::new());
    let milliseconds = |begun: Instant| begun.elapsed().as_secs_f64() * 1e3;
    for round in 0..rounds {
        let begun = clock::instant();
        let stopped = running.freeze().expect("the tree can be stopped");
        freezes.push(milliseconds(begun));
        assert!(stopped.complete, "round {round}: {stopped:?}");
        let begun = clock::instant();
        running.resume().expect("the tree can go on");
        resumes.push(milliseconds(begun));
        // Not in step with anything.
        std::thread::sleep(Duration::from_millis([41, 53, 67, 83, 101][round % 5]));
    }
    let begun = clock::instant();
    let killed = running.kill().expect("the tree can be killed");
    let kill = milliseconds(begun);
    assert!(killed.complete, "something survived: {killed:?}");
    running.wait();
    drop(folder);
    line("command to all stopped", freezes);
    line("command to all going", resumes);
    println!("kill until none is left {kill:.2}, {} processes", killed.processes);
}
