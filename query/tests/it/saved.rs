//! Every saved question against a lake whose four sessions are known; the answers stand in `tests/sql/saved.slt`.

use crate::agents::START;
use crate::lake::Fixture;
use crate::slt::{self, Case};
use std::collections::BTreeSet;
use std::path::Path;
use wk_query::{Config, saved};
use wk_schemas::{Kind, Timestamp};

/// A day after the first session began.
const NOW: Timestamp = Timestamp(START + 24 * 3_600_000_000);

/// The statement of `saved <name> key=value …`.
fn statement(asked: &str) -> (String, String) {
    let mut words = asked.split_whitespace();
    let name = words.next().unwrap();
    let given: Vec<(String, String)> =
        words.map(|pair| pair.split_once('=').unwrap()).map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    let sql = saved::find(name).unwrap().sql(&given, NOW).unwrap_or_else(|error| panic!("{asked}: {error}"));
    (name.to_owned(), sql)
}

#[tokio::test]
async fn every_saved_question_gets_the_answer_that_the_story_tells() {
    let lake = Fixture::known(Config::default()).await;
    let file = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/sql/saved.slt"));
    let mut asked = BTreeSet::new();
    let mut cases = Vec::new();
    for case in slt::parse(&std::fs::read_to_string(file).unwrap()) {
        let (name, sql) = statement(&case.sql);
        asked.insert(name);
        cases.push(Case { sql, ..case });
    }
    let wrong = slt::differences(&lake, file, cases).await;
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n\n"));
    let all: BTreeSet<String> = saved::all().iter().map(|saved| saved.name.to_owned()).collect();
    assert_eq!(asked, all, "every saved question has an answer to hold it to");
}

#[tokio::test]
async fn the_story_has_a_record_of_every_kind() {
    let lake = Fixture::known(Config::default()).await;
    let there: BTreeSet<String> =
        lake.rows("SELECT DISTINCT kind FROM records").await.unwrap().into_iter().flatten().collect();
    // No saved question asks about attempts on the sandbox yet.
    let left_out = [Kind::Unspecified, Kind::CallAttempted].map(Kind::as_str);
    let all: BTreeSet<String> =
        Kind::ALL.iter().map(|kind| kind.as_str()).filter(|kind| !left_out.contains(kind)).map(str::to_owned).collect();
    assert_eq!(there, all);
}

#[tokio::test]
async fn a_time_in_a_saved_question_leaves_files_out() {
    let lake = Fixture::known(Config::default()).await;
    let (_, sql) = statement("unexplained-effects since=2026-11-20T13:30:00Z");
    let plan = lake.rows(&format!("EXPLAIN {sql}")).await.unwrap().concat().concat();
    assert_eq!(plan.matches(".parquet").count(), 1, "{plan}");
}
