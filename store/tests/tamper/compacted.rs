//! What is done to files that a compaction wrote, to those that it replaced, and to its commit.

use crate::bytes::other_host;
use crate::common::{START, key};
use crate::stage::Stage;
use arrow::compute::filter_record_batch;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use uuid::Uuid;
use wk_schemas::Timestamp;
use wk_store::compact::{self, Limits};
use wk_store::verify::{Class, Scope};
use wk_store::{Lake, Writer};

/// The untouched lake, both of its days compacted: commit 5 has replaced the three files of the first, commit 6 that of the second.
pub(crate) async fn compacted() -> Stage {
    let mut stage = Stage::new().await;
    let mut writer = Writer::open(Lake::open(stage.dir.path()).await.unwrap(), key()).await.unwrap();
    for number in 71.. {
        let id = Uuid::from_u128(number << 96);
        let next = writer.compact(&BTreeSet::new(), "2026-10-28", &Limits::default(), id, Timestamp(START)).await;
        if next.unwrap().is_none() {
            break;
        }
    }
    stage.kept = fs::read_to_string(stage.path("log/checkpoint")).unwrap();
    stage.note().await;
    stage
}

pub(crate) const FILE_5: &str = "commit 5: records/day=2026-10-26/sessions-00000047000000000000000000000000.parquet: ";

const OTHERS_5: &str =
    "commit 5: it says other things of the files that it adds than was said of those that it takes out";

#[tokio::test]
async fn the_compacted_lake_is_valid_in_every_scope() {
    let stage = compacted().await;
    let report = stage.report_against_kept().await;
    assert_eq!(report.findings, [], "{report}");
    assert_eq!((report.valid_commits, report.valid_files, report.records, report.rearranged), (7, 6, 35, 35));
    assert_eq!((report.offsets, report.duplicates, report.chains, report.chained_records), (35, 0, 3, 35));
    for (scope, files, chained, again) in [
        (Scope::Day("2026-10-27".into()), 2, 3, 3),
        (Scope::Day("2026-10-26".into()), 4, 32, 32),
        (Scope::Session("session-1".into()), 4, 27, 32),
        (Scope::Session("session-2".into()), 4, 8, 35),
        (Scope::record("agent.session.events.v1/1@6").unwrap(), 2, 1, 3),
    ] {
        let report = stage.report_of(scope.clone()).await;
        assert_eq!(report.findings, [], "{report}");
        let found = (report.valid_files, report.chained_records, report.rearranged);
        assert_eq!(found, (files, chained, again), "{scope}: {report}");
    }
}

#[tokio::test]
async fn a_byte_of_a_compacted_file() {
    let stage = compacted().await;
    Stage::bend(&stage.file(5), |bytes| bytes[300] ^= 1);
    Stage::finds(&stage.report().await, Class::Invalid, FILE_5);
    // The other day does not know of it; the sessions and the record do.
    assert!(stage.report_of(Scope::Day("2026-10-27".into())).await.is_valid());
    let record = Scope::record("agent.session.events.v1/0@3").unwrap();
    Stage::finds(&stage.report_of(record).await, Class::Invalid, FILE_5);
}

#[tokio::test]
async fn a_compacted_file_taken_away() {
    let stage = compacted().await;
    fs::remove_file(stage.file(5)).unwrap();
    Stage::finds_only(&stage.report().await, Class::Missing, &format!("{FILE_5}the file is not there"));
}

#[tokio::test]
async fn a_compacted_file_put_in_the_place_of_another() {
    let stage = compacted().await;
    fs::copy(stage.file(6), stage.file(5)).unwrap();
    let report = stage.report().await;
    Stage::finds(&report, Class::Invalid, &format!("{FILE_5}it has 3 records, the commit says 32"));
    Stage::finds(&report, Class::Invalid, "commit 5: the files it adds hold 3 records");
}

#[tokio::test]
async fn a_row_of_a_compacted_file_changed_and_encoded_again() {
    let stage = compacted().await;
    stage.rewrite(5, other_host(3));
    let report = stage.report().await;
    Stage::finds(&report, Class::Invalid, &format!("{FILE_5}its records have the root"));
    Stage::finds(&report, Class::Invalid, "commit 5: the files it adds hold 32 records with the digest");
}

#[tokio::test]
async fn a_row_of_a_compacted_file_changed_and_everything_signed_again() {
    let stage = compacted().await;
    stage.rewrite(5, other_host(3));
    stage.reseal(5);
    stage.sign_again().await;
    Stage::finds_only(
        &stage.report().await,
        Class::Invalid,
        "commit 5: the files it adds hold 32 records with the digest",
    );
    let report = stage.report_against_kept().await;
    Stage::finds(&report, Class::Invalid, "the first 7 commits are not those of the earlier checkpoint");
}

/// Puts into a commit what the digest over the records of its file is.
fn say_digest(stage: &Stage, version: u64) {
    let file = fs::read(stage.file(version)).unwrap().into();
    let (records, digest) = compact::records_digest([&file]).unwrap();
    stage.edit(version, |lines| {
        let said = lines.iter_mut().find_map(|line| line.pointer_mut("/commitInfo/watchkeeper/arrangement")).unwrap();
        said["records"] = records.into();
        said["digest"] = digest.to_hex().into();
    });
}

