//! Dead letters that can be read by now are replayed: each once, wherever a replay dies, and it is written down.

use crate::stage::{Stage, config, identity, samples};
use serde_json::Value;
use std::collections::BTreeMap;
use wk_ingest::replay::{Outcome, Replay};
use wk_ingest::synthetic::Sample;
use wk_schemas::{Body, SCHEMA, Timestamp, Topic, codec};
use wk_store::Source;
use wk_store::rows::Columns;
use wk_wire::{Append as _, Read as _, frame, unframe};

const NOW: Timestamp = Timestamp(1_793_000_000_000_000);

/// What a replay does with letters of a lake that holds records of our schema alone.
async fn replay(stage: &Stage, dry: bool) -> Outcome {
    let columns = Columns::ours();
    Replay::new(&stage.brokers(), stage.registry(), columns, identity(), dry).run(NOW).await.unwrap()
}

/// Appends records under a schema id that the registry does not know yet.
async fn append_unknown(stage: &Stage, samples: &[Sample]) -> i32 {
    let id = stage.schema_id + 1;
    for sample in samples {
        let key = sample.session_id.as_str().as_bytes();
        stage.append_raw(sample.topic, key, &frame(id, &sample.datum)).await;
    }
    id
}

/// The same schema in other words, so that it gets an id of its own.
async fn register(stage: &Stage, id: i32) {
    let mut other: Value = serde_json::from_str(SCHEMA).unwrap();
    other["doc"] = "The same, said otherwise.".into();
    assert_eq!(stage.registry().register(Topic::Events.name(), &other.to_string()).await.unwrap(), id);
}

/// Lake and log as they are once everything is ingested: records, dead letters counted, records sent twice.
async fn settled(stage: &Stage) -> (u64, u64, u64) {
    for _ in 0..2 {
        stage.catch_up(config(100)).await.unwrap();
    }
    let report = stage.verified().await;
    (report.records, report.dead_letters, report.duplicates)
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_whose_schema_was_registered_too_late_are_replayed_once_and_noted() {
    let stage = Stage::start().await;
    let samples: Vec<Sample> = samples(1, 300).collect();
    // The first are read, those in the middle are not, and the last are again: a hole in every chain.
    stage.append(samples[..100].to_vec()).await;
    let id = append_unknown(&stage, &samples[100..140]).await;
    stage.append(samples[140..].to_vec()).await;
    stage.append_raw(Topic::Events, b"s1", b"rubbish").await;
    for _ in 0..2 {
        stage.catch_up(config(100)).await.unwrap();
    }
    // Nothing can be read yet that could not be then.
    let outcome = replay(&stage, false).await;
    assert_eq!((outcome.letters, outcome.replayed.len(), outcome.refused.values().sum::<u64>()), (41, 0, 41));
    assert!(outcome.refused.keys().any(|reason| reason.contains(&format!("schema id {id}"))), "{outcome}");

    register(&stage, id).await;
    let dry = replay(&stage, true).await;
    assert_eq!((dry.replayed.len(), dry.refused.len()), (40, 1), "{dry}");
    let outcome = replay(&stage, false).await;
    assert_eq!((outcome.before, outcome.found, outcome.replayed.len()), (0, 0, 40), "{outcome}");
    assert_eq!(outcome.refused.values().sum::<u64>(), 1, "rubbish stays rubbish: {outcome}");
    assert!(outcome.to_string().contains("41 dead letters, 0 replayed before, 40 replayed now\n"), "{outcome}");
    let again = replay(&stage, false).await;
    assert_eq!((again.before, again.replayed.len()), (40, 0), "{again}");

    // 300 records, 41 letters, 40 notes; every chain is whole, though 40 of its records came late.
    assert_eq!(settled(&stage).await, (300 + 41 + 40, 41, 0));
    let notes = notes(&stage).await;
    let replayed: BTreeMap<_, _> =
        outcome.replayed.iter().map(|(source, offset, at)| ((*source, *offset), at)).collect();
    assert_eq!(notes.len(), 40);
    for (source, offset, reason) in notes {
        let at = replayed[&(source, offset)].unwrap();
        assert_eq!(reason, format!("replayed: the message is at {source}@{at}"));
    }
}

/// The notes on the dead-letter topic.
async fn notes(stage: &Stage) -> Vec<(Source, i64, String)> {
    let topic = Topic::DeadLetters.name();
    let mut reader = wk_wire::kafka::Reader::assign(&stage.brokers(), &[(topic, 0, 0)]).await.unwrap();
    let high = reader.cluster().watermarks(topic, 0).await.unwrap().high;
    let mut notes = Vec::new();
    let mut next = 0;
    while next < high {
        let message = reader.next().await.unwrap();
        next = message.offset + 1;
        let record = codec::decode(unframe(&message.value).unwrap().1).unwrap();
        let Body::DeadLetter(letter) = record.body else { panic!("{record:?}") };
        if record.header.writer == wk_ingest::replay::WRITER {
            assert_eq!((letter.parts, letter.value.0.len(), record.header.caused_by.len()), (0, 0, 1));
            let source = Source { topic: Topic::from_name(&letter.topic).unwrap(), partition: letter.partition };
            notes.push((source, letter.offset, letter.reason));
        }
    }
    notes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_died_before_its_note_is_made_good_without_a_second_copy() {
    let stage = Stage::start().await;
    let samples: Vec<Sample> = samples(2, 60).collect();
    stage.append(samples[..50].to_vec()).await;
    let id = append_unknown(&stage, &samples[50..]).await;
    for _ in 0..2 {
        stage.catch_up(config(100)).await.unwrap();
    }
    register(&stage, id).await;
    // What a replay leaves that dies after its fourth message: messages, and no note.
    let producer = wk_wire::kafka::Producer::connect(&stage.brokers()).unwrap();
    for sample in &samples[50..54] {
        let key = sample.session_id.as_str().as_bytes();
        producer.append(sample.topic.name(), key, &frame(id, &sample.datum)).await.unwrap();
    }
    let dry = replay(&stage, true).await;
    assert_eq!(dry.replayed.len(), 6, "{dry}");
    let outcome = replay(&stage, false).await;
    assert_eq!((outcome.found, outcome.replayed.len()), (4, 6), "{outcome}");
    assert_eq!(settled(&stage).await, (60 + 10 + 10, 10, 0));
    assert_eq!(replay(&stage, false).await.before, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_in_parts_is_replayed_whole() {
    let stage = Stage::start().await;
    // Longer than one part of a letter, shorter than a record may be.
    let (mut header, mut body) = match codec::decode(&samples(3, 1).next().unwrap().datum).unwrap() {
        wk_schemas::Record { header, body: Body::SessionStarted(body) } => (header, body),
        other => panic!("{other:?}"),
    };
    header.seq = 0;
    body.workspace = "x".repeat(700_000);
    let (_, datum) = wk_schemas::Chain::default().seal(header.clone(), body.into());
    let id = stage.schema_id + 1;
    stage.append_raw(Topic::Events, header.session_id.as_str().as_bytes(), &frame(id, &datum)).await;
    for _ in 0..2 {
        stage.catch_up(config(100)).await.unwrap();
    }
    register(&stage, id).await;
    let outcome = replay(&stage, false).await;
    assert_eq!((outcome.letters, outcome.replayed.len(), outcome.incomplete), (1, 1, 0), "{outcome}");
    assert_eq!(settled(&stage).await, (1 + 2 + 1, 1, 0));
}
