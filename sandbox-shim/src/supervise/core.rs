//! What every part of the supervision shares, and the loop that receives notifications.
//!
//! One thread receives, decides and answers what can be answered at once; it never blocks on the agent, a file or the network.
//! What may block goes to a worker, what waits for a person goes to `holds`, and every answer passes the gate.

use crate::calls;
use crate::contract::{Causality, Event, Recorder, Ticket};
use crate::floor::Floor;
use crate::fold::{Fold, Repeats};
use crate::gate::{Gate, Waiting};
use crate::hold::{Ending, Held, Holds};
use crate::observe::memory::Memory;
use crate::observe::request::{self, Request};
use crate::observe::resolve::{Resolved, Resolver};
use crate::policy::{Policy, Verdict};
use crate::process::{Process, Table};
use crate::supervise::names::Names;
use crate::sys::seccomp::{self, Answer, Notification};
use crate::sys::{self, process};
use crate::workers::{Job, Workers};
use crate::{clock, sys::process::poll};
use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::Duration;
use wk_schemas::body::{
    ApprovalRequested, ApprovalResolved, CallAttempted, FileAccessed, FileOperation, Outcome, Resolution,
};
use wk_schemas::{Body, Origin, RecordId, Timestamp};

/// How often folds are looked at.
const TICK: Duration = Duration::from_millis(250);

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

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A thread that panicked left data that is still whole: every change in here is a single insert or remove.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Core {
    /// Receives until no process of the session is left. `first` is called before the first call is looked at.
    ///
    /// Between an answer and the next wait nothing is done that can be done later: the thread that was answered waits for this
    /// processor meanwhile, and when another takes it over, the next call costs twice as much.
    pub(crate) fn run(&self, first: impl FnOnce(i32)) {
        let mut first = Some(first);
        let mut wait = self.tick();
        let mut next_tick = clock::instant() + wait;
        loop {
            if self.gate.is_shut() {
                // A call that was not received yet can be frozen; one that was waits for the shim and cannot.
                poll([self.wake.as_fd()], 100).ok();
                sys::child::read(self.wake.as_fd(), &mut [0; 8]).ok();
                wait = self.tick();
                if !self.is_over() {
                    continue;
                }
            }
            let at_most = i32::try_from(wait.as_millis()).unwrap_or(0) + 1;
            let Ok([listener, woken]) = poll([self.listener.as_fd(), self.wake.as_fd()], at_most) else { continue };
            if woken != 0 {
                sys::child::read(self.wake.as_fd(), &mut [0; 8]).ok();
            }
            let _one_moment = clock::StandStill::begin();
            let now = clock::instant();
            if woken != 0 || now >= next_tick {
                wait = self.tick();
                next_tick = now + wait;
            }
            if listener & libc::POLLIN != 0 {
                if let Ok(call) = seccomp::receive(self.listener.as_fd()) {
                    if let Some(first) = first.take() {
                        first(call.thread);
                    }
                    self.take(call);
                }
            } else if listener & (libc::POLLHUP | libc::POLLERR) != 0 {
                return;
            }
        }
    }

    /// Whether no process is left that the listener is for.
    fn is_over(&self) -> bool {
        poll([self.listener.as_fd()], 0).is_ok_and(|[events]| events & (libc::POLLHUP | libc::POLLERR) != 0)
    }

    /// Ends folds and holds whose time has come; how long until the next look.
    fn tick(&self) -> Duration {
        let at = clock::now();
        let over = lock(&self.fold).expire(at);
        self.record_repeats(over).ok();
        let over = lock(&self.calls).expire(at);
        self.record_call_repeats(over).ok();
        let Some(deadline) = self.holds.next_deadline(clock::instant()) else { return TICK };
        for held in self.holds.take_expired(clock::instant()) {
            self.aside(move |core| core.end_hold(held, Ending::Expired));
        }
        // A thread can die while its process lives on; that is not worth a look at every call.
        let last = self.looked_for_abandoned.load(Ordering::Relaxed);
        if at.micros_since(Timestamp(last)) < 1_000_000 {
            return deadline.min(TICK);
        }
        self.looked_for_abandoned.store(at.0, Ordering::Relaxed);
        for held in self.holds.take_if(|id| !seccomp::is_valid(self.listener.as_fd(), id)) {
            self.aside(move |core| core.end_hold(held, Ending::Abandoned));
        }
        deadline.min(TICK)
    }

    /// Looks at a call now, or when the session is resumed.
    pub(crate) fn take(&self, call: Notification) {
        self.gate.pass(Waiting::Call(call), |_| self.handle(&call));
    }

    fn handle(&self, call: &Notification) {
        match self.decide(call) {
            Ok(Some(answer)) => self.answer(call.id, answer),
            Ok(None) => {}
            Err(Stop) => self.answer(call.id, Answer::Error(libc::EPERM)),
        }
    }

    fn decide(&self, call: &Notification) -> Decided {
        if self.failed.load(Ordering::Relaxed) {
            return Err(Stop);
        }
        let entry = calls::decision(call.nr, &call.args);
        if let Some(entry) = entry.filter(|entry| entry.is_about_the_sandbox()) {
            let process = match self.process_of(call) {
                Ok(Some(process)) => process,
                Ok(None) => return Ok(None),
                Err(_) => return Ok(Some(Answer::Error(libc::EPERM))),
            };
            if let Some(decided) = self.attempt(call, &process, entry) {
                return decided;
            }
        }
        let memory = Memory { thread: call.thread };
        let request = match request::read(call, memory) {
            Ok(request) => request,
            // The kernel would have said the same, except for EPERM: then the shim cannot see, and what it cannot see it refuses.
            Err(error) => return Ok(Some(Answer::Error(sys::errno(&error)))),
        };
        let process = match self.process_of(call) {
            Ok(Some(process)) => process,
            Ok(None) => return Ok(None),
            // Whoever asks cannot be made out, so nothing could be said about it.
            Err(_) => return Ok(Some(Answer::Error(libc::EPERM))),
        };
        // After an exec the first call comes from the thread whose number is the process's.
        let process = if call.thread == process.pid { self.verify_image(process)? } else { process };
        match request {
            Request::Execute { place, argv, follow } => self.execute(call, &process, &place, argv, follow),
            Request::Open { place, flags, mode, resolve } => self.open(call, &process, &place, (flags, mode, resolve)),
            Request::Change { place, follow, change } => self.change(call, &process, &place, follow, change),
            Request::ChangeOpen { descriptor, change } => self.change_open(call, &process, descriptor, change),
            Request::Move { from, to, link, follow, flags } => {
                self.rename(call, &process, (&from, &to), (link, follow, flags))
            }
            Request::Symlink { text, place } => self.symlink(call, &process, &text, &place),
            Request::Connect { socket, address } => self.connect(call, &process, socket, address),
            Request::Bind { socket, address } => self.bind(call, &process, socket, &address),
            Request::Listen { socket } => self.listen(call, &process, socket),
            Request::SendTo { socket, data, length, flags, address } => {
                self.send_to(call, &process, socket, (data, length, flags), address)
            }
            Request::SendMessages { socket, headers, count, flags, several } => {
                self.send_messages(call, &process, socket, (headers, count, flags, several))
            }
            Request::Socket { domain, kind, protocol } => {
                let made = self.sockets.as_ref().map(|sockets| sockets.make(domain, kind, protocol));
                let made = made.unwrap_or_else(|| Err(io::Error::from_raw_os_error(libc::EPERM)));
                self.answer_with(call.id, made, kind & libc::SOCK_CLOEXEC != 0);
                Ok(None)
            }
            Request::Seen => self.attribute(call, &process),
        }
    }

    /// The process behind a call; `None` when it is gone. A process met before is not checked again here: whoever uses what was
    /// read about a call asks `is_waiting` when all of it has been read.
    fn process_of(&self, call: &Notification) -> io::Result<Option<Arc<Process>>> {
        let met = lock(&self.table).of_thread(call.thread, clock::instant(), clock::now());
        match met {
            Ok(met) if !met.is_new => Ok(Some(met.process)),
            _ if !self.is_waiting(call) => Ok(None),
            Ok(met) => {
                self.exits.watch(&met.process);
                Ok(Some(met.process))
            }
            Err(error) => Err(error),
        }
    }

    /// Whether the call still waits, so that what was read about its thread is about its thread.
    pub(crate) fn is_waiting(&self, call: &Notification) -> bool {
        seccomp::is_valid(self.listener.as_fd(), call.id)
    }

    /// Answers, now or when the session is resumed.
    pub(crate) fn answer(&self, id: u64, answer: Answer) {
        self.gate.pass(Waiting::Answer(id, answer), |_| {
            // ENOENT: killed while it waited. Nobody is left to be told.
            seccomp::answer(self.listener.as_fd(), id, answer).ok();
        });
    }

    /// Answers with a descriptor; an error goes to the process instead.
    pub(crate) fn answer_with(&self, id: u64, file: io::Result<OwnedFd>, close_on_exec: bool) {
        let given = file
            .and_then(|file| seccomp::answer_with_descriptor(self.listener.as_fd(), id, file.as_fd(), close_on_exec));
        if let Err(error) = given {
            self.answer(id, Answer::Error(sys::errno(&error)));
        }
    }

    /// Acts in the agent's place on a worker, now or when the session is resumed.
    pub(crate) fn act(&self, act: impl FnOnce(&Core) + Send + 'static) {
        let me = self.me.clone();
        let job: Job = Box::new(move || {
            if let Some(core) = me.upgrade() {
                act(&core);
            }
        });
        let me = self.me.clone();
        self.workers.run(Box::new(move || {
            if let Some(core) = me.upgrade() {
                core.gate.pass(Waiting::Act(job), |what| {
                    if let Waiting::Act(job) = what {
                        job();
                    }
                });
            }
        }));
    }

    /// Lets everything through that waited while the session was frozen.
    pub(crate) fn reopen(&self) {
        for waiting in self.gate.open() {
            match waiting {
                Waiting::Call(call) => self.take(call),
                Waiting::Answer(id, answer) => self.answer(id, answer),
                Waiting::Act(job) => self.workers.run(job),
            }
        }
        self.wake();
    }

    pub(crate) fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.policy.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn replace_policy(&self, policy: Arc<Policy>) {
        *self.policy.write().unwrap_or_else(PoisonError::into_inner) = policy;
    }

    /// Writes down what happened.
    pub(crate) fn record(&self, origin: Origin, occurred_at: Timestamp, body: Body) -> Result<RecordId, Stop> {
        let refused = self.telling.as_ref().and_then(|telling| Some((telling, super::telling::refused(&body)?)));
        let kept = self.kept(self.recorder.record(Event { origin, caused_by: vec![], occurred_at, body }))?;
        if let Some((telling, refused)) = refused {
            telling.tell(refused, kept);
        }
        Ok(kept)
    }

    /// As [`Core::record`], and returns only when it survives a loss of power.
    pub(crate) fn record_durable(
        &self,
        origin: Origin,
        occurred_at: Timestamp,
        caused_by: Vec<RecordId>,
        body: Body,
    ) -> Result<RecordId, Stop> {
        self.kept(self.recorder.record_durable(Event { origin, caused_by, occurred_at, body }))
    }

    fn kept(&self, result: Result<RecordId, crate::contract::RecordError>) -> Result<RecordId, Stop> {
        result.map_err(|error| {
            if !self.failed.swap(true, Ordering::SeqCst) {
                tracing::error!(%error, "an event could not be recorded; the agent is stopped");
                (self.on_failure)();
            }
            Stop
        })
    }

    /// Writes down everything that was counted and is not yet written.
    pub(crate) fn record_all_repeats(&self) {
        let repeats = lock(&self.fold).end();
        self.record_repeats(repeats).ok();
        let repeats = lock(&self.calls).end();
        self.record_call_repeats(repeats).ok();
    }

    /// Writes down repeats that were counted.
    pub(crate) fn record_repeats(&self, repeats: Vec<Repeats<FileAccessed>>) -> Result<(), Stop> {
        for Repeats { what, count, last_at } in repeats {
            let body = FileAccessed { count, last_at: Some(last_at), ..what };
            self.record(Origin::Kernel, last_at, body.into())?;
        }
        Ok(())
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
        place: &request::Place,
        follow: bool,
    ) -> io::Result<Resolved> {
        lock(&self.resolver).resolve((call.thread, process.pid), place, follow, clock::instant())
    }

    /// Asks a person about a call; `then` is done with the answer, on a worker.
    pub(crate) fn hold(
        &self,
        call: &Notification,
        process: &Process,
        verdict: &Verdict,
        question: Question,
        then: impl FnOnce(&Core, bool, &str) + Send + 'static,
    ) {
        self.ask(Some(call.id), process, verdict, question, then);
    }

    /// Asks a person, about a call that waits or about something else; the ticket under which the answer comes.
    pub(crate) fn ask(
        &self,
        notification: Option<u64>,
        process: &Process,
        verdict: &Verdict,
        question: Question,
        then: impl FnOnce(&Core, bool, &str) + Send + 'static,
    ) -> Ticket {
        let (ticket, now, at) = (clock::new_id(), clock::instant(), clock::now());
        let timeout = self.policy().hold_timeout;
        let object = question.path.as_deref().or(question.host_name.as_deref()).or(question.address.as_deref());
        let (tool_call_id, mediation) = self.causality.mediation(&process.tie, object.unwrap_or_default());
        let body = ApprovalRequested {
            ticket: RecordId(ticket),
            action: question.action.to_owned(),
            subject: question.subject,
            actor: Some(process.actor(tool_call_id.clone(), mediation)),
            tool_call_id,
            path: question.path,
            address: question.address,
            port: question.port,
            host_name: question.host_name,
            reason: verdict.reason.clone().unwrap_or_else(|| "the policy's default".to_owned()),
            deadline: at.plus_micros(i64::try_from(timeout.as_micros()).unwrap_or(i64::MAX)),
        };
        let me = self.me.clone();
        // In the table before it is known outside: the answer may come at once.
        self.holds.add(Held {
            ticket,
            pid: process.pid,
            notification,
            since: now,
            deadline: now + timeout,
            then: Box::new(move |granted, reason| {
                let reason = reason.to_owned();
                if let Some(core) = me.upgrade() {
                    core.act(move |core| then(core, granted, &reason));
                }
            }),
        });
        self.aside(move |core| {
            let kept = core.record_durable(Origin::Shim, at, vec![], body.into());
            if kept.is_err()
                && let Some(held) = core.holds.take(ticket)
            {
                (held.then)(false, "the question could not be recorded");
            }
        });
        self.wake();
        ticket
    }

    /// Has something done by a worker that touches the agent in no way, frozen or not: the thread that receives must not wait for a
    /// disk.
    fn aside(&self, act: impl FnOnce(&Core) + Send + 'static) {
        let me = self.me.clone();
        self.workers.run(Box::new(move || {
            if let Some(core) = me.upgrade() {
                act(&core);
            }
        }));
    }

    /// Ends a hold: writes down how, then goes on or refuses.
    pub(crate) fn end_hold(&self, held: Held, ending: Ending) {
        let (resolution, by, reason, command_id) = match ending {
            Ending::Answered(decision) => {
                let resolution = if decision.granted { Resolution::Granted } else { Resolution::Denied };
                (resolution, decision.by, decision.reason, decision.command_id)
            }
            Ending::Expired => (Resolution::Expired, None, "nobody answered in time".to_owned(), None),
            Ending::Abandoned => (Resolution::Abandoned, None, "the process that waited is gone".to_owned(), None),
        };
        let body = ApprovalResolved {
            ticket: RecordId(held.ticket),
            resolution,
            by,
            reason: reason.clone(),
            command_id,
            waited_us: clock::micros_since(held.since),
        };
        let caused_by = command_id.into_iter().collect();
        let kept = self.record_durable(Origin::Shim, clock::now(), caused_by, body.into());
        let granted = kept.is_ok() && resolution == Resolution::Granted;
        let reason = match resolution {
            Resolution::Granted => format!("granted: {reason}"),
            Resolution::Denied => format!("denied: {reason}"),
            Resolution::Expired | Resolution::Abandoned | Resolution::Unspecified => reason,
        };
        (held.then)(granted, &reason);
    }

    /// Answers a ticket; whether anything waited under it.
    pub(crate) fn answer_ticket(&self, ticket: Ticket, decision: crate::contract::Decision) -> bool {
        let Some(held) = self.holds.take(ticket) else { return false };
        let gone = held.notification.is_some_and(|id| !seccomp::is_valid(self.listener.as_fd(), id));
        self.end_hold(held, if gone { Ending::Abandoned } else { Ending::Answered(decision) });
        !gone
    }

    /// A process has ended: its folds and holds end with it.
    pub(crate) fn process_is_gone(&self, pid: i32) {
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

/// What a person is asked.
#[derive(Debug, Default)]
pub(crate) struct Question {
    pub(crate) action: &'static str,
    pub(crate) subject: String,
    pub(crate) path: Option<String>,
    pub(crate) address: Option<String>,
    pub(crate) port: Option<i32>,
    pub(crate) host_name: Option<String>,
}
