//! What the kernel side and the evidence side of the shim promise each other.
//!
//! The kernel side sees what processes do and calls these two traits; the evidence side implements them. Neither side
//! knows more of the other than this file says.

use std::path::PathBuf;
use std::sync::Arc;
use uuid::Uuid;
use wk_schemas::body::Mediation;
use wk_schemas::{Body, Origin, RecordId, Timestamp};

/// One thing to write down.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Who saw it.
    pub origin: Origin,
    /// The records it follows from.
    pub caused_by: Vec<RecordId>,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// What happened.
    pub body: Body,
}

/// Takes events. An error means that the agent must stop: what cannot be recorded must not happen.
pub trait Recorder: Send + Sync {
    /// Takes an event; from then on it survives `kill -9` of the shim, and soon after a loss of power.
    ///
    /// # Errors
    /// [`RecordError`] when it could not be taken.
    fn record(&self, event: Event) -> Result<RecordId, RecordError>;

    /// As [`Recorder::record`], and returns only once the event survives a loss of power.
    ///
    /// # Errors
    /// [`RecordError`] when it could not be taken.
    fn record_durable(&self, event: Event) -> Result<RecordId, RecordError>;
}

/// What an observer sees by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sees {
    /// Programs that are executed, with their arguments.
    pub programs: bool,
    /// Files that the kernel opens by itself to execute a program: the interpreter of a script, the loader.
    pub loaders: bool,
    /// Processes that end.
    pub ends: bool,
    /// Files that are opened, with their paths.
    pub opens: bool,
    /// Names that are made, changed and removed, with their paths.
    pub names: bool,
    /// Connections, with their addresses.
    pub connections: bool,
    /// How it ended what was let through, and not only that it was asked for.
    pub results: bool,
    /// Whether it can keep an action waiting for an answer.
    pub holds: bool,
}

/// Sees what processes do and tells a [`Recorder`]: the supervision by notifications, gVisor's kernel by its stream, fanotify, eBPF. Whoever
/// reads the records need not know which it was; `tests/watch/observers.rs` holds them all to that.
pub trait Observer {
    /// Its word in `session_started`'s `confinement`.
    fn word(&self) -> &'static str;

    /// What it sees. What it does not see is nobody's record, unless another observer stands beside it.
    fn sees(&self) -> Sees;
}

/// An event could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The outbox holds as much as it may.
    #[error("the outbox is full: {detail}")]
    Full {
        /// Which limit was met.
        detail: String,
    },
    /// The outbox could not be written.
    #[error("the outbox could not be written: {detail}")]
    Storage {
        /// What failed.
        detail: String,
    },
}

/// A process as the kernel side knows it at the moment it executes a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessFacts {
    /// Process id in the shim's own numbering.
    pub pid: i64,
    /// `<pid>-<start time in clock ticks>`.
    pub process_uid: String,
    /// Absolute path of the program.
    pub image: String,
    /// The program's arguments, the name first.
    pub argv: Vec<String>,
    /// Working directory.
    pub working_directory: PathBuf,
    /// Whether this is the agent's own first process.
    pub is_root: bool,
}

/// How a process hangs together with the agent's tool calls. Cheap to clone; opaque to the kernel side.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tie {
    /// The tool call that the process descends from.
    pub tool_call_id: Option<Arc<str>>,
    /// Whether this is the agent's root process, or another program of the agent itself that no tool call started.
    pub is_agent: bool,
}

/// Ties processes to tool calls.
pub trait Causality: Send + Sync {
    /// A process is about to execute `process.argv`; `parent` is the tie of its parent (for an exec without a fork: of the
    /// program before), `None` for the agent's root process.
    fn process_started(&self, process: &ProcessFacts, parent: Option<&Tie>) -> Tie;

    /// How an effect on `object` (a path, a host, an address) by a process with this tie is mediated.
    fn mediation(&self, tie: &Tie, object: &str) -> (Option<String>, Mediation);
}

/// The answer to a held action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Whether it may go on.
    pub granted: bool,
    /// Who decided.
    pub by: Option<String>,
    /// Why.
    pub reason: String,
    /// The command that carried the answer.
    pub command_id: Option<RecordId>,
}

/// Names a held action; the same as `ApprovalRequested::ticket`.
pub type Ticket = Uuid;
