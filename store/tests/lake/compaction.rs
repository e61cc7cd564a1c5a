//! Compaction: the same records in another order, in one file, and everything that was there before is still there.

use crate::common::{START, Session, commit, key, records, writer};
use bytes::Bytes;
use object_store::path::Path as ObjectPath;
use std::collections::BTreeSet;
use std::path::Path;
use uuid::Uuid;
use wk_schemas::{Timestamp, Topic};
use wk_store::compact::{self, Limits, records_digest};
use wk_store::files::Files;
use wk_store::layout::Order;
use wk_store::merkle::proof::prove;
use wk_store::verify::{Options, Report, verify};
use wk_store::{CommitError, Lake, Source, Writer};

const COMMITS: u32 = 12;

/// The day of every record here.
const TODAY: &str = "2026-10-26";

/// Commits in which the records of two sessions alternate.
async fn fill(folder: &Path) -> Writer {
    let mut writer = writer(folder).await;
    let (mut one, mut two) = (Session::new(1), Session::new(2));
    for number in 0..COMMITS {
        let body = |at: u32| records::bodies().remove(usize::try_from(number * 2 + at).unwrap() % 24);
        let datums = vec![two.datum(body(0)), one.datum(body(1))];
        writer.commit(&commit(u128::from(number) + 1, i64::from(number) * 2, datums)).await.unwrap();
    }
    writer
}

fn limits() -> Limits {
    Limits { files_min: 4, files_max: 8, rows_max: 1000, ..Limits::default() }
}

async fn report(folder: &Path) -> Report {
    let files = Files::existing(folder).unwrap();
    verify(&files, &key().verifying_key(), &Options::default(), |_| {}).await.unwrap()
}

async fn bytes(files: &Files, path: &str) -> Bytes {
    files.get(&ObjectPath::from(path)).await.unwrap().unwrap()
}

/// Session and seq of every row of a file, in its order.
fn chains(file: Bytes) -> Vec<(String, i64)> {
    use arrow::array::AsArray as _;
    use arrow::datatypes::Int64Type;
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    let mut rows = Vec::new();
    for batch in reader {
        let batch = batch.unwrap();
        let session = batch.column_by_name("session_id").unwrap().as_string::<i32>();
        let seq = batch.column_by_name("seq").unwrap().as_primitive::<Int64Type>();
        rows.extend((0..batch.num_rows()).map(|row| (session.value(row).to_owned(), seq.value(row))));
    }
    rows
}

async fn rearrange(writer: &mut Writer, number: u128) -> Result<u64, CommitError> {
    let (files, snapshot) = (writer.lake().files().clone(), writer.lake().snapshot());
    let inputs = compact::plan(&snapshot, &BTreeSet::new(), TODAY, &limits()).expect("there is something to do");
    let id = Uuid::from_u128(number << 64);
    let rewrite = compact::prepare(&files, inputs, id, Timestamp(START)).await.unwrap();
    writer.rearrange(&rewrite).await
}

