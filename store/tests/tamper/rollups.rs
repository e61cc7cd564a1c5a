//! What is done to the roll-ups of a file that a compaction wrote, by somebody who can sign: questions would be answered from them.

use crate::bytes::with_column;
use crate::compacted::{FILE_5, compacted};
use crate::stage::Stage;
use arrow::array::{AsArray as _, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray, UInt32Array};
use arrow::compute::{concat_batches, filter_record_batch, take_record_batch};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::KeyValue;
use std::fs;
use std::sync::Arc;
use wk_store::rollup::{Part, read};
use wk_store::verify::{Class, Report};
use wk_store::{DataFile, Lake};

const KEY: &str = "watchkeeper.rollups";

/// The parts that the file of a compaction keeps, as bytes.
async fn kept(stage: &Stage, version: u64) -> [Option<Vec<u8>>; 4] {
    let snapshot = Lake::open(stage.dir.path()).await.unwrap().snapshot();
    let file: &DataFile = snapshot.files.iter().find(|file| file.version == version).unwrap();
    let places = file.rollups.as_ref().unwrap();
    let bytes = fs::read(stage.file(version)).unwrap();
    Part::ALL.map(|part| {
        let at = |n: u64| usize::try_from(n).unwrap();
        places.of(part).map(|place| bytes[at(place.start)..at(place.end)].to_vec())
    })
}

fn rows(part: Part, bytes: Option<&Vec<u8>>) -> RecordBatch {
    let batches = read(part, &Bytes::from(bytes.unwrap().clone()), None).unwrap();
    concat_batches(&part.schema(), &batches).unwrap()
}

fn encoded(batch: &RecordBatch) -> Vec<u8> {
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.into_inner().unwrap()
}

/// Writes the file of a compaction again with these parts, and what `say` makes of the text that says where they are.
fn put(stage: &Stage, version: u64, parts: &[Option<Vec<u8>>; 4], say: impl FnOnce(String) -> String) {
    let path = stage.file(version);
    let bytes = Bytes::from(fs::read(&path).unwrap());
    let batches: Vec<RecordBatch> =
        ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap().map(Result::unwrap).collect();
    let mut writer = ArrowWriter::try_new(Vec::new(), batches[0].schema(), None).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.flush().unwrap();
    let mut text = "1".to_owned();
    for (part, bytes) in Part::ALL.iter().zip(parts) {
        text += &match bytes {
            Some(bytes) => format!(" {}={}+{}", part.name(), writer.bytes_written(), bytes.len()),
            None => format!(" {}=-", part.name()),
        };
        writer.write_all(bytes.as_deref().unwrap_or_default()).unwrap();
    }
    let text = say(text);
    writer.append_key_value_metadata(KeyValue::new(KEY.to_owned(), text.clone()));
    fs::write(path, writer.into_inner().unwrap()).unwrap();
    stage.reseal(version);
    stage.edit_add(version, |add| add["tags"][KEY] = text.into());
}

/// The report on a lake in which one part was put through `change`, and everything was made to fit and signed again.
async fn with_part(part: Part, change: impl FnOnce(RecordBatch) -> RecordBatch) -> Report {
    let stage = compacted().await;
    let mut parts = kept(&stage, 5).await;
    let slot = &mut parts[part as usize];
    *slot = Some(encoded(&change(rows(part, slot.as_ref()))));
    put(&stage, 5, &parts, |text| text);
    stage.sign_again().await;
    stage.report().await
}

/// The report on a lake that says something else of where the parts are, in the file and in the commit.
async fn with_places(parts: Option<[Option<Vec<u8>>; 4]>, say: impl FnOnce(String) -> String) -> Report {
    let stage = compacted().await;
    let parts = match parts {
        Some(parts) => parts,
        None => kept(&stage, 5).await,
    };
    put(&stage, 5, &parts, say);
    stage.sign_again().await;
    stage.report().await
}

/// One column of whole numbers with its first value changed by so much.
fn counted(name: &'static str, by: i64) -> impl FnOnce(RecordBatch) -> RecordBatch {
    move |batch| {
        with_column(&batch, name, |column| {
            let column = column.as_primitive::<Int64Type>();
            let values = column.values().iter().enumerate().map(|(row, n)| if row == 0 { n + by } else { *n });
            Arc::new(Int64Array::from_iter_values(values))
        })
    }
}

fn only(batch: &RecordBatch, keep: impl Fn(&str) -> bool) -> RecordBatch {
    let values = batch.column(1).as_string::<i32>();
    let keep: Vec<bool> = (0..batch.num_rows()).map(|row| keep(values.value(row))).collect();
    filter_record_batch(batch, &keep.into()).unwrap()
}

