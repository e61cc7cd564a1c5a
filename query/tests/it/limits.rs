//! No question hurts another: time, memory, disk, bytes, places.

use crate::lake::Fixture;
use std::num::NonZeroUsize;
use std::time::Duration;
use wk_query::{Config, QueryError};

/// Counts to infinity.
const ENDLESS: &str = "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";
/// 10^12 pairs and more, whatever the lake holds.
const HEAVY: &str =
    "SELECT count(*) FROM records a, records b, records c, records d WHERE a.seq + b.seq + c.seq + d.seq < -1";

#[tokio::test]
async fn a_question_without_end_is_stopped_in_time() {
    let config = Config { time_limit: Duration::from_millis(700), ..Config::default() };
    let lake = Fixture::new(8, config).await;
    for sql in [ENDLESS, HEAVY] {
        match lake.rows(sql).await {
            Err(error @ QueryError::Time { .. }) => assert!(error.to_string().contains("time_limit"), "{error}"),
            other => panic!("{sql}: {other:?}"),
        }
        // What was stopped is gone: the next question has its place and its answer.
        assert_eq!(lake.one("SELECT 1").await, "1");
    }
}

#[tokio::test]
async fn a_question_that_looks_into_too_much_is_refused_before_it_reads() {
    let lake = Fixture::new(16, Config { scan_bytes: 1000, ..Config::default() }).await;
    match lake.ask("SELECT sum(seq) FROM records").await {
        Err(error @ QueryError::Scan { limit: 1000, .. }) => {
            assert!(error.to_string().contains("scan_bytes"), "{error}")
        }
        other => panic!("{other:?}"),
    }
    // What pruning leaves nothing of costs nothing.
    assert_eq!(lake.one("SELECT count(*) FROM records WHERE session_id = 'zz'").await, "0");
}

#[tokio::test]
async fn a_question_that_needs_too_much_memory_and_disk_says_so() {
    let config = Config { memory_bytes: 200_000, spill_bytes: 1000, ..Config::default() };
    let lake = Fixture::new(64, config).await;
    match lake.rows("SELECT * FROM records ORDER BY record_id DESC").await {
        Err(error @ QueryError::Resources { .. }) => assert!(error.to_string().contains("memory_bytes"), "{error}"),
        other => panic!("{:?}", other.map(|rows| rows.len())),
    }
}

#[tokio::test]
async fn a_question_waits_for_its_place_within_its_time() {
    let config = Config {
        concurrency: NonZeroUsize::new(1).unwrap(),
        time_limit: Duration::from_millis(600),
        ..Config::default()
    };
    let lake = Fixture::new(8, config).await;
    let first = lake.ask(HEAVY).await.unwrap();
    match lake.ask("SELECT 1").await {
        Err(error @ (QueryError::Busy { .. } | QueryError::Time { .. })) => drop(error),
        other => panic!("{other:?}"),
    }
    drop(first);
    assert_eq!(lake.one("SELECT 1").await, "1");
}

#[tokio::test]
async fn a_question_that_was_given_up_makes_room() {
    let lake = Fixture::new(8, Config { concurrency: NonZeroUsize::new(1).unwrap(), ..Config::default() }).await;
    for _ in 0..5 {
        drop(lake.ask(HEAVY).await.unwrap());
    }
    assert_eq!(lake.one("SELECT 1").await, "1");
}
