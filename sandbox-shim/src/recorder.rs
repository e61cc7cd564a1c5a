//! Takes events, gives each its place in the session's chain, and keeps it until the log has it.
//!
//! ```text
//! record() ── seal ── spool (one write) ──► taken ──► drain ──► log ──► acked, removed
//!                        │ flusher: fdatasync
//!                        └──► durable
//! ```
//! A record that counts as taken survives `kill -9` of the shim; the flusher makes it survive a loss of power within
//! `FLUSH_EVERY`, unless the log has acknowledged it in the meantime. Nothing is dropped: when a record cannot be taken, the
//! caller is told, and the agent must stop.
//!
//! Taking a record wakes nobody as a rule: the agent's system call waits for it, and a wake-up costs more than the record. The
//! flusher and the drain look by themselves, a moment after the first record that they have not seen.

use crate::clock;
use crate::outbox::{Acked, Outbox, OutboxError};
use crate::spool::{self, Numbered, Reader, Spool};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use wk_schemas::body::RecordsLost;
use wk_schemas::{Body, Chain, Digest, Header, MAX_RECORD_BYTES, Origin, RecordId, SessionId, Timestamp, codec};

pub use crate::contract::{Event, RecordError, Recorder};

/// How long a record may stay unsafe from a loss of power, unless somebody waits for it. Each flush makes the disk write what the
/// agent wrote as well, so flushing often slows the agent; a loss of power costs the agent's own files far more than this.
const FLUSH_EVERY: Duration = Duration::from_millis(100);

/// How long a record waits for company on its way to the log, unless somebody waits for it.
const GATHER_FOR: Duration = Duration::from_millis(4);

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
    /// There is something to flush, at once or after a while.
    to_flush: Condvar,
    /// Something became durable, or never will.
    flushed: Condvar,
    /// The pressure has changed, or the journal is closed.
    pressed: Condvar,
    /// There is something to send to a drain that had nothing to do.
    arrived: tokio::sync::Notify,
    /// What is to be sent does not wait for company.
    hurried: tokio::sync::Notify,
    outbox: Outbox,
    reader: Mutex<Reader>,
    limits: Limits,
    flusher: Mutex<Option<std::thread::JoinHandle<()>>>,
}

#[derive(Debug)]
struct State {
    identity: Identity,
    /// What all records have in common, from `identity`; the rest is as the last record left it.
    header: Header,
    chain: Chain,
    spool: Spool,
    /// The first seq that is not yet safe from a loss of power.
    durable_until: i64,
    /// The first seq that the log has not acknowledged.
    acked_until: i64,
    waiting_records: u64,
    waiting_bytes: u64,
    /// The last record of the chain, so that a session that died can be closed.
    last_kind: Option<wk_schemas::Kind>,
    pressure: Pressure,
    /// Somebody waits until what was taken is durable.
    hurry: bool,
    /// The flusher waits for something to do.
    flusher_idle: bool,
    /// The drain waits for something to send.
    drain_idle: bool,
    was_full: bool,
    failed: Option<String>,
    closed: bool,
}

impl State {
    /// Changes what later records say about themselves.
    fn become_another(&mut self, change: impl FnOnce(&mut Identity)) {
        change(&mut self.identity);
        self.header = header(&self.identity);
    }

    /// Whether something is neither durable nor on the log.
    fn has_unflushed(&self) -> bool {
        self.durable_until.max(self.acked_until) < self.chain.next_seq
    }
}

