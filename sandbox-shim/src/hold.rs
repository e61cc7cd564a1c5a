//! Calls that wait for a person's answer. A held call costs an entry here, not a thread; thousands may wait at once.

use crate::contract::{Decision, Ticket};
use crate::lock::lock;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// What happens when the answer is there: `true` to go on.
pub(crate) type Then = Box<dyn FnOnce(bool, &str) + Send>;

/// A call that waits.
pub(crate) struct Held {
    /// Names the question.
    pub ticket: Ticket,
    /// The process that waits.
    pub pid: i32,
    /// The notification that waits; `None` for what asks through the proxy.
    pub notification: Option<u64>,
    /// Since when.
    pub since: Instant,
    /// When it is refused without an answer.
    pub deadline: Instant,
    /// What happens then.
    pub then: Then,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held").field("ticket", &self.ticket).field("pid", &self.pid).finish_non_exhaustive()
    }
}

/// How a hold ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Somebody answered.
    Answered(Decision),
    /// Nobody did in time.
    Expired,
    /// The process is gone.
    Abandoned,
}

/// All calls that wait.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    waiting: Mutex<BTreeMap<Ticket, Held>>,
}

impl Holds {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Ticket, Held>> {
        lock(&self.waiting)
    }

    /// Takes a call in.
    pub(crate) fn add(&self, held: Held) {
        self.lock().insert(held.ticket, held);
    }

    /// Takes the call out that a ticket names; only the first answer gets it.
    pub(crate) fn take(&self, ticket: Ticket) -> Option<Held> {
        self.lock().remove(&ticket)
    }

    /// Takes out every call whose deadline has passed.
    pub(crate) fn take_expired(&self, now: Instant) -> Vec<Held> {
        self.lock().extract_if(.., |_, held| held.deadline <= now).map(|(_, held)| held).collect()
    }

    /// Takes out every call of a process that is gone.
    pub(crate) fn take_of(&self, pid: i32) -> Vec<Held> {
        self.lock().extract_if(.., |_, held| held.pid == pid).map(|(_, held)| held).collect()
    }

    /// Takes out every call for which `gone` says that nobody waits any more.
    pub(crate) fn take_if(&self, gone: impl Fn(u64) -> bool) -> Vec<Held> {
        self.lock().extract_if(.., |_, held| held.notification.is_some_and(&gone)).map(|(_, held)| held).collect()
    }

    /// How long until the next deadline.
    #[must_use]
    pub(crate) fn next_deadline(&self, now: Instant) -> Option<Duration> {
        self.lock().values().map(|held| held.deadline.saturating_duration_since(now)).min()
    }

    /// How many wait.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(ticket: u128, pid: i32, now: Instant, after: u64) -> Held {
        Held {
            ticket: Ticket::from_u128(ticket),
            pid,
            notification: Some(0),
            since: now,
            deadline: now + Duration::from_secs(after),
            then: Box::new(|_, _| {}),
        }
    }

    #[test]
    fn only_the_first_answer_gets_a_held_call() {
        let (holds, now) = (Holds::default(), crate::clock::instant());
        holds.add(held(1, 10, now, 60));
        assert!(holds.take(Ticket::from_u128(1)).is_some());
        assert!(holds.take(Ticket::from_u128(1)).is_none());
    }

    #[test]
    fn thousands_wait_and_leave_by_deadline_or_with_their_process() {
        let (holds, now) = (Holds::default(), crate::clock::instant());
        for n in 0..5000_u32 {
            holds.add(held(u128::from(n), i32::try_from(n % 7).unwrap(), now, u64::from(n)));
        }
        assert_eq!(holds.take_expired(now + Duration::from_secs(999)).len(), 1000);
        assert_eq!(holds.next_deadline(now), Some(Duration::from_secs(1000)));
        assert_eq!(holds.take_of(0).len(), 4000 / 7 + 1);
        assert!(holds.take_of(0).is_empty());
    }
}
