//! A log, a registry and a folder for a lake; what every test of this binary stands on.

use ed25519_dalek::SigningKey;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use wk_ingest::synthetic::{Sample, Synthetic};
use wk_ingest::{Config, Identity, Ingest, IngestError, Progress, Summary};
use wk_schemas::{SCHEMA, Timestamp, Topic};
use wk_store::files::Files;
use wk_store::verify::{Options, Report, verify};
use wk_store::{Lake, Offsets, Writer};
use wk_wire::embedded::Broker;
use wk_wire::kafka::Producer;
use wk_wire::registry::Client;
use wk_wire::{Append as _, Brokers, frame};

pub(crate) struct Stage {
    pub(crate) broker: Broker,
    pub(crate) schema_id: i32,
    producer: Producer,
    dir: TempDir,
}

pub(crate) fn key() -> SigningKey {
    SigningKey::from_bytes(&[9; 32])
}

pub(crate) fn identity() -> Identity {
    Identity { tenant: "default".into(), host: "lake-1".into() }
}

/// Small batches, so that a test has many commits.
pub(crate) fn config(seal_records: usize) -> Config {
    Config {
        seal_records: NonZeroUsize::new(seal_records).unwrap(),
        drain_time: Duration::from_secs(120),
        ..Config::default()
    }
}

/// Ends at once, which means: once everything that the log holds is in the lake.
pub(crate) fn to_the_end() -> CancellationToken {
    let cancel = CancellationToken::new();
    cancel.cancel();
    cancel
}

pub(crate) async fn writer(lake: &Path) -> Writer {
    writer_on(Files::local(lake).unwrap()).await
}

pub(crate) async fn writer_on(files: Files) -> Writer {
    let lake = Lake::open_or_create_on(files, Uuid::from_u128(1), Timestamp(0)).await.unwrap();
    Writer::open(lake, key()).await.unwrap()
}

/// Appends records as their writers would.
pub(crate) async fn append(producer: &Producer, schema_id: i32, samples: impl IntoIterator<Item = Sample>) {
    let mut deliveries = Vec::new();
    for sample in samples {
        let value = frame(schema_id, &sample.datum);
        let key = sample.session_id.as_str().as_bytes();
        deliveries.push(producer.submit(sample.topic.name(), key, &value).await.unwrap());
    }
    for delivery in deliveries {
        delivery.await.unwrap();
    }
}

impl Stage {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let broker = Broker::start(&dir.path().join("log"), 0).await.unwrap();
        let registry = Client::new(broker.registry_url()).unwrap();
        let schema_id = registry.register(Topic::Events.name(), SCHEMA).await.unwrap();
        let producer = Producer::connect(&broker.brokers()).unwrap();
        Self { broker, schema_id, producer, dir }
    }

    pub(crate) fn brokers(&self) -> Brokers {
        self.broker.brokers()
    }

    pub(crate) fn registry(&self) -> Client {
        Client::new(self.broker.registry_url()).unwrap()
    }

    pub(crate) fn lake(&self) -> PathBuf {
        self.dir.path().join("lake")
    }

    pub(crate) async fn append(&self, samples: impl IntoIterator<Item = Sample>) {
        append(&self.producer, self.schema_id, samples).await;
    }

    /// Appends any bytes; gives the offset.
    pub(crate) async fn append_raw(&self, topic: Topic, key: &[u8], value: &[u8]) -> i64 {
        self.producer.append(topic.name(), key, value).await.unwrap().offset.unwrap()
    }

    pub(crate) fn ingest(&self, config: Config, writer: Writer) -> Ingest {
        Ingest::new(config, self.brokers(), self.registry(), writer, identity())
    }

    /// Takes into the lake whatever the log holds now.
    pub(crate) async fn catch_up(&self, config: Config) -> Result<Summary, IngestError> {
        self.ingest(config, writer(&self.lake()).await).run(to_the_end()).await
    }

    /// How far the lake has come.
    pub(crate) async fn offsets(&self) -> Offsets {
        Lake::open(&self.lake()).await.unwrap().committed()
    }

    /// What the lake promises, checked; nothing may be wrong with it.
    pub(crate) async fn verified(&self) -> Report {
        verified(&self.lake()).await
    }
}

/// What a lake promises, checked; nothing may be wrong with it.
pub(crate) async fn verified(lake: &Path) -> Report {
    verified_on(Files::existing(lake).unwrap()).await
}

pub(crate) async fn verified_on(files: Files) -> Report {
    let report = verify(&files, &key().verifying_key(), &Options::default(), |_| {}).await.unwrap();
    assert!(report.is_valid(), "{report}");
    report
}

pub(crate) fn samples(seed: u64, count: usize) -> impl Iterator<Item = Sample> {
    Synthetic::new(seed).take(count)
}

/// What an ingest says of its progress.
pub(crate) struct Heard(mpsc::Receiver<Progress>);

/// Listens to an ingest.
pub(crate) fn listened(ingest: Ingest) -> (Ingest, Heard) {
    let (said, heard) = mpsc::channel(10_000);
    (ingest.with_progress(move |progress| said.try_send(progress.clone()).unwrap()), Heard(heard))
}

impl Heard {
    /// Waits until reading has begun.
    pub(crate) async fn started(&mut self) {
        assert!(matches!(self.0.recv().await, Some(Progress::Started { .. })));
    }

    /// Waits until so many more rows are committed.
    pub(crate) async fn rows(&mut self, mut rows: i64) {
        while rows > 0 {
            if let Progress::Committed(committed) = self.0.recv().await.expect("ingest goes on") {
                rows -= committed.rows;
            }
        }
        assert_eq!(rows, 0);
    }
}
