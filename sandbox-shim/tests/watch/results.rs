//! How calls ended that were let through to the kernel is on record, beside the record that says that they were.

use crate::harness::{FREE, Trial};
use std::process::Command;
use wk_schemas::Body;
use wk_schemas::body::Outcome;
use wk_shim::confine::Means;
use wk_shim::ebpf::{REASON, WORD};

/// Whether eBPF tells here; when not, that is said.
pub(crate) fn told(test: &str) -> bool {
    let is_offered = Means::probe().ebpf;
    if !is_offered {
        println!("SKIPPED {test}: eBPF needs root in the machine's own namespaces");
    }
    is_offered
}

/// What a record says, without who and when: what was done to what, the outcome, the error, and how often.
type Said = (String, Outcome, Option<i32>, i64);

/// A record of a call that has an outcome, if it is of something below the trial's folder, and whether it is the second of that call.
fn said(trial: &Trial, body: &Body) -> Option<(Said, bool)> {
    let root = trial.root();
    let (what, path, outcome, errno, count, reason) = match body {
        Body::FileAccessed(b) => {
            (format!("{:?}", b.operation), &b.path, b.outcome, b.errno, b.count, b.reason.as_deref())
        }
        Body::ConnectionAttempted(b) => {
            (format!("{:?}", b.operation), &b.address, b.outcome, b.errno, b.count, b.reason.as_deref())
        }
        Body::ProcessStarted(b) => ("Execute".to_owned(), &b.actor.image, b.outcome, b.errno, 1, b.reason.as_deref()),
        Body::CallAttempted(b) => {
            return Some(((b.call.clone(), b.outcome, b.errno, b.count), b.reason == REASON));
        }
        _ => return None,
    };
    let name = std::path::Path::new(path).strip_prefix(&root).ok()?;
    Some(((format!("{what} {}", name.display()), outcome, errno, count), reason == Some(REASON)))
}

/// Everything that failed after it was let through; each is held against the record that it follows from.
fn failures(trial: &Trial) -> Vec<Said> {
    let events = trial.recorder.events();
    let second = events.iter().filter_map(|(_, event)| {
        let (second, is_second) = said(trial, &event.body)?;
        if !is_second {
            return None;
        }
        assert_eq!(second.1, Outcome::Failed);
        if let [cause] = event.caused_by[..] {
            let (_, first) = events.iter().find(|(id, _)| *id == cause).expect("a cause is a record");
            let ((what, outcome, errno, _), is_second) = said(trial, &first.body).unwrap();
            assert_eq!((what, outcome, errno, is_second), (second.0.clone(), Outcome::Allowed, None, false));
            assert_eq!(actor(&first.body), actor(&event.body));
        } else {
            assert!(event.caused_by.is_empty());
        }
        Some(second)
    });
    second.collect()
}

fn actor(body: &Body) -> Option<(String, String)> {
    let actor = match body {
        Body::FileAccessed(b) => &b.actor,
        Body::ConnectionAttempted(b) => &b.actor,
        Body::ProcessStarted(b) => &b.actor,
        Body::CallAttempted(b) => &b.actor,
        _ => return None,
    };
    Some((actor.process_uid.clone(), actor.image.clone()))
}

/// Of how many of these it is said which record they follow from.
fn has_causes(trial: &Trial) -> usize {
    let events = trial.recorder.events();
    let inside = events.iter().filter(|(_, event)| said(trial, &event.body).is_some());
    inside.filter(|(_, event)| event.caused_by.len() == 1).count()
}

fn python(script: &str) -> Trial {
    Trial::program(["/usr/bin/python3", "-c", script])
}

fn failed(what: &str, errno: i32, count: i64) -> Said {
    (what.to_owned(), Outcome::Failed, Some(errno), count)
}

