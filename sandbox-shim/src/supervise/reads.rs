//! Opens for reading that did not wait for the shim: told by the kernel's program afterwards, and written down.
//!
//! The ring is emptied whenever a call comes in, before anything is said of it: what a process has read stands in the record before
//! whatever it, or another one, does next that the shim hears of before it happens. It is emptied too whenever a good deal has come, a quarter of a
//! second after the last time, before a process that ended is forgotten, and when the session is frozen and at its end. While more than half of the
//! ring waits, the tree stands still. What is lost all the same is counted, and ends the agent.

use super::core::{Core, Stop};
use super::files::Access;
use crate::clock;
use crate::contract::Observer;
use crate::ebpf::{self, Read, Told, error_of};
use crate::freeze::Brake;
use crate::lock::lock;
use crate::observe::resolve::{Resolved, without_dots};
use crate::policy::Action;
use crate::process::Process;
use crate::sys::process as sys;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use wk_schemas::Origin;
use wk_schemas::body::{FileOperation, Outcome, RecordsLost};

/// Why there is a gap in what was read.
const NO_ROOM: &str = "more was opened for reading at once than can be told of, and the agent was stopped";
/// What a record says of a read that was to be refused.
const TOO_LATE: &str = "read before the shim heard of it, and ended for that";

#[derive(Debug)]
struct State {
    told: Told,
    /// How many were told to be lost.
    told_lost: u64,
    /// Who read last, as whose relative one is taken that nobody knows.
    last: Option<Arc<Process>>,
}

/// What is known about reads.
#[derive(Debug)]
pub(crate) struct Reads {
    kernel: ebpf::Reads,
    brake: Arc<Brake>,
    /// Readable when a good deal has come.
    news: OwnedFd,
    /// Locked until what came out is written down: what comes out first is told first.
    state: Mutex<State>,
}

impl Reads {
    /// # Errors
    /// When there are too many descriptors.
    pub(super) fn new((kernel, told): (ebpf::Reads, Told), brake: Arc<Brake>) -> io::Result<Self> {
        let news = sys::epoll()?;
        sys::epoll_watch_changes(news.as_fd(), told.as_fd())?;
        Ok(Self { kernel, brake, news, state: Mutex::new(State { told, told_lost: 0, last: None }) })
    }

    /// The observer, for whoever asks what it sees.
    pub(super) fn observer(&self) -> &dyn Observer {
        &self.kernel
    }

    /// Readable when a good deal has come, until [`Core::hear_of_reads`].
    pub(super) fn news(&self) -> BorrowedFd<'_> {
        self.news.as_fd()
    }

    fn hear(&self) {
        sys::epoll_wait(self.news.as_fd(), 0).ok();
    }
}

impl Core {
    /// A good deal was read.
    pub(super) fn hear_of_reads(&self) {
        if let Some(reads) = &self.reads {
            reads.hear();
        }
        self.tell_reads();
    }

    /// Tells everything that was opened for reading until now.
    pub(super) fn tell_reads(&self) {
        let Some(reads) = &self.reads else { return };
        let state = &mut *lock(&reads.state);
        let mut paused = None;
        while let Some(read) = state.told.next() {
            if paused.is_none() && state.told.is_half_full() {
                paused = Some(reads.brake.pause());
            }
            // What could not be recorded has stopped the agent.
            self.record_read(reads, &mut state.last, read).ok();
        }
        drop(paused);
        let lost = reads.kernel.lost();
        let count = i64::try_from(lost - state.told_lost).unwrap_or(i64::MAX);
        if count > 0 {
            state.told_lost = lost;
            self.record_lost_reads(count, NO_ROOM);
        }
    }

    fn record_lost_reads(&self, count: i64, reason: &str) {
        let body = RecordsLost { count, stage: "kernel".to_owned(), reason: reason.to_owned() };
        self.record(Origin::Shim, clock::now(), body.into()).ok();
        self.fail(&reason, "what was read is not on record");
    }

    fn record_read(&self, reads: &Reads, last: &mut Option<Arc<Process>>, read: Read) -> Result<(), Stop> {
        let errno = error_of(read.result);
        // The session's own init, and what is to be made again.
        if read.thread.process() == reads.brake.init || (read.result < 0 && errno.is_none()) {
            return Ok(());
        }
        let Some(process) = self.reader(&read).or_else(|| Some(child_of(last.as_ref()?, &read))) else {
            self.record_lost_reads(1, "something was read by a process that nobody knows");
            return Err(Stop);
        };
        *last = Some(Arc::clone(&process));
        let flags = i64::from(read.flags);
        let (name, target) = read.named(without_dots).unwrap_or_else(|| (PathBuf::from("?"), None));
        let in_proc = name.starts_with("/proc");
        let at = Resolved { real: target.unwrap_or_else(|| name.clone()), name, in_proc, proc: None };
        let (outcome, (reason, is_over)) = match errno {
            Some(_) => (Outcome::Failed, (None, false)),
            None => (Outcome::Succeeded, self.afterwards(&process, &at)),
        };
        let access = Access::of(FileOperation::Read, at, flags);
        self.record_access(&process, &access, outcome, errno, reason)?;
        // One that has ended since may have left its number to another.
        let is_known = || lock(&self.table).get(process.pid).is_some_and(|known| known.uid == process.uid);
        if is_over && is_known() {
            self.signal(process.pid, libc::SIGKILL);
        }
        Ok(())
    }

    /// Why something could be opened, or should not have been, and whether its process ends for it. The policy said nothing against any read when the
    /// session began; another one may be in force by now.
    fn afterwards(&self, process: &Process, at: &Resolved) -> (Option<String>, bool) {
        if self.is_protected(&at.real) || self.is_protected(&at.name) {
            return (Some("a cover over what the shim protects".to_owned()), false);
        }
        let verdict = self.refuse_reaching_past(process, at, false).unwrap_or_else(|| self.file_verdict(at, false));
        match (verdict.action, verdict.reason) {
            (Action::Allow, reason) => (reason, false),
            (Action::Deny | Action::Hold, reason) => {
                (Some(format!("{}: {TOO_LATE}", reason.as_deref().unwrap_or("not allowed"))), true)
            }
        }
    }

    /// The process that read; one that is not known and has ended since is a child of one that is.
    fn reader(&self, read: &Read) -> Option<Arc<Process>> {
        let is_it = |process: &Arc<Process>| process.started_ticks == read.started_ticks;
        let mut table = lock(&self.table);
        if let Some(process) = table.get(read.thread.process()).filter(is_it) {
            return Some(process);
        }
        match table.of_thread(read.thread.thread(), clock::instant(), clock::now()) {
            Ok(met) if is_it(&met.process) => {
                if met.is_new {
                    self.exits.watch(&met.process);
                }
                Some(met.process)
            }
            Ok(_) | Err(_) => table.get(read.parent).map(|parent| child_of(&parent, read)),
        }
    }
}

/// A process that has ended, and of which nothing is known but whose child it was. It is for a record, and stands in no table.
fn child_of(parent: &Process, read: &Read) -> Arc<Process> {
    let pid = read.thread.process();
    Arc::new(Process {
        pid,
        uid: format!("{pid}-{}", read.started_ticks).into(),
        started_ticks: read.started_ticks,
        parent_pid: read.parent,
        executed: false,
        ..parent.clone()
    })
}
