//! Ingest in a made-up world, a thousand times: whatever dies, fails, lies or comes twice, what the log holds is in the lake once.
//!
//! Deciding (`plan`), sealing and committing are the product's own; the loop around them is a small one of this file, which may be stopped
//! between any two steps. Two processes take turns on one lake, the log grows, the store fails before and after it has done its work, and a
//! put that was given up may arrive later. A run depends on nothing but its seed:
//!
//! ```text
//! WK_SIMULATION_SEED=17 cargo test --workspace --ignore-rust-version --test simulation -- --nocapture      one seed, with every step told
//! WK_SIMULATION_SEEDS=1000..5000 cargo test --workspace --ignore-rust-version --test simulation            others than the fixed thousand
//! ```
#![expect(clippy::disallowed_methods, reason = "the seeds to run come from the environment")]

mod world;

use ed25519_dalek::SigningKey;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range as Seeds;
use std::sync::Arc;
use uuid::Uuid;
use wk_ingest::plan::{self, Plan, Step};
use wk_ingest::seal::{Batch, Sealed};
use wk_ingest::synthetic::Synthetic;
use wk_ingest::walk::{SchemaIds, Standing};
use wk_schemas::{Schema, Timestamp, Topic};
use wk_store::files::Files;
use wk_store::verify::{Options, verify};
use wk_store::{CommitError, Lake, OpenError, Source, Writer};
use world::{Log, Random, SCHEMA_ID, Store, Weather};

const FIXED: Seeds<u64> = 0..1000;
const LAKE: Uuid = Uuid::from_u128(1);

fn key() -> SigningKey {
    SigningKey::from_bytes(&[3; 32])
}

/// An ingest process.
struct Process {
    writer: Writer,
    plan: Plan,
    batch: Batch,
    sealed: VecDeque<Sealed>,
}

