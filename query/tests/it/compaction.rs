//! Questions while files are sealed and compacted under them, and after.

use crate::agents::{self, START, session_name};
use crate::keeper::Keeper;
use crate::lake::Fixture;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use uuid::Uuid;
use wk_query::Config;
use wk_schemas::Timestamp;
use wk_store::compact::Limits;

const LATER: &str = "2026-12-31";

/// Makes every compaction of the days before `today`, and of those whose files have piled up; gives how many there were.
pub(crate) async fn compact(keeper: &mut Keeper, today: &str, limits: &Limits) -> usize {
    let mut made = 0;
    loop {
        // No commit of the keeper's has an id as large.
        let (id, at) =
            (Uuid::from_u128(u128::MAX - u128::from(keeper.writer.lake().snapshot().version)), Timestamp(START));
        match keeper.writer.compact(&BTreeSet::new(), today, limits, id, at).await.unwrap() {
            Some(_) => made += 1,
            None => return made,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_sees_each_record_once_while_files_are_sealed_and_compacted_under_it() {
    let lake = Arc::new(Fixture::new(8, Config::default()).await);
    let done = Arc::new(AtomicBool::new(false));
    let (writing, end) = (Arc::clone(&lake), Arc::clone(&done));
    let writer = tokio::spawn(async move {
        let small = Limits { files_min: 3, ..Limits::default() };
        let mut compactions = 0;
        for n in 8..48 {
            let mut keeper = writing.keeper.lock().await;
            let start = START + i64::try_from(n).unwrap() * 600_000_000;
            keeper.commit(agents::session(n, start, 4)).await;
            compactions += compact(&mut keeper, "2000-01-01", &small).await;
        }
        end.store(true, Ordering::SeqCst);
        (compactions, writing.keeper.lock().await.records)
    });
    let (mut asked, mut last) = (0, 0);
    loop {
        let over = done.load(Ordering::SeqCst);
        // Joined with itself, so that two scans of one question must see the same version.
        let rows = lake
            .rows(
                "SELECT count(*) AS joined, count(DISTINCT a.record_id) AS ids, (SELECT count(*) FROM records) AS alone, \
                 (SELECT sum(records) FROM daily_sessions) AS summed, (SELECT sum(records) FROM sessions) AS listed \
                 FROM records a JOIN records b ON a.topic = b.topic AND a.\"offset\" = b.\"offset\"",
            )
            .await
            .unwrap();
        let counts: Vec<u64> = rows[0].iter().map(|cell| cell.parse().unwrap()).collect();
        assert!(counts.iter().all(|count| *count == counts[0]), "{counts:?}");
        assert!(counts[0] >= last, "{counts:?} after {last}");
        (asked, last) = (asked + 1, counts[0]);
        if over {
            break;
        }
    }
    let (compactions, records) = writer.await.unwrap();
    assert!(compactions > 5 && asked > 1, "{compactions} compactions, {asked} questions");
    assert_eq!(last, records);
}

#[tokio::test]
async fn every_view_says_the_same_before_and_after_a_compaction() {
    let lake = Fixture::known(Config::default()).await;
    let views = lake.rows("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'").await;
    let views: Vec<String> = views.unwrap().into_iter().flatten().collect();
    assert!(views.len() > 10, "{views:?}");
    let mut before = Vec::new();
    for view in &views {
        let mut rows = lake.rows(&format!("SELECT * FROM {view}")).await.unwrap();
        rows.sort();
        before.push(rows);
    }
    let files = lake.keeper.lock().await.writer.lake().snapshot().files.len();
    assert!(compact(&mut *lake.keeper.lock().await, LATER, &Limits::default()).await > 0);
    assert!(lake.keeper.lock().await.writer.lake().snapshot().files.len() < files);
    for (view, before) in views.iter().zip(before) {
        let mut rows = lake.rows(&format!("SELECT * FROM {view}")).await.unwrap();
        rows.sort();
        assert_eq!(rows, before, "{view}");
    }
}

#[tokio::test]
async fn a_session_is_one_file_of_each_day_after_a_compaction() {
    let lake = Fixture::new(40, Config::default()).await;
    compact(&mut *lake.keeper.lock().await, LATER, &Limits::default()).await;
    let days = lake.one("SELECT count(DISTINCT day) FROM records").await;
    let snapshot = lake.keeper.lock().await.writer.lake().snapshot();
    assert_eq!(snapshot.files.len().to_string(), days);
    let sql = format!("SELECT seq FROM records WHERE session_id = '{}' AND day = '2026-11-20'", session_name(17));
    let plan = lake.rows(&format!("EXPLAIN {sql}")).await.unwrap();
    let plan: String = plan.into_iter().flatten().collect::<Vec<_>>().join("\n");
    assert!(plan.matches(".parquet").count() <= 1, "{plan}");
}
