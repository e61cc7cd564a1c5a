//! What is answered from roll-ups is what the records say.

use crate::agents::{self, START, Said, session_name};
use crate::compaction::compact;
use crate::evolution::{as_newer, newer};
use crate::keeper::Keeper;
use crate::lake::Fixture;
use ed25519_dalek::SigningKey;
use proptest::prelude::*;
use proptest::test_runner::{Config as Cases, TestRunner};
use uuid::Uuid;
use wk_query::Config;
use wk_query::views::ALL;
use wk_store::compact::Limits;
use wk_store::retention::{Act, Deed};
use wk_store::rollup::{Bounds, Part};

const DAY: i64 = 86_400_000_000;
const LATER: &str = "2026-12-31";
const VIEWS: [&str; 3] = ["sessions", "daily_sessions", "daily_first_seen"];

/// The question that a view stands for, asked of every record.
fn of_all_records(view: &str) -> String {
    let view = ALL.iter().find(|known| known.name == view).unwrap();
    let mut sql = view.sql();
    for part in Part::ALL {
        let (kept, beside) = (format!("FROM rollups.{}", part.name()), format!("FROM rollups.beside_{}", part.name()));
        assert!(view.name == "daily_first_seen" || sql.contains(&kept) == (part == Part::Sessions), "{sql}");
        sql = sql.replace(&beside, "FROM records").replace(&kept, &format!("{kept} WHERE FALSE"));
    }
    assert!(!sql.contains("beside"), "{sql}");
    sql
}

/// Every answer from the roll-ups is that of the records, and every record is in it once.
async fn holds(lake: &Fixture) -> Result<(), String> {
    for view in VIEWS {
        let mut said = lake.rows(&format!("SELECT * FROM {view}")).await.map_err(|e| format!("{view}: {e}"))?;
        let mut expected = lake.rows(&of_all_records(view)).await.map_err(|e| format!("records for {view}: {e}"))?;
        said.sort();
        expected.sort();
        if said != expected {
            let other =
                said.iter().find(|row| !expected.contains(row)).or(expected.iter().find(|row| !said.contains(row)));
            return Err(format!(
                "{view}: {} rows, and {} of the records; for one {other:?}",
                said.len(),
                expected.len()
            ));
        }
    }
    let counted = lake
        .rows("SELECT (SELECT coalesce(sum(records), 0) FROM daily_sessions), (SELECT count(*) FROM records)")
        .await;
    let counted = counted.map_err(|e| e.to_string())?;
    if counted[0][0] == counted[0][1] { Ok(()) } else { Err(format!("{counted:?}")) }
}

/// How a lake came to be.
#[derive(Debug, Clone)]
struct Story {
    /// Number, days after the start, length; and whether the second half of its records is late by a day.
    sessions: Vec<(u64, i64, u64, bool)>,
    /// Sessions in a commit.
    together: usize,
    /// Every so many commits is of a newer version of the schema.
    newer: usize,
    /// The day from which on nothing is compacted, and how many rows a part of a roll-up may have.
    compacted: (&'static str, usize),
    /// Whether a day is removed at the end.
    removes: bool,
}

fn story() -> impl Strategy<Value = Story> {
    let session = (0..40u64, 0..4i64, 1..4u64, any::<bool>());
    let compacted = prop::sample::select(vec![
        ("2026-11-20", 100),
        ("2026-11-22", 100),
        ("2026-11-22", 4),
        (LATER, 100),
        (LATER, 7),
    ]);
    (prop::collection::vec(session, 1..9), 1..4usize, 2..5usize, compacted, any::<bool>()).prop_map(
        |(mut sessions, together, newer, compacted, removes)| {
            // A session's records have ids of its own: each is there once.
            let mut known = std::collections::BTreeSet::new();
            sessions.retain(|(number, ..)| known.insert(*number));
            Story { sessions, together, newer, compacted, removes }
        },
    )
}

async fn tell(story: &Story) -> Fixture {
    let lake = Fixture::new(0, Config::default()).await;
    let mut keeper = lake.keeper.lock().await;
    for (commit, sessions) in story.sessions.chunks(story.together).enumerate() {
        let mut all = Vec::new();
        for (number, days, steps, late) in sessions {
            let said = agents::session(*number, START + days * DAY, *steps);
            let half = said.len() / 2;
            all.extend(said.into_iter().enumerate().map(|(n, said)| {
                let at = said.at.plus_micros(if *late && n > half { DAY } else { 0 });
                Said { at, ..said }
            }));
        }
        if commit % story.newer == story.newer - 1 {
            keeper.commit_as(&newer(), all.into_iter().map(as_newer).collect()).await;
        } else {
            keeper.commit(all).await;
        }
    }
    let (until, rows) = story.compacted;
    let limits = Limits { rollups: Bounds { rows, ..Bounds::default() }, ..Limits::default() };
    compact(&mut keeper, until, &limits).await;
    if story.removes {
        remove_a_day(&mut keeper).await;
    }
    drop(keeper);
    lake
}

/// Removes the day of the first file, as the product does.
async fn remove_a_day(keeper: &mut Keeper) {
    let person = SigningKey::from_bytes(&[77; 32]);
    let trusted = [person.verifying_key()];
    let day = keeper.writer.lake().snapshot().files[0].day.clone();
    let prepared = keeper.writer.prepare_removal(&day, &trusted).await.unwrap();
    let (id, by, why) = (Uuid::from_u128(9).to_string(), "alice".to_owned(), "two years are over".to_owned());
    let deed = Deed::Remove(prepared.removal.clone());
    let act = Act { lake: keeper.writer.lake().id(), id, at_us: START, by, why, deed }.sign(&person);
    keeper.writer.remove_day(&prepared, &act, &trusted).await.unwrap();
}

#[test]
fn what_is_kept_in_sum_is_what_the_records_say() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut runner = TestRunner::new(Cases { cases: 8, failure_persistence: None, ..Cases::default() });
    runner
        .run(&story(), |story| {
            let held = runtime.block_on(async {
                let lake = tell(&story).await;
                holds(&lake).await
            });
            prop_assert_eq!(held, Ok(()));
            Ok(())
        })
        .unwrap();
}