#[track_caller]
fn tells(report: &Report, what: &str) {
    Stage::finds_only(report, Class::Invalid, &format!("{FILE_5}{what}"));
}

#[tokio::test]
async fn the_roll_ups_of_a_compaction_are_those_of_its_records() {
    let stage = compacted().await;
    let parts = kept(&stage, 5).await;
    let values = |part: Part| -> Vec<String> {
        let rows = rows(part, parts[part as usize].as_ref());
        rows.column(1).as_string::<i32>().iter().map(|value| value.unwrap().to_owned()).collect()
    };
    assert_eq!(values(Part::Sessions), ["session-1", "session-2"]);
    assert_eq!(values(Part::Hosts), ["example.org"]);
    assert_eq!(values(Part::Paths), ["/home/alice/shop/a\u{fffd}", "/home/alice/shop/b"]);
    assert_eq!(values(Part::Images), ["/usr/bin/curl"]);
    // Putting them back as they are changes nothing, so what the cases below find is what they did.
    put(&stage, 5, &parts, |text| text);
    stage.sign_again().await;
    let report = stage.report().await;
    assert_eq!(report.findings, [], "{report}");
}

#[tokio::test]
async fn a_value_dropped_from_a_roll_up() {
    let report = with_part(Part::Paths, |batch| only(&batch, |value| value.ends_with("/b"))).await;
    tells(&report, "its roll-up of paths: `/home/alice/shop/a\u{fffd}` is left out");
}

#[tokio::test]
async fn every_value_dropped_from_a_roll_up() {
    let stage = compacted().await;
    let mut parts = kept(&stage, 5).await;
    parts[Part::Hosts as usize] = Some(Vec::new());
    let report = with_places(Some(parts), |text| text).await;
    tells(&report, "its roll-up of hosts: `example.org` is left out");
}

#[tokio::test]
async fn a_count_changed_in_a_roll_up() {
    let report = with_part(Part::Hosts, counted("times", -1)).await;
    tells(&report, "its roll-up of hosts: `times` of `example.org` is not what its records say");
}

#[tokio::test]
async fn a_finding_kept_quiet_in_the_roll_up_of_sessions() {
    let report = with_part(Part::Sessions, counted("findings", -1)).await;
    tells(&report, "its roll-up of sessions: `findings` of `session-1` is not what its records say");
}

#[tokio::test]
async fn a_first_time_moved_in_a_roll_up() {
    let report = with_part(Part::Images, |batch| {
        with_column(&batch, "first_at", |times| {
            let times = times.as_primitive::<TimestampMicrosecondType>().values().iter().map(|at| at - 1);
            Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"))
        })
    })
    .await;
    tells(&report, "its roll-up of images: `first_at` of `/usr/bin/curl` is not what its records say");
}

#[tokio::test]
async fn another_session_named_as_the_first_in_a_roll_up() {
    let report = with_part(Part::Hosts, |batch| {
        with_column(&batch, "session_id", |ids| Arc::new(StringArray::from(vec!["session-2"; ids.len()])))
    })
    .await;
    tells(&report, "its roll-up of hosts: `session_id` of `example.org` is not what its records say");
}

#[tokio::test]
async fn a_value_invented_in_a_roll_up() {
    let report = with_part(Part::Hosts, |batch| {
        let invented =
            with_column(&batch, "value", |values| Arc::new(StringArray::from(vec!["a.example"; values.len()])));
        concat_batches(&batch.schema(), &[invented, batch]).unwrap()
    })
    .await;
    tells(&report, "its roll-up of hosts: `a.example` is in none of its records");
}

#[tokio::test]
async fn a_value_said_twice_in_a_roll_up() {
    let report =
        with_part(Part::Hosts, |batch| concat_batches(&batch.schema(), &[batch.clone(), batch]).unwrap()).await;
    tells(&report, "its roll-up of hosts: it says something twice");
}

#[tokio::test]
async fn the_rows_of_a_roll_up_in_another_order() {
    let report =
        with_part(Part::Sessions, |batch| take_record_batch(&batch, &UInt32Array::from(vec![1, 0])).unwrap()).await;
    tells(&report, "its roll-up of sessions: its rows are in another order");
}

#[tokio::test]
async fn the_roll_ups_of_another_file() {
    let others = kept(&compacted().await, 6).await;
    let report = with_places(Some(others), |text| text).await;
    Stage::finds(&report, Class::Invalid, &format!("{FILE_5}its roll-up of sessions: `session-1` is left out"));
    Stage::finds(&report, Class::Invalid, &format!("{FILE_5}its roll-up of hosts: `example.org` is left out"));
    assert_eq!(report.findings.len(), 4, "{report}");
}

