//! The loop that receives notifications.
//!
//! One thread receives, decides and answers what can be answered at once; it never blocks on the agent, a file or the network.
//! What may block goes to a worker, what waits for a person goes to `holds`, and every answer passes the gate.

use super::core::{Core, Decided, Stop};
use crate::calls;
use crate::clock;
use crate::gate::Waiting;
use crate::hold::Ending;
use crate::lock::lock;
use crate::observe::memory::Memory;
use crate::observe::request::{self, Request};
use crate::process::Process;
use crate::sys;
use crate::sys::process::poll;
use crate::sys::seccomp::{self, Answer, Notification};
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use wk_schemas::Timestamp;

/// How often folds are looked at.
const TICK: Duration = Duration::from_millis(250);

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
            let Ok([listener, woken, read]) = self.wait(at_most) else { continue };
            if woken != 0 {
                sys::child::read(self.wake.as_fd(), &mut [0; 8]).ok();
            }
            let _one_moment = clock::StandStill::begin();
            if read != 0 {
                self.hear_of_reads();
            }
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

    /// What there is: of the listener, of those who wake the loop, and of what was read.
    fn wait(&self, at_most: i32) -> io::Result<[i16; 3]> {
        let (listener, wake) = (self.listener.as_fd(), self.wake.as_fd());
        match &self.reads {
            Some(reads) => poll([listener, wake, reads.news()], at_most),
            None => poll([listener, wake], at_most).map(|[listener, woken]| [listener, woken, 0]),
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
        let over = self.openings.as_ref().map(|openings| openings.over(at));
        self.record_repeats(over.unwrap_or_default()).ok();
        self.tell_results();
        self.tell_lost_results();
        self.tell_reads();
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
        // How the thread's call before ended, and what was read, is told before anything is said of this one.
        self.tell_results();
        self.tell_reads();
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
}
