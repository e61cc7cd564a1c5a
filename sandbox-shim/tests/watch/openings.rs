//! What the kernel opens by itself to execute a program is on record, and a program that runs in the place of another is told.

use crate::harness::{FREE, Trial};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use wk_schemas::Body;
use wk_schemas::body::{FileAccessed, Outcome, ProcessStarted};
use wk_shim::confine::Means;
use wk_shim::contract::Decision;
use wk_shim::fanotify::{OPENED_TO_EXECUTE, WORD};

/// The loader of this machine's programs.
pub(crate) fn loader() -> String {
    let names = ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"];
    let found = names.iter().find_map(|name| Path::new(name).canonicalize().ok());
    found.expect("a machine with a C library").to_str().unwrap().to_owned()
}

/// Whether fanotify watches here; when not, that is said.
pub(crate) fn watched(test: &str) -> bool {
    let means = Means::probe();
    let is_offered = means.fanotify && means.namespaces && !means.user_namespace;
    if !is_offered {
        println!("SKIPPED {test}: fanotify needs root in the machine's own user namespace");
    }
    is_offered
}

/// What the kernel opened: path and how often, over all processes.
fn opened(trial: &Trial) -> BTreeMap<String, i64> {
    let mut counts = BTreeMap::new();
    for file in openings(trial) {
        *counts.entry(file.path).or_default() += file.count;
    }
    counts
}

fn openings(trial: &Trial) -> Vec<FileAccessed> {
    trial.files().into_iter().filter(|file| file.flags == OPENED_TO_EXECUTE && file.reason.is_some()).collect()
}

/// Programs that ran in the place of others.
fn others(trial: &Trial) -> Vec<ProcessStarted> {
    let is_told = |p: &ProcessStarted| p.reason.as_ref().is_some_and(|r| r.starts_with("another program runs"));
    trial.programs().into_iter().filter(is_told).collect()
}

fn real(path: &str) -> String {
    Path::new(path).canonicalize().unwrap().to_str().unwrap().to_owned()
}

fn counted<const N: usize>(all: [(&str, i64); N]) -> BTreeMap<String, i64> {
    all.into_iter().map(|(path, count)| (path.to_owned(), count)).collect()
}

fn make_executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Builds a program that needs no loader and makes no call that the shim hears of: it sleeps so many seconds and exits with a code.
fn quiet_program(trial: &Trial, name: &str, seconds: u32, code: u32) -> PathBuf {
    const SOURCE: &str = r#"
static long call(long number, long first, long second) {
#if defined(__x86_64__)
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(first), "S"(second) : "rcx", "r11", "memory");
    return result;
#else
    register long x8 __asm__("x8") = number; register long x0 __asm__("x0") = first; register long x1 __asm__("x1") = second;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1) : "memory");
    return x0;
#endif
}
#include <sys/syscall.h>
void _start(void) {
    long time[2] = {SECONDS, 0};
    call(SYS_nanosleep, (long)time, 0);
    call(SYS_exit, CODE, 0);
    for (;;) {}
}
"#;
    let source = trial.write(&format!("{name}.c"), SOURCE);
    let program = trial.path(name);
    let mut gcc = std::process::Command::new("gcc");
    gcc.args(["-static", "-nostdlib", "-fno-stack-protector", "-O1", "-o"]).arg(&program).arg(source);
    gcc.args([format!("-DSECONDS={seconds}"), format!("-DCODE={code}")]);
    assert!(gcc.status().unwrap().success());
    program
}

#[test]
fn a_loader_is_recorded_for_what_has_one_and_counted_over_processes() {
    if !watched("a_loader_is_recorded_for_what_has_one_and_counted_over_processes") {
        return;
    }
    let trial = Trial::shell("/bin/true; /bin/true; ./static; ./static; /bin/true; exit 0");
    quiet_program(&trial, "static", 0, 0);
    let running = trial.start();
    assert!(running.confinement().iter().any(|word| word == WORD), "{:?}", running.confinement());
    running.wait();
    assert_eq!(opened(&trial), counted([(&loader(), 4)]));
    let first = openings(&trial).into_iter().next().unwrap();
    assert_eq!((first.outcome, first.count, first.actor.image), (Outcome::Succeeded, 1, real("/bin/sh")));
}

