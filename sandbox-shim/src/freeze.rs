//! Stops every process of a session, lets them go on, or kills them.
//!
//! With a cgroup of its own the kernel's freezer does it. In a process namespace the init signals everything in it at once, so that
//! no fork slips away. With neither, the tree is walked until nothing new is found, which a program that forks fast can outrun
//! for a while; its trapped calls wait at the gate meanwhile.
//!
//! A process whose call waits for the shim is not seen by the freezer, but stands still all the same: the gate is shut.
//!
//! Signals are seen by whoever waits for its children: a shell whose job is stopped takes the terminal back. So parents are
//! stopped before their children and go on after them, and what a shell had stopped before stays stopped.

use crate::clock;
use crate::launch::frame;
use crate::launch::line::Line;
use crate::lock::lock;
use crate::sys;
use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// On a machine that has other work than this, stopping and dying may take a while; longer only behind a disk that does not answer.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_micros(200);
/// How long one level of the tree may take to stand still before the next is stopped all the same. It takes as long as the processor
/// is busy with others; the gate is shut meanwhile.
const A_LEVEL: Duration = Duration::from_secs(1);
/// The freezer says when it is done, unless a call waits for the shim; then every process has to be looked at.
const LOOK_CLOSER_AFTER: Duration = Duration::from_millis(4);

/// A tree that stands still, or is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped {
    /// How many processes.
    pub processes: i64,
    /// Microseconds from the call until nothing ran any more.
    pub took_us: i64,
    /// `cgroup_freezer`, `namespace_sigstop` or `tree_sigstop`.
    pub method: &'static str,
    /// Whether everything was seen to stand still in time.
    pub complete: bool,
}

/// The tree could not be stopped.
#[derive(Debug, thiserror::Error)]
#[error("the session's processes could not be reached by {method}")]
pub struct FreezeError {
    /// How it was tried.
    pub method: &'static str,
    /// What the kernel said.
    #[source]
    pub source: io::Error,
}

/// The means to stop one session.
#[derive(Debug)]
pub(crate) struct Brake {
    /// The session's own folder of cgroup v2.
    pub cgroup: Option<PathBuf>,
    /// Whether there is a process namespace.
    pub namespaces: bool,
    /// The init's id in the shim's numbering.
    pub init: i32,
    /// The line to it.
    pub line: Arc<Line>,
    /// Who has ordered the kernel's freezer what.
    pub orders: Mutex<Orders>,
    /// Where signals stop the tree: the processes that had been stopped before, by whoever controls them. `None` while it runs.
    pub stopped_before: Mutex<Option<BTreeSet<i32>>>,
}

/// What the kernel's freezer is to do, and for whom.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    /// The session is frozen.
    is_stopped: bool,
    /// So many wait for a moment in which nothing runs.
    paused: u32,
}

/// As long as this is there, the tree stands still, or is about to.
#[derive(Debug)]
pub(crate) struct Pause<'a>(&'a Brake);

impl Drop for Pause<'_> {
    fn drop(&mut self) {
        // If it does not go on now, it does when the session is resumed.
        drop(self.0.order_freezer(|orders| orders.paused -= 1));
    }
}

