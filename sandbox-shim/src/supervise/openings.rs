//! What the kernel opens by itself to execute a program: told by fanotify, held against what was asked, and written down.
//!
//! The program itself is on record by the notification of its exec, unless another was opened in its place. Interpreters and
//! loaders are the same few files again and again: what is opened for the processes of one tool call within a second becomes one
//! record, and one more with a count.
//!
//! A process is known by its number. The queue is emptied before a process that has ended leaves the table, and before one that
//! executes again is written down as its next program, so that a number always means the process, and the program, it meant then.

use super::core::{Core, Stop};
use super::files::{self, Access};
use super::processes::is_script;
use crate::clock;
use crate::fanotify::{Asked, Chains, FileId, Meaning, OPENED_TO_EXECUTE, Opened, Seen, Watch, is_interpreter_of};
use crate::fold::{Fold, Repeats};
use crate::lock::lock;
use crate::observe::resolve::Resolved;
use crate::process::Process;
use crate::sys::child;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use wk_schemas::body::{FileAccessed, FileOperation, Outcome, RecordsLost};
use wk_schemas::{Origin, Timestamp};

/// Why there is a record of an access that no process asked for.
const REASON: &str = "opened by the kernel to execute a program, as its interpreter or loader; a count is of all processes of \
                      the same tool call";

const UNSEEN: &str = "what the kernel opens for execution is not told any more";

/// What makes two openings the same: the tool call, whether it was the agent itself, and the file.
type Key = (Option<Arc<str>>, bool, PathBuf);

/// What is known about openings for execution.
#[derive(Debug)]
pub(crate) struct Openings {
    watch: Watch,
    chains: Mutex<Chains>,
    fold: Mutex<Fold<(), Key, FileAccessed>>,
    /// Held while the queue is emptied: what comes out first is told first.
    reading: Mutex<()>,
    stop: OwnedFd,
}

impl Openings {
    /// `stop` is an event that ends [`Core::watch_openings_or_fail`].
    pub(super) fn new(watch: Watch, stop: OwnedFd) -> Self {
        Self { watch, chains: Mutex::default(), fold: Mutex::default(), reading: Mutex::default(), stop }
    }

    /// The observer, for whoever asks what it sees.
    pub(super) fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Repeats whose second is over.
    pub(super) fn over(&self, now: Timestamp) -> Vec<Repeats<FileAccessed>> {
        lock(&self.fold).expire(now)
    }

    /// All repeats.
    pub(super) fn all_over(&self) -> Vec<Repeats<FileAccessed>> {
        lock(&self.fold).end()
    }
}

impl Core {
    /// Tells what is opened until it is to stop. When nothing more can be told, or this panics, the agent is stopped.
    pub(super) fn watch_openings_or_fail(&self) {
        let watched = catch_unwind(AssertUnwindSafe(|| self.watch_openings()));
        if watched.is_err() {
            self.fail(&"a thread panicked", UNSEEN);
        }
    }

    /// Ends [`Core::watch_openings_or_fail`].
    pub(super) fn stop_telling_openings(&self) {
        if let Some(openings) = &self.openings {
            child::write(openings.stop.as_fd(), &1_u64.to_ne_bytes()).ok();
        }
    }

    fn watch_openings(&self) {
        let Some(openings) = &self.openings else { return };
        let ended = loop {
            match openings.watch.wait(openings.stop.as_fd()) {
                Ok(news) if news.stop => return,
                Ok(news) => {
                    if news.mounts
                        && let Err(error) = openings.watch.mark()
                    {
                        break error;
                    }
                    self.tell_openings();
                    if self.failed.load(std::sync::atomic::Ordering::Relaxed) {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break error,
            }
        };
        self.fail(&ended, UNSEEN);
    }

    /// Process `before` is about to execute what is at `path`, found by name or through a descriptor.
    pub(super) fn expect_opening(&self, before: &Process, thread: i32, path: &Path, by_name: bool) {
        let Some(openings) = &self.openings else { return };
        if before.executed {
            self.tell_openings();
        }
        // Through a descriptor it may be opened on a mount of the shim's, which hands over what it has opened itself.
        let file = by_name.then(|| path.metadata().ok()).flatten();
        let asked = Asked { thread, path: path.to_owned(), file: file.as_ref().map(FileId::of) };
        lock(&openings.chains).ask(before.pid, asked);
    }

    /// Process `pid` has ended and will be forgotten.
    pub(super) fn tell_last_openings(&self, pid: i32) {
        self.tell_openings();
        if let Some(openings) = &self.openings {
            lock(&openings.chains).forget(pid);
        }
    }

    /// Tells everything that is in the queue now.
    pub(super) fn tell_openings(&self) {
        let Some(openings) = &self.openings else { return };
        let _in_order = lock(&openings.reading);
        loop {
            // What could not be recorded has stopped the agent, and what may not run has been killed.
            match openings.watch.next() {
                Ok(None) => return,
                Ok(Some(Seen::Opened(opened))) => {
                    self.opened(openings, opened).ok();
                }
                Ok(Some(Seen::Lost(count, reason))) => {
                    lock(&openings.chains).clear();
                    let lost = RecordsLost { count, stage: "kernel".to_owned(), reason };
                    self.record(Origin::Shim, clock::now(), lost.into()).ok();
                }
                Err(error) => return self.fail(&error, UNSEEN),
            }
        }
    }

    fn opened(&self, openings: &Openings, opened: Opened) -> Result<(), Stop> {
        let Some(process) = lock(&self.table).get(opened.pid) else {
            // Whoever entered the session's mounts from outside is no process of the session.
            tracing::debug!(pid = opened.pid, "a process that is not of the session executed something on its mounts");
            return Ok(());
        };
        let meaning = lock(&openings.chains)
            .opened(opened.pid, (&opened.path, opened.file), |asked| is_interpreter_of(&asked.path, opened.file));
        match meaning {
            Meaning::Program => Ok(()),
            Meaning::ForIt => self.record_opening(openings, &process, opened.path),
            Meaning::Another(asked) => self.executes_another(&process, &asked, &opened.path),
        }
    }

    fn record_opening(&self, openings: &Openings, process: &Process, path: PathBuf) -> Result<(), Stop> {
        let key = (process.tie.tool_call_id.clone(), process.tie.is_agent, path.clone());
        let at = Resolved::outside_proc(path.clone(), path);
        let access = Access::new(FileOperation::Read, &at, OPENED_TO_EXECUTE);
        let body =
            || files::body(&*self.causality, process, &access, Outcome::Succeeded, None, Some(REASON.to_owned()));
        self.record_or_count(&openings.fold, ((), key), vec![], body).map(drop)
    }

    /// The kernel is about to run another program than was asked for; it has not run yet.
    fn executes_another(&self, process: &Process, asked: &Asked, runs: &Path) -> Result<(), Stop> {
        let after = Process {
            image: runs.to_string_lossy().into(),
            unverified_after: process.unverified_after.clone().filter(|_| !is_script(runs)),
            ..process.clone()
        };
        self.tell_another(after, &process.command_line, &asked.path.to_string_lossy(), Outcome::Allowed).map(drop)
    }
}
