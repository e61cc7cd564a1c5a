//! The one loop: reads all five topics from where the lake ends, gathers batches, hands them on to be sealed and committed.
//!
//! ```text
//!            this loop                threads, one per processor          one task, in order
//! log ─► plan ─► batch ──────────► walk, decode, sort, encode, hash ──► dead letters ─► commit
//!          ▲ lake.committed(), never the group's offset            bounded: when full, reading pauses
//! ```

use crate::clock;
use crate::commit::{Committer, Job, until_answered};
use crate::config::Config;
use crate::dead_letter::{DeadLetters, Identity};
use crate::error::{IngestError, chain};
use crate::plan::{self, Plan, PlanError, Step};
use crate::progress::{OnProgress, Progress, Summary};
use crate::same_log;
use crate::schema_ids::Known;
use crate::seal::Batch;
use crate::walk::{Taken, schema_id};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wk_schemas::Topic;
use wk_store::rows::Columns;
use wk_store::{Lake, Offsets, Source, Writer};
use wk_wire::kafka::{AssignError, Cluster, Reader, Watermarks};
use wk_wire::registry;
use wk_wire::{Brokers, Disposition, Message, Read as _, ReadError};

/// The most messages taken from the client library at once.
const READ_MAX: usize = 8192;

/// How long one read waits while no batch does.
const IDLE: Duration = Duration::from_secs(1);

/// How long one read waits while the log is read to its end.
const DRAIN_WAIT: Duration = Duration::from_millis(100);

/// Ingest, ready to run.
pub struct Ingest {
    config: Config,
    brokers: Brokers,
    registry: registry::Client,
    writer: Writer,
    identity: Identity,
    on_progress: OnProgress,
}

impl std::fmt::Debug for Ingest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ingest").field("config", &self.config).field("brokers", &self.brokers).finish_non_exhaustive()
    }
}

impl Ingest {
    /// Puts the parts together; nothing is read yet.
    #[must_use]
    pub fn new(
        config: Config,
        brokers: Brokers,
        registry: registry::Client,
        writer: Writer,
        identity: Identity,
    ) -> Self {
        Self { config, brokers, registry, writer, identity, on_progress: Arc::new(|_| {}) }
    }

    /// Tells `on_progress` of every step, on the task that makes it: it must be quick.
    #[must_use]
    pub fn with_progress(self, on_progress: impl Fn(&Progress) + Send + Sync + 'static) -> Self {
        Self { on_progress: Arc::new(on_progress), ..self }
    }

    /// Runs until `cancel`, then takes what the log held at that moment, commits it, and ends.
    ///
    /// Brokers and registry being away is waited out; a lake that cannot be written for [`Config::commit_time`] is not.
    ///
    /// # Errors
    /// [`IngestError`]. Every batch before the failed one is committed, nothing of the failed one is.
    pub async fn run(self, cancel: CancellationToken) -> Result<Summary, IngestError> {
        let Self { config, brokers, registry, writer, identity, on_progress } = self;
        let Some(starts) = starts(&brokers, writer.lake(), &cancel).await? else { return Ok(Summary::default()) };
        let Some(reader) = assign(&brokers, &starts, &cancel).await? else { return Ok(Summary::default()) };
        let columns = Columns::clone(&writer.lake().snapshot().columns);
        on_progress(&Progress::Started { from: Offsets(starts.clone()) });
        tracing::info!(partitions = starts.len(), "ingest started");
        // Sealed batches are small; those on their way into columns are not, and there are as many as there are workers.
        let (jobs, sealed) = mpsc::channel(config.workers() + 1);
        let workers = Arc::new(Semaphore::new(config.workers()));
        let committer = Committer {
            writer,
            letters: DeadLetters::new(&brokers, registry.clone(), identity),
            brokers,
            group: config.group.clone(),
            commit_time: config.commit_time,
            on_progress: Arc::clone(&on_progress),
            cancel: cancel.clone(),
        };
        let mut committing = tokio::spawn(committer.run(sealed));
        let mut intake = Intake {
            config,
            reader,
            known: Known::new(registry, columns),
            plan: Plan::new(starts),
            batch: Batch::default(),
            due: None,
            workers,
            jobs,
            on_progress,
            cancel,
        };
        let read = intake.run(&mut committing).await;
        // Closing the channel lets the committer finish what it has been given.
        drop(intake);
        let committed = match read {
            Ok(Some(ended)) => ended,
            Ok(None) => joined(committing.await),
            // What was handed on before is still committed; this error came after it.
            Err(error) => joined(committing.await).and(Err(error)),
        };
        if let Ok(summary) = &committed {
            tracing::info!(commits = summary.commits, rows = summary.rows, "ingest stopped");
        }
        committed
    }
}

