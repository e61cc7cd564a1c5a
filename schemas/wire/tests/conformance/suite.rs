//! The promises, each against a log that is already running. Every test makes topics of its own, so that they may share one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use wk_schemas::topic::Topic;
use wk_wire::kafka::{AssignError, Cluster, GroupEvent, GroupReader, Lag, Producer, Reader};
use wk_wire::topics::{self, TopicSpec};
use wk_wire::{Append as _, AppendError, Brokers, Disposition, Message, Read as _, ReadError};

use crate::logs::Restart;

/// Long enough for a busy machine; no test waits for it when all is well.
const PATIENCE: Duration = Duration::from_secs(180);

pub(crate) async fn messages_of_one_key_stay_in_one_partition_in_the_order_of_submission(brokers: &Brokers) {
    const KEYS: usize = 7;
    const EACH: usize = 400;
    let topic = new_topic(brokers, 3).await;
    let producer = Producer::connect(brokers).unwrap();
    let mut deliveries = Vec::new();
    for n in 0..EACH {
        for key in 0..KEYS {
            let (key, value) = (format!("session-{key}"), format!("{n}"));
            let submitted = producer.submit(&topic, key.as_bytes(), value.as_bytes());
            let delivery = submitted.await.unwrap();
            deliveries.push((key, value, delivery));
        }
    }
    let mut acknowledged = BTreeSet::new();
    for (key, value, delivery) in deliveries {
        let position = delivery.await.unwrap();
        let offset = position.offset.unwrap();
        acknowledged.insert((position.partition, offset, key, value));
    }
    let read = read_all(brokers, &topic).await;
    let placed: BTreeSet<_> = read.iter().map(|m| (m.partition, m.offset, text(&m.key), text(&m.value))).collect();
    assert_eq!(placed, acknowledged);
    let mut by_key: BTreeMap<String, (BTreeSet<i32>, Vec<String>)> = BTreeMap::new();
    for message in &read {
        let (partitions, values) = by_key.entry(text(&message.key)).or_default();
        partitions.insert(message.partition);
        values.push(text(&message.value));
    }
    let expected: Vec<String> = (0..EACH).map(|n| n.to_string()).collect();
    assert_eq!(by_key.len(), KEYS);
    for (partitions, values) in by_key.values() {
        assert_eq!(partitions.len(), 1);
        assert_eq!(values, &expected);
    }
}

pub(crate) async fn reading_goes_on_from_any_offset(brokers: &Brokers) {
    let topic = new_topic(brokers, 1).await;
    let producer = Producer::connect(brokers).unwrap();
    append_numbers(&producer, &topic, 0..100).await;
    let mut reader = Reader::assign(brokers, &[(&topic, 0, 42)]).await.unwrap();
    assert_eq!(text(&next(&mut reader).await.value), "42");
    let batch = reader.next_batch(10, PATIENCE).await.unwrap();
    assert!((1..=10).contains(&batch.len()));
    let values: Vec<String> = batch.iter().map(|m| text(&m.value)).collect();
    let expected: Vec<String> = (43..43 + batch.len()).map(|n| n.to_string()).collect();
    assert_eq!(values, expected);
    // From the end on, it waits for what comes.
    let mut reader = Reader::assign(brokers, &[(&topic, 0, 100)]).await.unwrap();
    let nothing = reader.next_batch(10, Duration::from_millis(50)).await;
    assert_eq!(nothing.unwrap(), []);
    append_numbers(&producer, &topic, 100..101).await;
    assert_eq!(next(&mut reader).await.offset, 100);
}

pub(crate) async fn a_message_is_found_by_the_time_at_which_the_log_took_it(brokers: &Brokers) {
    let topic = new_topic(brokers, 1).await;
    let producer = Producer::connect(brokers).unwrap();
    append_numbers(&producer, &topic, 0..10).await;
    // Two messages of one millisecond could not be told apart.
    tokio::time::sleep(Duration::from_millis(20)).await;
    append_numbers(&producer, &topic, 10..20).await;
    let read = read_all(brokers, &topic).await;
    let cluster = Cluster::connect(brokers).unwrap();
    let at = async |ms: i64| cluster.offsets_for_time(&topic, ms).await.unwrap();
    let tenth = read[10].timestamp_ms.unwrap();
    assert!(read[9].timestamp_ms.unwrap() < tenth);
    assert_eq!(at(tenth).await, [(0, 10)]);
    assert_eq!(at(0).await, [(0, 0)]);
    assert_eq!(at(tenth + 3_600_000).await, [(0, 20)]);
}