#[test]
fn an_open_that_fails_has_a_second_record_and_one_that_succeeds_has_none() {
    if !told("an_open_that_fails_has_a_second_record_and_one_that_succeeds_has_none") {
        return;
    }
    let trial = Trial::shell("cat there; cat missing; true > no-folder/made; mkdir there; exit 0");
    trial.write("there", "");
    let running = trial.start();
    assert!(running.confinement().iter().any(|word| word == WORD), "{:?}", running.confinement());
    running.wait();
    assert_eq!(
        failures(&trial),
        [
            failed("Read missing", libc::ENOENT, 1),
            failed("Create no-folder/made", libc::ENOENT, 1),
            failed("MakeDirectory there", libc::EEXIST, 1)
        ]
    );
    assert_eq!(has_causes(&trial), 3);
    // The process that failed with its last call ends after that is on record.
    let bodies = trial.recorder.bodies();
    let at = |find: &dyn Fn(&Body) -> bool| bodies.iter().position(find).unwrap();
    let mkdir = |image: &str| image.ends_with("/mkdir");
    let second = at(&|body| matches!(body, Body::FileAccessed(b) if b.errno == Some(libc::EEXIST)));
    assert!(second < at(&|body| matches!(body, Body::ProcessExited(b) if mkdir(&b.actor.image))));
}

