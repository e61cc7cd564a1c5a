//! The watcher dies at numbered points, twenty times over, against a real log: nothing is lost, nothing is doubled, and the
//! findings and commands are those of an undisturbed replay.

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
use wk_wire::{Append as _, Read as _, frame, registry, unframe};

const DEATHS: usize = 20;
/// What the log has to show within this time, else something hangs. No test passes or fails by being quick.
const PATIENCE: Duration = Duration::from_secs(120);

fn program() -> PathBuf {
    let mut folder = std::env::current_exe().unwrap();
    folder.pop();
    folder.pop();
    folder.join("examples/crashing")
}

fn spawn(broker: &Broker, state: &Path, point: u32, nth: u32) -> Child {
    let arguments =
        [broker.bootstrap(), broker.registry_url(), state.to_str().unwrap(), &point.to_string(), &nth.to_string()]
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
async fn read(broker: &Broker, topic: Topic) -> Vec<(Record, Vec<u8>)> {
    let cluster = Cluster::connect(&broker.brokers()).unwrap();
    let mut out = Vec::new();
    for partition in cluster.partitions(topic.name()).await.unwrap() {
        let holds = cluster.watermarks(topic.name(), partition).await.unwrap();
        if holds.high == holds.low {
            continue;
        }
        let mut reader = Reader::assign(&broker.brokers(), &[(topic.name(), partition, holds.low)]).await.unwrap();
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
        let mut child = spawn(&broker, &state, point, nth);
        // A point that is not met in this round (nothing to write) leaves the process alive; then it is killed.
        if ended(&mut child, Duration::from_secs(6)).await.is_none() {
            child.kill().unwrap();
        }
        let status = child.wait().unwrap();
        assert!(!status.success(), "round {round}: a death was expected");
        *deaths.entry(point).or_insert(0) += 1;
    }
    assert_eq!(deaths.len(), 6, "every point was tried: {deaths:?}");

    let mut last = spawn(&broker, &state, 0, 0);
    let wanted: usize = expected.values().map(BTreeMap::len).sum::<usize>() + 2;
    let mut waited = Duration::ZERO;
    let outputs = loop {
        let mut found = BTreeMap::new();
        for topic in [Topic::Findings, Topic::Commands, Topic::DeadLetters] {
            found.insert(topic, read(&broker, topic).await);
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
