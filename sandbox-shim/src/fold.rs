//! Folds repeats: what one process does to one object again within a second becomes one more record, with a count.
//!
//! Pure: no clock, no I/O. The first occurrence is never kept back, so that a watcher hears of it at once; only repeats are
//! counted. They come out when their second is over, when the process ends, and when the session is frozen. Nothing is dropped:
//! the counts of all records of one object add up to how often it was touched.

use std::collections::{HashMap, hash_map};
use std::hash::Hash;
use wk_schemas::Timestamp;

/// How long repeats are counted after the first occurrence, in microseconds.
pub(crate) const WINDOW_US: i64 = 1_000_000;

/// How many objects are remembered at most.
const ENTRIES_MAX: usize = 8192;

/// Repeats that were counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Repeats<T> {
    /// What the first of them left behind.
    pub what: T,
    /// How many repeats, not counting the first occurrence; at least 1.
    pub count: i64,
    /// When the last of them was.
    pub last_at: Timestamp,
}

/// What to do about one occurrence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen<T> {
    /// It is the first: write it down now, after the repeats of an earlier second if there are any.
    First(Option<Repeats<T>>),
    /// It is counted.
    Repeat,
}

#[derive(Debug)]
struct Entry<T> {
    /// There is something to tell only once there is a repeat; most objects are touched once, and memory is dear.
    what: Option<T>,
    first_at: Timestamp,
    count: i64,
    last_at: Timestamp,
}

/// The seconds that are still open. `G` is the process, `K` what was done to which object.
#[derive(Debug)]
pub(crate) struct Fold<G, K, T> {
    open: HashMap<G, HashMap<K, Entry<T>>>,
    entries: usize,
}

impl<G: Eq + Hash + Ord + Copy, K: Eq + Hash + Ord, T> Default for Fold<G, K, T> {
    fn default() -> Self {
        Self { open: HashMap::new(), entries: 0 }
    }
}

impl<G: Eq + Hash + Ord + Copy, K: Eq + Hash + Ord, T> Fold<G, K, T> {
    /// Takes one occurrence. `what` is called only for the first repeat.
    pub(crate) fn see(&mut self, group: G, key: K, at: Timestamp, what: impl FnOnce() -> T) -> Seen<T> {
        let entries = self.open.entry(group).or_default();
        let fresh = Entry { what: None, first_at: at, count: 0, last_at: at };
        match entries.entry(key) {
            hash_map::Entry::Occupied(mut entry) => {
                let entry = entry.get_mut();
                if at.micros_since(entry.first_at) < WINDOW_US {
                    entry.what.get_or_insert_with(what);
                    entry.count += 1;
                    entry.last_at = entry.last_at.max(at);
                    return Seen::Repeat;
                }
                Seen::First(std::mem::replace(entry, fresh).finish())
            }
            hash_map::Entry::Vacant(entry) => {
                entry.insert(fresh);
                self.entries += 1;
                Seen::First(None)
            }
        }
    }

    /// Whether so many seconds are open that they should be ended early. Their counts add up all the same.
    #[must_use]
    pub(crate) fn is_full(&self) -> bool {
        self.entries >= ENTRIES_MAX
    }

    /// Ends the seconds that are over at `now`, oldest first.
    pub(crate) fn expire(&mut self, now: Timestamp) -> Vec<Repeats<T>> {
        self.take(|entry| now.micros_since(entry.first_at) >= WINDOW_US)
    }

    /// Ends every second of one process.
    pub(crate) fn end_group(&mut self, group: G) -> Vec<Repeats<T>> {
        let entries = self.open.remove(&group).unwrap_or_default();
        self.entries -= entries.len();
        sorted(entries.into_iter().filter_map(|(key, entry)| Some((entry.first_at, group, key, entry.finish()?))))
    }

    /// Ends everything.
    pub(crate) fn end(&mut self) -> Vec<Repeats<T>> {
        self.take(|_| true)
    }

    fn take(&mut self, mut over: impl FnMut(&Entry<T>) -> bool) -> Vec<Repeats<T>> {
        let mut out = Vec::new();
        let left = &mut self.entries;
        self.open.retain(|group, entries| {
            for (key, entry) in entries.extract_if(|_, entry| over(entry)) {
                *left -= 1;
                if let (first_at, Some(repeats)) = (entry.first_at, entry.finish()) {
                    out.push((first_at, *group, key, repeats));
                }
            }
            // A table that was large once does not stay large.
            entries.shrink_to(2 * entries.len());
            !entries.is_empty()
        });
        sorted(out.into_iter())
    }
}

impl<T> Entry<T> {
    fn finish(self) -> Option<Repeats<T>> {
        Some(Repeats { what: self.what?, count: self.count, last_at: self.last_at })
    }
}

