//! The loop around the core: reads records, decides, writes what follows, saves how far it has come.
//!
//! ```text
//! 1  a message is read                                   a crash here, or at
//! 2  it is decided; nothing is written                   any point before 5,
//! 3  an output is handed to the log                      repeats the work since
//! 4  every output so far is acknowledged                 the last checkpoint;
//! 5  sessions, chains and offsets are saved at once      outputs on the log are
//! 6  and survive a loss of power                         known by their ids
//! ```
//! The saved state is always one that the log can bring forward: it never speaks of an output that is not acknowledged.

use crate::alerts::{Desk, Receiver, Undelivered};
use crate::config::Config;
use crate::decide::{Incoming, Judge, Outgoing, step};
use crate::intake::{self, Unreadable};
use crate::judge::{self, Answered, Client, Job, Policy, Worker};
use crate::ladder::{About, By};
use crate::recover::{self, OUTPUTS};
use crate::rules::Rules;
use crate::session::{ChainEnd, Session};
use crate::state::{Checkpoint, Offsets, Progress, State, StateError};
use crate::{letters, output};
use ed25519_dalek::{SigningKey, VerifyingKey};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use wk_schemas::{Body, Chain, Header, RecordId, SCHEMA, SessionId, Topic};
use wk_wire::kafka::{BrokersError, Cluster, Lag, Producer, Reader};
use wk_wire::registry::{self, RegistryError};
use wk_wire::{Append, AppendError, Brokers, Disposition, Message, Read as _, ReadError, frame};

/// Topics that the watcher reads; the findings only where a judge's verdicts are among them.
const INPUTS: [Topic; 3] = [Topic::Events, Topic::Approvals, Topic::Findings];
/// Messages taken at once. Nothing waits for a batch to fill.
const BATCH_MAX: usize = 256;
/// Outputs handed over and not acknowledged; more than this waits.
const UNACKNOWLEDGED_MAX: usize = 2000;
/// Records after which state is saved even if the interval is not over: what a crash repeats at most.
const CHECKPOINT_RECORDS: u64 = 20_000;
/// How long to wait before trying again what failed because something was away.
const BACKOFF: Duration = Duration::from_millis(500);
/// Checkpoints after which a question that nobody asks any more is answered `unavailable`.
const ORPHANED_AFTER: u64 = 10;
/// Checkpoints between two reports of lag.
const REPORT_EVERY: u64 = 10;

/// What the watcher needs beside its configuration.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The log.
    pub brokers: Brokers,
    /// The log's schemas.
    pub registry: registry::Client,
    /// Folder of the watcher's state.
    pub state: PathBuf,
    /// Signs commands.
    pub command_key: SigningKey,
    /// Whose approvals count.
    pub approvers: Vec<VerifyingKey>,
    /// Tenant that dead letters are written under.
    pub tenant: String,
    /// Name of this host.
    pub host: String,
    /// Told whenever a numbered point is passed; for tests that crash there.
    pub points: Points,
}

/// Somebody to be told of the numbered points at the head of this file.
#[derive(Clone, Default)]
pub struct Points(Option<Arc<dyn Fn(u32) + Send + Sync>>);

impl Points {
    /// Tells `f`.
    pub fn telling(f: impl Fn(u32) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(f)))
    }

    fn pass(&self, point: u32) {
        if let Some(f) = &self.0 {
            f(point);
        }
    }
}

impl std::fmt::Debug for Points {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Points").field(&self.0.is_some()).finish()
    }
}

