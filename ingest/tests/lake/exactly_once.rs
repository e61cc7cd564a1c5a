//! What the log has acknowledged is in the lake once, whatever happens between.

use crate::stage::{Stage, config, listened, samples, to_the_end, writer};
use rdkafka::ClientConfig;
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use wk_ingest::plan::PlanError;
use wk_ingest::{Config, IngestError};
use wk_schemas::Topic;
use wk_store::Source;
use wk_wire::kafka::Lag;

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_in_the_lake_once_and_a_second_run_adds_nothing() {
    let stage = Stage::start().await;
    stage.append(samples(1, 3000)).await;
    let first = stage.catch_up(config(700)).await.unwrap();
    assert_eq!((first.rows, first.dead_letters, first.absent), (3000, 0, 0));
    assert!(first.commits > 3, "{first:?}");
    let report = stage.verified().await;
    assert_eq!((report.records, report.chained_records, report.duplicates), (3000, 3000, 0));
    let again = stage.catch_up(config(700)).await.unwrap();
    assert_eq!((again.rows, again.commits), (0, 0));
    stage.append(samples(2, 10)).await;
    assert_eq!(stage.catch_up(config(700)).await.unwrap().rows, 10);
    assert_eq!(stage.verified().await.records, 3010);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_ingest_commits_what_comes_within_the_interval() {
    let stage = Stage::start().await;
    let cancel = CancellationToken::new();
    let live = Config { seal_interval: Duration::from_millis(50), ..config(100_000) };
    let (ingest, mut heard) = listened(stage.ingest(live, writer(&stage.lake()).await));
    let running = tokio::spawn(ingest.run(cancel.clone()));
    for seed in [1, 2] {
        stage.append(samples(seed, 20)).await;
        heard.rows(20).await;
    }
    cancel.cancel();
    assert_eq!(running.await.unwrap().unwrap().rows, 40);
    assert_eq!(stage.verified().await.records, 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_groups_offset_is_not_the_truth_and_is_shown_afterwards() {
    let stage = Stage::start().await;
    stage.append(samples(1, 50).filter(|sample| sample.topic == Topic::Events)).await;
    let group = Config::default().group;
    let events = Topic::Events.name();
    Lag::publish(&stage.brokers(), &group, &[(events, 0, 40)]).await.unwrap();
    let summary = stage.catch_up(config(700)).await.unwrap();
    assert_eq!(summary.rows, 50);
    let lag = Lag::of(&stage.brokers(), &group, events).await.unwrap();
    assert_eq!(lag[0].committed, Some(50));
}

/// Others may join the group under which lag is shown, and the group then gives partitions away in the middle of a commit. Ingest is no member
/// of it: its partitions are all of them, and what it has read is in the lake.
#[tokio::test(flavor = "multi_thread")]
async fn a_rebalance_of_the_group_in_the_middle_of_commits_changes_nothing() {
    let stage = Stage::start().await;
    let cancel = CancellationToken::new();
    let live = Config { seal_interval: Duration::from_millis(20), ..config(50) };
    let group = live.group.clone();
    let (ingest, mut heard) = listened(stage.ingest(live, writer(&stage.lake()).await));
    let running = tokio::spawn(ingest.run(cancel.clone()));
    heard.started().await;
    let member = |number: usize| {
        let consumer: StreamConsumer = ClientConfig::new()
            .set("bootstrap.servers", stage.broker.bootstrap())
            .set("group.id", &group)
            .set("client.id", format!("member-{number}"))
            .set("auto.offset.reset", "earliest")
            .create()
            .unwrap();
        consumer.subscribe(&[Topic::Events.name()]).unwrap();
        consumer
    };
    for round in 0..2 {
        let joined = member(round);
        stage.append(samples(10 + u64::try_from(round).unwrap(), 200)).await;
        // A message for it means that the group has given it partitions.
        let message = tokio::time::timeout(Duration::from_secs(120), joined.recv()).await;
        drop(message.expect("the group gives the member its partitions").unwrap().detach());
        stage.append(samples(20 + u64::try_from(round).unwrap(), 200)).await;
        heard.rows(400).await;
    }
    cancel.cancel();
    assert_eq!(running.await.unwrap().unwrap().rows, 800);
    let report = stage.verified().await;
    assert_eq!((report.records, report.duplicates), (800, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_made_anew_is_refused() {
    let old = Stage::start().await;
    old.append(samples(1, 100)).await;
    old.catch_up(config(700)).await.unwrap();
    let anew = Stage::start().await;
    let ingest = anew.ingest(config(700), writer(&old.lake()).await);
    let error = ingest.run(to_the_end()).await.unwrap_err();
    let source_partition = Source { topic: Topic::Events, partition: 0 };
    let IngestError::Plan(plan) = &error else { panic!("{error:?}") };
    assert!(
        matches!(plan, PlanError::Anew { source_partition: found, high: 0, .. } if *found == source_partition),
        "{plan}"
    );
    assert_eq!(old.verified().await.records, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_made_anew_and_has_grown_past_the_old_end_is_refused() {
    let old = Stage::start().await;
    old.append(samples(1, 100)).await;
    old.catch_up(config(30)).await.unwrap();
    let anew = Stage::start().await;
    anew.append(samples(2, 3000)).await;
    let ingest = anew.ingest(config(700), writer(&old.lake()).await);
    let error = ingest.run(to_the_end()).await.unwrap_err();
    let IngestError::Plan(PlanError::OtherLog { source_partition, offset, .. }) = error else { panic!("{error:?}") };
    assert_eq!(source_partition.topic, Topic::Events);
    assert_eq!(Some(offset + 1), old.offsets().await.0.get(&source_partition).copied());
    assert_eq!(old.verified().await.records, 100);
}
