//! Files of one kind: a commit writes one for each kind that it has many records of, and compactions keep them apart.

use crate::common::{START, Session, commit, key, records, rows, writer};
use bytes::Bytes;
use object_store::path::Path as ObjectPath;
use std::collections::BTreeSet;
use std::path::Path;
use uuid::Uuid;
use wk_schemas::{Body, Kind, Timestamp, Topic};
use wk_store::compact::{self, Limits};
use wk_store::files::Files;
use wk_store::layout::{ONE_KIND_ROWS, Order};
use wk_store::merkle::proof::prove;
use wk_store::verify::{Options, verify};
use wk_store::{Commit, DataFile, Range, Source, Writer};

const TODAY: &str = "2026-10-26";
const TOMORROW: &str = "2026-10-27";

fn body(kind: Kind) -> Body {
    records::bodies().into_iter().find(|body| body.kind() == kind).unwrap()
}

/// So many records of two kinds in turns, and a third kind now and then.
fn datums(session: &mut Session, rows: usize) -> Vec<Vec<u8>> {
    let kinds = [Kind::FileAccessed, Kind::ProcessStarted].map(body);
    let rare = body(Kind::Thought);
    (0..rows).map(|at| session.datum(if at % 100 == 7 { rare.clone() } else { kinds[at % 2].clone() })).collect()
}

const ROWS: usize = 2 * ONE_KIND_ROWS + 200;

async fn fill(folder: &Path, commits: u32) -> Writer {
    let mut writer = writer(folder).await;
    let mut session = Session::new(1);
    for number in 0..commits {
        let first = i64::from(number) * i64::try_from(ROWS).unwrap();
        writer.commit(&commit(u128::from(number) + 1, first, datums(&mut session, ROWS))).await.unwrap();
    }
    writer
}

fn kinds(file: &DataFile) -> Vec<&str> {
    file.stats.kinds.keys().map(wk_store::rows::KindName::as_str).collect()
}

async fn columns(files: &Files, file: &DataFile) -> BTreeSet<String> {
    let bytes: Bytes = files.get(&ObjectPath::from(file.path.as_str())).await.unwrap().unwrap();
    let file = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
    file.schema().fields().iter().map(|field| field.name().clone()).collect()
}

#[tokio::test]
async fn a_kind_that_a_commit_has_many_records_of_has_a_file_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let writer = fill(dir.path(), 1).await;
    let (lake, snapshot) = (writer.lake(), writer.lake().snapshot());
    let mut found: Vec<_> = snapshot.files.iter().map(|file| kinds(file)).collect();
    found.sort_unstable();
    assert_eq!(found, [["file_accessed"], ["process_started"], ["thought"]]);
    assert_eq!(snapshot.records(), ROWS as u64);
    for file in &snapshot.files {
        let columns = columns(lake.files(), file).await;
        let bodies: Vec<_> =
            Kind::ALL.iter().map(|kind| kind.as_str()).filter(|kind| columns.contains(*kind)).collect();
        assert_eq!(bodies, kinds(file));
    }
    // The chain goes on from file to file, and a record is found whichever file it is in.
    let report = verify(lake.files(), &key().verifying_key(), &Options::default(), |_| {}).await.unwrap();
    assert!(report.is_valid(), "{report}");
    assert_eq!((report.records, report.chained_records, report.valid_files), (ROWS as u64, ROWS as u64, 3));
    for offset in [0, 1, 7, 8000] {
        let source = Source { topic: Topic::Events, partition: 0 };
        let (proof, record) = prove(lake, source, offset).await.unwrap();
        assert_eq!(record.offset, offset);
        proof.check(&record, &key().verifying_key()).unwrap();
    }
}

