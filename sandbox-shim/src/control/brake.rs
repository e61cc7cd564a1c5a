//! Freezes, resumes and kills, and writes down what came of it.

use crate::clock;
use crate::contract::{Decision, Event, Recorder, Ticket};
use crate::lock::lock;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use wk_schemas::body::{PolicyApplied, SessionFrozen, SessionKilled, SessionResumed};
use wk_schemas::{Body, Origin, RecordId};

/// What a command can do to the agent.
pub trait Hands: Send + Sync {
    /// Stops every process.
    ///
    /// # Errors
    /// Why something may still run, in a sentence.
    fn freeze(&self) -> Result<Effect, String>;
    /// Lets them go on.
    ///
    /// # Errors
    /// Why they may stand still, in a sentence.
    fn resume(&self) -> Result<Effect, String>;
    /// Ends them.
    ///
    /// # Errors
    /// Why something may still run, in a sentence.
    fn kill(&self) -> Result<Effect, String>;
    /// Answers a held action; `false` when nothing waits under this ticket. The one who holds records the answer.
    fn resolve(&self, ticket: Ticket, decision: Decision) -> bool;
    /// Puts another policy in force.
    ///
    /// # Errors
    /// Why it stays as it was.
    fn replace_policy(&self, text: &str) -> Result<PolicyApplied, String>;
}

/// What freezing, resuming or killing came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// How many processes it met.
    pub processes: i64,
    /// How it was done.
    pub method: String,
}

/// Who wants the session to stand still. It goes on when nobody does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stopper {
    /// A command.
    Command,
    /// The outbox is nearly full.
    Outbox,
    /// The log was not reached after the start.
    Log,
}

/// Freezes and resumes, and writes down what came of it.
pub struct Brake {
    pub(super) hands: Arc<dyn Hands>,
    recorder: Arc<dyn Recorder>,
    stoppers: Mutex<BTreeSet<Stopper>>,
    killed: AtomicBool,
    lost: AtomicBool,
}

impl std::fmt::Debug for Brake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Brake").field("stoppers", &self.stoppers).finish_non_exhaustive()
    }
}

/// Why, and since when.
#[derive(Debug, Clone)]
pub struct Cause {
    /// The command; `None` when the shim acts by itself.
    pub command_id: Option<RecordId>,
    /// Why, in a sentence.
    pub reason: String,
    /// When it was asked for.
    pub since: Instant,
}

impl Brake {
    /// A brake on a session that runs.
    #[must_use]
    pub fn new(hands: Arc<dyn Hands>, recorder: Arc<dyn Recorder>) -> Self {
        Self {
            hands,
            recorder,
            stoppers: Mutex::default(),
            killed: AtomicBool::new(false),
            lost: AtomicBool::new(false),
        }
    }

    /// Stops every process, and kills them when they cannot be stopped.
    pub fn freeze(&self, stopper: Stopper, cause: &Cause) {
        let mut stoppers = lock(&self.stoppers);
        stoppers.insert(stopper);
        // Also when it stands still already: a fork may have slipped through, and the command asks for its fact.
        match self.hands.freeze() {
            Ok(Effect { processes, method }) => {
                let body = SessionFrozen {
                    command_id: cause.command_id,
                    method,
                    processes,
                    took_us: clock::micros_since(cause.since),
                    reason: cause.reason.clone(),
                };
                self.write(cause, body);
            }
            Err(error) => {
                tracing::error!(%error, "the session could not be frozen; it is killed");
                self.kill(&Cause { reason: format!("{}; freezing failed: {error}", cause.reason), ..cause.clone() });
            }
        }
    }

    /// Lets the processes go on, unless somebody else wants them to stand still.
    pub fn resume(&self, stopper: Stopper, cause: &Cause) {
        let mut stoppers = lock(&self.stoppers);
        let was_there = stoppers.remove(&stopper);
        if !stoppers.is_empty() || (stopper != Stopper::Command && !was_there) {
            return;
        }
        match self.hands.resume() {
            Ok(_) => {
                let body = SessionResumed {
                    command_id: cause.command_id,
                    took_us: clock::micros_since(cause.since),
                    reason: cause.reason.clone(),
                };
                self.write(cause, body);
            }
            Err(error) => tracing::error!(%error, "the session could not be resumed"),
        }
    }

    /// Something could not be recorded: the agent must not go on.
    pub fn lose(&self, cause: &Cause) {
        if !self.lost.swap(true, Ordering::SeqCst) {
            self.kill(cause);
        }
    }

    /// Whether the session was killed.
    #[must_use]
    pub fn has_killed(&self) -> bool {
        self.killed.load(Ordering::SeqCst)
    }

    /// Whether the session was ended because something could not be recorded.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::SeqCst)
    }

    /// Ends every process.
    pub fn kill(&self, cause: &Cause) {
        self.killed.store(true, Ordering::SeqCst);
        match self.hands.kill() {
            Ok(Effect { processes, .. }) => {
                let body = SessionKilled {
                    command_id: cause.command_id,
                    processes,
                    took_us: clock::micros_since(cause.since),
                    reason: cause.reason.clone(),
                };
                self.write(cause, body);
            }
            Err(error) => tracing::error!(%error, "the session could not be killed"),
        }
    }

    /// Writes down what was done, and which command asked for it.
    pub(super) fn write(&self, cause: &Cause, body: impl Into<Body>) {
        let event = Event {
            origin: Origin::Shim,
            caused_by: cause.command_id.into_iter().collect(),
            occurred_at: clock::now(),
            body: body.into(),
        };
        // The effect stands. That it cannot be recorded has stopped the agent already.
        if let Err(error) = self.recorder.record(event) {
            tracing::error!(%error, "what was done to the session could not be recorded");
        }
    }
}
