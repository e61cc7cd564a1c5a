//! The watcher on a log, with a judge that is silent, and with one that answers.

use crate::common::{Script, approver_key, command_key, secret_then_egress};
use crate::endpoint::{Act, Endpoint, first, second};
use crate::{config, judge, talked_into};
use std::path::Path;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use wk_schemas::body::Instruction;
use wk_schemas::{Body, Record, RecordId, SCHEMA, Topic, codec};
use wk_watcher::judge::{HoldPower, JudgeConfig};
use wk_watcher::replay::Replay;
use wk_watcher::run::{Points, Setup};
use wk_watcher::{Config, Watcher};
use wk_wire::embedded::Broker;
use wk_wire::kafka::{Producer, Reader};
use wk_wire::{Append as _, Read as _, frame, registry, unframe};

/// What has to be on the log within this time, else something hangs.
const PATIENCE: Duration = Duration::from_secs(600);

struct Watching {
    cancel: CancellationToken,
    running: tokio::task::JoinHandle<Result<(), wk_watcher::WatchError>>,
}

impl Watching {
    fn start(broker: &Broker, state: &Path, judge: JudgeConfig) -> Self {
        let setup = Setup {
            brokers: broker.brokers(),
            registry: registry::Client::new(broker.registry_url()).unwrap(),
            state: state.to_owned(),
            command_key: command_key(),
            approvers: vec![approver_key().verifying_key()],
            tenant: "default".into(),
            host: "build-7".into(),
            points: Points::default(),
        };
        let checkpoint_interval = Duration::from_millis(50);
        let config = Config { checkpoint_interval, judge: Some(judge), ..Config::default() };
        let cancel = CancellationToken::new();
        let running = tokio::spawn(Watcher::open(config, setup).unwrap().run(cancel.clone()));
        Self { cancel, running }
    }

    async fn stop(self) {
        self.cancel.cancel();
        self.running.await.unwrap().unwrap();
    }
}

async fn append(broker: &Broker, script: &Script) {
    let client = registry::Client::new(broker.registry_url()).unwrap();
    let schema = client.register(Topic::Events.name(), SCHEMA).await.unwrap();
    let producer = Producer::connect(&broker.brokers()).unwrap();
    for record in &script.records {
        let key = record.header.session_id.as_str().as_bytes();
        producer.append(Topic::Events.name(), key, &frame(schema, &codec::encode(record))).await.unwrap();
    }
}

/// Reads `topic` from its beginning until a record of the session is as wanted; all of the session's up to it.
async fn until(broker: &Broker, topic: Topic, script: &Script, wanted: impl Fn(&Record) -> bool) -> Vec<Record> {
    let cluster = wk_wire::kafka::Cluster::connect(&broker.brokers()).unwrap();
    let partitions = cluster.partitions(topic.name()).await.unwrap();
    let starts: Vec<_> = partitions.into_iter().map(|p| (topic.name(), p, 0)).collect();
    let mut reader = Reader::assign(&broker.brokers(), &starts).await.unwrap();
    let mut seen = Vec::new();
    let search = async {
        loop {
            let message = reader.next().await.unwrap();
            let record = codec::decode(unframe(&message.value).unwrap().1).unwrap();
            if record.header.session_id == script.session {
                let is_wanted = wanted(&record);
                seen.push(record);
                if is_wanted {
                    return;
                }
            }
        }
    };
    tokio::time::timeout(PATIENCE, search).await.expect("it comes");
    seen
}

fn is_verdict(record: &Record) -> bool {
    matches!(&record.body, Body::Finding(f) if f.source == "judge")
}

fn is_freeze(record: &Record) -> bool {
    matches!(&record.body, Body::Command(c) if c.instruction == Instruction::Freeze)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_judge_is_silent_the_rules_decide_and_its_silence_is_on_record() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(&folder.path().join("log"), 0).await.unwrap();
    let silent = Endpoint::start(vec![Act::Drip]).await;
    // Longer than all patience: whatever waits for the judge would be seen to wait.
    let judge = JudgeConfig { first_deadline: Duration::from_secs(600), ..config(&silent.url()) };
    let watching = Watching::start(&broker, &folder.path().join("state"), judge);
    let asked = talked_into("asked", "");
    append(&broker, &asked).await;
    let frozen = secret_then_egress("frozen");
    append(&broker, &frozen).await;
    until(&broker, Topic::Commands, &frozen, is_freeze).await;
    watching.stop().await;

    // Stopped with the question open; the next start says so as soon as the session is touched again.
    let silent = JudgeConfig { first_deadline: Duration::from_secs(600), ..config(&silent.url()) };
    let watching = Watching::start(&broker, &folder.path().join("state"), silent);
    let mut more = talked_into("asked", "");
    more.call("c9", "Read", "read", "{}", None);
    more.records.drain(..asked.records.len());
    append(&broker, &more).await;
    let findings = until(&broker, Topic::Findings, &asked, is_verdict).await;
    let Body::Finding(finding) = &findings.last().unwrap().body else { panic!() };
    assert_eq!((finding.title.as_str(), finding.plan_action_score), ("JudgeUnavailable", None));
    watching.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_verdict_on_the_log_freezes_and_a_replay_of_the_log_decides_the_same_without_a_model() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(&folder.path().join("log"), 0).await.unwrap();
    let endpoint = Endpoint::start(vec![first("critical", "unknown", "goal"), second(&["a2"], 98)]).await;
    let watching = Watching::start(&broker, &folder.path().join("state"), config(&endpoint.url()));
    let script = talked_into("s", "");
    append(&broker, &script).await;
    let commands = until(&broker, Topic::Commands, &script, is_freeze).await;
    let findings = until(&broker, Topic::Findings, &script, is_verdict).await;
    watching.stop().await;
    assert_eq!(commands.last().unwrap().header.caused_by, [findings.last().unwrap().header.record_id]);

    let mut replay = Replay::default();
    let mut again: Vec<RecordId> = Vec::new();
    let inputs = script.records.iter().map(|r| (Topic::Events, r));
    for (topic, record) in inputs.chain(findings.iter().map(|r| (Topic::Findings, r))) {
        let decision = replay.step(&judge(HoldPower::None), topic, record.clone());
        again.extend(decision.commands.iter().map(|c| c.id));
    }
    assert_eq!(again, commands.iter().map(|r| r.header.record_id).collect::<Vec<_>>());
}
