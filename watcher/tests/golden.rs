//! Recorded sessions still raise the findings that they raised, byte for byte.
//!
//! `golden/<name>.records` holds the datums of a session, each behind its length (4 bytes, big endian); `golden/<name>.txt` what
//! followed. A file that is not there is written by the test, which then fails, so that a person looks at it.

#![cfg(test)]

mod common;

use common::{Script, command_key, judge};
use std::fmt::Write as _;
use std::path::PathBuf;
use wk_schemas::{Body, Record, Topic, codec};
use wk_watcher::replay::replay;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn recorded(name: &str, make: fn(&str) -> Script) -> Vec<Record> {
    let file = path(&format!("{name}.records"));
    if !file.exists() {
        let mut bytes = Vec::new();
        for record in make(name).records {
            let datum = codec::encode(&record);
            bytes.extend_from_slice(&u32::try_from(datum.len()).unwrap().to_be_bytes());
            bytes.extend_from_slice(&datum);
        }
        std::fs::write(&file, bytes).unwrap();
    }
    common::datums(&std::fs::read(file).unwrap())
}

/// What followed, as a person reads it. Digests of rules and pack are left out: they change with every word of a rule.
fn told(outputs: &[(Topic, Record, Vec<u8>)]) -> String {
    let mut text = String::new();
    for (topic, record, _) in outputs {
        writeln!(text, "{topic} seq {} {}", record.header.seq, record.header.record_id).unwrap();
        match &record.body {
            Body::Finding(f) => {
                writeln!(text, "  {} {} {} ({})", f.step.as_str(), f.level.as_str(), f.title, f.source).unwrap();
                writeln!(text, "  {}", f.description).unwrap();
                let scores = [f.task_plan_score, f.plan_action_score, f.action_effect_score];
                writeln!(text, "  scores {scores:?}").unwrap();
                for id in &f.evidence {
                    writeln!(text, "  evidence {id}").unwrap();
                }
                for m in &f.matches {
                    writeln!(text, "  {}: {} = {}", m.selection, m.field, m.value).unwrap();
                }
            }
            Body::Command(c) => {
                writeln!(text, "  {} by {}: {}", c.instruction.as_str(), c.by, c.reason).unwrap();
                writeln!(text, "  void after {} s", c.expires_at.micros_since(c.issued_at) / 1_000_000).unwrap();
            }
            other => panic!("unexpected {other:?}"),
        }
    }
    text
}

fn check(name: &str, make: fn(&str) -> Script) {
    let records = recorded(name, make);
    let first = replay(&judge(), &command_key(), records.clone());
    let again = replay(&judge(), &command_key(), records);
    assert_eq!(first, again, "replaying twice gives other bytes");
    let text = told(&first);
    let file = path(&format!("{name}.txt"));
    match std::fs::read_to_string(&file) {
        Ok(expected) => assert_eq!(text, expected, "{}", file.display()),
        Err(_) => {
            std::fs::write(&file, &text).unwrap();
            panic!("{} was not there and has been written; look at it", file.display());
        }
    }
}

#[test]
fn an_honest_session_raises_nothing() {
    check("honest", common::honest);
    assert_eq!(std::fs::read_to_string(path("honest.txt")).unwrap(), "");
}

#[test]
fn a_key_read_and_then_a_host_that_no_plan_names_freezes_the_session_while_the_connection_is_held() {
    check("secret-then-egress", common::secret_then_egress);
}

#[test]
fn a_script_that_reads_the_key_behind_the_tool_calls_back_is_told() {
    check("unmediated-script", common::unmediated_script);
}
