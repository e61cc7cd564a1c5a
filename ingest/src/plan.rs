//! Decides which messages to take, and keeps account of every offset.
//!
//! Pure: no clock, no I/O. What the lake has committed is the truth; a message below it is covered and skipped, whatever a consumer
//! group says.
//!
//! A log may lawfully have no message at an offset: markers of transactions, messages of aborted ones. A reader then jumps ahead
//! without an error, because a jump over what retention cut off would be one. Such offsets are counted as absent, once the log has been
//! asked whether it still holds the place before them; if it does not, records were lost and ingest stops.

use std::collections::BTreeMap;
use wk_store::commit::{TEXT_BYTES_MAX, text_bytes};
use wk_store::{Range, Source};
use wk_wire::kafka::Watermarks;

/// How far every partition has been read.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    next: BTreeMap<Source, i64>,
}

/// What to do with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It has been taken before: skip it.
    Covered,
    /// It is the next one: take it.
    Take,
    /// Offsets from here up to the message were not delivered; see [`absent`].
    Gap {
        /// The first offset that was not delivered.
        from: i64,
    },
}

/// The log is not the one that the lake was read from, or has lost what the lake still needs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Messages that were never read are gone.
    #[error(
        "{source_partition} begins at offset {low}, but the lake goes on at {next}: \
         retention has removed messages that were not read"
    )]
    CutOff {
        /// The partition.
        source_partition: Source,
        /// Where the lake goes on.
        next: i64,
        /// The first offset that the log holds.
        low: i64,
    },
    /// The log ends before the place that the lake has reached.
    #[error(
        "{source_partition} ends at offset {high}, but the lake has read it up to {next}: \
         the topic was made anew, or these are other brokers; this lake belongs to the old log"
    )]
    Anew {
        /// The partition.
        source_partition: Source,
        /// Where the lake goes on.
        next: i64,
        /// Where the log ends.
        high: i64,
    },
    /// The log has another record at a place that the lake has read.
    #[error(
        "{source_partition} no longer has record {record_id} at offset {offset}, where the lake read it: \
         the topic was made anew, or these are other brokers; this lake belongs to the old log"
    )]
    OtherLog {
        /// The partition.
        source_partition: Source,
        /// The place.
        offset: i64,
        /// What the lake read there.
        record_id: String,
    },
    /// A partition that the lake has read is no longer there.
    #[error(
        "the lake has read {source_partition}, which the log no longer has: the topic was made anew, or these are other brokers"
    )]
    Gone {
        /// The partition.
        source_partition: Source,
    },
}

/// Where to start reading a partition, given how far the lake has come, if it has ever read it, and what the log holds.
///
/// # Errors
/// [`PlanError`] when the two do not fit.
pub fn start(source: Source, committed: Option<i64>, holds: Watermarks) -> Result<i64, PlanError> {
    match committed {
        // What was removed before the lake began was never promised.
        None => Ok(holds.low),
        Some(next) if next < holds.low => Err(PlanError::CutOff { source_partition: source, next, low: holds.low }),
        Some(next) if next > holds.high => Err(PlanError::Anew { source_partition: source, next, high: holds.high }),
        Some(next) => Ok(next),
    }
}

/// How many offsets are absent, when those from `from` up to `to` were not delivered and the log holds this.
///
/// # Errors
/// [`PlanError::CutOff`] when the log no longer holds `from`, so that nobody can say what was there.
pub fn absent(source: Source, from: i64, to: i64, holds: Watermarks) -> Result<i64, PlanError> {
    if holds.low > from {
        return Err(PlanError::CutOff { source_partition: source, next: from, low: holds.low });
    }
    Ok(to - from)
}

impl Plan {
    /// Goes on from these offsets.
    #[must_use]
    pub const fn new(starts: BTreeMap<Source, i64>) -> Self {
        Self { next: starts }
    }

    /// Looks at a message and moves past it. After a [`Step::Gap`] the message is taken all the same, if the gap is lawful.
    pub fn step(&mut self, source: Source, offset: i64) -> Step {
        let next = self.next.entry(source).or_insert(0);
        let from = *next;
        if offset < from {
            return Step::Covered;
        }
        *next = offset + 1;
        if offset == from { Step::Take } else { Step::Gap { from } }
    }

    /// Where every partition goes on.
    #[must_use]
    pub const fn next(&self) -> &BTreeMap<Source, i64> {
        &self.next
    }
}

/// The offsets that a batch accounts for.
#[derive(Debug, Clone, Default)]
pub struct Account {
    ranges: BTreeMap<Source, Range>,
    /// Days and partitions that data files will name.
    held: BTreeMap<i64, BTreeMap<Source, ()>>,
}

const MILLIS_PER_DAY: i64 = 86_400_000;

impl Account {
    /// Counts a message, and offsets before it that are absent. It counts as a row until [`Account::set_aside`] says otherwise.
    pub fn take(&mut self, source: Source, offset: i64, absent: i64, timestamp_ms: Option<i64>) {
        let first = offset - absent;
        let Source { topic, partition } = source;
        let new = Range { topic, partition, first, next: first, rows: 0, dead_letters: 0, absent: 0 };
        let range = self.ranges.entry(source).or_insert(new);
        assert_eq!(range.next, first, "the plan hands out {source} without holes");
        range.next = offset + 1;
        range.rows += 1;
        range.absent += absent;
        let day = timestamp_ms.unwrap_or(0).div_euclid(MILLIS_PER_DAY);
        self.held.entry(day).or_default().insert(source, ());
    }