pub(crate) async fn the_log_and_not_the_writer_says_when_it_took_a_message(brokers: &Brokers) {
    let topic = new_topic(brokers, 1).await;
    let lying: rdkafka::producer::FutureProducer =
        ClientConfig::new().set("bootstrap.servers", &brokers.bootstrap).create().unwrap();
    let record = rdkafka::producer::FutureRecord::to(&topic).key("session").payload("from long ago").timestamp(1_000);
    lying.send(record, PATIENCE).await.unwrap();
    let read = read_all(brokers, &topic).await;
    assert!(read[0].timestamp_ms.unwrap() > 1_700_000_000_000);
}

pub(crate) async fn a_group_hands_its_partitions_over_without_a_gap(brokers: &Brokers) {
    let topic = new_topic(brokers, 2).await;
    let group = format!("{topic}-group");
    let producer = Producer::connect(brokers).unwrap();
    let mut deliveries = Vec::new();
    for n in 0..200 {
        let key = format!("session-{}", n % 20);
        let value = n.to_string();
        let delivery = producer.submit(&topic, key.as_bytes(), value.as_bytes());
        deliveries.push(delivery.await.unwrap());
    }
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    let subscribe = async || {
        let reader = GroupReader::subscribe(brokers, &group, &[&topic]).await;
        reader.unwrap()
    };

    // The first member has all partitions, commits what it has worked off, reads on and leaves.
    let mut first = subscribe().await;
    let mut committed = BTreeSet::new();
    let mut ends = BTreeMap::new();
    let mut assigned = BTreeSet::new();
    while committed.len() < 60 {
        match event(&mut first).await {
            GroupEvent::Assigned(partitions) => assigned.extend(partitions),
            GroupEvent::Revoked(_) => panic!("nobody else is in the group"),
            GroupEvent::Message(message) => {
                assert!(assigned.contains(&(topic.clone(), message.partition)));
                ends.insert(message.partition, message.offset + 1);
                committed.insert(text(&message.value));
            }
        }
    }
    let offsets: Vec<_> = ends.iter().map(|(&p, &o)| (topic.as_str(), p, o)).collect();
    first.commit(&offsets).await.unwrap();
    let GroupEvent::Message(uncommitted) = event(&mut first).await else {
        panic!("there are more messages");
    };
    first.leave().await;

    // The second gets everything that was not committed, also what the first had already read.
    let mut second = subscribe().await;
    let mut seen = BTreeSet::new();
    while seen.len() < 200 - committed.len() {
        if let GroupEvent::Message(message) = event(&mut second).await {
            assert!(message.offset >= ends.get(&message.partition).copied().unwrap_or(0));
            assert!(seen.insert(text(&message.value)), "delivered twice");
        }
    }
    assert!(seen.contains(&text(&uncommitted.value)));
    assert_eq!(seen.intersection(&committed).count(), 0);
    second.leave().await;
}

pub(crate) async fn progress_kept_elsewhere_can_be_shown_as_lag(brokers: &Brokers) {
    let topic = new_topic(brokers, 1).await;
    let group = format!("{topic}-lake");
    let producer = Producer::connect(brokers).unwrap();
    append_numbers(&producer, &topic, 0..10).await;
    let lag = |committed| Lag { partition: 0, committed, high: 10 };
    assert_eq!(Lag::of(brokers, &group, &topic).await.unwrap(), [lag(None)]);
    Lag::publish(brokers, &group, &[(&topic, 0, 7)]).await.unwrap();
    let shown = Lag::of(brokers, &group, &topic).await.unwrap();
    assert_eq!(shown, [lag(Some(7))]);
}

pub(crate) async fn a_record_of_950_kilobytes_passes_and_one_of_5_megabytes_is_named(brokers: &Brokers) {
    let topic = new_topic(brokers, 1).await;
    let producer = Producer::connect(brokers).unwrap();
    // Noise, so that compression does not make it small.
    let mut state = 1_u64;
    let big: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    })
    .take(950_000)
    .collect();
    let position = producer.append(&topic, b"session", &big).await.unwrap();
    assert_eq!(position.offset, Some(0));

    let error = producer.append(&topic, b"session", &vec![b'x'; 5_000_000]).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("message of 5000007 bytes for topic `{topic}` is over the limit of 999000 bytes")
    );
    assert_eq!(error.disposition(), Disposition::SetAside);

    // It has cost nothing: the producer goes on, and the big one is read back whole.
    append_numbers(&producer, &topic, 0..1).await;
    let read = read_all(brokers, &topic).await;
    assert_eq!(read.len(), 2);
    assert!(read[0].value == big);
}

