//! The clock of ingest, and the one place where it draws an id.
#![expect(clippy::disallowed_methods, reason = "this file owns the clock")]

use uuid::Uuid;
use wk_schemas::Timestamp;

/// Now, UTC.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_epoch(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default())
}

/// The id of a new commit. Drawn, not derived: two ingest processes that make the same commit must be told apart.
pub(crate) fn commit_id() -> Uuid {
    Uuid::new_v4()
}
