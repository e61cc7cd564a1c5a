//! The watcher dies at numbered points, twenty times over, against a real log: nothing is lost, nothing is doubled, and the
//! findings and commands are those of an undisturbed replay. And one watcher takes over from another in the middle of sessions,
//! with no state of its own and with an old one; `WK_TEST_KAFKA=<bootstrap>` does that on a real Kafka as well.

#![cfg(test)]

mod common;

use common::{Script, approver_key, command_key, honest, judge, secret_then_egress, unmediated_script};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;
use wk_schemas::body::Instruction;
use wk_schemas::{Body, Chain, Record, RecordId, SCHEMA, SessionId, Topic, codec};
use wk_watcher::replay::Replay;
use wk_wire::embedded::Broker;
use wk_wire::kafka::{Cluster, Producer, Reader};
use wk_wire::registry_server::RegistryServer;
use wk_wire::topics::{self, TopicSpec};
use wk_wire::{Append as _, Brokers, Read as _, frame, registry, unframe};

const DEATHS: usize = 20;
/// What the log has to show within this time, else something hangs. No test passes or fails by being quick.
const PATIENCE: Duration = Duration::from_secs(600);

fn program() -> PathBuf {
    let mut folder = std::env::current_exe().unwrap();
    folder.pop();
    folder.pop();
    folder.join("examples/crashing")
}

/// Where the log and its registry are.
struct Log {
    brokers: Brokers,
    registry: String,
}

impl Log {
    fn of(broker: &Broker) -> Self {
        Self { brokers: broker.brokers(), registry: broker.registry_url().to_owned() }
    }
}

fn spawn(log: &Log, state: &Path, point: u32, nth: u32) -> Child {
    let arguments =
        [&*log.brokers.bootstrap, &*log.registry, state.to_str().unwrap(), &point.to_string(), &nth.to_string()]
            .map(str::to_owned);
    Command::new(program()).args(arguments).stdin(Stdio::piped()).spawn().unwrap()
}

/// Waits for the process; `None` when it lives on.
async fn ended(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let mut left = patience;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        let nap = Duration::from_millis(20);
        left = left.checked_sub(nap)?;
        tokio::time::sleep(nap).await;
    }
}

/// What is put on the log, in order: sessions interleaved, an approval that is good and one that is not.
fn inputs() -> Vec<(Topic, Record)> {
    let mut scripts: Vec<Script> = Vec::new();
    for i in 0..6 {
        scripts.push(secret_then_egress(&format!("egress-{i}")));
        scripts.push(unmediated_script(&format!("script-{i}")));
    }
    scripts.push(honest("honest-0"));
    let good = scripts[0].approval(Instruction::Resume, None, &approver_key());
    let forged = scripts[1].approval(Instruction::Kill, None, &command_key());
    let mut out = vec![(Topic::Approvals, good), (Topic::Approvals, forged)];
    let longest = scripts.iter().map(|s| s.records.len()).max().unwrap();
    for i in 0..longest {
        out.extend(scripts.iter().filter_map(|s| s.records.get(i)).map(|r| (Topic::Events, r.clone())));
    }
    out
}

/// Everything on a topic, by session, in the order of the log.
async fn read(log: &Log, topic: Topic) -> Vec<(Record, Vec<u8>)> {
    let cluster = Cluster::connect(&log.brokers).unwrap();
    let mut out = Vec::new();
    for partition in cluster.partitions(topic.name()).await.unwrap() {
        let holds = cluster.watermarks(topic.name(), partition).await.unwrap();
        if holds.high == holds.low {
            continue;
        }
        let mut reader = Reader::assign(&log.brokers, &[(topic.name(), partition, holds.low)]).await.unwrap();
        let mut next = holds.low;
        while next < holds.high {
            let message = reader.next().await.unwrap();
            next = message.offset + 1;
            let datum = unframe(&message.value).unwrap().1.to_vec();
            out.push((codec::decode(&datum).unwrap(), datum));
        }
    }
    out
}

