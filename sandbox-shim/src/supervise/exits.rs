//! Watches for processes that end, and writes down how.

use super::core::Core;
use crate::clock;
use crate::lock::lock;
use crate::process::{Process, exit_code, exit_signal, zombie_status};
use crate::sys::process as sys;
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use wk_schemas::Origin;
use wk_schemas::body::ProcessExited;

#[derive(Debug)]
struct Watched {
    pid: i32,
    started_ticks: u64,
    pidfd: Arc<OwnedFd>,
}

/// The processes that are watched, by a number that is never used twice.
#[derive(Debug)]
pub(crate) struct Exits {
    epoll: OwnedFd,
    next: AtomicU64,
    watched: Mutex<HashMap<u64, Watched>>,
    any_program: AtomicBool,
    /// Readable once nothing more will be watched.
    last: OwnedFd,
}

/// The token of `last`; processes are counted from 1.
const LAST: u64 = 0;

/// How long the kernel may take from the end of an init to the end of the next process of its namespace.
const KILLED_WITHIN_MS: i32 = 5_000;

impl Exits {
    pub(crate) fn new() -> io::Result<Self> {
        let (epoll, last) = (sys::epoll()?, sys::event()?);
        sys::epoll_watch_once(epoll.as_fd(), last.as_fd(), LAST)?;
        let (next, watched, any_program) = (AtomicU64::new(1), Mutex::default(), AtomicBool::new(false));
        Ok(Self { epoll, next, watched, any_program, last })
    }

    /// Whether this is asked for the first time: the first program of a session is the agent itself.
    pub(crate) fn is_first(&self) -> bool {
        !self.any_program.swap(true, Ordering::Relaxed)
    }

    /// Watches a process until it ends.
    pub(crate) fn watch(&self, process: &Process) {
        let token = self.next.fetch_add(1, Ordering::Relaxed);
        lock(&self.watched).insert(
            token,
            Watched { pid: process.pid, started_ticks: process.started_ticks, pidfd: Arc::clone(&process.pidfd) },
        );
        if let Err(error) = sys::epoll_watch_once(self.epoll.as_fd(), process.pidfd.as_fd(), token) {
            tracing::warn!(%error, pid = process.pid, "the end of a process cannot be watched");
            lock(&self.watched).remove(&token);
        }
    }

    /// No process is left to be watched.
    pub(crate) fn no_more(&self) {
        crate::sys::child::write(self.last.as_fd(), &1_u64.to_ne_bytes()).ok();
    }

    /// Writes down ends until no more will come. What is left when the init ends is killed by the kernel a moment later: its ends
    /// are waited for.
    pub(crate) fn run(&self, core: &Core) {
        let mut over = false;
        loop {
            let wait = match (over, lock(&self.watched).is_empty()) {
                (false, _) => -1,
                (true, true) => 0,
                (true, false) => KILLED_WITHIN_MS,
            };
            let ended = sys::epoll_wait(self.epoll.as_fd(), wait).unwrap_or_default();
            if over && ended.is_empty() {
                return;
            }
            for token in ended {
                over |= token == LAST;
                // Taken out before it is worked on: the lock is needed again for what is met meanwhile.
                let watched = lock(&self.watched).remove(&token);
                if let Some(watched) = watched {
                    end(core, &watched);
                }
            }
        }
    }
}

fn end(core: &Core, watched: &Watched) {
    let Watched { pid, started_ticks, ref pidfd } = *watched;
    let status = zombie_status(pid).or_else(|| sys::pidfd_exit_status(pidfd.as_fd()).ok().flatten());
    core.process_is_gone(pid);
    let Some(process) = lock(&core.table).remove(pid, started_ticks) else { return };
    if !process.executed {
        return;
    }
    let (tool_call_id, mediation) = core.causality.mediation(&process.tie, &process.image);
    let at = clock::now();
    let body = ProcessExited {
        actor: process.actor(tool_call_id, mediation),
        exit_code: status.and_then(exit_code),
        signal: status.and_then(exit_signal),
        wall_time_us: at.micros_since(process.seen_at),
    };
    core.record(Origin::Kernel, at, body.into()).ok();
}
