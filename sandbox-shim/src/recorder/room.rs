//! How much may wait for the log, and what a session that has come near to that is told. Pure.

use crate::contract::RecordError;

/// What is left of the limits for the shim's own last words: that it froze, why it ended.
const RESERVE_RECORDS: u64 = 64;
const RESERVE_BYTES: u64 = 256 << 10;

/// How much an outbox may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most records that wait for the log.
    pub records_max: u64,
    /// The most bytes that wait for the log.
    pub bytes_max: u64,
}

impl Limits {
    /// Part of the limits at which the session is frozen, so that what is under way still finds room.
    const HIGH: (u64, u64) = (8, 10);
    /// The part to which the outbox must drain before a session that was frozen for this goes on.
    const LOW: (u64, u64) = (5, 10);

    /// Whether so much waits that the session must stand still.
    pub(super) fn is_high(self, records: u64, bytes: u64) -> bool {
        self.is_over(Self::HIGH, records, bytes)
    }

    /// Whether so little waits that a session that stood still may go on.
    pub(super) fn is_low(self, records: u64, bytes: u64) -> bool {
        !self.is_over(Self::LOW, records, bytes)
    }

    /// Whether there is room for one more beside what waits; there is a little more for the shim's `own`.
    ///
    /// # Errors
    /// [`RecordError::Full`] says what there is too much of.
    pub(super) fn check(self, records: u64, bytes: u64, own: bool) -> Result<(), RecordError> {
        let (more_records, more_bytes) = if own { (RESERVE_RECORDS, RESERVE_BYTES) } else { (0, 0) };
        if records >= self.records_max.saturating_add(more_records) {
            return Err(RecordError::Full { detail: format!("{records} records wait for the log") });
        }
        if bytes >= self.bytes_max.saturating_add(more_bytes) {
            return Err(RecordError::Full { detail: format!("{bytes} bytes wait for the log") });
        }
        Ok(())
    }

    fn is_over(self, (part, whole): (u64, u64), records: u64, bytes: u64) -> bool {
        records >= self.records_max.saturating_mul(part) / whole || bytes >= self.bytes_max.saturating_mul(part) / whole
    }
}

/// Whether the outbox leaves the agent room to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pressure {
    /// There is room.
    Low,
    /// The outbox is nearly full: the session must stand still until it has drained.
    High,
    /// Nothing can be taken any more: the session must end.
    Failed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_and_bytes_each_press_and_the_shims_own_words_find_room_when_no_others_do() {
        let limits = Limits { records_max: 10, bytes_max: 1000 };
        for (records, bytes, high, low) in [(0, 0, false, true), (4, 499, false, true), (5, 0, false, false)] {
            assert_eq!(
                (limits.is_high(records, bytes), limits.is_low(records, bytes)),
                (high, low),
                "{records} {bytes}"
            );
        }
        assert!(limits.is_high(8, 0) && limits.is_high(0, 800) && !limits.is_high(7, 799));
        assert!(!limits.is_low(0, 500));
        assert!(limits.check(9, 999, false).is_ok());
        for (records, bytes, what) in [(10, 0, "10 records wait for the log"), (0, 1000, "1000 bytes wait for the log")]
        {
            let error = limits.check(records, bytes, false).unwrap_err();
            assert!(matches!(&error, RecordError::Full { detail } if detail == what), "{error}");
            assert!(limits.check(records, bytes, true).is_ok());
        }
        assert!(limits.check(10 + RESERVE_RECORDS, 0, true).is_err());
        assert!(limits.check(0, 1000 + RESERVE_BYTES, true).is_err());
        let boundless = Limits { records_max: u64::MAX, bytes_max: u64::MAX };
        assert!(!boundless.is_high(1 << 40, 1 << 50) && boundless.check(1 << 40, 1 << 50, true).is_ok());
    }
}
