//! Takes events, gives each its place in the session's chain, and keeps it until the log has it.
//!
//! ```text
//! record() ── seal ── spool (write) ──► taken
//!                        │ flusher: group of records, fsync
//!                        ▼
//!                  sled (outbox) ──► durable          both ──► drain ──► log ──► acked, forgotten
//! ```
//! A record that counts as taken survives `kill -9` of the shim; the flusher makes it survive a loss of power within
//! `FLUSH_EVERY`; what the log has acknowledged in the meantime is not written a second time. Nothing is dropped: when a
//! record cannot be taken, the caller is told, and the agent must stop.

use crate::clock;
use crate::outbox::{Acked, Outbox, OutboxError};
use crate::spool::Spool;
use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use wk_schemas::body::RecordsLost;
use wk_schemas::{Body, Chain, Digest, Header, MAX_RECORD_BYTES, Origin, RecordId, SessionId, codec};

/// A record as encoded, with its seq.
pub(crate) type Numbered = (i64, Arc<[u8]>);

pub use crate::contract::{Event, RecordError, Recorder};

/// How long a record waits for company before it is flushed, unless somebody waits for it.
const FLUSH_EVERY: Duration = Duration::from_millis(20);

/// A segment of the spool is closed at this size even when the log keeps up.
const SEGMENT_BYTES_MAX: u64 = 8 << 20;

/// What is left of the limits for the shim's own last words: that it froze, why it ended.
const RESERVE_RECORDS: u64 = 64;
const RESERVE_BYTES: u64 = 256 << 10;

/// Who writes the shim's records.
pub const WRITER: &str = "shim";

/// What every record of a session says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The session.
    pub session_id: SessionId,
    /// The tenant.
    pub tenant: String,
    /// Name of the host.
    pub host: String,
    /// Name of the agent.
    pub agent_name: Option<String>,
    /// Version of the agent.
    pub agent_version: Option<String>,
    /// Model that drives the agent.
    pub agent_model: Option<String>,
    /// On whose behalf the agent runs.
    pub principal: Option<String>,
    /// Digest of the policy in force.
    pub policy_digest: Option<String>,
}

/// How much an outbox may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most records that wait for the log.
    pub records_max: u64,
    /// The most bytes that wait for the log.
    pub bytes_max: u64,
}

impl Limits {
    /// Part of the limits at which the session is frozen, so that what is under way still finds room; and the part to
    /// which the outbox must drain before a session that was frozen for this goes on.
    const HIGH: (u64, u64) = (8, 10);
    const LOW: (u64, u64) = (5, 10);

    fn is_over(self, (part, whole): (u64, u64), records: u64, bytes: u64) -> bool {
        records >= self.records_max.saturating_mul(part) / whole || bytes >= self.bytes_max.saturating_mul(part) / whole
    }
}

/// Whether the outbox leaves the agent room to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pressure {
    /// There is room.
    Low,
    /// The outbox is nearly full: the session must stand still until it has drained.
    High,
    /// Nothing can be taken any more: the session must end.
    Failed,
}

/// The records of one session, from the moment they are taken until the log has them.
#[derive(Debug)]
pub struct Journal {
    state: Mutex<State>,
    /// Something changed that a thread waits for: the flusher, a caller of `record_durable`, a guard of the pressure.
    changed: Condvar,
    /// There may be something to send.
    pub(crate) arrived: tokio::sync::Notify,
    outbox: Outbox,
    limits: Limits,
    flusher: Mutex<Option<std::thread::JoinHandle<()>>>,
}

#[derive(Debug)]
struct State {
    identity: Identity,
    chain: Chain,
    spool: Spool,
    /// Records that are in the spool and not yet in the database, oldest first.
    pending: VecDeque<Numbered>,
    /// The first seq that is not yet safe from a loss of power.
    durable_until: i64,
    /// The first seq that the log has not acknowledged.
    acked_until: i64,
    waiting_records: u64,
    waiting_bytes: u64,
    /// The last record of the chain, so that a session that died can be closed.
    last_kind: Option<wk_schemas::Kind>,
    pressure: Pressure,
    hurry: bool,
    was_full: bool,
    failed: Option<String>,
    closed: bool,
}

