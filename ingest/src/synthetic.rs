//! Typical records without an agent: for benches and for tests that need many.
//!
//! An endless, interleaved run of coding sessions: started, task, plan, then turn after turn of thoughts, tool calls and what the
//! kernel saw of them, with a finding now and then, then ended. It depends on nothing but its seed: the same seed gives the same
//! bytes, on every machine. Chains hold, so `verify` finds nothing wrong; what the records say is made up.
//!
//! ```
//! use wk_ingest::synthetic::Synthetic;
//! let day: Vec<_> = Synthetic::new(7).take(1000).collect();
//! assert_eq!(day, Synthetic::new(7).take(1000).collect::<Vec<_>>());
//! ```

mod session;
mod turns;
mod words;

use session::Session;
use wk_schemas::{Kind, SessionId, Timestamp, Topic};

/// A record, ready to be framed and appended under its session's key.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The topic it belongs to: events, or findings now and then.
    pub topic: Topic,
    /// The session; its bytes are the message's key.
    pub session_id: SessionId,
    /// Which kind of record it is.
    pub kind: Kind,
    /// When it happened. Over all sessions this only grows.
    pub occurred_at: Timestamp,
    /// When a log would have taken it: within milliseconds, on whole milliseconds as a log keeps them, and never earlier than the sample
    /// before.
    pub recorded_at: Timestamp,
    /// The record, canonically encoded, without framing.
    pub datum: Vec<u8>,
}

/// Sessions that are under way at the same time.
const LIVE_SESSIONS: usize = 48;

/// 2026-11-16T00:00:00Z, a Monday.
const START: Timestamp = Timestamp(1_794_787_200_000_000);

const MICROS_PER_DAY: u64 = 86_400_000_000;

/// An endless run of records.
#[derive(Debug, Clone)]
pub struct Synthetic {
    random: Random,
    live: Vec<Session>,
    now: i64,
    /// Mean time between two records.
    step_us: u64,
}

impl Synthetic {
    /// The run of this seed: a million records a day, from Monday, 2026-11-16.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let live = (0..LIVE_SESSIONS).map(|_| Session::new(&mut random, START)).collect();
        Self { random, live, now: START.0, step_us: MICROS_PER_DAY / 1_000_000 }
    }

    /// The same run at another pace, so that so many records fill a day.
    #[must_use]
    pub fn records_per_day(self, records: u64) -> Self {
        Self { step_us: (MICROS_PER_DAY / records.max(1)).max(1), ..self }
    }
}

impl Iterator for Synthetic {
    type Item = Sample;

    fn next(&mut self) -> Option<Sample> {
        let pause = 1 + self.random.below(2 * self.step_us);
        self.now += i64::try_from(pause).unwrap_or(i64::MAX / 2);
        // A session writes in bursts, so the same one is often next; the low ones are busier than the high ones.
        let at = self.random.skewed(self.live.len());
        let sample = self.live[at].next(&mut self.random, Timestamp(self.now));
        if self.live[at].is_over() {
            self.live[at] = Session::new(&mut self.random, Timestamp(self.now));
        }
        Some(sample)
    }
}

/// Steele and Vigna's `SplitMix64`: small, quick, and the same everywhere. Nothing here is a secret.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`, which is not 0.
    pub(crate) const fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// Whether something that happens `in_thousand` times out of a thousand happens now.
    pub(crate) const fn happens(&mut self, in_thousand: u64) -> bool {
        self.below(1000) < in_thousand
    }

    /// An index below `len`, small ones more often.
    pub(crate) fn skewed(&mut self, len: usize) -> usize {
        let (a, b) = (self.index(len), self.index(len));
        a.min(b)
    }

    /// An index below `len`.
    pub(crate) fn index(&mut self, len: usize) -> usize {
        let len = u64::try_from(len).expect("a length fits 64 bits");
        usize::try_from(self.below(len)).expect("an index is below a length")
    }

    /// One of several, all equally often.
    pub(crate) fn one_of<'a, T: ?Sized>(&mut self, items: &[&'a T]) -> &'a T {
        items[self.index(items.len())]
    }

    /// A number below `limit` as it stands in a record.
    pub(crate) fn small(&mut self, limit: u64) -> i64 {
        i64::try_from(self.below(limit)).expect("limits are small")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, HashSet};
    use wk_schemas::{Chain, codec};

    #[test]
    fn every_sample_is_a_canonical_record_and_every_chain_holds() {
        let mut chains: BTreeMap<(Topic, String, String), Chain> = BTreeMap::new();
        let mut ids = HashSet::new();
        let mut last = (Timestamp(0), Timestamp(0));
        for sample in Synthetic::new(3).take(20_000) {
            let view = codec::walk(&sample.datum).unwrap();
            assert_eq!((view.session_id, view.kind), (sample.session_id.as_str(), sample.kind));
            let chain = chains.entry((sample.topic, view.session_id.into(), view.writer.into())).or_default();
            chain.follow(view.seq, view.prev_digest, &sample.datum).unwrap();
            assert!(ids.insert(view.record_id.to_owned()), "{}", view.record_id);
            assert!(
                last.0 < sample.occurred_at && last.1 <= sample.recorded_at && sample.occurred_at <= sample.recorded_at
            );
            last = (sample.occurred_at, sample.recorded_at);
        }
    }

    #[test]
    fn the_mix_of_kinds_is_that_of_coding_sessions() {
        let mut kinds: BTreeMap<Kind, usize> = BTreeMap::new();
        let samples = 100_000;
        for sample in Synthetic::new(1).take(samples) {
            *kinds.entry(sample.kind).or_default() += 1;
        }
        let share = |kind: Kind| kinds.get(&kind).copied().unwrap_or(0) * 1000 / samples;
        assert!((450..750).contains(&share(Kind::FileAccessed)), "{kinds:?}");
        assert!((40..200).contains(&share(Kind::ProcessStarted)), "{kinds:?}");
        assert!((10..120).contains(&share(Kind::ToolCalled)), "{kinds:?}");
        assert!((5..120).contains(&share(Kind::ConnectionAttempted)), "{kinds:?}");
        let findings = kinds.get(&Kind::Finding).copied().unwrap_or(0);
        assert!((10..1000).contains(&findings), "{kinds:?}");
        assert!(kinds.contains_key(&Kind::SessionEnded) && kinds.contains_key(&Kind::PlanDeclared), "{kinds:?}");
    }
}
