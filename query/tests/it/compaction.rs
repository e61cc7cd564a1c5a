//! Questions after files were compacted.

use crate::agents::session_name;
use crate::lake::Fixture;
use wk_query::Config;
use wk_store::compact::Limits;

const LATER: &str = "2026-12-31";

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
    assert!(lake.keeper.lock().await.compact(LATER, &Limits::default()).await > 0);
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
    lake.keeper.lock().await.compact(LATER, &Limits::default()).await;
    let days = lake.one("SELECT count(DISTINCT day) FROM records").await;
    let snapshot = lake.keeper.lock().await.writer.lake().snapshot();
    assert_eq!(snapshot.files.len().to_string(), days);
    let sql = format!("SELECT seq FROM records WHERE session_id = '{}' AND day = '2026-11-20'", session_name(17));
    let plan = lake.rows(&format!("EXPLAIN {sql}")).await.unwrap();
    let plan: String = plan.into_iter().flatten().collect::<Vec<_>>().join("\n");
    assert!(plan.matches(".parquet").count() <= 1, "{plan}");
}