/// A run of one seed.
struct Run {
    seed: u64,
    random: Arc<Random>,
    log: Log,
    store: Store,
    ids: Arc<SchemaIds>,
    processes: [Option<Process>; 2],
    commits: u128,
    /// What happened, for whoever asks for one seed, and to compare two runs of it.
    told: Vec<String>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let random = Arc::new(Random::new(seed));
        Self {
            seed,
            log: Log::new(),
            store: Store::new(Arc::clone(&random)),
            random,
            ids: Arc::new(SchemaIds::from([(SCHEMA_ID, Standing::Record(Schema::ours()))])),
            processes: [None, None],
            commits: 0,
            told: Vec::new(),
        }
    }

    fn tell(&mut self, who: usize, what: String) {
        self.told.push(format!("process {who}: {what}"));
    }

    /// Opens the lake and goes on where it ends; `false` when that fails.
    async fn start(&mut self, who: usize) -> bool {
        let files = Files::on(self.store.handle());
        let lake = match Lake::create_on(files.clone(), LAKE, Timestamp(0)).await {
            Err(OpenError::Exists) => Lake::open_on(files).await,
            other => other,
        };
        let writer = match lake {
            Ok(lake) => Writer::open(lake, key()).await.map_err(|e| e.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match writer {
            Ok(writer) => {
                let committed = writer.lake().committed();
                let start = |source: &Source| {
                    let start = plan::start(*source, committed.0.get(source).copied(), self.log.holds(*source));
                    (*source, start.expect("this log is never cut off"))
                };
                let plan = Plan::new(self.log.partitions.keys().map(start).collect());
                self.processes[who] = Some(Process { writer, plan, batch: Batch::default(), sealed: VecDeque::new() });
                self.tell(who, "started".into());
                true
            }
            Err(error) => {
                self.tell(who, format!("could not start: {error}"));
                false
            }
        }
    }

    /// Reads some messages of a partition; now and then from further back than it has come, as after a lost connection.
    fn read(&mut self, who: usize, source: Source, count: usize, back: i64) {
        let process = self.processes[who].as_mut().expect("only who runs reads");
        let from = process.plan.next().get(&source).map_or(0, |next| (next - back).max(0));
        let holds = self.log.holds(source);
        let from = usize::try_from(from).expect("offsets are not negative");
        for taken in self.log.partitions[&source].iter().skip(from).flatten().take(count) {
            let absent = match process.plan.step(source, taken.offset) {
                Step::Covered => continue,
                Step::Take => 0,
                Step::Gap { from } => {
                    plan::absent(source, from, taken.offset, holds).expect("the log holds all it ever did")
                }
            };
            process.batch.take(taken.clone(), absent);
        }
    }

    fn seal(&mut self, who: usize) {
        let process = self.processes[who].as_mut().expect("only who runs seals");
        if process.batch.is_empty() {
            return;
        }
        let batch = std::mem::take(&mut process.batch);
        self.commits += 1;
        let id = Uuid::from_u128((u128::from(self.seed + 1) << 64) + self.commits);
        process.sealed.push_back(batch.seal(&self.ids, id, Timestamp(0)).expect("a batch adds up"));
    }

    /// Commits the oldest sealed batch: letters first, then rows and offsets. What fails is tried again, or the process ends.
    async fn commit(&mut self, who: usize) {
        let process = self.processes[who].as_mut().expect("only who runs commits");
        let Some(sealed) = process.sealed.front() else { return };
        if !sealed.letters.is_empty() {
            // 1. Letters, unless somebody else has gone further.
            let Ok(snapshot) = process.writer.lake().refresh().await else { return };
            let ours = |range: &wk_store::Range| {
                snapshot.offsets.0.get(&range.source()).is_none_or(|committed| *committed == range.first)
            };
            if !sealed.commit.ranges().iter().all(ours) {
                self.tell(who, "fenced off before its letters".into());
                self.processes[who] = None;
                return;
            }
            self.log.set_aside(&sealed.letters);
            if self.random.happens(20) {
                self.tell(who, "died behind its letters".into());
                self.processes[who] = None;
                return;
            }
        }
        // 2. Rows and offsets.
        let done = process.writer.commit(&sealed.commit).await;
        match done {
            Ok(version) => {
                process.sealed.pop_front();
                self.tell(who, format!("committed version {version}"));
            }
            Err(error @ (CommitError::Conflict { .. } | CommitError::NotAtEnd { .. })) => {
                self.tell(who, format!("fenced off: {error}"));
                self.processes[who] = None;
            }
            Err(error) => {
                let again = self.random.happens(700);
                self.tell(who, format!("failed: {error}; {}", if again { "it will try again" } else { "it ends" }));
                if !again {
                    self.processes[who] = None;
                }
            }
        }
    }

    async fn step(&mut self, records: &mut Synthetic) {
        let who = usize::from(self.random.happens(300));
        if self.random.happens(100) {
            let rough = Weather::Rough(self.random.below(250));
            self.store.set(if self.random.happens(400) { Weather::Calm } else { rough });
        }
        if self.random.happens(100) {
            self.store.deliver_late().await;
        }
        if self.random.happens(200) {
            let count = self.random.index(40);
            self.log.grow(records, count, &self.random);
        }
        if self.processes[who].is_none() {
            self.start(who).await;
            return;
        }
        match self.random.below(100) {
            0..=44 => {
                let sources: Vec<Source> = self.log.partitions.keys().copied().collect();
                let source = sources[self.random.index(sources.len())];
                let back = if self.random.happens(200) { 5 } else { 0 };
                let count = 1 + self.random.index(30);
                self.read(who, source, count, back);
            }
            45..=64 => self.seal(who),
            65..=96 => self.commit(who).await,
            _ => {
                self.tell(who, "died".into());
                self.processes[who] = None;
            }
        }
    }

    /// The storm is over: one process takes all that is left, dead letters included.
    async fn settle(&mut self) {
        self.store.set(Weather::Calm);
        self.processes = [None, None];
        loop {
            self.store.deliver_late().await;
            assert!(self.start(0).await, "{}", self.why());
            let sources: Vec<Source> = self.log.partitions.keys().copied().collect();
            sources.iter().for_each(|source| self.read(0, *source, usize::MAX, 0));
            self.seal(0);
            let left = self.processes[0].as_ref().is_some_and(|process| !process.sealed.is_empty());
            self.commit(0).await;
            if !left {
                break;
            }
        }
    }

    /// Compares the lake with the log, record by record and offset by offset.
    async fn check(&self) {
        let files = Files::on(self.store.handle());
        let report = verify(&files, &key().verifying_key(), &Options::default(), |_| {}).await.expect("a calm store");
        assert!(report.is_valid(), "{report}\n{}", self.why());
        let snapshot = Lake::open_on(files).await.expect("a calm store").snapshot();
        let mut found: BTreeMap<(Source, i64), usize> = BTreeMap::new();
        for file in &snapshot.files {
            for place in places(self.store.get(&file.path.as_str().into()).await) {
                *found.entry(place).or_default() += 1;
            }
        }
        let mut dead = 0;
        for (source, messages) in &self.log.partitions {
            let messages: Vec<_> = messages.iter().flatten().collect();
            // Offsets behind the last message of a partition are not known to anybody yet.
            let end = messages.last().map_or(0, |last| last.offset + 1);
            assert_eq!(snapshot.offsets.next(*source), end, "{source}: {}", self.why());
            for taken in messages {
                let is_record = wk_ingest::walk::walk(taken, &self.ids).is_ok();
                dead += usize::from(!is_record);
                let times = found.remove(&(*source, taken.offset)).unwrap_or(0);
                let place = taken.offset;
                assert_eq!(times, usize::from(is_record), "{source} {place} is there {times} times: {}", self.why());
            }
        }
        assert!(found.is_empty(), "records that the log never had, {found:?}: {}", self.why());
        assert_eq!(dead, self.log.rubbish, "{}", self.why());
        assert_eq!(usize::try_from(report.dead_letters).unwrap(), dead, "{}", self.why());
        assert_eq!(report.duplicates, 0, "{}", self.why());
        assert!(!self.store.names().await.is_empty());
    }

    fn why(&self) -> String {
        let last = self.told.iter().rev().take(12).rev().fold(String::new(), |all, line| format!("{all}\n  {line}"));
        format!(
            "the last steps of seed {seed} were{last}\nto see it again: WK_SIMULATION_SEED={seed} cargo test --workspace --ignore-rust-version --test simulation -- --nocapture",
            seed = self.seed
        )
    }
}

/// Where the records of a data file were in the log.
fn places(file: bytes::Bytes) -> Vec<(Source, i64)> {
    use arrow::array::AsArray as _;
    use arrow::datatypes::{Int32Type, Int64Type};
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let mut places = Vec::new();
    for batch in reader.build().unwrap() {
        let batch = batch.unwrap();
        let column = |name| batch.column_by_name(name).unwrap();
        let (topic, partition) = (column("topic").as_string::<i32>(), column("partition").as_primitive::<Int32Type>());
        let offset = column("offset").as_primitive::<Int64Type>();
        for row in 0..batch.num_rows() {
            let topic = Topic::from_name(topic.value(row)).unwrap();
            places.push((Source { topic, partition: partition.value(row) }, offset.value(row)));
        }
    }
    places
}

/// Runs a seed and checks what came of it; gives what happened.
fn run(seed: u64) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut run = Run::new(seed);
        let mut records = Synthetic::new(seed);
        let steps = 15 + run.random.index(50);
        for _ in 0..steps {
            run.step(&mut records).await;
        }
        run.settle().await;
        run.check().await;
        run.told
    })
}

