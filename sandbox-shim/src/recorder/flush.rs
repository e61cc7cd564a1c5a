//! The flusher: makes what was taken survive a loss of power, a moment later or when somebody waits for it.

use super::journal::{Journal, State};
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

/// How long a record may stay unsafe from a loss of power, unless somebody waits for it. Each flush makes the disk write what the
/// agent wrote as well, so flushing often slows the agent; a loss of power costs the agent's own files far more than this.
const FLUSH_EVERY: Duration = Duration::from_millis(100);

impl Journal {
    /// The flusher's thread.
    pub(super) fn flush_until_closed(&self) {
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
