//! Somebody who holds the signing key makes everything fit and signs it again.
//!
//! What the lake says of itself must still hold together; where it does, only a checkpoint that somebody outside has kept tells.

use crate::bytes::other_host;
use crate::common::{Session, records};
use crate::stage::{Put, Stage};
use serde_json::json;
use std::fs;
use wk_schemas::Topic;
use wk_store::verify::{Class, Scope};

#[tokio::test]
async fn a_record_changed_and_everything_signed_again() {
    let stage = Stage::new().await;
    stage.rewrite(1, other_host(3));
    stage.reseal(1);
    stage.sign_again().await;
    let report = stage.report().await;
    Stage::finds_only(&report, Class::Invalid, "session session-1 writer shim: the record with seq 3 was altered");
    let report = stage.report_against_kept().await;
    Stage::finds(&report, Class::Invalid, "the first 5 commits are not those of the earlier checkpoint");
}

#[tokio::test]
async fn the_last_record_of_a_session_changed_and_everything_signed_again() {
    let stage = Stage::new().await;
    // Nothing follows it in its chain: only who has kept a checkpoint can tell.
    stage.rewrite(4, other_host(2));
    stage.reseal(4);
    stage.sign_again().await;
    assert!(stage.report().await.is_valid());
    let report = stage.report_against_kept().await;
    Stage::finds_only(&report, Class::Invalid, "the first 5 commits are not those of the earlier checkpoint");
}

#[tokio::test]
async fn the_last_commits_cut_off_and_the_rest_signed_again() {
    let stage = Stage::new().await;
    fs::remove_file(stage.file(4)).unwrap();
    fs::remove_file(stage.commit(4)).unwrap();
    stage.sign_again().await;
    assert!(stage.report().await.is_valid());
    Stage::finds(
        &stage.report_against_kept().await,
        Class::Missing,
        "the earlier checkpoint covers 5 commits, this one 4: commits were cut off",
    );
    let report = stage.report_of(Scope::Session("session-2".into())).await;
    Stage::finds_only(&report, Class::Notice, "session session-2: it has no end: its last record has seq 4");
}

#[tokio::test]
async fn a_forked_log_shows_against_the_checkpoint_of_the_other_branch() {
    let (stage, mut told) = (Stage::new().await, Session::new(1));
    let puts = records::bodies()
        .into_iter()
        .take(6)
        .map(|body| {
            vec![Put { topic: Topic::Events, partition: 0, recorded_at: crate::common::START, datum: told.datum(body) }]
        })
        .collect();
    let other = Stage::of(puts).await;
    assert!(other.report().await.is_valid());
    let report =
        other.verify(wk_store::verify::Options { against: Some(stage.kept.clone()), ..Default::default() }).await;
    Stage::finds_only(&report, Class::Invalid, "the first 5 commits are not those of the earlier checkpoint");
}

#[tokio::test]
async fn a_checkpoint_put_back_to_an_earlier_one() {
    let stage = Stage::new().await;
    let mut entries = Vec::new();
    for version in 0..3 {
        entries.push(fs::read(stage.commit(version)).unwrap().into());
    }
    let elsewhere = tempfile::tempdir().unwrap();
    let files = wk_store::files::Files::local(elsewhere.path()).unwrap();
    let origin = format!("watchkeeper/{}", crate::common::lake_id());
    wk_store::merkle::Log::empty(files).append(&entries, &origin, &crate::common::key()).await.unwrap();
    fs::copy(elsewhere.path().join("log/checkpoint"), stage.path("log/checkpoint")).unwrap();
    let report = stage.report_against_kept().await;
    Stage::finds(&report, Class::Invalid, "commit 3: no signed checkpoint covers it");
    Stage::finds(&report, Class::Missing, "the earlier checkpoint covers 5 commits, this one 3");
}

/// Somebody with the key lies about what is in a file, so that questions pass it by.
async fn lie(change: impl FnOnce(&Stage), said: &str) {
    let stage = Stage::new().await;
    change(&stage);
    stage.sign_again().await;
    Stage::finds_only(&stage.report().await, Class::Invalid, said);
}

#[tokio::test]
async fn statistics_that_lie_about_sessions() {
    lie(
        |stage| stage.edit_stats(1, |stats| stats["maxValues"]["session_id"] = "session-0".into()),
        "its sessions go from session-1 to session-1, the commit says otherwise",
    )
    .await;
}

#[tokio::test]
async fn statistics_that_lie_about_times() {
    lie(
        |stage| stage.edit_stats(1, |stats| stats["minValues"]["occurred_at"] = "2026-10-27T00:00:00.000Z".into()),
        "`occurred_at` of its records goes from 1793000000000000 to 1793000000009000",
    )
    .await;
}