#[tokio::test]
async fn a_record_changed_in_the_compaction_whose_digest_was_made_to_fit() {
    let stage = compacted().await;
    stage.rewrite(5, other_host(3));
    stage.reseal(5);
    say_digest(&stage, 5);
    stage.sign_again().await;
    Stage::finds_only(
        &stage.report().await,
        Class::Invalid,
        "commit 5: the files it takes out hold 32 records with the digest",
    );
}

#[tokio::test]
async fn a_record_left_out_in_the_compaction_whose_digest_was_made_to_fit() {
    let stage = compacted().await;
    stage.rewrite(5, |batch| {
        let keep = (0..batch.num_rows()).map(|row| row != 7).collect::<Vec<_>>().into();
        filter_record_batch(&batch, &keep).unwrap()
    });
    stage.reseal(5);
    say_digest(&stage, 5);
    stage.sign_again().await;
    let report = stage.report().await;
    Stage::finds(&report, Class::Invalid, "commit 5: the files it takes out hold 32 records");
    Stage::finds(&report, Class::Invalid, &format!("{FILE_5}it has 31 records, the commit says 32"));
}

#[tokio::test]
async fn a_file_left_in_the_table_beside_the_one_that_replaces_it() {
    let stage = compacted().await;
    stage.edit(5, |lines| {
        let at = lines.iter().position(|line| line.get("remove").is_some()).unwrap();
        lines.remove(at);
    });
    stage.sign_again().await;
    // A question would see its ten records twice.
    let report = stage.report().await;
    Stage::finds(&report, Class::Invalid, "commit 5: the files it takes out hold 22 records");
    Stage::finds(&report, Class::Invalid, OTHERS_5);
}

#[tokio::test]
async fn files_taken_out_of_the_table_that_no_file_replaces() {
    let stage = compacted().await;
    stage.edit(6, |lines| lines.retain(|line| line.get("add").is_none()));
    stage.sign_again().await;
    let report = stage.report().await;
    Stage::finds(&report, Class::Invalid, "commit 6: it says other things of the files that it adds");
    Stage::finds(&report, Class::Notice, "no commit names it");
    // Who asks about one of its records, or about another day, hears of it as well.
    for scope in [Scope::record("agent.session.events.v1/1@6").unwrap(), Scope::Day("2026-10-26".into())] {
        Stage::finds(&stage.report_of(scope).await, Class::Invalid, "commit 6: it says other things of the files");
    }
}

#[tokio::test]
async fn a_file_taken_out_of_the_table_twice() {
    let stage = compacted().await;
    stage.edit(6, |lines| {
        let again: Value =
            serde_json::json!({"remove": {"path": "day=2026-10-26/nothing.parquet", "dataChange": false}});
        lines.push(again);
    });
    stage.sign_again().await;
    let report = stage.report().await;
    let path = "records/day=2026-10-26/nothing.parquet";
    Stage::finds(&report, Class::Invalid, &format!("{path}: it is taken out of a table that it is not in"));
    Stage::finds(&report, Class::Missing, &format!("{path}: the file is not there"));
}

#[tokio::test]
async fn a_compaction_that_says_it_changes_the_table_or_moves_offsets() {
    let stage = compacted().await;
    stage.edit_add(5, |add| add["dataChange"] = true.into());
    stage.sign_again().await;
    let report = stage.report().await;
    Stage::finds_only(&report, Class::Invalid, "commit 5: it rearranges, and says that it changes the table");
    let stage = compacted().await;
    stage.edit(6, |lines| {
        let txn = serde_json::json!({"appId": "agent.session.events.v1/1", "version": 9, "lastUpdated": 1});
        lines.push(serde_json::json!({"txn": txn}));
    });
    stage.sign_again().await;
    Stage::finds(&stage.report().await, Class::Invalid, "commit 6: it rearranges, and accounts for offsets");
}

#[tokio::test]
async fn a_replaced_file_changed_or_taken_away() {
    let stage = compacted().await;
    stage.rewrite(1, other_host(3));
    let report = stage.report().await;
    Stage::finds(&report, Class::Invalid, "commit 1: records/day=2026-10-26/events-0-0-9-");
    Stage::finds(&report, Class::Invalid, "commit 5: the files it takes out hold 32 records");
    let stage = compacted().await;
    fs::remove_file(stage.file(1)).unwrap();
    let report = stage.report().await;
    Stage::finds(&report, Class::Missing, "commit 1: records/day=2026-10-26/events-0-0-9-");
    Stage::finds(&report, Class::Missing, "commit 5: records/day=2026-10-26/events-0-0-9-");
}

#[tokio::test]
async fn the_statistics_of_a_compacted_file_that_lie() {
    let stage = compacted().await;
    stage.edit_stats(5, |stats| stats["maxValues"]["session_id"] = "session-1".into());
    stage.sign_again().await;
    let report = stage.report().await;
    Stage::finds(&report, Class::Invalid, "its sessions go from session-1 to session-2");
    Stage::finds(&report, Class::Invalid, OTHERS_5);
    // The session that the lie hides from questions is told, though its own file is passed by.
    let report = stage.report_of(Scope::Session("session-2".into())).await;
    Stage::finds(&report, Class::Invalid, OTHERS_5);
}

#[tokio::test]
async fn the_commit_of_a_compaction_dropped() {
    let stage = compacted().await;
    fs::remove_file(stage.commit(6)).unwrap();
    Stage::finds(&stage.report().await, Class::Missing, "commit 6: the commit is not there");
}
