//! The world around ingest, made up from a seed: a log that grows, and a store that fails, lies about it, and dies.

use object_store::memory::InMemory;
use object_store::path::Path as ObjectPath;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt as _,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use wk_ingest::Identity;
use wk_ingest::dead_letter::Letter;
use wk_ingest::synthetic::Synthetic;
use wk_ingest::walk::Taken;
use wk_schemas::{Chain, RecordId, SessionId, Timestamp, Topic};
use wk_store::Source;
use wk_wire::frame;
use wk_wire::kafka::Watermarks;

pub(crate) const SCHEMA_ID: i32 = 1;

/// Steele and Vigna's `SplitMix64`; the same seed gives the same run everywhere.
#[derive(Debug)]
pub(crate) struct Random(AtomicU64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    pub(crate) fn below(&self, limit: u64) -> u64 {
        let mut z = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }

    pub(crate) fn happens(&self, in_thousand: u64) -> bool {
        self.below(1000) < in_thousand
    }

    pub(crate) fn index(&self, len: usize) -> usize {
        usize::try_from(self.below(u64::try_from(len).unwrap())).unwrap()
    }
}

/// A log of a few partitions. `None` is an offset at which it holds nothing: the marker of a transaction.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) partitions: BTreeMap<Source, Vec<Option<Taken>>>,
    /// Messages that are no record.
    pub(crate) rubbish: usize,
    letters: HashSet<RecordId>,
    chains: BTreeMap<SessionId, Chain>,
}

impl Log {
    pub(crate) fn new() -> Self {
        let mut log = Self::default();
        for (topic, partitions) in [(Topic::Events, 3), (Topic::Findings, 1), (Topic::DeadLetters, 1)] {
            for partition in 0..partitions {
                log.partitions.insert(Source { topic, partition }, Vec::new());
            }
        }
        log
    }

    fn push(&mut self, source: Source, at: Timestamp, key: Vec<u8>, value: Vec<u8>) {
        let messages = self.partitions.get_mut(&source).unwrap();
        let offset = i64::try_from(messages.len()).unwrap();
        messages.push(Some(Taken {
            source,
            offset,
            timestamp_ms: Some(at.0 / 1000),
            key: key.into(),
            value: value.into(),
        }));
    }

    /// Appends records, now and then something that is none, and now and then nothing.
    pub(crate) fn grow(&mut self, records: &mut Synthetic, count: usize, random: &Random) {
        for sample in records.take(count) {
            // A session is always in the same partition.
            let partition = i32::from(sample.session_id.as_str().as_bytes().iter().fold(0u8, |a, b| a ^ b) % 3);
            let partition = if sample.topic == Topic::Events { partition } else { 0 };
            let source = Source { topic: sample.topic, partition };
            let key = sample.session_id.as_str().as_bytes().to_vec();
            if random.happens(30) {
                self.partitions.get_mut(&source).unwrap().push(None);
            }
            if random.happens(20) {
                let value = match random.below(3) {
                    0 => frame(SCHEMA_ID, &sample.datum[..sample.datum.len() / 2]),
                    1 => b"rubbish".to_vec(),
                    _ => frame(SCHEMA_ID + 1, &sample.datum),
                };
                self.push(source, sample.recorded_at, key.clone(), value);
                self.rubbish += 1;
            }
            self.push(source, sample.recorded_at, key, frame(SCHEMA_ID, &sample.datum));
        }
    }

    /// Appends the records of letters that are not there yet, as the writer of letters does.
    pub(crate) fn set_aside(&mut self, letters: &[Letter]) {
        let identity = Identity { tenant: "default".into(), host: "lake-1".into() };
        for (header, body) in letters.iter().flat_map(|letter| letter.records(&identity)) {
            if self.letters.insert(header.record_id) {
                let (session, at) = (header.session_id.clone(), header.occurred_at);
                let (_, datum) = self.chains.entry(session.clone()).or_default().seal(header, body);
                let source = Source { topic: Topic::DeadLetters, partition: 0 };
                self.push(source, at, session.as_str().as_bytes().to_vec(), frame(SCHEMA_ID, &datum));
            }
        }
    }

