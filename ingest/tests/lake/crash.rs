//! Ingest dies at twenty seeded steps, and what it left behind is made good by the next start.
//!
//! The process that dies is this test binary, started again with one test by name. Even seeds die before or after the n-th object that is
//! put into the lake's store; odd ones, on the local disk as it is used in production, at the n-th step that ingest tells of.
#![expect(clippy::disallowed_methods, reason = "the process that dies is told by its environment what to do")]

use crate::stage::{Stage, config, identity, key, samples, to_the_end, writer};
use async_trait::async_trait;
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result as StoreResult,
};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use uuid::Uuid;
use wk_ingest::Ingest;
use wk_schemas::{Timestamp, Topic};
use wk_store::files::Files;
use wk_store::{Lake, Writer};
use wk_wire::Brokers;
use wk_wire::registry::Client;

const TASK: &str = "WK_INGEST_CRASH_TEST";
const SEEDS: u64 = 20;

/// Counts steps and ends the process, without any clean-up, at the n-th.
#[derive(Debug)]
struct Countdown(AtomicUsize);

impl Countdown {
    fn step(&self) {
        if self.0.fetch_sub(1, Ordering::SeqCst) == 1 {
            std::process::abort();
        }
    }
}

/// A store that dies before or after it has put something.
#[derive(Debug)]
struct Mortal {
    inner: LocalFileSystem,
    countdown: Arc<Countdown>,
}

impl fmt::Display for Mortal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("mortal")
    }
}

#[async_trait]
impl ObjectStore for Mortal {
    async fn put_opts(&self, location: &ObjectPath, payload: PutPayload, opts: PutOptions) -> StoreResult<PutResult> {
        self.countdown.step();
        let put = self.inner.put_opts(location, payload, opts).await;
        self.countdown.step();
        put
    }

    async fn put_multipart_opts(
        &self,
        location: &ObjectPath,
        opts: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &ObjectPath, options: GetOptions) -> StoreResult<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: futures::stream::BoxStream<'static, StoreResult<ObjectPath>>,
    ) -> futures::stream::BoxStream<'static, StoreResult<ObjectPath>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&ObjectPath>) -> futures::stream::BoxStream<'static, StoreResult<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&ObjectPath>) -> StoreResult<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &ObjectPath, to: &ObjectPath, options: CopyOptions) -> StoreResult<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

async fn mortal_writer(lake: &Path, countdown: &Arc<Countdown>) -> Writer {
    std::fs::create_dir_all(lake).unwrap();
    let inner = LocalFileSystem::new_with_prefix(lake).unwrap();
    let files = Files::on(Arc::new(Mortal { inner, countdown: Arc::clone(countdown) }));
    let lake = match Lake::create_on(files.clone(), Uuid::from_u128(1), Timestamp(0)).await {
        Ok(lake) => lake,
        Err(wk_store::OpenError::Exists) => Lake::open_on(files).await.unwrap(),
        Err(error) => panic!("{error}"),
    };
    Writer::open(lake, key()).await.unwrap()
}

/// Run by [`twenty_deaths_lose_nothing_and_double_nothing`] as a process of its own; by itself it does nothing.
#[tokio::test(flavor = "multi_thread")]
async fn dies_when_told() {
    let Ok(task) = std::env::var(TASK) else { return };
    let [bootstrap, registry, lake, seed, steps] = task.split('|').collect::<Vec<_>>().try_into().unwrap();
    let (lake, seed) = (PathBuf::from(lake), seed.parse::<u64>().unwrap());
    let countdown = Arc::new(Countdown(AtomicUsize::new(steps.parse().unwrap())));
    let in_store = seed.is_multiple_of(2);
    let writer = if in_store { mortal_writer(&lake, &countdown).await } else { writer(&lake).await };
    let registry = Client::new(registry).unwrap();
    Ingest::new(config(batch(seed)), Brokers::plain(bootstrap), registry, writer, identity())
        .with_progress(move |_| {
            if !in_store {
                countdown.step();
            }
        })
        .run(to_the_end())
        .await
        .unwrap();
}

fn batch(seed: u64) -> usize {
    100 + usize::try_from(seed % 5).unwrap() * 70
}

/// Starts the process that dies; whether it died.
async fn die(stage: &Stage, seed: u64, steps: usize) -> bool {
    let task = [
        stage.broker.bootstrap(),
        stage.broker.registry_url(),
        stage.lake().to_str().unwrap(),
        &seed.to_string(),
        &steps.to_string(),
    ]
    .join("|");
    let mut child = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::dies_when_told", "--nocapture"])
        .env(TASK, task)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let status = child.wait().await.unwrap();
    assert!(status.code().is_none_or(|code| code == 0), "seed {seed}: ingest failed instead of dying: {status}");
    !status.success()
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_deaths_lose_nothing_and_double_nothing() {
    let mut deaths = 0;
    for seed in 0..SEEDS {
        let stage = Stage::start().await;
        let mut rubbish = 0;
        for part in 0..3 {
            stage.append(samples(seed * 10 + part, 400)).await;
            stage.append_raw(Topic::Events, b"s1", format!("rubbish {part}").as_bytes()).await;
            rubbish += 1;
        }
        // A commit puts about six objects, and ingest tells of two or three steps for each.
        let steps = if seed.is_multiple_of(2) { 2 + seed * 4 } else { 2 + seed / 2 };
        deaths += u32::from(die(&stage, seed, usize::try_from(steps).unwrap()).await);
        // It may die a second time, while it makes good the first.
        deaths += u32::from(die(&stage, seed, 2 + usize::try_from(seed % 3).unwrap()).await);
        stage.catch_up(config(batch(seed))).await.unwrap();
        // Once more for the dead letters that the last run has written.
        stage.catch_up(config(batch(seed))).await.unwrap();
        let report = stage.verified().await;
        let found = (report.records, report.duplicates, report.dead_letters);
        assert_eq!(found, (1200 + rubbish, 0, rubbish), "seed {seed}, dying at step {steps}");
        stage.broker.shutdown().await;
    }
    assert!(deaths > 20, "{deaths} deaths are too few to say much");
}
