//! What only a real Kafka does: transactions leave offsets without messages, and records are deleted by decree.
#![expect(clippy::disallowed_methods, reason = "the environment says whether a test may be skipped")]

use crate::stage::{append, config, identity, samples, to_the_end, verified, writer};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use wk_ingest::plan::PlanError;
use wk_ingest::{Ingest, IngestError, Summary};
use wk_schemas::{SCHEMA, Topic};
use wk_wire::kafka::Producer;
use wk_wire::registry::Client;
use wk_wire::registry_server::RegistryServer;
use wk_wire::topics::{self, TopicSpec};
use wk_wire::{Brokers, frame};

const WAIT: Duration = Duration::from_secs(60);

/// A broker of its own, stopped with the value.
pub(crate) struct Kafka {
    dir: TempDir,
    pub(crate) brokers: Brokers,
    registry: RegistryServer,
    schema_id: i32,
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/harness").join(name)
}

impl Kafka {
    /// `None`, said loudly, where Kafka cannot be installed.
    pub(crate) async fn start(partitions: i32) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let started = Command::new(script("kafka-start")).arg(dir.path()).stderr(Stdio::inherit()).output().unwrap();
        if started.status.code() == Some(75) {
            assert!(std::env::var_os("WK_TEST_REQUIRE").is_none(), "Kafka is required and cannot be installed");
            eprintln!("SKIPPED: no Kafka");
            return None;
        }
        assert!(started.status.success(), "{started:?}");
        let said = String::from_utf8(started.stdout).unwrap();
        let brokers = Brokers::plain(said.lines().find_map(|line| line.strip_prefix("bootstrap=")).unwrap());
        topics::create(&brokers, &TopicSpec { partitions, ..TopicSpec::SINGLE }).await.unwrap();
        let registry = RegistryServer::start(&dir.path().join("schemas.json"), 0).await.unwrap();
        let client = Client::new(registry.url()).unwrap();
        let schema_id = client.register(Topic::Events.name(), SCHEMA).await.unwrap();
        Some(Self { dir, brokers, registry, schema_id })
    }

    pub(crate) fn lake(&self) -> PathBuf {
        self.dir.path().join("lake")
    }

    pub(crate) async fn append(&self, seed: u64, count: usize) {
        append(&Producer::connect(&self.brokers).unwrap(), self.schema_id, samples(seed, count)).await;
    }

    pub(crate) fn registry(&self) -> Client {
        Client::new(self.registry.url()).unwrap()
    }

    /// Stops the broker and starts it again where it was.
    pub(crate) fn restart(&self) {
        for name in ["kafka-stop", "kafka-start"] {
            let done = Command::new(script(name)).arg(self.dir.path()).output().unwrap();
            assert!(done.status.success(), "{done:?}");
        }
    }

    async fn catch_up(&self) -> Result<Summary, IngestError> {
        let writer = writer(&self.lake()).await;
        Ingest::new(config(200), self.brokers.clone(), self.registry(), writer, identity()).run(to_the_end()).await
    }

    fn client<T: rdkafka::config::FromClientConfig>(&self, settings: &[(&str, &str)]) -> T {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers.bootstrap);
        for (key, value) in settings {
            config.set(*key, *value);
        }
        config.create().unwrap()
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        let stopped = Command::new(script("kafka-stop")).arg(self.dir.path()).output();
        assert!(stopped.is_ok_and(|out| out.status.success()) || std::thread::panicking());
    }
}

/// Sends three messages that no transaction takes back, or that it does.
fn transaction(kafka: &Kafka, commit: bool) {
    let producer: BaseProducer = kafka.client(&[("transactional.id", "t"), ("message.timeout.ms", "30000")]);
    producer.init_transactions(WAIT).unwrap();
    producer.begin_transaction().unwrap();
    for sample in samples(77, 3) {
        let value = frame(kafka.schema_id, &sample.datum);
        let record = BaseRecord::to(Topic::Events.name()).key(sample.session_id.as_str()).payload(&value);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    if commit {
        producer.commit_transaction(WAIT).unwrap();
    } else {
        producer.flush(WAIT).unwrap();
        producer.abort_transaction(WAIT).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_that_a_transaction_left_empty_are_counted_as_absent() {
    let Some(kafka) = Kafka::start(1).await else { return };
    kafka.append(1, 100).await;
    // An aborted transaction: three messages and a marker that nobody is to read. A committed one: a marker.
    tokio::task::block_in_place(|| transaction(&kafka, false));
    tokio::task::block_in_place(|| transaction(&kafka, true));
    kafka.append(2, 50).await;
    let summary = kafka.catch_up().await.unwrap();
    assert_eq!((summary.rows, summary.dead_letters, summary.absent), (153, 0, 5));
    let report = verified(&kafka.lake()).await;
    assert_eq!((report.records, report.absent, report.offsets), (153, 5, 158));
    assert_eq!(kafka.catch_up().await.unwrap(), Summary::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_were_deleted_before_they_were_read_stop_ingest() {
    let Some(kafka) = Kafka::start(1).await else { return };
    kafka.append(1, 100).await;
    let rows = kafka.catch_up().await.unwrap().rows;
    kafka.append(2, 100).await;
    let admin: AdminClient<DefaultClientContext> = kafka.client(&[]);
    let mut before = TopicPartitionList::new();
    before.add_partition_offset(Topic::Events.name(), 0, Offset::Offset(150)).unwrap();
    admin.delete_records(&before, &AdminOptions::new()).await.unwrap();
    let error = kafka.catch_up().await.unwrap_err();
    let IngestError::Plan(PlanError::CutOff { low: 150, next, .. }) = error else { panic!("{error:?}") };
    assert!(next <= rows);
    assert_eq!(i64::try_from(verified(&kafka.lake()).await.records).unwrap(), rows);
}
