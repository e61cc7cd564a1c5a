//! What must stay out of reach stays out of reach, by every way in.

use crate::harness::{FREE, Trial};
use wk_schemas::body::{FileOperation, Outcome};
use wk_shim::confine::Means;

/// Tries every way to the key and writes what it got into `loot`, and what worked on the folder into `done`.
const BREAK_IN: &str = r#"
import os,ctypes
P=open('place').read()
loot=[]
def get(p):
    try: loot.append(open(p).read())
    except OSError: pass
get(P+'/key')
get(P+'/../'+os.path.basename(P)+'/key')
get('/proc/self/root'+P+'/key')
get('/proc/1/root'+P+'/key')
get('/proc/%d/root'%os.getppid()+P+'/key')
for way in (os.symlink,os.link):
    try:
        way(P+'/key','way'); get('way')
    except OSError: pass
    try: os.unlink('way')
    except OSError: pass
try:
    os.symlink(P,'folder'); get('folder/key')
except OSError: pass
try:
    os.rename(P,'moved'); get('moved/key')
except OSError: pass
try:
    os.chdir(P); get('key'); os.chdir('/')
except OSError: pass
try:
    d=os.open(P,os.O_PATH); get('/proc/self/fd/%d/key'%d)
    try: loot.append(os.read(os.open('key',os.O_RDONLY,dir_fd=d),99).decode())
    except OSError: pass
except OSError: pass
try: open(P+'/new','w').write('x'); loot.append('wrote')
except OSError: pass
try: os.unlink(P+'/key'); loot.append('removed')
except OSError: pass
try: os.listdir(P) and loot.append('listed '+str(os.listdir(P)))
except OSError: pass
libc=ctypes.CDLL(None,use_errno=True)
if libc.mount(b'/',b'/mnt',b'',4096,None)==0: loot.append('mounted')
if libc.umount2(P.encode(),2)==0: loot.append('unmounted'); get(P+'/key')
open(ROOT+'/loot','w').write(repr(loot))
"#;

fn break_in(means: Means) {
    let outside = tempfile::tempdir().unwrap();
    let place = outside.path().canonicalize().unwrap().join("data");
    std::fs::create_dir(&place).unwrap();
    std::fs::write(place.join("key"), "THE KEY").unwrap();
    let mut trial = Trial::shell("");
    trial.write("place", place.to_str().unwrap());
    let script = format!("ROOT={:?}\n{BREAK_IN}", trial.root());
    trial.argv = ["/usr/bin/env", "python3", "-c", &script].map(Into::into).to_vec();
    trial.protected = vec![place.clone()];
    trial.means = means;
    let ended = trial.run();
    assert_eq!((ended.exit_code, trial.read("loot").as_str()), (Some(0), "[]"));
    assert_eq!(std::fs::read_to_string(place.join("key")).unwrap(), "THE KEY");
    assert!(trial.files().iter().any(|f| f.outcome == Outcome::Denied && f.path.ends_with("data/key")));
}

#[test]
fn a_protected_folder_is_unreachable_behind_an_empty_mount() {
    let means = Means::probe();
    assert!(means.covers, "this machine lets nobody mount");
    break_in(means);
}

#[test]
fn a_protected_folder_is_unreachable_through_landlock_alone() {
    break_in(Means { namespaces: false, own_proc: false, covers: false, user_namespace: false, ..Means::probe() });
}

#[test]
fn files_beside_a_guarded_one_work_as_ever() {
    let trial = Trial::shell(
        "set -e; echo 1 > new; cat new > copy; mv copy moved; mkdir sub; echo 2 > sub/x; mv sub sub2; cat sub2/x >> moved; \
         echo y > sub2/y; ln moved hard; ln -s moved soft; cat soft; chmod 640 moved; rm hard; ls . > listing; \
         truncate -s 2 moved; mkfifo p; (echo through > p &) ; cat p > piped; umask 077; echo z > private; cp moved .conf.tmp; mv .conf.tmp conf; rmdir gone; \
         if cat keys/k; then exit 9; fi; if ls keys; then exit 8; fi; if mv keys elsewhere; then exit 7; fi; exit 0",
    );
    trial.write("keys/k", "secret");
    std::fs::create_dir(trial.path("gone")).unwrap();
    let policy = format!(
        "{FREE}[files]\ndefault = \"allow\"\nrules = [{{ match = \"~/keys/**\", action = \"deny\", reason = \"keys\" }}]\n"
    );
    let trial = trial.policy(&policy);
    let ended = trial.run();
    assert_eq!(ended.exit_code, Some(0), "{:#?}", trial.touched());
    assert_eq!(
        (trial.read("moved").as_str(), trial.read("piped").as_str(), trial.read("conf").as_str()),
        ("1\n", "through\n", "1\n")
    );
    use std::os::unix::fs::PermissionsExt;
    let mode = |name: &str| std::fs::metadata(trial.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("moved"), mode("private")), (0o640, 0o600));
    assert!(trial.path("keys/k").exists() && !trial.path("gone").exists());
    let new =
        trial.files().into_iter().find(|f| f.path.ends_with("/new") && f.operation == FileOperation::Create).unwrap();
    assert_eq!(new.outcome, Outcome::Succeeded, "what the shim does itself has a real result");
}

