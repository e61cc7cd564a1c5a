//! What was done to the lake is found and named.

use crate::common::{START, Session, commit, filled, key, records, rows, writer};
use bytes::Bytes;
use ed25519_dalek::SigningKey;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use uuid::Uuid;
use wk_schemas::{Digest, Timestamp, Topic};
use wk_store::files::Files;
use wk_store::merkle::Log;
use wk_store::verify::{Class, Options, Report, verify};
use wk_store::{Commit, Range};

async fn report(folder: &Path, against: Option<String>) -> Report {
    let files = Files::local(folder).unwrap();
    verify(&files, &key().verifying_key(), &Options { against, ..Options::default() }, |_| {}).await.unwrap()
}

/// Class and text of every finding, shortened to what a test compares.
fn findings(report: &Report) -> Vec<(Class, String)> {
    report.findings.iter().map(|f| (f.class, f.to_string()[8..].to_owned())).collect()
}

#[track_caller]
fn says(report: &Report, class: Class, text: &str) {
    let found = findings(report);
    assert!(found.iter().any(|(c, t)| *c == class && t.contains(text)), "no {class:?} `{text}` in\n{report}");
    assert_eq!(report.exit_status(), 1);
}

fn file(folder: &Path, start: &str) -> PathBuf {
    let day = fs::read_dir(folder.join("records")).unwrap().map(|e| e.unwrap().path());
    day.filter(|d| d.file_name().unwrap().to_str().unwrap().starts_with("day="))
        .flat_map(|d| fs::read_dir(d).unwrap().map(|e| e.unwrap().path()))
        .find(|f| f.file_name().unwrap().to_str().unwrap().starts_with(start))
        .unwrap()
}

fn commit_file(folder: &Path, version: u64) -> PathBuf {
    folder.join(format!("records/_delta_log/{version:020}.json"))
}

#[tokio::test]
async fn an_untouched_lake_is_valid_and_everything_in_it_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path()).await);
    let earlier = fs::read_to_string(dir.path().join("log/checkpoint")).unwrap();
    let report = report(dir.path(), Some(earlier)).await;
    assert_eq!(findings(&report), []);
    assert_eq!((report.valid_commits, report.valid_files, report.records), (4, 3, 25));
    assert_eq!((report.chains, report.chained_records, report.duplicates, report.offsets), (1, 25, 0, 25));
    assert_eq!(report.exit_status(), 0);
    assert!(report.to_string().ends_with("result      valid\n"));
    let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
    assert_eq!(json["findings"], serde_json::json!([]));
}

#[tokio::test]
async fn a_flipped_byte_in_a_file_is_found_wherever_it_is() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path()).await);
    let path = file(dir.path(), "events-0-10");
    let whole = fs::read(&path).unwrap();
    for at in [4, whole.len() / 3, whole.len() / 2, whole.len() - 20] {
        let mut bent = whole.clone();
        bent[at] ^= 0x10;
        fs::write(&path, bent).unwrap();
        let report = report(dir.path(), None).await;
        says(&report, Class::Invalid, "events-0-10-19-00000002000000000000000000000000.parquet: ");
        assert_eq!((report.valid_commits, report.valid_files), (4, 2), "{report}");
    }
}

/// Writes a file again with its rows put through `change`.
fn rewrite(path: &Path, change: impl Fn(arrow::array::RecordBatch) -> arrow::array::RecordBatch) -> Bytes {
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(fs::read(path).unwrap())).unwrap();
    let batches: Vec<_> = reader.build().unwrap().map(|b| change(b.unwrap())).collect();
    let mut out = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut out, batches[0].schema(), None).unwrap();
    batches.iter().for_each(|b| writer.write(b).unwrap());
    writer.close().unwrap();
    fs::write(path, &out).unwrap();
    out.into()
}

/// Makes a commit say what its changed file now is.
fn cover_up(folder: &Path, version: u64, old: &Bytes, new: &Bytes) {
    let path = commit_file(folder, version);
    let text = fs::read_to_string(&path).unwrap();
    let text = text.replace(&Digest::of(old).to_hex(), &Digest::of(new).to_hex());
    fs::write(&path, text.replace(&format!("\"size\":{}", old.len()), &format!("\"size\":{}", new.len()))).unwrap();
}