#[tokio::test]
async fn a_compaction_holds_the_same_records_in_the_order_of_sessions() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = fill(dir.path()).await;
    let before = writer.lake().snapshot();
    let version = rearrange(&mut writer, 77).await.unwrap();
    assert_eq!(version, u64::from(COMMITS) + 1);
    let after = writer.lake().snapshot();
    assert_eq!((after.files.len(), after.records(), &after.offsets), (5, before.records(), &before.offsets));
    let arranged = after.files.iter().find(|file| file.order == Order::Session).unwrap();
    let files = writer.lake().files().clone();
    let rows = chains(bytes(&files, &arranged.path).await);
    assert!(rows.is_sorted() && rows.len() == 16, "{rows:?}");
    // The eight files that were read are still there, and hold the same.
    let mut read = Vec::new();
    for file in before.files.iter().take(8) {
        read.push(bytes(&files, &file.path).await);
    }
    let (old, new) = (records_digest(&read).unwrap(), records_digest([&bytes(&files, &arranged.path).await]).unwrap());
    assert_eq!(old, new);

    // Ingest goes on behind it, whoever opens the lake sees each record once, and nothing is wrong with it.
    let mut session = Session::new(3);
    let next = commit(900, i64::from(COMMITS) * 2, vec![session.datum(records::bodies().remove(0))]);
    writer.commit(&next).await.unwrap();
    assert_eq!(Lake::open(dir.path()).await.unwrap().snapshot().records(), before.records() + 1);
    let report = report(dir.path()).await;
    assert!(report.is_valid(), "{report}");
    assert_eq!((report.records, report.duplicates, report.rearranged), (before.records() + 1, 0, 16));
    // Who asks for the version before reads what it held then, out of the files that are still there.
    let old = Lake::replay_to(files.clone(), version - 1).await.unwrap().snapshot();
    assert_eq!((old.version, &old.files), (version - 1, &before.files));
    // A record is proven out of the file that it is in now.
    let (proof, record) = prove(writer.lake(), Source { topic: Topic::Events, partition: 0 }, 3).await.unwrap();
    assert_eq!((proof.version, proof.row.1), (version, 16));
    proof.check(&record, &key().verifying_key()).unwrap();
}

#[tokio::test]
async fn a_day_that_is_over_becomes_few_files_and_then_there_is_nothing_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = fill(dir.path()).await;
    let lake = writer.lake().clone();
    let few = Limits { files_min: 100, ..limits() };
    assert_eq!(compact::plan(&lake.snapshot(), &BTreeSet::new(), TODAY, &few), None, "today's files have not piled up");
    let mut taken = Vec::new();
    while let Some(inputs) = compact::plan(&lake.snapshot(), &BTreeSet::new(), "2026-10-27", &few) {
        taken.push(inputs.len());
        assert!(taken.len() < 10, "it comes to an end: {taken:?}");
        let id = Uuid::from_u128((200 + taken.len() as u128) << 64);
        let rewrite = compact::prepare(lake.files(), inputs, id, Timestamp(START)).await.unwrap();
        writer.rearrange(&rewrite).await.unwrap();
    }
    // Eight commits at most go into one compaction; then the two files of sessions become one.
    assert_eq!(taken, [8, 4, 2]);
    let snapshot = lake.snapshot();
    assert_eq!((snapshot.files.len(), snapshot.records()), (1, 24));
    let rows = chains(bytes(lake.files(), &snapshot.files[0].path).await);
    assert!(rows.is_sorted(), "{rows:?}");
    let report = report(dir.path()).await;
    assert!(report.is_valid(), "{report}");
    assert_eq!((report.records, report.rearranged, report.valid_files), (24, 48, 15));
}

#[tokio::test]
async fn a_file_that_is_over_the_limit_alone_is_taken_alone_and_written_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = fill(dir.path()).await;
    let small = Limits { files_min: 100, files_max: 8, rows_max: 1, ..Limits::default() };
    for number in 0..u128::from(COMMITS) {
        let inputs = compact::plan(&writer.lake().snapshot(), &BTreeSet::new(), "2026-10-27", &small).unwrap();
        assert_eq!(inputs.len(), 1);
        let id = Uuid::from_u128((300 + number) << 64);
        let rewrite = compact::prepare(writer.lake().files(), inputs, id, Timestamp(START)).await.unwrap();
        writer.rearrange(&rewrite).await.unwrap();
    }
    assert_eq!(compact::plan(&writer.lake().snapshot(), &BTreeSet::new(), "2026-10-27", &small), None);
}

