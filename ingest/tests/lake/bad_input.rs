//! Bytes that are no record cost their neighbours nothing and are not lost.

use crate::stage::{Stage, config, samples};
use std::time::Duration;
use wk_ingest::synthetic::Sample;
use wk_schemas::body::DeadLetter;
use wk_schemas::{Body, Topic, codec};
use wk_wire::kafka::Reader;
use wk_wire::{Read as _, frame, unframe};

/// What is on the dead-letter topic.
pub(crate) async fn letters(stage: &Stage) -> Vec<DeadLetter> {
    let mut reader = Reader::assign(&stage.brokers(), &[(Topic::DeadLetters.name(), 0, 0)]).await.unwrap();
    let mut letters = Vec::new();
    loop {
        let messages = reader.next_batch(1000, Duration::from_secs(1)).await.unwrap();
        if messages.is_empty() {
            return letters;
        }
        for message in messages {
            let record = codec::decode(unframe(&message.value).unwrap().1).unwrap();
            assert_eq!(record.header.writer, "ingest");
            let Body::DeadLetter(letter) = record.body else { panic!("{:?}", record.body) };
            letters.push(letter);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_record_becomes_a_letter_with_place_bytes_and_reason() {
    let stage = Stage::start().await;
    let good: Vec<Sample> = samples(1, 200).filter(|s| s.topic == Topic::Events).collect();
    let (first, rest) = good.split_first().unwrap();
    stage.append([first.clone()]).await;
    let key = rest[0].session_id.as_str().as_bytes();
    let datum = &rest[0].datum;
    let id = stage.schema_id;
    let foreign = stage.registry().register("somebody.elses", "\"string\"").await.unwrap();
    let mut bad_text = datum.clone();
    *bad_text.iter_mut().find(|byte| **byte == b'/').unwrap() = 0xff;
    let bad: [(&[u8], Vec<u8>, &str); 9] = [
        (key, frame(id, &datum[..40]), "cut short"),
        (key, frame(id, &[&datum[..], datum].concat()), "bytes follow the record"),
        (key, frame(id, &bad_text), "is not UTF-8"),
        (key, frame(9999, datum), "schema id 9999"),
        (key, frame(foreign, datum), "schema id"),
        (key, b"{\"kind\":\"thought\"}".to_vec(), "magic byte"),
        (key, Vec::new(), "too short"),
        (b"\xff\xfe", frame(id, datum), "the message's key"),
        (b"somebody-else", vec![b'x'; 950_000], "magic byte"),
    ];
    let mut expected = Vec::new();
    for (key, value, reason) in &bad {
        let offset = stage.append_raw(Topic::Events, key, value).await;
        expected.push((offset, *reason, value.clone()));
    }
    stage.append(rest.iter().cloned()).await;

    let rows = i64::try_from(good.len()).unwrap();
    let summary = stage.catch_up(config(50)).await.unwrap();
    assert_eq!((summary.rows, summary.dead_letters), (rows, 9));
    let found = letters(&stage).await;
    assert_eq!(found.len(), 10, "the long message takes two records");
    for (offset, reason, value) in expected {
        let parts: Vec<&DeadLetter> = found.iter().filter(|letter| letter.offset == offset).collect();
        assert_eq!(parts.iter().flat_map(|part| part.value.0.clone()).collect::<Vec<_>>(), value);
        for part in parts {
            assert_eq!((part.topic.as_str(), part.partition), (Topic::Events.name(), 0));
            assert!(part.reason.contains(reason), "{} instead of {reason}", part.reason);
        }
    }
    // The letters are records themselves; a run that finds nothing else takes them in and writes no more of them.
    assert_eq!(stage.catch_up(config(50)).await.unwrap().rows, 10);
    assert_eq!(stage.catch_up(config(50)).await.unwrap().commits, 0);
    let report = stage.verified().await;
    assert_eq!((report.records, report.dead_letters), (u64::try_from(rows).unwrap() + 10, 9));
    assert_eq!(letters(&stage).await.len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn rubbish_on_the_dead_letter_topic_itself_is_set_aside_once() {
    let stage = Stage::start().await;
    stage.append_raw(Topic::DeadLetters, b"s1", b"rubbish").await;
    assert_eq!(stage.catch_up(config(50)).await.unwrap().dead_letters, 1);
    let second = stage.catch_up(config(50)).await.unwrap();
    assert_eq!((second.rows, second.dead_letters), (1, 0));
    assert_eq!(stage.catch_up(config(50)).await.unwrap().commits, 0);
    assert_eq!(stage.verified().await.records, 1);
}