#[tokio::test]
async fn statistics_that_lie_about_the_number_of_records() {
    lie(
        |stage| stage.edit_stats(1, |stats| stats["numRecords"] = 9.into()),
        "`numRecords` is not the number of its records",
    )
    .await;
}

#[tokio::test]
async fn tags_that_lie_about_kinds() {
    lie(
        |stage| {
            stage.edit_add(2, |add| {
                let kinds = add["tags"]["watchkeeper.kinds"].as_str().unwrap().replace("finding:", "thought:");
                add["tags"]["watchkeeper.kinds"] = kinds.into();
            });
        },
        "its records are",
    )
    .await;
}

#[tokio::test]
async fn tags_that_lie_about_offsets() {
    lie(
        |stage| {
            stage.edit_add(2, |add| {
                let held = add["tags"]["watchkeeper.ranges"].as_str().unwrap().replace(":10-19:", ":10-18:");
                add["tags"]["watchkeeper.ranges"] = held.into();
            });
        },
        "it holds 10 of agent.session.events.v1/0 from 10 to 19",
    )
    .await;
}

#[tokio::test]
async fn a_file_under_another_day() {
    lie(
        |stage| stage.edit_add(4, |add| add["partitionValues"]["day"] = "2026-10-26".into()),
        "its records are of 2026-10-27 to 2026-10-27, and it lies under 2026-10-26",
    )
    .await;
}

#[tokio::test]
async fn offsets_moved_in_the_transactions() {
    lie(
        |stage| {
            stage.edit(2, |lines| {
                let txn = lines.iter_mut().find_map(|line| line.get_mut("txn")).unwrap();
                txn["version"] = 30.into();
            });
        },
        "commit 2: its ranges and its transactions disagree",
    )
    .await;
}

#[tokio::test]
async fn offsets_skipped_in_ranges_and_transactions() {
    let stage = Stage::new().await;
    stage.edit(3, |lines| {
        for line in lines.iter_mut() {
            if let Some(ranges) = line.pointer_mut("/commitInfo/watchkeeper/ranges") {
                for range in ranges.as_array_mut().unwrap() {
                    if range["partition"] == 0 {
                        range["first"] = 21.into();
                        range["rows"] = 4.into();
                    }
                }
            }
        }
    });
    stage.sign_again().await;
    let report = stage.report().await;
    Stage::finds(&report, Class::Gap, "commit 3: offsets 20 to 20 of agent.session.events.v1/0 are in no commit");
    Stage::finds(&report, Class::Invalid, "agent.session.events.v1/0@20: it is outside the commit's ranges");
}

#[tokio::test]
async fn a_record_said_to_be_a_dead_letter() {
    let stage = Stage::new().await;
    stage.edit(1, |lines| {
        for line in lines.iter_mut() {
            if let Some(range) = line.pointer_mut("/commitInfo/watchkeeper/ranges/0") {
                range["rows"] = 9.into();
                range["deadLetters"] = 1.into();
            }
        }
    });
    stage.sign_again().await;
    let report = stage.report().await;
    Stage::finds(&report, Class::Invalid, "commit 1: it has 10 records of agent.session.events.v1/0, and says 9");
    Stage::finds(&report, Class::Gap, "1 dead letters of agent.session.events.v1/0 are counted");
}

#[tokio::test]
async fn a_range_that_does_not_add_up() {
    let stage = Stage::new().await;
    stage.edit(1, |lines| {
        for line in lines.iter_mut() {
            if let Some(range) = line.pointer_mut("/commitInfo/watchkeeper/ranges/0") {
                range["absent"] = 1.into();
            }
        }
    });
    stage.sign_again().await;
    Stage::finds_only(
        &stage.report().await,
        Class::Invalid,
        "commit 1: its range of agent.session.events.v1/0 does not add up",
    );
}

#[tokio::test]
async fn the_table_made_to_allow_deletes() {
    let stage = Stage::new().await;
    let mut meta = stage.lines(0).into_iter().find(|line| line.get("metaData").is_some()).unwrap();
    meta["metaData"]["configuration"]["delta.appendOnly"] = "false".into();
    stage.edit(3, |lines| lines.push(meta));
    stage.sign_again().await;
    Stage::finds_only(&stage.report().await, Class::Invalid, "commit 3: it changes the table's protocol or schema");
}

#[tokio::test]
async fn a_commit_of_another_program() {
    let stage = Stage::new().await;
    fs::write(stage.commit(5), json!({"commitInfo": {"timestamp": 1, "operation": "WRITE"}}).to_string() + "\n")
        .unwrap();
    stage.sign_again().await;
    Stage::finds_only(&stage.report().await, Class::Invalid, "commit 5: it was not made by this program");
}