type Committing = tokio::task::JoinHandle<Result<Summary, IngestError>>;

/// What the loop meets.
enum Input {
    Read(Result<Vec<Message>, ReadError>),
    /// The committer gave up, or ended with the loop.
    Ended(Result<Summary, IngestError>),
    Shutdown,
}

/// The reading side.
struct Intake {
    config: Config,
    reader: Reader,
    known: Known,
    plan: Plan,
    batch: Batch,
    /// When the batch is sealed at the latest.
    due: Option<Instant>,
    workers: Arc<Semaphore>,
    jobs: mpsc::Sender<Job>,
    on_progress: OnProgress,
    cancel: CancellationToken,
}

/// The last stretch after a shutdown was asked for.
struct Drain {
    until: BTreeMap<Source, i64>,
    deadline: Instant,
}

impl Intake {
    /// Reads until a shutdown and hands on everything; gives the committer's own result if that ended first.
    async fn run(&mut self, committing: &mut Committing) -> Result<Option<Result<Summary, IngestError>>, IngestError> {
        let mut drain: Option<Drain> = None;
        loop {
            let input = tokio::select! {
                biased;
                () = self.cancel.cancelled(), if drain.is_none() => Input::Shutdown,
                ended = &mut *committing => Input::Ended(joined(ended)),
                read = self.reader.next_batch(READ_MAX, wait(self.due, drain.is_some())) => Input::Read(read),
            };
            match input {
                Input::Shutdown => drain = Some(self.drain().await),
                Input::Ended(ended) => return Ok(Some(ended)),
                Input::Read(Ok(messages)) => {
                    if !self.take(messages).await? {
                        drain = Some(Drain::over());
                    }
                }
                Input::Read(Err(error)) if error.disposition() == Disposition::Retry && drain.is_none() => {
                    tracing::warn!(error = chain(&error), "the log does not answer; trying again");
                    self.cancel.run_until_cancelled(tokio::time::sleep(IDLE)).await;
                }
                Input::Read(Err(error)) if error.disposition() == Disposition::Retry => drain = Some(Drain::over()),
                Input::Read(Err(error)) => return Err(error.into()),
            }
            let over = drain.as_ref().is_some_and(|drain| drain.is_over(&self.plan));
            if over || self.due.is_some_and(|due| Instant::now() >= due) {
                self.seal().await;
            }
            if over || self.jobs.is_closed() {
                return Ok(None);
            }
        }
    }

    /// Takes messages into the batch; `false` when a shutdown came while registry or brokers were away, and reading must end here.
    async fn take(&mut self, messages: Vec<Message>) -> Result<bool, IngestError> {
        if !self.learn(&messages).await? {
            return Ok(false);
        }
        for message in messages {
            let Some(topic) = Topic::from_name(&message.topic) else { continue };
            let source = Source { topic, partition: message.partition };
            let absent = match self.plan.step(source, message.offset) {
                Step::Covered => continue,
                Step::Take => 0,
                Step::Gap { from } => match self.absent(source, from, message.offset).await? {
                    Some(absent) => absent,
                    None => return Ok(false),
                },
            };
            let taken = Taken::new(source, message);
            if self.batch.is_full_for(&taken) {
                self.seal().await;
            }
            self.batch.take(taken, absent);
            if self.due.is_none() {
                self.due = Some(Instant::now() + self.config.seal_interval);
            }
            let full = self.batch.len() >= self.config.seal_records.get();
            if full || self.batch.bytes() >= self.config.seal_bytes.get() {
                self.seal().await;
            }
        }
        Ok(true)
    }

