//! How much may be asked: questions by a bucket that fills with time, tokens by the day. Pure: time comes in.

use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

/// What is left.
#[derive(Debug)]
pub(super) struct Budget {
    per_minute: f64,
    burst: f64,
    level: f64,
    filled: Duration,
    tokens_per_day: u64,
    tokens: u64,
    day: u64,
}

impl Budget {
    pub(super) fn new(per_minute: u32, burst: u32, tokens_per_day: u64) -> Self {
        let burst = f64::from(burst.max(1));
        Self {
            per_minute: f64::from(per_minute),
            burst,
            level: burst,
            filled: Duration::ZERO,
            tokens_per_day,
            tokens: 0,
            day: 0,
        }
    }

    /// Takes one question out of the bucket, if there is one and the day's tokens are not spent.
    pub(super) fn take(&mut self, now: Duration) -> bool {
        let day = now.as_secs() / DAY.as_secs();
        if day != self.day {
            (self.day, self.tokens) = (day, 0);
        }
        let passed = now.saturating_sub(self.filled).as_secs_f64();
        self.level = (self.level + passed * self.per_minute / 60.0).min(self.burst);
        self.filled = now;
        let may = self.level >= 1.0 && self.tokens < self.tokens_per_day;
        if may {
            self.level -= 1.0;
        }
        may
    }

    /// Tokens that an answer cost.
    pub(super) const fn spend(&mut self, tokens: u64) {
        self.tokens = self.tokens.saturating_add(tokens);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bucket_fills_with_time_and_the_day_has_its_limit() {
        let at = Duration::from_secs;
        let mut budget = Budget::new(60, 2, 100);
        assert!(budget.take(at(0)) && budget.take(at(0)) && !budget.take(at(0)));
        assert!(budget.take(at(1)) && !budget.take(at(1)));
        budget.spend(100);
        assert!(!budget.take(at(50)));
        assert!(budget.take(DAY));
    }
}
