//! What a commit promises: whole or not at all, once, at the end of every range, and never by two writers.

use crate::common::{START, Session, commit, filled, key, lake_id, range, records, rows, writer};
use std::fs;
use uuid::Uuid;
use wk_schemas::{Timestamp, Topic};
use wk_store::merkle::LogError;
use wk_store::{Commit, CommitError, Lake, OpenError, PrepareError, Range, Source, Writer, WriterError};

const EVENTS: Source = Source { topic: Topic::Events, partition: 0 };

#[tokio::test]
async fn what_was_committed_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let before = filled(dir.path()).await.lake().snapshot();
    let lake = Lake::open(dir.path()).await.unwrap();
    let after = lake.snapshot();
    assert_eq!(after.files, before.files);
    assert_eq!(after.offsets, before.offsets);
    assert_eq!((after.version, after.records(), after.offsets.next(EVENTS)), (3, 25, 25));
    assert_eq!(lake.id(), lake_id().to_string());
    assert!(matches!(Lake::create(dir.path(), lake_id(), Timestamp(START)).await, Err(OpenError::Exists)));
}

#[tokio::test]
async fn a_reader_sees_a_new_commit_when_it_refreshes_and_no_record_twice() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = writer(dir.path()).await;
    let reader = Lake::open(dir.path()).await.unwrap();
    let mut session = Session::new(1);
    for (number, body) in (0u32..).zip(records::bodies()).take(5) {
        writer.commit(&commit(u128::from(number) + 1, i64::from(number), vec![session.datum(body)])).await.unwrap();
        assert_eq!(reader.refresh().await.unwrap().records(), u64::from(number) + 1);
    }
}

#[tokio::test]
async fn a_range_that_does_not_start_at_the_end_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = filled(dir.path()).await;
    let datum = Session::new(2).datum(records::bodies().remove(0));
    for first in [0, 24, 26] {
        let error = writer.commit(&commit(9, first, vec![datum.clone()])).await.unwrap_err();
        assert!(matches!(error, CommitError::NotAtEnd { committed: 25, .. }), "{error}");
    }
    assert_eq!(writer.lake().refresh().await.unwrap().version, 3);
}

#[tokio::test]
async fn the_same_commit_twice_is_one_commit() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = filled(dir.path()).await;
    let commit = commit(9, 25, vec![Session::new(2).datum(records::bodies().remove(0))]);
    assert_eq!(writer.commit(&commit).await.unwrap(), 4);
    assert_eq!(writer.commit(&commit).await.unwrap(), 4);
    // A writer that crashed after the commit, before it heard of it.
    let mut restarted = Writer::open(Lake::open(dir.path()).await.unwrap(), key()).await.unwrap();
    assert_eq!(restarted.commit(&commit).await.unwrap(), 4);
    assert_eq!(restarted.lake().snapshot().records(), 26);
}

#[tokio::test]
async fn an_answer_that_got_lost_is_settled_by_the_commit_id() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = filled(dir.path()).await;
    let twin = || commit(9, 25, vec![Session::new(2).datum(records::bodies().remove(0))]);
    let mut other = Writer::open(Lake::open(dir.path()).await.unwrap(), key()).await.unwrap();
    other.commit(&twin()).await.unwrap();
    // To this writer version 4 is taken, by the very commit it wants to make.
    assert_eq!(writer.commit(&twin()).await.unwrap(), 4);
    assert_eq!(writer.lake().refresh().await.unwrap().records(), 26);
}

#[tokio::test]
async fn of_two_writers_the_second_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = filled(dir.path()).await;
    let mut second = Writer::open(Lake::open(dir.path()).await.unwrap(), key()).await.unwrap();
    let datum = Session::new(2).datum(records::bodies().remove(0));
    first.commit(&commit(8, 25, vec![datum.clone()])).await.unwrap();
    let error = second.commit(&commit(9, 25, vec![datum])).await.unwrap_err();
    assert!(matches!(error, CommitError::Conflict { version: 4 }), "{error}");
    assert_eq!(Lake::open(dir.path()).await.unwrap().snapshot().records(), 26);
}

#[test]
fn rows_and_ranges_that_do_not_add_up_are_refused() {
    let mut session = Session::new(1);
    let datums: Vec<_> = records::bodies().into_iter().take(3).map(|b| session.datum(b)).collect();
    let rows = rows(0, datums);
    let whole = range(0, &rows);
    let prepare =
        |rows: &[_], ranges: Vec<Range>| Commit::prepare(Uuid::nil(), Timestamp(START), rows.to_vec(), ranges);
    assert!(prepare(&rows, vec![whole.clone()]).is_ok());
    assert!(matches!(prepare(&rows[..2], vec![whole.clone()]), Err(PrepareError::Incomplete { .. })));
    let silent = Range { rows: 2, ..whole.clone() };
    assert!(matches!(prepare(&rows[..2], vec![silent]), Err(PrepareError::Incomplete { .. })));
    let counted = Range { rows: 2, dead_letters: 1, ..whole.clone() };
    assert!(prepare(&rows[..2], vec![counted]).is_ok());
    assert!(matches!(prepare(&rows, vec![whole.clone(), whole.clone()]), Err(PrepareError::TwoRanges { .. })));
    let twice = [rows[0].clone(), rows[0].clone(), rows[1].clone()];
    assert!(matches!(prepare(&twice, vec![whole]), Err(PrepareError::Misplaced { .. })));
}

