//! A lake to tamper with, and the tools of those who do.

use crate::common::{START, Session, key, lake_id, records, writer};
use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use ed25519_dalek::SigningKey;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use uuid::Uuid;
use wk_schemas::{Body, Digest, Kind, RecordId, Schema, Timestamp, Topic};
use wk_store::files::Files;
use wk_store::merkle::records::record_leaf;
use wk_store::merkle::{Log, tree};
use wk_store::rows::Encoder;
use wk_store::verify::{Class, Notebook, Options, Report, Scope, verify, verify_with};
use wk_store::{Commit, Range, Row};

/// A record and where it is put.
pub(crate) struct Put {
    pub(crate) topic: Topic,
    pub(crate) partition: i32,
    pub(crate) recorded_at: i64,
    pub(crate) datum: Vec<u8>,
}

/// A lake of four commits, untouched:
///
/// ```text
/// 0  the table is made
/// 1  events/0 @ 0 to 9                            session-1
/// 2  events/0 @ 10 to 19, findings/0 @ 0 to 1     session-1, and findings about it
/// 3  events/0 @ 20 to 24, events/1 @ 0 to 4       session-1 ends, session-2
/// 4  events/1 @ 5 to 7, a day later               session-2 ends
/// ```
pub(crate) struct Stage {
    pub(crate) dir: TempDir,
    /// The checkpoint over all of it, kept outside.
    pub(crate) kept: String,
    /// What a verification of all of it noted, kept outside.
    pub(crate) noted: Notebook,
}

const DAY: i64 = 86_400_000_000;

fn put(topic: Topic, partition: i32, recorded_at: i64, datum: Vec<u8>) -> Put {
    Put { topic, partition, recorded_at, datum }
}

/// The bodies of a whole session, for session-1: every kind once, its end last. The finding rests on records of the session.
pub(crate) fn bodies() -> Vec<Body> {
    let (ends, mut rest): (Vec<Body>, Vec<Body>) =
        records::bodies().into_iter().partition(|body| body.kind() == Kind::SessionEnded);
    rest.extend(ends);
    rest.into_iter()
        .map(|body| match body {
            Body::Finding(mut finding) => {
                finding.evidence = [7, 9].map(|seq| RecordId(Uuid::from_u128((1 << 64) + seq))).to_vec();
                finding.into()
            }
            other => other,
        })
        .collect()
}

/// The commits of the untouched lake.
fn story() -> Vec<Vec<Put>> {
    let (mut one, mut two, mut watcher) = (Session::new(1), Session::new(2), Session::new(1));
    let events: Vec<Vec<u8>> = bodies().into_iter().map(|body| one.datum(body)).collect();
    let finding = || bodies().into_iter().find(|body| body.kind() == Kind::Finding).unwrap();
    let short = |kinds: &[Kind]| -> Vec<Body> {
        kinds.iter().map(|kind| records::bodies().into_iter().find(|body| body.kind() == *kind).unwrap()).collect()
    };
    let begins = short(&[
        Kind::SessionStarted,
        Kind::PromptSubmitted,
        Kind::ToolCalled,
        Kind::ProcessStarted,
        Kind::FileAccessed,
    ]);
    let ends = short(&[Kind::ProcessExited, Kind::ToolReturned, Kind::SessionEnded]);
    let mut commits = vec![Vec::new(), Vec::new(), Vec::new(), Vec::new()];
    for (n, datum) in (0i64..).zip(events) {
        let commit = usize::try_from(n / 10).unwrap();
        commits[commit].push(put(Topic::Events, 0, START + n * 1000, datum));
    }
    for n in 0..2 {
        commits[1].push(put(Topic::Findings, 0, START + 15_000 + n, watcher.datum(finding())));
    }
    for (n, body) in (0i64..).zip(begins) {
        commits[2].push(put(Topic::Events, 1, START + 30_000 + n, two.datum(body)));
    }
    for (n, body) in (0i64..).zip(ends) {
        commits[3].push(put(Topic::Events, 1, START + DAY + n, two.datum(body)));
    }
    commits
}

impl Stage {
    /// The untouched lake.
    pub(crate) async fn new() -> Self {
        Self::of(story()).await
    }