#[tokio::test]
async fn a_commit_that_meets_a_compaction_goes_in_behind_it_and_a_compaction_behind_a_commit() {
    let dir = tempfile::tempdir().unwrap();
    let mut one = fill(dir.path()).await;
    let mut two = writer(dir.path()).await;
    rearrange(&mut two, 78).await.unwrap();
    let mut session = Session::new(3);
    let next = commit(901, i64::from(COMMITS) * 2, vec![session.datum(records::bodies().remove(0))]);
    assert_eq!(one.commit(&next).await.unwrap(), u64::from(COMMITS) + 2, "it has read nothing from the log");
    // What `two` knows is older than that commit.
    assert_eq!(rearrange(&mut two, 79).await.unwrap(), u64::from(COMMITS) + 3);
    let report = report(dir.path()).await;
    assert!(report.is_valid(), "{report}");
    let snapshot = one.lake().refresh().await.unwrap();
    assert_eq!((snapshot.records(), report.records), (25, 25));
    // A file is rearranged once.
    let stale = rearrange_again(&mut two, &snapshot).await;
    assert!(matches!(stale, Err(CommitError::Rearranged { .. })), "{stale:?}");
}

/// A compaction that was planned before another one took its files.
async fn rearrange_again(writer: &mut Writer, now: &wk_store::Snapshot) -> Result<u64, CommitError> {
    let old = Lake::replay(writer.lake().files().clone()).await.unwrap();
    assert_eq!(old.snapshot().version, now.version);
    let mut planned = wk_store::Snapshot::clone(now);
    planned.files.retain(|file| file.order == Order::Session);
    let mut inputs = planned.files.clone();
    let files = writer.lake().files().clone();
    let id = Uuid::from_u128(80 << 64);
    let first = compact::prepare(&files, std::mem::take(&mut inputs), id, Timestamp(START)).await.unwrap();
    writer.rearrange(&first).await.unwrap();
    let again = compact::prepare(&files, planned.files, Uuid::from_u128(81 << 64), Timestamp(START)).await.unwrap();
    writer.rearrange(&again).await
}

/// Names of the columns that have a bloom filter in a file, and whether each finds what is there and misses what is not.
#[tokio::test]
async fn columns_that_are_looked_into_for_one_value_have_a_bloom_filter() {
    use parquet::file::reader::{FileReader as _, SerializedFileReader};
    use parquet::file::serialized_reader::ReadOptionsBuilder;
    let dir = tempfile::tempdir().unwrap();
    let mut writer = crate::common::filled(dir.path()).await;
    let inputs = compact::plan(&writer.lake().snapshot(), &BTreeSet::new(), "2026-10-27", &limits()).unwrap();
    let rewrite = compact::prepare(writer.lake().files(), inputs, Uuid::from_u128(84), Timestamp(START)).await.unwrap();
    writer.rearrange(&rewrite).await.unwrap();
    let snapshot = writer.lake().snapshot();
    let file = bytes(writer.lake().files(), &snapshot.files[0].path).await;
    let options = ReadOptionsBuilder::new()
        .with_reader_properties(
            parquet::file::properties::ReaderProperties::builder().set_read_bloom_filter(true).build(),
        )
        .build();
    let reader = SerializedFileReader::new_with_options(file, options).unwrap();
    let columns = reader.metadata().row_group(0).columns();
    let filter = |path: &str| {
        let index = columns.iter().position(|column| column.column_path().string() == path).unwrap();
        reader.get_row_group(0).unwrap().get_column_bloom_filter(index).cloned()
    };
    for (path, there) in [
        ("session_id", "session-1"),
        ("file_accessed.path", "/home/alice/shop/a\u{fffd}"),
        ("connection_attempted.address", "203.0.113.7"),
        ("connection_attempted.host_name", "example.org"),
        ("name_resolved.name", "example.org"),
        ("process_started.actor.image", "/usr/bin/curl"),
    ] {
        let filter = filter(path).unwrap_or_else(|| panic!("`{path}` has a filter"));
        assert!(filter.check(&there) && !filter.check(&"something else"), "{path}");
    }
    assert!(filter("tenant").is_none());
    let names: Vec<_> = wk_store::layout::NEEDLES.iter().map(|(_, path)| path.join(".")).collect();
    assert!(names.iter().all(|name| filter(name).is_some()), "{names:?}");
}