#[tokio::test]
async fn a_byte_of_a_roll_up() {
    let stage = compacted().await;
    let parts = kept(&stage, 5).await;
    let host = parts[Part::Hosts as usize].clone().unwrap();
    Stage::bend(&stage.file(5), |bytes| {
        let at = bytes.windows(host.len()).position(|window| window == host).unwrap();
        bytes[at + host.len() / 2] ^= 1;
    });
    let report = stage.report().await;
    Stage::finds(
        &report,
        Class::Invalid,
        &format!("{FILE_5}{} bytes with SHA-256", fs::read(stage.file(5)).unwrap().len()),
    );
}

#[tokio::test]
async fn a_roll_up_wiped_out() {
    let stage = compacted().await;
    let mut parts = kept(&stage, 5).await;
    parts.iter_mut().flatten().for_each(|part| part.fill(0));
    let report = with_places(Some(parts), |text| text).await;
    for part in Part::ALL {
        let what = format!("{FILE_5}its roll-up of {}: not readable: ", part.name());
        Stage::finds(&report, Class::Invalid, &what);
    }
}

#[tokio::test]
async fn the_place_of_a_roll_up_that_points_elsewhere() {
    // To the first column, behind the end of the file, and to a place that is none.
    let hosts = |place: &'static str| {
        move |text: String| {
            let words = text.split(' ').map(|word| if word.starts_with("hosts=") { place } else { word });
            words.collect::<Vec<_>>().join(" ")
        }
    };
    let report = with_places(None, hosts("hosts=4+100")).await;
    tells(&report, "its roll-up of hosts: not readable: ");
    let report = with_places(None, hosts("hosts=400000000+100")).await;
    tells(&report, "its roll-up of hosts: it is said to be at 400000000 to 400000100, behind the end of the file");
    let report = with_places(None, hosts("hosts=somewhere")).await;
    tells(&report, "its roll-ups are said to be at `1 sessions=");
}

#[tokio::test]
async fn the_places_of_two_roll_ups_exchanged() {
    let report = with_places(None, |text| {
        let words: Vec<&str> = text.split(' ').collect();
        let place = |part: usize| words[part + 1].split_once('=').unwrap().1;
        format!("1 sessions={} hosts={} paths={} images={}", place(0), place(3), place(2), place(1))
    })
    .await;
    Stage::finds(&report, Class::Invalid, &format!("{FILE_5}its roll-up of hosts: `example.org` is left out"));
    Stage::finds(&report, Class::Invalid, &format!("{FILE_5}its roll-up of images: `/usr/bin/curl` is left out"));
}

#[tokio::test]
async fn a_commit_that_says_otherwise_than_its_file_where_the_roll_ups_are() {
    let stage = compacted().await;
    stage.edit_add(5, |add| add["tags"][KEY] = "1 sessions=0+0 hosts=0+0 paths=0+0 images=0+0".into());
    stage.sign_again().await;
    let report = stage.report().await;
    tells(&report, "its roll-ups are at `1 sessions=");
    // A file that keeps none, and a commit that says that it does: a question would read what is no roll-up.
    let stage = compacted().await;
    let said = stage.lines(5).iter().find_map(|line| line.pointer("/add/tags/watchkeeper.rollups").cloned()).unwrap();
    stage.rewrite(5, |batch| batch);
    stage.reseal(5);
    stage.edit_add(5, |add| add["tags"][KEY] = said);
    stage.sign_again().await;
    tells(&stage.report().await, "its roll-ups are nowhere, the commit says at `1 sessions=");
}

#[tokio::test]
async fn what_is_not_kept_takes_nothing_from_a_question_and_is_no_finding() {
    let stage = compacted().await;
    let mut parts = kept(&stage, 5).await;
    (parts[Part::Paths as usize], parts[Part::Sessions as usize]) = (None, None);
    let report = with_places(Some(parts), |text| text).await;
    assert_eq!(report.findings, [], "{report}");
}

#[tokio::test]
async fn roll_ups_of_a_newer_form_are_passed_by_and_said_so() {
    let report = with_places(None, |text| text.replacen('1', "2", 1)).await;
    Stage::finds_only(&report, Class::Notice, &format!("{FILE_5}its roll-ups are of a form that only a newer version"));
}

#[tokio::test]
async fn a_roll_up_put_into_a_file_that_no_compaction_wrote() {
    let stage = compacted().await;
    let parts = kept(&stage, 5).await;
    let stage = Stage::new().await;
    put(&stage, 2, &parts, |text| text);
    stage.sign_again().await;
    let file = "commit 2: records/day=2026-10-26/events-0-10-19-and-1-00000002000000000000000000000000.parquet: ";
    let report = stage.report().await;
    Stage::finds(&report, Class::Invalid, &format!("{file}its roll-up of sessions: "));
}
