//! Freezing stops everything, new forks included; a dead shim leaves nothing running.

use crate::harness::Trial;
use std::path::Path;
use std::time::Duration;
use wk_shim::confine::Means;

/// Fifty workers that fork and count, a third of them detached from their parents.
const WORKERS: &str = r"
import os,time
def work(n):
    count=0
    f=os.open('count.%d'%n,os.O_RDWR|os.O_CREAT)
    while True:
        pid=os.fork()
        if pid==0:
            os.pwrite(f,b'%d'%count,0)
            os._exit(0)
        os.waitpid(pid,0)
        count+=1
for n in range(50):
    if os.fork()==0:
        if n%3==0:
            os.setsid()
            if os.fork(): os._exit(0)
        work(n)
open('ready','w').write('1')
time.sleep(600)
";

fn counts(root: &Path) -> Vec<String> {
    (0..50).map(|n| std::fs::read_to_string(root.join(format!("count.{n}"))).unwrap_or_default()).collect()
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("waited for {what}");
}

fn freeze_fifty(means: Means) {
    let mut trial = Trial::program(["/usr/bin/env", "python3", "-c", WORKERS]);
    trial.means = means;
    let root = trial.root();
    let running = trial.start();
    wait_until("all workers to count", || counts(&root).iter().all(|count| count.len() > 1));
    let stopped = running.freeze().unwrap();
    assert!(stopped.complete && stopped.processes >= 51, "{stopped:?}");
    println!("MEASURED freeze of 50 forking workers: {stopped:?}");
    let before = counts(&root);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(counts(&root), before, "something still counted");
    let took = running.resume().unwrap();
    println!("MEASURED resume: {took} us");
    wait_until("all workers to go on", || counts(&root).iter().zip(&before).all(|(now, then)| now != then));
    let killed = running.kill().unwrap();
    println!("MEASURED kill: {killed:?}");
    assert!(killed.complete);
    let after = counts(&root);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(counts(&root), after, "something survived");
    assert_eq!(running.wait().signal, Some(libc::SIGKILL));
}

#[test]
fn freeze_stops_fifty_forking_workers_and_resume_continues_them() {
    freeze_fifty(Means::probe());
}

#[test]
fn freeze_works_by_signals_of_the_namespaces_init_where_there_is_no_cgroup() {
    freeze_fifty(Means { cgroup: None, ..Means::probe() });
}

#[test]
fn a_call_held_while_frozen_goes_on_only_after_the_thaw() {
    let trial = Trial::shell("cat keys/secret > copy");
    trial.write("keys/secret", "s\n");
    let trial = trial.policy("name = \"t\"\nhold_timeout = \"60s\"\n[files]\ndefault = \"allow\"\nrules = [{ match = \"~/keys/**\", action = \"hold\", reason = \"keys\" }]\n[network]\ndefault = \"allow\"\n");
    let running = trial.start();
    let ticket = trial.recorder.wait_for("the question", |body| match body {
        wk_schemas::Body::ApprovalRequested(asked) => Some(asked.ticket.0),
        _ => None,
    });
    let stopped = running.freeze().unwrap();
    assert!(stopped.complete, "a held call was not counted as standing still: {stopped:?}");
    let grant = wk_shim::contract::Decision { granted: true, by: None, reason: "yes".into(), command_id: None };
    assert!(running.resolve(ticket, grant));
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(trial.read("copy"), "", "a granted call ran in a frozen session");
    running.resume().unwrap();
    assert_eq!(running.wait().exit_code, Some(0));
    assert_eq!(trial.read("copy"), "s\n");
}

#[test]
fn an_agent_whose_events_cannot_be_recorded_is_stopped() {
    let trial = Trial::shell("while :; do echo x >> growing; done");
    *trial.recorder.fails_after.lock().unwrap() = Some(20);
    let running = trial.start();
    let ended = running.wait();
    assert_eq!(ended.signal, Some(libc::SIGKILL));
    assert!(running.recording_failed());
}

/// Runs as the helper below: an agent with detached workers, until it is killed.
#[test]
fn helper_that_runs_a_shim() {
    let Some(root) = std::env::var_os("WK_TEST_HELPER") else { return };
    let mut trial = Trial::program(["/usr/bin/env", "python3", "-c", WORKERS]);
    if std::env::var_os("WK_TEST_NO_NAMESPACES").is_some() {
        trial.means = Means {
            namespaces: false,
            user_namespace: false,
            own_proc: false,
            covers: false,
            cgroup: None,
            ..Means::probe()
        };
    }
    let running = trial.start();
    std::fs::write(Path::new(&root).join("where"), trial.root().to_str().unwrap()).unwrap();
    running.wait();
}

fn kill_the_shim(extra: &[(&str, &str)]) {
    let folder = tempfile::tempdir().unwrap();
    let mut helper = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "freezing::helper_that_runs_a_shim", "--nocapture"])
        .env("WK_TEST_HELPER", folder.path())
        .envs(extra.iter().copied())
        .spawn()
        .unwrap();
    let mut root = String::new();
    wait_until("the helper", || {
        root = std::fs::read_to_string(folder.path().join("where")).unwrap_or_default();
        !root.is_empty() && counts(Path::new(&root)).iter().all(|count| count.len() > 1)
    });
    helper.kill().unwrap();
    helper.wait().unwrap();
    let mut last = counts(Path::new(&root));
    wait_until("the tree to be gone", || {
        std::thread::sleep(Duration::from_millis(100));
        let now = counts(Path::new(&root));
        let still = now == last;
        last = now;
        still
    });
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(counts(Path::new(&root)), last, "a worker outlived the shim");
    std::fs::remove_dir_all(root).unwrap();
}

#[test]
fn kill_9_of_the_shim_kills_the_tree() {
    kill_the_shim(&[]);
}

#[test]
fn kill_9_of_the_shim_kills_the_tree_where_there_are_no_namespaces() {
    kill_the_shim(&[("WK_TEST_NO_NAMESPACES", "1")]);
}
