//! Opening and changing files.
//!
//! The kernel goes on with a call only where the floor would refuse everything that must be refused, whatever the path in memory
//! has become by then. Everything else is decided here and carried out by a worker.

use super::ask::Question;
use super::core::{Core, Decided, FileKey, Stop};
use super::results::Asked;
use crate::contract::Causality;
use crate::fold::{Fold, Seen};
use crate::lock::lock;
use crate::observe::request::{Change, Place};
use crate::observe::resolve::Resolved;
use crate::policy::{Action, Verdict};
use crate::process::{self, Process, path_text};
use crate::sys::seccomp::{Answer, Notification};
use crate::{carry, clock, sys};
use std::hash::Hash;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use wk_schemas::body::{FileAccessed, FileOperation, Outcome};
use wk_schemas::{Origin, RecordId};

/// What a record of a file access says besides who and when.
#[derive(Debug, Clone)]
pub(super) struct Access {
    operation: FileOperation,
    name: PathBuf,
    target: Option<PathBuf>,
    flags: i64,
}

impl Access {
    pub(super) fn new(operation: FileOperation, at: &Resolved, flags: i64) -> Self {
        Self::of(operation, at.clone(), flags)
    }

    pub(super) fn of(operation: FileOperation, at: Resolved, flags: i64) -> Self {
        let target = (at.real.as_os_str() != at.name.as_os_str()).then_some(at.real);
        Self { operation, name: at.name, target, flags }
    }
}

/// How a call is carried out by a worker: what to tell the process.
pub(super) enum Done {
    File(OwnedFd, bool),
    Nothing,
}

pub(super) type Carry = Box<dyn FnOnce(&Core, u32) -> io::Result<Done> + Send>;

impl Core {
    pub(crate) fn open(
        &self,
        call: &Notification,
        process: &Arc<Process>,
        place: &Place,
        (flags, mode, resolve): (i32, u32, u64),
    ) -> Decided {
        if flags & libc::O_PATH != 0 {
            return Ok(Some(Answer::Continue));
        }
        let makes = flags & libc::O_CREAT != 0 || flags & libc::O_TMPFILE == libc::O_TMPFILE;
        let writes = makes || flags & libc::O_ACCMODE != libc::O_RDONLY || flags & libc::O_TRUNC != 0;
        let operation = match (makes, writes) {
            (true, _) => FileOperation::Create,
            (false, true) => FileOperation::Write,
            (false, false) => FileOperation::Read,
        };
        let exclusive = libc::O_CREAT | libc::O_EXCL;
        let follow = flags & libc::O_NOFOLLOW == 0 && flags & exclusive != exclusive;
        let at = match self.resolve(call, process, place, follow) {
            Ok(at) => at,
            Err(error) => return Ok(Some(Answer::Error(sys::errno(&error)))),
        };
        if !self.is_waiting(call) {
            return Ok(None);
        }
        let verdict = self.refuse_reaching_past(process, &at, writes).unwrap_or_else(|| self.file_verdict(&at, writes));
        let carried = !at.in_proc
            && !self.floor_allows(|floor| {
                !floor.carries_every_open()
                    && if writes { floor.grants(&at.real) } else { floor.grants_reading(&at.real) }
            });
        if carried && resolve != 0 && verdict.action == Action::Allow {
            // What openat2 promises about the way to the file, the shim cannot keep; callers fall back to openat.
            return Ok(Some(Answer::Error(libc::ENOSYS)));
        }
        let real = if carried { at.real.clone() } else { PathBuf::new() };
        let access = Access::of(operation, at, i64::from(flags));
        let carry: Option<Carry> = carried.then(|| -> Carry {
            Box::new(move |core, umask| {
                core.refuse_protected(&real)?;
                let file = carry::open(&real, flags, mode, umask)?;
                Ok(Done::File(file, flags & libc::O_CLOEXEC != 0))
            })
        });
        self.settle(call, process, access, &verdict, carry)
    }

