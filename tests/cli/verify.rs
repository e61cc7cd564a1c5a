//! `wk verify` of a part, and the proof of one record that others can check; `wk publish`.

use crate::{harness, place};
use serde_json::Value;
use std::process::Command;

#[test]
fn a_part_is_verified_and_a_record_is_proven_to_others() {
    let (dir, installation, workspace) = place();
    assert!(installation.run(&[], &workspace, ["true"]).status.success());
    let first = &installation
        .sql("SELECT session_id, topic, partition, \"offset\", day FROM records ORDER BY seq, topic LIMIT 1")[0];
    let text = |name: &str| first[name].as_str().unwrap().to_owned();
    let record = format!("{}/{}@{}", text("topic"), first["partition"], first["offset"]);
    let proof = dir.path().join("proof");
    let folder = proof.to_str().unwrap();
    let session = text("session_id");
    for (arguments, scope) in [
        (vec!["--day", &text("day")], format!("day {}", text("day"))),
        (vec!["--session", &session[..13]], format!("session {session}")),
        (vec!["--record", &record, "--proof", folder], format!("record {record}")),
    ] {
        let done = installation.wk(["verify", "--json"].iter().chain(&arguments)).output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(0), "{arguments:?}: {said}{}", String::from_utf8_lossy(&done.stdout));
        let report: Value = serde_json::from_slice(&done.stdout).unwrap();
        assert_eq!(report["scope"], scope.as_str());
    }
    let vkey = std::fs::read_to_string(proof.join("key.vkey")).unwrap();
    let note = std::fs::read_to_string(proof.join("commit.tlog-proof")).unwrap();
    assert!(note.starts_with("c2sp.org/tlog-proof@v1\nindex "), "{note}");
    assert!(vkey.starts_with("watchkeeper/"), "{vkey}");
    let missing = installation.wk(["verify", "--record", "agent.session.events.v1/0@999999"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&missing.stdout).contains("so 999999 is not in the lake"));
    let wrong = installation.wk(["verify", "--day", "yesterday"]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("`yesterday` is no day"));
}

#[test]
fn publishing_to_nobody_and_to_somebody_who_is_not_there_is_said() {
    let (_dir, installation, workspace) = place();
    assert!(installation.run(&[], &workspace, ["true"]).status.success());
    let publish = |arguments: &[&str]| {
        let mut command: Command = installation.wk(["publish"].iter().chain(arguments));
        let done = command.output().unwrap();
        (
            done.status.code(),
            String::from_utf8_lossy(&done.stdout).into_owned(),
            String::from_utf8_lossy(&done.stderr).into_owned(),
        )
    };
    let (code, _, said) = publish(&[]);
    assert_eq!(code, Some(2));
    assert!(said.contains("nobody to publish to"), "{said}");
    // Port 1 of loopback: nobody listens there.
    let (code, out, said) = publish(&["--webhook", "http://127.0.0.1:1/"]);
    assert_eq!(code, Some(1), "{out}{said}");
    assert!(
        out.contains("kept in log/published/") && said.contains("http://127.0.0.1:1/: failed to ask"),
        "{out}{said}"
    );
    let kept = harness::eventually("the published checkpoint", || {
        std::fs::read_dir(installation.data().join("lake/log/published")).ok()?.flatten().next()
    });
    assert!(kept.path().join("checkpoint").is_file());
    assert!(installation.wk(["verify"]).output().unwrap().status.success());
}

#[test]
fn what_a_notebook_knows_is_not_read_again_and_hides_nothing() {
    let (dir, installation, workspace) = place();
    assert!(installation.run(&[], &workspace, ["true"]).status.success());
    let notebook = dir.path().join("notebook.json");
    let verify = |code| {
        let done = installation.wk(["verify", "--json", "--notebook", notebook.to_str().unwrap()]).output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(code), "{said}{}", String::from_utf8_lossy(&done.stdout));
        (serde_json::from_slice::<Value>(&done.stdout).unwrap_or_default(), said)
    };
    let (first, _) = verify(0);
    assert_eq!(first["noted"], 0);
    let (again, _) = verify(0);
    assert_eq!((&again["noted"], &again["records"]), (&first["records"], &first["records"]));
    assert!(installation.run(&[], &workspace, ["true"]).status.success());
    let (more, _) = verify(0);
    assert_eq!(more["noted"], first["records"]);
    assert!(more["records"].as_u64() > first["records"].as_u64());

    let lake = installation.data().join("lake/records");
    let day =
        std::fs::read_dir(lake).unwrap().map(|e| e.unwrap().path()).find(|p| p.display().to_string().contains("day="));
    let file = std::fs::read_dir(day.unwrap()).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let kept = std::fs::read(&notebook).unwrap();
    let (bent, _) = verify(1);
    assert!(bent["findings"].to_string().contains("the commit says"), "{bent}");
    assert_eq!(std::fs::read(&notebook).unwrap(), kept);

    std::fs::write(&notebook, "{").unwrap();
    let (_, said) = verify(2);
    assert!(
        said.contains("is no notebook of a verification, or not whole; without it everything is read anew"),
        "{said}"
    );
}
