//! Writes down what an observer has seen that only watches, as gVisor's stream does.
//!
//! The supervision decides about each call and so knows its processes by itself; whoever only looks on tells [`Witness`] what there
//! was to see, and the records come out alike: the same fields, the same folding, the same ties to tool calls, arguments redacted.

use crate::contract::{Causality, Event, ProcessFacts, RecordError, Recorder, Tie};
use crate::fold::{Fold, Repeats, Seen};
use crate::process::{exit_code, exit_signal, path_text};
use crate::redact;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use wk_schemas::body::{
    Actor, CallAttempted, ConnectionAttempted, FileAccessed, FileOperation, NetworkOperation, Outcome, ProcessExited,
    ProcessStarted, RecordsLost,
};
use wk_schemas::{Body, Origin, Timestamp};

/// So many processes are known at once; a tree with more is not lost sight of, but its oldest members lose their history.
const PROCESSES_MAX: usize = 65_536;

/// A process as an observer names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Who {
    /// Its number, in the observer's own numbering.
    pub pid: i64,
    /// When it started, in clock ticks; 0 when the observer does not know.
    pub started_ticks: i64,
    /// Its user, name or number.
    pub user: Arc<str>,
    /// Its program, where the observer knows it: for a process that was there before the observer.
    pub image: Option<Arc<str>>,
}

/// Something that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sight {
    /// A process made another.
    Forked { child: Who },
    /// A process executed a program, or tried to.
    Executed { image: String, arguments: Vec<String>, cwd: String, result: Result<(), i32> },
    /// A process touched a file.
    Touched { operation: FileOperation, path: PathBuf, flags: i64, result: Result<(), i32> },
    /// A process reached for the network.
    Reached {
        operation: NetworkOperation,
        protocol: String,
        address: String,
        port: Option<i32>,
        result: Result<(), i32>,
    },
    /// A process made a call of which only the name and the registers are known.
    Called { call: &'static str, detail: String, reason: &'static str },
    /// A process ended, with this status as `wait` gives it.
    Ended { status: i32 },
}

#[derive(Debug)]
struct Known {
    uid: Arc<str>,
    started_ticks: i64,
    image: Arc<str>,
    command_line: Arc<str>,
    user: Arc<str>,
    parent: i64,
    tie: Tie,
    executed: bool,
    seen_at: Timestamp,
    /// Its place in the order of arrival.
    arrived: u64,
}

type FileKey = (FileOperation, Result<(), i32>, PathBuf);
type NetworkKey = (NetworkOperation, Result<(), i32>, String, Option<i32>);

/// Turns what was seen in one session into records.
pub(crate) struct Witness {
    recorder: Arc<dyn Recorder>,
    causality: Arc<dyn Causality>,
    known: HashMap<i64, Known>,
    arrivals: u64,
    any_program: bool,
    files: Fold<i64, FileKey, FileAccessed>,
    connections: Fold<i64, NetworkKey, ConnectionAttempted>,
    calls: Fold<i64, (&'static str, String), CallAttempted>,
}

impl std::fmt::Debug for Witness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Witness").field("known", &self.known.len()).finish_non_exhaustive()
    }
}

impl Witness {
    pub(crate) fn new(recorder: Arc<dyn Recorder>, causality: Arc<dyn Causality>) -> Self {
        Self {
            recorder,
            causality,
            known: HashMap::new(),
            arrivals: 0,
            any_program: false,
            files: Fold::default(),
            connections: Fold::default(),
            calls: Fold::default(),
        }
    }

    /// Writes down what `who` was seen to do.
    ///
    /// # Errors
    /// [`RecordError`] when it could not be recorded.
    pub(crate) fn see(&mut self, at: Timestamp, who: &Who, sight: Sight) -> Result<(), RecordError> {
        self.meet(who, None, at);
        match sight {
            Sight::Forked { child } => {
                self.meet(&child, Some(who.pid), at);
                Ok(())
            }
            Sight::Executed { image, arguments, cwd, result } => self.executed(at, who, image, &arguments, cwd, result),
            Sight::Touched { operation, path, flags, result } => {
                self.touched(at, who.pid, (operation, result, path), flags)
            }
            Sight::Reached { operation, protocol, address, port, result } => {
                self.reached(at, who.pid, (operation, result, address, port), protocol)
            }
            Sight::Called { call, detail, reason } => self.called(at, who.pid, (call, detail), reason),
            Sight::Ended { status } => self.ended(at, who.pid, status),
        }
    }

    /// Writes down that so many things were not seen; -1 when nobody knows how many.
    ///
    /// # Errors
    /// As [`Witness::see`].
    pub(crate) fn lost(&self, at: Timestamp, count: i64, stage: &str, reason: String) -> Result<(), RecordError> {
        self.write(Origin::Shim, at, RecordsLost { count, stage: stage.into(), reason })
    }

