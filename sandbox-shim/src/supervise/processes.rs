//! Executing programs.
//!
//! The kernel itself carries an exec out: its arguments may change after they were read, so a record of an exec is what was
//! asked. Which program really runs is checked when the process is next heard of, and as root when the kernel opens it (`openings`).

use super::ask::Question;
use super::core::{Core, Decided, Stop};
use super::results::Asked;
use crate::clock;
use crate::contract::ProcessFacts;
use crate::lock::lock;
use crate::observe::memory::{Memory, TextLimits};
use crate::observe::request::Place;
use crate::observe::resolve::Resolved;
use crate::policy::{Action, Verdict};
use crate::process::{Process, command_line_of};
use crate::redact;
use crate::sys::seccomp::{Answer, Notification};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wk_schemas::body::{Outcome, ProcessStarted};
use wk_schemas::{Body, Origin, RecordId};

/// How much of a process's arguments is kept. All records stay far below the largest message of the log.
const ARGUMENTS: TextLimits = TextLimits { count: 1024, each: 8192, total: 64 * 1024 };

impl Core {
    pub(crate) fn execute(
        &self,
        call: &Notification,
        process: &Arc<Process>,
        place: &Place,
        argv: u64,
        follow: bool,
    ) -> Decided {
        let at = match self.resolve(call, process, place, follow) {
            Ok(at) => at,
            Err(error) => return Ok(Some(Answer::Error(crate::sys::errno(&error)))),
        };
        let arguments = match (Memory { thread: call.thread }).texts(argv, ARGUMENTS) {
            Ok(arguments) => arguments,
            Err(error) => return Ok(Some(Answer::Error(crate::sys::errno(&error)))),
        };
        let cwd = std::fs::read_link(format!("/proc/{}/cwd", call.thread)).unwrap_or_default();
        if !self.is_waiting(call) {
            return Ok(None);
        }
        // What a descriptor leads to may have no name any more, or never had one, and can be executed all the same.
        let is_nameless = at.real.as_os_str().as_bytes().ends_with(b" (deleted)");
        let by_name = !place.path.is_empty() && !at.in_proc && !is_nameless && !at.name.starts_with("/proc");
        let exec = Exec { thread: call.thread, at, by_name, arguments, cwd };
        let failure = if exec.at.in_proc || is_nameless { None } else { expected_failure(&exec.at.real) };
        if let Some(errno) = failure {
            self.record_exec(process, &exec, Outcome::Failed, Some(errno), None)?;
            // Not left to the kernel: a thread could put another path there by now, and what then runs would have no record.
            return Ok(Some(Answer::Error(errno)));
        }
        let verdict = self.program_verdict(&exec.at, &exec.arguments);
        match verdict.action {
            Action::Allow => {
                let goes_on = self.let_execute(call, process, &exec, verdict.reason)?;
                Ok(Some(goes_on))
            }
            Action::Deny => {
                self.record_exec(process, &exec, Outcome::Denied, Some(libc::EACCES), verdict.reason)?;
                Ok(Some(Answer::Error(libc::EACCES)))
            }
            Action::Hold => {
                let (call, process_then) = (*call, Arc::clone(process));
                let question = Question {
                    action: "execute",
                    subject: format!("execute {}", redact::arguments(&exec.arguments).join(" ")),
                    path: Some(exec.at.real.to_string_lossy().into_owned()),
                    ..Question::default()
                };
                self.hold(&call.clone(), process, &verdict, question, move |core, granted, reason| {
                    let (reason, errno) = (Some(reason.to_owned()), libc::EACCES);
                    let answer = if granted {
                        core.let_execute(&call, &process_then, &exec, reason)
                    } else {
                        let kept = core.record_exec(&process_then, &exec, Outcome::Denied, Some(errno), reason);
                        kept.map(|_| Answer::Error(errno))
                    };
                    core.answer(call.id, answer.unwrap_or(Answer::Error(libc::EPERM)));
                });
                Ok(None)
            }
        }
    }

