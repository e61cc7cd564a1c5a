//! Whole sessions, with real processes and the embedded log.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod boxed;
mod containers;
mod mcp;
mod otel;
mod stage;

use stage::{Stage, await_change, await_text, count, started_programs};
use std::process::{Command, Stdio};
use std::time::Duration;
use wk_schemas::body::{FileOperation, Instruction, Mediation};
use wk_schemas::{Body, Kind};
use wk_shim::session::{SessionError, drain_leftovers};

/// Counts up in a file for ever, with a new process each time.
const COUNTER: &str = "i=0; while true; do i=$((i+1)); echo $i > counter; sleep 0.01; done";

#[test]
fn a_session_is_recorded_in_order_from_start_to_end_and_its_exit_code_is_passed_on() {
    let stage = Stage::new();
    let session = stage.begin(stage.config(&["sh", "-c", "echo hi > made; cat made; exit 7"]));
    let id = session.id.clone();
    let end = session.end();
    assert_eq!((end.code(), end.reason, end.waiting), (7, "exited", 0));
    let records = stage.chain(&id);
    assert_eq!(records[0].kind(), Kind::SessionStarted);
    assert_eq!(records[1].kind(), Kind::PolicyApplied);
    assert_eq!(records.last().unwrap().kind(), Kind::SessionEnded);
    assert!(started_programs(&records).contains(&"cat made".to_owned()), "{:?}", started_programs(&records));
    let made = stage.workspace().join("made").display().to_string();
    let written = records.iter().any(|r| match &r.body {
        Body::FileAccessed(f) => f.path == made && f.operation == FileOperation::Create,
        _ => false,
    });
    assert!(written, "the file that was made is recorded");
    assert!(!stage.data().join("outbox").join(id.as_str()).exists(), "an outbox that is empty is removed");
}