    pub(crate) fn change(
        &self,
        call: &Notification,
        process: &Arc<Process>,
        place: &Place,
        follow: bool,
        change: Change,
    ) -> Decided {
        let at = match self.resolve(call, process, place, follow) {
            Ok(at) => at,
            Err(error) => return Ok(Some(Answer::Error(sys::errno(&error)))),
        };
        if !self.is_waiting(call) {
            return Ok(None);
        }
        let mut verdict = self.file_verdict(&at, true);
        if let Change::MakeNode(mode, _) = change
            && matches!(mode & libc::S_IFMT, libc::S_IFCHR | libc::S_IFBLK)
        {
            verdict = deny("a device reaches past every path");
        }
        if matches!(change, Change::RemoveDirectory) && self.is_above_protected(&at.real) {
            verdict = deny("holds what the shim protects");
        }
        lock(&self.resolver).forget(clock::instant(), false);
        let granted = match change {
            Change::Truncate(_) => self.floor_allows(|floor| floor.grants(&at.real)),
            // Landlock has no right for these, so with anything left out the kernel cannot be trusted with the path.
            Change::Mode(_) | Change::Owner(..) => self.floor_allows(super::super::floor::Floor::is_open),
            _ => self.floor_allows(|floor| floor.grants_name(&at.real)),
        };
        let access = Access::new(change.operation(), &at, change.flags());
        let real = at.real;
        let carry: Option<Carry> = (!granted && !at.in_proc).then(|| -> Carry {
            Box::new(move |core, umask| {
                core.refuse_protected(&real)?;
                carry::change(&real, change, umask)?;
                if change.is_about_the_name() {
                    core.floor.write().unwrap_or_else(PoisonError::into_inner).removed(&real);
                }
                Ok(Done::Nothing)
            })
        });
        self.settle(call, process, access, &verdict, carry)
    }

    /// Changing an open file needs no decision: what it may do was decided when it was opened.
    pub(crate) fn change_open(
        &self,
        call: &Notification,
        process: &Arc<Process>,
        descriptor: i32,
        change: Change,
    ) -> Decided {
        let place = Place { directory: descriptor, path: Vec::new() };
        let Ok(at) = self.resolve(call, process, &place, false) else {
            return Ok(Some(Answer::Continue));
        };
        if !self.is_waiting(call) {
            return Ok(None);
        }
        let access = Access::new(change.operation(), &at, change.flags());
        let kept = self.record_access(process, &access, Outcome::Allowed, None, None)?;
        Ok(Some(self.goes_on(call, process, kept, || Asked::File(access))))
    }

    pub(crate) fn rename(
        &self,
        call: &Notification,
        process: &Arc<Process>,
        (from, to): (&Place, &Place),
        (link, follow, flags): (bool, bool, u32),
    ) -> Decided {
        let found = self
            .resolve(call, process, from, follow)
            .and_then(|a| self.resolve(call, process, to, false).map(|b| (a, b)));
        let (a, b) = match found {
            Ok(both) => both,
            Err(error) => return Ok(Some(Answer::Error(sys::errno(&error)))),
        };
        if !self.is_waiting(call) {
            return Ok(None);
        }
        lock(&self.resolver).forget(clock::instant(), true);
        let mut verdict = stricter(self.file_verdict(&a, true), self.file_verdict(&b, true));
        if !link && (self.is_above_protected(&a.real) || self.is_above_protected(&b.real)) {
            verdict = deny("holds what the shim protects");
        }
        let granted = self.floor_allows(|floor| {
            // A hard link to a file that is granted only by itself would need the shim as well.
            floor.grants_name(&a.real) && floor.grants_name(&b.real)
        });
        let operation = if link { FileOperation::Link } else { FileOperation::Rename };
        let access = Access { operation, name: a.name, target: Some(b.name), flags: i64::from(flags) };
        let (from, to) = (a.real, b.real);
        let carry: Option<Carry> = (!granted && !a.in_proc).then(|| -> Carry {
            Box::new(move |core, _| {
                core.refuse_protected(&from)?;
                core.refuse_protected(&to)?;
                carry::rename(&from, &to, link, flags)?;
                if !link {
                    core.floor.write().unwrap_or_else(PoisonError::into_inner).moved(&from, &to);
                }
                lock(&core.resolver).forget(clock::instant(), true);
                Ok(Done::Nothing)
            })
        });
        self.settle(call, process, access, &verdict, carry)
    }

