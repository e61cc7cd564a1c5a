//! How calls ended that were let through to the kernel: what was recorded of each is remembered until then, and an error becomes a
//! second record.
//!
//! A thread is in one call at a time, so it is what a call is known by. The ring is emptied whenever a call comes in, and the end
//! of a call is in it before the same thread comes with the next one: an end is always that of the call that is remembered. What comes
//! out is written down before anything is said of the call that came in, and in a session in which nothing happens a quarter of a second
//! later. To be woken for each error would cost more than that is worth (`docs/0006-observers.md`), so there is no thread that waits
//! for them, and none that could end without the supervision.

use super::core::{Core, Stop};
use super::files::Access;
use super::network::Attempt;
use crate::calls::Entry;
use crate::clock;
use crate::contract::Observer;
use crate::ebpf::{self, AWAITED_MAX, REASON, Ring, Thread};
use crate::lock::lock;
use crate::process::Process;
use crate::sys::seccomp::{Answer, Notification};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use wk_schemas::body::{Outcome, ProcessStarted, RecordsLost};
use wk_schemas::{Origin, RecordId};

/// Why there is a gap in how calls ended.
const NO_ROOM: &str =
    "more calls were let through or failed at once than can be told of: how these ended is not on record";

/// What was let through, as far as a second record of it needs that.
#[derive(Debug)]
pub(super) enum Asked {
    /// To open or change a file.
    File(Access),
    /// To use the network, or a local socket.
    Network(Attempt),
    /// Something about the sandbox, and what the arguments say.
    Call(&'static Entry, String),
    /// To execute a program.
    Exec(Box<ProcessStarted>),
}

/// A call whose end was not told yet.
#[derive(Debug)]
struct Awaited {
    process: Arc<Process>,
    /// The record that says that it was let through; there is none where it was only counted.
    record: Option<RecordId>,
    asked: Asked,
}

#[derive(Debug)]
struct State {
    ring: Ring,
    /// Also those that succeeded, of which nothing is told: until the thread's next call, or the end of the process.
    awaited: BTreeMap<Thread, Awaited>,
    /// Ends that could not even be awaited.
    refused: u64,
    /// How many were told to be lost.
    told_lost: u64,
}

/// What is known about calls that were let through.
#[derive(Debug)]
pub(crate) struct Results {
    kernel: ebpf::Results,
    /// Locked until what came out is written down: what comes out first is told first.
    state: Mutex<State>,
}

impl Results {
    pub(super) fn new((kernel, ring): (ebpf::Results, Ring)) -> Self {
        let state = State { ring, awaited: BTreeMap::new(), refused: 0, told_lost: 0 };
        Self { kernel, state: Mutex::new(state) }
    }

    /// The observer, for whoever asks what it sees.
    pub(super) fn observer(&self) -> &dyn Observer {
        &self.kernel
    }
}

impl Core {
    /// The kernel goes on with a call, and its end is awaited; what to answer. `record` says that it was let through.
    pub(super) fn goes_on(
        &self,
        call: &Notification,
        process: &Arc<Process>,
        record: Option<RecordId>,
        asked: impl FnOnce() -> Asked,
    ) -> Answer {
        if let Some(results) = &self.results {
            let thread = Thread::of(process.pid, call.thread);
            let awaited = Awaited { process: Arc::clone(process), record, asked: asked() };
            let state = &mut *lock(&results.state);
            if state.awaited.len() >= AWAITED_MAX as usize {
                // In this order: what is not awaited any more is in the ring.
                let over = state.awaited.keys().filter(|thread| !results.kernel.is_awaited(**thread));
                let over: Vec<Thread> = over.copied().collect();
                self.tell_from(state);
                for thread in over {
                    state.awaited.remove(&thread);
                }
            }
            let is_awaited = state.awaited.len() < AWAITED_MAX as usize && results.kernel.await_end(thread);
            if is_awaited {
                state.awaited.insert(thread, awaited);
            } else {
                state.refused += 1;
            }
        }
        Answer::Continue
    }

    /// Tells everything that is in the ring now.
    pub(super) fn tell_results(&self) {
        if let Some(results) = &self.results {
            self.tell_from(&mut lock(&results.state));
        }
    }

    /// Process `pid` has ended and will be forgotten.
    pub(super) fn tell_last_results(&self, pid: i32) {
        let Some(results) = &self.results else { return };
        let state = &mut *lock(&results.state);
        self.tell_from(state);
        for (thread, _) in state.awaited.extract_if(Thread::all_of(pid), |_, _| true) {
            results.kernel.forget(thread);
        }
    }

    /// Tells how many ends were lost since this was last asked.
    pub(super) fn tell_lost_results(&self) {
        let Some(results) = &self.results else { return };
        let state = &mut *lock(&results.state);
        let lost = results.kernel.lost() + state.refused;
        let count = i64::try_from(lost - state.told_lost).unwrap_or(i64::MAX);
        if count > 0 {
            let body = RecordsLost { count, stage: "kernel".to_owned(), reason: NO_ROOM.to_owned() };
            if self.record(Origin::Shim, clock::now(), body.into()).is_ok() {
                state.told_lost = lost;
            }
        }
    }

    fn tell_from(&self, state: &mut State) {
        while let Some(failed) = state.ring.next_failed() {
            let awaited = state.awaited.remove(&failed.thread);
            if let (Some(awaited), Some(errno)) = (awaited, ebpf::error_of(failed.result)) {
                // What could not be recorded has stopped the agent.
                self.record_failure(awaited, errno).ok();
            }
        }
    }

    fn record_failure(&self, awaited: Awaited, errno: i32) -> Result<(), Stop> {
        let Awaited { process, record, asked } = awaited;
        let (outcome, errno, reason) = (Outcome::Failed, Some(errno), Some(REASON.to_owned()));
        let caused_by = Vec::from_iter(record);
        let body = match asked {
            Asked::File(access) => {
                return self.record_access_after(caused_by, &process, &access, outcome, errno, reason).map(drop);
            }
            Asked::Call(entry, detail) => {
                return self.record_call(caused_by, &process, (entry.name, REASON), detail, outcome, errno).map(drop);
            }
            // The attempt itself was counted before.
            Asked::Network(attempt) => self.attempt_body(&process, &attempt, outcome, errno, reason, 0).into(),
            Asked::Exec(body) => ProcessStarted { outcome, errno, reason, ..*body }.into(),
        };
        self.record_after(caused_by, Origin::Kernel, clock::now(), body).map(drop)
    }
}
