//! A session weighs no more than is stated, whatever its agent does: endless calls, names and values as long as they may be.

#![cfg(test)]

mod common;

use common::{AGENT, Script, by, command_key, judge};
use std::fmt::Write as _;
use wk_schemas::body::*;
use wk_schemas::{Origin, Topic};
use wk_watcher::replay::Replay;

/// What `README.md` states: a session saved to disk is at most so large.
const SESSION_BYTES_MAX: usize = 16 << 20;
/// Rounds of the script; every list of the session is full after that.
const ROUNDS: usize = 300;

/// Every record that is kept something of, each with texts that were never there before and are far too long.
fn endless() -> Script {
    let mut s = Script::new("endless");
    s.start();
    for i in 0..ROUNDS {
        let long = |what: &str, bytes: usize| format!("/{what}-{i}-{}", "x".repeat(bytes));
        if i % 50 == 0 {
            s.prompt(&long("prompt", 20_000));
            let step = long("step", 2_000);
            s.plan(&[step.as_str(); 100]);
        }
        let call = long("call", 4_000);
        s.call(&call, &long("tool", 4_000), "shell", "{}", Some(&format!("cat {}", long("file", 4_000))));
        let mut output = String::new();
        (0..20).for_each(|n| writeln!(output, "see https://h{n}.example/{} now", long("value", 1_000)).unwrap());
        s.returned(&call, &output);
        for n in 0..4 {
            let mut program = ProcessStarted {
                actor: AGENT.actor(),
                arguments: vec![long("program", 4_000)],
                command_line: long("program", 4_000),
                working_directory: common::WORKSPACE.into(),
                parent_pid: 1,
                parent_process_uid: long("parent", 4_000),
                parent_image: AGENT.image.into(),
                parent_command_line: String::new(),
                outcome: Outcome::Allowed,
                errno: None,
                reason: None,
            };
            program.actor.process_uid = long(&format!("uid-{n}"), 4_000);
            program.actor.image = long("image", 4_000);
            program.actor.tool_call_id = Some(call.clone());
            s.push(Origin::Kernel, program);
        }
        let cat = by(3, "/usr/bin/cat", "c", Mediation::Inherited);
        s.read(cat, &format!("/home/alice/.ssh{}/id_rsa", long("key", 3_000)));
        s.write(cat, &format!("/etc{}", long("place", 3_000)));
        s.file(
            cat,
            FileOperation::Unlink,
            &format!("{}/{}", common::WORKSPACE, long("gone", 3_000)),
            Outcome::Succeeded,
        );
        let (a, b) = (i / 200, i % 200);
        s.connect(cat, (&format!("198.50.{a}.{b}"), 443), Outcome::Denied, Some("nobody allowed it"));
        s.connect(cat, (&format!("198.51.{a}.{b}"), 443), Outcome::Denied, Some("nobody allowed it"));
        s.held(cat, (&format!("203.0.{a}.{b}"), 443));
        let name = NameResolved {
            actor: cat.actor(),
            name: format!("{}.example.org", "n".repeat(4_000)),
            record_type: "TXT".into(),
            addresses: vec![format!("192.0.{a}.{b}")],
            outcome: Outcome::Succeeded,
        };
        s.push(Origin::Kernel, name);
    }
    s
}

#[test]
fn a_session_is_never_larger_than_is_stated_and_comes_back_from_disk_as_it_was() {
    let (judge, mut replay) = (judge(), Replay::default());
    let script = endless();
    let (mut largest, count) = (0, script.records.len());
    for (number, record) in script.records.into_iter().enumerate() {
        replay.sealed(&judge, &command_key(), Topic::Events, record);
        if number % 1_000 == 0 || number + 1 == count {
            let session = replay.session(&script.session).unwrap();
            let saved = serde_json::to_vec(session).unwrap();
            largest = largest.max(saved.len());
            assert_eq!(&serde_json::from_slice::<wk_watcher::Session>(&saved).unwrap(), session);
        }
    }
    eprintln!("{count} records of one session; saved, it was at most {} KiB", largest >> 10);
    assert!(largest <= SESSION_BYTES_MAX, "{largest} bytes");
}
