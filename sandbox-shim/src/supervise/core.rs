//! What every part of the supervision shares.
//!
//! [`super::receive`] has the loop that receives notifications, [`super::answer`] what goes back through the gate, [`super::keep`] the
//! records, and [`super::ask`] what waits for a person.

use crate::clock;
use crate::contract::{Causality, Observer, Recorder};
use crate::floor::Floor;
use crate::fold::Fold;
use crate::gate::Gate;
use crate::hold::{Ending, Holds};
use crate::lock::lock;
use crate::observe::request::Place;
use crate::observe::resolve::{Resolved, Resolver};
use crate::policy::Policy;
use crate::process::{Process, Table};
use crate::supervise::names::Names;
use crate::sys::seccomp::{self, Answer, Notification};
use crate::sys::{self, process};
use crate::workers::Workers;
use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use wk_schemas::body::{CallAttempted, FileAccessed, FileOperation, Outcome};

/// What makes two accesses to files the same, for folding.
pub(crate) type FileKey = (FileOperation, Outcome, i64, OsString);

/// What all threads of one session share.
pub(crate) struct Core {
    pub(crate) me: Weak<Core>,
    pub(crate) listener: OwnedFd,
    pub(crate) recorder: Arc<dyn Recorder>,
    pub(crate) causality: Arc<dyn Causality>,
    pub(crate) policy: RwLock<Arc<Policy>>,
    pub(crate) floor: RwLock<Floor>,
    pub(crate) protected: Vec<PathBuf>,
    pub(crate) protected_endpoints: Vec<SocketAddr>,
    pub(crate) table: Mutex<Table>,
    pub(crate) resolver: Mutex<Resolver>,
    pub(crate) fold: Mutex<Fold<i32, FileKey, FileAccessed>>,
    pub(crate) calls: Mutex<Fold<i32, super::attempts::CallKey, CallAttempted>>,
    pub(crate) holds: Holds,
    pub(crate) names: Names,
    /// Only when what leaves goes through the proxy.
    pub(crate) out: Option<super::egress::Out>,
    /// Only where sockets cannot be copied.
    pub(crate) sockets: Option<super::sockets::Sockets>,
    /// Only when somebody listens.
    pub(super) telling: Option<super::telling::Telling>,
    pub(crate) gate: Gate,
    pub(crate) workers: Workers,
    pub(crate) exits: super::exits::Exits,
    /// Only as root: what the kernel opens to execute programs.
    pub(super) openings: Option<super::openings::Openings>,
    /// Only as root: how calls ended that were let through.
    pub(super) results: Option<super::results::Results>,
    /// Only where reads do not wait: what was opened for reading.
    pub(super) reads: Option<super::reads::Reads>,
    /// Held while it is told that a process runs another program than it asked for: two may find that out at once.
    pub(super) telling_another: Mutex<()>,
    pub(crate) wake: OwnedFd,
    pub(crate) looked_for_abandoned: AtomicI64,
    pub(crate) failed: AtomicBool,
    pub(crate) on_failure: Box<dyn Fn() + Send + Sync>,
}

/// Nothing more is recorded, so nothing more may happen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stop;

/// What becomes of a call.
pub(crate) type Decided = Result<Option<Answer>, Stop>;

impl Core {
    /// Those who watch beside the supervision.
    pub(super) fn observers(&self) -> impl Iterator<Item = &dyn Observer> {
        let openings = self.openings.as_ref().map(|openings| openings.watch() as &dyn Observer);
        let results = self.results.as_ref().map(super::results::Results::observer);
        openings.into_iter().chain(results).chain(self.reads.as_ref().map(super::reads::Reads::observer))
    }

    /// Their words.
    pub(super) fn observed_by(&self) -> impl Iterator<Item = String> {
        self.observers().map(|observer| observer.word().to_owned())
    }

    /// Whether the call still waits, so that what was read about its thread is about its thread.
    pub(crate) fn is_waiting(&self, call: &Notification) -> bool {
        seccomp::is_valid(self.listener.as_fd(), call.id)
    }

    /// The policy in force.
    pub(crate) fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.policy.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn replace_policy(&self, policy: Arc<Policy>) {
        *self.policy.write().unwrap_or_else(PoisonError::into_inner) = policy;
    }

    /// Whether a path is one that the agent must never reach.
    pub(crate) fn is_protected(&self, path: &Path) -> bool {
        self.protected.iter().any(|protected| path.starts_with(protected))
    }

    /// Resolves a path of the calling thread.
    pub(crate) fn resolve(
        &self,
        call: &Notification,
        process: &Process,
        place: &Place,
        follow: bool,
    ) -> io::Result<Resolved> {
        lock(&self.resolver).resolve((call.thread, process.pid), place, follow, clock::instant())
    }

    /// A process has ended: its folds and holds end with it.
    pub(crate) fn process_is_gone(&self, pid: i32) {
        self.tell_last_openings(pid);
        self.tell_last_results(pid);
        self.tell_reads();
        let repeats = lock(&self.fold).end_group(pid);
        self.record_repeats(repeats).ok();
        let repeats = lock(&self.calls).end_group(pid);
        self.record_call_repeats(repeats).ok();
        for held in self.holds.take_of(pid) {
            self.end_hold(held, Ending::Abandoned);
        }
    }

    /// Wakes the loop, so that it looks at its deadlines again.
    pub(crate) fn wake(&self) {
        sys::child::write(self.wake.as_fd(), &1_u64.to_ne_bytes()).ok();
    }

    /// Sends a signal to one process of the session.
    pub(crate) fn signal(&self, pid: i32, signal: i32) {
        if let Some(process) = lock(&self.table).get(pid) {
            process::pidfd_signal(process.pidfd.as_fd(), signal).ok();
        }
    }
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").finish_non_exhaustive()
    }
}
