//! How long a record takes from the log's acknowledgement until a reader of the lake sees it.

use anyhow::{Context as _, ensure};
use ed25519_dalek::SigningKey;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use wk_ingest::synthetic::Synthetic;
use wk_ingest::{Config, Identity, Ingest};
use wk_schemas::{SCHEMA, Topic};
use wk_store::{Lake, Source, Writer};
use wk_wire::kafka::Producer;
use wk_wire::registry::Client;
use wk_wire::{Append as _, Brokers, frame};

const LONGEST: Duration = Duration::from_secs(60);

/// Appends one record after another to a running ingest, each once the one before it is in the lake.
pub(crate) async fn measure(
    brokers: &Brokers,
    registry: Client,
    folder: &Path,
    config: Config,
    records: usize,
) -> anyhow::Result<()> {
    let id = registry.register(Topic::Events.name(), SCHEMA).await?;
    let writer = Writer::open(Lake::open(folder).await?, SigningKey::from_bytes(&[1; 32])).await?;
    let identity = Identity { tenant: "default".into(), host: "bench".into() };
    let cancel = CancellationToken::new();
    let running = tokio::spawn(Ingest::new(config, brokers.clone(), registry, writer, identity).run(cancel.clone()));
    let (producer, reader) = (Producer::connect(brokers)?, Lake::open(folder).await?);
    let mut took = Vec::with_capacity(records);
    for sample in Synthetic::new(99).filter(|s| s.topic == Topic::Events).take(records) {
        let value = frame(id, &sample.datum);
        let at = producer.append(sample.topic.name(), sample.session_id.as_str().as_bytes(), &value).await?;
        let start = Instant::now();
        let source = Source { topic: sample.topic, partition: at.partition };
        let offset = at.offset.context("the log gives no offset")?;
        while reader.refresh().await?.offsets.next(source) <= offset {
            ensure!(start.elapsed() < LONGEST, "a record is not in the lake after {LONGEST:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        took.push(start.elapsed());
    }
    cancel.cancel();
    running.await??;
    took.sort_unstable();
    println!(
        "{:>14}: {:.2} s half of {records} records, {:.2} s the last, from the log to the lake",
        "latency",
        took[records / 2].as_secs_f64(),
        took[records - 1].as_secs_f64()
    );
    Ok(())
}
