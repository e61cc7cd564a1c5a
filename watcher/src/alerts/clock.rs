//! The wall clock, for signatures that are good for a few minutes only.
#![expect(clippy::disallowed_methods, reason = "this file owns the clock of the alerts")]

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970, UTC.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}