    /// A lake of these commits, as ingest would have made it.
    pub(crate) async fn of(commits: Vec<Vec<Put>>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = writer(dir.path()).await;
        let mut next: BTreeMap<(Topic, i32), i64> = BTreeMap::new();
        for (number, puts) in (1u128..).zip(commits) {
            let mut ranges: BTreeMap<(Topic, i32), Range> = BTreeMap::new();
            let mut rows = Vec::new();
            for Put { topic, partition, recorded_at, datum } in puts {
                let offset = next.entry((topic, partition)).or_default();
                let range = ranges.entry((topic, partition)).or_insert(Range {
                    topic,
                    partition,
                    first: *offset,
                    next: *offset,
                    rows: 0,
                    dead_letters: 0,
                    absent: 0,
                });
                rows.push(Row::read(topic, partition, *offset, Timestamp(recorded_at), datum.into()).unwrap());
                *offset += 1;
                range.next += 1;
                range.rows += 1;
            }
            let id = Uuid::from_u128(number << 96);
            let commit = Commit::prepare(id, Timestamp(START), rows, ranges.into_values().collect()).unwrap();
            writer.commit(&commit).await.unwrap();
        }
        let kept = fs::read_to_string(dir.path().join("log/checkpoint")).unwrap();
        let mut stage = Self { dir, kept, noted: Notebook::default() };
        stage.note().await;
        stage
    }

    /// Verifies the lake as it is now, and keeps what is noted.
    pub(crate) async fn note(&mut self) {
        let mut noted = std::mem::take(&mut self.noted);
        let (files, key) = (Files::local(self.dir.path()).unwrap(), key().verifying_key());
        verify_with(&mut noted, &files, &key, &Options::default(), |_| {}).await.unwrap();
        self.noted = noted;
    }