    pub(crate) fn symlink(&self, call: &Notification, process: &Arc<Process>, text: &[u8], place: &Place) -> Decided {
        let at = match self.resolve(call, process, place, false) {
            Ok(at) => at,
            Err(error) => return Ok(Some(Answer::Error(sys::errno(&error)))),
        };
        if !self.is_waiting(call) {
            return Ok(None);
        }
        lock(&self.resolver).forget(clock::instant(), true);
        let verdict = self.file_verdict(&at, true);
        let granted = self.floor_allows(|floor| floor.grants_name(&at.real));
        let target = PathBuf::from(String::from_utf8_lossy(text).into_owned());
        let access = Access { operation: FileOperation::Symlink, name: at.name, target: Some(target), flags: 0 };
        let (real, text) = (at.real, text.to_vec());
        let carry: Option<Carry> = (!granted && !at.in_proc).then(|| -> Carry {
            Box::new(move |core, _| {
                core.refuse_protected(&real)?;
                carry::symlink(&text, &real)?;
                lock(&core.resolver).forget(clock::instant(), true);
                Ok(Done::Nothing)
            })
        });
        self.settle(call, process, access, &verdict, carry)
    }

    /// Records and answers according to the verdict; `carry` is how the shim does it itself, when the kernel cannot be left to.
    pub(super) fn settle(
        &self,
        call: &Notification,
        process: &Arc<Process>,
        access: Access,
        verdict: &Verdict,
        carry: Option<Carry>,
    ) -> Decided {
        match (verdict.action, carry) {
            (Action::Allow, None) => {
                let kept = self.record_access(process, &access, Outcome::Allowed, None, verdict.reason.clone())?;
                Ok(Some(self.goes_on(call, process, kept, || Asked::File(access))))
            }
            (Action::Allow, Some(carry)) => {
                let (call, process, reason) = (*call, Arc::clone(process), verdict.reason.clone());
                self.act(move |core| core.carry_out(&call, &process, &access, reason, carry));
                Ok(None)
            }
            (Action::Deny, _) => {
                self.record_access(process, &access, Outcome::Denied, Some(libc::EACCES), verdict.reason.clone())?;
                Ok(Some(Answer::Error(libc::EACCES)))
            }
            (Action::Hold, carry) => {
                let action = match access.operation {
                    FileOperation::Read => "read",
                    FileOperation::Create => "create",
                    FileOperation::Rename => "rename",
                    FileOperation::Link | FileOperation::Symlink => "link",
                    FileOperation::Unlink | FileOperation::RemoveDirectory => "unlink",
                    _ => "write",
                };
                let path = path_text(&access.name).0;
                let question =
                    Question { action, subject: format!("{action} {path}"), path: Some(path), ..Question::default() };
                let (call_then, process_then) = (*call, Arc::clone(process));
                self.hold(call, process, verdict, question, move |core, granted, reason| {
                    let reason = Some(reason.to_owned());
                    match carry {
                        Some(carry) if granted => core.carry_out(&call_then, &process_then, &access, reason, carry),
                        None if granted => {
                            // Nothing but the record would be gained by carrying out what the floor allows anyway.
                            let kept = core.record_access(&process_then, &access, Outcome::Allowed, None, reason);
                            let goes_on = |kept| core.goes_on(&call_then, &process_then, kept, || Asked::File(access));
                            core.answer(call_then.id, kept.map_or(Answer::Error(libc::EPERM), goes_on));
                        }
                        Some(_) | None => {
                            let errno = libc::EACCES;
                            core.record_access(&process_then, &access, Outcome::Denied, Some(errno), reason).ok();
                            core.answer(call_then.id, Answer::Error(errno));
                        }
                    }
                });
                Ok(None)
            }
        }
    }

