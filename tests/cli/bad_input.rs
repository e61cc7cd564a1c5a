//! Bad input gets an error that names what, where, and what to do.

use super::place;
use std::fs;

#[test]
fn a_policy_with_a_mistake_is_named_with_its_line_and_nothing_is_started() {
    let (_dir, installation, workspace) = place();
    let policy = workspace.join("policy.toml");
    fs::write(&policy, "name = \"p\"\n[network]\ndefault = \"hold\"\n[[network.rules]]\nmatch = \"*\"\naction = \"perhaps\"\nreason = \"\"\n").unwrap();
    let done = installation.run(&["--policy", policy.to_str().unwrap()], &workspace, ["touch", "ran"]);
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(2), "{said}");
    assert!(said.contains("policy.toml") && said.contains('6') && said.contains("perhaps"), "{said}");
    assert!(!workspace.join("ran").exists());
}

#[test]
fn an_unknown_key_of_the_configuration_is_named() {
    let (_dir, installation, workspace) = place();
    let config = workspace.join("wk.toml");
    fs::write(&config, "tennant = \"x\"\n").unwrap();
    let done = installation.wk(["--config", config.to_str().unwrap(), "sessions"]).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(said.contains("wk.toml") && said.contains("tennant"), "{said}");
}

#[test]
fn the_delivered_configuration_is_taken_as_it_is() {
    let (_dir, installation, _) = place();
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/config/wk.toml");
    let done = installation.wk(["--config", config, "verify"]).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(said.contains("there is no lake"), "{said}");
}

#[test]
fn without_services_the_error_says_what_to_start() {
    let (_dir, installation, _) = place();
    let done = installation.wk(["approvals", "list"]).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(said.contains("start `wk up`"), "{said}");
}

#[test]
fn a_reader_that_has_seen_enough_ends_it_without_a_word() {
    for arguments in [["rules", "docs"], ["sql", "--saved"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let done = crate::harness::wk().args(arguments).stdout(writer).output().unwrap();
        assert_eq!(
            (done.status.code(), String::from_utf8_lossy(&done.stderr).as_ref()),
            (Some(141), ""),
            "{arguments:?}"
        );
    }
}

#[test]
fn an_unknown_adapter_is_named_with_those_that_there_are() {
    let (_dir, installation, workspace) = place();
    let done = installation.run(&["--agent", "copilot"], &workspace, ["true"]);
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(said.contains("copilot") && said.contains("claude-code"), "{said}");
}
