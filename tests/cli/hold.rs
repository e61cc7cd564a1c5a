//! `wk approvals`: a held connection, and a person's answer.

use super::place;
use crate::harness::{Installation, Process, eventually};
use std::io::Read as _;
use std::net::TcpListener;
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};

const POLICY: &str = "name = \"ask\"\nhold_timeout = \"10m\"\n[network]\ndefault = \"hold\"\n";

/// A listener that tells what each connection sent, and a session that waits to send `hello` there.
fn held(installation: &Installation, workspace: &Path) -> (Process, Receiver<String>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, told) = sync_channel(4);
    std::thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            let mut text = String::new();
            connection.read_to_string(&mut text).ok();
            tell.send(text).ok();
        }
    });
    let policy = workspace.join("policy.toml");
    std::fs::write(&policy, POLICY).unwrap();
    // In a file: a shell that is told on its command line to tie itself to a connection is frozen as a reverse shell.
    let script = workspace.join("greet.sh");
    std::fs::write(&script, format!("exec 3<>/dev/tcp/127.0.0.1/{port} && printf hello >&3\n")).unwrap();
    let mut run =
        installation.wk(["run", "--policy", policy.to_str().unwrap(), "--", "bash", script.to_str().unwrap()]);
    let session = Process::start(run.current_dir(workspace), &installation.log("run"));
    let ticket = eventually("the question", || {
        let listed = installation.wk(["approvals", "list"]).output().unwrap();
        let text = String::from_utf8_lossy(&listed.stdout).into_owned();
        text.contains("wants to connect").then(|| text.split_whitespace().next().unwrap().to_owned())
    });
    assert!(told.try_recv().is_err(), "the connection was made before anybody answered");
    (session, told, ticket)
}

#[test]
fn a_granted_connection_is_made_and_the_answer_is_on_record() {
    let (_dir, installation, workspace) = place();
    let up = installation.up();
    let (mut session, told, ticket) = held(&installation, &workspace);
    let granted =
        installation.wk(["approvals", "grant", &ticket, "--wait", "600", "--reason", "it is ours"]).output().unwrap();
    assert!(granted.status.success(), "{}", String::from_utf8_lossy(&granted.stderr));
    assert_eq!(told.recv_timeout(crate::harness::PATIENCE).unwrap(), "hello");
    assert!(session.wait().success(), "{}", installation.printed("run"));
    assert!(up.stop().success());
    let rows = installation.sql("SELECT state, answer FROM approvals");
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0]["state"], "GRANTED");
}

#[test]
fn a_denied_connection_fails_and_nothing_arrives() {
    let (_dir, installation, workspace) = place();
    let _up = installation.up();
    let (mut session, told, ticket) = held(&installation, &workspace);
    let denied = installation.wk(["approvals", "deny", "--wait", "600", &ticket[ticket.len() - 8..]]).output().unwrap();
    assert!(denied.status.success(), "{}", String::from_utf8_lossy(&denied.stderr));
    assert!(!session.wait().success());
    assert!(told.try_recv().is_err(), "something arrived");
    let left = installation.wk(["approvals", "list"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&left.stdout), "nothing is held\n");
}

#[test]
fn what_two_people_let_through_waits_for_the_second_and_for_no_stranger() {
    let (dir, _, workspace) = place();
    // Two more people, each with keys in a data folder of their own.
    let person = |name: &str| {
        let folder = dir.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        let person = Installation::new(&folder);
        assert!(person.wk(["rules", "coverage"]).output().unwrap().status.success());
        person.data().join("keys")
    };
    let (second, stranger) = (person("second"), person("stranger"));
    let config = dir.path().join("wk.toml");
    let key = second.join("approver.pub");
    std::fs::write(&config, format!("[watcher]\ntwo_person = [\"reach\"]\napprover_keys = [\"{}\"]\n", key.display()))
        .unwrap();
    let installation = Installation::with_options(dir.path(), ["--config", config.to_str().unwrap()]);
    let up = installation.up();
    let (mut session, told, ticket) = held(&installation, &workspace);
    let grant = |options: &[&str]| {
        let done = installation.wk(["approvals", "grant", "--wait", "600", &ticket]).args(options).output().unwrap();
        let said = [done.stdout, done.stderr].concat();
        (done.status.success(), String::from_utf8(said).unwrap())
    };
    let (is_taken, said) = grant(&["--key", stranger.join("approver.key").to_str().unwrap()]);
    assert!(!is_taken && said.contains("ApprovalNotAuthentic"), "{said}");
    for _ in 0..2 {
        let (is_taken, said) = grant(&["--reason", "it is ours"]);
        assert!(is_taken && said.contains("SecondPersonNeeded"), "{said}");
    }
    assert!(told.try_recv().is_err(), "one person twice is one person");
    let (is_taken, said) = grant(&["--key", second.join("approver.key").to_str().unwrap(), "--reason", "I agree"]);
    assert!(is_taken && said.contains("granted"), "{said}");
    assert_eq!(told.recv_timeout(crate::harness::PATIENCE).unwrap(), "hello");
    assert!(session.wait().success(), "{}", installation.printed("run"));
    assert!(up.stop().success());
    let rows = installation.sql("SELECT state FROM approvals");
    assert_eq!(rows, [serde_json::json!({"state": "GRANTED"})]);
}
