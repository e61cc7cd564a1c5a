//! The first witness: from the rows of the lake to what was done.

use crate::act::{Act, Testimony};
use serde_json::Value;

/// What was done in a session, as the lake tells it, which `ask` asks in SQL.
pub(crate) fn testimony(ask: impl Fn(&str) -> Vec<Value>, session: &str) -> Testimony {
    let mut seen = Testimony::default();
    let mine = format!("session_id = '{session}'");
    // The second record of a call that was let through: the first has it already.
    let once = "(reason IS NULL OR reason <> 'the call was let through, and failed')";
    let programs = "SELECT parent_image, image, outcome, errno FROM processes";
    for row in ask(&format!("{programs} WHERE {mine} AND {once}")) {
        // The program that asked is the one that ran before.
        add(&mut seen, &row, "parent_image", "EXECUTE", text(&row, "image"), None);
    }
    let files = "SELECT image, operation, path, target_path, outcome, errno, count FROM file_access";
    // No call of a process, so nothing that strace could see.
    let calls = "(reason IS NULL OR reason NOT LIKE 'opened by the kernel%')";
    for row in ask(&format!("{files} WHERE {mine} AND {calls} AND {once}")) {
        let operation = text(&row, "operation");
        let second = ["RENAME", "LINK", "SYMLINK"].contains(&operation.as_str());
        let target = second.then(|| text(&row, "target_path"));
        add(&mut seen, &row, "image", &operation, text(&row, "path"), target);
    }
    let connections = "SELECT image, operation, protocol, address, port, outcome, errno, count FROM connections";
    for row in ask(&format!("{connections} WHERE {mine} AND {once}")) {
        let mut object = format!("{} {}", text(&row, "protocol"), text(&row, "address"));
        if let Some(port) = row["port"].as_i64() {
            object += &format!(":{port}");
        }
        add(&mut seen, &row, "image", &text(&row, "operation"), object, None);
    }
    seen
}

fn text(row: &Value, column: &str) -> String {
    row[column].as_str().unwrap_or_default().to_owned()
}

fn add(seen: &mut Testimony, row: &Value, caller: &str, operation: &str, object: String, target: Option<String>) {
    let result = match text(row, "outcome").as_str() {
        "ALLOWED" => None,
        "SUCCEEDED" => Some(0),
        "FAILED" | "DENIED" => Some(row["errno"].as_i64().unwrap()),
        other => panic!("no outcome is called {other}: {row}"),
    };
    let count = row["count"].as_i64().unwrap_or(1);
    seen.add(Act { image: text(row, caller), operation: operation.to_owned(), object, target }, result, count);
}