fn change_host(batch: arrow::array::RecordBatch) -> arrow::array::RecordBatch {
    let index = batch.schema().index_of("host").unwrap();
    let mut columns = batch.columns().to_vec();
    let hosts = (0..batch.num_rows()).map(|row| if row == 3 { "elsewhere" } else { "build-7" });
    columns[index] = Arc::new(arrow::array::StringArray::from_iter_values(hosts));
    arrow::array::RecordBatch::try_new(batch.schema(), columns).unwrap()
}

#[tokio::test]
async fn a_changed_record_is_found_even_when_file_and_commit_were_made_to_fit() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path()).await);
    let path = file(dir.path(), "events-0-10");
    let old = Bytes::from(fs::read(&path).unwrap());
    let new = rewrite(&path, change_host);
    let bare = report(dir.path(), None).await;
    says(&bare, Class::Invalid, "the commit says");
    cover_up(dir.path(), 2, &old, &new);
    let report = report(dir.path(), None).await;
    says(&report, Class::Invalid, "commit 2: its bytes are not the ones that were signed");
    says(&report, Class::Invalid, "its records have the root");
    says(&report, Class::Invalid, "session session-1 writer shim: the record with seq 13 was altered");
    assert_eq!(report.valid_commits, 3);
}

#[tokio::test]
async fn a_record_left_out_is_named_by_its_chain() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path()).await);
    rewrite(&file(dir.path(), "events-0-10"), |batch| {
        let keep: arrow::array::BooleanArray = (0..batch.num_rows()).map(|row| Some(row != 4)).collect();
        arrow::compute::filter_record_batch(&batch, &keep).unwrap()
    });
    let report = report(dir.path(), None).await;
    says(&report, Class::Gap, "the record with seq 14 is missing");
    says(&report, Class::Missing, "it has 9 records of agent.session.events.v1/0, and says 10");
}

#[tokio::test]
async fn a_record_that_never_came_is_a_gap_in_its_chain_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = writer(dir.path()).await;
    let mut session = Session::new(1);
    let mut datums: Vec<_> = records::bodies().into_iter().map(|b| session.datum(b)).collect();
    datums.remove(6);
    writer.commit(&commit(1, 0, datums)).await.unwrap();
    let report = report(dir.path(), None).await;
    assert_eq!(
        findings(&report),
        [(
            Class::Gap,
            "agent.session.events.v1/0@6: session session-1 writer shim: the record with seq 6 is missing".to_owned()
        )]
    );
}

#[tokio::test]
async fn a_record_sent_twice_is_counted_and_a_second_version_of_it_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = writer(dir.path()).await;
    let (mut session, mut liar) = (Session::new(1), Session::new(1));
    let mut bodies = records::bodies().into_iter();
    let first = session.datum(bodies.next().unwrap());
    let second = session.datum(bodies.next().unwrap());
    liar.datum(bodies.next().unwrap());
    let other = liar.datum(bodies.next().unwrap());
    let sent = vec![first.clone(), second.clone(), first, second, other];
    writer.commit(&commit(1, 0, sent)).await.unwrap();
    let report = report(dir.path(), None).await;
    assert_eq!((report.duplicates, report.chained_records), (2, 3));
    assert_eq!(report.findings.len(), 1);
    says(&report, Class::Invalid, "two different records claim seq 1");
}

#[tokio::test]
async fn a_file_that_is_gone_is_missing_with_what_it_held() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path()).await);
    fs::remove_file(file(dir.path(), "events-0-10")).unwrap();
    let report = report(dir.path(), None).await;
    says(&report, Class::Missing, "the file is not there: 10 records, agent.session.events.v1/0 offsets 10 to 19");
}

#[tokio::test]
async fn a_commit_that_is_gone_is_missing_and_its_offsets_are_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path()).await);
    fs::remove_file(commit_file(dir.path(), 2)).unwrap();
    let report = report(dir.path(), None).await;
    says(&report, Class::Missing, "commit 2: the commit is not there");
    says(&report, Class::Gap, "offsets 10 to 19 of agent.session.events.v1/0 are in no commit");
}

