//! Roll-ups: kept by compactions, the same in whatever order records come, and left out rather than cut.

use crate::common::{START, Session, commit, key, records, writer};
use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::Int64Type;
use object_store::path::Path as ObjectPath;
use std::collections::BTreeSet;
use uuid::Uuid;
use wk_schemas::body::{ConnectionAttempted, FileAccessed};
use wk_schemas::{Body, Kind, Schema, Timestamp};
use wk_store::compact::Limits;
use wk_store::files::Files;
use wk_store::rollup::{Bounds, Part, Rollups, read};
use wk_store::verify::{Options, verify};
use wk_store::{DataFile, Writer};

fn body(kind: Kind) -> Body {
    records::bodies().into_iter().find(|body| body.kind() == kind).unwrap()
}

fn touched(path: &str, count: i64) -> Body {
    let Body::FileAccessed(accessed) = body(Kind::FileAccessed) else { unreachable!("asked for by kind") };
    FileAccessed { path: path.into(), target_path: None, count, ..accessed }.into()
}

fn reached(host_name: Option<&str>, address: &str, protocol: &str) -> Body {
    let Body::ConnectionAttempted(attempted) = body(Kind::ConnectionAttempted) else {
        unreachable!("asked for by kind")
    };
    let (host_name, address, protocol) = (host_name.map(Into::into), address.into(), protocol.into());
    ConnectionAttempted { host_name, address, protocol, ..attempted }.into()
}

fn rolled_up(datums: &[Vec<u8>]) -> [RecordBatch; 4] {
    let mut rollups = Rollups::default();
    datums.iter().for_each(|datum| rollups.take(&Schema::ours(), datum).unwrap());
    rollups.into_batches()
}

fn texts(batch: &RecordBatch, name: &str) -> Vec<String> {
    let column = batch.column_by_name(name).unwrap().as_string::<i32>();
    (0..batch.num_rows()).map(|row| column.value(row).to_owned()).collect()
}

fn counts(batch: &RecordBatch, name: &str) -> Vec<i64> {
    batch.column_by_name(name).unwrap().as_primitive::<Int64Type>().values().to_vec()
}

#[test]
fn a_roll_up_does_not_depend_on_the_order_of_the_records() {
    let mut datums = Vec::new();
    for number in [3, 1, 2] {
        let mut session = Session::new(number);
        datums.extend(records::bodies().into_iter().map(|body| session.datum(body)));
        datums.extend((0..5).map(|n| session.datum(touched(&format!("/work/{}", n % 3), n))));
    }
    let forward = rolled_up(&datums);
    datums.reverse();
    assert_eq!(rolled_up(&datums), forward);
    datums.rotate_left(17);
    assert_eq!(rolled_up(&datums), forward);
    let [sessions, _, paths, _] = forward;
    assert_eq!(texts(&sessions, "session_id"), ["session-1", "session-2", "session-3"]);
    let there = ["/home/alice/shop/a\u{fffd}", "/home/alice/shop/b", "/work/0", "/work/1", "/work/2"];
    assert_eq!(texts(&paths, "value"), there);
    // Of three sessions at the same times the one whose record has the smallest id was first.
    assert_eq!(texts(&paths, "session_id"), ["session-1"; 5]);
    assert_eq!((counts(&paths, "records"), counts(&paths, "times")), (vec![3, 3, 6, 6, 3], vec![9, 9, 9, 15, 6]));
}

#[test]
fn a_host_is_its_name_or_its_address_and_a_local_socket_is_none() {
    let mut session = Session::new(1);
    let bodies = [
        reached(Some("example.org"), "203.0.113.7", "tcp"),
        reached(None, "203.0.113.7", "tcp"),
        reached(None, "203.0.113.7", "udp"),
        reached(None, "/run/docker.sock", "unix"),
        reached(None, "", "netlink"),
    ];
    let datums: Vec<Vec<u8>> = bodies.into_iter().map(|body| session.datum(body)).collect();
    let [sessions, hosts, ..] = rolled_up(&datums);
    assert_eq!(texts(&hosts, "value"), ["203.0.113.7", "example.org"]);
    assert_eq!(counts(&hosts, "records"), [2, 1]);
    // The session reached for the network five times all the same, and was refused each time.
    assert_eq!((counts(&sessions, "connections"), counts(&sessions, "denied")), (vec![5], vec![5]));
}

