//! The traps that others fell into, one trial each.

use crate::harness::{FREE, Trial};
use std::collections::BTreeMap;
use wk_schemas::Body;
use wk_schemas::body::{FileOperation, Outcome};
use wk_shim::confine::Means;

fn python(script: &str) -> Trial {
    Trial::program(["/usr/bin/env", "python3", "-c", script])
}

#[test]
fn repeats_are_counted_and_the_first_is_there_at_once() {
    let trial = python(
        "import os,time\nfor _ in range(500): os.close(os.open('often',os.O_RDONLY))\nopen('go','w').close()\ntime.sleep(600)",
    );
    trial.write("often", "x");
    let running = trial.start();
    trial.recorder.wait_for("the first touch", |body| match body {
        Body::FileAccessed(file) => (file.path.ends_with("/often") && file.count == 1).then_some(()),
        _ => None,
    });
    trial.recorder.wait_for("the end of the loop", |body| match body {
        Body::FileAccessed(file) => file.path.ends_with("/go").then_some(()),
        _ => None,
    });
    running.freeze().unwrap();
    running.kill().unwrap();
    running.wait();
    let counts: Vec<i64> = trial.files().into_iter().filter(|f| f.path.ends_with("/often")).map(|f| f.count).collect();
    assert_eq!(counts.iter().sum::<i64>(), 500);
    assert!(counts.len() < 100 && counts[0] == 1, "{counts:?}");
}

#[test]
fn a_call_of_a_thread_is_its_processes_call() {
    let script = "import threading,os\nos.chdir('sub')\ndef go(): open('made','w').close()\nt=threading.Thread(target=go); t.start(); t.join()";
    let trial = python(script);
    std::fs::create_dir(trial.path("sub")).unwrap();
    trial.run();
    let made = trial.files().into_iter().find(|f| f.path.ends_with("sub/made")).unwrap();
    let program = trial.programs().into_iter().rfind(|p| p.outcome == Outcome::Allowed).unwrap();
    assert_eq!((made.actor.pid, &made.actor.process_uid), (program.actor.pid, &program.actor.process_uid));
}

#[test]
fn a_search_along_the_path_shows_its_failures() {
    let trial = python("import os\nos.environ['PATH']='/nowhere:/etc:/usr/bin'\nos.execvp('true',['true'])");
    trial.run();
    let tries: Vec<_> =
        trial.programs().into_iter().filter(|p| p.arguments == ["true"]).map(|p| (p.actor.image, p.errno)).collect();
    let expected = [("/nowhere/true".to_owned(), Some(libc::ENOENT)), ("/etc/true".to_owned(), Some(libc::ENOENT))];
    assert_eq!(tries[..2], expected);
    assert_eq!((tries.len(), tries[2].1), (3, None));
}

#[test]
fn openat2_is_seen_though_the_filter_cannot_read_its_flags() {
    let script = "import ctypes,struct\nl=ctypes.CDLL(None)\nf=l.syscall(437,-100,b'two',ctypes.create_string_buffer(struct.pack('QQQ',0o101,0o600,0)),24)\nassert f>=0";
    let trial = python(script);
    assert_eq!(trial.run().exit_code, Some(0));
    assert!(trial.touched().contains(&(FileOperation::Create, "two".to_owned(), None)));
}

#[test]
fn a_process_that_hides_its_memory_is_seen_all_the_same() {
    let script = "import ctypes\nl=ctypes.CDLL(None)\nl.prctl(4,0,0,0,0)\nopen('hidden','w').close()";
    for bare in [false, true] {
        let mut trial = python(script);
        if bare {
            trial.means =
                Means { namespaces: false, user_namespace: false, own_proc: false, covers: false, ..Means::probe() };
        }
        assert_eq!(trial.run().exit_code, Some(0));
        assert!(trial.touched().contains(&(FileOperation::Create, "hidden".to_owned(), None)), "bare: {bare}");
    }
}

#[test]
fn a_listener_of_the_agents_own_is_refused() {
    let script = "import ctypes,os\nl=ctypes.CDLL(None,use_errno=True)\nn=277 if os.uname().machine=='aarch64' else 317\nclass F(ctypes.Structure): _fields_=[('n',ctypes.c_ushort),('p',ctypes.c_void_p)]\np=ctypes.create_string_buffer(bytes.fromhex('060000000000ff7f'))\nf=F(1,ctypes.addressof(p))\nr=l.syscall(n,1,8,ctypes.byref(f))\nopen('result','w').write(str(ctypes.get_errno() if r<0 else 'ok'))";
    let trial = python(script);
    trial.run();
    assert_eq!(trial.read("result"), libc::EBUSY.to_string());
}

