//! The clock of `wk`, and the ids that are made from it.
#![expect(clippy::disallowed_methods, reason = "this file owns the clock")]

use uuid::Uuid;
use wk_schemas::{RecordId, Timestamp};

/// Now, UTC.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_epoch(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default())
}

/// A new time-ordered id.
pub(crate) fn new_id() -> RecordId {
    RecordId(Uuid::now_v7())
}

/// A point to measure from.
pub(crate) fn start() -> std::time::Instant {
    std::time::Instant::now()
}