    fn program_verdict(&self, at: &Resolved, arguments: &[String]) -> Verdict {
        if self.is_protected(&at.real) || self.is_protected(&at.name) {
            return Verdict { action: Action::Deny, reason: Some("protected by the shim".to_owned()) };
        }
        let policy = self.policy();
        // Executing a file reads it, and the kernel, which carries the exec out, would not find it granted: not after an answer either.
        if !at.in_proc && !policy.files_are_free() {
            let reading = policy.file([at.name.as_path(), at.real.as_path()], false);
            if reading.action != Action::Allow {
                return Verdict { action: Action::Deny, ..reading };
            }
        }
        if policy.programs_are_free() {
            return Verdict { action: Action::Allow, reason: None };
        }
        policy.program([at.name.as_path(), at.real.as_path()], arguments)
    }

    /// Writes an exec down that the kernel goes on with; what to answer.
    fn let_execute(
        &self,
        call: &Notification,
        before: &Arc<Process>,
        exec: &Exec,
        reason: Option<String>,
    ) -> Result<Answer, Stop> {
        let (kept, body) = self.record_exec(before, exec, Outcome::Allowed, None, reason)?;
        Ok(self.goes_on(call, before, Some(kept), || Asked::Exec(Box::new(body))))
    }

    /// Writes an exec down, and on `Allowed` puts the new program into the table; the record, and what it says.
    fn record_exec(
        &self,
        before: &Arc<Process>,
        exec: &Exec,
        outcome: Outcome,
        errno: Option<i32>,
        reason: Option<String>,
    ) -> Result<(RecordId, ProcessStarted), Stop> {
        let occurred_at = clock::now();
        let image = exec.at.real.to_string_lossy().into_owned();
        let command_line = exec.arguments.join(" ");
        let parent = if before.executed { Some(Arc::clone(before)) } else { lock(&self.table).get(before.parent_pid) };
        let is_root = !before.executed && parent.is_none() && self.exits.is_first();
        let facts = ProcessFacts {
            pid: i64::from(before.pid),
            process_uid: before.uid.to_string(),
            image: image.clone(),
            argv: exec.arguments.clone(),
            working_directory: exec.cwd.clone(),
            is_root,
        };
        let tie = if outcome == Outcome::Allowed {
            self.causality.process_started(&facts, (!is_root).then_some(&before.tie))
        } else {
            before.tie.clone()
        };
        let (tool_call_id, mediation) = self.causality.mediation(&tie, &command_line);
        // What a tool call names is compared with what was said; what is kept of it is without secrets.
        let arguments = redact::arguments(&exec.arguments);
        let command_line = arguments.join(" ");
        let after = Process {
            pid: before.pid,
            uid: Arc::clone(&before.uid),
            started_ticks: before.started_ticks,
            image: image.into(),
            command_line: command_line.as_str().into(),
            user: Arc::clone(&before.user),
            parent_pid: before.parent_pid,
            tie,
            executed: true,
            // A script runs as its interpreter, which is found out when that is executed in turn by the kernel: nothing to compare.
            unverified_after: (!is_script(&exec.at.real)).then(|| Arc::clone(&before.image)),
            seen_at: if before.executed { before.seen_at } else { occurred_at },
            session: before.session,
            group: before.group,
            pidfd: Arc::clone(&before.pidfd),
        };
        let text = |get: fn(&Process) -> &Arc<str>| parent.as_deref().map(|p| get(p).to_string()).unwrap_or_default();
        let body = ProcessStarted {
            actor: after.actor(tool_call_id, mediation),
            arguments,
            command_line,
            working_directory: exec.cwd.to_string_lossy().into_owned(),
            parent_pid: i64::from(before.parent_pid),
            parent_process_uid: text(|p| &p.uid),
            parent_image: text(|p| &p.image),
            parent_command_line: text(|p| &p.command_line),
            outcome,
            errno,
            reason,
        };
        if outcome == Outcome::Allowed {
            self.expect_opening(before, exec.thread, &exec.at.real, exec.by_name);
            // What was counted so far was done by the program before; the next one's doings are not its repeats.
            let over = lock(&self.fold).end_group(before.pid);
            self.record_repeats(over)?;
        }
        let kept = self.record(Origin::Kernel, occurred_at, Body::from(body.clone()))?;
        if outcome == Outcome::Allowed {
            lock(&self.table).replace(after);
        }
        Ok((kept, body))
    }
}

