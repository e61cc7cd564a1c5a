//! What was done before the lake: to records on their way, and to clocks.

use crate::common::{START, Session, records};
use crate::stage::{Put, Stage, bodies};
use wk_schemas::body::DeadLetter;
use wk_schemas::{Body, Bytes, Digest, Header, Kind, RecordId, Timestamp, Topic, codec};
use wk_store::Source;
use wk_store::verify::{Class, Scope};

const HOUR: i64 = 3_600_000_000;

fn put(offset: i64, datum: Vec<u8>) -> Put {
    Put { topic: Topic::Events, partition: 0, recorded_at: START + offset, datum }
}

/// A lake of one commit with these records in partition 0 of the events.
async fn lake(datums: Vec<Vec<u8>>) -> Stage {
    Stage::of(vec![(0..).zip(datums).map(|(offset, datum)| put(offset, datum)).collect()]).await
}

fn session(number: u128) -> Vec<Vec<u8>> {
    let mut session = Session::new(number);
    bodies().into_iter().map(|body| session.datum(body)).collect()
}

fn body(kind: Kind) -> Body {
    records::bodies().into_iter().find(|body| body.kind() == kind).unwrap()
}

/// The record with its header put through `change`, its chain left as it was.
fn altered(datum: &[u8], change: impl FnOnce(&mut Header)) -> Vec<u8> {
    let mut record = codec::decode(datum).unwrap();
    change(&mut record.header);
    codec::encode(&record)
}

#[tokio::test]
async fn a_record_removed_before_ingest() {
    let mut datums = session(1);
    datums.remove(6);
    Stage::finds_only(
        &lake(datums).await.report().await,
        Class::Gap,
        "agent.session.events.v1/0@6: session session-1 writer shim: the record with seq 6 is missing",
    );
}

#[tokio::test]
async fn several_records_removed_before_ingest() {
    let mut datums = session(1);
    datums.drain(6..9);
    Stage::finds_only(&lake(datums).await.report().await, Class::Gap, "the records with seq 6 to 8 are missing");
}

#[tokio::test]
async fn the_beginning_of_a_session_withheld() {
    let mut datums = session(1);
    datums.drain(..2);
    Stage::finds_only(&lake(datums).await.report().await, Class::Gap, "the records with seq 0 to 1 are missing");
}

#[tokio::test]
async fn a_record_altered_before_ingest() {
    let mut datums = session(1);
    datums[6] = altered(&datums[6], |header| header.host = "elsewhere".into());
    Stage::finds_only(&lake(datums).await.report().await, Class::Invalid, "the record with seq 6 was altered");
}

#[tokio::test]
async fn two_records_put_in_another_order_before_ingest() {
    let mut datums = session(1);
    datums.swap(6, 7);
    let text = "the record with seq 6 comes after its successor, and no note says that it was replayed";
    Stage::finds_only(&lake(datums).await.report().await, Class::Invalid, text);
}

/// The note of a replay, which says where the message is now.
fn note(offset: i64) -> Body {
    let place = Source { topic: Topic::Events, partition: 0 };
    let letter = DeadLetter {
        topic: place.topic.name().into(),
        partition: 0,
        offset: 3,
        key: Bytes(b"session-1".to_vec()),
        value: Bytes(Vec::new()),
        part: 0,
        parts: 0,
        value_bytes: 9,
        value_digest: Digest::of(b"a message"),
        reason: wk_store::replayed::reason(place, offset),
    };
    letter.into()
}

#[tokio::test]
async fn a_record_that_came_late_because_it_was_replayed_is_no_fault_and_has_to_fit_all_the_same() {
    let late = |altered_too: bool, noted: i64| async move {
        let mut datums = session(1);
        let mut late = datums.remove(6);
        if altered_too {
            late = altered(&late, |header| header.host = "elsewhere".into());
        }
        datums.insert(9, late);
        let topic = |topic, recorded_at, datum| Put { topic, partition: 0, recorded_at, datum };
        let mut puts: Vec<Put> =
            (0i64..).zip(datums).map(|(n, datum)| topic(Topic::Events, START + n * 1000, datum)).collect();
        let mut replay = Session::new(1);
        puts.push(topic(Topic::DeadLetters, START, replay.datum(note(noted))));
        Stage::of(vec![puts]).await.report().await
    };
    let report = late(false, 9).await;
    assert!(report.is_valid(), "{report}");
    assert_eq!(report.chained_records, report.records, "{report}");
    Stage::finds_only(&late(false, 8).await, Class::Invalid, "the record with seq 6 comes after its successor");
    Stage::finds_only(&late(true, 9).await, Class::Invalid, "the record with seq 6 was altered");
}

