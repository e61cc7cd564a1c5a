//! The drain's side of the journal: what is to be sent, and what the log has.

use super::journal::Journal;
use super::room::Pressure;
use crate::lock::lock;
use crate::outbox::{Acked, OutboxError};
use crate::spool::Numbered;
use std::fs;
use std::time::Duration;

/// How long a record waits for company on its way to the log, unless somebody waits for it.
const GATHER_FOR: Duration = Duration::from_millis(4);

impl Journal {
    /// At most `max` records from `seq` on that the log has not acknowledged, in order.
    pub(crate) fn read_from(&self, seq: i64, max: usize) -> Result<Vec<Numbered>, OutboxError> {
        let mut out = Vec::new();
        let mut seq = seq.max(self.acked_until());
        let mut reader = lock(&self.reader);
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
        if state.pressure == Pressure::High && self.limits.is_low(state.waiting_records, state.waiting_bytes) {
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
}
