//! What a person does with `wk`, done: every subcommand, as processes, on the embedded log and on a real Kafka.

#[path = "../harness/mod.rs"]
mod harness;

mod bad_input;
mod boxed;
mod brokers;
mod bucket;
mod compact;
mod demo;
mod doors;
mod ephemeral;
mod hold;
mod instruct;
mod policy;
mod replay;
mod retention;
mod rules;
mod saved;
mod terminal;
mod verify;

use harness::Installation;
use serde_json::json;
use tempfile::TempDir;

/// An installation in a folder of its own, with a workspace beside its data.
fn place() -> (TempDir, Installation, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let workspace = dir.path().join("workspace");
    std::fs::create_dir(&workspace).unwrap();
    let installation = Installation::new(dir.path());
    (dir, installation, workspace.canonicalize().unwrap())
}

#[test]
fn any_program_is_recorded_and_its_exit_code_passes_through() {
    let (_dir, installation, workspace) = place();
    let done = installation.run(&[], &workspace, ["sh", "-c", "echo hello > note.txt; exit 7"]);
    assert_eq!(done.status.code(), Some(7), "{}", String::from_utf8_lossy(&done.stderr));
    let note = workspace.join("note.txt");
    let rows = installation
        .sql(&format!("SELECT operation, image FROM file_access WHERE path = '{}' ORDER BY operation", note.display()));
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0]["operation"], json!("CREATE"));
    let ended =
        installation.sql("SELECT session_ended['exit_code'] AS exit_code FROM records WHERE kind = 'session_ended'");
    assert_eq!(ended, [json!({"exit_code": 7})]);
    let verified = installation.wk(["verify"]).output().unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}

#[test]
fn a_session_finds_the_running_services_and_shows_in_the_lists() {
    let (_dir, installation, workspace) = place();
    let up = installation.up();
    let done = installation.run(&[], &workspace, ["true"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(up.stop().success());
    let sessions = installation.sql("SELECT session_id FROM sessions");
    let id = sessions[0]["session_id"].as_str().unwrap();
    let listed = installation.wk(["sessions"]).output().unwrap();
    assert!(String::from_utf8_lossy(&listed.stdout).contains(&id[..13]), "{listed:?}");
    let timeline = installation.wk(["timeline", id]).output().unwrap();
    assert!(timeline.status.success(), "{timeline:?}");
    assert!(String::from_utf8_lossy(&timeline.stdout).contains("true"), "{timeline:?}");
}

#[test]
fn a_data_folder_in_use_is_a_clear_error() {
    let (_dir, installation, _) = place();
    let up = installation.up();
    let second = installation.wk(["up"]).output().unwrap();
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(2));
    assert!(said.contains("in use by process") && said.contains(&up.pid().to_string()), "{said}");
}

#[test]
fn a_changed_byte_in_the_lake_is_found_and_named() {
    let (_dir, installation, workspace) = place();
    assert!(installation.run(&[], &workspace, ["true"]).status.success());
    let files = installation.data().join("lake/records");
    let day = std::fs::read_dir(&files)
        .unwrap()
        .flatten()
        .find(|e| e.file_name().to_string_lossy().starts_with("day="))
        .unwrap();
    let file = std::fs::read_dir(day.path()).unwrap().flatten().next().unwrap().path();
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let verified = installation.wk(["verify"]).output().unwrap();
    let said = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert_eq!(verified.status.code(), Some(1), "{said}");
    assert!(said.contains("INVALID") && said.contains(file.file_name().unwrap().to_str().unwrap()), "{said}");
}
