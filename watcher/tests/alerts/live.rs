//! A watcher that tells: every alert arrives, once a receiver is there; what cannot be delivered is a dead letter.

use crate::common::{approver_key, command_key, secret_then_egress};
use crate::endpoint::{Act, Endpoint, status};
use crate::{config, is_freeze};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use wk_schemas::{Body, Record, SCHEMA, Topic, codec};
use wk_watcher::alerts::{AlertConfig, Kind};
use wk_watcher::run::{Points, Setup};
use wk_watcher::{Config, WatchError, Watcher};
use wk_wire::embedded::Broker;
use wk_wire::kafka::{Cluster, Producer, Reader};
use wk_wire::{Append as _, Read as _, frame, registry, unframe};

/// What has to happen within this time, else something hangs.
const PATIENCE: Duration = Duration::from_secs(600);

async fn watch(
    broker: &Broker,
    state: &Path,
    alerts: Vec<AlertConfig>,
) -> (CancellationToken, tokio::task::JoinHandle<Result<(), WatchError>>) {
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
    let config = Config { checkpoint_interval: Duration::from_millis(50), alerts, ..Config::default() };
    let cancel = CancellationToken::new();
    (cancel.clone(), tokio::spawn(Watcher::open(config, setup).unwrap().run(cancel)))
}

async fn append(broker: &Broker, session: &str) {
    let client = registry::Client::new(broker.registry_url()).unwrap();
    let schema = client.register(Topic::Events.name(), SCHEMA).await.unwrap();
    let producer = Producer::connect(&broker.brokers()).unwrap();
    for record in secret_then_egress(session).records {
        let key = record.header.session_id.as_str().as_bytes();
        producer.append(Topic::Events.name(), key, &frame(schema, &codec::encode(&record))).await.unwrap();
    }
}

/// Reads a topic from its beginning until a record is as wanted.
async fn until(broker: &Broker, topic: Topic, wanted: impl Fn(&Record) -> bool) -> Record {
    let partitions = Cluster::connect(&broker.brokers()).unwrap().partitions(topic.name()).await.unwrap();
    let starts: Vec<_> = partitions.into_iter().map(|p| (topic.name(), p, 0)).collect();
    let mut reader = Reader::assign(&broker.brokers(), &starts).await.unwrap();
    let search = async {
        loop {
            let message = reader.next().await.unwrap();
            let record = codec::decode(unframe(&message.value).unwrap().1).unwrap();
            if wanted(&record) {
                return record;
            }
        }
    };
    tokio::time::timeout(PATIENCE, search).await.expect("it comes")
}

/// Ids of the alerts that came, until one of `session` that froze is among them.
async fn told(endpoint: &Endpoint, session: &str) -> Vec<String> {
    let search = async {
        loop {
            let requests = endpoint.requests();
            if requests.iter().any(|r| r.body["data"]["session_id"] == session && r.body["data"]["step"] == "freeze") {
                return requests.iter().map(|r| r.body["data"]["id"].as_str().unwrap().to_owned()).collect();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, search).await.expect("the alert comes")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_alert_arrives_and_what_cannot_be_delivered_is_a_dead_letter() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(&folder.path().join("log"), 0).await.unwrap();
    let state = folder.path().join("state");
    // Away twice, then there; and one that never takes anything.
    let taken = Act::Answer(200, Vec::new(), String::new());
    let good = Endpoint::start(vec![status(503), status(503), taken]).await;
    let bad = Endpoint::start(vec![status(500)]).await;
    let receiver = |name: &str, endpoint: &Endpoint, give_up_after| AlertConfig {
        name: name.to_owned(),
        give_up_after: Duration::from_secs(give_up_after),
        ..config(Kind::Webhook, &endpoint.url())
    };
    let alerts = vec![receiver("good", &good, 600), receiver("bad", &bad, 1)];
    let (cancel, running) = watch(&broker, &state, alerts.clone()).await;
    append(&broker, "one").await;
    let found = until(&broker, Topic::Findings, is_freeze).await;
    assert!(told(&good, "one").await.contains(&found.header.record_id.to_string()));
    let letter =
        until(&broker, Topic::DeadLetters, |r| matches!(&r.body, Body::DeadLetter(l) if l.reason.contains("bad")))
            .await;
    let Body::DeadLetter(letter) = letter.body else { panic!() };
    assert!(letter.reason.contains("status 500") && letter.topic == Topic::Findings.name(), "{}", letter.reason);
    cancel.cancel();
    running.await.unwrap().unwrap();

    // After a restart it goes on where it was: nothing is missing, and what had arrived is not sent again.
    let (cancel, running) = watch(&broker, &state, alerts).await;
    append(&broker, "two").await;
    let ids = told(&good, "two").await;
    let taken: Vec<String> = ids[2..].to_vec();
    assert_eq!(taken.len(), taken.iter().collect::<BTreeSet<_>>().len(), "{ids:?}");
    cancel.cancel();
    running.await.unwrap().unwrap();
}
