//! A lake that is tidied while it is written to.

use crate::stage::{Stage, config, listened, samples, to_the_end, verified, writer};
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use wk_ingest::{Config, compact};
use wk_store::Lake;
use wk_store::layout::Order;
use wk_store::read::{Place, each};
use wk_store::rollup::Part;

/// Looks often, and finds something to do soon.
fn eager() -> Config {
    let compact_files = NonZeroUsize::new(3).unwrap();
    Config { compact_interval: Duration::from_millis(20), compact_files, ..config(100) }
}

/// Every record of a lake by its place, each once.
async fn records(lake: &Path) -> BTreeMap<Place, Vec<u8>> {
    let lake = Lake::open(lake).await.unwrap();
    let mut records = BTreeMap::new();
    for file in &lake.snapshot().files {
        each(lake.files(), file, |place, datum| {
            assert_eq!(records.insert(place, datum.to_vec()), None, "{place:?} is there twice");
        })
        .await
        .unwrap();
    }
    records
}

/// Waits until so many of the lake's files are in the order of sessions.
async fn arranged(lake: &Path, files: usize) {
    let lake = Lake::open(lake).await.unwrap();
    let waiting = async {
        while lake.refresh().await.unwrap().files.iter().filter(|file| file.order == Order::Session).count() < files {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(300), waiting).await.expect("it compacts by itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lake_that_compacts_itself_while_it_is_written_to_holds_what_one_holds_that_does_not() {
    let stage = Stage::start().await;
    let cancel = CancellationToken::new();
    let (ingest, mut heard) = listened(stage.ingest(eager(), writer(&stage.lake()).await));
    let ingesting = tokio::spawn(ingest.run(cancel.clone()));
    let compacting = tokio::spawn(compact::run(eager(), writer(&stage.lake()).await, cancel.clone()));
    heard.started().await;
    for seed in 1..=6 {
        stage.append(samples(seed, 100)).await;
        heard.rows(100).await;
    }
    arranged(&stage.lake(), 1).await;
    // Ingest goes on behind it.
    stage.append(samples(7, 100)).await;
    heard.rows(100).await;
    cancel.cancel();
    assert_eq!(ingesting.await.unwrap().unwrap().rows, 700);
    compacting.await.unwrap();

    // What was compacted keeps its roll-ups.
    let files = Lake::open(&stage.lake()).await.unwrap().snapshot().files.clone();
    for file in files.iter().filter(|file| file.order == Order::Session) {
        assert!(
            file.rollups.as_ref().is_some_and(|kept| Part::ALL.iter().all(|part| kept.of(*part).is_some())),
            "{file:?}"
        );
    }

    let plain = stage.lake().with_file_name("plain");
    stage.ingest(eager(), writer(&plain).await).run(to_the_end()).await.unwrap();
    let (tidy, plain) = (records(&stage.lake()).await, records(&plain).await);
    assert_eq!(plain.len(), 700);
    assert!(tidy == plain, "the records are the same");
    let report = stage.verified().await;
    assert!(report.rearranged >= 300, "{report}");
    assert_eq!((report.records, report.duplicates), (700, 0), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compaction_that_fails_stops_nothing_and_is_made_once_it_can_be() {
    let stage = Stage::start().await;
    for seed in 1..=4 {
        stage.append(samples(seed, 100)).await;
        stage.catch_up(config(100)).await.unwrap();
    }
    // A file of the lake is away for a while.
    let first = Lake::open(&stage.lake()).await.unwrap().snapshot().files[0].path.clone();
    let (path, away) = (stage.lake().join(&first), stage.lake().join("away"));
    std::fs::rename(&path, &away).unwrap();
    let cancel = CancellationToken::new();
    let compacting = tokio::spawn(compact::run(eager(), writer(&stage.lake()).await, cancel.clone()));
    arranged(&stage.lake(), 1).await;
    let left = Lake::open(&stage.lake()).await.unwrap().snapshot();
    let still = left.files.iter().find(|file| file.path == first).expect("what cannot be read is left alone");
    assert_eq!(still.order, Order::Time);
    stage.append(samples(5, 100)).await;
    assert_eq!(stage.catch_up(config(100)).await.unwrap().rows, 100, "ingest goes on");
    cancel.cancel();
    compacting.await.unwrap();
    // Once it is back, the next process takes it.
    std::fs::rename(&away, &path).unwrap();
    let cancel = CancellationToken::new();
    let mut one = eager();
    one.compact_files = NonZeroUsize::new(2).unwrap();
    let compacting = tokio::spawn(compact::run(one, writer(&stage.lake()).await, cancel.clone()));
    let lake = Lake::open(&stage.lake()).await.unwrap();
    let waiting = async {
        while lake.refresh().await.unwrap().files.iter().any(|file| file.path == first) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(300), waiting).await.expect("it is compacted after all");
    cancel.cancel();
    compacting.await.unwrap();
    assert_eq!(verified(&stage.lake()).await.records, 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lake_that_is_not_to_be_compacted_is_left_as_it_is() {
    let stage = Stage::start().await;
    for seed in 1..=4 {
        stage.append(samples(seed, 100)).await;
        stage.catch_up(config(100)).await.unwrap();
    }
    // It ends at once, though nobody asks it to.
    compact::run(Config { compact: false, ..eager() }, writer(&stage.lake()).await, CancellationToken::new()).await;
    let files = Lake::open(&stage.lake()).await.unwrap().snapshot().files.clone();
    assert!(files.len() >= 4 && files.iter().all(|file| file.order == Order::Time));
}
