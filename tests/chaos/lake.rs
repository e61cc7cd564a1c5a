//! What must hold of the lake, whatever was killed: everything is there, once, in order, and provable.

use crate::agent::{Agent, CHANGED_LAST};
use crate::harness::{Installation, eventually};
use serde_json::Value;
use std::collections::BTreeMap;

/// Waits for the session's last record, then checks that nothing is missing and nothing is there twice.
pub(crate) fn is_whole(installation: &Installation, agent: &Agent) {
    let session = installation.session_in(&agent.folder);
    installation.wait_for_end_of(&session);
    let chains = installation.sql(&format!(
        "SELECT topic, writer, count(*) AS records, count(DISTINCT seq) AS numbers, count(DISTINCT record_id) AS ids, \
         min(seq) AS first, max(seq) AS last FROM records WHERE session_id = '{session}' GROUP BY topic, writer"
    ));
    assert!(!chains.is_empty());
    for chain in &chains {
        let number = |name: &str| chain[name].as_i64().unwrap();
        let whole = [number("records"), number("numbers"), number("ids"), number("last") + 1];
        assert_eq!((number("first"), whole), (0, [number("records"); 4]), "the chain {chain} is not whole");
    }
    let made = installation.sql(&format!(
        "SELECT coalesce(sum(count), 0) AS n FROM file_access WHERE session_id = '{session}' AND operation = 'CREATE' AND path LIKE '%/made-%'"
    ));
    assert_eq!(made[0]["n"].as_i64().unwrap(), agent.steps(), "the agent made other files than were recorded");
}

/// What the watcher found in the agent's session so far, without what differs from run to run.
pub(crate) fn findings(installation: &Installation, agent: &Agent) -> BTreeMap<String, i64> {
    let session = installation.session_in(&agent.folder);
    let query = format!(
        "SELECT title, step, level, count(*) AS n FROM findings WHERE session_id = '{session}' GROUP BY title, step, level"
    );
    let text = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
    let rows = installation.sql(&query);
    rows.iter()
        .map(|row| {
            (format!("{} {} {}", text(row, "title"), text(row, "step"), text(row, "level")), row["n"].as_i64().unwrap())
        })
        .collect()
}

/// As [`findings`], once the watcher is done with the session.
pub(crate) fn settled_findings(installation: &Installation, agent: &Agent) -> BTreeMap<String, i64> {
    let session = installation.session_in(&agent.folder);
    let last = format!(
        "SELECT title FROM findings WHERE session_id = '{session}' AND description LIKE '%{CHANGED_LAST},%' LIMIT 1"
    );
    eventually("the finding about the agent's last act", || {
        installation.try_sql(&last).ok().filter(|rows| !rows.is_empty())
    });
    findings(installation, agent)
}

/// Checks that a session has these findings, and no others.
pub(crate) fn has_findings(installation: &Installation, agent: &Agent, expected: &BTreeMap<String, i64>) {
    let found = settled_findings(installation, agent);
    assert_eq!(&found, expected, "the findings differ from those of a session without kills");
}

/// Verifies the lake: files, Merkle log, chains, completeness.
pub(crate) fn is_proven(installation: &Installation) {
    let output = installation.wk(["verify"]).output().unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "wk verify: {}\n{text}", output.status);
    let letters = installation.sql("SELECT count(*) AS n FROM dead_letters");
    assert_eq!(letters[0]["n"], 0, "something was set aside as unreadable");
}
