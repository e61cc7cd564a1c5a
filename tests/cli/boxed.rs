//! `wk run --wrap bwrap`: the agent and the shim in a box, the record outside it.

use super::place;
use crate::harness::{program, skip};
use serde_json::json;
use std::path::Path;

#[test]
fn an_agent_in_a_box_is_recorded_as_any_other_and_writes_nowhere_else() {
    if program("bwrap").is_none() {
        skip("bubblewrap is not installed");
        return;
    }
    let (_dir, installation, workspace) = place();
    // `build` asks nobody: what the box refuses is refused at once.
    let agent = "echo hello > made; touch /usr/watchkeeper-was-here; exit 7";
    let done = installation.run(&["--wrap", "bwrap", "--policy", "build"], &workspace, ["sh", "-c", agent]);
    assert_eq!(done.status.code(), Some(7), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(std::fs::read_to_string(workspace.join("made")).unwrap(), "hello\n");
    assert!(!Path::new("/usr/watchkeeper-was-here").exists());
    let rows = installation.sql(
        "SELECT array_has(session_started.confinement, 'inside-bubblewrap') AS boxed FROM records WHERE kind = 'session_started'",
    );
    assert_eq!(rows, [json!({"boxed": true})]);
    let made =
        installation.sql("SELECT count(*) AS n FROM file_access WHERE operation = 'CREATE' AND path LIKE '%/made'");
    assert_eq!(made, [json!({"n": 1})]);
}
