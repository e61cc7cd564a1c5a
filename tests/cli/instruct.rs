//! `wk freeze`, `wk resume`, `wk kill`.

use super::place;
use crate::harness::eventually;
use std::fs;

#[test]
fn a_frozen_session_stands_still_goes_on_when_resumed_and_ends_when_killed() {
    let (_dir, installation, workspace) = place();
    let _up = installation.up();
    // A tree that forks all the time: each round is a new process that counts one up.
    let script = "i=0; while :; do i=$((i+1)); (echo $i > count); done";
    let mut run = installation.wk(["run", "--policy", "observe", "--", "sh", "-c", script]);
    let mut session = crate::harness::Process::start(run.current_dir(&workspace), &installation.log("run"));
    let count = || fs::read_to_string(workspace.join("count")).ok().and_then(|t| t.trim().parse::<u64>().ok());
    eventually("the first count", || count().filter(|n| *n > 3));
    let id = eventually("the session's folder", || {
        fs::read_dir(installation.data().join("sessions")).ok()?.flatten().next()?.file_name().into_string().ok()
    });

    let frozen = installation.wk(["freeze", &id, "--wait", "600", "--reason", "have a look"]).output().unwrap();
    let said = String::from_utf8_lossy(&frozen.stdout).into_owned();
    assert!(frozen.status.success() && said.contains("frozen"), "{said} {}", String::from_utf8_lossy(&frozen.stderr));
    let stands_at = count();
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert_eq!(count(), stands_at);

    // A beginning of the id is enough when it fits only one session.
    let resumed = installation.wk(["resume", "--wait", "600", &id[..20]]).output().unwrap();
    assert!(resumed.status.success(), "{}", String::from_utf8_lossy(&resumed.stderr));
    eventually("the count to go on", || count().filter(|n| Some(*n) > stands_at));

    let killed = installation.wk(["kill", "--wait", "600", &id]).output().unwrap();
    assert!(killed.status.success(), "{}", String::from_utf8_lossy(&killed.stderr));
    assert_eq!(session.wait().code(), Some(137));
}

#[test]
fn an_unknown_session_is_named() {
    let (_dir, installation, _) = place();
    let _up = installation.up();
    let asked = installation.wk(["freeze", "0000"]).output().unwrap();
    assert_eq!(asked.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&asked.stderr).contains("no session begins with `0000`"), "{asked:?}");
}
