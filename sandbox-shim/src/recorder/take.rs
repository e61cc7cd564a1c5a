//! Taking a record: it is sealed into the chain and spooled, or the caller is told why not.

use super::journal::{Journal, State};
use super::room::Pressure;
use crate::clock;
use crate::contract::{Event, RecordError, Recorder};
use std::sync::PoisonError;
use wk_schemas::body::RecordsLost;
use wk_schemas::{Body, MAX_RECORD_BYTES, Origin, RecordId};

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

impl Journal {
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
        if let Err(full) = self.limits.check(state.waiting_records, state.waiting_bytes, own) {
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
        let over = self.limits.is_high(state.waiting_records, state.waiting_bytes);
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

    /// Nothing more can be taken, but for the shim's last words.
    pub(super) fn fail(&self, state: &mut State, detail: String) {
        tracing::error!(%detail, "the outbox cannot be written");
        // A full disk gets these bytes back, for the records that say so.
        state.spool.release_reserve();
        state.failed.get_or_insert(detail);
        state.pressure = Pressure::Failed;
        self.pressed.notify_all();
        self.flushed.notify_all();
        self.to_flush.notify_all();
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