    /// Whether the text of a commit may become too long with another message of this partition and time.
    #[must_use]
    pub fn is_full_for(&self, source: Source, timestamp_ms: Option<i64>) -> bool {
        let day = timestamp_ms.unwrap_or(0).div_euclid(MILLIS_PER_DAY);
        if self.held.get(&day).is_some_and(|held| held.contains_key(&source)) {
            return false;
        }
        // One file for each day at least; the store takes as many more as the text has room for.
        let (days, partitions) = (self.held.len() + 1, self.ranges.len() + 1);
        let pairs = self.held.values().map(BTreeMap::len).sum::<usize>() + 1;
        !self.ranges.is_empty() && text_bytes(days, partitions, pairs) > TEXT_BYTES_MAX
    }

    /// Counts a message as a dead letter that was taken for a row.
    ///
    /// # Panics
    /// When the partition has no row.
    pub fn set_aside(&mut self, source: Source) {
        let range = self.ranges.get_mut(&source).expect("what is set aside was taken before");
        assert!(range.rows > 0, "more dead letters than messages in {source}");
        range.rows -= 1;
        range.dead_letters += 1;
    }

    /// The ranges, one for each partition.
    #[must_use]
    pub fn ranges(&self) -> Vec<Range> {
        self.ranges.values().cloned().collect()
    }

    /// Whether nothing was taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use wk_schemas::Topic;

    const SOURCE: Source = Source { topic: Topic::Events, partition: 0 };

    const fn holds(low: i64, high: i64) -> Watermarks {
        Watermarks { low, high }
    }

    #[test]
    fn a_lake_that_was_never_read_starts_where_the_log_does() {
        assert_eq!(start(SOURCE, None, holds(5, 9)), Ok(5));
        assert_eq!(start(SOURCE, Some(7), holds(5, 9)), Ok(7));
        assert_eq!(start(SOURCE, Some(9), holds(5, 9)), Ok(9));
    }

    #[test]
    fn a_log_that_lost_messages_or_was_made_anew_is_refused() {
        let lost = PlanError::CutOff { source_partition: SOURCE, next: 4, low: 5 };
        assert_eq!(start(SOURCE, Some(4), holds(5, 9)), Err(lost.clone()));
        assert_eq!(absent(SOURCE, 4, 6, holds(5, 9)), Err(lost));
        let anew = PlanError::Anew { source_partition: SOURCE, next: 10, high: 9 };
        assert_eq!(start(SOURCE, Some(10), holds(5, 9)), Err(anew));
    }

    #[test]
    fn a_commit_over_very_many_days_and_partitions_is_split() {
        let mut account = Account::default();
        let mut taken = 0;
        for day in 0..365 {
            if account.is_full_for(SOURCE, Some(day * MILLIS_PER_DAY)) {
                break;
            }
            account.take(SOURCE, day, 0, Some(day * MILLIS_PER_DAY));
            taken += 1;
        }
        assert!((10..30).contains(&taken), "{taken}");
        assert!(!account.is_full_for(SOURCE, Some(0)), "what is there already adds nothing");
    }

    proptest! {
        /// Whatever is delivered twice, late or never, and wherever batches are cut: each offset is accounted for once.
        #[test]
        fn every_offset_is_accounted_for_exactly_once(
            start in 0i64..5,
            delivered in proptest::collection::vec((0i32..3, 0i64..40, any::<bool>()), 1..200),
        ) {
            let mut plan = Plan::new((0..3).map(|p| (Source { topic: Topic::Events, partition: p }, start)).collect());
            let (mut account, mut ranges, mut taken) = (Account::default(), Vec::new(), Vec::new());
            for (partition, offset, cut) in delivered {
                let source = Source { topic: Topic::Events, partition };
                match plan.step(source, offset) {
                    Step::Covered => {}
                    Step::Take => {
                        taken.push((source, offset));
                        account.take(source, offset, 0, None);
                    }
                    Step::Gap { from } => {
                        taken.push((source, offset));
                        account.take(source, offset, absent(source, from, offset, holds(0, 40)).unwrap(), None);
                    }
                }
                if cut {
                    ranges.extend(std::mem::take(&mut account).ranges());
                }
            }
            ranges.extend(account.ranges());
            for partition in 0..3 {
                let source = Source { topic: Topic::Events, partition };
                let mut next = start;
                for range in ranges.iter().filter(|r| r.source() == source) {
                    prop_assert_eq!(range.first, next);
                    prop_assert!(range.is_complete());
                    next = range.next;
                }
                let mine: Vec<i64> = taken.iter().filter(|(s, _)| *s == source).map(|(_, o)| *o).collect();
                prop_assert!(mine.is_sorted_by(|a, b| a < b));
                let rows: i64 = ranges.iter().filter(|r| r.source() == source).map(|r| r.rows).sum();
                prop_assert_eq!(rows, i64::try_from(mine.len()).unwrap());
                prop_assert_eq!(plan.next()[&source], next);
            }
        }
    }
}
