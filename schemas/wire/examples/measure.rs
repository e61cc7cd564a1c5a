//! Measures a log: `measure embedded`, or `measure <bootstrap>` for a broker that runs already.
//!
//! Prints latency from submission to the reader at a low rate, latency of the acknowledgement, and throughput of writing and
//! reading small messages. README.md has what it printed.

#![expect(clippy::disallowed_methods, reason = "it measures time, and its topics need names of their own")]

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};
use wk_wire::kafka::{Producer, Reader};
use wk_wire::{Append as _, Brokers, Read as _};

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let target = std::env::args().nth(1).unwrap_or_else(|| "embedded".into());
    let count = std::env::args().nth(2).map_or(Ok(300_000), |n| n.parse())?;
    #[cfg(feature = "embedded")]
    if target == "embedded" {
        let dir = tempfile::tempdir()?;
        let broker = wk_wire::embedded::Broker::start(dir.path(), 0).await?;
        measure(&broker.brokers(), count).await?;
        broker.shutdown().await;
        return Ok(());
    }
    measure(&Brokers::plain(target), count).await
}

async fn measure(brokers: &Brokers, count: usize) -> Result<(), Failure> {
    latency(brokers).await?;
    let topic = new_topic(brokers).await?;
    write(brokers, &topic, count).await?;
    read("read", Reader::assign(brokers, &[(&topic, 0, 0)]).await?, count).await?;
    let mut all = vec![topic.clone()];
    for _ in 0..4 {
        all.push(new_topic(brokers).await?);
    }
    let all: Vec<(&str, i32, i64)> = all.iter().map(|topic| (topic.as_str(), 0, 0)).collect();
    read("of five topics", Reader::assign(brokers, &all).await?, count).await?;
    read("the same, eager", Reader::assign_eager(brokers, &all).await?, count).await?;
    read_raw(brokers, &topic, count)
}

async fn latency(brokers: &Brokers) -> Result<(), Failure> {
    const MESSAGES: usize = 1000;
    let topic = new_topic(brokers).await?;
    let producer = Producer::connect(brokers)?;
    producer.append(&topic, b"session", b"warm").await?;
    let mut reader = Reader::assign(brokers, &[(&topic, 0, 1)]).await?;
    let reading = tokio::spawn(async move {
        let mut at = Vec::with_capacity(MESSAGES);
        for _ in 0..MESSAGES {
            match reader.next().await {
                Ok(_) => at.push(Instant::now()),
                Err(error) => return Err(error),
            }
        }
        Ok(at)
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (mut sent, mut acknowledged) = (Vec::new(), Vec::new());
    for _ in 0..MESSAGES {
        let start = Instant::now();
        producer.append(&topic, b"session", &[b'x'; 300]).await?;
        acknowledged.push(start.elapsed());
        sent.push(start);
        tokio::time::sleep(Duration::from_millis(5).saturating_sub(start.elapsed())).await;
    }
    let read = reading.await??;
    let mut through: Vec<Duration> = read.iter().zip(&sent).map(|(r, s)| *r - *s).collect();
    print("acknowledged", &mut acknowledged);
    print("end to end", &mut through);
    Ok(())
}

async fn write(brokers: &Brokers, topic: &str, count: usize) -> Result<(), Failure> {
    let producer = Producer::connect(brokers)?;
    let start = Instant::now();
    let mut deliveries = Vec::with_capacity(count);
    let value = vec![b'x'; 300];
    for n in 0..count {
        let key = format!("session-{}", n % 50);
        deliveries.push(producer.submit(topic, key.as_bytes(), &value).await?);
    }
    for delivery in deliveries {
        delivery.await?;
    }
    rate("written", count, start);
    Ok(())
}

async fn read(what: &str, mut reader: Reader, count: usize) -> Result<(), Failure> {
    let start = Instant::now();
    let (mut seen, mut batches) = (0, 0);
    while seen < count {
        seen += reader.next_batch(10_000, Duration::from_secs(5)).await?.len();
        batches += 1;
    }
    rate(what, count, start);
    println!("{:>16}: {} messages", "batch", count / batches.max(1));
    Ok(())
}

/// What the client library alone can do.
fn read_raw(brokers: &Brokers, topic: &str, count: usize) -> Result<(), Failure> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &brokers.bootstrap)
        .set("group.id", "measure")
        .set("enable.auto.commit", "false")
        // A queue that is full is looked at again after this; after the default of a second it has long run empty.
        .set("fetch.queue.backoff.ms", "2")
        .create()?;
    let mut start_at = TopicPartitionList::new();
    start_at.add_partition_offset(topic, 0, Offset::Beginning)?;
    let start = Instant::now();
    consumer.assign(&start_at)?;
    let (mut seen, mut bytes) = (0, 0);
    while seen < count {
        if let Some(message) = consumer.poll(Duration::from_secs(5)) {
            bytes += message?.payload_len();
            seen += 1;
        }
    }
    assert!(bytes >= seen);
    rate("read raw", count, start);
    Ok(())
}

async fn new_topic(brokers: &Brokers) -> Result<String, Failure> {
    let name = format!("measure-{}", std::process::id() + rand_suffix());
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &brokers.bootstrap);
    let admin: AdminClient<DefaultClientContext> = config.create()?;
    let topic = NewTopic::new(&name, 1, TopicReplication::Fixed(1));
    admin.create_topics([&topic], &AdminOptions::new()).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    Ok(name)
}

fn rand_suffix() -> u32 {
    uuid::Uuid::new_v4().as_fields().0 >> 8
}

fn rate(what: &str, count: usize, start: Instant) {
    let seconds = start.elapsed().as_secs_f64();
    println!("{what:>16}: {:.0} messages/s", count as f64 / seconds);
}

fn print(what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let ms = |part: usize| times[times.len() * part / 1000].as_secs_f64() * 1e3;
    println!("{what:>16}: p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms", ms(500), ms(990), ms(999));
}
