//! Ingest dies at twenty seeded steps, and what it left behind is made good by the next start.
//!
//! The process that dies is this test binary, started again with one test by name. Even seeds die before or after the n-th object that is
//! put into the lake's store; odd ones, on the local disk as it is used in production, at the n-th step that ingest tells of. The same once more
//! with the lake in the bucket of a real object store.
#![expect(clippy::disallowed_methods, reason = "the process that dies is told by its environment what to do")]

use crate::bucket::{self, Bucket};
use crate::stage::{Stage, config, identity, samples, to_the_end, verified_on, writer, writer_on};
use async_trait::async_trait;
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result as StoreResult,
};
use std::fmt;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use wk_ingest::Ingest;
use wk_schemas::Topic;
use wk_store::Writer;
use wk_store::files::Files;
use wk_wire::Brokers;
use wk_wire::registry::Client;

const TASK: &str = "WK_INGEST_CRASH_TEST";
const SEEDS: u64 = 20;
const BUCKET_SEEDS: u64 = 7;

/// What the lake of a task begins with when it is in a bucket; the bucket's folder follows.
const BUCKET: &str = "bucket:";

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
    inner: Arc<dyn ObjectStore>,
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

/// The store that a lake is in: a bucket or a folder.
fn store(lake: &str) -> Arc<dyn ObjectStore> {
    if let Some(bucket) = lake.strip_prefix(BUCKET) {
        return bucket::files(Path::new(bucket), None).store();
    }
    std::fs::create_dir_all(lake).unwrap();
    Arc::new(LocalFileSystem::new_with_prefix(lake).unwrap())
}

async fn mortal_writer(lake: &str, countdown: &Arc<Countdown>) -> Writer {
    writer_on(Files::on(Arc::new(Mortal { inner: store(lake), countdown: Arc::clone(countdown) }))).await
}

/// Run by the tests below as a process of its own; by itself it does nothing.
#[tokio::test(flavor = "multi_thread")]
async fn dies_when_told() {
    let Ok(task) = std::env::var(TASK) else { return };
    let [bootstrap, registry, lake, seed, steps] = task.split('|').collect::<Vec<_>>().try_into().unwrap();
    let seed = seed.parse::<u64>().unwrap();
    let countdown = Arc::new(Countdown(AtomicUsize::new(steps.parse().unwrap())));
    let in_store = seed.is_multiple_of(2) || lake.starts_with(BUCKET);
    let writer = if in_store { mortal_writer(lake, &countdown).await } else { writer(Path::new(lake)).await };
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
async fn die(stage: &Stage, lake: &str, seed: u64, steps: usize) -> bool {
    let task =
        [stage.broker.bootstrap(), stage.broker.registry_url(), lake, &seed.to_string(), &steps.to_string()].join("|");
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

/// One life after another: two that end before their time, and two that make good. How many deaths there were.
async fn lives(seed: u64, steps: u64, lake: impl Fn(&Stage) -> String, files: impl Fn(&Stage) -> Files) -> u32 {
    let stage = Stage::start().await;
    let lake = lake(&stage);
    let mut rubbish = 0;
    for part in 0..3 {
        stage.append(samples(seed * 10 + part, 400)).await;
        stage.append_raw(Topic::Events, b"s1", format!("rubbish {part}").as_bytes()).await;
        rubbish += 1;
    }
    let mut deaths = u32::from(die(&stage, &lake, seed, usize::try_from(steps).unwrap()).await);
    // It may die a second time, while it makes good the first.
    deaths += u32::from(die(&stage, &lake, seed, 2 + usize::try_from(seed % 3).unwrap()).await);
    for _ in 0..2 {
        // Once more for the dead letters that the last run has written.
        let writer = writer_on(files(&stage)).await;
        stage.ingest(config(batch(seed)), writer).run(to_the_end()).await.unwrap();
    }
    let report = verified_on(files(&stage)).await;
    let found = (report.records, report.duplicates, report.dead_letters);
    assert_eq!(found, (1200 + rubbish, 0, rubbish), "seed {seed}, dying at step {steps}");
    stage.broker.shutdown().await;
    deaths
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_deaths_lose_nothing_and_double_nothing() {
    let mut deaths = 0;
    for seed in 0..SEEDS {
        // A commit puts about six objects, and ingest tells of two or three steps for each.
        let steps = if seed.is_multiple_of(2) { 2 + seed * 4 } else { 2 + seed / 2 };
        let folder = |stage: &Stage| stage.lake().to_str().unwrap().to_owned();
        deaths += lives(seed, steps, folder, |stage| Files::local(&stage.lake()).unwrap()).await;
    }
    assert!(deaths > 20, "{deaths} deaths are too few to say much");
}

#[tokio::test(flavor = "multi_thread")]
async fn deaths_before_and_after_every_object_that_is_put_into_a_bucket_lose_and_double_nothing() {
    let mut deaths = 0;
    for seed in 0..BUCKET_SEEDS {
        let Some(bucket) = Bucket::start() else { return };
        let lake = |_: &Stage| format!("{BUCKET}{}", bucket.dir().display());
        deaths += lives(seed, 2 + seed * 5, lake, |_| bucket.files()).await;
    }
    assert!(u64::from(deaths) > BUCKET_SEEDS, "{deaths} deaths are too few to say much");
}
