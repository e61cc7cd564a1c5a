//! What a journal promises, also to a shim that is killed and on a disk that is full.

use super::{Event, Identity, Journal, Limits, Pressure, RecordError, Recorder};
use crate::outbox::Acked;
use crate::spool::Spool;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use wk_schemas::body::SessionResumed;
use wk_schemas::{Body, Chain, Digest, MAX_RECORD_BYTES, Origin, Record, SessionId, Timestamp, codec};

fn identity(session: &str) -> Identity {
    Identity {
        session_id: SessionId::parse(session).unwrap(),
        tenant: "default".into(),
        host: "here".into(),
        agent_name: None,
        agent_version: None,
        agent_model: None,
        principal: None,
        policy_digest: None,
    }
}

const ROOMY: Limits = Limits { records_max: 1_000_000, bytes_max: 1 << 30 };

fn event(text: &str, origin: Origin) -> Event {
    let body = SessionResumed { command_id: None, took_us: 0, reason: text.into() };
    Event { origin, caused_by: Vec::new(), occurred_at: Timestamp(1), body: body.into() }
}

fn stored(folder: &Path) -> Vec<Record> {
    let journal = Journal::open(folder, identity("s"), ROOMY).unwrap();
    let records = journal.read_from(0, usize::MAX).unwrap();
    let mut chain = Chain::default();
    let out = records
        .iter()
        .map(|(seq, datum)| {
            let record = codec::decode(datum).unwrap();
            assert_eq!(*seq, record.header.seq);
            chain.follow(record.header.seq, record.header.prev_digest, datum).unwrap();
            record
        })
        .collect();
    journal.close().unwrap();
    out
}

fn reason(record: &Record) -> &str {
    match &record.body {
        Body::SessionResumed(body) => &body.reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_closed_journal_is_continued_where_it_ended() {
    let folder = tempfile::tempdir().unwrap();
    for part in 0..3 {
        let journal = Journal::open(folder.path(), identity("s"), ROOMY).unwrap();
        for n in 0..5 {
            journal.record(event(&format!("{part}/{n}"), Origin::Kernel)).unwrap();
        }
        journal.close().unwrap();
    }
    let reasons: Vec<_> = stored(folder.path()).iter().map(|r| reason(r).to_owned()).collect();
    let expected: Vec<_> = (0..3).flat_map(|p| (0..5).map(move |n| format!("{p}/{n}"))).collect();
    assert_eq!(reasons, expected);
    assert_eq!(Journal::identity_in(folder.path()).unwrap(), Some(identity("s")));
}

#[test]
fn what_was_acknowledged_is_gone_and_the_chain_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path(), identity("s"), ROOMY).unwrap();
    for n in 0..4 {
        journal.record_durable(event(&n.to_string(), Origin::Kernel)).unwrap();
    }
    let sent = journal.read_from(0, 9).unwrap();
    let datum = sent[3].1.to_vec();
    journal.acknowledge(&Acked { seq: 3, partition: 0, offset: 9, datum: datum.clone() }, 4, 1).unwrap();
    journal.close().unwrap();
    drop(journal);
    let journal = Journal::open(folder.path(), identity("s"), ROOMY).unwrap();
    assert!(journal.read_from(0, 9).unwrap().is_empty());
    journal.record(event("next", Origin::Kernel)).unwrap();
    let next = codec::decode(&journal.read_from(0, 9).unwrap()[0].1).unwrap();
    assert_eq!((next.header.seq, next.header.prev_digest), (4, Digest::of(&datum)));
    journal.close().unwrap();
}

#[test]
fn what_an_earlier_version_kept_in_its_database_is_taken_over_once() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path(), identity("s"), ROOMY).unwrap();
    for n in 0..6 {
        journal.record(event(&n.to_string(), Origin::Kernel)).unwrap();
    }
    let written = journal.read_from(0, 9).unwrap();
    journal.close().unwrap();
    drop(journal);
    // As that version left it when it was killed: all but the last two in the database, and all but the first two in the spool.
    for entry in fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_file()) {
        fs::remove_file(entry).unwrap();
    }
    let (mut spool, _) = Spool::open(folder.path(), 0).unwrap();
    for (seq, datum) in &written[2..] {
        spool.append(*seq, datum, Digest::of(datum)).unwrap();
    }
    let database = sled::open(folder.path().join("db")).unwrap();
    let records = database.open_tree("records").unwrap();
    for (seq, datum) in &written[..4] {
        records.insert(seq.to_be_bytes(), &**datum).unwrap();
    }
    drop((records, database, spool));
    for _ in 0..2 {
        let journal = Journal::open(folder.path(), identity("s"), ROOMY).unwrap();
        assert_eq!((journal.read_from(0, 9).unwrap(), journal.waiting().0), (written.clone(), 6));
        journal.close().unwrap();
    }
}