/// The watcher cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// A folder of rules cannot be read.
    #[error("the rules in `{path}` cannot be read")]
    Rules {
        /// The folder or file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The state on disk.
    #[error(transparent)]
    State(#[from] StateError),
    /// The brokers' configuration.
    #[error(transparent)]
    Brokers(BrokersError),
    /// Reading the log.
    #[error("the log cannot be read")]
    Read(#[source] Box<ReadError>),
    /// Writing to the log.
    #[error("an output of the watcher cannot be written")]
    Append(#[source] Box<AppendError>),
    /// The registry.
    #[error("the schema registry gave no answer")]
    Registry(#[source] Box<RegistryError>),
    /// The judge, or a receiver of alerts, cannot be used as it is configured.
    #[error("the judge or a receiver of alerts cannot be used as it is configured")]
    Endpoint(#[from] judge::ClientError),
    /// Saving state in the background broke down.
    #[error("saving the watcher's state broke down")]
    Flush(#[from] tokio::task::JoinError),
}

impl WatchError {
    /// What the loop does about it: begin again from the saved state, or end.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Read(error) => error.disposition(),
            // A new producer may write again what is in doubt: what is on the log is found there first.
            Self::Append(error) => match **error {
                AppendError::InDoubt { .. } => Disposition::Retry,
                _ => error.disposition(),
            },
            Self::Registry(error) => error.disposition(),
            Self::Rules { .. } | Self::State(_) | Self::Brokers(_) | Self::Endpoint(_) | Self::Flush(_) => {
                Disposition::Stop
            }
        }
    }
}

impl From<ReadError> for WatchError {
    fn from(error: ReadError) -> Self {
        Self::Read(Box::new(error))
    }
}

impl From<AppendError> for WatchError {
    fn from(error: AppendError) -> Self {
        Self::Append(Box::new(error))
    }
}

impl From<RegistryError> for WatchError {
    fn from(error: RegistryError) -> Self {
        Self::Registry(Box::new(error))
    }
}

impl From<BrokersError> for WatchError {
    fn from(error: BrokersError) -> Self {
        Self::Brokers(error)
    }
}

/// The watcher, its rules loaded and its state open.
#[derive(Debug)]
pub struct Watcher {
    config: Config,
    setup: Setup,
    judge: Judge,
    /// Who is asked, by which policy.
    model: Option<(Client, Policy)>,
    receivers: Vec<Arc<Receiver>>,
    state: State,
}

impl Watcher {
    /// Loads the rules and opens the state. A faulty rule is traced and left out.
    ///
    /// # Errors
    /// [`WatchError::Rules`] when a folder cannot be read, [`WatchError::State`] when the state is in use or damaged,
    /// [`WatchError::Endpoint`] when a judge or a receiver is configured that cannot be used.
    pub fn open(config: Config, setup: Setup) -> Result<Self, WatchError> {
        let mut sources = crate::rules::Sources::embedded();
        for path in &config.rules {
            sources.add_path(path).map_err(|source| WatchError::Rules { path: path.clone(), source })?;
        }
        let rules = Rules::compile(&sources);
        for problem in &rules.problems {
            warn!(file = %problem.file, line = problem.line, problem = %problem.message, "rule left out");
        }
        info!(rules = rules.all().count(), pack_digest = %rules.pack_digest, "rules in force");
        let state = State::open(&setup.state)?;
        let settings = config.settings(&setup.command_key.verifying_key());
        let judge = Judge { rules, approvers: setup.approvers.clone(), settings };
        let model = config.judge.clone().map(judge::open).transpose()?;
        let receivers = config.alerts.iter().map(|c| Receiver::new(c.clone()).map(Arc::new));
        let receivers = receivers.collect::<Result<Vec<_>, _>>()?;
        Ok(Self { config, setup, judge, model, receivers, state })
    }

    /// Lets others see how far it has come, also while it runs.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.state.progress()
    }

    /// Watches until `cancel` is cancelled. While brokers or registry are away it waits for them and then goes on.
    ///
    /// # Errors
    /// [`WatchError`] when going on would lose or invent something; the next start recovers.
    pub async fn run(self, cancel: CancellationToken) -> Result<(), WatchError> {
        loop {
            match Box::pin(self.watch(&cancel)).await {
                Ok(()) => return Ok(()),
                Err(error) if error.disposition() == Disposition::Retry => {
                    warn!(error = &error as &dyn std::error::Error, "watching is interrupted; trying again");
                }
                Err(error) => return Err(error),
            }
            tokio::select! {
                () = cancel.cancelled() => return Ok(()),
                () = tokio::time::sleep(BACKOFF) => {}
            }
        }
    }

    /// Watches from the saved state on, until it is cancelled or something fails.
    async fn watch(&self, cancel: &CancellationToken) -> Result<(), WatchError> {
        let Some((mut work, mut reader)) = cancelled(cancel, Work::begin(self)).await.transpose()? else {
            return Ok(());
        };
        let mut tick = tokio::time::interval(self.config.checkpoint_interval);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let input = tokio::select! {
                biased;
                () = cancel.cancelled() => Input::Shutdown,
                _ = tick.tick() => Input::Tick,
                input = work.outside() => input,
                batch = reader.next_batch(BATCH_MAX, self.config.checkpoint_interval) => Input::Messages(batch?),
            };
            let done = match input {
                Input::Messages(messages) => cancelled(cancel, work.take(messages)).await,
                Input::Verdict(verdict) => cancelled(cancel, work.answer(*verdict)).await,
                Input::Undelivered(alert) => cancelled(cancel, work.give_up(alert)).await,
                Input::Tick => cancelled(cancel, work.checkpoint()).await,
                Input::Shutdown => {
                    // What is not acknowledged by then is found, or written again, by the next start.
                    let last = tokio::time::timeout(Duration::from_secs(5), work.checkpoint()).await;
                    last.unwrap_or(Ok(()))?;
                    self.state.flush()?;
                    return Ok(());
                }
            };
            // Cut off in the middle: what is in memory is ahead of what was read, so it is not saved; the next start repeats it.
            let Some(done) = done else { return Ok(()) };
            done?;
        }
    }
}

/// Everything that the loop reacts to.
enum Input {
    Messages(Vec<Message>),
    Verdict(Box<Answered>),
    Undelivered(Undelivered),
    Tick,
    Shutdown,
}

/// The outcome of `future`, or `None` when it was cancelled first; state in memory is then not used any more.
async fn cancelled<T>(cancel: &CancellationToken, future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => None,
        done = future => Some(done),
    }
}

/// A session in memory.
#[derive(Debug, Default)]
struct Live {
    session: Session,
    has_changed: bool,
    /// Number of the record that touched it last.
    touched: u64,
}

/// One stretch of watching, from a saved state to a failure or the end.
struct Work<'a> {
    watcher: &'a Watcher,
    producer: Producer,
    /// Schema ids that outputs are framed with.
    schemas: BTreeMap<Topic, i32>,
    /// Which schema ids are ours.
    known_schemas: BTreeMap<i32, bool>,
    sessions: BTreeMap<SessionId, Live>,
    chains: BTreeMap<(Topic, SessionId), Chain>,
    moved_chains: BTreeSet<(Topic, SessionId)>,
    /// Outputs that were on the log when this stretch began, behind the saved state.
    written_before: BTreeSet<RecordId>,
    read: Offsets,
    written: Offsets,
    unacknowledged: Vec<(Topic, <Producer as Append>::Delivery)>,
    flushing: Option<tokio::task::JoinHandle<Result<(), StateError>>>,
    cluster: Cluster,
    /// The judge, and the records that it is being asked about.
    worker: Option<Worker>,
    asking: BTreeSet<RecordId>,
    /// Questions that were open when their session came from disk, and in which checkpoint: nobody is asking them any more.
    orphans: Vec<(Header, RecordId, u64)>,
    /// Tells receivers of alerts; `None` where there are none.
    desk: Option<Desk>,
    /// Ends the worker with this stretch.
    _stop: tokio_util::sync::DropGuard,
    records: u64,
    records_saved: u64,
    checkpoints: u64,
}

