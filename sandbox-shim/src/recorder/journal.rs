//! The records of one session: opened, asked about, closed.

use super::identity::Identity;
use super::room::{Limits, Pressure};
use crate::contract::RecordError;
use crate::lock::lock;
use crate::outbox::{Outbox, OutboxError};
use crate::spool::{self, Reader, Spool};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use wk_schemas::{Chain, Header, SessionId, codec};

/// The records of one session, from the moment they are taken until the log has them.
#[derive(Debug)]
pub struct Journal {
    pub(super) state: Mutex<State>,
    /// There is something to flush, at once or after a while.
    pub(super) to_flush: Condvar,
    /// Something became durable, or never will.
    pub(super) flushed: Condvar,
    /// The pressure has changed, or the journal is closed.
    pub(super) pressed: Condvar,
    /// There is something to send to a drain that had nothing to do.
    pub(super) arrived: tokio::sync::Notify,
    /// What is to be sent does not wait for company.
    pub(super) hurried: tokio::sync::Notify,
    pub(super) outbox: Outbox,
    pub(super) reader: Mutex<Reader>,
    pub(super) limits: Limits,
    pub(super) flusher: Mutex<Option<std::thread::JoinHandle<()>>>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) identity: Identity,
    /// What all records have in common, from `identity`; the rest is as the last record left it.
    pub(super) header: Header,
    pub(super) chain: Chain,
    pub(super) spool: Spool,
    /// The first seq that is not yet safe from a loss of power.
    pub(super) durable_until: i64,
    /// The first seq that the log has not acknowledged.
    pub(super) acked_until: i64,
    pub(super) waiting_records: u64,
    pub(super) waiting_bytes: u64,
    /// The last record of the chain, so that a session that died can be closed.
    pub(super) last_kind: Option<wk_schemas::Kind>,
    pub(super) pressure: Pressure,
    /// Somebody waits until what was taken is durable.
    pub(super) hurry: bool,
    /// The flusher waits for something to do.
    pub(super) flusher_idle: bool,
    /// The drain waits for something to send.
    pub(super) drain_idle: bool,
    pub(super) was_full: bool,
    pub(super) failed: Option<String>,
    pub(super) closed: bool,
}

impl State {
    /// Changes what later records say about themselves.
    fn become_another(&mut self, change: impl FnOnce(&mut Identity)) {
        change(&mut self.identity);
        self.header = self.identity.header();
    }

    /// Whether something is neither durable nor on the log.
    pub(super) fn has_unflushed(&self) -> bool {
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
                header: identity.header(),
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
        *lock(&journal.flusher) = Some(thread);
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
        Ok(Some(Identity::of(header)))
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
        let thread = lock(&self.flusher).take();
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

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while the lock was held left at most a record that is in the spool and not in the chain; the next start
        // finds it. To stop recording because of it would be worse.
        lock(&self.state)
    }
}
