//! What ingest needs goes away and comes back.

use crate::kafka::Kafka;
use crate::stage::{Stage, config, identity, listened, samples, verified, writer};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use wk_ingest::{Config, Ingest};
use wk_schemas::{SCHEMA, Topic};
use wk_wire::registry::Client;
use wk_wire::registry_server::RegistryServer;

fn live() -> Config {
    Config { seal_interval: Duration::from_millis(50), ..config(100_000) }
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_that_go_away_and_come_back_are_waited_out() {
    let Some(kafka) = Kafka::start(4).await else { return };
    let cancel = CancellationToken::new();
    let writer = writer(&kafka.lake()).await;
    let ingest = Ingest::new(live(), kafka.brokers.clone(), kafka.registry(), writer, identity());
    let (ingest, mut heard) = listened(ingest);
    let running = tokio::spawn(ingest.run(cancel.clone()));
    kafka.append(1, 60).await;
    heard.started().await;
    heard.rows(60).await;
    tokio::task::block_in_place(|| kafka.restart());
    kafka.append(2, 40).await;
    heard.rows(40).await;
    cancel.cancel();
    assert_eq!(running.await.unwrap().unwrap().rows, 100);
    assert_eq!(verified(&kafka.lake()).await.records, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_away_makes_nothing_a_dead_letter() {
    let stage = Stage::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("schemas.json");
    let registry = RegistryServer::start(&file, 0).await.unwrap();
    let url = registry.url().to_owned();
    let port = url.rsplit(':').next().unwrap().parse().unwrap();
    let id = Client::new(&url).unwrap().register(Topic::Events.name(), SCHEMA).await.unwrap();
    assert_eq!(id, stage.schema_id, "both registries begin at the same number");
    registry.shutdown().await;
    stage.append(samples(1, 30)).await;

    let start = async |cancel: CancellationToken| {
        let client = Client::new(&url).unwrap();
        let ingest = Ingest::new(live(), stage.brokers(), client, writer(&stage.lake()).await, identity());
        let (ingest, mut heard) = listened(ingest);
        let running = tokio::spawn(ingest.run(cancel));
        heard.started().await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        (running, heard)
    };
    // Asked to stop while it waits, it stops and leaves everything to the next start.
    let cancel = CancellationToken::new();
    let (running, _heard) = start(cancel.clone()).await;
    cancel.cancel();
    assert_eq!(running.await.unwrap().unwrap().commits, 0);

    let cancel = CancellationToken::new();
    let (running, mut heard) = start(cancel.clone()).await;
    let back = RegistryServer::start(&file, port).await.unwrap();
    heard.rows(30).await;
    cancel.cancel();
    let summary = running.await.unwrap().unwrap();
    assert_eq!((summary.rows, summary.dead_letters), (30, 0));
    assert_eq!(stage.verified().await.records, 30);
    back.shutdown().await;
}