pub(crate) async fn an_unknown_topic_is_named_by_writer_and_reader(brokers: &Brokers) {
    let producer = Producer::connect(brokers).unwrap();
    let error = producer.append("no.such.topic", b"k", b"v").await;
    let error = error.unwrap_err();
    assert!(matches!(&error, AppendError::UnknownTopic { topic, .. } if topic == "no.such.topic"));
    assert_eq!(error.disposition(), Disposition::Stop);
    let error = Reader::assign(brokers, &[("no.such.topic", 0, 0)]).await;
    assert!(matches!(
        error.unwrap_err(),
        AssignError::Read(ReadError::UnknownTopic { topic, .. }) if topic == "no.such.topic"
    ));
    let topic = new_topic(brokers, 1).await;
    let error = Reader::assign(brokers, &[(&topic, 1, 0)]).await;
    assert_eq!(error.unwrap_err().to_string(), format!("topic `{topic}` has no partition 1; it has 1"));
    // Asking did not create it.
    let cluster = Cluster::connect(brokers).unwrap();
    assert!(cluster.partitions("no.such.topic").await.is_err());
}

pub(crate) async fn a_position_outside_the_log_is_named_and_never_moved(brokers: &Brokers) {
    let topic = new_topic(brokers, 1).await;
    let producer = Producer::connect(brokers).unwrap();
    append_numbers(&producer, &topic, 0..10).await;
    delete_before(brokers, &topic, 4).await;
    for offset in [3, 11] {
        let error = Reader::assign(brokers, &[(&topic, 0, offset)]).await;
        assert_eq!(
            error.unwrap_err().to_string(),
            format!("offset {offset} of topic `{topic}` partition 0 is not in the log, which holds 4 to 10")
        );
    }
    let mut reader = Reader::assign(brokers, &[(&topic, 0, 4)]).await.unwrap();
    assert_eq!(next(&mut reader).await.offset, 4);
}

pub(crate) async fn a_position_lost_while_reading_is_named_and_never_moved(brokers: &Brokers) {
    let topic = new_topic(brokers, 1).await;
    let producer = Producer::connect(brokers).unwrap();
    let big = vec![b'x'; 400_000];
    for _ in 0..3 {
        producer.append(&topic, b"session", &big).await.unwrap();
    }
    let mut reader = Reader::assign(brokers, &[(&topic, 0, 3)]).await.unwrap();
    let nothing = reader.next_batch(1, Duration::from_millis(300)).await;
    assert_eq!(nothing.unwrap(), []);
    // Retention overtakes the reader: what it waits for is written and removed before it looks.
    for _ in 0..200 {
        drop(producer.submit(&topic, b"session", &big).await.unwrap());
    }
    producer.flush(PATIENCE).await.unwrap();
    delete_before(brokers, &topic, 203).await;
    append_numbers(&producer, &topic, 0..1).await;
    let mut last = 2;
    let lost = loop {
        match tokio::time::timeout(PATIENCE, reader.next()).await.unwrap() {
            // What was fetched before it was removed.
            Ok(message) => {
                assert_eq!(message.offset, last + 1, "moved in silence");
                last = message.offset;
            }
            Err(error) => break error,
        }
        if last == 203 {
            // Everything had been fetched in time: nothing was lost.
            return;
        }
    };
    assert!(
        matches!(&lost, ReadError::OutOfRange { offset, low: 203, high: 204, .. } if *offset == last + 1),
        "{lost}"
    );
    assert_eq!(lost.disposition(), Disposition::Stop);
}

pub(crate) async fn topics_are_created_once_and_differences_are_named(brokers: &Brokers) {
    let found = topics::create(brokers, &TopicSpec::SINGLE).await.unwrap();
    let named: Vec<Topic> = found.iter().map(|state| state.topic).collect();
    assert_eq!(named, Topic::ALL);
    let again = topics::create(brokers, &TopicSpec::SINGLE).await.unwrap();
    assert!(again.iter().all(|state| !state.created));

    let cluster = Cluster::connect(brokers).unwrap();
    let partitions = cluster.partitions(Topic::Events.name()).await.unwrap();
    let spec = TopicSpec { partitions: 99, ..TopicSpec::SINGLE };
    let states = topics::describe(brokers, &spec).await.unwrap();
    for state in states {
        let differences: Vec<String> = state.differences.iter().map(ToString::to_string).collect();
        let expected = format!("partitions is {}, expected 99", partitions.len());
        assert_eq!(differences, [expected]);
    }
}