#[test]
fn a_floating_rule_is_kept_by_carrying_out_every_open() {
    let trial = Trial::shell(
        "cat a/.env; cat a/plain > copy; cat a/link; ls a > list; tar cf all.tar a/plain; test ! -s denied",
    );
    trial.write("a/.env", "TOKEN");
    trial.write("a/plain", "plain");
    std::os::unix::fs::symlink(".env", trial.path("a/link")).unwrap();
    let policy = format!(
        "{FREE}[files]\ndefault = \"allow\"\nrules = [{{ match = \"**/.env\", action = \"deny\", reason = \"tokens\" }}]\n"
    );
    let trial = trial.policy(&policy);
    assert_eq!(trial.run().exit_code, Some(0));
    assert_eq!(trial.read("copy"), "plain");
    let denied: Vec<_> = trial.files().into_iter().filter(|f| f.outcome == Outcome::Denied).map(|f| f.path).collect();
    assert_eq!(denied, [trial.path("a/.env"), trial.path("a/link")].map(|p| p.to_string_lossy().into_owned()));
}

const RACE: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
static char path[4096]; static volatile int stop;
static const char *good, *bad;
static void *flip(void *x) { (void)x; size_t n = strlen(bad) + 1; while (!stop) { memcpy(path, bad, n); memcpy(path, good, n); } return 0; }
int main(int c, char **v) {
    (void)c; good = v[1]; bad = v[2]; strcpy(path, good);
    pthread_t t; pthread_create(&t, 0, flip, 0);
    long leaked = 0, opened = 0;
    for (int i = 0; i < 20000; i++) {
        int f = open(path, O_RDONLY); if (f < 0) continue;
        char b[8] = {0}; opened++; if (read(f, b, 6) > 0 && !strcmp(b, "SECRET")) leaked++;
        close(f);
    }
    stop = 1; pthread_join(t, 0);
    FILE *o = fopen(v[3], "w"); fprintf(o, "%ld %d", leaked, opened > 0); fclose(o); return 0;
}
"#;

#[test]
fn a_thread_that_rewrites_the_path_never_gets_the_guarded_file() {
    let trial = Trial::shell("");
    trial.write("open/f", "public");
    trial.write("keys/f", "SECRET");
    let source = trial.write("race.c", RACE);
    let program = trial.path("race");
    let built = std::process::Command::new("gcc").args(["-O1", "-pthread", "-o"]).arg(&program).arg(&source).status();
    assert!(built.unwrap().success());
    let (good, bad) = (trial.path("open/f"), trial.path("keys/f"));
    let argv: Vec<_> = [program, good, bad, trial.path("result")].into_iter().map(Into::into).collect();
    let policy = format!(
        "{FREE}[files]\ndefault = \"allow\"\nrules = [{{ match = \"~/keys/**\", action = \"deny\", reason = \"keys\" }}]\n"
    );
    let mut trial = trial.policy(&policy);
    trial.argv = argv;
    trial.run();
    assert_eq!(trial.read("result"), "0 1");
}

#[test]
fn ways_around_the_filter_are_closed() {
    let script = r"
import ctypes,os,socket
libc=ctypes.CDLL(None,use_errno=True)
out=[]
arm=os.uname().machine=='aarch64'
def call(name,nr,*args):
    r=libc.syscall(nr[arm] if type(nr) is tuple else nr,*args)
    out.append('%s %s'%(name,'ok' if r>=0 else ctypes.get_errno()))
call('io_uring',425,8,ctypes.create_string_buffer(256))
call('userfaultfd',(323,282),0)
call('bpf',(321,280),0,ctypes.create_string_buffer(128),128)
call('ptrace',(101,117),0,0,0,0)
call('unshare',(272,97),0x10000000)
call('setns',(308,268),0,0)
call('mount',(165,40),b'none',b'/mnt',b'tmpfs',0,0)
call('handle',(304,265),-100,ctypes.create_string_buffer(128),0)
call('x32',0x40000000+39)
call('future',480)
call('tiocsti',(16,29),0,0x5412,b'x')
for f,t in ((40,1),(17,3),(2,3),(10,3),(38,5)):
    try: socket.socket(f,t); out.append('socket %d ok'%f)
    except OSError as e: out.append('socket %d %d'%(f,e.errno))
try: os.mknod('dev',0o60666,os.makedev(259,0)); out.append('mknod ok')
except OSError as e: out.append('mknod %d'%e.errno)
open('result','w').write(','.join(out))
";
    let trial = Trial::program(["/usr/bin/env", "python3", "-c", script]);
    trial.run();
    let expected = "io_uring 1,userfaultfd 1,bpf 1,ptrace 1,unshare 1,setns 1,mount 1,handle 1,x32 38,future 38,tiocsti 1,\
                    socket 40 97,socket 17 1,socket 2 1,socket 10 1,socket 38 1,mknod 13";
    assert_eq!(trial.read("result"), expected);
}

