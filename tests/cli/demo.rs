//! The demo itself, as a newcomer runs it.

use crate::harness::wk;

#[test]
fn the_demo_freezes_its_agent_before_a_byte_leaves_and_proves_the_record() {
    let dir = tempfile::tempdir().unwrap();
    let shown = wk().args(["demo", "--dir"]).arg(dir.path().join("demo")).output().unwrap();
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.status.success(), "{text}\n{}", String::from_utf8_lossy(&shown.stderr));
    for said in [
        "HELD",
        "FINDING",
        "Frozen:",
        "has seen 0 connections and 0 bytes",
        "The timeline: plan against action",
        "The finding, and its evidence",
        ".aws/credentials",
        "Verifying the lake",
        "Go on from there",
    ] {
        assert!(text.contains(said), "the demo does not say `{said}`:\n{text}");
    }
    let again = wk().args(["demo", "--dir"]).arg(dir.path().join("demo")).output().unwrap();
    assert!(again.status.success(), "a second demo in the same folder: {}", String::from_utf8_lossy(&again.stderr));
}
