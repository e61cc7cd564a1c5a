//! Somebody who can write to the disk forges what readers go by instead of the commits: Delta checkpoints.

use crate::common::{START, Session, records};
use crate::stage::{Put, Stage};
use arrow::array::{ArrayRef, RecordBatch, StringArray, StructArray};
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::OnceCell;
use wk_schemas::Topic;
use wk_store::Lake;
use wk_store::verify::{Class, Options, Scope};

/// Commits of one record each: enough for a checkpoint, and a few more.
const COMMITS: i64 = 115;

/// The commit that the checkpoint is at.
const AT: u64 = 111;

const CHECKPOINT: &str = "records/_delta_log/00000000000000000111.checkpoint.parquet";
const LAST: &str = "records/_delta_log/_last_checkpoint";

static LAKE: OnceCell<Stage> = OnceCell::const_new();

/// A lake with a checkpoint, made once and copied for each case.
async fn stage() -> Stage {
    let made = LAKE.get_or_init(|| async {
        let mut session = Session::new(1);
        let put = |n: i64| Put {
            topic: Topic::Events,
            partition: 0,
            recorded_at: START + n,
            datum: session.datum(records::bodies().remove(0)),
        };
        Stage::of((0..COMMITS).map(put).map(|put| vec![put]).collect()).await
    });
    made.await.copy()
}

/// Writes the checkpoint with its rows, as JSON objects, put through `change`.
fn forge(stage: &Stage, change: impl FnOnce(&mut Vec<Value>)) {
    let (schema, mut rows) = read(stage);
    change(&mut rows);
    let mut decoder = arrow::json::ReaderBuilder::new(schema).build_decoder().unwrap();
    decoder.serialize(&rows).unwrap();
    write(stage, &decoder.flush().unwrap().unwrap());
}

fn batch(stage: &Stage) -> RecordBatch {
    let bytes = bytes::Bytes::from(fs::read(stage.path(CHECKPOINT)).unwrap());
    let mut reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
    let batch = reader.next().unwrap().unwrap();
    assert!(reader.next().is_none());
    batch
}

fn read(stage: &Stage) -> (Arc<Schema>, Vec<Value>) {
    let batch = batch(stage);
    let mut writer = arrow::json::LineDelimitedWriter::new(Vec::new());
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    let lines = String::from_utf8(writer.into_inner()).unwrap();
    (batch.schema(), lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

fn write(stage: &Stage, batch: &RecordBatch) {
    let mut out = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut out, batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    fs::write(stage.path(CHECKPOINT), out).unwrap();
}

/// The row of the first file.
fn first_add(rows: &mut [Value]) -> &mut Value {
    rows.iter_mut().find_map(|row| row.get_mut("add")).unwrap()
}

fn row_of<'a>(rows: &'a mut [Value], action: &str) -> &'a mut Value {
    rows.iter_mut().find_map(|row| row.get_mut(action)).unwrap()
}

/// The records that a reader sees.
async fn seen(stage: &Stage) -> u64 {
    Lake::open(stage.dir.path()).await.unwrap().snapshot().records()
}

#[tokio::test]
async fn an_untouched_checkpoint_is_no_finding_in_any_scope() {
    let stage = stage().await;
    let record = Scope::record("agent.session.events.v1/0@17").unwrap();
    for scope in [Scope::Lake, Scope::Day("2026-10-26".into()), record] {
        let report = stage.report_of(scope.clone()).await;
        assert!(report.is_valid(), "{report}");
    }
    // Encoded anew it has other bytes and says the same.
    forge(&stage, |_| {});
    assert!(stage.report().await.is_valid());
    let told_otherwise = |row: &mut Value| {
        let stats: Value = serde_json::from_str(row["stats"].as_str().unwrap()).unwrap();
        row["stats"] = serde_json::to_string_pretty(&stats).unwrap().into();
        row["dataChange"] = false.into();
    };
    forge(&stage, |rows| told_otherwise(first_add(rows)));
    assert!(stage.report().await.is_valid(), "another writer of checkpoints may set it otherwise");
}

#[tokio::test]
async fn a_file_left_out_of_the_checkpoint() {
    let stage = stage().await;
    let whole = seen(&stage).await;
    forge(&stage, |rows| {
        let at = rows.iter().position(|row| row.get("add").is_some()).unwrap();
        rows.remove(at);
    });
    assert_eq!(seen(&stage).await, whole - 1, "a reader is deceived");
    for scope in [Scope::Lake, Scope::Session("session-1".into())] {
        let report = stage.report_of(scope).await;
        Stage::finds(&report, Class::Invalid, &format!("{CHECKPOINT}: it leaves out files that the commits add: 1 of"));
        assert_eq!(report.valid_commits, 116, "the commits are as they were: {report}");
    }
}

#[tokio::test]
async fn a_file_put_into_the_checkpoint() {
    let stage = stage().await;
    let whole = seen(&stage).await;
    forge(&stage, |rows| {
        let mut row = json!({"add": first_add(rows).clone()});
        row["add"]["path"] = "day=2026-10-26/other.parquet".into();
        rows.push(row);
    });
    assert_eq!(seen(&stage).await, whole + 1, "a reader is deceived");
    let text = "it has files that no commit up to it adds: 1 of them, the first `day=2026-10-26/other.parquet`";
    Stage::finds(&stage.report().await, Class::Invalid, text);
}

#[tokio::test]
async fn a_file_that_stands_in_the_checkpoint_twice() {
    let stage = stage().await;
    forge(&stage, |rows| {
        let row = json!({"add": first_add(rows).clone()});
        rows.push(row);
    });
    let report = stage.report().await;
    Stage::finds(&report, Class::Invalid, "it has files twice: 1 of them");
    Stage::finds(&report, Class::Invalid, "says that checkpoint 111 holds 114 actions, which holds 115");
}