    /// Writes down the repeats whose second is over.
    ///
    /// # Errors
    /// As [`Witness::see`].
    pub(crate) fn tick(&mut self, at: Timestamp) -> Result<(), RecordError> {
        let (files, connections, calls) = (self.files.expire(at), self.connections.expire(at), self.calls.expire(at));
        self.repeats(files, connections, calls)
    }

    /// Writes down all that was counted.
    ///
    /// # Errors
    /// As [`Witness::see`].
    pub(crate) fn finish(&mut self) -> Result<(), RecordError> {
        let (files, connections, calls) = (self.files.end(), self.connections.end(), self.calls.end());
        self.repeats(files, connections, calls)
    }

    /// Whether this process is known to be alive.
    pub(crate) fn knows(&self, pid: i64) -> bool {
        self.known.contains_key(&pid)
    }

    fn meet(&mut self, who: &Who, parent: Option<i64>, at: Timestamp) {
        let same = |known: &Known| who.started_ticks == 0 || known.started_ticks == who.started_ticks;
        if self.known.get(&who.pid).is_some_and(same) {
            return;
        }
        if self.known.len() >= PROCESSES_MAX {
            let oldest = self.known.iter().min_by_key(|(_, known)| known.arrived).map(|(pid, _)| *pid);
            oldest.and_then(|pid| self.known.remove(&pid));
        }
        let before = parent.and_then(|parent| self.known.get(&parent));
        let known = Known {
            uid: format!("{}-{}", who.pid, who.started_ticks).into(),
            started_ticks: who.started_ticks,
            image: who.image.clone().or_else(|| before.map(|b| Arc::clone(&b.image))).unwrap_or_default(),
            command_line: before.map(|b| Arc::clone(&b.command_line)).unwrap_or_default(),
            user: Arc::clone(&who.user),
            parent: parent.unwrap_or(0),
            tie: before.map(|b| b.tie.clone()).unwrap_or_default(),
            executed: false,
            seen_at: at,
            arrived: self.arrivals,
        };
        self.arrivals += 1;
        self.known.insert(who.pid, known);
    }

    fn executed(
        &mut self,
        at: Timestamp,
        who: &Who,
        image: String,
        arguments: &[String],
        cwd: String,
        result: Result<(), i32>,
    ) -> Result<(), RecordError> {
        let before = &self.known[&who.pid];
        // As the supervision has it: an exec without a fork has the program before as its parent.
        let parent = if before.executed { Some(before) } else { self.known.get(&before.parent) };
        let is_root = !self.any_program && result.is_ok();
        let facts = ProcessFacts {
            pid: who.pid,
            process_uid: before.uid.to_string(),
            image: image.clone(),
            argv: arguments.to_vec(),
            working_directory: cwd.clone().into(),
            is_root,
        };
        let tie = if result.is_ok() {
            self.causality.process_started(&facts, (!is_root).then_some(&before.tie))
        } else {
            before.tie.clone()
        };
        let (tool_call_id, mediation) = self.causality.mediation(&tie, &arguments.join(" "));
        let arguments = redact::arguments(arguments);
        let command_line = arguments.join(" ");
        let text = |get: fn(&Known) -> &Arc<str>| parent.map(|p| get(p).to_string()).unwrap_or_default();
        let body = ProcessStarted {
            actor: Actor {
                pid: who.pid,
                process_uid: before.uid.to_string(),
                image: image.clone(),
                user: who.user.to_string(),
                tool_call_id,
                mediation,
            },
            arguments,
            command_line: command_line.clone(),
            working_directory: cwd,
            parent_pid: before.parent,
            parent_process_uid: text(|p| &p.uid),
            parent_image: text(|p| &p.image),
            parent_command_line: text(|p| &p.command_line),
            outcome: outcome(result),
            errno: result.err(),
            reason: None,
        };
        if result.is_ok() {
            self.end_group(who.pid)?;
            self.any_program = true;
        }
        self.write(Origin::Kernel, at, body)?;
        if result.is_ok()
            && let Some(known) = self.known.get_mut(&who.pid)
        {
            known.seen_at = if known.executed { known.seen_at } else { at };
            (known.image, known.command_line, known.tie, known.executed) =
                (image.into(), command_line.into(), tie, true);
            known.user = Arc::clone(&who.user);
        }
        Ok(())
    }