#[test]
fn a_script_is_recorded_with_every_interpreter_between_it_and_the_loader() {
    if !watched("a_script_is_recorded_with_every_interpreter_between_it_and_the_loader") {
        return;
    }
    let trial = Trial::shell("./outer; ./python; exit 0");
    let inner = trial.write("inner", "#!/bin/sh\n: > made\n");
    let outer = trial.write("outer", &format!("#!{}\n", inner.display()));
    let python = trial.write("python", "#!/usr/bin/env python3\nopen('ran', 'w').close()\n");
    for script in [&inner, &outer, &python] {
        make_executable(script);
    }
    trial.run();
    assert!(trial.path("made").exists() && trial.path("ran").exists());
    let (env, sh) = (real("/usr/bin/env"), real("/bin/sh"));
    // The loader: of the shell, of the interpreter of each script, and of what `env` executes.
    let expected = counted([(inner.to_str().unwrap(), 1), (&sh, 1), (&env, 1), (&loader(), 4)]);
    assert_eq!(opened(&trial), expected);
    let by = |path: &str| openings(&trial).into_iter().find(|file| file.path == path).unwrap().actor.image;
    assert_eq!((by(&sh), by(&env)), (outer.to_str().unwrap().to_owned(), python.to_str().unwrap().to_owned()));
    assert_eq!(others(&trial), []);
}

#[test]
fn a_loader_called_by_hand_is_a_program_and_not_a_loader() {
    if !watched("a_loader_called_by_hand_is_a_program_and_not_a_loader") {
        return;
    }
    let trial = Trial::shell(&format!("{} /bin/true; exit 0", loader()));
    trial.run();
    // Once, for the shell.
    assert_eq!(opened(&trial), counted([(&loader(), 1)]));
    assert!(trial.programs().iter().any(|p| p.actor.image == loader()));
    assert!(trial.files().iter().any(|f| f.path == "/bin/true" && f.actor.image == loader()));
    assert_eq!(others(&trial), []);
}

#[test]
fn of_a_program_in_memory_the_loader_is_recorded_and_it_is_not_taken_for_another() {
    if !watched("of_a_program_in_memory_the_loader_is_recorded_and_it_is_not_taken_for_another") {
        return;
    }
    for exec in ["os.execve(f, ['x'], {})", "os.execve(f'/proc/self/fd/{f}', ['x'], {})"] {
        let script = format!("import os\nf=os.memfd_create('m',0)\nos.write(f,open('/bin/true','rb').read())\n{exec}");
        let trial = Trial::program(["/usr/bin/python3", "-c", &script]);
        assert_eq!(trial.run().exit_code, Some(0));
        assert_eq!(opened(&trial), counted([(&loader(), 2)]), "{exec}");
        assert_eq!(others(&trial), [], "{exec}");
        assert!(trial.programs().iter().any(|p| p.actor.image.contains("memfd:m")), "{:#?}", trial.programs());
    }
}

#[test]
fn no_process_leaves_the_mounts_that_are_watched() {
    if !watched("no_process_leaves_the_mounts_that_are_watched") {
        return;
    }
    let trial = Trial::shell("unshare --mount /bin/true; echo $? > code");
    trial.run();
    assert_eq!(trial.read("code"), "1\n");
    let refused =
        |body: &Body| matches!(body, Body::CallAttempted(b) if b.call == "unshare" && b.outcome == Outcome::Denied);
    assert!(trial.recorder.bodies().iter().any(refused));
    assert!(!trial.programs().iter().any(|p| p.actor.image == real("/bin/true")));
}