impl Journal {
    /// Opens the journal of a session; a journal that another process left is taken up where it ended.
    ///
    /// # Errors
    /// [`OutboxError`] when the folder is in use, cannot be read, or holds something else.
    pub fn open(folder: &Path, identity: Identity, limits: Limits) -> Result<Arc<Self>, OutboxError> {
        let outbox = Outbox::open(folder)?;
        let io = |source| OutboxError::Io { path: folder.to_owned(), source };
        let damaged = || OutboxError::Damaged { path: folder.to_owned() };
        let acked = outbox.acked()?;
        let acked_until = acked.as_ref().map_or(0, |a| a.seq + 1);
        let (spool, found) = Spool::open(folder, acked_until).map_err(|source| match source.kind() {
            std::io::ErrorKind::InvalidData => damaged(),
            _ => io(source),
        })?;
        if found.torn_bytes > 0 {
            tracing::warn!(
                bytes = found.torn_bytes,
                "the outbox holds the beginning of a record that was being written"
            );
        }
        let mut chain = Chain::default();
        let mut last_kind = None;
        // After a loss of power the log may have more than the spool, which was not flushed because the log was faster.
        for datum in found.last.into_iter().chain(acked.map(|a| a.datum)) {
            let view = codec::walk(&datum).map_err(|_| damaged())?;
            if view.seq >= chain.next_seq {
                chain = Chain::after(view.seq, &datum);
                last_kind = Some(view.kind);
            }
        }
        let journal = Arc::new(Self {
            state: Mutex::new(State {
                header: header(&identity),
                identity,
                chain,
                spool,
                // What an earlier process left may not be on the disk yet.
                durable_until: acked_until,
                acked_until,
                waiting_records: found.records,
                waiting_bytes: found.bytes,
                last_kind,
                pressure: Pressure::Low,
                hurry: false,
                flusher_idle: false,
                drain_idle: false,
                was_full: false,
                failed: None,
                closed: false,
            }),
            to_flush: Condvar::new(),
            flushed: Condvar::new(),
            pressed: Condvar::new(),
            arrived: tokio::sync::Notify::new(),
            hurried: tokio::sync::Notify::new(),
            outbox,
            reader: Mutex::default(),
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
    /// As [`Journal::open`]; one that is in use is not waited for.
    pub fn identity_in(folder: &Path) -> Result<Option<Identity>, OutboxError> {
        let outbox = Outbox::open_if_free(folder)?;
        let last = spool::last_in(folder).map_err(|source| OutboxError::Io { path: folder.to_owned(), source })?;
        let datum = match last {
            Some(datum) => Some(datum),
            None => outbox.acked()?.map(|a| a.datum),
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
        self.lock().become_another(|identity| {
            identity.agent_name = name.or(identity.agent_name.take());
            identity.agent_version = version.or(identity.agent_version.take());
            identity.agent_model = model.or(identity.agent_model.take());
        });
    }

    /// Changes what later records say about the policy in force.
    pub fn set_policy(&self, digest: String) {
        self.lock().become_another(|identity| identity.policy_digest = Some(digest));
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
            .pressed
            .wait_while(self.lock(), |s| s.pressure == known && !s.closed)
            .unwrap_or_else(PoisonError::into_inner);
        (!state.closed).then_some(state.pressure)
    }

    /// Waits as long as the outbox is nearly full.
    pub fn wait_for_room(&self) {
        let nearly_full = |state: &mut State| state.pressure == Pressure::High && !state.closed;
        drop(self.pressed.wait_while(self.lock(), nearly_full).unwrap_or_else(PoisonError::into_inner));
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
        self.to_flush.notify_all();
        self.pressed.notify_all();
        self.arrived.notify_one();
        self.hurried.notify_one();
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

    /// At most `max` records from `seq` on that the log has not acknowledged, in order.
    pub(crate) fn read_from(&self, seq: i64, max: usize) -> Result<Vec<Numbered>, OutboxError> {
        let mut out = Vec::new();
        let mut seq = seq.max(self.acked_until());
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        while out.len() < max {
            let Some(segment) = self.lock().spool.segment_of(seq) else { break };
            let left = max - out.len();
            let io = |source| OutboxError::Io { path: self.folder(), source };
            reader.read(self.outbox.folder(), &segment, seq, left, &mut out).map_err(io)?;
            seq = out.last().map_or(seq, |(seq, _)| seq + 1);
        }
        Ok(out)
    }

    /// Waits until there is a record at or behind `seq` and has been for a moment, or the journal is closed. Cancel safe.
    pub(crate) async fn gathered(&self, seq: i64) {
        loop {
            {
                let mut state = self.lock();
                let is_there = state.chain.next_seq > seq;
                state.drain_idle = !is_there;
                if state.closed {
                    return;
                }
                if is_there {
                    break;
                }
            }
            self.arrived.notified().await;
        }
        tokio::select! {
            () = tokio::time::sleep(GATHER_FOR) => {}
            () = self.hurried.notified() => {}
        }
    }

    /// The first seq that the log has not acknowledged.
    pub(crate) fn acked_until(&self) -> i64 {
        self.lock().acked_until
    }

    /// The log has everything up to and including `acked.seq`: `records` records of `bytes` bytes more than before.
    pub(crate) fn acknowledge(&self, acked: &Acked, records: u64, bytes: u64) -> Result<(), OutboxError> {
        // The database first: when it fails, the records are sent again, which readers bear.
        self.outbox.set_acked(acked)?;
        let mut state = self.lock();
        state.acked_until = state.acked_until.max(acked.seq + 1);
        state.waiting_records = state.waiting_records.saturating_sub(records);
        state.waiting_bytes = state.waiting_bytes.saturating_sub(bytes);
        if state.pressure == Pressure::High
            && !self.limits.is_over(Limits::LOW, state.waiting_records, state.waiting_bytes)
        {
            state.pressure = Pressure::Low;
            self.pressed.notify_all();
        }
        let waited_for = state.hurry;
        let acked_until = state.acked_until;
        let over = state.spool.take_before(acked_until);
        drop(state);
        if waited_for {
            self.flushed.notify_all();
        }
        if !over.is_empty() {
            // 1. What the next record is chained to is remembered for good.
            self.outbox.flush()?;
            // 2. Then the records may go. A crash in between leaves them, and the next start skips them.
            for path in over {
                fs::remove_file(&path).map_err(|source| OutboxError::Io { path, source })?;
            }
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
        // A panic while the lock was held left at most a record that is in the spool and not in the chain; the next start
        // finds it. To stop recording because of it would be worse.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, event: Event, hurry: bool) -> Result<(RecordId, i64), RecordError> {
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
        let mut body = event.body;
        let mut chain = state.chain;
        let header = &mut state.header;
        header.record_id = id;
        header.occurred_at = event.occurred_at;
        header.origin = event.origin;
        header.caused_by = event.caused_by;
        let mut datum = chain.seal_parts(header, &body);
        if datum.len() > MAX_RECORD_BYTES {
            chain = state.chain;
            body = lost(body.kind(), datum.len());
            datum = chain.seal_parts(&mut state.header, &body);
        }
        let seq = state.chain.next_seq;
        if let Err(error) = state.spool.append(seq, &datum, chain.last) {
            let detail = format!("{}: {error}", self.outbox.folder().display());
            self.fail(&mut state, detail.clone());
            return Err(RecordError::Storage { detail });
        }
        state.chain = chain;
        state.last_kind = Some(body.kind());
        state.waiting_records += 1;
        state.waiting_bytes += datum.len() as u64;
        let over = self.limits.is_over(Limits::HIGH, state.waiting_records, state.waiting_bytes);
        if over && state.pressure == Pressure::Low {
            state.pressure = Pressure::High;
            self.pressed.notify_all();
        }
        state.hurry |= hurry;
        let flush = hurry || std::mem::take(&mut state.flusher_idle);
        let send = std::mem::take(&mut state.drain_idle);
        drop(state);
        if flush {
            self.to_flush.notify_all();
        }
        if send {
            self.arrived.notify_one();
        }
        if hurry {
            self.hurried.notify_one();
        }
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
        self.pressed.notify_all();
        self.flushed.notify_all();
        self.to_flush.notify_all();
    }

    fn flush_until_closed(&self) {
        let mut state = self.lock();
        loop {
            state.flusher_idle = true;
            state = self
                .to_flush
                .wait_while(state, |s| !s.closed && s.failed.is_none() && !s.has_unflushed())
                .unwrap_or_else(PoisonError::into_inner);
            state.flusher_idle = false;
            if state.failed.is_some() || !state.has_unflushed() {
                return;
            }
            state = self
                .to_flush
                .wait_timeout_while(state, FLUSH_EVERY, |s| !s.hurry && !s.closed && s.failed.is_none())
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            if state.has_unflushed() {
                state = self.flush(state);
            }
        }
    }

    /// Makes durable what was taken so far, without holding the lock while the disk works.
    fn flush<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        state.hurry = false;
        let until = state.chain.next_seq;
        let unsynced = state.spool.unsynced();
        drop(state);
        let synced = unsynced.sync();
        let mut state = self.lock();
        match synced {
            Ok(()) => state.durable_until = until,
            Err(error) => self.fail(&mut state, format!("{}: {error}", self.outbox.folder().display())),
        }
        self.flushed.notify_all();
        state
    }
}

impl Recorder for Journal {
    fn record(&self, event: Event) -> Result<RecordId, RecordError> {
        self.take(event, false).map(|(id, _)| id)
    }

    fn record_durable(&self, event: Event) -> Result<RecordId, RecordError> {
        let (id, seq) = self.take(event, true)?;
        let mut state = self.lock();
        while state.durable_until <= seq && state.acked_until <= seq {
            if let Some(detail) = &state.failed {
                return Err(RecordError::Storage { detail: detail.clone() });
            }
            if !state.hurry {
                // The flush under way began before this record was there.
                state.hurry = true;
                self.to_flush.notify_all();
            }
            state = self.flushed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(id)
    }
}

fn header(identity: &Identity) -> Header {
    Header {
        record_id: RecordId(uuid::Uuid::nil()),
        session_id: identity.session_id.clone(),
        writer: WRITER.into(),
        seq: 0,
        prev_digest: Digest::ZERO,
        occurred_at: Timestamp(0),
        origin: Origin::Unspecified,
        caused_by: Vec::new(),
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
    use wk_schemas::Record;
    use wk_schemas::body::SessionResumed;

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
    fn what_an_earlier_version_kept_in_its_database_is_taken_over_once() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(folder.path(), identity("s"), ROOMY).unwrap();
        for n in 0..6 {
            journal.record(event(&n.to_string(), Origin::Kernel)).unwrap();
        }
        let written = journal.read_from(0, 9).unwrap();
        journal.close().unwrap();
        drop(journal);
        // As that version left it when it was killed: all but the last two in the database, and all but the first two in the spool.
        for entry in fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_file()) {
            fs::remove_file(entry).unwrap();
        }
        let (mut spool, _) = Spool::open(folder.path(), 0).unwrap();
        for (seq, datum) in &written[2..] {
            spool.append(*seq, datum, Digest::of(datum)).unwrap();
        }
        let database = sled::open(folder.path().join("db")).unwrap();
        let records = database.open_tree("records").unwrap();
        for (seq, datum) in &written[..4] {
            records.insert(seq.to_be_bytes(), &**datum).unwrap();
        }
        drop((records, database, spool));
        for _ in 0..2 {
            let journal = Journal::open(folder.path(), identity("s"), ROOMY).unwrap();
            assert_eq!((journal.read_from(0, 9).unwrap(), journal.waiting().0), (written.clone(), 6));
            journal.close().unwrap();
        }
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
