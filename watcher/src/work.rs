//! The work of the loop: what is held between a saved state and the next, and what is done with each input.
//!
//! The numbered points are those at the head of `run.rs`.

mod save;

use crate::alerts::{Desk, Undelivered};
use crate::decide::{Incoming, Judge, Outgoing, step};
use crate::intake::{self, Unreadable};
use crate::judge::{self, Answered, Job, Worker};
use crate::ladder::{About, By};
use crate::recover::{self, OUTPUTS};
use crate::run::{Input, Watcher};
use crate::session::Session;
use crate::setup::{Setup, WatchError};
use crate::state::{Offsets, StateError};
use crate::{letters, output};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use wk_schemas::{Body, Chain, Header, RecordId, SCHEMA, SessionId, Topic};
use wk_wire::kafka::{Cluster, Producer, Reader};
use wk_wire::registry::RegistryError;
use wk_wire::{Append, Message, frame};

/// Topics that the watcher reads; the findings only where a judge's verdicts are among them.
const INPUTS: [Topic; 3] = [Topic::Events, Topic::Approvals, Topic::Findings];
/// Outputs handed over and not acknowledged; more than this waits.
const UNACKNOWLEDGED_MAX: usize = 2000;
/// Records after which state is saved even if the interval is not over: what a crash repeats at most.
const CHECKPOINT_RECORDS: u64 = 20_000;
/// Checkpoints after which a question that nobody asks any more is answered `unavailable`.
const ORPHANED_AFTER: u64 = 10;

/// A session in memory.
#[derive(Debug, Default)]
struct Live {
    session: Session,
    has_changed: bool,
    /// What it took on disk when it was saved last.
    bytes_saved: usize,
    /// Number of the record that touched it last.
    touched: u64,
}

/// One stretch of watching, from a saved state to a failure or the end.
pub(crate) struct Work<'a> {
    watcher: &'a Watcher,
    /// What is decided by.
    judge: Arc<Judge>,
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
    pub(crate) async fn begin(watcher: &'a Watcher) -> Result<(Self, Reader), WatchError> {
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
            judge: watcher.judge(),
            watcher,
        };
        Ok((work, reader))
    }

    pub(crate) async fn take(&mut self, messages: Vec<Message>) -> Result<(), WatchError> {
        for message in messages {
            self.pass(1);
            match self.read(&message).await? {
                Ok(incoming) => self.decide(incoming).await?,
                // Ingest sets aside what is unreadable among our own findings.
                Err(_) if *message.topic == *Topic::Findings.name() => {}
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
        let decision = step(&mut live.session, &self.judge, &incoming);
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
    pub(crate) async fn outside(&mut self) -> Input {
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
    pub(crate) async fn give_up(&mut self, alert: Undelivered) -> Result<(), WatchError> {
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
    pub(crate) async fn answer(&mut self, answered: Answered) -> Result<(), WatchError> {
        let Answered { question, header, verdict } = answered;
        self.asking.remove(&question.about);
        let about = About { by: By::Judge, tenant: &header.tenant, class: &question.class };
        let step = verdict.score().and_then(|score| self.judge.settings.ladder.of_score(about, score));
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