#[tokio::test]
async fn a_record_invented_in_the_middle_of_a_chain() {
    let mut datums = session(1);
    let forged = altered(&datums[6], |header| {
        header.record_id = RecordId(uuid::Uuid::from_u128(0xbad));
        header.host = "elsewhere".into();
    });
    datums.insert(7, forged);
    Stage::finds_only(&lake(datums).await.report().await, Class::Invalid, "two different records claim seq 6");
}

#[tokio::test]
async fn a_record_sent_twice_is_no_fault() {
    let mut datums = session(1);
    datums.insert(7, datums[6].clone());
    let report = lake(datums).await.report().await;
    assert_eq!((report.findings.len(), report.duplicates), (0, 1), "{report}");
}

#[tokio::test]
async fn a_chain_that_begins_with_a_record_before_it() {
    let mut datums = session(1);
    datums[0] = altered(&datums[0], |header| header.prev_digest = Digest::of(b"before"));
    let report = lake(datums).await.report().await;
    Stage::finds(&report, Class::Invalid, "the first record names one before it");
}

#[tokio::test]
async fn a_sessions_tail_withheld() {
    let mut datums = session(1);
    datums.truncate(20);
    let stage = lake(datums).await;
    // It may still run: the lake as a whole says how many sessions do.
    let report = stage.report().await;
    assert!(report.findings.is_empty() && report.open_sessions == 1, "{report}");
    let report = stage.report_of(Scope::Session("session-1".into())).await;
    Stage::finds(&report, Class::Notice, "session session-1: it has no end: its last record has seq 19");
}

#[tokio::test]
async fn a_sessions_tail_withheld_while_the_lake_went_on_for_days() {
    let mut datums = session(1);
    datums.truncate(20);
    let mut puts: Vec<Put> = (0..).zip(datums).map(|(offset, datum)| put(offset, datum)).collect();
    puts.extend((0..).zip(session(2)).map(|(n, datum)| put(49 * HOUR + n, datum)));
    let report = Stage::of(vec![puts]).await.report().await;
    Stage::finds_only(
        &report,
        Class::Notice,
        "agent.session.events.v1/0@19: session session-1: it has no end: its last record has seq 19",
    );
}

#[tokio::test]
async fn evidence_withheld_that_a_finding_names() {
    let mut shim = Session::new(1);
    let mut watcher = Session::new(1);
    let started = shim.datum(body(Kind::SessionStarted));
    // The record that the finding rests on, and everything after it, never reached the log.
    let withheld = codec::decode(&shim.datum(body(Kind::FileAccessed))).unwrap().header.record_id;
    let Body::Finding(mut finding) = body(Kind::Finding) else { unreachable!("asked for a finding") };
    finding.evidence = vec![withheld];
    let puts = vec![put(0, started), Put { topic: Topic::Findings, ..put(1, watcher.datum(finding.into())) }];
    let stage = Stage::of(vec![puts]).await;
    let report = stage.report_of(Scope::Session("session-1".into())).await;
    Stage::finds(
        &report,
        Class::Gap,
        &format!("agent.session.findings.v1/0@0: it gives the record {withheld} as evidence, which is not in the lake"),
    );
}

#[tokio::test]
async fn the_clock_of_a_host_put_back() {
    let mut session = Session::new(1);
    let mut datums: Vec<_> = bodies().into_iter().map(|body| session.datum(body)).collect();
    // The shim seals with the clock it has: the chain holds, and the time does not.
    let mut chain = wk_schemas::Chain::default();
    for (n, datum) in datums.iter_mut().enumerate() {
        let record = codec::decode(datum).unwrap();
        let back = if n >= 10 { 2 * HOUR } else { 0 };
        let header = Header { occurred_at: Timestamp(record.header.occurred_at.0 - back), ..record.header };
        *datum = chain.seal(header, record.body).1;
    }
    let report = lake(datums).await.report().await;
    Stage::finds_only(&report, Class::Notice, "the writer's clock went back by 7199 s before the record with seq 10");
}

#[tokio::test]
async fn the_clock_of_a_host_ahead_of_the_log() {
    let mut chain = wk_schemas::Chain::default();
    let datums = session(1)
        .iter()
        .map(|datum| {
            let record = codec::decode(datum).unwrap();
            let header = Header { occurred_at: Timestamp(record.header.occurred_at.0 + 5 * HOUR), ..record.header };
            chain.seal(header, record.body).1
        })
        .collect();
    let report = lake(datums).await.report().await;
    Stage::finds_only(&report, Class::Notice, "the record with seq 0 is dated 18000 s after the log took it");
}

#[tokio::test]
async fn a_record_moved_into_another_session() {
    let mut datums = session(1);
    let stolen =
        altered(&session(2)[3], |header| header.session_id = wk_schemas::SessionId::parse("session-1").unwrap());
    datums[3] = stolen;
    let report = lake(datums).await.report().await;
    Stage::finds(&report, Class::Invalid, "session session-1 writer shim: the record with seq 2 was altered");
}