#[tokio::test]
async fn one_record_less_and_the_kind_lies_with_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = writer(dir.path()).await;
    let mut session = Session::new(1);
    let mut many: Vec<_> = (0..ONE_KIND_ROWS).map(|_| session.datum(body(Kind::FileAccessed))).collect();
    many.push(session.datum(body(Kind::Thought)));
    let first = many.remove(0);
    let rest = i64::try_from(many.len()).unwrap();
    writer.commit(&commit(1, 0, vec![first])).await.unwrap();
    writer.commit(&commit(2, 1, many)).await.unwrap();
    let mut next: Vec<_> = (0..ONE_KIND_ROWS).map(|_| session.datum(body(Kind::FileAccessed))).collect();
    next.push(session.datum(body(Kind::Thought)));
    writer.commit(&commit(3, 1 + rest, next)).await.unwrap();
    let snapshot = writer.lake().snapshot();
    let found: Vec<_> = snapshot.files.iter().map(|file| (file.version, kinds(file))).collect();
    let (both, file, thought) = (vec!["thought", "file_accessed"], vec!["file_accessed"], vec!["thought"]);
    assert_eq!(found.len(), 4, "{found:?}");
    assert_eq!(found[..2], [(1, file.clone()), (2, both)]);
    assert!(found[2..].contains(&(3, file)) && found[2..].contains(&(3, thought)), "{found:?}");
}

#[tokio::test]
async fn a_commit_that_names_many_partitions_has_no_room_for_more_files() {
    let datums = datums(&mut Session::new(1), ROWS);
    let prepare = |partitions: usize| {
        let mut ranges: Vec<Range> = Vec::new();
        let mut all = Vec::new();
        for (partition, datums) in datums.chunks(ROWS.div_ceil(partitions)).enumerate() {
            let partition = i32::try_from(partition).unwrap();
            for row in rows(0, datums.to_vec()) {
                let (offset, at) = (row.offset(), row.recorded_at());
                all.push(wk_store::Row::read(Topic::Events, partition, offset, at, row.datum().clone()).unwrap());
            }
            let count = i64::try_from(datums.len()).unwrap();
            let (topic, first) = (Topic::Events, 0);
            ranges.push(Range { topic, partition, first, next: count, rows: count, dead_letters: 0, absent: 0 });
        }
        Commit::prepare(Uuid::from_u128(1 << 96), Timestamp(START), all, ranges).unwrap()
    };
    for (partitions, files) in [(1, 3), (40, 3), (95, 2), (110, 1)] {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = writer(dir.path()).await;
        writer.commit(&prepare(partitions)).await.unwrap();
        let snapshot = writer.lake().snapshot();
        assert_eq!((snapshot.files.len(), snapshot.records()), (files, ROWS as u64), "{partitions} partitions");
    }
}

#[tokio::test]
async fn compactions_keep_the_kinds_apart() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = fill(dir.path(), 2).await;
    let few = Limits { files_min: 100, ..Limits::default() };
    assert_eq!(compact::plan(&writer.lake().snapshot(), &BTreeSet::new(), TODAY, &few), None);
    let mut done = 0;
    let at = Timestamp(START);
    while let Some((_, rewrite)) =
        writer.compact(&BTreeSet::new(), TOMORROW, &few, Uuid::from_u128((200 + done) << 64), at).await.unwrap()
    {
        let of: BTreeSet<_> = rewrite.inputs().iter().map(|file| kinds(file).join(" ")).collect();
        assert_eq!((rewrite.inputs().len(), of.len()), (2, 1), "{of:?}");
        done += 1;
        assert!(done < 10, "it comes to an end");
    }
    let snapshot = writer.lake().snapshot();
    assert_eq!((done, snapshot.files.len(), snapshot.records()), (3, 3, 2 * ROWS as u64));
    assert!(snapshot.files.iter().all(|file| file.order == Order::Session && kinds(file).len() == 1));
    let report = verify(writer.lake().files(), &key().verifying_key(), &Options::default(), |_| {}).await.unwrap();
    assert!(report.is_valid(), "{report}");
}