    fn touched(&mut self, at: Timestamp, pid: i64, key: FileKey, flags: i64) -> Result<(), RecordError> {
        let (operation, result, name) = key.clone();
        let (path, path_bytes) = path_text(&name);
        let actor = self.actor(pid, &path);
        let body = FileAccessed {
            actor,
            operation,
            path,
            path_bytes,
            target_path: None,
            flags,
            outcome: outcome(result),
            errno: result.err(),
            count: 1,
            last_at: None,
            reason: None,
        };
        if self.files.is_full() {
            let early = self.files.end();
            self.repeats(early, Vec::new(), Vec::new())?;
        }
        if let Some(before) = first(self.files.see(pid, key, at, || body.clone())) {
            self.repeats(before, Vec::new(), Vec::new())?;
            self.write(Origin::Kernel, at, body)?;
        }
        Ok(())
    }

    fn reached(&mut self, at: Timestamp, pid: i64, key: NetworkKey, protocol: String) -> Result<(), RecordError> {
        let (operation, result, address, port) = key.clone();
        let body = ConnectionAttempted {
            actor: self.actor(pid, &address),
            operation,
            protocol,
            address,
            port,
            host_name: None,
            outcome: outcome(result),
            errno: result.err(),
            count: 1,
            last_at: None,
            reason: None,
        };
        if let Some(before) = first(self.connections.see(pid, key, at, || body.clone())) {
            self.repeats(Vec::new(), before, Vec::new())?;
            self.write(Origin::Kernel, at, body)?;
        }
        Ok(())
    }

    fn called(
        &mut self,
        at: Timestamp,
        pid: i64,
        key: (&'static str, String),
        reason: &str,
    ) -> Result<(), RecordError> {
        let body = CallAttempted {
            actor: self.actor(pid, key.0),
            call: key.0.to_owned(),
            detail: key.1.clone(),
            outcome: Outcome::Allowed,
            errno: None,
            count: 1,
            last_at: None,
            reason: reason.to_owned(),
        };
        if let Some(before) = first(self.calls.see(pid, key, at, || body.clone())) {
            self.repeats(Vec::new(), Vec::new(), before)?;
            self.write(Origin::Kernel, at, body)?;
        }
        Ok(())
    }

    fn ended(&mut self, at: Timestamp, pid: i64, status: i32) -> Result<(), RecordError> {
        self.end_group(pid)?;
        let Some(known) = self.known.get(&pid) else { return Ok(()) };
        let (executed, seen_at, image) = (known.executed, known.seen_at, known.image.to_string());
        let actor = self.actor(pid, &image);
        self.known.remove(&pid);
        if !executed {
            return Ok(());
        }
        let wall_time_us = at.micros_since(seen_at).max(0);
        let body = ProcessExited { actor, exit_code: exit_code(status), signal: exit_signal(status), wall_time_us };
        self.write(Origin::Kernel, at, body)
    }

    fn actor(&self, pid: i64, object: &str) -> Actor {
        let known = &self.known[&pid];
        let (tool_call_id, mediation) = self.causality.mediation(&known.tie, object);
        Actor {
            pid,
            process_uid: known.uid.to_string(),
            image: known.image.to_string(),
            user: known.user.to_string(),
            tool_call_id,
            mediation,
        }
    }

    fn end_group(&mut self, pid: i64) -> Result<(), RecordError> {
        let (files, connections, calls) =
            (self.files.end_group(pid), self.connections.end_group(pid), self.calls.end_group(pid));
        self.repeats(files, connections, calls)
    }

    fn repeats(
        &self,
        files: Vec<Repeats<FileAccessed>>,
        connections: Vec<Repeats<ConnectionAttempted>>,
        calls: Vec<Repeats<CallAttempted>>,
    ) -> Result<(), RecordError> {
        for Repeats { what, count, last_at } in files {
            self.write(Origin::Kernel, last_at, FileAccessed { count, last_at: Some(last_at), ..what })?;
        }
        for Repeats { what, count, last_at } in connections {
            self.write(Origin::Kernel, last_at, ConnectionAttempted { count, last_at: Some(last_at), ..what })?;
        }
        for Repeats { what, count, last_at } in calls {
            self.write(Origin::Kernel, last_at, CallAttempted { count, last_at: Some(last_at), ..what })?;
        }
        Ok(())
    }

    fn write(&self, origin: Origin, occurred_at: Timestamp, body: impl Into<Body>) -> Result<(), RecordError> {
        self.recorder.record(Event { origin, caused_by: Vec::new(), occurred_at, body: body.into() }).map(drop)
    }
}

/// What became of something that its observer saw done, and not only asked for.
fn outcome(result: Result<(), i32>) -> Outcome {
    if result.is_ok() { Outcome::Succeeded } else { Outcome::Failed }
}

/// What to write before it when it is the first; `None` when it was counted.
fn first<T>(seen: Seen<T>) -> Option<Vec<Repeats<T>>> {
    match seen {
        Seen::First(before) => Some(before.into_iter().collect()),
        Seen::Repeat => None,
    }
}
