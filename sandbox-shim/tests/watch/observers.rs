//! One little workload under each observer: who reads the records need not know which it was.

use crate::evidence::kernel_tells_exit_codes;
use crate::harness::Trial;
use crate::openings::{loader, watched};
use crate::reads;
use crate::results::told;
use crate::stream::{Books, MemoryShelf};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use wk_schemas::Body;
use wk_schemas::body::{FileAccessed, FileOperation, NetworkOperation, Outcome};
use wk_shim::contract::{Observer, Sees};
use wk_shim::ebpf;
use wk_shim::fanotify::{OPENED_TO_EXECUTE, WORD};
use wk_shim::gvisor::{Serving, trace_session};

/// Reads, writes, fails, starts programs that fail, and knocks where nobody listens; in a folder that has `read-me`.
const WORKLOAD: &str = "cat read-me > made; cat missing; cat < sub/../read-me; /bin/sh -c 'exit 3'; /bin/sh -c 'kill -9 $$'; \
                        bash -c ': < /dev/tcp/127.0.0.1/9'; rm made; :";

/// What every observer must have seen that can see it, in words that hold nothing of its own.
fn facts(bodies: &[Body], root: &Path, sees: Sees) -> BTreeSet<String> {
    let failed = |outcome, errno: Option<i32>| match (outcome, errno) {
        (Outcome::Failed | Outcome::Denied, Some(errno)) if sees.results => format!(" failed with {errno}"),
        _ => String::new(),
    };
    let short = |path: &str| Path::new(path).strip_prefix(root).ok().map(|p| p.display().to_string());
    let fact = |body: &Body| match body {
        Body::ProcessStarted(b) if sees.programs && b.outcome != Outcome::Failed => {
            let of = if b.parent_pid > 0 && !b.parent_image.is_empty() { " of a known parent" } else { "" };
            Some(format!("ran {:?} in {:?} as {}{of}", b.arguments, b.working_directory, b.actor.user_number()))
        }
        Body::ProcessExited(b) if sees.ends => Some(format!("ended {:?} {:?}", b.exit_code, b.signal)),
        Body::FileAccessed(b) if b.flags == OPENED_TO_EXECUTE => sees.loaders.then(|| format!("loaded {}", b.path)),
        Body::FileAccessed(b) => {
            let opens = matches!(b.operation, FileOperation::Read | FileOperation::Write | FileOperation::Create);
            let wanted = if opens { sees.opens } else { sees.names };
            let name = short(&b.path).filter(|_| wanted)?;
            Some(format!("{:?} {name}{}", b.operation, failed(b.outcome, b.errno)))
        }
        Body::ConnectionAttempted(b) if sees.connections && b.operation == NetworkOperation::Connect => {
            (b.protocol != "unix").then(|| format!("{} to {} {:?}", b.protocol, b.address, b.port))
        }
        _ => None,
    };
    bodies.iter().filter_map(fact).collect()
}

trait UserNumber {
    /// The user by number, whatever the observer could make of it.
    fn user_number(&self) -> String;
}

impl UserNumber for wk_schemas::body::Actor {
    fn user_number(&self) -> String {
        if self.user == "root" { "0".to_owned() } else { self.user.clone() }
    }
}

