//! Owns the clock and makes ids: the one file of this crate that reads either.
#![expect(clippy::disallowed_methods, reason = "this is the file that owns the clock and makes ids")]

use std::time::{Duration, Instant, SystemTime};
use uuid::Uuid;
use wk_schemas::Timestamp;

/// The time of day.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp::from_epoch(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO))
}

/// A point on the clock that never goes back; for measuring and for deadlines.
#[must_use]
pub fn instant() -> Instant {
    Instant::now()
}

/// Microseconds since `start`.
#[must_use]
pub fn micros_since(start: Instant) -> i64 {
    i64::try_from(start.elapsed().as_micros()).unwrap_or(i64::MAX)
}

/// A fresh id; later ids sort after earlier ones.
#[must_use]
pub fn new_id() -> Uuid {
    Uuid::now_v7()
}
