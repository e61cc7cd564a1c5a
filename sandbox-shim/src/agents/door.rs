//! The socket by which hooks and speaking agents come in.
//!
//! It is reached by path, in a folder only its owner may enter, and it admits only processes of the session: each caller's
//! credentials come from the kernel, and its chain of parents must lead to the shim. Where the agent has hooks, only hook clients
//! that the agent itself started may speak ([`Speakers::Hooks`]): a tool must not be able to announce, in the agent's name, what it
//! is about to do. Requests are taken one after another, in the order in which they arrive.

use super::callers::Callers;
use super::ear::Ear;
use super::refusals::Refusals;
use super::{Adapter, Channel, Said, jsonl};
use crate::causality::Calls;
use crate::contract::RecordError;
use crate::lock::lock;
use serde_json::{Value, json};
use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

/// A request longer than this is refused: agents cut tool outputs far below it.
const LINE_BYTES_MAX: usize = 64 << 20;

/// At most so many callers at once; more wait.
const CALLERS_MAX: usize = 64;

/// Who may speak for the agent.
#[derive(Debug, Clone)]
pub enum Speakers {
    /// Every process of the session: an agent without hooks speaks for itself.
    Anyone,
    /// Hook clients that the agent itself started, each once.
    Hooks(Arc<Calls>),
}

/// Everything a caller may talk to.
pub struct Door {
    /// Who may come in.
    pub speakers: Speakers,
    /// Translates hooks.
    pub adapter: Arc<Mutex<Box<dyn Adapter>>>,
    /// Records what was said.
    pub ear: Arc<Ear>,
    /// What was refused during the calls that have not returned yet.
    pub refusals: Arc<Refusals>,
    /// Told when something could not be recorded.
    pub on_failure: Box<dyn Fn(&RecordError) + Send + Sync>,
}

/// What a hook is to say to the agent; `None` is silence.
type Told = Option<String>;

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door").finish_non_exhaustive()
    }
}

/// Binds the session's socket; needs a tokio runtime.
///
/// # Errors
/// When the path is taken or too long for a socket.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    UnixListener::bind(path)
}

impl Door {
    /// Admits callers until `stop`.
    pub async fn serve(self: Arc<Self>, listener: UnixListener, stop: CancellationToken) {
        let callers = Callers { who: "a hook or a speaking agent", at_most: CALLERS_MAX };
        let talk = move |stream| {
            let door = Arc::clone(&self);
            async move { door.converse(stream).await }
        };
        callers.admit(listener, stop, talk).await;
    }

    async fn converse(&self, stream: UnixStream) -> io::Result<()> {
        let pid = stream.peer_cred()?.pid();
        let is_ours = pid.is_some_and(|pid| descends_from(pid, std::process::id()));
        let (read, mut write) = stream.into_split();
        if !is_ours {
            tracing::warn!(pid, "a process outside the session tried the session's socket");
            return write.write_all(b"{\"ok\":false,\"error\":\"not a process of this session\"}\n").await;
        }
        if let (Speakers::Hooks(calls), Some(pid)) = (&self.speakers, pid)
            && !process_uid(pid).is_some_and(|uid| calls.admit_hook(&uid))
        {
            let reason = "a process that is not the agent's own hook tried to speak for the agent";
            tracing::warn!(pid, reason);
            if let Err(error) = self.ear.lost(Channel::Hook, reason.into()) {
                (self.on_failure)(&error);
            }
            return write.write_all(b"{\"ok\":false,\"error\":\"only the agent's own hooks may speak here\"}\n").await;
        }
        let mut reader = BufReader::new(read);
        let mut line = Vec::new();
        loop {
            line.clear();
            if !read_line(&mut reader, &mut line).await? {
                return Ok(());
            }
            let answer = match self.take(&line) {
                Ok(None) => json!({"ok": true}),
                Ok(Some(told)) => json!({"ok": true, "say": told}),
                Err(error) => json!({"ok": false, "error": error}),
            };
            write.write_all(format!("{answer}\n").as_bytes()).await?;
        }
    }

    fn take(&self, line: &[u8]) -> Result<Told, String> {
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(None);
        }
        let outcome = match serde_json::from_slice::<Value>(line) {
            Ok(value) => self.hear(&value),
            Err(error) => {
                let reason = format!("a line of {} bytes that is not JSON: {error}", line.len());
                self.ear.lost(Channel::Jsonl, reason.clone()).map(|()| Err(reason))
            }
        };
        outcome.unwrap_or_else(|error| {
            (self.on_failure)(&error);
            Err(error.to_string())
        })
    }

    /// The outer error means that recording failed; the inner one that the caller said something that cannot be read.
    fn hear(&self, value: &Value) -> Result<Result<Told, String>, RecordError> {
        if let (Some(agent), Some(input)) = (value.get("hook").and_then(Value::as_str), value.get("input")) {
            let mut adapter = lock(&self.adapter);
            if adapter.name() != agent {
                return Ok(Err(format!("this session runs {}, not {agent}", adapter.name())));
            }
            let said = adapter.hook(input);
            drop(adapter);
            let returned = said.iter().find_map(|said| match said {
                Said::Returned(answer) => self.refusals.take(&answer.id),
                _ => None,
            });
            return self.ear.hear(said, Channel::Hook).map(|()| Ok(returned));
        }
        let said = jsonl::said(value);
        let complaint = match &said {
            Said::Lost(reason) => Err(reason.clone()),
            _ => Ok(None),
        };
        self.ear.hear(vec![said], Channel::Jsonl).map(|()| complaint)
    }
}

