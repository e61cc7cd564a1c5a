//! The table of the session's processes: who they are, who started them, and which tool call they belong to.
//!
//! A notification names a thread. Threads are looked up in `/proc` when they are first seen and again after a while, because a
//! number may be taken again by another process; processes leave the table when their pidfd says that they ended.

use crate::contract::Tie;
use crate::sys;
use std::collections::HashMap;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wk_schemas::Timestamp;
use wk_schemas::body::{Actor, Mediation};

/// How long a thread's number is trusted to mean the same process. The kernel hands out numbers in a circle of at least 32768,
/// and no machine goes round in this time.
const TRUSTED_FOR: Duration = Duration::from_secs(3);

/// A process of the session, with the program it runs.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    /// Process id in the shim's own numbering.
    pub pid: i32,
    /// `<pid>-<start time in clock ticks>`.
    pub uid: Arc<str>,
    /// Start time in clock ticks after boot.
    pub started_ticks: u64,
    /// Absolute path of the program.
    pub image: Arc<str>,
    /// The program's arguments, joined.
    pub command_line: Arc<str>,
    /// User name or number.
    pub user: Arc<str>,
    /// Process id of the parent when it was first seen.
    pub parent_pid: i32,
    /// Which tool call it descends from.
    pub tie: Tie,
    /// Whether it has executed a program under the shim's eyes (its copies by fork have not).
    pub executed: bool,
    /// When the program was first seen.
    pub seen_at: Timestamp,
    /// The program before, as long as it was not seen which program really came after it.
    pub unverified_after: Option<Arc<str>>,
    /// Session and process group, by which an orphan is recognised.
    pub session: i32,
    /// See `session`.
    pub group: i32,
    /// Stands for the process.
    pub pidfd: Arc<OwnedFd>,
}

impl Process {
    /// The process as a record shows it.
    #[must_use]
    pub(crate) fn actor(&self, tool_call_id: Option<String>, mediation: Mediation) -> Actor {
        Actor {
            pid: i64::from(self.pid),
            process_uid: self.uid.to_string(),
            image: self.image.to_string(),
            user: self.user.to_string(),
            tool_call_id,
            mediation,
        }
    }
}

/// What `/proc/<pid>/stat` and `/proc/<tid>/status` say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Vitals {
    /// The process that the thread belongs to.
    pub pid: i32,
    /// Its parent.
    pub parent: i32,
    /// Its process group.
    pub group: i32,
    /// Its session.
    pub session: i32,
    /// When it started, in clock ticks after boot.
    pub started_ticks: u64,
    /// The user that counts for files.
    pub user: u32,
    /// File creation mask.
    pub umask: u32,
}

/// Room for what is read of a file of `/proc` at once. `stat` is shorter; `status` may be longer, but not before the lines that are wanted.
const PROC_BYTES: usize = 4096;

/// Reads a file of a thread's folder in `/proc` at once: the kernel makes it anew for each open, and gives as much as there is room for.
fn proc_file<'a>(thread: i32, name: &str, room: &'a mut [u8; PROC_BYTES]) -> io::Result<&'a [u8]> {
    let length = std::fs::File::open(format!("/proc/{thread}/{name}"))?.read(room)?;
    Ok(&room[..length])
}

/// The fields of `stat` behind the name of the program, which stands in parentheses and may itself hold any byte.
fn stat_fields(stat: &[u8]) -> Option<Vec<&str>> {
    let after = stat.iter().rposition(|byte| *byte == b')')?;
    Some(std::str::from_utf8(&stat[after + 1..]).ok()?.split_whitespace().collect())
}

/// Reads what the kernel says about the process of a thread.
///
/// # Errors
/// `ENOENT` when it is gone.
pub(crate) fn vitals(thread: i32) -> io::Result<Vitals> {
    let gone = || io::Error::from_raw_os_error(libc::ESRCH);
    let mut room = [0; PROC_BYTES];
    let status = String::from_utf8_lossy(proc_file(thread, "status", &mut room)?);
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let pid: i32 = field("Tgid:").and_then(|text| text.parse().ok()).ok_or_else(gone)?;
    let user = field("Uid:").and_then(|text| text.split_whitespace().nth(3)?.parse().ok()).ok_or_else(gone)?;
    let umask = field("Umask:").and_then(|text| u32::from_str_radix(text, 8).ok()).unwrap_or(0o022);
    let mut room = [0; PROC_BYTES];
    let fields = stat_fields(proc_file(pid, "stat", &mut room)?).ok_or_else(gone)?;
    let number = |index: usize| fields.get(index).and_then(|text| text.parse::<i64>().ok()).ok_or_else(gone);
    let narrow = |value: i64| i32::try_from(value).map_err(|_| gone());
    Ok(Vitals {
        pid,
        parent: narrow(number(1)?)?,
        group: narrow(number(2)?)?,
        session: narrow(number(3)?)?,
        started_ticks: u64::try_from(number(19)?).map_err(|_| gone())?,
        user,
        umask,
    })
}

/// The exit status of a process that has ended and was not yet reaped.
#[must_use]
pub(crate) fn zombie_status(pid: i32) -> Option<i32> {
    let mut room = [0; PROC_BYTES];
    let fields = stat_fields(proc_file(pid, "stat", &mut room).ok()?)?;
    if !matches!(fields.first(), Some(&("Z" | "X"))) {
        return None;
    }
    fields.get(49)?.parse().ok()
}

/// The exit code in a status, when the process exited.
#[must_use]
pub(crate) fn exit_code(status: i32) -> Option<i32> {
    libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status))
}