/// In the order of their first occurrence, so that no order of a hash table can be seen from outside.
fn sorted<G: Ord, K: Ord, T>(all: impl Iterator<Item = (Timestamp, G, K, Repeats<T>)>) -> Vec<Repeats<T>> {
    let mut all: Vec<_> = all.collect();
    all.sort_by(|a, b| (a.0, &a.1, &a.2).cmp(&(b.0, &b.1, &b.2)));
    all.into_iter().map(|(_, _, _, repeats)| repeats).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Records = Vec<(u8, i64, bool)>;

    /// Folds touches (process, object, microseconds since the one before) into records (object, count, first?).
    fn fold(fold: &mut Fold<u8, u8, u8>, clock: &mut i64, touches: &[(u8, u8, i64)], out: &mut Records) {
        for (process, object, wait) in touches {
            *clock += wait;
            if let Seen::First(before) = fold.see(*process, *object, Timestamp(*clock), || *object) {
                out.extend(before.map(|r| (r.what, r.count, false)));
                out.push((*object, 1, true));
            }
        }
    }

    proptest! {
        #[test]
        fn folding_in_two_parts_is_folding_at_once(
            touches in prop::collection::vec((0..3_u8, 0..4_u8, 0..700_000_i64), 0..60),
            cut in 0..60_usize,
        ) {
            let cut = cut.min(touches.len());
            let (mut whole, mut parts) = (Records::new(), Records::new());
            let (mut f, mut clock) = (Fold::default(), 0);
            fold(&mut f, &mut clock, &touches, &mut whole);
            whole.extend(f.end().into_iter().map(|r| (r.what, r.count, false)));
            let (mut f, mut clock) = (Fold::default(), 0);
            fold(&mut f, &mut clock, &touches[..cut], &mut parts);
            fold(&mut f, &mut clock, &touches[cut..], &mut parts);
            parts.extend(f.end().into_iter().map(|r| (r.what, r.count, false)));
            prop_assert_eq!(whole, parts);
        }

        #[test]
        fn every_touch_is_counted_whenever_it_is_flushed(
            touches in prop::collection::vec((0..3_u8, 0..4_u8, 0..700_000_i64), 0..60),
            flush in prop::collection::vec(0..4_u8, 60),
        ) {
            let (mut f, mut clock, mut out) = (Fold::default(), 0, Records::new());
            for (touch, flush) in touches.iter().zip(flush) {
                fold(&mut f, &mut clock, &[*touch], &mut out);
                let flushed = match flush {
                    0 => f.expire(Timestamp(clock)),
                    1 => f.end_group(touch.0),
                    2 => f.end(),
                    _ => vec![],
                };
                out.extend(flushed.into_iter().map(|r| (r.what, r.count, false)));
            }
            out.extend(f.end().into_iter().map(|r| (r.what, r.count, false)));
            for object in 0..4 {
                let touched = touches.iter().filter(|t| t.1 == object).count();
                let counted: i64 = out.iter().filter(|r| r.0 == object).map(|r| r.1).sum();
                prop_assert_eq!(counted, i64::try_from(touched).unwrap());
            }
        }
    }

    #[test]
    fn a_process_that_touches_everything_fills_the_fold_and_ending_it_makes_room() {
        let mut fold = Fold::<u8, usize, usize>::default();
        for key in 0..ENTRIES_MAX {
            assert!(!fold.is_full());
            assert_eq!(fold.see(1, key, Timestamp(0), || key), Seen::First(None));
        }
        assert_eq!(fold.see(1, 7, Timestamp(0), || 7), Seen::Repeat);
        assert!(fold.is_full());
        assert_eq!(fold.end(), vec![Repeats { what: 7, count: 1, last_at: Timestamp(0) }]);
        assert!(!fold.is_full());
        assert_eq!(fold.see(1, 7, Timestamp(0), || 7), Seen::First(None));
        assert_eq!((fold.end_group(1), fold.entries), (vec![], 0));
    }

    #[test]
    fn the_first_touch_is_written_at_once_and_repeats_only_when_their_second_is_over() {
        let mut fold = Fold::<u8, &str, &str>::default();
        assert_eq!(fold.see(1, "key", Timestamp(0), || "key"), Seen::First(None));
        assert_eq!(fold.see(1, "key", Timestamp(10), || "key"), Seen::Repeat);
        assert_eq!(fold.see(2, "key", Timestamp(20), || "key"), Seen::First(None));
        assert_eq!(fold.expire(Timestamp(WINDOW_US - 1)), vec![]);
        let repeats = Repeats { what: "key", count: 1, last_at: Timestamp(10) };
        assert_eq!(fold.expire(Timestamp(WINDOW_US)), vec![repeats]);
        assert_eq!(fold.see(1, "key", Timestamp(WINDOW_US), || "key"), Seen::First(None));
    }
}