    /// Does what was allowed, on a worker, and writes down what came of it.
    fn carry_out(&self, call: &Notification, process: &Process, access: &Access, reason: Option<String>, carry: Carry) {
        let done = process::vitals(call.thread).and_then(|vitals| {
            if !self.is_waiting(call) {
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
            // What the shim opens it opens as its own user; a process that has become another must not gain by that.
            if vitals.user != sys::process::effective_user() {
                return Err(io::Error::from_raw_os_error(libc::EACCES));
            }
            carry(self, vitals.umask)
        });
        let (outcome, errno) = match &done {
            Ok(_) => (Outcome::Succeeded, None),
            Err(error) => (Outcome::Failed, Some(sys::errno(error))),
        };
        if self.record_access(process, access, outcome, errno, reason).is_err() {
            self.answer(call.id, Answer::Error(libc::EPERM));
            return;
        }
        match done {
            Ok(Done::File(file, close_on_exec)) => self.answer_with(call.id, Ok(file), close_on_exec),
            Ok(Done::Nothing) => self.answer(call.id, Answer::Value(0)),
            Err(error) => self.answer(call.id, Answer::Error(sys::errno(&error))),
        }
    }

    /// Writes an access down, or counts it when it repeats: then there is no record of its own.
    pub(super) fn record_access(
        &self,
        process: &Process,
        access: &Access,
        outcome: Outcome,
        errno: Option<i32>,
        reason: Option<String>,
    ) -> Result<Option<RecordId>, Stop> {
        self.record_access_after(vec![], process, access, outcome, errno, reason)
    }

    /// As [`Core::record_access`], of what follows from these records.
    pub(super) fn record_access_after(
        &self,
        caused_by: Vec<RecordId>,
        process: &Process,
        access: &Access,
        outcome: Outcome,
        errno: Option<i32>,
        reason: Option<String>,
    ) -> Result<Option<RecordId>, Stop> {
        let key: FileKey = (access.operation, outcome, access.flags, access.name.as_os_str().to_owned());
        let body = || body(&*self.causality, process, access, outcome, errno, reason.clone());
        self.record_or_count(&self.fold, (process.pid, key), caused_by, body)
    }

    /// Writes an access down, or counts it when there was one like it a moment ago: then there is no record of its own.
    pub(super) fn record_or_count<G: Eq + Hash + Ord + Copy, K: Eq + Hash + Ord>(
        &self,
        fold: &Mutex<Fold<G, K, FileAccessed>>,
        (group, key): (G, K),
        caused_by: Vec<RecordId>,
        body: impl Fn() -> FileAccessed,
    ) -> Result<Option<RecordId>, Stop> {
        let at = clock::now();
        let (seen, over) = {
            let mut fold = lock(fold);
            let over = if fold.is_full() { fold.end() } else { Vec::new() };
            (fold.see(group, key, at, &body), over)
        };
        self.record_repeats(over)?;
        match seen {
            Seen::First(before) => {
                self.record_repeats(before.into_iter().collect())?;
                self.record_after(caused_by, Origin::Kernel, at, body().into()).map(Some)
            }
            Seen::Repeat => Ok(None),
        }
    }

    pub(super) fn file_verdict(&self, at: &Resolved, writes: bool) -> Verdict {
        if self.is_protected(&at.real) || self.is_protected(&at.name) {
            return deny("protected by the shim");
        }
        let policy = self.policy();
        if policy.files_are_free() {
            return Verdict { action: Action::Allow, reason: None };
        }
        policy.file([at.name.as_path(), at.real.as_path()], writes)
    }

    pub(super) fn floor_allows(&self, ask: impl FnOnce(&crate::floor::Floor) -> bool) -> bool {
        let floor = self.floor.read().unwrap_or_else(PoisonError::into_inner);
        floor.is_open() || ask(&floor)
    }

    /// The last check before the shim does something itself, on the path that it will do it on.
    pub(super) fn refuse_protected(&self, real: &Path) -> io::Result<()> {
        if self.is_protected(real) { Err(io::Error::from_raw_os_error(libc::EACCES)) } else { Ok(()) }
    }

    fn is_above_protected(&self, path: &Path) -> bool {
        self.protected.iter().any(|protected| protected.starts_with(path))
    }
}

fn deny(reason: &str) -> Verdict {
    Verdict { action: Action::Deny, reason: Some(reason.to_owned()) }
}

fn stricter(a: Verdict, b: Verdict) -> Verdict {
    match (a.action, b.action) {
        (Action::Deny, _) | (Action::Hold, Action::Allow | Action::Hold) | (Action::Allow, Action::Allow) => a,
        (_, Action::Deny | Action::Hold) => b,
    }
}

pub(super) fn body(
    causality: &dyn Causality,
    process: &Process,
    access: &Access,
    outcome: Outcome,
    errno: Option<i32>,
    reason: Option<String>,
) -> FileAccessed {
    let (path, path_bytes) = path_text(&access.name);
    let (tool_call_id, mediation) = causality.mediation(&process.tie, &path);
    FileAccessed {
        actor: process.actor(tool_call_id, mediation),
        operation: access.operation,
        path,
        path_bytes,
        target_path: access.target.as_deref().map(|target| path_text(target).0),
        flags: access.flags,
        outcome,
        errno,
        count: 1,
        last_at: None,
        reason,
    }
}
