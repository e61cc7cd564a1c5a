//! `wk sql` and the HTTP door.

use super::place;
use serde_json::Value;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

#[test]
fn statements_that_would_change_or_reach_out_are_refused() {
    let (_dir, installation, workspace) = place();
    assert!(installation.run(&[], &workspace, ["true"]).status.success());
    for statement in [
        "DROP TABLE records",
        "INSERT INTO records SELECT * FROM records",
        "COPY records TO '/tmp/out.csv'",
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
        "SELECT * FROM '/etc/passwd'",
        "SET datafusion.execution.batch_size = 1",
    ] {
        let error = installation.try_sql(statement).unwrap_err();
        assert!(!error.is_empty(), "{statement}");
    }
    assert_eq!(installation.sql("SELECT count(*) AS n FROM sessions")[0]["n"], 1);
}

#[test]
fn csv_has_a_header_and_json_is_json() {
    let (_dir, installation, workspace) = place();
    assert!(installation.run(&[], &workspace, ["true"]).status.success());
    let csv = installation.wk(["sql", "--format", "csv", "SELECT 1 AS a, 'x,y' AS b"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&csv.stdout), "a,b\n1,\"x,y\"\n");
    assert_eq!(installation.sql("SELECT 1 AS a")[0]["a"], 1);
}

/// One HTTP request to the door; returns the status line and the body.
fn post(url: &str, token: Option<&str>, statement: &str) -> (String, String) {
    let address = url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).unwrap();
    let authorization = token.map(|t| format!("authorization: Bearer {t}\r\n")).unwrap_or_default();
    write!(
        stream,
        "POST /sql HTTP/1.1\r\nhost: {address}\r\n{authorization}content-length: {}\r\nconnection: close\r\n\r\n{statement}",
        statement.len()
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

#[test]
fn the_http_door_lets_in_who_holds_the_token_and_records_the_question() {
    let (_dir, installation, workspace) = place();
    let up = installation.up();
    assert!(installation.run(&[], &workspace, ["true"]).status.success());
    let url = fs::read_to_string(installation.data().join("query.url")).unwrap();
    let token = fs::read_to_string(installation.data().join("keys/query.token")).unwrap();
    let (status, _) = post(&url, None, "SELECT 1");
    assert!(status.contains("401"), "{status}");
    let (status, _) = post(&url, Some("guess"), "SELECT 1");
    assert!(status.contains("401"), "{status}");
    let (status, body) = post(&url, Some(&token), "SELECT 41 + 1 AS answer");
    assert!(status.contains("200"), "{status} {body}");
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), serde_json::json!([{"answer": 42}]));
    let (status, body) = post(&url, Some(&token), "DROP TABLE records");
    assert!(status.contains("400") && body.contains("read only"), "{status} {body}");
    assert!(up.stop().success());
    // A service of its own commits what was recorded last.
    let up = installation.up();
    assert!(up.stop().success());
    let asked = installation.sql("SELECT query_run['sql'] AS sql FROM records WHERE kind = 'query_run'");
    assert!(asked.iter().any(|row| row["sql"] == "SELECT 41 + 1 AS answer"), "{asked:?}");
}