impl Journal {
    /// Opens the journal of a session; a journal that another process left is taken up where it ended.
    ///
    /// # Errors
    /// [`OutboxError`] when the folder is in use, cannot be read, or holds something else.
    pub fn open(folder: &Path, identity: Identity, limits: Limits) -> Result<Arc<Self>, OutboxError> {
        let outbox = Outbox::open(folder)?;
        let io = |source| OutboxError::Io { path: folder.to_owned(), source };
        let (spool, found) = Spool::open(folder).map_err(io)?;
        let acked = outbox.acked()?;
        let acked_until = acked.as_ref().map_or(0, |a| a.seq + 1);
        let damaged = || OutboxError::Damaged { path: folder.to_owned() };

        // 1. What the spool has goes into the database. A crash here repeats it.
        let mut spooled = Vec::with_capacity(found.data.len());
        for datum in &found.data {
            let seq = codec::walk(datum).map_err(|_| damaged())?.seq;
            if seq >= acked_until {
                spooled.push((seq, datum.as_slice()));
            }
        }
        outbox.put(spooled.iter().copied())?;
        // 2. From here on the spool's old segments say nothing new.
        for segment in &found.segments {
            fs::remove_file(segment).map_err(io)?;
        }

        let last = match outbox.last()? {
            Some((_, datum)) => Some(datum),
            None => acked.map(|a| a.datum),
        };
        let mut chain = Chain::default();
        let mut last_kind = None;
        if let Some(datum) = &last {
            let view = codec::walk(datum).map_err(|_| damaged())?;
            chain = Chain { next_seq: view.seq + 1, last: Digest::of(datum) };
            last_kind = Some(view.kind);
        }
        let (waiting_records, waiting_bytes) = outbox.size()?;
        let journal = Arc::new(Self {
            state: Mutex::new(State {
                identity,
                chain,
                spool,
                pending: VecDeque::new(),
                durable_until: chain.next_seq,
                acked_until,
                waiting_records,
                waiting_bytes,
                last_kind,
                pressure: Pressure::Low,
                hurry: false,
                was_full: false,
                failed: None,
                closed: false,
            }),
            changed: Condvar::new(),
            arrived: tokio::sync::Notify::new(),
            outbox,
            limits,
            flusher: Mutex::new(None),
        });
        let weak = Arc::clone(&journal);
        let thread =
            std::thread::Builder::new().name("wk-flush".into()).spawn(move || weak.flush_until_closed()).map_err(io)?;
        *journal.flusher.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(journal)
    }

