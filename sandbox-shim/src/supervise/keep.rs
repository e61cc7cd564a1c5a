//! Writing down what happened; when that fails, nothing more may happen.

use super::core::{Core, Stop};
use crate::contract::{Event, RecordError};
use crate::fold::Repeats;
use crate::lock::lock;
use std::sync::atomic::Ordering;
use wk_schemas::body::FileAccessed;
use wk_schemas::{Body, Origin, RecordId, Timestamp};

impl Core {
    /// Writes down what happened.
    pub(crate) fn record(&self, origin: Origin, occurred_at: Timestamp, body: Body) -> Result<RecordId, Stop> {
        self.record_after(vec![], origin, occurred_at, body)
    }

    /// As [`Core::record`], of what follows from these records.
    pub(super) fn record_after(
        &self,
        caused_by: Vec<RecordId>,
        origin: Origin,
        occurred_at: Timestamp,
        body: Body,
    ) -> Result<RecordId, Stop> {
        let refused = self.telling.as_ref().and_then(|telling| Some((telling, super::telling::refused(&body)?)));
        let kept = self.kept(self.recorder.record(Event { origin, caused_by, occurred_at, body }))?;
        if let Some((telling, refused)) = refused {
            telling.tell(refused, kept);
        }
        Ok(kept)
    }

    /// As [`Core::record`], and returns only when it survives a loss of power.
    pub(crate) fn record_durable(
        &self,
        origin: Origin,
        occurred_at: Timestamp,
        caused_by: Vec<RecordId>,
        body: Body,
    ) -> Result<RecordId, Stop> {
        self.kept(self.recorder.record_durable(Event { origin, caused_by, occurred_at, body }))
    }

    fn kept(&self, result: Result<RecordId, RecordError>) -> Result<RecordId, Stop> {
        result.map_err(|error| {
            self.fail(&error, "an event could not be recorded");
            Stop
        })
    }

    /// Stops the agent, because it would go on unseen.
    pub(super) fn fail(&self, error: &dyn std::fmt::Display, what: &'static str) {
        if !self.failed.swap(true, Ordering::SeqCst) {
            tracing::error!(%error, what, "the agent is stopped");
            (self.on_failure)();
        }
    }

    /// Writes down everything that was told or counted and is not yet written.
    pub(crate) fn record_all_repeats(&self) {
        self.tell_results();
        self.tell_lost_results();
        self.tell_reads();
        let repeats = lock(&self.fold).end();
        self.record_repeats(repeats).ok();
        let repeats = lock(&self.calls).end();
        self.record_call_repeats(repeats).ok();
        let repeats = self.openings.as_ref().map(super::openings::Openings::all_over);
        self.record_repeats(repeats.unwrap_or_default()).ok();
    }

    /// Writes down repeats that were counted.
    pub(crate) fn record_repeats(&self, repeats: Vec<Repeats<FileAccessed>>) -> Result<(), Stop> {
        for Repeats { what, count, last_at } in repeats {
            let body = FileAccessed { count, last_at: Some(last_at), ..what };
            self.record(Origin::Kernel, last_at, body.into())?;
        }
        Ok(())
    }
}