    pub(crate) fn holds(&self, source: Source) -> Watermarks {
        Watermarks { low: 0, high: i64::try_from(self.partitions[&source].len()).unwrap() }
    }
}

/// What becomes of the next operations of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weather {
    /// All goes well.
    Calm,
    /// Each operation may fail, with so many chances in a thousand.
    Rough(u64),
}

/// A store that many processes share, through which each may die.
#[derive(Debug)]
pub(crate) struct Store {
    inner: Arc<InMemory>,
    random: Arc<Random>,
    weather: Arc<Mutex<Weather>>,
    /// A put whose answer was lost and that has not arrived yet: it may, later, unless the name is taken by then.
    late: Arc<Mutex<Vec<(ObjectPath, PutPayload)>>>,
}

impl Store {
    pub(crate) fn new(random: Arc<Random>) -> Self {
        let weather = Arc::new(Mutex::new(Weather::Calm));
        Self { inner: Arc::default(), random, weather, late: Arc::default() }
    }

    pub(crate) fn set(&self, weather: Weather) {
        *self.weather.lock().unwrap() = weather;
    }

    /// The same objects, seen by another process.
    pub(crate) fn handle(&self) -> Arc<dyn ObjectStore> {
        let Self { inner, random, weather, late } = self;
        Arc::new(Self {
            inner: Arc::clone(inner),
            random: Arc::clone(random),
            weather: Arc::clone(weather),
            late: Arc::clone(late),
        })
    }

    fn fails(&self) -> bool {
        match *self.weather.lock().unwrap() {
            Weather::Calm => false,
            Weather::Rough(in_thousand) => self.random.happens(in_thousand),
        }
    }

    /// Delivers what was under way, if nothing is in its place.
    pub(crate) async fn deliver_late(&self) {
        let late = std::mem::take(&mut *self.late.lock().unwrap());
        for (path, payload) in late {
            let options = PutOptions { mode: object_store::PutMode::Create, ..PutOptions::default() };
            match self.inner.put_opts(&path, payload, options).await {
                Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    pub(crate) async fn names(&self) -> Vec<ObjectMeta> {
        futures::TryStreamExt::try_collect(self.inner.list(None)).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &ObjectPath) -> bytes::Bytes {
        self.inner.get(path).await.unwrap().bytes().await.unwrap()
    }
}

impl std::fmt::Display for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a store in a storm")
    }
}

fn failed(status: &str) -> object_store::Error {
    object_store::Error::Generic { store: "simulated", source: status.to_owned().into() }
}

#[async_trait::async_trait]
impl ObjectStore for Store {
    async fn put_opts(&self, at: &ObjectPath, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        if !self.fails() {
            return self.inner.put_opts(at, payload, options).await;
        }
        match self.random.below(6) {
            0 => Err(failed("403 Forbidden")),
            1 => Err(failed("503 Slow Down")),
            // Done, and the answer is lost.
            2 | 3 => {
                self.inner.put_opts(at, payload, options).await?;
                Err(failed("connection reset"))
            }
            // Done, the answer is lost, and the client library does it again.
            4 => {
                self.inner.put_opts(at, payload.clone(), options.clone()).await?;
                self.inner.put_opts(at, payload, options).await
            }
            // Neither done nor refused: a put if absent may still arrive.
            _ => {
                if options.mode == object_store::PutMode::Create {
                    self.late.lock().unwrap().push((at.clone(), payload));
                }
                Err(failed("timed out"))
            }
        }
    }

    async fn put_multipart_opts(
        &self,
        at: &ObjectPath,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, options).await
    }

    async fn get_opts(&self, at: &ObjectPath, options: GetOptions) -> Result<GetResult> {
        if self.fails() {
            return Err(failed("500 Internal Server Error"));
        }
        self.inner.get_opts(at, options).await
    }

    fn delete_stream(
        &self,
        locations: futures::stream::BoxStream<'static, Result<ObjectPath>>,
    ) -> futures::stream::BoxStream<'static, Result<ObjectPath>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&ObjectPath>) -> futures::stream::BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&ObjectPath>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &ObjectPath, to: &ObjectPath, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
