//! Prints what the watch costs: how long five ordinary workloads take under it, as a ratio to bare.
//!
//! ```text
//! cargo build --workspace --ignore-rust-version --example overhead
//! target/debug/examples/overhead [rounds [workload …]]
//! ```
//! The last columns are the same as `watched`, without fanotify, and without eBPF. Records go to memory, so this is the kernel side alone; the figures
//! with the outbox are those of `tests/bench`.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio as Std};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use wk_schemas::RecordId;
use wk_schemas::body::Mediation;
use wk_shim::clock;
use wk_shim::contract::{Causality, Event, ProcessFacts, RecordError, Recorder, Tie};
use wk_shim::policy::{Places, Policy};
use wk_shim::supervise::{Launch, Stdio, launch};

#[derive(Default)]
struct Count(AtomicU64);

impl Recorder for Count {
    fn record(&self, _: Event) -> Result<RecordId, RecordError> {
        self.0.fetch_add(1, Ordering::Relaxed);
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

/// Name, what is done untimed before, and what is timed.
const WORK: &[(&str, &str, &str)] = &[
    ("start and end", "true", "true"),
    ("200 execs", "true", "i=0; while [ $i -lt 200 ]; do /bin/true; i=$((i+1)); done"),
    ("find", "true", "find tree -name '*.none'"),
    ("grep -r", "true", "grep -r not-there tree; true"),
    ("tar x", "rm -rf out; mkdir out", "tar xf tree.tar -C out"),
    ("rm -rf", "rm -rf out2; cp -r tree out2", "rm -rf out2"),
    ("python import", "true", "/usr/bin/python3 -c 'import json,asyncio,http.client,sqlite3,unittest'"),
];

fn shell(folder: &Path, script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]).current_dir(folder).stdout(Std::null());
    command
}

fn watched(folder: &Path, script: &str, recorder: &Arc<Count>, (fanotify, ebpf): (bool, bool)) -> Instant {
    let places = Places { home: folder.into(), workspace: folder.into() };
    let spec = Launch {
        argv: ["/bin/sh", "-c", script].map(OsString::from).to_vec(),
        env: std::env::vars_os().collect(),
        cwd: folder.into(),
        workspace: folder.into(),
        policy: Arc::new(Policy::preset("workspace", &places).expect("a preset can be read")),
        protected: vec![],
        protected_endpoints: vec![],
        reachable: vec![],
        teller: None,
        stdio: Stdio::Inherit,
        fanotify,
        ebpf,
        ebpf_reads: false,
    };
    let start = clock::instant();
    let running = launch(spec, Arc::clone(recorder) as Arc<dyn Recorder>, Arc::new(NoTies), |_| {});
    running.expect("the agent starts").wait();
    start
}

fn main() {
    let rounds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(9);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let make = "mkdir tree; for d in $(seq 60); do mkdir tree/$d; for f in $(seq 20); do head -c 2000 /dev/urandom > tree/$d/$f; done; done; tar cf tree.tar tree";
    assert!(shell(folder.path(), make).status().expect("a shell").success());
    println!(
        "{:14} {:>9} {:>9} {:>6} {:>9} {:>12} {:>9}",
        "workload", "bare ms", "watched", "ratio", "records", "no fanotify", "no eBPF"
    );
    let asked: Vec<String> = std::env::args().skip(2).collect();
    for (name, before, work) in WORK.iter().filter(|(name, ..)| asked.is_empty() || asked.iter().any(|one| one == name))
    {
        let (mut bare, mut under) = (Vec::new(), Vec::new());
        let (mut no_fanotify, mut no_ebpf) = (Vec::new(), Vec::new());
        let (recorder, other) = (Arc::new(Count::default()), Arc::new(Count::default()));
        for _ in 0..rounds {
            assert!(shell(folder.path(), before).status().expect("a shell").success());
            let start = clock::instant();
            shell(folder.path(), work).status().expect("a shell");
            bare.push(start.elapsed().as_secs_f64() * 1e3);
            // Output would go to the terminal, because the agent keeps it.
            let quiet = format!("exec >/dev/null; {work}");
            for (times, recorder, with) in [
                (&mut under, &recorder, (true, true)),
                (&mut no_fanotify, &other, (false, true)),
                (&mut no_ebpf, &other, (true, false)),
            ] {
                assert!(shell(folder.path(), before).status().expect("a shell").success());
                times.push(watched(folder.path(), &quiet, recorder, with).elapsed().as_secs_f64() * 1e3);
            }
        }
        let median = |mut all: Vec<f64>| {
            all.sort_by(f64::total_cmp);
            all[all.len() / 2]
        };
        let (bare, under) = (median(bare), median(under));
        let (no_fanotify, no_ebpf) = (median(no_fanotify), median(no_ebpf));
        let records = recorder.0.load(Ordering::Relaxed) / rounds;
        println!("{name:14} {bare:9.1} {under:9.1} {:6.2} {records:9} {no_fanotify:12.1} {no_ebpf:9.1}", under / bare);
    }
}