#[tokio::test]
async fn a_record_of_every_kind_is_summed_up_as_it_is_asked() {
    let lake = Fixture::known(Config::default()).await;
    let mut before = Vec::new();
    for view in VIEWS {
        let mut rows = lake.rows(&format!("SELECT * FROM {view}")).await.unwrap();
        rows.sort();
        before.push(rows);
    }
    assert_eq!(holds(&lake).await, Ok(()));
    compact(&mut *lake.keeper.lock().await, LATER, &Limits::default()).await;
    assert_eq!(holds(&lake).await, Ok(()));
    for (view, before) in VIEWS.iter().zip(before) {
        let mut rows = lake.rows(&format!("SELECT * FROM {view}")).await.unwrap();
        rows.sort();
        assert_eq!(rows, before, "{view}");
    }
}

/// How many data files a question opens.
async fn files(lake: &Fixture, sql: &str) -> usize {
    let plan = lake.rows(&format!("EXPLAIN {sql}")).await.unwrap().concat().concat();
    plan.matches(".parquet").count()
}

#[tokio::test]
async fn a_compacted_file_is_not_opened_for_a_list_of_sessions_or_of_what_was_first() {
    let lake = Fixture::new(40, Config::default()).await;
    let questions = ["SELECT * FROM sessions", "SELECT * FROM daily_first_seen WHERE kind = 'host'"];
    for question in questions {
        assert!(files(&lake, question).await >= 5, "{question}");
    }
    // A day that goes on is read as it is, the days before are not.
    compact(&mut *lake.keeper.lock().await, "2026-11-21", &Limits::default()).await;
    for question in questions {
        let open = files(&lake, question).await;
        assert!(open > 0 && open < 5, "{question}: {open}");
    }
    assert_eq!(files(&lake, "SELECT * FROM daily_sessions WHERE day = '2026-11-20'").await, 0);
    compact(&mut *lake.keeper.lock().await, LATER, &Limits::default()).await;
    for question in questions {
        assert_eq!(files(&lake, question).await, 0, "{question}");
    }
    // One session is found without the days that it was not in.
    let sql = format!("SELECT sum(records) FROM daily_sessions WHERE session_id = '{}'", session_name(17));
    assert_eq!(
        lake.one(&sql).await,
        lake.one(&sql.replace("sum(records)", "count(*)").replace("daily_sessions", "records")).await
    );
}

#[tokio::test]
async fn a_part_that_is_too_large_is_asked_of_the_records_and_the_others_are_not() {
    let lake = Fixture::new(16, Config::default()).await;
    let hosts = lake.one("SELECT count(DISTINCT value) FROM daily_first_seen WHERE kind = 'host'").await;
    let paths = lake.one("SELECT count(DISTINCT value) FROM daily_first_seen WHERE kind = 'path'").await;
    let (hosts, paths): (usize, usize) = (hosts.parse().unwrap(), paths.parse().unwrap());
    assert!(hosts < paths, "{hosts} {paths}");
    let limits = Limits { rollups: Bounds { rows: hosts, ..Bounds::default() }, ..Limits::default() };
    compact(&mut *lake.keeper.lock().await, LATER, &limits).await;
    let of = |kind: &str| format!("SELECT * FROM daily_first_seen WHERE kind = '{kind}'");
    assert_eq!(files(&lake, &of("host")).await, 0);
    assert!(files(&lake, &of("path")).await > 0);
    assert_eq!(holds(&lake).await, Ok(()));
}

#[tokio::test]
async fn the_first_of_a_value_is_the_one_that_a_person_would_find() {
    let lake = Fixture::new(24, Config::default()).await;
    compact(&mut *lake.keeper.lock().await, LATER, &Limits::default()).await;
    let rows = lake
        .rows(
            "SELECT value, min(first_at), first_value(session_id ORDER BY first_at, record_id), sum(times), sum(records) \
             FROM daily_first_seen WHERE kind = 'image' GROUP BY value ORDER BY value",
        )
        .await
        .unwrap();
    assert!(rows.len() > 4, "{rows:?}");
    for row in rows {
        let runs = format!("FROM processes WHERE image = '{}'", row[0]);
        let first =
            lake.rows(&format!("SELECT time, session_id {runs} ORDER BY time, record_id LIMIT 1")).await.unwrap();
        let count = lake.one(&format!("SELECT count(*) {runs}")).await;
        assert_eq!(row[1..], [first[0][0].clone(), first[0][1].clone(), count.clone(), count]);
    }
}

#[tokio::test]
async fn a_roll_up_counts_among_what_a_question_may_read() {
    let lake = Fixture::new(8, Config { scan_bytes: 200, ..Config::default() }).await;
    compact(&mut *lake.keeper.lock().await, LATER, &Limits::default()).await;
    let error = lake.rows("SELECT * FROM sessions").await.unwrap_err().to_string();
    assert!(error.contains("the limit is 200"), "{error}");
}
