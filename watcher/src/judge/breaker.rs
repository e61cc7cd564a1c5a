//! Leaves an endpoint alone that fails again and again. Pure: time comes in.

use std::time::Duration;

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(600);

/// Counts failures in a row. While it is open nothing is asked; then one question is let through to see.
#[derive(Debug)]
pub(super) struct Breaker {
    failures_max: u32,
    pause: Duration,
    failures: u32,
    openings: u32,
    /// Open until then, in time since the start.
    until: Option<Duration>,
    is_trying: bool,
}

impl Breaker {
    pub(super) const fn new(failures_max: u32, pause: Duration) -> Self {
        Self { failures_max, pause, failures: 0, openings: 0, until: None, is_trying: false }
    }

    /// Whether a question may be asked now. After a pause only one may, until its outcome is known.
    pub(super) fn admits(&mut self, now: Duration) -> bool {
        match self.until {
            None => true,
            Some(until) if now < until || self.is_trying => false,
            Some(_) => {
                self.is_trying = true;
                true
            }
        }
    }

    /// The endpoint is well.
    pub(super) const fn succeeded(&mut self) {
        self.failures = 0;
        self.openings = 0;
        self.until = None;
        self.is_trying = false;
    }

    /// The endpoint is not well; `is_final` says that it will not be soon (a spent quota). Whether the breaker opened by it.
    pub(super) fn failed(&mut self, now: Duration, is_final: bool) -> bool {
        self.failures = self.failures.saturating_add(1);
        let opens = is_final || self.is_trying || (self.until.is_none() && self.failures >= self.failures_max);
        if opens {
            let pause = self.pause.saturating_mul(1 << self.openings.min(8)).min(PAUSE_MAX);
            self.until = Some(now + if is_final { PAUSE_MAX } else { pause });
            self.openings = self.openings.saturating_add(1);
        }
        self.is_trying = false;
        opens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_tries_once_and_waits_longer_each_time() {
        let at = Duration::from_secs;
        let mut breaker = Breaker::new(3, at(10));
        assert!(!breaker.failed(at(0), false) && !breaker.failed(at(0), false) && breaker.admits(at(0)));
        assert!(breaker.failed(at(1), false));
        assert!(!breaker.admits(at(10)));
        assert!(breaker.admits(at(11)) && !breaker.admits(at(11)));
        assert!(breaker.failed(at(12), false));
        assert!(!breaker.admits(at(31)) && breaker.admits(at(32)));
        breaker.succeeded();
        assert!(breaker.admits(at(32)) && breaker.admits(at(32)));
        assert!(breaker.failed(at(40), true) && !breaker.admits(at(639)) && breaker.admits(at(640)));
    }
}
