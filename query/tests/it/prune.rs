//! A pruned scan gives what a full scan gives.

use crate::agents::{self, START, session_name};
use crate::compaction::compact;
use crate::lake::Fixture;
use proptest::prelude::*;
use proptest::test_runner::{Config as Cases, TestRunner};
use wk_query::Config;
use wk_store::compact::Limits;

fn timestamp(micros: i64) -> String {
    format!("to_timestamp_micros({micros})")
}

fn predicate() -> impl Strategy<Value = String> {
    let kinds =
        prop::sample::select(vec!["finding", "process_started", "session_frozen", "approval", "nonsense", "thought"]);
    let compare = prop::sample::select(vec!["=", "<>", "<", "<=", ">", ">="]);
    let within = -1_000_000_000i64..60 * 3_600_000_000;
    let leaf = prop_oneof![
        (compare.clone(), 0..44u64).prop_map(|(op, n)| format!("session_id {op} '{}'", session_name(n))),
        (compare.clone(), kinds.clone()).prop_map(|(op, kind)| format!("kind {op} '{kind}'")),
        prop::collection::vec(kinds, 1..4).prop_map(|kinds| format!("kind IN ('{}')", kinds.join("','"))),
        (compare.clone(), within.clone()).prop_map(|(op, t)| format!("occurred_at {op} {}", timestamp(START + t))),
        (compare.clone(), within).prop_map(|(op, t)| format!("recorded_at {op} {}", timestamp(START + t))),
        (compare.clone(), 19..25u32).prop_map(|(op, day)| format!("day {op} '2026-11-{day}'")),
        (compare.clone(), 0..900i64).prop_map(|(op, n)| format!("\"offset\" {op} {n}")),
        (compare, 0..60i64).prop_map(|(op, n)| format!("seq {op} {n}")),
        prop::sample::select(vec![
            "session_id LIKE '01930%'",
            "kind IS NULL",
            "topic = 'agent.session.findings.v1'",
            "file_accessed['path'] LIKE '%id_rsa'",
            "process_started['actor']['image'] = '/usr/bin/git'",
            "connection_attempted['port'] > 100",
            "finding['level'] IS NOT NULL",
            "file_accessed['path'] = '/home/agent/.ssh/id_rsa'",
            "file_accessed['path'] IN ('/nowhere', '/home/agent/.ssh/id_rsa')",
            "file_accessed['path'] NOT IN ('/nowhere', '/home/agent/.ssh/id_rsa')",
            "'/usr/bin/nowhere' = process_started['actor']['image']",
            "coalesce(file_accessed['path'], '/nowhere') = '/nowhere'",
            "connection_attempted['host_name'] = name_resolved['name']",
            "CASE kind WHEN 'connection_attempted' THEN connection_attempted['host_name'] ELSE approval_requested['host_name'] END \
             = 'drop.example.org'",
            "CASE kind WHEN 'connection_attempted' THEN 'drop.example.org' ELSE approval_requested['host_name'] END \
             = 'drop.example.org'",
        ])
        .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} AND {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} OR {b})")),
            inner.prop_map(|a| format!("NOT {a}")),
        ]
    })
}

#[test]
fn a_pruned_scan_equals_a_full_scan() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let lake = runtime.block_on(Fixture::new(40, Config::default()));
    full_equals_pruned(&runtime, &lake);
    // The same where the first days were compacted, and the last one is as it was sealed.
    runtime.block_on(async { compact(&mut *lake.keeper.lock().await, "2026-11-21", &Limits::default()).await });
    full_equals_pruned(&runtime, &lake);
}

fn full_equals_pruned(runtime: &tokio::runtime::Runtime, lake: &Fixture) {
    let mut runner = TestRunner::new(Cases { cases: 60, failure_persistence: None, ..Cases::default() });
    runner
        .run(&predicate(), |predicate| {
            let ask = |sql: String| runtime.block_on(async { lake.rows(&sql).await.unwrap_or_else(|e| panic!("{sql}: {e}")) });
            // Behind a limit no filter can be pushed into the scan: this one reads everything.
            let full = ask(format!(
                "SELECT count(*), min(record_id), max(record_id) FROM (SELECT * FROM records LIMIT 1000000) WHERE {predicate}"
            ));
            let pruned = ask(format!("SELECT count(*), min(record_id), max(record_id) FROM records WHERE {predicate}"));
            prop_assert_eq!(full, pruned);
            Ok(())
        })
        .unwrap();
}