#[test]
fn what_landlock_refuses_is_on_record() {
    const TEST: &str = "what_landlock_refuses_is_on_record";
    if !told(TEST) || Means::probe().landlock == 0 {
        println!("SKIPPED {TEST}: it needs eBPF and Landlock");
        return;
    }
    // The shim allows the script; its interpreter, which the kernel opens by itself, is not granted.
    let policy = format!(
        "{FREE}[files]\ndefault = \"allow\"\nrules = [{{ match = \"~/keys/**\", action = \"deny\", reason = \"keys\" }}]\n"
    );
    let trial = Trial::shell("./script; exit 0").policy(&policy);
    let interpreter = trial.path("keys/sh");
    std::fs::create_dir(trial.path("keys")).unwrap();
    std::fs::copy("/bin/sh", &interpreter).unwrap();
    let script = trial.write("script", &format!("#!{}\n: > ran\n", interpreter.display()));
    std::fs::set_permissions(script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    trial.run();
    assert!(!trial.path("ran").exists());
    assert_eq!(failures(&trial), [failed("Execute script", libc::EACCES, 1)]);
    assert_eq!(has_causes(&trial), 1);
}

#[test]
fn a_local_connect_that_nobody_takes_is_on_record() {
    if !told("a_local_connect_that_nobody_takes_is_on_record") {
        return;
    }
    let trial = python(
        "import socket\n\
         s = lambda: socket.socket(socket.AF_UNIX)\n\
         deaf, heard = s(), s()\n\
         deaf.bind('deaf'); heard.bind('heard'); heard.listen()\n\
         for (what, name) in (('connect', 'deaf'), ('connect', 'heard'), ('bind', 'heard')):\n\
         \x20   try: getattr(s(), what)(name)\n\
         \x20   except OSError as e: print(what, name, e, file=open('said', 'a'))\n",
    );
    trial.run();
    assert_eq!(
        failures(&trial),
        // They were counted when they were let through.
        [failed("Connect deaf", libc::ECONNREFUSED, 0), failed("Bind heard", libc::EADDRINUSE, 0)],
        "{}",
        trial.read("said")
    );
    assert_eq!(has_causes(&trial), 2);
}

#[test]
fn two_threads_that_fail_at_once_are_not_mixed_up_and_repeats_are_counted() {
    if !told("two_threads_that_fail_at_once_are_not_mixed_up_and_repeats_are_counted") {
        return;
    }
    let trial = python(
        "import os, threading\n\
         def often(call, *with_):\n\
         \x20   for _ in range(300):\n\
         \x20       try: call(*with_)\n\
         \x20       except OSError: pass\n\
         a = threading.Thread(target=often, args=(os.open, 'missing', os.O_RDONLY))\n\
         b = threading.Thread(target=often, args=(os.mkdir, 'there'))\n\
         a.start(); b.start(); a.join(); b.join()\n",
    );
    std::fs::create_dir(trial.path("there")).unwrap();
    trial.run();
    let mut counts = std::collections::BTreeMap::new();
    let all = failures(&trial);
    for (what, _, errno, count) in &all {
        *counts.entry((what.as_str(), errno.unwrap())).or_insert(0) += count;
    }
    let expected = [(("MakeDirectory there", libc::EEXIST), 300), (("Read missing", libc::ENOENT), 300)];
    assert_eq!(counts.into_iter().collect::<Vec<_>>(), expected);
    assert!(all.len() < 600, "{} records", all.len());
    assert!(!trial.recorder.bodies().iter().any(|body| matches!(body, Body::RecordsLost(_))));
}

#[test]
fn threads_that_have_come_and_gone_leave_room_for_others() {
    if !told("threads_that_have_come_and_gone_leave_room_for_others") {
        return;
    }
    // More of them in one process than can be in a call at once.
    let trial = python(
        "import os, threading\n\
         def once(name):\n\
         \x20   try: os.open(name, os.O_RDONLY)\n\
         \x20   except OSError: pass\n\
         for at in range(5000):\n\
         \x20   one = threading.Thread(target=once, args=('.' if at % 10 else 'missing',))\n\
         \x20   one.start(); one.join()\n",
    );
    trial.run();
    let all = failures(&trial);
    assert!(all.iter().all(|(what, _, errno, _)| (what.as_str(), *errno) == ("Read missing", Some(libc::ENOENT))));
    assert_eq!(all.iter().map(|(.., count)| count).sum::<i64>(), 500);
    assert!(!trial.recorder.bodies().iter().any(|body| matches!(body, Body::RecordsLost(_))));
}

#[test]
fn a_call_that_a_signal_interrupts_and_that_is_made_again_has_not_failed() {
    if !told("a_call_that_a_signal_interrupts_and_that_is_made_again_has_not_failed") {
        return;
    }
    let trial = python(
        "import os, signal\n\
         os.mkfifo('pipe')\n\
         # Nobody writes into the pipe until the open of it was interrupted.\n\
         signal.signal(signal.SIGALRM, lambda *_: os.open('pipe', os.O_RDWR))\n\
         signal.setitimer(signal.ITIMER_REAL, 0.2)\n\
         os.open('pipe', os.O_RDONLY)\n",
    );
    assert_eq!(trial.run().exit_code, Some(0));
    assert_eq!(failures(&trial), []);
}

#[test]
fn what_the_shim_carries_out_has_one_record_with_its_result() {
    if !told("what_the_shim_carries_out_has_one_record_with_its_result") {
        return;
    }
    let policy = format!(
        "{FREE}[files]\ndefault = \"allow\"\nrules = [{{ match = \"**/never\", action = \"deny\", reason = \"no\" }}]\n"
    );
    let trial = Trial::shell("cat missing; exit 0").policy(&policy);
    trial.run();
    assert_eq!(failures(&trial), []);
    let missing = trial.files().into_iter().filter(|file| file.path.ends_with("/missing"));
    assert_eq!(
        missing.map(|file| (file.outcome, file.errno)).collect::<Vec<_>>(),
        [(Outcome::Failed, Some(libc::ENOENT))]
    );
}

#[test]
fn switched_off_nothing_is_told_of_what_was_let_through() {
    let mut trial = Trial::shell("cat missing; exit 0");
    trial.ebpf = false;
    let running = trial.start();
    assert!(!running.confinement().iter().any(|word| word == WORD), "{:?}", running.confinement());
    assert!(!running.observers().iter().any(|observer| observer.word() == WORD));
    running.wait();
    assert_eq!(failures(&trial), []);
    assert!(trial.files().iter().any(|file| file.path.ends_with("/missing") && file.outcome == Outcome::Allowed));
}

#[test]
fn where_the_kernel_refuses_the_program_the_session_goes_without_it() {
    const TEST: &str = "where_the_kernel_refuses_the_program_the_session_goes_without_it";
    let means = Means::probe();
    if means.ebpf {
        // As root of another user namespace, who is refused.
        let mut again = Command::new("unshare");
        again.args(["--user", "--map-root-user"]).arg(std::env::current_exe().unwrap());
        let output = again.args(["--exact", &format!("results::{TEST}")]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let mut trial = Trial::shell("cat missing; exit 0");
    trial.means = Means { ebpf: true, ..means };
    let running = trial.start();
    assert!(!running.confinement().iter().any(|word| word == WORD), "{:?}", running.confinement());
    running.wait();
    assert_eq!(failures(&trial), []);
    assert!(trial.files().iter().any(|file| file.path.ends_with("/missing")));
}