#[tokio::test]
async fn commits_cut_off_are_found_by_the_checkpoint_and_with_it_by_an_earlier_one() {
    let dir = tempfile::tempdir().unwrap();
    let earlier = {
        drop(filled(dir.path()).await);
        fs::read_to_string(dir.path().join("log/checkpoint")).unwrap()
    };
    fs::remove_file(commit_file(dir.path(), 3)).unwrap();
    says(&report(dir.path(), None).await, Class::Missing, "commit 3: the commit is not there");
    // The attacker holds the key and starts the log over.
    fs::remove_dir_all(dir.path().join("log")).unwrap();
    let lake = wk_store::Lake::open(dir.path()).await.unwrap();
    let entries: Vec<_> =
        (0..3).map(|version| Bytes::from(fs::read(commit_file(dir.path(), version)).unwrap())).collect();
    Log::empty(lake.files().clone()).append(&entries, &lake.origin(), &key()).await.unwrap();
    assert!(report(dir.path(), None).await.is_valid());
    says(
        &report(dir.path(), Some(earlier)).await,
        Class::Missing,
        "the earlier checkpoint covers 4 commits, this one 3",
    );
}

#[tokio::test]
async fn history_written_anew_with_the_key_is_found_by_an_earlier_checkpoint() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    drop(filled(dir.path()).await);
    let mut writer = writer(other.path()).await;
    let mut session = Session::new(2);
    for (number, body) in (0u32..).zip(records::bodies()).take(6) {
        writer.commit(&commit(u128::from(number) + 1, i64::from(number), vec![session.datum(body)])).await.unwrap();
    }
    let earlier = fs::read_to_string(dir.path().join("log/checkpoint")).unwrap();
    says(
        &report(other.path(), Some(earlier)).await,
        Class::Invalid,
        "the first 4 commits are not those of the earlier checkpoint",
    );
}

#[tokio::test]
async fn a_checkpoint_of_another_key_and_none_at_all_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path()).await);
    let other = SigningKey::from_bytes(&[9; 32]).verifying_key();
    let files = Files::local(dir.path()).unwrap();
    let foreign = verify(&files, &other, &Options::default(), |_| {}).await.unwrap();
    says(&foreign, Class::Invalid, "the checkpoint is not signed by the key watchkeeper/");
    assert_eq!(foreign.records, 25);
    fs::remove_file(dir.path().join("log/checkpoint")).unwrap();
    says(&report(dir.path(), None).await, Class::Missing, "there is no checkpoint");
}

#[tokio::test]
async fn a_changed_tile_is_found_and_the_commits_still_count() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path()).await);
    let path = dir.path().join("log/tile/0/000.p/4");
    let mut tile = fs::read(&path).unwrap();
    tile[70] ^= 1;
    fs::write(&path, tile).unwrap();
    let report = report(dir.path(), None).await;
    says(&report, Class::Invalid, "the tiles have the root");
    assert_eq!((report.valid_commits, report.findings.len()), (4, 1), "{report}");
}

#[tokio::test]
async fn a_commit_that_nobody_signed_is_found() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path()).await);
    fs::write(commit_file(dir.path(), 4), "{\"commitInfo\":{\"timestamp\":1,\"operation\":\"DELETE\"}}\n").unwrap();
    let report = report(dir.path(), None).await;
    says(&report, Class::Invalid, "commit 4: no signed checkpoint covers it");
    says(&report, Class::Invalid, "commit 4: it was not made by this program");
}

#[tokio::test]
async fn a_dead_letter_that_is_counted_must_be_in_the_table() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = writer(dir.path()).await;
    let rows = rows(0, vec![Session::new(1).datum(records::bodies().remove(0))]);
    let range = Range { topic: Topic::Events, partition: 0, first: 0, next: 3, rows: 1, dead_letters: 1, absent: 1 };
    writer.commit(&Commit::prepare(Uuid::from_u128(1), Timestamp(START), rows, vec![range]).unwrap()).await.unwrap();
    let report = report(dir.path(), None).await;
    says(&report, Class::Gap, "1 dead letters of agent.session.events.v1/0 are counted");
    assert_eq!((report.offsets, report.records, report.dead_letters, report.absent), (3, 1, 1, 1));
}

#[tokio::test]
async fn a_lake_that_is_being_written_is_valid_all_the_time() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = writer(dir.path()).await;
    let files = Files::local(dir.path()).unwrap();
    let writing = tokio::spawn(async move {
        let mut session = Session::new(1);
        for number in 0u32..40 {
            let body = records::bodies().remove(usize::try_from(number % 25).unwrap());
            let commit = commit(u128::from(number) + 1, i64::from(number), vec![session.datum(body)]);
            writer.commit(&commit).await.unwrap();
        }
    });
    while !writing.is_finished() {
        let report = verify(&files, &key().verifying_key(), &Options::default(), |_| {}).await.unwrap();
        assert!(report.is_valid(), "{report}");
    }
    writing.await.unwrap();
}