/// The signal in a status, when one ended the process.
#[must_use]
pub(crate) fn exit_signal(status: i32) -> Option<i32> {
    libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status))
}

/// All processes of the session that are alive and have been seen.
#[derive(Debug, Default)]
pub(crate) struct Table {
    processes: HashMap<i32, Arc<Process>>,
    threads: HashMap<i32, (i32, Instant)>,
    users: HashMap<u32, Arc<str>>,
}

/// A process, and whether the table meets it for the first time.
#[derive(Debug)]
pub(crate) struct Met {
    /// The process.
    pub process: Arc<Process>,
    /// It was not in the table before: its end must be watched.
    pub is_new: bool,
}

impl Table {
    /// The process of a thread, looked up when it is not known or not trusted any more.
    ///
    /// # Errors
    /// What `/proc` says; the thread may be gone.
    pub(crate) fn of_thread(&mut self, thread: i32, now: Instant, at: Timestamp) -> io::Result<Met> {
        if let Some((pid, checked)) = self.threads.get(&thread)
            && now.duration_since(*checked) < TRUSTED_FOR
            && let Some(process) = self.processes.get(pid)
        {
            return Ok(Met { process: Arc::clone(process), is_new: false });
        }
        let vitals = vitals(thread)?;
        self.threads.insert(thread, (vitals.pid, now));
        if let Some(process) = self.processes.get(&vitals.pid)
            && process.started_ticks == vitals.started_ticks
        {
            return Ok(Met { process: Arc::clone(process), is_new: false });
        }
        let process = Arc::new(self.meet(vitals, at)?);
        self.processes.insert(vitals.pid, Arc::clone(&process));
        Ok(Met { process, is_new: true })
    }

    /// Makes an entry for a process that was forked and has not executed anything yet.
    fn meet(&mut self, vitals: Vitals, at: Timestamp) -> io::Result<Process> {
        let pidfd = Arc::new(sys::process::pidfd_open(vitals.pid)?);
        let parent = self.parent_of(vitals);
        let image = match std::fs::read_link(format!("/proc/{}/exe", vitals.pid)) {
            Ok(path) => path.as_os_str().to_string_lossy().into(),
            Err(_) => parent.as_ref().map_or_else(|| "".into(), |p| Arc::clone(&p.image)),
        };
        let command_line = match &parent {
            Some(parent) => Arc::clone(&parent.command_line),
            None => crate::redact::text(&command_line_of(vitals.pid)).into(),
        };
        Ok(Process {
            pid: vitals.pid,
            uid: format!("{}-{}", vitals.pid, vitals.started_ticks).into(),
            started_ticks: vitals.started_ticks,
            image,
            command_line,
            user: self.user(vitals.user),
            parent_pid: vitals.parent,
            tie: parent.as_ref().map(|p| p.tie.clone()).unwrap_or_default(),
            executed: false,
            seen_at: at,
            unverified_after: None,
            session: vitals.session,
            group: vitals.group,
            pidfd,
        })
    }

    /// The parent; for an orphan, the process that leads its session or group, or any other of that group.
    fn parent_of(&self, vitals: Vitals) -> Option<Arc<Process>> {
        let known = |pid: i32| (pid != vitals.pid).then(|| self.processes.get(&pid)).flatten();
        known(vitals.parent)
            .or_else(|| known(vitals.session))
            .or_else(|| known(vitals.group))
            .or_else(|| {
                let mut kin: Vec<_> = self.processes.values().filter(|p| p.group == vitals.group).collect();
                kin.sort_by_key(|p| p.started_ticks);
                kin.first().copied()
            })
            .cloned()
    }

    /// A process of the table.
    #[must_use]
    pub(crate) fn get(&self, pid: i32) -> Option<Arc<Process>> {
        self.processes.get(&pid).cloned()
    }

    /// Puts a process in place of the one with the same id: it now runs another program.
    pub(crate) fn replace(&mut self, process: Process) -> Arc<Process> {
        let process = Arc::new(process);
        self.processes.insert(process.pid, Arc::clone(&process));
        process
    }

    /// Takes a process out that has ended, unless its number already means another.
    pub(crate) fn remove(&mut self, pid: i32, started_ticks: u64) -> Option<Arc<Process>> {
        if self.processes.get(&pid)?.started_ticks != started_ticks {
            return None;
        }
        self.threads.retain(|_, (owner, _)| *owner != pid);
        self.processes.remove(&pid)
    }

    /// How many processes are known to be alive.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.processes.len()
    }

    /// Whether none is.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.processes.is_empty()
    }

    /// The name of a user; its number when it has none.
    pub(crate) fn user(&mut self, id: u32) -> Arc<str> {
        let name = self.users.entry(id).or_insert_with(|| user_name(id).unwrap_or_else(|| id.to_string()).into());
        Arc::clone(name)
    }
}

fn user_name(id: u32) -> Option<String> {
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        (number.parse() == Ok(id)).then(|| name.to_owned())
    })
}

/// The arguments that a process runs with, joined.
pub(crate) fn command_line_of(pid: i32) -> String {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = bytes.split(|byte| *byte == 0).filter(|word| !word.is_empty());
    words.map(String::from_utf8_lossy).collect::<Vec<_>>().join(" ")
}

/// A path as a record shows it: text, and the bytes when the text cannot say them.
#[must_use]
pub(crate) fn path_text(path: &Path) -> (String, Option<wk_schemas::Bytes>) {
    match path.to_str() {
        Some(text) => (text.to_owned(), None),
        None => {
            let bytes = path.as_os_str().as_bytes().to_vec();
            (String::from_utf8_lossy(&bytes).into_owned(), Some(wk_schemas::Bytes(bytes)))
        }
    }
}