/// Each session looks for what others left while it runs, and finds those that are just ending.
#[test]
fn sessions_that_end_beside_each_other_leave_nothing_and_send_nothing_twice() {
    let stage = Stage::new();
    let ids: Vec<_> = std::thread::scope(|scope| {
        let one_after_another = || {
            let run = |_| {
                let session = stage.begin(stage.config(&["true"]));
                let id = session.id.clone();
                assert_eq!(session.end().waiting, 0);
                id
            };
            (0..4).map(run).collect::<Vec<_>>()
        };
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(one_after_another)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    for id in &ids {
        assert_eq!(count(&stage.chain(id), Kind::SessionEnded), 1);
    }
    let left: Vec<_> =
        std::fs::read_dir(stage.data().join("outbox")).unwrap().flatten().map(|e| e.file_name()).collect();
    assert_eq!(left, ["opening"], "outboxes that are empty are removed");
}

/// What a shim leaves that is killed while it removes its outbox.
#[test]
fn an_outbox_that_was_being_removed_is_not_sent_again() {
    let stage = Stage::new();
    let half = stage.data().join("outbox/some-session.sent");
    std::fs::create_dir_all(&half).unwrap();
    std::fs::write(half.join("spool-0"), "half of it").unwrap();
    assert_eq!(drain_leftovers(&stage.data().join("outbox"), &stage.log(), Duration::from_secs(300)).unwrap(), []);
    assert!(!half.exists());
    assert_eq!(stage.records(), []);
}

#[test]
fn what_an_agent_says_on_the_socket_explains_what_it_does() {
    let stage = Stage::new();
    let shim = env!("CARGO_BIN_EXE_wk-shim");
    let agent = format!(
        r#"
        {shim} emit '{{"type":"agent","name":"tester","version":"1"}}'
        {shim} emit '{{"type":"prompt","text":"read the file"}}'
        {shim} emit '{{"type":"plan","steps":["read the file"]}}'
        {shim} emit '{{"type":"tool_called","id":"c1","tool":"shell","command":"cat one two","working_directory":"{w}"}}'
        bash -c 'cat one two'
        {shim} emit '{{"type":"tool_returned","id":"c1","success":true,"output":"12"}}'
        bash -c 'cat secret'
        "#,
        w = stage.workspace().display()
    );
    for name in ["one", "two", "secret"] {
        std::fs::write(stage.workspace().join(name), name).unwrap();
    }
    let session = stage.begin(stage.config(&["sh", "-c", &agent]));
    let id = session.id.clone();
    let end = session.end();
    let records = stage.chain(&id);
    assert_eq!(end.exit_code, Some(0), "{end:?} {:?}", records.last());
    let mediation = |name: &str| {
        let path = stage.workspace().join(name).display().to_string();
        records.iter().find_map(|r| match &r.body {
            Body::FileAccessed(f) if f.path == path => Some((f.actor.tool_call_id.clone(), f.actor.mediation)),
            _ => None,
        })
    };
    assert_eq!(mediation("one"), Some((Some("c1".into()), Mediation::Declared)));
    assert_eq!(mediation("secret"), Some((None, Mediation::None)));
    for kind in [Kind::PromptSubmitted, Kind::PlanDeclared, Kind::ToolCalled, Kind::ToolReturned] {
        assert_eq!(count(&records, kind), 1, "{kind}");
    }
    assert_eq!(records.last().unwrap().header.agent_name.as_deref(), Some("tester"));
}

#[test]
fn a_signed_command_freezes_the_whole_tree_and_another_lets_it_go_on() {
    let stage = Stage::new();
    let session = stage.begin(stage.config(&["sh", "-c", COUNTER]));
    let counter = stage.workspace().join("counter");
    await_change(&counter, "");
    let freeze = stage.command(&session.id, Instruction::Freeze, None);
    let frozen = stage.await_record(&session.id, Kind::SessionFrozen, 0);
    assert_eq!(frozen.header.caused_by, [freeze]);
    let Body::SessionFrozen(fact) = frozen.body else { panic!() };
    assert_eq!(fact.command_id, Some(freeze));
    eprintln!("frozen by {} in {} µs, {} processes", fact.method, fact.took_us, fact.processes);
    let before = std::fs::read_to_string(&counter).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(std::fs::read_to_string(&counter).unwrap(), before, "nothing runs while frozen");
    stage.command(&session.id, Instruction::Resume, None);
    await_change(&counter, &before);
    stage.command(&session.id, Instruction::Kill, None);
    let id = session.id.clone();
    let end = session.end();
    assert_eq!(end.reason, "killed");
    let records = stage.chain(&id);
    for kind in [Kind::SessionFrozen, Kind::SessionResumed, Kind::SessionKilled, Kind::SessionEnded] {
        assert_eq!(count(&records, kind), 1, "{kind}");
    }
}

#[test]
fn a_policy_is_narrowed_at_once_and_widened_when_a_person_agrees() {
    const LOOK: &str = "until [ -e done ]; do if cat guarded/key > /dev/null 2>&1; then echo open; else echo shut; fi > now; mv now said; sleep 0.02; done";
    let stage = Stage::new();
    std::fs::create_dir_all(stage.workspace().join("guarded")).unwrap();
    std::fs::write(stage.workspace().join("guarded/key"), "key").unwrap();
    let session = stage.begin(stage.config(&["/bin/sh", "-c", LOOK]));
    let said = stage.workspace().join("said");
    await_text(&said, "open");
    let open = std::fs::read_to_string(stage.folder.path().join("open.toml")).unwrap();
    let rule = "[[files.rules]]\nmatch = \"${workspace}/guarded/**\"\naction = \"deny\"\nreason = \"not now\"\n";
    let shut = format!("{open}\n[files]\ndefault = \"allow\"\n{rule}");
    stage.apply_policy(&session.id, &shut);
    await_text(&said, "shut");
    // As it was before: that allows more, so it is asked about, and nothing changes until there is an answer.
    stage.apply_policy(&session.id, &open);
    let asked = stage.await_record(&session.id, Kind::ApprovalRequested, 0);
    let Body::ApprovalRequested(question) = asked.body else { panic!("{asked:?}") };
    assert_eq!(question.action, "apply_policy");
    std::fs::remove_file(&said).unwrap();
    await_text(&said, "shut");
    stage.command(&session.id, Instruction::Grant, Some(question.ticket));
    await_text(&said, "open");
    std::fs::write(stage.workspace().join("done"), "").unwrap();
    let id = session.id.clone();
    assert_eq!(session.end().exit_code, Some(0));
    let records = stage.chain(&id);
    let applied: Vec<_> = records
        .iter()
        .filter_map(
            |record| if let Body::PolicyApplied(body) = &record.body { Some(body.source.as_str()) } else { None },
        )
        .collect();
    assert_eq!(applied[1..], ["command", "command", "command and approval"]);
    let last = records.iter().rfind(|record| record.kind() == Kind::PolicyApplied).unwrap();
    let end = records.last().unwrap();
    let Body::PolicyApplied(body) = &last.body else { panic!("{last:?}") };
    assert_eq!((end.kind(), end.header.policy_digest.as_deref()), (Kind::SessionEnded, Some(body.digest.as_str())));
}

#[test]
fn with_the_log_away_the_agent_goes_on_to_the_limit_then_stands_still_and_everything_arrives_once() {
    let mut stage = Stage::new();
    let mut config = stage.config(&["sh", "-c", COUNTER]);
    config.config.outbox_records_max = 2000;
    let session = stage.begin(config);
    let counter = stage.workspace().join("counter");
    // The shim may need seconds to reach the log at first, and the agent may meet the limit meanwhile. A session under way is
    // one whose records arrive and whose agent goes on.
    stage.await_record(&session.id, Kind::SessionStarted, 0);
    let arrived = std::fs::read_to_string(&counter).unwrap_or_default();
    let while_there = await_change(&counter, &arrived);
    stage.stop_log();
    await_change(&counter, &while_there);
    // It stands still when the counter no longer moves.
    let mut before = String::new();
    for _ in 0..600 {
        let now = std::fs::read_to_string(&counter).unwrap();
        if now == before && !now.is_empty() {
            break;
        }
        before = now;
        std::thread::sleep(Duration::from_millis(500));
    }
    stage.start_log();
    await_change(&counter, &before);
    let frozen = stage.await_record(&session.id, Kind::SessionFrozen, 0);
    let Body::SessionFrozen(fact) = frozen.body else { panic!() };
    assert!(fact.command_id.is_none() && fact.reason.contains("nearly full"), "{}", fact.reason);
    stage.await_record(&session.id, Kind::SessionResumed, 0);
    stage.command(&session.id, Instruction::Kill, None);
    let id = session.id.clone();
    let end = session.end();
    assert_eq!((end.reason, end.waiting), ("killed", 0));
    // `chain` fails on a gap, on a repetition, and on a record out of order.
    assert_eq!(stage.chain(&id).last().unwrap().kind(), Kind::SessionEnded);
}

#[test]
fn without_a_log_nothing_is_started() {
    let mut stage = Stage::new();
    let mut config = stage.config(&["sh", "-c", "touch ran"]);
    config.config.connect_patience = Duration::from_secs(1);
    stage.stop_log();
    let error = wk_shim::session::run_session(&config, |_| ()).unwrap_err();
    assert!(matches!(error, SessionError::NoLog { .. }), "{error}");
    assert!(!stage.workspace().join("ran").exists());
    stage.start_log();
}

#[test]
fn a_killed_shim_takes_the_agent_with_it_and_its_records_are_brought_home_later() {
    let stage = Stage::new();
    let log = stage.log();
    write_public_key(&stage);
    let mut shim = Command::new(env!("CARGO_BIN_EXE_wk-shim"))
        .args(["--brokers", &log.brokers.bootstrap, "--registry", &log.registry.url])
        .arg("--data")
        .arg(stage.data())
        .args(["run", "--policy", "observe", "--", "sh", "-c", COUNTER])
        .current_dir(stage.workspace())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let counter = stage.workspace().join("counter");
    let first = await_change(&counter, "");
    await_change(&counter, &first);
    shim.kill().unwrap();
    shim.wait().unwrap();
    // What was on its way into the kernel when the shim died may still land.
    std::thread::sleep(Duration::from_millis(300));
    let before = std::fs::read_to_string(&counter).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(std::fs::read_to_string(&counter).unwrap(), before, "the agent does not go on unobserved");

    let left = drain_leftovers(&stage.data().join("outbox"), &log, Duration::from_secs(300)).unwrap();
    assert_eq!(left.len(), 1);
    assert!(left[0].had_died && left[0].waiting == 0, "{left:?}");
    let records = stage.chain(&left[0].session_id);
    let Body::SessionEnded(end) = &records.last().unwrap().body else { panic!() };
    assert_eq!(end.reason, "shim_failed");
    let programs = started_programs(&records);
    let counted = programs.iter().filter(|p| *p == "sleep 0.01").count();
    let said: usize = before.trim().parse().unwrap();
    assert!(counted + 1 >= said, "{said} rounds left {counted} records");
    assert_eq!(drain_leftovers(&stage.data().join("outbox"), &log, Duration::from_secs(1)).unwrap(), []);
}

pub(crate) fn write_public_key(stage: &Stage) {
    use ed25519_dalek::pkcs8::EncodePublicKey as _;
    use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
    let pem = stage.key.verifying_key().to_public_key_pem(LineEnding::LF).unwrap();
    std::fs::write(stage.data().join("keys/command.pub"), pem).unwrap();
}
