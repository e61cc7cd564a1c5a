//! Freezing stops everything, new forks included; a dead shim leaves nothing running.

use crate::harness::Trial;
use std::path::Path;
use std::time::Duration;
use wk_shim::confine::Means;

/// Workers that fork and count, a third of them detached from their parents. They rest in between, because the machine has other
/// tests to run; `examples/freeze.rs` measures with workers that do not.
const WORKERS: &str = r"
import os,sys,time
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
        time.sleep(0.2)
for n in range(int(sys.argv[1])):
    if os.fork()==0:
        if n%3==0:
            os.setsid()
            if os.fork(): os._exit(0)
        work(n)
open('ready','w').write('1')
time.sleep(600)
";

fn workers(count: usize) -> Trial {
    Trial::program(["/usr/bin/env", "python3", "-c", WORKERS, &count.to_string()])
}

fn counts(root: &Path, workers: usize) -> Vec<String> {
    (0..workers).map(|n| std::fs::read_to_string(root.join(format!("count.{n}"))).unwrap_or_default()).collect()
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..60_000 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("waited for {what}");
}

/// Freezes, resumes and kills a tree that forks all the time.
fn stop_and_go(means: Means, size: usize) {
    let mut trial = workers(size);
    trial.means = means;
    let root = trial.root();
    let running = trial.start();
    wait_until("all workers to count", || counts(&root, size).iter().all(|count| count.len() > 1));
    let stopped = running.freeze().unwrap();
    assert!(stopped.complete && usize::try_from(stopped.processes).unwrap() > size, "{stopped:?}");
    println!("MEASURED freeze of {size} forking workers: {stopped:?}");
    let before = counts(&root, size);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(counts(&root, size), before, "something still counted");
    let took = running.resume().unwrap();
    println!("MEASURED resume: {took} us");
    wait_until("all workers to go on", || counts(&root, size).iter().zip(&before).all(|(now, then)| now != then));
    let killed = running.kill().unwrap();
    println!("MEASURED kill: {killed:?}");
    assert!(killed.complete);
    let after = counts(&root, size);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(counts(&root, size), after, "something survived");
    assert_eq!(running.wait().signal, Some(libc::SIGKILL));
}

#[test]
fn a_tree_of_two_hundred_that_fork_and_detach_is_frozen_goes_on_and_is_killed() {
    stop_and_go(Means::probe(), 200);
}

#[test]
fn freeze_works_by_signals_of_the_namespaces_init_where_there_is_no_cgroup() {
    stop_and_go(Means { cgroup: None, ..Means::probe() }, 200);
}

/// An interactive shell on a terminal of its own, with one job that is stopped and one in the foreground; beside it a timer that
/// ticks and a connection that is open.
const AT_WORK: &str = r#"
import os,pty,select,signal,socket,sys,time
a,b=socket.socketpair()
if os.fork()==0:
    a.close()
    while True:
        word=b.recv(100)
        if not word: os._exit(0)
        b.sendall(word)
b.close()
ticks=0
def tick(*_):
    global ticks
    ticks+=1
signal.signal(signal.SIGALRM,tick)
signal.setitimer(signal.ITIMER_REAL,0.05,0.05)
shell,terminal=pty.fork()
if shell==0:
    signal.setitimer(signal.ITIMER_REAL,0)
    os.environ['PS1']='$ '
    os.execvp('bash',['bash','--norc','--noprofile','-i'])
seen=b''
def say(text):
    os.write(terminal,text.encode())
def hear(text):
    global seen
    while text.encode() not in seen:
        if select.select([terminal],[],[],600)[0]:
            seen+=os.read(terminal,4096)
        else:
            open('failed','w').write('waited for %r, heard %r'%(text,seen)); sys.exit(3)
    seen=seen.split(text.encode(),1)[1]
# The quotes keep what is typed, which the terminal echoes, apart from what is said.
say("sh -c 'echo started\"\"-1; exec sleep 1001'\n"); hear('started-1')
say('\x1a'); hear('Stopped')
say("sh -c 'echo started\"\"-2; exec cat'\n"); hear('started-2')
open('ready','w').write('1')
while not os.path.exists('go'):
    time.sleep(0.05)
# The job in the foreground still has the terminal: `cat` says it once more.
say('two\n'); hear('two\r\ntwo\r\n')
say('\x04')
say('echo stopped:$(jobs -s | wc -l) running:$(jobs -r | wc -l)\n'); hear('stopped:1 running:0')
before=ticks
while ticks<before+3: time.sleep(0.05)
a.sendall(b'still here')
open('result','w').write(a.recv(100).decode())
signal.setitimer(signal.ITIMER_REAL,0)
say('kill -9 %1; exit\n')
"#;

fn goes_on_as_it_was(means: Means) {
    let mut trial = Trial::program(["/usr/bin/env", "python3", "-c", AT_WORK]);
    trial.means = means;
    let running = trial.start();
    wait_until("the shell to be at work", || trial.path("ready").exists() || trial.path("failed").exists());
    assert_eq!(trial.read("failed"), "");
    for _ in 0..3 {
        assert!(running.freeze().unwrap().complete);
        running.resume().unwrap();
    }
    assert!(running.freeze().unwrap().complete);
    assert!(running.freeze().unwrap().complete, "twice");
    std::fs::write(trial.path("go"), "").unwrap();
    running.resume().unwrap();
    let ended = running.wait();
    assert_eq!(trial.read("failed"), "");
    assert_eq!((trial.read("result").as_str(), ended.exit_code), ("still here", Some(0)));
}

#[test]
fn terminals_jobs_timers_and_open_connections_go_on_as_they_were() {
    goes_on_as_it_was(Means::probe());
}

#[test]
fn terminals_jobs_timers_and_open_connections_go_on_as_they_were_where_signals_stop_the_tree() {
    goes_on_as_it_was(Means { cgroup: None, ..Means::probe() });
}

#[test]
fn a_call_held_while_frozen_goes_on_only_after_the_thaw() {
    let trial = Trial::shell("cat keys/secret > copy");
    trial.write("keys/secret", "s\n");
    let trial = trial.policy("name = \"t\"\nhold_timeout = \"10m\"\n[files]\ndefault = \"allow\"\nrules = [{ match = \"~/keys/**\", action = \"hold\", reason = \"keys\" }]\n[network]\ndefault = \"allow\"\n");
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
    let mut trial = workers(50);
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
        !root.is_empty() && counts(Path::new(&root), 50).iter().all(|count| count.len() > 1)
    });
    helper.kill().unwrap();
    helper.wait().unwrap();
    let mut last = counts(Path::new(&root), 50);
    wait_until("the tree to be gone", || {
        std::thread::sleep(Duration::from_millis(100));
        let now = counts(Path::new(&root), 50);
        let still = now == last;
        last = now;
        still
    });
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(counts(Path::new(&root), 50), last, "a worker outlived the shim");
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
