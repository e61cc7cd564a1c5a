//! A question that was asked before has its plan ready, and an answer of now.

use crate::agents::{self, START};
use crate::evolution::{as_newer, newer};
use crate::lake::Fixture;
use wk_query::Config;

#[tokio::test(flavor = "multi_thread")]
async fn the_same_question_sees_what_came_meanwhile() {
    let lake = Fixture::new(4, Config::default()).await;
    let questions = [
        "SELECT count(*) FROM records",
        "SELECT count(*) FROM records WHERE host = 'build-7'",
        "SELECT count(DISTINCT session_id) FROM sessions",
        "SELECT count(*) FROM records a JOIN records b USING (record_id)",
        "SELECT count(*) FROM timeline WHERE session_id IN (SELECT session_id FROM sessions)",
    ];
    let mut before = Vec::new();
    for question in questions {
        before.push(lake.one(question).await.parse::<u64>().unwrap());
    }
    for round in 1..=2 {
        lake.keeper.lock().await.commit(agents::session(50 + round, START + 90_000_000, 4)).await;
        for (question, before) in questions.iter().zip(&mut before) {
            // Asked anew in other words, which have no plan yet, it has the same answer.
            let again = lake.one(question).await.parse::<u64>().unwrap();
            assert_eq!(lake.one(&format!("{question} ")).await, again.to_string(), "{question}");
            assert!(again >= *before, "{question}: {before} became {again}");
            assert!(again > *before || question.contains("host"), "{question}: {before} became {again}");
            *before = again;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_question_sees_columns_that_came_meanwhile() {
    let lake = Fixture::new(2, Config::default()).await;
    let columns = async || lake.ask("SELECT * FROM records LIMIT 1").await.unwrap().schema().fields().len();
    let before = columns().await;
    assert_eq!(columns().await, before);
    let said = agents::session(9, START + 50_000_000, 4).into_iter().map(as_newer).collect();
    lake.keeper.lock().await.commit_as(&newer(), said).await;
    assert_eq!(columns().await, before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_about_the_present_is_answered_of_the_present() {
    let lake = Fixture::new(1, Config::default()).await;
    for question in ["SELECT now()", "SELECT max(now()) FROM records", "SELECT uuid()"] {
        assert_ne!(lake.one(question).await, lake.one(question).await, "{question}");
    }
}
