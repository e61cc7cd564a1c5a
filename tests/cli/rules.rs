//! `wk rules`: what a rule author does, on a laptop and in CI.

use super::place;
use crate::harness::Installation;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

const RULE: &str = "\
title: NotesRead
id: 5d1d0b3e-0000-4000-8000-000000000001
tags: [attack.collection]
logsource:
    category: file_event
    product: linux
detection:
    notes:
        TargetFilename|endswith: /notes.txt
    condition: notes
watchkeeper:
    tests:
        positive: [{TargetFilename: /x/notes.txt}]
        negative: [{TargetFilename: /x/other.txt}]
";

fn rules(installation: &Installation, arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = installation.wk(["rules"]).args(arguments).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

fn git(folder: &Path, arguments: &[&str]) {
    let who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"];
    let done = Command::new("git").current_dir(folder).args(who).args(arguments).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn faults_are_shown_with_their_place_and_fail_in_ci() {
    let (dir, installation, _) = place();
    let file = dir.path().join("notes.yml");
    std::fs::write(&file, RULE).unwrap();
    let path = file.to_str().unwrap();
    let (code, said, _) = rules(&installation, &["lint", "--strict", "--rules", path]);
    assert_eq!((code, said.as_str()), (Some(0), "1 rules load, 0 errors, 0 warnings\n"));
    let (code, said, _) = rules(&installation, &["test", "--format", "junit", "--rules", path]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("tests=\"2\" failures=\"0\""), "{said}");

    std::fs::write(&file, RULE.replace("|endswith", "|endwith")).unwrap();
    let (code, said, _) = rules(&installation, &["lint", "--rules", path]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&format!("--> {path}:9:")) && said.contains("^"), "{said}");
    let (code, said, _) = rules(&installation, &["lint", "--format", "json", "--rules", path]);
    let found: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &found["errors"][0]["line"]), (Some(1), &Value::from(9)));

    std::fs::write(
        &file,
        RULE.replace("positive: [{TargetFilename: /x/notes.txt}]", "positive: [{TargetFilename: /y}]"),
    )
    .unwrap();
    let (code, said, _) = rules(&installation, &["test", "--rules", path]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("NotesRead: positive test 0: did not match"), "{said}");

    let (code, _, complaint) = rules(&installation, &["lint", "--rules", "/nowhere.yml"]);
    assert_eq!(code, Some(2), "{complaint}");
    assert!(complaint.contains("/nowhere.yml"), "{complaint}");
}

#[test]
fn a_rule_is_explained_and_tried_on_what_the_lake_holds_before_it_is_shipped() {
    let (dir, installation, workspace) = place();
    std::fs::write(workspace.join("notes.txt"), "buy milk").unwrap();
    assert!(installation.run(&[], &workspace, ["cat", "notes.txt"]).status.success());
    let session = installation.sql("SELECT session_id FROM sessions")[0]["session_id"].as_str().unwrap().to_owned();

    let folder = dir.path().join("rules");
    std::fs::create_dir(&folder).unwrap();
    let file = folder.join("notes.yml");
    std::fs::write(&file, RULE.replace("/notes.txt\n", "/diary.txt\n")).unwrap();
    git(&folder, &["init", "-q"]);
    git(&folder, &["add", "."]);
    git(&folder, &["commit", "-q", "-m", "diary"]);
    let path = folder.to_str().unwrap();
    let (code, said, complaint) = rules(&installation, &["explain", "NotesRead", &session, "--rules", path]);
    assert_eq!(code, Some(1), "{said}{complaint}");
    assert!(said.contains("does not match") && said.contains("TargetFilename"), "{said}");

    std::fs::write(&file, RULE).unwrap();
    let (code, said, complaint) = rules(&installation, &["explain", "NotesRead", &session, "--rules", path]);
    assert_eq!(code, Some(0), "{said}{complaint}");
    assert!(said.contains("matches") && said.contains("/notes.txt"), "{said}");

    let (code, said, complaint) =
        rules(&installation, &["backtest", "--since", "1d", "--diff", "HEAD", "--format", "json", "--rules", path]);
    assert_eq!(code, Some(0), "{complaint}");
    let found: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(found["changes"]["rules"][0]["rule"], "NotesRead");
    assert_eq!(found["changes"]["rules"][0]["newly"][0], session.as_str());
    assert_eq!(found["tally"]["rules"]["NotesRead"]["findings"], 1);
}

#[test]
fn the_pack_is_described_and_stays_within_its_budget() {
    let (_dir, installation, _) = place();
    let (code, said, _) = rules(&installation, &["coverage", "--json"]);
    let covered: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(code, Some(0));
    assert!(covered["attack"].as_object().unwrap().len() >= 50, "{said}");
    let (_, said, _) = rules(&installation, &["docs"]);
    assert!(said.contains("## SecretReadThenEgress"), "{}", said.len());
    let benign = concat!(env!("CARGO_MANIFEST_DIR"), "/watcher/tests/benign/sessions.jsonl.xz");
    let (code, said, complaint) = rules(&installation, &["backtest", "--benign", "--sessions", benign]);
    assert_eq!(code, Some(0), "{said}{complaint}");
    assert!(said.contains("in 200 actions"), "{said}");
}