    /// Another lake of the same bytes.
    pub(crate) fn copy(&self) -> Self {
        fn copy(from: &Path, to: &Path) {
            fs::create_dir_all(to).unwrap();
            for entry in fs::read_dir(from).unwrap() {
                let entry = entry.unwrap();
                let (from, to) = (from.join(entry.file_name()), to.join(entry.file_name()));
                if from.is_dir() {
                    copy(&from, &to);
                } else {
                    fs::copy(from, to).unwrap();
                }
            }
        }
        let dir = tempfile::tempdir().unwrap();
        copy(self.dir.path(), dir.path());
        Self { dir, kept: self.kept.clone(), noted: self.noted.clone() }
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    pub(crate) fn commit(&self, version: u64) -> PathBuf {
        self.path(&format!("records/_delta_log/{version:020}.json"))
    }

    /// The lines of a commit.
    pub(crate) fn lines(&self, version: u64) -> Vec<Value> {
        let text = fs::read_to_string(self.commit(version)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Writes a commit with its lines put through `change`.
    pub(crate) fn edit(&self, version: u64, change: impl FnOnce(&mut Vec<Value>)) {
        let mut lines = self.lines(version);
        change(&mut lines);
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        fs::write(self.commit(version), text).unwrap();
    }

    /// Changes what a commit says of its file.
    pub(crate) fn edit_add(&self, version: u64, change: impl FnOnce(&mut Value)) {
        self.edit(version, |lines| change(lines.iter_mut().find_map(|line| line.get_mut("add")).unwrap()));
    }

    /// Changes the statistics that a commit gives of its file.
    pub(crate) fn edit_stats(&self, version: u64, change: impl FnOnce(&mut Value)) {
        self.edit_add(version, |add| {
            let mut stats: Value = serde_json::from_str(add["stats"].as_str().unwrap()).unwrap();
            change(&mut stats);
            add["stats"] = stats.to_string().into();
        });
    }

    /// The file that a commit adds.
    pub(crate) fn file(&self, version: u64) -> PathBuf {
        let add = self.lines(version).into_iter().find_map(|line| line.get("add").cloned()).unwrap();
        self.path("records").join(add["path"].as_str().unwrap())
    }

    /// Changes the bytes of an object.
    pub(crate) fn bend(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = fs::read(path).unwrap();
        change(&mut bytes);
        fs::write(path, bytes).unwrap();
    }

    /// Encodes a file anew with its rows put through `change`.
    pub(crate) fn rewrite(&self, version: u64, change: impl Fn(RecordBatch) -> RecordBatch) {
        let path = self.file(version);
        let bytes = bytes::Bytes::from(fs::read(&path).unwrap());
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
        let batches: Vec<_> = reader.map(|batch| change(batch.unwrap())).collect();
        let mut out = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut out, batches[0].schema(), None).unwrap();
        batches.iter().for_each(|batch| writer.write(batch).unwrap());
        writer.close().unwrap();
        fs::write(path, out).unwrap();
    }

    /// Makes a commit say what its file is now: size, digest, root; and no roll-ups, because a file that was encoded anew keeps none.
    pub(crate) fn reseal(&self, version: u64) {
        let bytes = fs::read(self.file(version)).unwrap();
        let root = root(&bytes);
        self.edit_add(version, |add| {
            add["size"] = bytes.len().into();
            add["tags"]["watchkeeper.sha256"] = Digest::of(&bytes).to_hex().into();
            add["tags"]["watchkeeper.merkleRoot"] = root.to_hex().into();
            add["tags"].as_object_mut().unwrap().remove("watchkeeper.rollups");
        });
    }

    /// Makes tiles and checkpoint anew over the commits that are there, as whoever holds the key can.
    pub(crate) async fn sign_again(&self) {
        self.sign_with(&key()).await;
    }

    pub(crate) async fn sign_with(&self, key: &SigningKey) {
        fs::remove_dir_all(self.path("log")).unwrap();
        let mut entries = Vec::new();
        while let Ok(text) = fs::read(self.commit(entries.len() as u64)) {
            entries.push(text.into());
        }
        let origin = format!("watchkeeper/{}", lake_id());
        Log::empty(Files::local(self.dir.path()).unwrap()).append(&entries, &origin, key).await.unwrap();
    }

    /// Verifies the lake, and again with what was noted of it before: whatever was done to it, the notebook hides nothing.
    pub(crate) async fn verify(&self, options: Options) -> Report {
        let files = Files::local(self.dir.path()).unwrap();
        let report = verify(&files, &key().verifying_key(), &options, |_| {}).await.unwrap();
        let mut noted = self.noted.clone();
        let again = verify_with(&mut noted, &files, &key().verifying_key(), &options, |_| {}).await.unwrap();
        if again.is_valid() {
            assert_eq!(Report { noted: 0, ..again }, report);
        } else {
            assert_eq!(noted, self.noted, "a notebook does not learn from a lake that something is wrong with");
            let (told, more): (Vec<_>, Vec<_>) = again.findings.iter().partition(|f| report.findings.contains(f));
            assert_eq!(told, report.findings.iter().collect::<Vec<_>>());
            assert!(more.iter().all(|f| f.what.contains("the notebook's checkpoint")), "{more:?}");
        }
        report
    }

    pub(crate) async fn report(&self) -> Report {
        self.verify(Options::default()).await
    }

    pub(crate) async fn report_against_kept(&self) -> Report {
        self.verify(Options { against: Some(self.kept.clone()), ..Options::default() }).await
    }

    pub(crate) async fn report_of(&self, scope: Scope) -> Report {
        self.verify(Options { scope, ..Options::default() }).await
    }

    /// The verification says this of the lake as it is now.
    #[track_caller]
    pub(crate) fn finds(report: &Report, class: Class, text: &str) {
        let found = report.findings.iter().any(|f| f.class == class && f.to_string().contains(text));
        assert!(found, "no {class:?} `{text}` in\n{report}");
        assert_eq!(report.exit_status(), u8::from(class != Class::Notice || !report.is_valid()), "{report}");
    }

    /// The verification says this and nothing else.
    #[track_caller]
    pub(crate) fn finds_only(report: &Report, class: Class, text: &str) {
        Self::finds(report, class, text);
        assert_eq!(report.findings.len(), 1, "{report}");
    }
}

/// The root over the records of a data file.
fn root(bytes: &[u8]) -> Digest {
    let reader =
        ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::copy_from_slice(bytes)).unwrap().build().unwrap();
    let mut leaves = Vec::new();
    for batch in reader {
        let batch = batch.unwrap();
        let encoder = Encoder::new(&Schema::ours(), &batch).unwrap();
        let column = |name: &str| batch.column_by_name(name).unwrap();
        for row in 0..batch.num_rows() {
            let mut datum = Vec::new();
            encoder.write(row, &mut datum);
            leaves.push(record_leaf(
                Topic::from_name(column("topic").as_string::<i32>().value(row)).unwrap(),
                column("partition").as_primitive::<Int32Type>().value(row),
                column("offset").as_primitive::<Int64Type>().value(row),
                Timestamp(column("recorded_at").as_primitive::<TimestampMicrosecondType>().value(row)),
                &datum,
            ));
        }
    }
    tree::root(&leaves)
}

#[tokio::test]
async fn the_untouched_lake_is_valid_in_every_scope() {
    let stage = Stage::new().await;
    let report = stage.report_against_kept().await;
    assert_eq!(report.findings, [], "{report}");
    assert_eq!((report.valid_commits, report.valid_files, report.records, report.chains), (5, 4, 35, 3));
    assert_eq!((report.offsets, report.open_sessions), (35, 0));
    for (scope, files, chained) in [
        (Scope::Day("2026-10-27".into()), 1, 3),
        (Scope::Day("2026-10-26".into()), 3, 32),
        (Scope::Session("session-1".into()), 3, 27),
        (Scope::Session("session-2".into()), 2, 8),
        (Scope::record("agent.session.events.v1/1@6").unwrap(), 1, 1),
    ] {
        let report = stage.report_of(scope.clone()).await;
        assert_eq!(report.findings, [], "{report}");
        assert_eq!((report.valid_files, report.chained_records), (files, chained), "{scope}: {report}");
        assert!(report.to_string().contains(&format!("checked     {scope}\n")), "{report}");
    }
}
