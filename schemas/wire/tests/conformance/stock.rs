//! Clients that are not ours read what we wrote: confluent-kafka with its Avro deserializer, and kcat.

use std::path::{Path, PathBuf};
use std::process::Command;

use wk_schemas::{Digest, Record, SCHEMA, Topic, codec};
use wk_wire::kafka::Producer;
use wk_wire::registry_server::RegistryServer;
use wk_wire::topics::{self, TopicSpec};
use wk_wire::{Append as _, Brokers, frame, registry};

use crate::logs::{Kafka, Restart as _, harness, skip};

#[tokio::test(flavor = "multi_thread")]
async fn a_stock_avro_client_reads_the_embedded_log_through_its_registry() {
    let dir = tempfile::tempdir().unwrap();
    let broker = wk_wire::embedded::Broker::start(dir.path(), 0).await.unwrap();
    python_reads(&broker.brokers(), broker.registry_url()).await;
    broker.shutdown().await;
}

/// A Kafka of its own: every record in these topics is then ours.
#[tokio::test(flavor = "multi_thread")]
async fn stock_clients_read_kafka_and_our_registry() {
    let Some(kafka) = Kafka::start() else { return };
    let brokers = kafka.brokers();
    topics::create(&brokers, &TopicSpec::SINGLE).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let registry = RegistryServer::start(&dir.path().join("schemas.json"), 0).await.unwrap();
    python_reads(&brokers, registry.url()).await;
    kcat_reads(&brokers, Topic::Commands).await;
    registry.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kcat_reads_the_embedded_log() {
    let dir = tempfile::tempdir().unwrap();
    let broker = wk_wire::embedded::Broker::start(dir.path(), 0).await.unwrap();
    kcat_reads(&broker.brokers(), Topic::Events).await;
    broker.shutdown().await;
}

async fn python_reads(brokers: &Brokers, registry_url: &str) {
    let python = tools().join("python/bin/python");
    if !python.exists() {
        return skip("no Python with confluent-kafka; run tests/harness/tools-install").unwrap_or_default();
    }
    let registry = registry::Client::new(registry_url).unwrap();
    let producer = Producer::connect(brokers).unwrap();
    let mut expected = Vec::new();
    for topic in [Topic::Events, Topic::DeadLetters] {
        let id = registry.register(topic.name(), SCHEMA).await.unwrap();
        for (datum, record) in every_kind() {
            let key = record.header.session_id.as_str();
            producer.append(topic.name(), key.as_bytes(), &frame(id, &datum)).await.unwrap();
            expected.push(summary(topic, &record, &datum));
        }
    }
    let mut command = Command::new(python);
    command.arg(harness("read_topics.py")).args(["--brokers", &brokers.bootstrap, "--registry", registry_url]);
    command.args(["--topic", Topic::Events.name(), "--topic", Topic::DeadLetters.name()]);
    let read: Vec<String> = run(command).await.lines().map(summary_of_line).collect();
    // One session is one partition, so what a topic holds is in the order of writing.
    assert_eq!(read, expected);
}

async fn kcat_reads(brokers: &Brokers, topic: Topic) {
    if Command::new("kcat").arg("-V").output().is_err() {
        return skip("no kcat; run tests/harness/tools-install").unwrap_or_default();
    }
    let producer = Producer::connect(brokers).unwrap();
    let mut written = Vec::new();
    for (datum, record) in every_kind() {
        let key = record.header.session_id.as_str();
        let value = frame(7, &datum);
        producer.append(topic.name(), key.as_bytes(), &value).await.unwrap();
        written.extend_from_slice(&value);
    }
    let mut command = Command::new("kcat");
    command.args([
        "-b",
        &brokers.bootstrap,
        "-C",
        "-q",
        "-e",
        "-m",
        "60",
        "-t",
        topic.name(),
        "-o",
        "beginning",
        "-f",
        "%s",
    ]);
    assert!(run_bytes(command).await == written);
}

/// The golden records of `wk-schemas`: one of each kind, as encoded.
fn every_kind() -> Vec<(Vec<u8>, Record)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../golden/v1");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "avro"));
    files.sort();
    assert!(files.len() > 20);
    let records = files.into_iter().map(|file| {
        let datum = std::fs::read(file).unwrap();
        let record = codec::decode(&datum).unwrap();
        (datum, record)
    });
    records.collect()
}

fn summary(topic: Topic, record: &Record, datum: &[u8]) -> String {
    let header = &record.header;
    let (id, seq, kind) = (header.record_id, header.seq, record.kind());
    format!("{topic} {} {id} {seq} {kind} {}", header.session_id.as_str(), Digest::of(datum).to_hex())
}

fn summary_of_line(line: &str) -> String {
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let record = &line["record"];
    assert_eq!(line["key"], record["session_id"]);
    let kind = text(&record["kind"]).to_lowercase();
    let bodies = record.as_object().unwrap().values().filter(|value| value.is_object());
    assert_eq!(bodies.count(), 1, "{record}");
    format!(
        "{} {} {} {} {kind} {}",
        text(&line["topic"]),
        text(&record["session_id"]),
        text(&record["record_id"]),
        text(&record["seq"]),
        text(&line["reencoded_sha256"]),
    )
}

/// Where `tests/harness/tools-install` puts things.
fn tools() -> PathBuf {
    let cache = std::env::var("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|_| std::env::var("HOME").map(|home| Path::new(&home).join(".cache")));
    cache.unwrap().join("watchkeeper/tools")
}

async fn run(command: Command) -> String {
    String::from_utf8(run_bytes(command).await).unwrap()
}

async fn run_bytes(mut command: Command) -> Vec<u8> {
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