    /// Learns the schema ids of messages; `false` when a shutdown came before the registry answered.
    async fn learn(&mut self, messages: &[Message]) -> Result<bool, IngestError> {
        let known = self.known.ids();
        let new: Vec<i32> =
            messages.iter().filter_map(|m| schema_id(&m.value)).filter(|id| !known.contains_key(id)).collect();
        let mut tries = crate::commit::Tries::new(Duration::MAX);
        loop {
            match self.known.learn(new.iter().copied()).await {
                Ok(()) => return Ok(true),
                Err(error) if error.disposition() == Disposition::Retry => {
                    if !tries.again(&error, &self.cancel).await {
                        return Ok(false);
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Makes sure that offsets which were not delivered were never there to be delivered; `None` when a shutdown came first.
    async fn absent(&self, source: Source, from: i64, to: i64) -> Result<Option<i64>, IngestError> {
        let cluster = self.reader.cluster();
        let ask = || cluster.watermarks(source.topic.name(), source.partition);
        let Some(holds) = until_answered(&self.cancel, ReadError::disposition, ask).await else { return Ok(None) };
        let absent = plan::absent(source, from, to, holds?)?;
        tracing::warn!(%source, from, to, "the log holds no messages at these offsets");
        Ok(Some(absent))
    }

    /// Hands the batch on, once there is room for it. When the committer has given up it is dropped: it is still in the log.
    async fn seal(&mut self) {
        self.due = None;
        if self.batch.is_empty() {
            return;
        }
        let batch = std::mem::take(&mut self.batch);
        let worker = Arc::clone(&self.workers).acquire_owned().await.expect("nobody closes it");
        let Ok(room) = self.jobs.reserve().await else { return };
        (self.on_progress)(&Progress::Sealed { messages: batch.len() });
        let (ids, id, at) = (self.known.ids(), clock::commit_id(), clock::now());
        room.send(tokio::task::spawn_blocking(move || {
            let sealed = batch.seal(&ids, id, at);
            drop(worker);
            sealed
        }));
    }

    /// Where the log ends now.
    async fn drain(&self) -> Drain {
        let deadline = Instant::now() + self.config.drain_time;
        let ends = ends(self.reader.cluster(), self.plan.next().keys().copied());
        match tokio::time::timeout_at(deadline, ends).await {
            Ok(Ok(until)) => Drain { until, deadline },
            Ok(Err(error)) => {
                tracing::warn!(
                    error = chain(&error),
                    "the log does not say where it ends; stopping with what has been read"
                );
                Drain::over()
            }
            Err(_) => Drain::over(),
        }
    }
}

impl Drain {
    fn over() -> Self {
        Self { until: BTreeMap::new(), deadline: Instant::now() }
    }

    fn is_over(&self, plan: &Plan) -> bool {
        let reached = |(source, end): (&Source, &i64)| plan.next().get(source).is_some_and(|next| next >= end);
        Instant::now() >= self.deadline || self.until.iter().all(reached)
    }
}

fn wait(due: Option<Instant>, draining: bool) -> Duration {
    let longest = if draining { DRAIN_WAIT } else { IDLE };
    due.map_or(longest, |due| due.saturating_duration_since(Instant::now()).min(longest))
}

fn joined(ended: Result<Result<Summary, IngestError>, tokio::task::JoinError>) -> Result<Summary, IngestError> {
    match ended {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

async fn ends(cluster: &Cluster, sources: impl Iterator<Item = Source>) -> Result<BTreeMap<Source, i64>, ReadError> {
    let mut ends = BTreeMap::new();
    for source in sources {
        ends.insert(source, cluster.watermarks(source.topic.name(), source.partition).await?.high);
    }
    Ok(ends)
}

/// Where to start in every partition of every topic; `None` when a shutdown comes before the log answers.
async fn starts(
    brokers: &Brokers,
    lake: &Lake,
    cancel: &CancellationToken,
) -> Result<Option<BTreeMap<Source, i64>>, IngestError> {
    let cluster = Cluster::connect(brokers)?;
    let Some(held) = until_answered(cancel, ReadError::disposition, || held(&cluster)).await else { return Ok(None) };
    let (held, committed) = (held?, lake.committed());
    if let Some(&source_partition) = committed.0.keys().find(|source| !held.contains_key(source)) {
        return Err(PlanError::Gone { source_partition }.into());
    }
    let start = |(source, holds): (&Source, &Watermarks)| {
        let committed = committed.0.get(source).copied();
        plan::start(*source, committed, *holds).map(|start| (*source, start))
    };
    let starts = held.iter().map(start).collect::<Result<_, _>>()?;
    while !same_log::check(brokers, lake, &held).await? {
        tracing::warn!("the log does not hand out what it holds; trying again");
        if cancel.is_cancelled() {
            return Ok(None);
        }
    }
    Ok(Some(starts))
}

async fn held(cluster: &Cluster) -> Result<BTreeMap<Source, Watermarks>, ReadError> {
    let mut held = BTreeMap::new();
    for topic in Topic::ALL {
        for partition in cluster.partitions(topic.name()).await? {
            held.insert(Source { topic, partition }, cluster.watermarks(topic.name(), partition).await?);
        }
    }
    Ok(held)
}

async fn assign(
    brokers: &Brokers,
    starts: &BTreeMap<Source, i64>,
    cancel: &CancellationToken,
) -> Result<Option<Reader>, IngestError> {
    let starts: Vec<(&str, i32, i64)> =
        starts.iter().map(|(source, offset)| (source.topic.name(), source.partition, *offset)).collect();
    let disposition = |error: &AssignError| match error {
        AssignError::Read(error) => error.disposition(),
        AssignError::Brokers(_) => Disposition::Stop,
    };
    let reader = until_answered(cancel, disposition, || Reader::assign_eager(brokers, &starts)).await;
    Ok(reader.transpose()?)
}