#[tokio::test]
async fn records_of_two_days_lie_in_two_files() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = writer(dir.path()).await;
    let mut session = Session::new(1);
    let mut rows = rows(0, records::bodies().into_iter().take(4).map(|b| session.datum(b)).collect());
    rows[3] =
        wk_store::Row::read(Topic::Events, 0, 3, Timestamp(START + 86_400_000_000), rows[3].datum().clone()).unwrap();
    let whole = range(0, &rows);
    writer
        .commit(&Commit::prepare(Uuid::from_u128(1 << 96), Timestamp(START), rows, vec![whole]).unwrap())
        .await
        .unwrap();
    let snapshot = writer.lake().snapshot();
    let files: Vec<_> = snapshot.files.iter().map(|f| (f.path.as_str(), f.rows)).collect();
    assert_eq!(
        files,
        [
            ("records/day=2026-10-26/events-0-0-2-00000001000000000000000000000000.parquet", 3),
            ("records/day=2026-10-27/events-0-3-3-00000001000000000000000000000000.parquet", 1),
        ]
    );
    assert!(files.iter().all(|(path, _)| dir.path().join(path).is_file()));
}

#[tokio::test]
async fn tiles_that_a_crash_left_behind_are_brought_up_at_the_next_open() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path()).await);
    let checkpoint = dir.path().join("log/checkpoint");
    let newest = fs::read_to_string(&checkpoint).unwrap();
    // As after a crash between commit 1 and everything that follows it in the Merkle log.
    let small = tempfile::tempdir().unwrap();
    let mut one = writer(small.path()).await;
    let mut session = Session::new(1);
    one.commit(&commit(1, 0, records::bodies().into_iter().take(10).map(|b| session.datum(b)).collect()))
        .await
        .unwrap();
    fs::remove_dir_all(dir.path().join("log")).unwrap();
    copy(&small.path().join("log"), &dir.path().join("log"));
    drop(writer(dir.path()).await);
    assert_eq!(fs::read_to_string(&checkpoint).unwrap(), newest);
    // And with tiles lost altogether, the checkpoint kept.
    fs::remove_dir_all(dir.path().join("log/tile")).unwrap();
    drop(writer(dir.path()).await);
    assert_eq!(fs::read_to_string(&checkpoint).unwrap(), newest);
}

#[tokio::test]
async fn a_lake_whose_commits_were_cut_off_or_changed_or_lost_their_checkpoint_does_not_open_for_writing() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path()).await);
    let last = dir.path().join("records/_delta_log/00000000000000000003.json");
    let text = fs::read(&last).unwrap();
    fs::remove_file(&last).unwrap();
    let open = || async { Writer::open(Lake::open(dir.path()).await.unwrap(), key()).await.map(drop) };
    let error = open().await.unwrap_err();
    assert!(matches!(error, WriterError::Log(LogError::CutOff { signed: 4, found: 3 })), "{error}");
    fs::write(&last, &text).unwrap();
    let checkpoint = dir.path().join("log/checkpoint");
    let signed = fs::read(&checkpoint).unwrap();
    fs::remove_file(&checkpoint).unwrap();
    let error = open().await.unwrap_err();
    assert!(matches!(error, WriterError::Log(LogError::NoCheckpoint { commits: 4 })), "{error}");
    assert!(!checkpoint.exists());
    fs::write(&checkpoint, signed).unwrap();
    fs::write(&last, [text.as_slice(), b"\n"].concat()).unwrap();
    fs::remove_dir_all(dir.path().join("log/tile")).unwrap();
    let error = open().await.unwrap_err();
    assert!(matches!(error, WriterError::Log(LogError::Altered { size: 4, .. })), "{error}");
}

#[tokio::test]
async fn a_commit_missing_in_the_middle_is_named() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path()).await);
    fs::remove_file(dir.path().join("records/_delta_log/00000000000000000002.json")).unwrap();
    assert!(matches!(Lake::open(dir.path()).await, Err(OpenError::Hole { version: 2 })));
    assert!(matches!(Lake::open(&dir.path().join("none")).await, Err(OpenError::NoLake { .. })));
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