#[test]
fn a_static_program_is_seen() {
    let trial = Trial::shell("./static");
    let source =
        trial.write("s.c", "#include <fcntl.h>\nint main(void){return open(\"seen\",O_CREAT|O_WRONLY,0600)<0;}");
    let built =
        std::process::Command::new("gcc").args(["-static", "-o"]).arg(trial.path("static")).arg(source).status();
    if !built.is_ok_and(|status| status.success()) {
        println!("SKIPPED a_static_program_is_seen: gcc -static does not work here");
        return;
    }
    assert_eq!(trial.run().exit_code, Some(0));
    assert!(trial.touched().contains(&(FileOperation::Create, "seen".to_owned(), None)));
}

#[test]
fn the_agent_keeps_no_capability_that_reaches_past_files() {
    let trial = Trial::shell(
        "grep -E 'Cap(Prm|Eff|Bnd)|NoNewPrivs' /proc/self/status > caps; kill -9 1 2>/dev/null; ps ax > ps 2>/dev/null; echo alive",
    );
    assert_eq!(trial.run().exit_code, Some(0));
    let caps = trial.read("caps");
    assert!(caps.contains("NoNewPrivs:\t1"), "{caps}");
    for line in caps.lines().filter(|line| line.starts_with("Cap")) {
        let bits = u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap();
        assert_eq!(bits & !wk_shim::confine::KEPT_CAPABILITIES, 0, "{line}");
    }
}

#[test]
fn paths_that_are_not_text_are_kept_as_bytes() {
    let script = "import os; os.close(os.open(b'a\\xff\\xfeb',os.O_CREAT|os.O_WRONLY))";
    let trial = Trial::program(["/usr/bin/env", "python3", "-c", script]);
    trial.run();
    let file = trial.files().into_iter().find(|f| f.path.ends_with("b") && f.path.contains('\u{fffd}')).unwrap();
    let bytes = file.path_bytes.unwrap().0;
    assert!(bytes.ends_with(b"a\xff\xfeb"));
}

#[test]
fn a_socket_that_leads_out_of_the_sandbox_is_refused() {
    let folder = std::path::PathBuf::from(format!("/tmp/tmux-wk{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    for covered in [true, false] {
        let there = std::os::unix::net::UnixListener::bind(folder.join("default")).unwrap();
        there.set_nonblocking(true).unwrap();
        let path = folder.join("default");
        let script = format!(
            "import socket\ntry:\n socket.socket(socket.AF_UNIX).connect({path:?}); r='in'\nexcept OSError as e: r=str(e.errno)\nopen('result','w').write(r)"
        );
        let mut trial = Trial::program(["/usr/bin/env", "python3", "-c", &script]);
        if !covered {
            trial.means =
                Means { namespaces: false, user_namespace: false, own_proc: false, covers: false, ..Means::probe() };
        }
        trial.run();
        let refused = trial.connections().into_iter().find(|c| c.outcome == Outcome::Denied).unwrap();
        assert!(refused.reason.unwrap().starts_with("leads out of the sandbox: tmux"));
        assert_eq!(trial.read("result"), libc::EACCES.to_string());
        assert!(there.accept().is_err());
        std::fs::remove_file(path).unwrap();
    }
    std::fs::remove_dir(folder).unwrap();
}

#[test]
fn an_agent_without_namespaces_cannot_signal_the_shim() {
    let mut trial = Trial::shell(&format!("kill -9 {}; echo $? > result", std::process::id()));
    trial.means = Means { namespaces: false, user_namespace: false, own_proc: false, covers: false, ..Means::probe() };
    if trial.means.landlock < 6 {
        println!("SKIPPED an_agent_without_namespaces_cannot_signal_the_shim: Landlock has no scope for signals here");
        return;
    }
    trial.run();
    assert_eq!(trial.read("result"), "1\n");
}

#[test]
fn a_policy_may_list_what_is_allowed_and_deny_the_rest() {
    let policy = "name = \"t\"\n[files]\ndefault = \"deny\"\nrules = [
        { match = \"/usr/**\", action = \"allow\", reason = \"programs\" },
        { match = \"/etc/**\", on = \"read\", action = \"allow\", reason = \"settings\" },
        { match = \"${workspace}/in/**\", action = \"allow\", reason = \"work\" },
      ]\n[network]\ndefault = \"deny\"\n";
    let trial = Trial::shell("cd in; echo 1 > made; cat made > copy; cat /etc/hostname >> copy; cat ../out/secret; echo x > ../out/new; ls /etc > list; ls ../out && exit 3; test ! -e ../out/new").policy(policy);
    std::fs::create_dir(trial.path("in")).unwrap();
    trial.write("out/secret", "s");
    assert_eq!(trial.run().exit_code, Some(0), "{:#?}", trial.files());
    assert_eq!(trial.read("in/copy"), format!("1\n{}", std::fs::read_to_string("/etc/hostname").unwrap()));
}