#[test]
fn a_full_outbox_presses_before_it_refuses_and_keeps_room_for_the_shims_last_words() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { records_max: 10, bytes_max: 1 << 20 };
    let journal = Journal::open(folder.path(), identity("s"), limits).unwrap();
    for n in 0..7 {
        journal.record(event(&n.to_string(), Origin::Kernel)).unwrap();
    }
    let watching = Arc::clone(&journal);
    let guard = std::thread::spawn(move || watching.pressure_after(Pressure::Low));
    journal.record(event("7", Origin::Kernel)).unwrap();
    assert_eq!(guard.join().unwrap(), Some(Pressure::High));
    journal.record(event("8", Origin::Kernel)).unwrap();
    journal.record(event("9", Origin::Kernel)).unwrap();
    let error = journal.record(event("10", Origin::Kernel)).unwrap_err();
    assert!(matches!(error, RecordError::Full { .. }), "{error}");
    journal.record(event("last words", Origin::Shim)).unwrap();
    let last = journal.read_from(6, 1).unwrap()[0].1.to_vec();
    journal.acknowledge(&Acked { seq: 6, partition: 0, offset: 6, datum: last }, 7, 0).unwrap();
    assert_eq!(journal.pressure_after(Pressure::High), Some(Pressure::Low));
    journal.close().unwrap();
}

#[test]
fn a_record_that_is_too_big_is_recorded_as_lost() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path(), identity("s"), ROOMY).unwrap();
    journal.record(event(&"x".repeat(MAX_RECORD_BYTES), Origin::Kernel)).unwrap();
    journal.close().unwrap();
    drop(journal);
    let Body::RecordsLost(lost) = &stored(folder.path())[0].body else { panic!() };
    assert!(lost.reason.starts_with("a session_resumed of "), "{}", lost.reason);
}

/// Runs one test of this file in a process of its own, with `folder` in its environment.
fn alone(test: &str, folder: &Path, wrapper: &[&str]) -> Command {
    let program = std::env::current_exe().unwrap();
    let mut words: Vec<std::ffi::OsString> = wrapper.iter().map(Into::into).collect();
    words.push(program.into());
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).args(["--exact", "--nocapture", "--test-threads=1"]);
    command.arg(format!("recorder::tests::{test}")).env("WK_TEST_FOLDER", folder);
    command
}

#[expect(clippy::disallowed_methods, reason = "how a test that runs itself is told its folder")]
fn folder_of_child() -> Option<PathBuf> {
    std::env::var_os("WK_TEST_FOLDER").map(Into::into)
}

/// The child of the next test: says how many records were taken, until it is killed.
#[test]
fn child_that_records_until_it_is_killed() {
    use std::io::Write;
    let Some(folder) = folder_of_child() else { return };
    let journal = Journal::open(&folder, identity("s"), ROOMY).unwrap();
    for n in 0_u64.. {
        journal.record(event(&n.to_string(), Origin::Kernel)).unwrap();
        writeln!(std::io::stdout(), "taken {n}").unwrap();
    }
}

#[test]
fn what_counts_as_taken_survives_kill_9_at_any_moment() {
    use std::io::{BufRead, BufReader};
    for lines in [1_usize, 40, 400, 4000, 12000] {
        let folder = tempfile::tempdir().unwrap();
        let mut command = alone("child_that_records_until_it_is_killed", folder.path(), &[]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut taken = 0;
        for line in output.lines() {
            let line = line.unwrap();
            // The test harness prints its own words before the first line.
            if let Some((_, n)) = line.rsplit_once("taken ") {
                taken = n.parse::<usize>().unwrap() + 1;
            }
            if taken == lines {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        let records = stored(folder.path());
        assert!(records.len() >= taken, "{} of {taken}", records.len());
        for (n, record) in records.iter().enumerate() {
            assert_eq!(reason(record), n.to_string());
        }
    }
}

/// The child of the next test: fills its disk, and must still get its last words out.
#[test]
fn child_that_fills_its_disk() {
    let Some(folder) = folder_of_child() else { return };
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "none"]).arg(&folder).status();
    assert!(mounted.unwrap().success());
    let folder = folder.join("outbox");
    let journal = Journal::open(&folder, identity("s"), ROOMY).unwrap();
    let text = "x".repeat(10_000);
    let mut taken = 0;
    let error = loop {
        match journal.record(event(&text, Origin::Kernel)) {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(&error, RecordError::Storage { detail } if detail.contains("No space left")), "{error}");
    assert_eq!(journal.pressure_after(Pressure::Low), Some(Pressure::Failed));
    journal.record(event("last words", Origin::Shim)).unwrap();
    assert!(journal.record(event("more", Origin::Kernel)).is_err());
    // What was taken is still there to be sent, last words included.
    let mut seq = 0;
    while let Some((next, _)) = journal.read_from(seq, 100).unwrap().last() {
        seq = next + 1;
    }
    assert_eq!(seq, taken + 1);
}

#[test]
fn a_full_disk_stops_recording_by_name_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let can_mount = Command::new("unshare").args(["-m", "true"]).status().is_ok_and(|s| s.success());
    if !can_mount {
        eprintln!("SKIPPED: a full disk: `unshare -m` is refused here");
        return;
    }
    let status = alone("child_that_fills_its_disk", folder.path(), &["unshare", "-m"]).status().unwrap();
    assert!(status.success());
}