/// A command or finding without what depends on its place in the log.
fn content(record: &Record) -> (RecordId, Vec<RecordId>, Body) {
    (record.header.record_id, record.header.caused_by.clone(), record.body.clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_deaths_lose_nothing_and_double_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(&folder.path().join("log"), 0).await.unwrap();
    let log = Log::of(&broker);
    let state = folder.path().join("watcher");
    let client = registry::Client::new(broker.registry_url()).unwrap();
    let schema = client.register(Topic::Events.name(), SCHEMA).await.unwrap();
    let approvals = client.register(Topic::Approvals.name(), SCHEMA).await.unwrap();
    let producer = Producer::connect(&broker.brokers()).unwrap();

    let inputs = inputs();
    let (mut replay, undisturbed) = (Replay::default(), judge());
    let mut expected: BTreeMap<Topic, BTreeMap<RecordId, _>> = BTreeMap::new();
    let mut batches = inputs.chunks(inputs.len().div_ceil(DEATHS));
    let mut seed = 42_u64;
    let mut random = |n: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % n
    };
    let mut deaths = BTreeMap::new();
    for round in 0..DEATHS {
        for (topic, record) in batches.next().into_iter().flatten() {
            let id = if *topic == Topic::Events { schema } else { approvals };
            let key = record.header.session_id.as_str().as_bytes();
            producer.append(topic.name(), key, &frame(id, &codec::encode(record))).await.unwrap();
            for (topic, record, _) in replay.sealed(&undisturbed, &command_key(), *topic, record.clone()) {
                expected.entry(topic).or_default().insert(record.header.record_id, content(&record));
            }
        }
        if round == 3 {
            producer.append(Topic::Events.name(), b"egress-0", b"{\"not\":\"a record\"}").await.unwrap();
            producer.append(Topic::Events.name(), b"egress-0", &frame(schema + 1000, b"x")).await.unwrap();
        }
        let point = u32::try_from(round % 6 + 1).unwrap();
        let nth = u32::try_from(random(if point <= 2 { 12 } else { 2 }) + 1).unwrap();
        let mut child = spawn(&log, &state, point, nth);
        // A point that is not met in this round (nothing to write) leaves the process alive; then it is killed.
        if ended(&mut child, Duration::from_secs(6)).await.is_none() {
            child.kill().unwrap();
        }
        let status = child.wait().unwrap();
        assert!(!status.success(), "round {round}: a death was expected");
        *deaths.entry(point).or_insert(0) += 1;
    }
    assert_eq!(deaths.len(), 6, "every point was tried: {deaths:?}");

    let mut last = spawn(&log, &state, 0, 0);
    let wanted: usize = expected.values().map(BTreeMap::len).sum::<usize>() + 2;
    let mut waited = Duration::ZERO;
    let outputs = loop {
        let mut found = BTreeMap::new();
        for topic in [Topic::Findings, Topic::Commands, Topic::DeadLetters] {
            found.insert(topic, read(&log, topic).await);
        }
        if found.values().map(Vec::len).sum::<usize>() >= wanted {
            break found;
        }
        assert!(waited < PATIENCE, "{} of {wanted} outputs", found.values().map(Vec::len).sum::<usize>());
        tokio::time::sleep(Duration::from_millis(200)).await;
        waited += Duration::from_millis(200);
    };
    drop(last.stdin.take());
    assert!(ended(&mut last, PATIENCE).await.expect("it ends when it is asked to").success());

    for (topic, records) in &outputs {
        let ids: BTreeSet<RecordId> = records.iter().map(|(r, _)| r.header.record_id).collect();
        assert_eq!(ids.len(), records.len(), "{topic}: something is there twice");
        let mut chains: BTreeMap<&SessionId, Chain> = BTreeMap::new();
        for (record, datum) in records {
            let chain = chains.entry(&record.header.session_id).or_default();
            chain.follow(record.header.seq, record.header.prev_digest, datum).unwrap();
        }
        if *topic == Topic::DeadLetters {
            let reasons: Vec<&str> = records
                .iter()
                .map(|(r, _)| match &r.body {
                    Body::DeadLetter(letter) => letter.reason.as_str(),
                    other => panic!("{other:?}"),
                })
                .collect();
            assert!(
                reasons.len() == 2 && reasons[0].contains("not framed") && reasons[1].contains("schema id"),
                "{reasons:?}"
            );
        } else {
            let found: BTreeMap<RecordId, _> = records.iter().map(|(r, _)| (r.header.record_id, content(r))).collect();
            assert_eq!(Some(&found), expected.get(topic), "{topic}");
        }
    }
    broker.shutdown().await;
}

/// What is on the output topics for sessions whose names begin so, without what depends on its place.
async fn told(log: &Log, prefix: &str) -> BTreeMap<Topic, Vec<(Record, Vec<u8>)>> {
    let mut out = BTreeMap::new();
    for topic in [Topic::Findings, Topic::Commands] {
        let mut records = read(log, topic).await;
        records.retain(|(r, _)| r.header.session_id.as_str().starts_with(prefix));
        out.insert(topic, records);
    }
    out
}

/// Waits until that many outputs are there.
async fn until(log: &Log, prefix: &str, wanted: usize) -> BTreeMap<Topic, Vec<(Record, Vec<u8>)>> {
    let mut waited = Duration::ZERO;
    loop {
        let found = told(log, prefix).await;
        let count = found.values().map(Vec::len).sum::<usize>();
        if count >= wanted {
            return found;
        }
        assert!(waited < PATIENCE, "{count} of {wanted} outputs");
        tokio::time::sleep(Duration::from_millis(200)).await;
        waited += Duration::from_millis(200);
    }
}