/// What the workload does.
fn expected(root: &Path, sees: Sees) -> BTreeSet<String> {
    let ran = |words: &[&str], of: &str| format!("ran {words:?} in {root:?} as 0{of}");
    let of = " of a known parent";
    let mut all = Vec::new();
    if sees.programs {
        all.push(ran(&["/bin/sh", "-c", WORKLOAD], ""));
        for words in [
            &["cat", "read-me"][..],
            &["cat", "missing"],
            &["cat"],
            &["/bin/sh", "-c", "exit 3"],
            &["/bin/sh", "-c", "kill -9 $$"],
            &["bash", "-c", ": < /dev/tcp/127.0.0.1/9"],
            &["rm", "made"],
        ] {
            all.push(ran(words, of));
        }
    }
    if sees.loaders {
        all.push(format!("loaded {}", loader()));
    }
    if sees.ends {
        let ends = ["Some(0) None", "Some(1) None", "Some(3) None", "None Some(9)"];
        all.extend(ends.map(|end| format!("ended {end}")));
    }
    if sees.opens {
        let failed = if sees.results { " failed with 2" } else { "" };
        all.extend(["Create made", "Read read-me"].map(str::to_owned));
        all.push(format!("Read missing{failed}"));
    }
    if sees.names {
        all.push("Unlink made".to_owned());
    }
    if sees.connections {
        all.push("tcp to 127.0.0.1 Some(9)".to_owned());
    }
    all.into_iter().collect()
}

/// What the supervision sees here: an older kernel tells it that a process ended, and not how.
fn here(supervision: Sees) -> Sees {
    Sees { ends: supervision.ends && kernel_tells_exit_codes(), ..supervision }
}

fn is_root() -> bool {
    std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap()) == 0
}

/// The workload, with the files that it wants.
fn workload() -> Trial {
    let trial = Trial::shell(WORKLOAD);
    trial.write("read-me", "text\n");
    std::fs::create_dir(trial.path("sub")).unwrap();
    trial
}

#[test]
fn the_supervision_sees_what_a_workload_does() {
    if !is_root() {
        println!("SKIPPED the_supervision_sees_what_a_workload_does: the workload is compared as root");
        return;
    }
    let trial = workload();
    let running = trial.start();
    let sees = here(running.sees());
    assert!(running.confinement().iter().any(|word| word == running.word()), "{:?}", running.confinement());
    running.wait();
    assert_eq!(facts(&trial.recorder.bodies(), &trial.root(), sees), expected(&trial.root(), sees));
}

#[test]
fn fanotify_sees_what_the_kernel_opens_for_a_workload() {
    if !watched("fanotify_sees_what_the_kernel_opens_for_a_workload") {
        return;
    }
    let trial = workload();
    let running = trial.start();
    let observers: Vec<_> = running.observers().iter().map(|observer| (observer.word(), observer.sees())).collect();
    let [(_, supervision), (WORD, sees), ..] = observers[..] else {
        panic!("two observers or more, not {observers:?}")
    };
    assert!(running.confinement().iter().any(|there| there == WORD), "{:?}", running.confinement());
    running.wait();
    assert_eq!(facts(&trial.recorder.bodies(), &trial.root(), sees), expected(&trial.root(), sees));
    // Side by side each sees what it sees alone.
    let both = Sees { loaders: true, ..here(supervision) };
    assert_eq!(facts(&trial.recorder.bodies(), &trial.root(), both), expected(&trial.root(), both));
}

/// The records of what was let through and then failed, without those that say that it was let through.
fn settled(trial: &Trial) -> Vec<Body> {
    let events = trial.recorder.events();
    let failed = |id| events.iter().any(|(_, event)| event.caused_by == [id]);
    events.iter().filter(|(id, _)| !failed(*id)).map(|(_, event)| event.body.clone()).collect()
}

#[test]
fn ebpf_tells_how_ended_what_a_workload_does() {
    if !told("ebpf_tells_how_ended_what_a_workload_does") {
        return;
    }
    let trial = workload();
    let running = trial.start();
    let observers: Vec<_> = running.observers().iter().map(|observer| (observer.word(), observer.sees())).collect();
    let [(_, supervision), .., (ebpf::WORD, sees)] = observers[..] else { panic!("two or more, not {observers:?}") };
    assert!(running.confinement().iter().any(|there| there == ebpf::WORD), "{:?}", running.confinement());
    running.wait();
    // Alone it says how something ended, and nothing of what that was.
    assert_eq!((facts(&trial.recorder.bodies(), &trial.root(), sees), sees.results), (BTreeSet::new(), true));
    let both = Sees { results: true, ..here(supervision) };
    assert_eq!(facts(&settled(&trial), &trial.root(), both), expected(&trial.root(), both));
}