impl Core {
    /// Sees which program a process really runs, once after each exec: another thread may have changed what was asked for after the
    /// shim had read it.
    pub(crate) fn verify_image(&self, process: Arc<Process>) -> Result<Arc<Process>, Stop> {
        let Some(before) = &process.unverified_after else { return Ok(process) };
        let Ok(image) = std::fs::read_link(format!("/proc/{}/exe", process.pid)) else { return Ok(process) };
        let image = image.to_string_lossy().into_owned();
        let image = unmarked(&image);
        if image == &**before && image != &*process.image {
            // Not executed yet, or it failed.
            return Ok(process);
        }
        let asked = Arc::clone(&process.image);
        let mut after = Process { unverified_after: None, image: image.into(), ..Process::clone(&process) };
        if image == unmarked(&asked) {
            return Ok(lock(&self.table).replace(after));
        }
        let line = command_line_of(process.pid);
        after.command_line = redact::text(&line).into();
        self.tell_another(after, &line, &asked, Outcome::Succeeded)
    }

    /// Writes down that a process runs another program than `asked`, and ends it where that one may not run.
    pub(super) fn tell_another(
        &self,
        after: Process,
        command_line: &str,
        asked: &str,
        outcome: Outcome,
    ) -> Result<Arc<Process>, Stop> {
        let runs = PathBuf::from(&*after.image);
        let arguments: Vec<String> = command_line.split(' ').map(str::to_owned).collect();
        let found = Resolved::outside_proc(runs.clone(), runs);
        let may_run = self.program_verdict(&found, &arguments).action == Action::Allow;
        let _one_at_a_time = lock(&self.telling_another);
        let known = lock(&self.table).get(after.pid);
        let is_told = known.filter(|known| known.uid == after.uid && known.image == after.image);
        let after = match is_told {
            Some(known) => known,
            None => self.record_another(after, asked, if may_run { outcome } else { Outcome::Denied })?,
        };
        if may_run {
            return Ok(after);
        }
        self.signal(after.pid, libc::SIGKILL);
        Err(Stop)
    }

    fn record_another(&self, after: Process, asked: &str, outcome: Outcome) -> Result<Arc<Process>, Stop> {
        let after = lock(&self.table).replace(after);
        let parent = lock(&self.table).get(after.parent_pid);
        let text = |get: fn(&Process) -> &Arc<str>| parent.as_deref().map(|p| get(p).to_string()).unwrap_or_default();
        let (tool_call_id, mediation) = self.causality.mediation(&after.tie, &after.command_line);
        let body = ProcessStarted {
            actor: after.actor(tool_call_id, mediation),
            arguments: vec![after.command_line.to_string()],
            command_line: after.command_line.to_string(),
            working_directory: String::new(),
            parent_pid: i64::from(after.parent_pid),
            parent_process_uid: text(|p| &p.uid),
            parent_image: text(|p| &p.image),
            parent_command_line: text(|p| &p.command_line),
            outcome,
            errno: None,
            reason: Some(format!("another program runs than the one asked for, {asked}")),
        };
        self.record(Origin::Kernel, clock::now(), body.into())?;
        Ok(after)
    }
}

struct Exec {
    thread: i32,
    at: Resolved,
    /// Whether the kernel finds the program by its name, and not through a descriptor.
    by_name: bool,
    arguments: Vec<String>,
    cwd: PathBuf,
}

/// The path of a file without what the kernel says behind it when no name leads there any more.
fn unmarked(path: &str) -> &str {
    path.strip_suffix(" (deleted)").unwrap_or(path)
}

pub(super) fn is_script(path: &Path) -> bool {
    use std::io::Read;
    let mut start = [0; 2];
    // A pipe would keep the receiving thread waiting, so only what is a plain file is opened.
    path.is_file()
        && std::fs::File::open(path).is_ok_and(|mut file| file.read_exact(&mut start).is_ok())
        && &start == b"#!"
}

/// The error that executing this file will give, as far as looking at it tells: a search along PATH is full of these.
fn expected_failure(path: &Path) -> Option<i32> {
    match std::fs::metadata(path) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => error.raw_os_error(),
        Err(_) => None,
        Ok(found) if !found.is_file() || found.permissions().mode() & 0o111 == 0 => Some(libc::EACCES),
        Ok(_) => None,
    }
}