fn seeds() -> Seeds<u64> {
    let Ok(text) = std::env::var("WK_SIMULATION_SEEDS") else { return FIXED };
    let (first, end) = text.split_once("..").expect("WK_SIMULATION_SEEDS is `<first>..<end>`");
    first.parse().unwrap()..end.parse().unwrap()
}

#[test]
fn nothing_is_lost_doubled_or_left_out_in_silence() {
    if let Ok(seed) = std::env::var("WK_SIMULATION_SEED") {
        run(seed.parse().unwrap()).iter().for_each(|line| println!("{line}"));
        return;
    }
    let seeds = seeds();
    let next = std::sync::atomic::AtomicU64::new(seeds.start);
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let told: Vec<String> = std::thread::scope(|scope| {
        let work = || {
            let mut told = Vec::new();
            loop {
                let seed = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                if seed >= seeds.end {
                    return told;
                }
                told.extend(run(seed));
            }
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    // Were the storms storms?
    for (what, least) in
        [("committed", 1000), ("fenced off", 100), ("failed", 100), ("died", 100), ("could not start", 20)]
    {
        let times = told.iter().filter(|line| line.contains(what)).count();
        println!("{what}: {times} times");
        assert!(times >= least || seeds != FIXED, "`{what}` only {times} times");
    }
}

#[test]
fn a_seed_gives_the_same_run_each_time() {
    for seed in [7, 8, 9] {
        assert_eq!(run(seed), run(seed));
    }
}