#[tokio::test]
async fn a_kind_or_a_session_leaves_out_the_files_that_lack_it() {
    let lake = Fixture::new(40, Config::default()).await;
    for (predicate, files) in [
        ("kind = 'finding'", 4),
        (&format!("session_id = '{}'", session_name(17)), 1),
        ("day = '2026-11-20'", 2),
        ("kind = 'thought'", 0),
    ] {
        let plan = lake.rows(&format!("EXPLAIN SELECT seq FROM records WHERE {predicate}")).await.unwrap();
        let plan: String = plan.into_iter().flatten().collect::<Vec<_>>().join("\n");
        assert_eq!(plan.matches(".parquet").count(), files, "{predicate}\n{plan}");
    }
}

#[tokio::test]
async fn only_the_leaves_that_are_asked_for_are_read() {
    let lake = Fixture::new(16, Config::default()).await;
    let plan = lake.rows("EXPLAIN SELECT image FROM processes").await.unwrap().concat().concat();
    assert!(plan.contains("projection=[get_field(process_started@23, actor, image)"), "{plan}");
    let one = scanned(&lake, "SELECT image FROM processes").await;
    assert!(one < scanned(&lake, "SELECT * FROM processes").await);
}

/// How many bytes of files a question reads.
async fn scanned(lake: &Fixture, sql: &str) -> f64 {
    let plan = lake.rows(&format!("EXPLAIN ANALYZE {sql}")).await.unwrap().concat().concat();
    let Some(rest) = plan.split("bytes_scanned=").nth(1) else {
        assert!(plan.contains("files_opened=0"), "{plan}");
        return 0.0;
    };
    let bytes = rest.split([',', ']']).next().unwrap();
    let (number, unit) = bytes.split_once(' ').unwrap_or((bytes, ""));
    let unit = match unit.chars().next() {
        Some('K') => 1e3,
        Some('M') => 1e6,
        _ => 1.0,
    };
    number.parse::<f64>().unwrap() * unit
}

#[tokio::test]
async fn an_id_is_looked_for_where_it_may_be() {
    let lake = Fixture::new(40, Config::default()).await;
    let of =
        |session: &str| format!("SELECT occurred_at, kind FROM records WHERE session_id = '{session}' ORDER BY seq");
    // Within the bounds that the table's log has of the files.
    let (there, absent) = (of(&session_name(17)), of(&format!("{}0", session_name(17))));
    let rows = lake.rows(&there).await.unwrap();
    assert!(!rows.is_empty());
    for _ in 0..2 {
        assert!(scanned(&lake, &there).await > 0.0);
        assert_eq!(scanned(&lake, &absent).await, 0.0);
        assert_eq!(lake.rows(&there).await.unwrap(), rows);
        assert_eq!(lake.rows(&absent).await.unwrap(), Vec::<Vec<String>>::new());
    }
}

#[tokio::test]
async fn a_needle_in_a_sub_record_is_looked_for_where_it_may_be() {
    let lake = Fixture::new(40, Config::default()).await;
    lake.keeper.lock().await.commit(agents::stray(50, START)).await;
    let touched = |path: &str| format!("SELECT time, session_id, image FROM file_access WHERE path = '{path}'");
    let reached = |host: &str| format!("SELECT time, session_id, image FROM connections WHERE host_name = '{host}'");
    let absent = [touched("/nowhere"), reached("nowhere.example.org")];
    for sql in &absent {
        assert!(scanned(&lake, sql).await > 0.0, "files as they were sealed have no filters on these columns: {sql}");
    }
    compact(&mut *lake.keeper.lock().await, "2026-12-31", &Limits::default()).await;
    for sql in &absent {
        assert_eq!(scanned(&lake, sql).await, 0.0, "{sql}");
        assert_eq!(lake.rows(sql).await.unwrap(), Vec::<Vec<String>>::new());
    }
    let (path, host) = agents::NEEDLE;
    for (one, many) in
        [(touched(path), touched("/home/agent/.ssh/id_rsa")), (reached(host), reached("drop.example.org"))]
    {
        let (read, all) = (scanned(&lake, &one).await, scanned(&lake, &many).await);
        assert!(0.0 < read && read < all, "{one}: {read} of {all} bytes");
        assert_eq!(lake.rows(&one).await.unwrap().len(), 1, "{one}");
    }
}
