//! Nothing but reading, and nothing but the lake.

use crate::lake::Fixture;
use wk_query::{Config, QueryError};

#[tokio::test]
async fn what_would_change_something_is_refused_by_plan() {
    let lake = Fixture::new(2, Config::default()).await;
    let out = lake.folder.path().join("out.parquet");
    let out = out.display();
    for (sql, what) in [
        (format!("COPY (SELECT 1) TO '{out}'"), "COPY"),
        (format!("EXPLAIN COPY (SELECT 1) TO '{out}'"), "COPY"),
        (format!("EXPLAIN ANALYZE COPY (SELECT 1) TO '{out}'"), "COPY"),
        ("INSERT INTO records SELECT * FROM records".into(), "Insert"),
        ("EXPLAIN ANALYZE INSERT INTO records SELECT * FROM records".into(), "Insert"),
        ("DELETE FROM records".into(), "Delete"),
        ("UPDATE records SET tenant = 'x'".into(), "Update"),
        ("CREATE TABLE t AS SELECT 1".into(), "CreateMemoryTable"),
        ("CREATE VIEW v AS SELECT 1".into(), "CreateView"),
        ("CREATE SCHEMA s".into(), "CreateCatalogSchema"),
        ("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'".into(), "CreateExternalTable"),
        ("DROP TABLE records".into(), "DropTable"),
        ("DROP VIEW findings".into(), "DropView"),
        ("SET datafusion.execution.batch_size = 1".into(), "SetVariable"),
        ("RESET datafusion.execution.batch_size".into(), "ResetVariable"),
        ("START TRANSACTION".into(), "TransactionStart"),
        ("COMMIT".into(), "TransactionEnd"),
        ("PREPARE p AS SELECT 1".into(), "Prepare"),
    ] {
        match lake.ask(&sql).await {
            Err(QueryError::Refused { what: found }) => {
                assert!(found.to_lowercase().contains(&what.to_lowercase()), "{sql}: {found}");
            }
            other => panic!("{sql}: {other:?}"),
        }
    }
    assert!(!lake.folder.path().join("out.parquet").exists());
}

#[tokio::test]
async fn nothing_but_the_lake_can_be_named() {
    let lake = Fixture::new(2, Config::default()).await;
    for sql in [
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM \"/etc/passwd\"",
        "SELECT * FROM 'file:///etc/passwd'",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM generate_series(1, 10)",
        "SELECT * FROM range(1, 10)",
        "SELECT unnest(range(1, 100000000000))",
        "SELECT repeat('x', 2000000000)",
        "SELECT rpad('x', 2000000000, 'y')",
        "SELECT array_repeat(1, 2000000000)",
        "SELECT 1; DROP TABLE records",
        "SELECT * FROM system.runtime.queries",
    ] {
        match lake.ask(sql).await {
            Err(QueryError::Invalid { .. }) => {}
            other => panic!("{sql}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn what_only_reads_is_answered() {
    let lake = Fixture::new(4, Config::default()).await;
    for sql in [
        "EXPLAIN SELECT * FROM findings",
        "EXPLAIN ANALYZE SELECT count(*) FROM findings",
        "DESCRIBE connections",
        "SHOW TABLES",
        "SHOW COLUMNS FROM sessions",
        "VALUES (1), (2)",
        "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT count(*) FROM n",
        "SELECT 1 UNION SELECT 2",
    ] {
        let rows = lake.rows(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert!(!rows.is_empty(), "{sql}");
    }
}

#[tokio::test]
async fn an_error_says_where() {
    let lake = Fixture::new(1, Config::default()).await;
    for (sql, line, column) in [
        ("SELECT nam FROM findings", 1, 8),
        ("SELECT title\nFROM findigs", 2, 6),
        ("SELECT title FORM findings", 1, 19),
    ] {
        let error = lake.ask(sql).await.unwrap_err();
        let place = error.place().unwrap_or_else(|| panic!("{sql}: {error} has no place"));
        assert_eq!((place.line, place.column), (line, column), "{sql}: {error}");
    }
}

#[tokio::test]
async fn every_question_leaves_a_record_of_itself() {
    let lake = Fixture::new(1, Config::default()).await;
    lake.rows("SELECT 1 UNION ALL SELECT 2").await.unwrap();
    lake.ask("SELEC").await.unwrap_err();
    lake.ask("DROP TABLE records").await.unwrap_err();
    drop(lake.ask("SELECT * FROM records").await.unwrap());
    let asked = lake.asked.lock().unwrap();
    let seen: Vec<(&str, &str, &str, i64, bool)> = asked
        .iter()
        .map(|run| (run.sql.as_str(), run.user.as_str(), run.door.as_str(), run.rows, run.error.is_some()))
        .collect();
    assert_eq!(
        seen,
        [
            ("SELECT 1 UNION ALL SELECT 2", "carol", "shell", 2, false),
            ("SELEC", "carol", "shell", 0, true),
            ("DROP TABLE records", "carol", "shell", 0, true),
            ("SELECT * FROM records", "carol", "shell", 0, true),
        ]
    );
    assert_eq!(asked[0].table_version, 1);
    assert_eq!(asked[3].error.as_deref(), Some("cancelled"));
}