impl<'a> Work<'a> {
    async fn begin(watcher: &'a Watcher) -> Result<(Self, Reader), WatchError> {
        let Setup { brokers, registry, .. } = &watcher.setup;
        let (mut schemas, mut known_schemas) = (BTreeMap::new(), BTreeMap::new());
        for topic in INPUTS.into_iter().chain(OUTPUTS) {
            let id = registry.register(topic.name(), SCHEMA).await?;
            schemas.insert(topic, id);
            known_schemas.insert(id, true);
        }
        let cluster = Cluster::connect(brokers)?;
        let (mut read, written) = watcher.state.offsets()?;
        let before = recover::read(brokers, &cluster, &written).await?;
        for topic in INPUTS.into_iter().filter(|t| *t != Topic::Findings || watcher.model.is_some()) {
            for partition in cluster.partitions(topic.name()).await? {
                if let Entry::Vacant(unread) = read.entry((topic, partition)) {
                    unread.insert(cluster.watermarks(topic.name(), partition).await?.low);
                }
            }
        }
        let starts: Vec<(&str, i32, i64)> = read.iter().map(|((t, p), o)| (t.name(), *p, *o)).collect();
        let reader = Reader::assign(brokers, &starts).await?;
        info!(partitions = starts.len(), outputs_found = before.ids.len(), "watching");
        let stop = CancellationToken::new();
        let worker = watcher.model.clone().map(|(client, policy)| Worker::start(client, policy, stop.child_token()));
        let desk = match &watcher.receivers[..] {
            [] => None,
            receivers => Some(Desk::start(receivers, brokers, &cluster, &watcher.state).await?),
        };
        let work = Self {
            worker,
            asking: BTreeSet::new(),
            orphans: Vec::new(),
            desk,
            _stop: stop.drop_guard(),
            producer: Producer::connect(brokers)?,
            schemas,
            known_schemas,
            sessions: BTreeMap::new(),
            moved_chains: before.chains.keys().cloned().collect(),
            chains: before.chains,
            written_before: before.ids,
            read,
            written: before.ends,
            unacknowledged: Vec::new(),
            flushing: None,
            cluster,
            records: 0,
            records_saved: 0,
            checkpoints: 0,
            watcher,
        };
        Ok((work, reader))
    }

