//! The clock of this crate: only durations are measured here, nothing is decided by the time of day.
#![expect(clippy::disallowed_methods, reason = "this file owns the clock")]

use std::time::{Duration, Instant};

/// A point to measure from.
pub(crate) fn start() -> Instant {
    Instant::now()
}

/// Whole microseconds, as the records count them.
pub(crate) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
