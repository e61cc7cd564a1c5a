//! Measures ingest against a raw consumer of the same topic, in one run.
//!
//! ```text
//! cargo build --release --workspace --ignore-rust-version --example throughput
//! target/release/examples/throughput --records 2000000
//! target/release/examples/throughput --records 2000000 --brokers 127.0.0.1:9092
//! ```
//! Fills the topics with typical records (the embedded log without `--brokers`), reads them with nothing but the client library, then takes
//! them into a new lake. With `--python` a script of stock packages takes them into a Delta table as well; with `--latency` it tells how long
//! records take from the log to the lake while ingest runs. `--stages` measures each step in memory, on one thread, and nothing else.
#![expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]

mod baseline;
mod latency;
mod usage;

use anyhow::{Context as _, ensure};
use clap::Parser;
use ed25519_dalek::SigningKey;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use usage::{Peak, cpu_seconds};
use uuid::Uuid;
use wk_ingest::synthetic::Synthetic;
use wk_ingest::{Config, Identity, Ingest, Progress};
use wk_schemas::{SCHEMA, Schema, Timestamp, Topic, codec};
use wk_store::{Commit, Lake, Range, Row, Source, Writer, rows};
use wk_wire::embedded::Broker;
use wk_wire::kafka::{Cluster, Producer};
use wk_wire::registry::Client;
use wk_wire::registry_server::RegistryServer;
use wk_wire::topics::{self, TopicSpec};
use wk_wire::{Append as _, Brokers, frame};

/// As `wk` does.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Measures ingest against a raw consumer of the same topic.
#[derive(Debug, Parser)]
struct Options {
    /// Brokers to use; without them, the embedded log.
    #[arg(long)]
    brokers: Option<String>,
    /// Schema registry to use; without it, one for this run.
    #[arg(long)]
    registry: Option<String>,
    /// Records to append before measuring; 0 to measure what is there.
    #[arg(long, default_value_t = 1_000_000)]
    records: usize,
    /// Seed of the records.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the lake is made; without it, in a temporary folder.
    #[arg(long)]
    lake: Option<PathBuf>,
    /// Configuration of ingest.
    #[arg(long)]
    config: Option<PathBuf>,
    /// A Python with confluent-kafka, fastavro, pyarrow and deltalake, for the baseline.
    #[arg(long)]
    python: Option<PathBuf>,
    /// Append so many single records to a running ingest, and tell when each is in the lake.
    #[arg(long, default_value_t = 0)]
    latency: usize,
    /// Measure the steps one by one, in memory, and stop.
    #[arg(long)]
    stages: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    if options.stages {
        return stages(&options);
    }
    let dir = tempfile::tempdir()?;
    let embedded = match &options.brokers {
        None => Some(Broker::start(&dir.path().join("log"), 0).await?),
        Some(_) => None,
    };
    let brokers = match (&embedded, &options.brokers) {
        (Some(broker), _) => broker.brokers(),
        (None, bootstrap) => Brokers::plain(bootstrap.as_deref().unwrap_or_default()),
    };
    let own = match (&embedded, &options.registry) {
        (None, None) => Some(RegistryServer::start(&dir.path().join("schemas.json"), 0).await?),
        _ => None,
    };
    let url = match (&options.registry, &own, &embedded) {
        (Some(url), ..) => url.clone(),
        (None, Some(server), _) => server.url().to_owned(),
        (None, None, Some(broker)) => broker.registry_url().to_owned(),
        (None, None, None) => unreachable!("one of the two was started"),
    };
    let registry = Client::new(&url)?;
    topics::create(&brokers, &TopicSpec::SINGLE).await?;
    fill(&brokers, &registry, &options).await?;
    let raw = raw(&brokers).await?;
    let lake = options.lake.clone().unwrap_or_else(|| dir.path().join("lake"));
    let ingested = ingest(&brokers, registry.clone(), &lake, &options).await?;
    println!("{:>14}: {:.2} of the raw consumer", "ratio", ingested / raw);
    if let Some(python) = &options.python {
        let baseline = baseline::measure(python, &brokers, dir.path()).await?;
        println!("{:>14}: {:.1} times the baseline", "ratio", ingested / baseline);
    }
    if options.latency > 0 {
        latency::measure(&brokers, registry, &lake, config(&options)?, options.latency).await?;
    }
    if let Some(server) = own {
        server.shutdown().await;
    }
    if let Some(broker) = embedded {
        broker.shutdown().await;
    }
    Ok(())
}

async fn fill(brokers: &Brokers, registry: &Client, options: &Options) -> anyhow::Result<()> {
    let id = registry.register(Topic::Events.name(), SCHEMA).await?;
    let producer = Producer::connect(brokers)?;
    let (start, mut bytes) = (Instant::now(), 0);
    for sample in Synthetic::new(options.seed).take(options.records) {
        bytes += sample.datum.len();
        let value = frame(id, &sample.datum);
        drop(producer.submit(sample.topic.name(), sample.session_id.as_str().as_bytes(), &value).await?);
    }
    producer.flush(Duration::from_secs(600)).await?;
    if options.records > 0 {
        rate("appended", options.records, start.elapsed());
        println!("{:>14}: {} bytes", "mean record", bytes / options.records);
    }
    Ok(())
}

/// Where the events begin and end, for each partition.
async fn held(brokers: &Brokers) -> anyhow::Result<Vec<(i32, i64, i64)>> {
    let cluster = Cluster::connect(brokers)?;
    let mut held = Vec::new();
    for partition in cluster.partitions(Topic::Events.name()).await? {
        let holds = cluster.watermarks(Topic::Events.name(), partition).await?;
        held.push((partition, holds.low, holds.high));
    }
    Ok(held)
}