async fn read_line(reader: &mut BufReader<tokio::net::unix::OwnedReadHalf>, line: &mut Vec<u8>) -> io::Result<bool> {
    loop {
        let bytes = reader.fill_buf().await?;
        if bytes.is_empty() {
            return Ok(!line.is_empty());
        }
        let end = bytes.iter().position(|b| *b == b'\n');
        let taken = end.map_or(bytes.len(), |end| end + 1);
        line.extend_from_slice(&bytes[..end.unwrap_or(bytes.len())]);
        reader.consume(taken);
        if end.is_some() {
            return Ok(true);
        }
        if line.len() > LINE_BYTES_MAX {
            return Err(io::Error::other("a line without an end"));
        }
    }
}

/// Whether `pid` is `ancestor` or has it among its parents. Processes whose parent died are taken in by the session's first
/// process or by the shim, so the chain of a process of ours never leaves us.
fn descends_from(pid: i32, ancestor: u32) -> bool {
    let mut pid = u32::try_from(pid).unwrap_or(0);
    for _ in 0..1024 {
        if pid == ancestor {
            return true;
        }
        match parent_of(pid) {
            Some(parent) if parent > 0 => pid = parent,
            _ => return false,
        }
    }
    false
}

fn parent_of(pid: u32) -> Option<u32> {
    stat_field(pid, 4)?.parse().ok()
}

/// As `Actor::process_uid` has it.
fn process_uid(pid: i32) -> Option<String> {
    let started = stat_field(u32::try_from(pid).ok()?, 22)?;
    Some(format!("{pid}-{started}"))
}

/// One field of `/proc/<pid>/stat`, by its number in proc(5); from the third on.
fn stat_field(pid: u32, number: usize) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold blanks and brackets, so what follows its last bracket is read.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(number - 3).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agents::hook;
    use crate::causality::CallTable;
    use crate::contract::{Event, Recorder};
    use wk_schemas::{Body, RecordId};

    struct Full(Mutex<Vec<Body>>);

    impl Recorder for Full {
        fn record(&self, event: Event) -> Result<RecordId, RecordError> {
            let mut bodies = self.0.lock().unwrap();
            if bodies.len() == 1 {
                return Err(RecordError::Full { detail: "1 record".into() });
            }
            bodies.push(event.body);
            Ok(RecordId(uuid::Uuid::nil()))
        }
        fn record_durable(&self, event: Event) -> Result<RecordId, RecordError> {
            self.record(event)
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_hook_is_refused_when_its_call_cannot_be_recorded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.sock");
        let recorder = Arc::new(Full(Mutex::default()));
        let calls = Calls::new(CallTable::default());
        let failures = Arc::new(Mutex::new(0));
        let counted = Arc::clone(&failures);
        let door = Arc::new(Door {
            speakers: Speakers::Anyone,
            adapter: Arc::new(Mutex::new(crate::agents::adapter("codex").unwrap())),
            ear: Arc::new(Ear::new(Arc::clone(&recorder) as _, calls, Box::new(|_, _, _| {}))),
            refusals: Arc::default(),
            on_failure: Box::new(move |_| *counted.lock().unwrap() += 1),
        });
        let stop = CancellationToken::new();
        let serving = tokio::spawn(door.serve(bind(&path).unwrap(), stop.clone()));
        let call = |id: &str| {
            json!({"hook_event_name": "PreToolUse", "tool_name": "Bash", "tool_use_id": id,
                   "tool_input": {"command": "ls"}})
            .to_string()
        };
        let (first, second) = (call("a"), call("b"));
        let run = move |input: String| {
            let path = path.clone();
            tokio::task::spawn_blocking(move || hook::run("codex", Some(&path), input.as_bytes()))
        };
        assert_eq!(run.clone()(first).await.unwrap().code, 0);
        let refused = run(second).await.unwrap();
        assert_eq!(refused.code, 2);
        assert!(refused.reason.contains("the outbox is full"), "{}", refused.reason);
        assert_eq!(*failures.lock().unwrap(), 1);
        stop.cancel();
        serving.await.unwrap();
    }

    #[test]
    fn parents_are_followed_to_the_shim_and_no_further() {
        let own = std::process::id();
        assert!(descends_from(i32::try_from(own).unwrap(), own));
        assert!(!descends_from(1, own));
        let mut child = std::process::Command::new("sleep").arg("5").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        assert!(descends_from(pid, own));
        assert!(!descends_from(i32::try_from(own).unwrap(), child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
