//! Completeness against a second witness: what the shim recorded of ordinary work equals what `strace -f` saw of the same work.
//!
//! The work is done twice in the same folder, once under strace and once under `wk run` (the two cannot watch one run: under the
//! shim nothing may trace another process). What the shim recorded is read back from the lake, so that the whole path from system call to
//! row is held against the trace: every exec, connect and file access, by program, operation, path and number. Sessions of real agents: `agents.rs`.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod act;
mod agents;
mod differences;
mod first;
#[path = "../harness/mod.rs"]
mod harness;
mod second;
mod trace;
#[expect(dead_code, reason = "what the tests of agents need beside it")]
#[path = "../e2e/world.rs"]
mod world;

use differences::Comparison;
use harness::Installation;
use std::path::Path;
use std::process::{Command, Stdio};

const WORK: &[&str] = &["git-clone", "cargo-build", "python-import", "find", "grep", "tar", "network"];

#[test]
fn the_shim_records_what_strace_sees() {
    let dir = tempfile::tempdir().unwrap();
    compare(&Installation::new(dir.path()), None);
}

/// Reads that went on at once are told of by a program in the kernel, as root: it has to see what strace sees, with how each ended.
#[test]
fn reads_that_do_not_wait_are_what_strace_sees() {
    let is_root = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap()) == 0;
    if !is_root || cfg!(not(target_arch = "x86_64")) {
        println!("SKIPPED reads_that_do_not_wait_are_what_strace_sees: it needs root, and x86-64");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("wk.toml");
    std::fs::write(&config, "[shim]\nebpf_reads = true\n").unwrap();
    compare(&Installation::with_options(dir.path(), ["--config", &config.to_string_lossy()]), Some("ebpf-reads"));
}

/// Compares all work; `by` must be one of those who observe it.
fn compare(installation: &Installation, by: Option<&str>) {
    let Some(strace) = harness::program("strace") else {
        return harness::skip("strace is not installed");
    };
    let up = installation.up();
    let mut comparison = Comparison::default();
    let mut failures = Vec::new();
    for name in WORK {
        let folder = installation.log("work").join(name);
        workload("prepare", name, &folder);
        // The first run fills the caches that every later one finds.
        workload("run", name, &folder);
        let traced = comparison.normal(traced(&strace, name, &folder, &installation.log("trace")));
        let recorded = comparison.normal(recorded(installation, name, &folder, by));
        println!("{name}: {} acts recorded, {} traced", recorded.total(), traced.total());
        assert!(traced.total() > 50, "strace saw next to nothing of {name}");
        let found = comparison.unexplained(&recorded, &traced);
        failures.extend(found.into_iter().map(|difference| format!("{name}: {}", difference.0)));
    }
    up.stop();
    assert!(failures.is_empty(), "{} differences are not explained:\n{}", failures.len(), failures.join("\n"));
    assert_eq!(comparison.unneeded(), [""; 0], "these explanations explain nothing any more");
}

/// The harness's script, in an environment that holds nothing by chance.
fn arguments(action: &str, name: &str, folder: &Path) -> Vec<String> {
    let script = harness::scripts().join("workload");
    ["/bin/sh", &script.to_string_lossy(), action, name, &folder.to_string_lossy()].map(str::to_owned).to_vec()
}

fn settle<'a>(command: &'a mut Command, folder: &Path) -> &'a mut Command {
    let kept: Vec<_> = std::env::vars_os()
        .filter(|(name, _)| ["PATH", "HOME", "RUSTUP_HOME"].iter().any(|kept| name == kept))
        .collect();
    command.env_clear().envs(kept).current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null())
}

fn workload(action: &str, name: &str, folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    let argv = arguments(action, name, folder);
    let status = settle(Command::new(&argv[0]).args(&argv[1..]), folder).status().unwrap();
    assert!(status.success(), "workload {action} {name}: {status}");
}

fn traced(strace: &Path, name: &str, folder: &Path, output: &Path) -> act::Testimony {
    workload("fresh", name, folder);
    let trace = format!("trace={}", second::TRACED);
    let mut command = Command::new(strace);
    command.args(["-f", "-y", "-s", "65536", "-e", &trace, "-o"]).arg(output).args(arguments("run", name, folder));
    let status = settle(&mut command, folder).status().unwrap();
    assert!(status.success(), "{name} under strace: {status}");
    let text = std::fs::read_to_string(output).unwrap();
    second::testimony(&trace::read(&text), &folder.to_string_lossy(), |_| true)
}

fn recorded(installation: &Installation, name: &str, folder: &Path, by: Option<&str>) -> act::Testimony {
    workload("fresh", name, folder);
    let policy = Path::new(env!("CARGO_MANIFEST_DIR")).join("sandbox-shim/policies/observe.toml");
    let mut command = installation.wk(["run", "--policy"]);
    command.arg(policy).arg("--").args(arguments("run", name, folder));
    let output = settle(&mut command, folder).output().unwrap();
    assert!(
        output.status.success(),
        "{name} under wk run: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    let session = installation.session_in(folder);
    installation.wait_for_end_of(&session);
    if let Some(by) = by {
        let started = format!(
            "SELECT session_started['confinement'] AS by FROM records WHERE kind = 'session_started' AND session_id = '{session}'"
        );
        let observers = installation.sql(&started)[0]["by"].to_string();
        assert!(observers.contains(by), "{name} was observed by {observers}");
    }
    first::testimony(|query| installation.sql(query), &session)
}