#[test]
fn an_orphan_that_left_its_session_still_belongs_to_the_tree() {
    let trial = Trial::shell("setsid sh -c '(echo late > orphan; sleep 0.2; echo later >> orphan) & exit 0'; sleep 1");
    trial.run();
    let touches: Vec<_> = trial.files().into_iter().filter(|f| f.path.ends_with("/orphan")).collect();
    assert_eq!(touches.len(), 2);
    assert!(touches.iter().all(|t| t.actor.image.ends_with("sh")), "{touches:#?}");
}

#[test]
fn descriptors_of_the_shim_do_not_reach_the_agent() {
    let secret = tempfile::tempfile().unwrap();
    let trial = Trial::shell("ls -l /proc/self/fd > fds");
    trial.run();
    drop(secret);
    let fds: BTreeMap<String, String> = trial
        .read("fds")
        .lines()
        .filter_map(|line| {
            let (before, to) = line.split_once(" -> ")?;
            Some((before.rsplit(' ').next()?.to_owned(), to.to_owned()))
        })
        .collect();
    let beyond: Vec<_> =
        fds.iter().filter(|(fd, to)| fd.parse::<i32>().unwrap() > 2 && !to.contains("/proc/")).collect();
    assert!(beyond.is_empty(), "{beyond:?}");
}

#[test]
fn the_agents_output_can_be_captured_and_ends() {
    let mut trial = Trial::shell("echo one; echo two");
    trial.stdio = wk_shim::supervise::Stdio::Capture;
    let mut running = trial.start();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut running.take_stdout().unwrap(), &mut text).unwrap();
    assert_eq!(text, "one\ntwo\n");
    assert_eq!(running.wait().exit_code, Some(0));
}

#[test]
fn signals_reach_the_agent_and_its_end_is_told() {
    let trial = Trial::shell("trap 'exit 5' TERM; echo 1 > ready; while :; do sleep 0.05; done");
    let running = trial.start();
    trial.recorder.wait_for("the trap", |body| match body {
        Body::FileAccessed(file) => file.path.ends_with("/ready").then_some(()),
        _ => None,
    });
    running.signal(libc::SIGTERM);
    assert_eq!(running.wait().exit_code, Some(5));
}

#[test]
fn the_agent_keeps_the_terminal() {
    // script(1) gives the watched shell a terminal of its own; tty(1) says whether it is one, and job control needs it.
    let trial = Trial::shell("tty > terminal; (tty < /dev/tty) >> terminal; stty size > size");
    let places = std::process::Command::new("script").arg("--version").output();
    if places.is_err() {
        println!("SKIPPED the_agent_keeps_the_terminal: script(1) is not there");
        return;
    }
    let mut trial = trial;
    let inner = trial.argv[2].clone();
    trial.argv = vec!["script".into(), "-qec".into(), inner, "/dev/null".into()];
    assert_eq!(trial.run().exit_code, Some(0));
    let terminal = trial.read("terminal");
    assert!(terminal.lines().count() == 2 && terminal.lines().all(|line| line.starts_with("/dev/")), "{terminal}");
}

#[test]
fn a_program_may_be_denied_or_held_by_its_path() {
    let policy = format!(
        "{FREE}[process]\ndefault = \"allow\"\nrules = [{{ match = \"**/forbidden\", action = \"deny\", reason = \"no\" }}]\n"
    );
    let trial = Trial::shell("./forbidden; echo $? > code; ./link; echo $? >> code").policy(&policy);
    std::fs::copy("/bin/true", trial.path("forbidden")).unwrap();
    std::os::unix::fs::symlink("forbidden", trial.path("link")).unwrap();
    trial.run();
    assert_eq!(trial.read("code"), "126\n126\n");
    let denied = trial.programs().into_iter().filter(|p| p.outcome == Outcome::Denied).count();
    assert_eq!(denied, 2);
}

#[test]
fn an_unknown_program_and_a_protected_working_directory_are_clear_errors() {
    use wk_shim::supervise::LaunchError;
    let mut trial = Trial::program(["no-such-program"]);
    assert!(
        matches!(trial.try_start().unwrap_err(), LaunchError::NoProgram { program } if program == "no-such-program")
    );
    trial.argv = vec!["true".into()];
    trial.protected = vec![trial.root()];
    let error = trial.try_start().unwrap_err().to_string();
    assert!(error.contains("which the agent must not reach"), "{error}");
}

#[test]
fn the_agent_has_no_priority_over_others() {
    let trial = Trial::shell("cut -d' ' -f18,19,40,41 /proc/self/stat > priority");
    trial.run();
    let own = std::fs::read_to_string("/proc/self/stat").unwrap();
    let own: Vec<&str> = own.split(' ').collect();
    assert_eq!(trial.read("priority").trim(), [own[17], own[18], own[39], own[40]].join(" "));
}