#[tokio::test]
async fn a_file_exchanged_in_the_checkpoint() {
    for change in [
        |add: &mut Value| add["size"] = 7.into(),
        |add: &mut Value| add["partitionValues"]["day"] = "2026-10-27".into(),
        |add: &mut Value| add["tags"]["watchkeeper.sha256"] = "0".repeat(64).into(),
        |add: &mut Value| add["tags"]["watchkeeper.version"] = "7".into(),
        |add: &mut Value| drop(add["tags"].as_object_mut().unwrap().remove("watchkeeper.kinds")),
        // A question about a session would pass the file by.
        |add: &mut Value| add["stats"] = add["stats"].as_str().unwrap().replace("session-1", "session-2").into(),
    ] {
        let stage = stage().await;
        forge(&stage, |rows| change(first_add(rows)));
        let text = "it says other things of files than their commits do: 1 of them, the first `day=2026-10-26/";
        Stage::finds_only(&stage.report().await, Class::Invalid, text);
    }
}

#[tokio::test]
async fn how_far_the_log_was_read_set_forward_in_the_checkpoint() {
    let stage = stage().await;
    forge(&stage, |rows| row_of(rows, "txn")["version"] = 500.into());
    let text = "it says other things than the commits of how far the log has been read";
    Stage::finds_only(&stage.report().await, Class::Invalid, text);
}

#[tokio::test]
async fn the_table_opened_for_changes_in_the_checkpoint() {
    let stage = stage().await;
    forge(&stage, |rows| row_of(rows, "metaData")["configuration"]["delta.appendOnly"] = "false".into());
    let text = "it has another schema or other properties of the table than the commits";
    Stage::finds_only(&stage.report().await, Class::Invalid, text);
}

#[tokio::test]
async fn a_checkpoint_that_only_newer_readers_may_read() {
    let stage = stage().await;
    forge(&stage, |rows| row_of(rows, "protocol")["minReaderVersion"] = 9.into());
    Stage::finds_only(&stage.report().await, Class::Invalid, "it has another protocol than the commits");
}

#[tokio::test]
async fn statistics_in_columns_that_are_not_ours() {
    let stage = stage().await;
    let batch = batch(&stage);
    let at = batch.schema().index_of("add").unwrap();
    let (fields, mut members, nulls) =
        batch.column(at).as_any().downcast_ref::<StructArray>().unwrap().clone().into_parts();
    let mut fields: Vec<FieldRef> = fields.iter().cloned().collect();
    fields.push(Arc::new(Field::new("stats_parsed", DataType::Utf8, true)));
    members.push(Arc::new(StringArray::from(vec![Some("numRecords = 0"); batch.num_rows()])));
    let add = StructArray::new(fields.into(), members, nulls);
    let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
    let mut names: Vec<FieldRef> = batch.schema().fields().iter().cloned().collect();
    names[at] = Arc::new(Field::new("add", arrow::array::Array::data_type(&add).clone(), true));
    columns[at] = Arc::new(add);
    write(&stage, &RecordBatch::try_new(Arc::new(Schema::new(names)), columns).unwrap());
    let text = "it has values of `add.stats_parsed`, which this table never writes";
    Stage::finds_only(&stage.report().await, Class::Invalid, text);
}

#[tokio::test]
async fn rubbish_in_place_of_the_checkpoint() {
    let stage = stage().await;
    fs::write(stage.path(CHECKPOINT), b"PAR1 rubbish PAR1").unwrap();
    Stage::finds_only(&stage.report().await, Class::Invalid, "not readable as a checkpoint of this table");
}

#[tokio::test]
async fn the_checkpoint_named_as_the_newest_is_not_there() {
    let stage = stage().await;
    fs::write(stage.path(LAST), r#"{"version":90,"size":10}"#).unwrap();
    Stage::finds_only(&stage.report().await, Class::Invalid, "it names checkpoint 90, which is not there");
    fs::write(stage.path(LAST), r#"{"version":"x"}"#).unwrap();
    Stage::finds_only(&stage.report().await, Class::Invalid, "it does not say which checkpoint is the newest");
    fs::write(stage.path(LAST), r#"{"version":111,"size":114,"v2Checkpoint":{"path":"x"}}"#).unwrap();
    Stage::finds_only(&stage.report().await, Class::Invalid, "it holds `v2Checkpoint`, which this table never writes");
}

#[tokio::test]
async fn commits_cut_off_under_the_checkpoint_and_signed_again() {
    let stage = stage().await;
    for version in AT..=COMMITS.unsigned_abs() {
        fs::remove_file(stage.commit(version)).unwrap();
    }
    stage.sign_again().await;
    let report = stage.verify(Options::default()).await;
    Stage::finds(&report, Class::Invalid, "it sums up commits up to 111, and there is none after 110");
}

#[tokio::test]
async fn a_checkpoint_of_a_kind_that_this_table_never_writes() {
    for name in [
        "00000000000000000111.checkpoint.0000000001.0000000001.parquet",
        "00000000000000000111.checkpoint.5b6e0000-0000-4000-8000-000000000001.parquet",
        "00000000000000000001.00000000000000000111.compacted.json",
        "00000000000000000114.crc",
        "_sidecars/a.parquet",
    ] {
        let stage = stage().await;
        let place: PathBuf = stage.path("records/_delta_log").join(name);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::copy(stage.path(CHECKPOINT), place).unwrap();
        let text = format!("{name}: readers go by it instead of the commits, and this table never writes one");
        Stage::finds_only(&stage.report().await, Class::Invalid, &text);
    }
}