/// What the client library alone can do.
async fn raw(brokers: &Brokers) -> anyhow::Result<f64> {
    let held = held(brokers).await?;
    let count = usize::try_from(held.iter().map(|(_, low, high)| high - low).sum::<i64>())?;
    let bootstrap = brokers.bootstrap.clone();
    tokio::task::spawn_blocking(move || {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &bootstrap)
            .set("group.id", "throughput")
            .set("enable.auto.commit", "false")
            // A queue that is full is looked at again after this; after the default of a second it has long run empty.
            .set("fetch.queue.backoff.ms", "2")
            .create()?;
        let mut starts = TopicPartitionList::new();
        for (partition, low, _) in held {
            starts.add_partition_offset(Topic::Events.name(), partition, Offset::Offset(low))?;
        }
        let (start, cpu) = (Instant::now(), cpu_seconds());
        consumer.assign(&starts)?;
        let (mut seen, mut bytes) = (0, 0);
        while seen < count {
            let message = consumer.poll(Duration::from_secs(30)).context("the brokers fell silent")??;
            bytes += message.payload_len();
            seen += 1;
        }
        ensure!(bytes > seen, "messages without content");
        let rate = rate("raw consumer", count, start.elapsed());
        println!("{:>14}  {:.1} s of processor time", "", cpu_seconds() - cpu);
        Ok(rate)
    })
    .await?
}

async fn ingest(brokers: &Brokers, registry: Client, folder: &Path, options: &Options) -> anyhow::Result<f64> {
    let config = Config { drain_time: Duration::from_secs(3600), ..config(options)? };
    let lake = Lake::create(folder, Uuid::new_v4(), Timestamp(0)).await?;
    let writer = Writer::open(lake.clone(), SigningKey::from_bytes(&[1; 32])).await?;
    let identity = Identity { tenant: "default".into(), host: "bench".into() };
    let last = Arc::new(Mutex::new(Instant::now()));
    let heard = Arc::clone(&last);
    // Asked to stop at once, it takes what the log holds now and ends.
    let cancel = CancellationToken::new();
    cancel.cancel();
    let peak = Peak::watch();
    let (start, cpu) = (Instant::now(), cpu_seconds());
    let summary = Ingest::new(config, brokers.clone(), registry, writer, identity)
        .with_progress(move |progress| {
            if let Progress::Committed(_) = progress {
                *heard.lock().expect("nobody panics with it") = Instant::now();
            }
        })
        .run(cancel)
        .await?;
    let took = last.lock().expect("nobody panics with it").duration_since(start);
    let rows = usize::try_from(summary.rows)?;
    let rate = rate("ingest", rows, took);
    let snapshot = lake.refresh().await?;
    ensure!(snapshot.records() == rows as u64, "the lake holds {} records", snapshot.records());
    let bytes: u64 = snapshot.files.iter().map(|f| f.size).sum();
    println!(
        "{:>14}  {:.1} s of processor time, {} commits, {} files, {} bytes a record in the lake",
        "",
        cpu_seconds() - cpu,
        summary.commits,
        snapshot.files.len(),
        bytes / rows.max(1) as u64
    );
    let (before, most) = (peak.before_mib, peak.most_mib());
    println!("{:>14}  {before} MiB resident before, {most} MiB at most", "");
    Ok(rate)
}

fn config(options: &Options) -> anyhow::Result<Config> {
    Ok(match &options.config {
        Some(path) => toml::from_str(&std::fs::read_to_string(path)?)?,
        None => Config::default(),
    })
}

/// Each step by itself, on this one thread.
fn stages(options: &Options) -> anyhow::Result<()> {
    let count = options.records.min(131_072);
    let start = Instant::now();
    let samples: Vec<_> = Synthetic::new(options.seed).filter(|s| s.topic == Topic::Events).take(count).collect();
    rate("generate", count, start.elapsed());
    let start = Instant::now();
    for sample in &samples {
        codec::walk(&sample.datum)?;
    }
    rate("walk", count, start.elapsed());
    let partition = 0;
    let row = |(offset, sample): (i64, &wk_ingest::synthetic::Sample)| {
        Row::read(Topic::Events, partition, offset, sample.recorded_at, sample.datum.clone().into())
    };
    let rows: Vec<Row> = (0..).zip(&samples).map(row).collect::<Result<_, _>>()?;
    let start = Instant::now();
    let batch = rows::decode(&rows)?;
    rate("decode", count, start.elapsed());
    let start = Instant::now();
    let encoder = rows::Encoder::new(&Schema::ours(), &batch)?;
    let mut datum = Vec::new();
    for row in 0..batch.num_rows() {
        datum.clear();
        encoder.write(row, &mut datum);
    }
    rate("encode back", count, start.elapsed());
    let start = Instant::now();
    for piece in rows.chunks(8192) {
        rows::decode(piece)?;
    }
    rate("decode pieces", count, start.elapsed());
    let source = Source { topic: Topic::Events, partition };
    let all = i64::try_from(count)?;
    let range = Range { topic: source.topic, partition, first: 0, next: all, rows: all, dead_letters: 0, absent: 0 };
    let start = Instant::now();
    let commit = Commit::prepare(Uuid::new_v4(), Timestamp(0), rows, vec![range])?;
    rate("prepare (all)", count, start.elapsed());
    println!("{:>14}: {} bytes a record", "file", commit.bytes() / count);
    Ok(())
}

fn rate(what: &str, count: usize, took: Duration) -> f64 {
    let rate = count as f64 / took.as_secs_f64();
    println!("{what:>14}: {rate:>9.0} records/s ({count} in {:.2} s)", took.as_secs_f64());
    rate
}