/// A lake of one day with these records, compacted.
async fn compacted(folder: &std::path::Path, bodies: Vec<Body>, rollups: Bounds) -> Writer {
    let mut writer = writer(folder).await;
    let mut session = Session::new(1);
    let datums: Vec<Vec<u8>> = bodies.into_iter().map(|body| session.datum(body)).collect();
    writer.commit(&commit(1, 0, datums)).await.unwrap();
    let limits = Limits { rollups, ..Limits::default() };
    let id = Uuid::from_u128(7 << 64);
    writer.compact(&BTreeSet::new(), "2026-10-28", &limits, id, Timestamp(START)).await.unwrap().unwrap();
    writer
}

async fn part(files: &Files, file: &DataFile, part: Part) -> Option<Vec<RecordBatch>> {
    let place = file.rollups.as_ref()?.of(part)?;
    let bytes = files.get(&ObjectPath::from(file.path.as_str())).await.unwrap().unwrap();
    let at = |n: u64| usize::try_from(n).unwrap();
    Some(read(part, &bytes.slice(at(place.start)..at(place.end)), None).unwrap())
}

#[tokio::test]
async fn a_part_that_is_too_large_is_left_out_as_a_whole_and_the_lake_is_valid() {
    let dir = tempfile::tempdir().unwrap();
    let mut bodies = vec![body(Kind::ProcessStarted), body(Kind::ConnectionAttempted)];
    bodies.extend((0..500).map(|n| touched(&format!("/work/file-{n}"), 1)));
    let writer = compacted(dir.path(), bodies, Bounds { rows: 499, ..Bounds::default() }).await;
    let snapshot = writer.lake().snapshot();
    let [file] = &snapshot.files[..] else { panic!("{:?}", snapshot.files) };
    let files = writer.lake().files();
    assert_eq!(part(files, file, Part::Paths).await, None);
    for (kept, rows) in [(Part::Sessions, 1), (Part::Hosts, 1), (Part::Images, 1)] {
        let found: usize = part(files, file, kept).await.unwrap().iter().map(RecordBatch::num_rows).sum();
        assert_eq!(found, rows, "{kept:?}");
    }
    let report = verify(files, &key().verifying_key(), &Options::default(), |_| {}).await.unwrap();
    assert_eq!(report.findings, [], "{report}");
    assert_eq!(report.rearranged, 502);
}

#[tokio::test]
async fn long_texts_are_bounded_too_and_what_is_not_in_a_file_takes_no_place() {
    let dir = tempfile::tempdir().unwrap();
    let Body::PromptSubmitted(mut prompt) = body(Kind::PromptSubmitted) else { unreachable!("asked for by kind") };
    prompt.text = "mend it ".repeat(8192);
    let writer = compacted(dir.path(), vec![prompt.into()], Bounds { bytes: 32 * 1024, ..Bounds::default() }).await;
    let snapshot = writer.lake().snapshot();
    let places = snapshot.files[0].rollups.as_ref().unwrap();
    assert_eq!(places.of(Part::Sessions), None);
    for nothing in [Part::Hosts, Part::Paths, Part::Images] {
        assert!(places.of(nothing).unwrap().is_empty(), "{places}");
    }
}

#[tokio::test]
async fn a_file_as_ingest_commits_it_keeps_none() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = writer(dir.path()).await;
    let mut session = Session::new(1);
    writer.commit(&commit(1, 0, vec![session.datum(body(Kind::FileAccessed))])).await.unwrap();
    assert_eq!(writer.lake().snapshot().files[0].rollups, None);
}