#[test]
fn of_many_quick_execs_none_is_lost_and_few_records_are_made() {
    if !watched("of_many_quick_execs_none_is_lost_and_few_records_are_made") {
        return;
    }
    let trial = Trial::shell("i=0; while [ $i -lt 200 ]; do /bin/true & i=$((i+1)); done; wait; exit 0");
    trial.run();
    assert_eq!(opened(&trial), counted([(&loader(), 201)]));
    assert_eq!(others(&trial), []);
    assert!(!trial.recorder.bodies().iter().any(|body| matches!(body, Body::RecordsLost(_))));
    // The first of each second, and the count of the rest.
    let records = openings(&trial).len();
    assert!(records < 201, "{records} records");
}

#[test]
fn without_fanotify_the_session_says_so() {
    let mut trial = Trial::shell("/bin/true; exit 0");
    trial.means = Means { fanotify: false, ..Means::probe() };
    let running = trial.start();
    assert!(!running.confinement().iter().any(|word| word == WORD));
    assert!(!running.observers().iter().any(|observer| observer.word() == WORD));
    running.wait();
    assert_eq!(opened(&trial), counted([]));
}

/// A link that leads to one program while it is decided about, and to another when the kernel follows it.
fn swapped(rules: &str, seconds: u32) -> Trial {
    let policy = format!(
        "{FREE}[process]\ndefault = \"allow\"\nrules = [{{ match = \"**/asked\", action = \"hold\", reason = \"ask\" }}{rules}]\n"
    );
    let trial = Trial::shell("./link; echo $? > code").policy(&policy);
    quiet_program(&trial, "asked", 0, 5);
    quiet_program(&trial, "other", seconds, 7);
    std::os::unix::fs::symlink("asked", trial.path("link")).unwrap();
    let running = trial.start();
    let ticket = trial.recorder.wait_for("the exec to be held", |body| match body {
        Body::ApprovalRequested(asked) => Some(asked.ticket.0),
        _ => None,
    });
    std::os::unix::fs::symlink("other", trial.path("next")).unwrap();
    std::fs::rename(trial.path("next"), trial.path("link")).unwrap();
    let granted = Decision { granted: true, by: None, reason: "because".into(), command_id: None };
    assert!(running.resolve(ticket, granted));
    running.wait();
    trial
}

/// The program that ran in the place of `asked`, and what became of it.
fn only_other(trial: &Trial) -> (String, Outcome, String) {
    let others = others(trial);
    let [other] = &others[..] else { panic!("one, not {others:#?}") };
    (other.actor.image.clone(), other.outcome, other.reason.clone().unwrap())
}

#[test]
fn a_program_that_runs_in_the_place_of_another_is_told_even_when_it_does_nothing() {
    if !watched("a_program_that_runs_in_the_place_of_another_is_told_even_when_it_does_nothing") {
        return;
    }
    let trial = swapped("", 0);
    assert_eq!(trial.read("code"), "7\n");
    let path = |name: &str| trial.path(name).to_str().unwrap().to_owned();
    let reason = format!("another program runs than the one asked for, {}", path("asked"));
    assert_eq!(only_other(&trial), (path("other"), Outcome::Allowed, reason));
    let ended = |body: &Body| matches!(body, Body::ProcessExited(b) if b.exit_code == Some(7) && b.actor.image == path("other"));
    assert!(trial.recorder.bodies().iter().any(ended));
}

#[test]
fn a_program_that_runs_in_the_place_of_another_and_may_not_is_killed() {
    if !watched("a_program_that_runs_in_the_place_of_another_and_may_not_is_killed") {
        return;
    }
    let trial = swapped(", { match = \"**/other\", action = \"deny\", reason = \"no\" }", 300);
    assert_eq!(trial.read("code"), "137\n");
    let (image, outcome, _) = only_other(&trial);
    assert_eq!((image.as_str(), outcome), (trial.path("other").to_str().unwrap(), Outcome::Denied));
}