    /// Reads who wrote the outbox in `folder`, from the last record in it.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn identity_in(folder: &Path) -> Result<Option<Identity>, OutboxError> {
        let outbox = Outbox::open(folder)?;
        let found = crate::spool::read(folder).map_err(|source| OutboxError::Io { path: folder.to_owned(), source })?;
        let datum = match found.data.into_iter().next_back() {
            Some(datum) => Some(datum),
            None => match outbox.last()? {
                Some((_, datum)) => Some(datum),
                None => outbox.acked()?.map(|a| a.datum),
            },
        };
        let Some(datum) = datum else { return Ok(None) };
        let header = codec::decode(&datum).map_err(|_| OutboxError::Damaged { path: folder.to_owned() })?.header;
        Ok(Some(Identity {
            session_id: header.session_id,
            tenant: header.tenant,
            host: header.host,
            agent_name: header.agent_name,
            agent_version: header.agent_version,
            agent_model: header.agent_model,
            principal: header.principal,
            policy_digest: header.policy_digest,
        }))
    }

    /// The folder of the outbox.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.outbox.folder().to_owned()
    }

    /// The session.
    #[must_use]
    pub fn session_id(&self) -> SessionId {
        self.lock().identity.session_id.clone()
    }

    /// The kind of the last record, and how many records there are in the chain.
    #[must_use]
    pub fn tail(&self) -> (Option<wk_schemas::Kind>, i64) {
        let state = self.lock();
        (state.last_kind, state.chain.next_seq)
    }

    /// Changes what later records say about the agent; `None` leaves a value as it is.
    pub fn set_agent(&self, name: Option<String>, version: Option<String>, model: Option<String>) {
        let identity = &mut self.lock().identity;
        identity.agent_name = name.or(identity.agent_name.take());
        identity.agent_version = version.or(identity.agent_version.take());
        identity.agent_model = model.or(identity.agent_model.take());
    }

    /// Changes what later records say about the policy in force.
    pub fn set_policy(&self, digest: String) {
        self.lock().identity.policy_digest = Some(digest);
    }

    /// Whether events were refused because too many wait for the log.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.lock().was_full
    }

    /// Waits until the pressure is another than `known`, or the journal is closed (`None`).
    #[must_use]
    pub fn pressure_after(&self, known: Pressure) -> Option<Pressure> {
        let state = self
            .changed
            .wait_while(self.lock(), |s| s.pressure == known && !s.closed)
            .unwrap_or_else(PoisonError::into_inner);
        (!state.closed).then_some(state.pressure)
    }

    /// Records and bytes that wait for the log.
    #[must_use]
    pub fn waiting(&self) -> (u64, u64) {
        let state = self.lock();
        (state.waiting_records, state.waiting_bytes)
    }

    /// Takes no more, makes durable what was taken, and ends the flusher. What waits for the log stays.
    ///
    /// # Errors
    /// [`RecordError::Storage`] when something could not be made durable; it is in the spool.
    pub fn close(&self) -> Result<(), RecordError> {
        self.lock().closed = true;
        self.changed.notify_all();
        self.arrived.notify_one();
        let thread = self.flusher.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            return Err(RecordError::Storage { detail: "the flusher panicked".into() });
        }
        self.lock().failed.clone().map_or(Ok(()), |detail| Err(RecordError::Storage { detail }))
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    pub(crate) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// At most `max` records from `seq` on, in order; from memory when they are there.
    pub(crate) fn read_from(&self, seq: i64, max: usize) -> Result<Vec<Numbered>, OutboxError> {
        {
            let state = self.lock();
            if seq >= state.chain.next_seq {
                return Ok(Vec::new());
            }
            if let Some((first, _)) = state.pending.front()
                && *first <= seq
            {
                let skip = usize::try_from(seq - first).unwrap_or(usize::MAX);
                return Ok(state.pending.iter().skip(skip).take(max).cloned().collect());
            }
        }
        let stored = self.outbox.read_from(seq, max)?;
        if stored.is_empty() {
            // What lies before `seq` in memory's stead was acknowledged long ago.
            let state = self.lock();
            return Ok(state.pending.iter().filter(|(s, _)| *s >= seq).take(max).cloned().collect());
        }
        Ok(stored.into_iter().map(|(seq, datum)| (seq, datum.into())).collect())
    }

    /// The first seq that the log has not acknowledged.
    pub(crate) fn acked_until(&self) -> i64 {
        self.lock().acked_until
    }

    /// The log has everything up to and including `acked.seq`: `records` records of `bytes` bytes more than before.
    pub(crate) fn acknowledge(&self, acked: &Acked, records: u64, bytes: u64) -> Result<(), OutboxError> {
        // The database first: when it fails, the records are sent again, which readers bear.
        self.outbox.forget(acked)?;
        let mut state = self.lock();
        state.acked_until = state.acked_until.max(acked.seq + 1);
        state.waiting_records = state.waiting_records.saturating_sub(records);
        state.waiting_bytes = state.waiting_bytes.saturating_sub(bytes);
        if state.pressure == Pressure::High
            && !self.limits.is_over(Limits::LOW, state.waiting_records, state.waiting_bytes)
        {
            state.pressure = Pressure::Low;
            self.changed.notify_all();
        }
        Ok(())
    }

    /// The log was found to have everything up to and including `acked.seq`.
    pub(crate) fn found_in_log(&self, acked: &Acked) -> Result<(), OutboxError> {
        let (mut seq, mut records, mut bytes) = (self.acked_until(), 0, 0);
        while seq <= acked.seq {
            let batch = self.read_from(seq, 1000)?;
            let Some((last, _)) = batch.last() else { break };
            seq = last + 1;
            for (_, datum) in batch.iter().filter(|(seq, _)| *seq <= acked.seq) {
                records += 1;
                bytes += datum.len() as u64;
            }
        }
        self.acknowledge(acked, records, bytes)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while the lock was held left at most a record that is in the spool and not in `pending`; the next start
        // finds it. To stop recording because of it would be worse.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, event: Event) -> Result<(RecordId, i64), RecordError> {
        let id = RecordId(clock::new_id());
        let mut state = self.lock();
        if state.closed {
            return Err(RecordError::Storage { detail: "the session has ended".into() });
        }
        let own = event.origin == Origin::Shim;
        if let Some(detail) = &state.failed {
            // The shim's last words still get a chance: the reserve was given back to the disk.
            if !own {
                return Err(RecordError::Storage { detail: detail.clone() });
            }
        }
        if let Err(full) = self.check_room(&state, own) {
            state.was_full = true;
            return Err(full);
        }
        let header = header(&state.identity, id, &event);
        let mut chain = state.chain;
        let (mut record, mut datum) = chain.seal(header, event.body);
        if datum.len() > MAX_RECORD_BYTES {
            chain = state.chain;
            let lost = lost(record.kind(), datum.len());
            (record, datum) = chain.seal(record.header, lost);
        }
        if let Err(error) = state.spool.append(&datum, chain.last) {
            let detail = format!("{}: {error}", self.outbox.folder().display());
            self.fail(&mut state, detail.clone());
            return Err(RecordError::Storage { detail });
        }
        let seq = state.chain.next_seq;
        state.chain = chain;
        state.last_kind = Some(record.kind());
        state.waiting_records += 1;
        state.waiting_bytes += datum.len() as u64;
        state.pending.push_back((seq, datum.into()));
        let over = self.limits.is_over(Limits::HIGH, state.waiting_records, state.waiting_bytes);
        if over && state.pressure == Pressure::Low {
            state.pressure = Pressure::High;
            self.changed.notify_all();
        } else if state.pending.len() == 1 {
            self.changed.notify_all();
        }
        drop(state);
        self.arrived.notify_one();
        Ok((id, seq))
    }

    fn check_room(&self, state: &State, own: bool) -> Result<(), RecordError> {
        let (more_records, more_bytes) = if own { (RESERVE_RECORDS, RESERVE_BYTES) } else { (0, 0) };
        if state.waiting_records >= self.limits.records_max.saturating_add(more_records) {
            return Err(RecordError::Full { detail: format!("{} records wait for the log", state.waiting_records) });
        }
        if state.waiting_bytes >= self.limits.bytes_max.saturating_add(more_bytes) {
            return Err(RecordError::Full { detail: format!("{} bytes wait for the log", state.waiting_bytes) });
        }
        Ok(())
    }

    fn fail(&self, state: &mut State, detail: String) {
        tracing::error!(%detail, "the outbox cannot be written");
        // A full disk gets these bytes back, for the records that say so.
        state.spool.release_reserve();
        state.failed.get_or_insert(detail);
        state.pressure = Pressure::Failed;
        self.changed.notify_all();
    }

    fn flush_until_closed(&self) {
        loop {
            let mut state = self
                .changed
                .wait_while(self.lock(), |s| !s.closed && (s.pending.is_empty() || s.failed.is_some()))
                .unwrap_or_else(PoisonError::into_inner);
            if state.pending.is_empty() || state.failed.is_some() {
                return;
            }
            if !state.hurry && !state.closed {
                state = self
                    .changed
                    .wait_timeout_while(state, FLUSH_EVERY, |s| !s.hurry && !s.closed)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0;
            }
            let state = self.flush(state);
            if state.closed && (state.pending.is_empty() || state.failed.is_some()) {
                return;
            }
        }
    }

    /// Moves what is pending into the database, without holding the lock while the disk works.
    fn flush<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        state.hurry = false;
        let records: Vec<Numbered> =
            state.pending.iter().filter(|(seq, _)| *seq >= state.acked_until).cloned().collect();
        let Some(until) = state.pending.back().map(|(seq, _)| seq + 1) else { return state };
        if records.is_empty() && state.spool.bytes() < SEGMENT_BYTES_MAX && !state.closed {
            // The log was faster. The segment stays until it is worth a new one: a crash finds acknowledged records in it
            // and skips them.
            state.pending.clear();
            state.durable_until = until;
            return state;
        }
        let before = match state.spool.rotate() {
            Ok(before) => before,
            Err(error) => {
                let detail = format!("{}: {error}", self.outbox.folder().display());
                self.fail(&mut state, detail);
                return state;
            }
        };
        drop(state);
        let stored = self.outbox.put(records.iter().map(|(seq, datum)| (*seq, &**datum)));
        let removed =
            stored.and_then(|()| fs::remove_file(&before).map_err(|source| OutboxError::Io { path: before, source }));
        let mut state = self.lock();
        match removed {
            Ok(()) => {
                while state.pending.front().is_some_and(|(seq, _)| *seq < until) {
                    state.pending.pop_front();
                }
                state.durable_until = until;
                self.sweep(&state);
                self.changed.notify_all();
            }
            Err(error) => {
                let detail = error.to_string();
                self.fail(&mut state, detail);
            }
        }
        state
    }

    /// Removes records that the log acknowledged while they were on their way into the database.
    fn sweep(&self, state: &State) {
        if let Err(error) = self.outbox.drop_before(state.acked_until) {
            tracing::warn!(%error, "acknowledged records stay in the outbox");
        }
    }
}