#[test]
fn reads_that_do_not_wait_are_told_like_those_that_do() {
    if !reads::told("reads_that_do_not_wait_are_told_like_those_that_do") {
        return;
    }
    let trial = Trial { ebpf_reads: true, ..workload() };
    let running = trial.start();
    let observers: Vec<_> = running.observers().iter().map(|observer| (observer.word(), observer.sees())).collect();
    let [(_, supervision), .., (ebpf::READS_WORD, sees)] = observers[..] else {
        panic!("two or more, not {observers:?}")
    };
    running.wait();
    let both = Sees { results: true, ..here(supervision) };
    assert!(sees.opens && sees.results);
    assert_eq!(facts(&settled(&trial), &trial.root(), both), expected(&trial.root(), both));
    // Each read is told by one of the two alone, and has one record that says how it ended.
    let waited = |file: &FileAccessed| file.operation == FileOperation::Read && file.outcome == Outcome::Allowed;
    assert!(!trial.files().iter().any(waited), "{:#?}", trial.files());
}

/// Where a real `runsc` is, which must run as root; `None` is said loudly.
fn runsc() -> Option<PathBuf> {
    if !is_root() {
        println!("SKIPPED a_real_gvisor_tells_what_a_workload_does: it needs root");
        return None;
    }
    let found = std::env::var_os("PATH")
        .and_then(|path| std::env::split_paths(&path).map(|folder| folder.join("runsc")).find(|file| file.exists()));
    if found.is_none() {
        println!(
            "SKIPPED a_real_gvisor_tells_what_a_workload_does: runsc is not there; tests/harness/tools-install fetches it"
        );
    }
    found
}

#[test]
fn a_real_gvisor_tells_what_a_workload_does() {
    let Some(runsc) = runsc() else { return };
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("work").canonicalize().unwrap_or_else(|_| folder.path().join("work"));
    std::fs::create_dir_all(root.join("sub")).unwrap();
    std::fs::write(root.join("read-me"), "text\n").unwrap();
    let socket = folder.path().join("s");
    let books = Arc::new(Books::default());
    let serving = Serving::begin(&socket, Arc::new(MemoryShelf(Arc::clone(&books)))).unwrap();
    let sees = serving.sees();
    let config = folder.path().join("config.json");
    std::fs::write(&config, trace_session(socket.to_str().unwrap()).to_string()).unwrap();
    // Where it does not run it may as well stand still.
    let mut command = Command::new("timeout");
    command.arg("600").arg(runsc);
    // A platform that runs wherever processes may be traced, and nothing of the host's network or control groups.
    command
        .args(["--platform=ptrace", "--network=none", "--ignore-cgroups", "--root"])
        .arg(folder.path().join("state"));
    command.arg(format!("--pod-init-config={}", config.display()));
    let output = command.args(["do", "/bin/sh", "-c", WORKLOAD]).current_dir(&root).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let names = books.names();
    if names.is_empty() || !output.status.success() {
        println!("SKIPPED a_real_gvisor_tells_what_a_workload_does: runsc does not run here: {said}");
        return;
    }
    let [id] = &names[..] else { panic!("one container, not {names:?}") };
    let kept = books.wait_over(id);
    assert_eq!(kept.over, Some(Ok(Some(0))), "{said}");
    let found = facts(&kept.recorder.bodies(), &root, sees);
    assert_eq!(found, expected(&root, sees), "{:#?}", kept.recorder.bodies());
    let called = |body: &Body| matches!(body, Body::CallAttempted(b) if b.call.starts_with("unlink"));
    assert!(kept.recorder.bodies().iter().any(called), "of a removed name it is known that there was one");
}