const EXEC_RACE: &str = r#"
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
static char path[64] = "./aaaa"; static volatile int stop;
static void *flip(void *x) { while (!stop) { memcpy(path, "./bbbb", 7); memcpy(path, "./aaaa", 7); } return x; }
int main(void) {
    for (int i = 0; i < 150; i++) {
        pid_t p = fork();
        if (!p) { pthread_t t; pthread_create(&t, 0, flip, 0); usleep(200); char *v[] = {"x", 0}; execve(path, v, 0); _exit(1); }
        waitpid(p, 0, 0);
    }
    return 0;
}
"#;

const EXEC_WITNESS: &str = r#"
#include <fcntl.h>
int main(void) { return open("ran." NAME, O_CREAT | O_WRONLY, 0600) < 0; }
"#;

#[test]
fn a_program_swapped_after_it_was_looked_at_is_told_by_its_true_name() {
    let trial = Trial::shell("");
    let build = |source: &str, name: &str, to: &str| {
        let file = trial.write("source.c", source);
        let name = format!("-DNAME=\"{name}\"");
        let status =
            std::process::Command::new("gcc").args(["-pthread", &name, "-o"]).arg(trial.path(to)).arg(file).status();
        assert!(status.unwrap().success());
    };
    build(EXEC_RACE, "", "race");
    build(EXEC_WITNESS, "aaaa", "aaaa");
    build(EXEC_WITNESS, "bbbb", "bbbb");
    let mut trial = trial;
    trial.argv = vec![trial.path("race").into()];
    assert_eq!(trial.run().exit_code, Some(0));
    let witnesses: Vec<_> = trial.files().into_iter().filter(|f| f.path.contains("/ran.")).collect();
    assert!(!witnesses.is_empty());
    for witness in witnesses {
        assert_eq!(witness.actor.image.rsplit('/').next(), witness.path.rsplit('.').next(), "{witness:#?}");
    }
    let told = trial.programs().into_iter().filter(|p| p.reason.is_some()).count();
    println!("MEASURED {told} of 150 execs ran another program than was read");
    // The same with one of the two denied: it never comes to do anything.
    for name in ["ran.aaaa", "ran.bbbb"] {
        std::fs::remove_file(trial.path(name)).ok();
    }
    let trial = trial.policy(&format!("{FREE}[process]\ndefault = \"allow\"\nrules = [{{ match = \"**/bbbb\", action = \"deny\", reason = \"no\" }}]\n"));
    trial.run();
    assert!(trial.path("ran.aaaa").exists() && !trial.path("ran.bbbb").exists());
}

#[test]
fn where_sockets_cannot_be_copied_the_shim_makes_them() {
    use std::io::Read;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_read_timeout(Some(std::time::Duration::from_secs(300))).unwrap();
    let (tcp, udp) = (listener.local_addr().unwrap().port(), server.local_addr().unwrap().port());
    let script = format!(
        "import socket,os,time
a=socket.create_connection(('127.0.0.1',{tcp})); a.sendall(b'one'); a.close(); open('closed','w').close()
u=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); u.sendto(b'two',('127.0.0.1',{udp})); u.connect(('127.0.0.1',{udp})); u.sendmsg([b'three'])
l=socket.socket(); l.bind(('127.0.0.1',0)); l.listen(); c=socket.create_connection(l.getsockname()); l.accept()[0].sendall(b'x'); r=c.recv(1)
x,y=socket.socketpair(); socket.send_fds(x,[b'f'],[0])
try:
 socket.create_connection(('127.0.0.2',1)); r=b'?'
except PermissionError: pass
time.sleep(600) if r!=b'x' else open('result','wb').write(r)"
    );
    let policy = "name = \"t\"\n[network]\ndefault = \"deny\"\nrules = [{ match = \"127.0.0.1\", action = \"allow\", reason = \"here\" }]\n";
    let mut trial = python(&script).policy(policy);
    trial.means = Means { copies_descriptors: false, ..Means::probe() };
    let running = trial.start();
    let (mut stream, _) = listener.accept().unwrap();
    let mut word = String::new();
    // Comes to an end only if the shim keeps no copy of a connected socket.
    stream.read_to_string(&mut word).unwrap();
    assert_eq!(word, "one");
    let mut buffer = [0; 8];
    for word in [b"two".as_slice(), b"three"] {
        let length = server.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], word);
    }
    assert_eq!(running.wait().exit_code, Some(0));
    assert_eq!(trial.read("result"), "x");
    assert!(running.confinement().contains(&"sockets-made-by-shim".to_owned()));
}