impl Recorder for Journal {
    fn record(&self, event: Event) -> Result<RecordId, RecordError> {
        self.take(event).map(|(id, _)| id)
    }

    fn record_durable(&self, event: Event) -> Result<RecordId, RecordError> {
        let (id, seq) = self.take(event)?;
        let mut state = self.lock();
        while state.durable_until <= seq && state.acked_until <= seq {
            if let Some(detail) = &state.failed {
                return Err(RecordError::Storage { detail: detail.clone() });
            }
            if !state.hurry {
                state.hurry = true;
                self.changed.notify_all();
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(id)
    }
}

fn header(identity: &Identity, record_id: RecordId, event: &Event) -> Header {
    Header {
        record_id,
        session_id: identity.session_id.clone(),
        writer: WRITER.into(),
        seq: 0,
        prev_digest: Digest::ZERO,
        occurred_at: event.occurred_at,
        origin: event.origin,
        caused_by: event.caused_by.clone(),
        tenant: identity.tenant.clone(),
        host: identity.host.clone(),
        agent_name: identity.agent_name.clone(),
        agent_version: identity.agent_version.clone(),
        agent_model: identity.agent_model.clone(),
        principal: identity.principal.clone(),
        policy_digest: identity.policy_digest.clone(),
    }
}

fn lost(kind: wk_schemas::Kind, bytes: usize) -> Body {
    RecordsLost {
        count: 1,
        stage: "outbox".into(),
        reason: format!("a {kind} of {bytes} bytes is over the limit of {MAX_RECORD_BYTES}"),
    }
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};
    use wk_schemas::body::SessionResumed;
    use wk_schemas::{Record, Timestamp};

    pub(crate) fn identity(session: &str) -> Identity {
        Identity {
            session_id: SessionId::parse(session).unwrap(),
            tenant: "default".into(),
            host: "here".into(),
            agent_name: None,
            agent_version: None,
            agent_model: None,
            principal: None,
            policy_digest: None,
        }
    }

    const ROOMY: Limits = Limits { records_max: 1_000_000, bytes_max: 1 << 30 };

    fn event(text: &str, origin: Origin) -> Event {
        let body = SessionResumed { command_id: None, took_us: 0, reason: text.into() };
        Event { origin, caused_by: Vec::new(), occurred_at: Timestamp(1), body: body.into() }
    }

    fn stored(folder: &Path) -> Vec<Record> {
        let journal = Journal::open(folder, identity("s"), ROOMY).unwrap();
        let records = journal.read_from(0, usize::MAX).unwrap();
        let mut chain = Chain::default();
        let out = records
            .iter()
            .map(|(seq, datum)| {
                let record = codec::decode(datum).unwrap();
                assert_eq!(*seq, record.header.seq);
                chain.follow(record.header.seq, record.header.prev_digest, datum).unwrap();
                record
            })
            .collect();
        journal.close().unwrap();
        out
    }

    fn reason(record: &Record) -> &str {
        match &record.body {
            Body::SessionResumed(body) => &body.reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_closed_journal_is_continued_where_it_ended() {
        let folder = tempfile::tempdir().unwrap();
        for part in 0..3 {
            let journal = Journal::open(folder.path(), identity("s"), ROOMY).unwrap();
            for n in 0..5 {
                journal.record(event(&format!("{part}/{n}"), Origin::Kernel)).unwrap();
            }
            journal.close().unwrap();
        }
        let reasons: Vec<_> = stored(folder.path()).iter().map(|r| reason(r).to_owned()).collect();
        let expected: Vec<_> = (0..3).flat_map(|p| (0..5).map(move |n| format!("{p}/{n}"))).collect();
        assert_eq!(reasons, expected);
        assert_eq!(Journal::identity_in(folder.path()).unwrap(), Some(identity("s")));
    }

    #[test]
    fn what_was_acknowledged_is_gone_and_the_chain_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(folder.path(), identity("s"), ROOMY).unwrap();
        for n in 0..4 {
            journal.record_durable(event(&n.to_string(), Origin::Kernel)).unwrap();
        }
        let sent = journal.read_from(0, 9).unwrap();
        let datum = sent[3].1.to_vec();
        journal.acknowledge(&Acked { seq: 3, partition: 0, offset: 9, datum: datum.clone() }, 4, 1).unwrap();
        journal.close().unwrap();
        drop(journal);
        let journal = Journal::open(folder.path(), identity("s"), ROOMY).unwrap();
        assert!(journal.read_from(0, 9).unwrap().is_empty());
        journal.record(event("next", Origin::Kernel)).unwrap();
        let next = codec::decode(&journal.read_from(0, 9).unwrap()[0].1).unwrap();
        assert_eq!((next.header.seq, next.header.prev_digest), (4, Digest::of(&datum)));
        journal.close().unwrap();
    }

    #[test]
    fn a_full_outbox_presses_before_it_refuses_and_keeps_room_for_the_shims_last_words() {
        let folder = tempfile::tempdir().unwrap();
        let limits = Limits { records_max: 10, bytes_max: 1 << 20 };
        let journal = Journal::open(folder.path(), identity("s"), limits).unwrap();
        for n in 0..7 {
            journal.record(event(&n.to_string(), Origin::Kernel)).unwrap();
        }
        let watching = Arc::clone(&journal);
        let guard = std::thread::spawn(move || watching.pressure_after(Pressure::Low));
        journal.record(event("7", Origin::Kernel)).unwrap();
        assert_eq!(guard.join().unwrap(), Some(Pressure::High));
        journal.record(event("8", Origin::Kernel)).unwrap();
        journal.record(event("9", Origin::Kernel)).unwrap();
        let error = journal.record(event("10", Origin::Kernel)).unwrap_err();
        assert!(matches!(error, RecordError::Full { .. }), "{error}");
        journal.record(event("last words", Origin::Shim)).unwrap();
        let last = journal.read_from(6, 1).unwrap()[0].1.to_vec();
        journal.acknowledge(&Acked { seq: 6, partition: 0, offset: 6, datum: last }, 7, 0).unwrap();
        assert_eq!(journal.pressure_after(Pressure::High), Some(Pressure::Low));
        journal.close().unwrap();
    }

    #[test]
    fn a_record_that_is_too_big_is_recorded_as_lost() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(folder.path(), identity("s"), ROOMY).unwrap();
        journal.record(event(&"x".repeat(MAX_RECORD_BYTES), Origin::Kernel)).unwrap();
        journal.close().unwrap();
        drop(journal);
        let Body::RecordsLost(lost) = &stored(folder.path())[0].body else { panic!() };
        assert!(lost.reason.starts_with("a session_resumed of "), "{}", lost.reason);
    }

    /// Runs one test of this file in a process of its own, with `folder` in its environment.
    fn alone(test: &str, folder: &Path, wrapper: &[&str]) -> Command {
        let program = std::env::current_exe().unwrap();
        let mut words: Vec<std::ffi::OsString> = wrapper.iter().map(Into::into).collect();
        words.push(program.into());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args(["--exact", "--nocapture", "--test-threads=1"]);
        command.arg(format!("recorder::tests::{test}")).env("WK_TEST_FOLDER", folder);
        command
    }

    #[expect(clippy::disallowed_methods, reason = "how a test that runs itself is told its folder")]
    fn folder_of_child() -> Option<PathBuf> {
        std::env::var_os("WK_TEST_FOLDER").map(Into::into)
    }

    /// The child of the next test: says how many records were taken, until it is killed.
    #[test]
    fn child_that_records_until_it_is_killed() {
        use std::io::Write;
        let Some(folder) = folder_of_child() else { return };
        let journal = Journal::open(&folder, identity("s"), ROOMY).unwrap();
        for n in 0_u64.. {
            journal.record(event(&n.to_string(), Origin::Kernel)).unwrap();
            writeln!(std::io::stdout(), "taken {n}").unwrap();
        }
    }

    #[test]
    fn what_counts_as_taken_survives_kill_9_at_any_moment() {
        use std::io::{BufRead, BufReader};
        for lines in [1_usize, 40, 400, 4000, 12000] {
            let folder = tempfile::tempdir().unwrap();
            let mut command = alone("child_that_records_until_it_is_killed", folder.path(), &[]);
            let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
            let output = BufReader::new(child.stdout.take().unwrap());
            let mut taken = 0;
            for line in output.lines() {
                let line = line.unwrap();
                // The test harness prints its own words before the first line.
                if let Some((_, n)) = line.rsplit_once("taken ") {
                    taken = n.parse::<usize>().unwrap() + 1;
                }
                if taken == lines {
                    child.kill().unwrap();
                }
            }
            child.wait().unwrap();
            let records = stored(folder.path());
            assert!(records.len() >= taken, "{} of {taken}", records.len());
            for (n, record) in records.iter().enumerate() {
                assert_eq!(reason(record), n.to_string());
            }
        }
    }

    /// The child of the next test: fills its disk, and must still get its last words out.
    #[test]
    fn child_that_fills_its_disk() {
        let Some(folder) = folder_of_child() else { return };
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "none"]).arg(&folder).status();
        assert!(mounted.unwrap().success());
        let folder = folder.join("outbox");
        let journal = Journal::open(&folder, identity("s"), ROOMY).unwrap();
        let text = "x".repeat(10_000);
        let mut taken = 0;
        let error = loop {
            match journal.record(event(&text, Origin::Kernel)) {
                Ok(_) => taken += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(&error, RecordError::Storage { detail } if detail.contains("No space left")), "{error}");
        assert_eq!(journal.pressure_after(Pressure::Low), Some(Pressure::Failed));
        journal.record(event("last words", Origin::Shim)).unwrap();
        assert!(journal.record(event("more", Origin::Kernel)).is_err());
        // What was taken is still there to be sent, last words included.
        let mut seq = 0;
        while let Some((next, _)) = journal.read_from(seq, 100).unwrap().last() {
            seq = next + 1;
        }
        assert_eq!(seq, taken + 1);
    }

    #[test]
    fn a_full_disk_stops_recording_by_name_and_loses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let can_mount = Command::new("unshare").args(["-m", "true"]).status().is_ok_and(|s| s.success());
        if !can_mount {
            eprintln!("SKIPPED: a full disk: `unshare -m` is refused here");
            return;
        }
        let status = alone("child_that_fills_its_disk", folder.path(), &["unshare", "-m"]).status().unwrap();
        assert!(status.success());
    }
}