    async fn take(&mut self, messages: Vec<Message>) -> Result<(), WatchError> {
        for message in messages {
            self.pass(1);
            match self.read(&message).await? {
                Ok(incoming) => self.decide(incoming).await?,
                // Ingest sets aside what is unreadable among our own findings.
                Err(_) if message.topic == Topic::Findings.name() => {}
                Err(unreadable) => self.set_aside(&message, &unreadable).await?,
            }
            if let Some(topic) = Topic::from_name(&message.topic) {
                self.read.insert((topic, message.partition), message.offset + 1);
            }
            self.records += 1;
        }
        if self.records - self.records_saved >= CHECKPOINT_RECORDS {
            self.checkpoint().await?;
        }
        Ok(())
    }

    async fn read(&mut self, message: &Message) -> Result<Result<Incoming, Unreadable>, WatchError> {
        let is_ours = match intake::schema_id(message) {
            None => false,
            Some(id) => match self.known_schemas.get(&id) {
                Some(is_ours) => *is_ours,
                None => self.ask_registry(id).await?,
            },
        };
        Ok(intake::read(message, is_ours))
    }

    /// Whether a schema id is that of an audit record. That an id is unknown is not kept: it may be registered later.
    async fn ask_registry(&mut self, id: i32) -> Result<bool, WatchError> {
        match self.watcher.setup.registry.by_id(id).await {
            Ok(schema) => {
                let schema: serde_json::Value = serde_json::from_str(&schema).unwrap_or_default();
                let is_ours = schema["name"] == "AuditRecord" && schema["namespace"] == "watchkeeper.v1";
                self.known_schemas.insert(id, is_ours);
                Ok(is_ours)
            }
            Err(RegistryError::UnknownSchema { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn decide(&mut self, incoming: Incoming) -> Result<(), WatchError> {
        if incoming.topic == Topic::Findings && !judge::is_verdict(&incoming.record) {
            return Ok(());
        }
        let id = incoming.record.header.session_id.clone();
        if !self.sessions.contains_key(&id) {
            let session = self.watcher.state.session(&id)?.unwrap_or_default();
            let open = session.judge.open.iter().map(|about| RecordId(*about)).filter(|r| !self.asking.contains(r));
            let header = &incoming.record.header;
            self.orphans.extend(open.map(|about| (header.clone(), about, self.checkpoints)));
            self.sessions.insert(id.clone(), Live { session, ..Live::default() });
        }
        let live = self.sessions.entry(id.clone()).or_default();
        live.has_changed = true;
        live.touched = self.records;
        let decision = step(&mut live.session, &self.watcher.judge, &incoming);
        self.pass(2);
        let header = incoming.record.header;
        // Commands first: somebody waits for them.
        for outgoing in decision.commands.into_iter().chain(decision.findings) {
            trace_output(&id, &outgoing);
            self.write(outgoing, &header).await?;
        }
        for question in decision.questions {
            // A verdict that is on the log already comes from there.
            if self.written_before.contains(&judge::verdict_id(question.about)) {
                continue;
            }
            let about = question.about;
            let job = Job { question, header: header.clone() };
            match self.worker.as_ref().map(|w| w.ask(job)) {
                Some(Ok(())) => {
                    self.asking.insert(about);
                }
                Some(Err(answered)) => self.answer(*answered).await?,
                None => {}
            }
        }
        Ok(())
    }

    /// What comes from beside the log: the judge's next verdict, or an alert that could not be delivered.
    async fn outside(&mut self) -> Input {
        let verdict = async {
            match &mut self.worker {
                Some(worker) => worker.next().await,
                None => std::future::pending().await,
            }
        };
        let undelivered = async {
            match &mut self.desk {
                Some(desk) => desk.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            answered = verdict => Input::Verdict(Box::new(answered)),
            alert = undelivered => Input::Undelivered(alert),
        }
    }

    /// Puts an alert that could not be delivered on the dead-letter topic; its receiver goes on once it is there.
    async fn give_up(&mut self, alert: Undelivered) -> Result<(), WatchError> {
        let Undelivered { message, receiver, reason, done } = alert;
        let Setup { tenant, host, .. } = &self.watcher.setup;
        let reason = format!("alert to `{receiver}` not delivered: {reason}");
        let (header, out) = letters::letters(&message, &reason, tenant, host);
        for mut outgoing in out {
            // One letter for each receiver.
            outgoing.id = RecordId::derived(&[outgoing.id], &receiver);
            self.write(outgoing, &header).await?;
        }
        self.settle().await?;
        if done.send(()).is_err() {
            debug!(%receiver, "the receiver's task has ended");
        }
        Ok(())
    }

    /// Puts a verdict on the log. It is acted upon when it is read from there.
    async fn answer(&mut self, answered: Answered) -> Result<(), WatchError> {
        let Answered { question, header, verdict } = answered;
        self.asking.remove(&question.about);
        let about = About { by: By::Judge, tenant: &header.tenant, class: &question.class };
        let step = verdict.score().and_then(|score| self.watcher.judge.settings.ladder.of_score(about, score));
        let at = question.asked_at.plus_micros(verdict.cost.latency_us);
        let outgoing = judge::outgoing(&verdict, step, at, &header.session_id, &self.watcher.setup.command_key);
        trace_output(&header.session_id, &outgoing);
        self.write(outgoing, &header).await
    }

    /// Answers `unavailable` to what nobody asks any more, once verdicts that were on their way have been read.
    async fn answer_orphans(&mut self) -> Result<(), WatchError> {
        let checkpoints = self.checkpoints;
        let (due, wait): (Vec<_>, Vec<_>) = std::mem::take(&mut self.orphans)
            .into_iter()
            .partition(|(_, _, since)| checkpoints.saturating_sub(*since) >= ORPHANED_AFTER);
        self.orphans = wait;
        for (header, about, _) in due {
            let is_open =
                self.sessions.get(&header.session_id).is_some_and(|l| l.session.judge.open.contains(&about.0));
            if is_open && !self.asking.contains(&about) {
                let key = &self.watcher.setup.command_key;
                let outgoing = judge::outgoing(&judge::lost(about), None, header.occurred_at, &header.session_id, key);
                self.write(outgoing, &header).await?;
            }
        }
        Ok(())
    }

    async fn set_aside(&mut self, message: &Message, unreadable: &Unreadable) -> Result<(), WatchError> {
        let Message { topic, partition, offset, .. } = message;
        warn!(%topic, partition, offset, reason = %unreadable, "message set aside");
        let Setup { tenant, host, .. } = &self.watcher.setup;
        let (header, out) = letters::letters(message, &unreadable.to_string(), tenant, host);
        for outgoing in out {
            self.write(outgoing, &header).await?;
        }
        Ok(())
    }

    /// Hands a record to the log, unless it was there when this stretch began.
    async fn write(&mut self, outgoing: Outgoing, like: &Header) -> Result<(), WatchError> {
        if self.written_before.contains(&outgoing.id) {
            return Ok(());
        }
        let topic = outgoing.topic;
        let place = (topic, like.session_id.clone());
        if !self.chains.contains_key(&place) {
            let end = self.watcher.state.chain(topic, &like.session_id)?.unwrap_or_default();
            self.chains.insert(place.clone(), end.chain());
        }
        let chain = self.chains.entry(place.clone()).or_default();
        let (_, datum) = output::seal(outgoing, like, chain, &self.watcher.setup.command_key);
        self.moved_chains.insert(place);
        let value = frame(self.schemas.get(&topic).copied().unwrap_or_default(), &datum);
        let delivery = self.producer.submit(topic.name(), like.session_id.as_str().as_bytes(), &value).await?;
        self.unacknowledged.push((topic, delivery));
        self.pass(3);
        if self.unacknowledged.len() >= UNACKNOWLEDGED_MAX {
            self.settle().await?;
        }
        Ok(())
    }

    /// Waits until every output is acknowledged.
    async fn settle(&mut self) -> Result<(), WatchError> {
        for (topic, delivery) in std::mem::take(&mut self.unacknowledged) {
            let at = delivery.await?;
            // Where the log does not say, reading begins a little earlier after a crash, which is harmless.
            if let Some(offset) = at.offset {
                let end = self.written.entry((topic, at.partition)).or_default();
                *end = (*end).max(offset + 1);
            }
        }
        Ok(())
    }

    /// Saves sessions, chains and offsets, once everything that follows from them is on the log.
    async fn checkpoint(&mut self) -> Result<(), WatchError> {
        self.checkpoints += 1;
        if self.checkpoints.is_multiple_of(REPORT_EVERY) {
            self.report();
        }
        self.answer_orphans().await?;
        if self.records == self.records_saved {
            return Ok(());
        }
        self.settle().await?;
        self.pass(4);
        if let Some(flushing) = self.flushing.take() {
            flushing.await??;
        }
        let chains = self.moved_chains.iter().filter_map(|place| {
            let chain = self.chains.get(place)?;
            Some((place.0, &place.1, ChainEnd::from(*chain)))
        });
        let checkpoint = Checkpoint {
            read: self.read.clone(),
            written: self.written.clone(),
            sessions: self.sessions.iter().filter(|(_, l)| l.has_changed).map(|(id, l)| (id, &l.session)).collect(),
            chains: chains.collect(),
        };
        self.watcher.state.save(&checkpoint)?;
        self.pass(5);
        let state = self.watcher.state.clone();
        self.flushing = Some(tokio::task::spawn_blocking(move || state.flush()));
        self.pass(6);
        self.moved_chains.clear();
        self.records_saved = self.records;
        self.sessions.values_mut().for_each(|l| l.has_changed = false);
        self.forget();
        Ok(())
    }

    /// Lets go of the sessions that were touched longest ago, when there are more than may be in memory. They are on disk.
    fn forget(&mut self) {
        let most = self.watcher.config.sessions_in_memory.max(1);
        if self.sessions.len() <= most {
            return;
        }
        let mut touched: Vec<u64> = self.sessions.values().map(|l| l.touched).collect();
        touched.sort_unstable();
        let oldest_kept = touched[touched.len() - most];
        self.sessions.retain(|_, l| l.touched >= oldest_kept);
        let sessions = &self.sessions;
        self.chains.retain(|(_, id), _| sessions.contains_key(id));
    }

    /// Publishes how far reading has come, for displays; deciding does not wait for it.
    fn report(&self) {
        debug!(records = self.records, sessions = self.sessions.len(), "watched so far");
        let (brokers, group) = (self.watcher.setup.brokers.clone(), self.watcher.config.group.clone());
        let offsets: Vec<(Topic, i32, i64)> = self.read.iter().map(|((t, p), o)| (*t, *p, *o)).collect();
        let cluster = self.cluster.clone();
        tokio::spawn(async move {
            let named: Vec<(&str, i32, i64)> = offsets.iter().map(|(t, p, o)| (t.name(), *p, *o)).collect();
            if let Err(error) = Lag::publish(&brokers, &group, &named).await {
                debug!(%error, "the lag could not be published");
            }
            for (topic, partition, next) in offsets {
                if let Ok(holds) = cluster.watermarks(topic.name(), partition).await {
                    debug!(%topic, partition, lag = holds.high - next, "lag");
                }
            }
        });
    }

    fn pass(&self, point: u32) {
        self.watcher.setup.points.pass(point);
    }
}

fn trace_output(session_id: &SessionId, outgoing: &Outgoing) {
    match &outgoing.body {
        Body::Finding(f) => {
            info!(%session_id, rule = %f.title, step = f.step.as_str(), id = %outgoing.id, "finding raised")
        }
        Body::Command(c) => {
            info!(%session_id, instruction = c.instruction.as_str(), by = %c.by, id = %outgoing.id, "command issued");
        }
        _ => {}
    }
}