#[tokio::test]
async fn a_damaged_file_is_not_written_anew() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = fill(dir.path()).await;
    let snapshot = writer.lake().snapshot();
    let path = dir.path().join(&snapshot.files[2].path);
    let mut damaged = std::fs::read(&path).unwrap();
    damaged[100] ^= 1;
    std::fs::write(&path, damaged).unwrap();
    let inputs = compact::plan(&snapshot, &BTreeSet::new(), TODAY, &limits()).unwrap();
    let refused = compact::prepare(writer.lake().files(), inputs, Uuid::from_u128(83), Timestamp(START)).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains(&snapshot.files[2].path) && refused.contains("wk verify"), "{refused}");
    // Left alone, it keeps nobody else from being written anew.
    let skipped = BTreeSet::from([snapshot.files[2].path.clone()]);
    let (id, at) = (Uuid::from_u128(84), Timestamp(START));
    let (_, rewrite) = writer.compact(&skipped, TODAY, &limits(), id, at).await.unwrap().unwrap();
    assert_eq!(rewrite.inputs().len(), 8);
    assert_eq!(writer.lake().snapshot().files[..3].iter().filter(|f| f.order == Order::Time).count(), 3);
}

/// How many commits each side makes in the race below.
const RACE: u32 = 40;

async fn ingesting(folder: std::path::PathBuf) {
    let mut writer = writer(&folder).await;
    let mut session = Session::new(9);
    for number in 0..RACE {
        let datums = vec![session.datum(records::bodies().remove(usize::try_from(number % 20).unwrap()))];
        writer.commit(&commit(u128::from(number) + 1, number.into(), datums)).await.unwrap();
        tokio::task::yield_now().await;
    }
}

/// Compacts until the last commit has been made and nothing is left to do; gives how many compactions went in.
async fn compacting(folder: std::path::PathBuf, number: u128) -> u32 {
    let mut writer = writer(&folder).await;
    let small = Limits { files_min: 3, files_max: 5, rows_max: 12, ..Limits::default() };
    let (mut made, mut tried) = (0, 0);
    loop {
        let snapshot = writer.lake().refresh().await.unwrap();
        let Some(inputs) = compact::plan(&snapshot, &BTreeSet::new(), TODAY, &small) else {
            if snapshot.records() == u64::from(RACE) {
                return made;
            }
            tokio::task::yield_now().await;
            continue;
        };
        tried += 1;
        let id = Uuid::from_u128((number << 64) + tried);
        let rewrite = compact::prepare(writer.lake().files(), inputs, id, Timestamp(START)).await.unwrap();
        match writer.rearrange(&rewrite).await {
            Ok(_) => made += 1,
            Err(CommitError::Rearranged { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// Reads version after version: each holds as many records as its offsets say, no record twice, and none goes away.
async fn reading(folder: std::path::PathBuf) -> u64 {
    let (mut versions, mut last) = (0, 0);
    loop {
        let snapshot = Lake::open(&folder).await.unwrap().snapshot();
        let next = snapshot.offsets.next(Source { topic: Topic::Events, partition: 0 });
        assert_eq!(snapshot.records(), u64::try_from(next).unwrap(), "version {}", snapshot.version);
        assert!(snapshot.records() >= last);
        versions += u64::from(snapshot.records() > last);
        last = snapshot.records();
        if last == u64::from(RACE) {
            return versions;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ingest_two_compactions_and_a_reader_at_once_lose_and_double_nothing() {
    let dir = tempfile::tempdir().unwrap();
    drop(writer(dir.path()).await);
    let folder = || dir.path().to_path_buf();
    let all = tokio::join!(
        tokio::spawn(ingesting(folder())),
        tokio::spawn(compacting(folder(), 501)),
        tokio::spawn(compacting(folder(), 502)),
        tokio::spawn(reading(folder())),
    );
    all.0.unwrap();
    let made = all.1.unwrap() + all.2.unwrap();
    assert!(made > 0 && all.3.unwrap() > 0);
    let report = report(dir.path()).await;
    assert!(report.is_valid(), "{report}");
    let found = (report.records, report.duplicates, report.signed_commits);
    assert_eq!(found, (u64::from(RACE), 0, u64::from(RACE + made) + 1), "{report}");
}