/// A writer that goes on while the log is stopped and started under it.
pub(crate) async fn restart_keeps_every_acknowledged_message_once(log: &mut impl Restart) {
    let brokers = log.brokers();
    let topic = new_topic(&brokers, 1).await;
    let stop = Arc::new(AtomicBool::new(false));
    let count = Arc::new(AtomicU32::new(0));
    let writer = tokio::spawn({
        let (stop, count, topic, brokers) = (stop.clone(), count.clone(), topic.clone(), brokers.clone());
        async move {
            let producer = Producer::connect(&brokers).unwrap();
            let mut deliveries = Vec::new();
            while !stop.load(Ordering::SeqCst) {
                let n = count.fetch_add(1, Ordering::SeqCst).to_string();
                let delivery = producer.submit(&topic, b"session", n.as_bytes());
                deliveries.push(delivery.await.unwrap());
                tokio::time::sleep(Duration::from_micros(200)).await;
            }
            let mut acknowledged = Vec::new();
            for delivery in deliveries {
                acknowledged.push(delivery.await.unwrap().offset);
            }
            acknowledged
        }
    });
    for _ in 0..2 {
        let until = count.load(Ordering::SeqCst) + 300;
        while count.load(Ordering::SeqCst) < until {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        log.restart().await;
    }
    stop.store(true, Ordering::SeqCst);
    let acknowledged = tokio::time::timeout(PATIENCE, writer).await;
    let acknowledged = acknowledged.unwrap().unwrap();
    let read = read_all(&brokers, &topic).await;
    assert_eq!(read.len(), acknowledged.len());
    for (message, acknowledged) in read.iter().zip(acknowledged) {
        // A message sent again after a restart is there once, and the broker no longer says where.
        assert_eq!(message.offset, acknowledged.unwrap_or(message.offset));
    }
    let values: Vec<String> = read.iter().map(|message| text(&message.value)).collect();
    let expected: Vec<String> = (0..values.len()).map(|n| n.to_string()).collect();
    assert_eq!(values, expected);
}

async fn new_topic(brokers: &Brokers, partitions: i32) -> String {
    let name = format!("wk-test-{}", uuid::Uuid::new_v4());
    let topic =
        NewTopic::new(&name, partitions, TopicReplication::Fixed(1)).set("message.timestamp.type", "LogAppendTime");
    let made = admin(brokers).create_topics([&topic], &AdminOptions::new()).await;
    assert_eq!(made.unwrap(), [Ok(name.clone())]);
    let cluster = Cluster::connect(brokers).unwrap();
    while cluster.partitions(&name).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    name
}

async fn delete_before(brokers: &Brokers, topic: &str, offset: i64) {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Offset(offset)).unwrap();
    let deleted = admin(brokers).delete_records(&list, &AdminOptions::new()).await;
    deleted.unwrap();
}

fn admin(brokers: &Brokers) -> AdminClient<DefaultClientContext> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &brokers.bootstrap);
    config.create().unwrap()
}

async fn append_numbers(producer: &Producer, topic: &str, numbers: std::ops::Range<u32>) {
    for n in numbers {
        let value = n.to_string();
        let appended = producer.append(topic, b"session", value.as_bytes()).await;
        appended.unwrap();
    }
}

async fn read_all(brokers: &Brokers, topic: &str) -> Vec<Message> {
    let cluster = Cluster::connect(brokers).unwrap();
    let mut read = Vec::new();
    for partition in cluster.partitions(topic).await.unwrap() {
        let holds = cluster.watermarks(topic, partition).await.unwrap();
        let starts = [(topic, partition, holds.low)];
        let mut reader = Reader::assign(brokers, &starts).await.unwrap();
        let mut at = holds.low;
        while at < holds.high {
            let batch = reader.next_batch(1000, PATIENCE).await.unwrap();
            assert!(!batch.is_empty(), "the log stops at {at} of {}", holds.high);
            at = batch.last().unwrap().offset + 1;
            read.extend(batch);
        }
    }
    read
}

async fn next(reader: &mut Reader) -> Message {
    let next = tokio::time::timeout(PATIENCE, reader.next()).await;
    next.expect("a message is in the log").unwrap()
}

async fn event(reader: &mut GroupReader) -> GroupEvent {
    let next = tokio::time::timeout(PATIENCE, reader.next()).await;
    next.expect("a message is in the log").unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