impl Brake {
    /// Lets the tree stand still for a moment; only with a cgroup, and without waiting until it does.
    pub(crate) fn pause(&self) -> Pause<'_> {
        drop(self.order_freezer(|orders| orders.paused += 1));
        Pause(self)
    }

    /// Orders the kernel's freezer what follows from all orders; whether there is one.
    fn order_freezer(&self, change: impl FnOnce(&mut Orders)) -> Option<io::Result<()>> {
        let mut orders = lock(&self.orders);
        change(&mut orders);
        let what = if orders.is_stopped || orders.paused > 0 { "1" } else { "0" };
        self.cgroup.as_ref().map(|cgroup| std::fs::write(cgroup.join("cgroup.freeze"), what))
    }

    fn method(&self) -> &'static str {
        match (&self.cgroup, self.namespaces) {
            (Some(_), _) => "cgroup_freezer",
            (None, true) => "namespace_sigstop",
            (None, false) => "tree_sigstop",
        }
    }

    /// Stops every process and waits until all stand still.
    ///
    /// # Errors
    /// [`FreezeError`] when the kernel refuses; nothing is known about the tree then.
    pub(crate) fn stop(&self, start: Instant) -> Result<Stopped, FreezeError> {
        let method = self.method();
        let failed = |source| FreezeError { method, source };
        if self.cgroup.is_none() {
            let mut before = lock(&self.stopped_before);
            if before.is_none() {
                *before = Some(self.tree().into_iter().filter(|pid| is_stopped(*pid)).collect());
                self.stop_parents();
            }
        }
        self.order_stop().map_err(failed)?;
        let mut known = BTreeSet::new();
        loop {
            if self.is_frozen() {
                let processes = i64::try_from(self.tree().len()).unwrap_or(i64::MAX);
                return Ok(Stopped { processes, took_us: clock::micros_since(start), method, complete: true });
            }
            if self.cgroup.is_some() && start.elapsed() < LOOK_CLOSER_AFTER {
                std::thread::sleep(LOOK_AGAIN);
                continue;
            }
            let tree = self.tree();
            let moving = tree.iter().any(|pid| !stands_still(*pid));
            let grew = tree.iter().any(|pid| !known.contains(pid)) && !known.is_empty();
            let late = start.elapsed() > PATIENCE;
            if (!moving && !grew && !known.is_empty()) || tree.is_empty() || late {
                let processes = i64::try_from(tree.len()).unwrap_or(i64::MAX);
                return Ok(Stopped { processes, took_us: clock::micros_since(start), method, complete: !late });
            }
            if self.cgroup.is_none() && (grew || moving) {
                self.order_stop().map_err(failed)?;
            }
            if moving || grew {
                std::thread::sleep(LOOK_AGAIN);
            }
            known = tree;
        }
    }

    /// Stops those that have children, from the top down: a shell that waits for its job looks at it once more when a signal wakes
    /// it, even the one that stops it, and must not find it stopped.
    fn stop_parents(&self) {
        let mut level = children(self.init);
        while !level.is_empty() {
            level.retain(|pid| !children(*pid).is_empty());
            for pid in &level {
                // One that has ended meanwhile is nobody's parent any more.
                sys::process::kill(*pid, libc::SIGSTOP).ok();
            }
            let until = clock::instant() + A_LEVEL;
            while level.iter().any(|pid| !stands_still(*pid)) && clock::instant() < until {
                std::thread::sleep(LOOK_AGAIN / 4);
            }
            level = level.into_iter().flat_map(children).collect();
        }
    }

    /// What the kernel's freezer says; it never says so while a call waits for the shim.
    fn is_frozen(&self) -> bool {
        let events = self.cgroup.as_ref().map(|cgroup| std::fs::read_to_string(cgroup.join("cgroup.events")));
        events.is_some_and(|events| events.is_ok_and(|text| text.lines().any(|line| line == "frozen 1")))
    }

    fn order_stop(&self) -> io::Result<()> {
        match (self.order_freezer(|orders| orders.is_stopped = true), self.namespaces) {
            (Some(ordered), _) => ordered,
            (None, true) => self.line.order(frame::STOP, 0),
            (None, false) => {
                self.signal_tree(libc::SIGSTOP);
                Ok(())
            }
        }
    }

    /// Lets every process go on.
    ///
    /// # Errors
    /// [`FreezeError`] when the kernel refuses.
    pub(crate) fn resume(&self) -> Result<(), FreezeError> {
        let ordered = self.order_freezer(|orders| orders.is_stopped = false);
        let resumed = ordered.unwrap_or_else(|| self.continue_tree());
        resumed.map_err(|source| FreezeError { method: self.method(), source })
    }

    /// Lets every process go on that ran before, children before their parents. Nothing forks meanwhile but what goes on already.
    fn continue_tree(&self) -> io::Result<()> {
        let before = lock(&self.stopped_before).take().unwrap_or_default();
        for pid in self.walk().into_iter().rev().filter(|pid| !before.contains(pid)) {
            match sys::process::kill(pid, libc::SIGCONT) {
                Err(error) if sys::errno(&error) != libc::ESRCH => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// Kills every process; those that were there. They are dying, not dead, when this returns.
    ///
    /// # Errors
    /// [`FreezeError`] when the kernel refuses.
    pub(crate) fn kill(&self) -> Result<BTreeSet<i32>, FreezeError> {
        let tree = self.tree();
        let killed = match (&self.cgroup, self.namespaces) {
            (Some(cgroup), _) => std::fs::write(cgroup.join("cgroup.kill"), "1"),
            (None, true) => self.line.order(frame::KILL, 0),
            (None, false) => {
                self.signal_tree(libc::SIGKILL);
                Ok(())
            }
        };
        match killed {
            // The init is gone, and with it everything.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(tree),
            Err(source) => Err(FreezeError { method: self.method(), source }),
            Ok(()) => Ok(tree),
        }
    }

    /// Waits until the killed are dead. Not on a thread that goes first: dying takes the processor too.
    pub(crate) fn wait_dead(&self, tree: &BTreeSet<i32>, start: Instant) -> Stopped {
        let is_over = || !tree.iter().any(|pid| is_alive(*pid));
        while !is_over() && start.elapsed() < PATIENCE {
            if !self.namespaces && self.cgroup.is_none() {
                self.signal_tree(libc::SIGKILL);
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        let processes = i64::try_from(tree.len()).unwrap_or(i64::MAX);
        Stopped { processes, took_us: clock::micros_since(start), method: self.method(), complete: is_over() }
    }

    /// Every process below the init.
    fn tree(&self) -> BTreeSet<i32> {
        if let Some(cgroup) = &self.cgroup {
            let list = std::fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
            let pids = list.lines().filter_map(|line| line.parse().ok());
            return pids.filter(|pid| *pid != self.init && *pid != 0).collect();
        }
        self.walk().into_iter().collect()
    }

    /// Every process below the init, each behind its parent.
    fn walk(&self) -> Vec<i32> {
        let (mut walked, mut met) = (Vec::new(), BTreeSet::new());
        let mut look = vec![self.init];
        while let Some(pid) = look.pop() {
            for child in children(pid) {
                if met.insert(child) {
                    walked.push(child);
                    look.push(child);
                }
            }
        }
        walked
    }

    fn signal_tree(&self, signal: i32) {
        let mut known = BTreeSet::new();
        // A process that forks while the tree is walked leaves children behind, so it is walked until it holds nothing new.
        for _ in 0..100 {
            let fresh: Vec<i32> = self.walk().into_iter().filter(|pid| known.insert(*pid)).collect();
            if fresh.is_empty() {
                return;
            }
            for pid in fresh {
                sys::process::kill(pid, signal).ok();
            }
        }
    }

    /// Removes the session's cgroup once it is empty.
    pub(crate) fn clean_up(&self) {
        if let Some(cgroup) = &self.cgroup {
            for _ in 0..50 {
                match std::fs::remove_dir(cgroup) {
                    Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                        std::thread::sleep(Duration::from_millis(2))
                    }
                    Ok(()) | Err(_) => return,
                }
            }
        }
    }
}

fn children(pid: i32) -> Vec<i32> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists = threads.flatten().filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
}

/// The state letter of each thread of a process.
fn states(pid: i32) -> Vec<u8> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let letters = threads.flatten().filter_map(|thread| state_in(&std::fs::read(thread.path().join("stat")).ok()?));
    letters.collect()
}

/// The state letter: it stands behind the name, which is in parentheses and may itself hold any byte.
fn state_in(stat: &[u8]) -> Option<u8> {
    let after = stat.iter().rposition(|byte| *byte == b')')?;
    stat.get(after + 2).copied()
}

/// Not running and not about to run: frozen or stopped, asleep in a call that the gate holds back, or dead.
fn stands_still(pid: i32) -> bool {
    !states(pid).contains(&b'R')
}

/// A stop is of the whole process, so its first thread speaks for all.
fn is_stopped(pid: i32) -> bool {
    std::fs::read(format!("/proc/{pid}/stat")).is_ok_and(|stat| state_in(&stat) == Some(b'T'))
}

fn is_alive(pid: i32) -> bool {
    states(pid).iter().any(|letter| !matches!(letter, b'Z' | b'X'))
}
