//! The gate through which every answer and every act in the agent's place goes. While the session is frozen it is shut: what
//! would go on waits here in order, and goes on when the session is resumed.
//!
//! A held call whose thread is frozen would run when it is answered, freezer or not; so nothing is answered while the gate is
//! shut.

use crate::lock::lock;
use crate::sys::seccomp::{Answer, Notification};
use crate::workers::Job;
use std::sync::{Mutex, MutexGuard};

/// What waits at the gate.
pub(crate) enum Waiting {
    /// A call that was not looked at yet.
    Call(Notification),
    /// An answer.
    Answer(u64, Answer),
    /// An act in the agent's place.
    Act(Job),
}

#[derive(Default)]
struct State {
    shut: bool,
    waiting: Vec<Waiting>,
}

/// Open or shut.
#[derive(Default)]
pub(crate) struct Gate {
    state: Mutex<State>,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").field("shut", &self.lock().shut).finish_non_exhaustive()
    }
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Lets `what` through, or keeps it while the gate is shut. An answer is given under the gate's lock, so that shutting
    /// returns only when no answer is on its way.
    pub(crate) fn pass(&self, what: Waiting, through: impl FnOnce(Waiting)) {
        let mut state = self.lock();
        if state.shut {
            state.waiting.push(what);
        } else if matches!(what, Waiting::Answer(..)) {
            through(what);
        } else {
            drop(state);
            through(what);
        }
    }

    /// Shuts the gate; whether it was open.
    pub(crate) fn shut(&self) -> bool {
        !std::mem::replace(&mut self.lock().shut, true)
    }

    /// Whether it is shut.
    #[must_use]
    pub(crate) fn is_shut(&self) -> bool {
        self.lock().shut
    }

    /// Opens the gate; what waited, in order.
    pub(crate) fn open(&self) -> Vec<Waiting> {
        let mut state = self.lock();
        state.shut = false;
        std::mem::take(&mut state.waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_while_the_gate_is_shut_waits_in_order() {
        let gate = Gate::default();
        let mut through = Vec::new();
        let mut pass = |gate: &Gate, id| {
            gate.pass(Waiting::Answer(id, Answer::Continue), |what| {
                if let Waiting::Answer(id, _) = what {
                    through.push(id);
                }
            });
        };
        pass(&gate, 1);
        assert!(gate.shut());
        assert!(!gate.shut());
        pass(&gate, 2);
        pass(&gate, 3);
        let waited: Vec<u64> = gate
            .open()
            .into_iter()
            .filter_map(|what| if let Waiting::Answer(id, _) = what { Some(id) } else { None })
            .collect();
        pass(&gate, 4);
        assert_eq!((through, waited), (vec![1, 4], vec![2, 3]));
    }
}