/// How a watcher stops.
#[derive(Clone, Copy, PartialEq)]
enum Stop {
    /// At once, in the middle of what it does.
    Killed,
    /// It is asked to, saves how far it has come, and ends.
    Asked,
}

/// One watcher is killed in the middle of sessions; a second takes over with no state; it is asked to end, in the middle as well, and
/// the first comes back with the state that it had; that is killed, and the second comes back. Each stops as soon as a part of what
/// it has to say is on the log.
async fn hand_over(log: &Log, folder: &Path) {
    let prefix = format!("h{}-", std::process::id());
    let mut scripts: Vec<Script> = Vec::new();
    for i in 0..4 {
        scripts.push(secret_then_egress(&format!("{prefix}egress-{i}")));
        scripts.push(unmediated_script(&format!("{prefix}script-{i}")));
    }
    let longest = scripts.iter().map(|s| s.records.len()).max().unwrap();
    let interleaved = (0..longest).flat_map(|i| scripts.iter().filter_map(move |s| s.records.get(i)));
    let inputs: Vec<Record> = interleaved.cloned().collect();
    let client = registry::Client::new(&log.registry).unwrap();
    let schema = client.register(Topic::Events.name(), SCHEMA).await.unwrap();
    let producer = Producer::connect(&log.brokers).unwrap();
    let (first, second) = (folder.join("first"), folder.join("second"));
    let (judge, mut replay) = (judge(), Replay::default());
    let mut expected: BTreeMap<Topic, BTreeMap<RecordId, _>> = BTreeMap::new();
    let turns = [(&first, Stop::Killed), (&second, Stop::Asked), (&first, Stop::Killed), (&second, Stop::Asked)];
    for (part, (state, stop)) in inputs.chunks(inputs.len().div_ceil(turns.len())).zip(turns) {
        let before: usize = expected.values().map(BTreeMap::len).sum();
        for record in part {
            let key = record.header.session_id.as_str().as_bytes();
            producer.append(Topic::Events.name(), key, &frame(schema, &codec::encode(record))).await.unwrap();
            for (topic, record, _) in replay.sealed(&judge, &command_key(), Topic::Events, record.clone()) {
                expected.entry(topic).or_default().insert(record.header.record_id, content(&record));
            }
        }
        let after: usize = expected.values().map(BTreeMap::len).sum();
        let mut child = spawn(log, state, 0, 0);
        // Half of what is new, so that it dies with work in hand; the last one says everything.
        let is_last = part.last() == inputs.last();
        until(log, &prefix, if is_last { after } else { before + (after - before).div_ceil(2) }).await;
        if stop == Stop::Killed {
            child.kill().unwrap();
            child.wait().unwrap();
        } else {
            drop(child.stdin.take());
            assert!(ended(&mut child, PATIENCE).await.expect("it ends when it is asked to").success());
        }
    }
    // Once more from nothing: whoever takes over later finds everything said and says nothing again.
    let mut child = spawn(log, &folder.join("third"), 0, 0);
    tokio::time::sleep(Duration::from_secs(2)).await;
    drop(child.stdin.take());
    assert!(ended(&mut child, PATIENCE).await.expect("it ends when it is asked to").success());

    let found = told(log, &prefix).await;
    for (topic, records) in &found {
        let mut chains: BTreeMap<&SessionId, Chain> = BTreeMap::new();
        for (record, datum) in records {
            let chain = chains.entry(&record.header.session_id).or_default();
            chain.follow(record.header.seq, record.header.prev_digest, datum).unwrap();
        }
        let contents: BTreeMap<RecordId, _> = records.iter().map(|(r, _)| (r.header.record_id, content(r))).collect();
        assert_eq!(contents.len(), records.len(), "{topic}: something is there twice");
        assert_eq!(Some(&contents), expected.get(topic), "{topic}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_takes_over_in_the_middle_of_sessions() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(&folder.path().join("log"), 0).await.unwrap();
    hand_over(&Log::of(&broker), folder.path()).await;
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_takes_over_in_the_middle_of_sessions_on_a_real_kafka() {
    let Some(bootstrap) = kafka() else {
        eprintln!("SKIPPED: WK_TEST_KAFKA names no broker; taking over on a real Kafka was not tested");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let server = RegistryServer::start(&folder.path().join("schemas.json"), 0).await.unwrap();
    let log = Log { brokers: Brokers::plain(&bootstrap), registry: server.url().to_owned() };
    topics::create(&log.brokers, &TopicSpec::SINGLE).await.unwrap();
    hand_over(&log, folder.path()).await;
    server.shutdown().await;
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the test's environment")]
fn kafka() -> Option<String> {
    std::env::var("WK_TEST_KAFKA").ok()
}
