//! What the watcher knows of one session: the fold of its records.
//!
//! A session is bounded: every list has a most (the constants below), and what had to go is counted, so it
//! weighs less than 16 MiB on disk at the very worst (`tests/bounded.rs`). It is plain data: saved to disk and read back it is the same.

mod fold;
mod policy;
mod recent;

pub use policy::Allowed;
pub use recent::Recent;

use crate::text::{Phrase, Phrases};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uuid::Uuid;
use wk_schemas::{Chain, Digest, RecordId};

const PROMPTS_MAX: usize = 16;
const PROMPT_BYTES_MAX: usize = 8 * 1024;
const STEPS_MAX: usize = Phrases::MAX;
const STEP_BYTES_MAX: usize = 512;
const CALLS_MAX: usize = 256;
const CALL_BYTES_MAX: usize = 2 * 1024;
const PROCESSES_MAX: usize = 1024;
const SECRETS_MAX: usize = 64;
const HOSTS_MAX: usize = 512;
const TICKETS_MAX: usize = 256;
const DENIED_MAX: usize = 256;
const VALUES_MAX: usize = 2048;
const REVISIONS_MAX: usize = 32;
const OUTSIDE_MAX: usize = 128;
const OPEN_CALLS_MAX: usize = 64;
const SECRET_PIECES_MAX: usize = 512;
const PATH_BYTES_MAX: usize = 1024;
const NAME_BYTES_MAX: usize = 256;

/// A text that a record carried, and which record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Said {
    /// The text, cut when long.
    pub text: Phrase,
    /// The record.
    pub record: Uuid,
}

/// The plan in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The record that declared it.
    pub record: Uuid,
    /// 0 for the first.
    pub revision: i32,
    /// The steps' texts, in order.
    pub steps: Phrases,
    /// How sure it is that this is the agent's plan.
    pub confidence: f64,
}

/// What stood before a plan was declared or revised: the last thing that could have led to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// prompt, tool_result, approval, or refusal.
    pub kind: String,
    /// The record.
    pub record: Uuid,
}

/// One declaration of a plan: the plan's history is the list of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Revision {
    /// The record that declared it.
    pub record: Uuid,
    /// 0 for the first.
    pub revision: i32,
    /// Who or what declared it: todo_write, update_plan, inferred.
    pub by: String,
    /// What it came after.
    pub after: Option<Cause>,
    /// Steps that the plan before did not have.
    pub added: u32,
    /// Steps that only the plan before had.
    pub dropped: u32,
}

/// How often people were asked, and what became of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asking {
    /// Questions.
    pub asked: u32,
    /// Granted.
    pub granted: u32,
    /// Denied, by a person or by the deadline.
    pub denied: u32,
}

/// A tool call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// The record of the call.
    pub record: Uuid,
    /// The tool's name.
    pub tool: String,
    /// What it does, in words that are the same for all agents.
    pub class: String,
    /// Command or arguments, cut when long.
    pub text: String,
    /// Whether it has not returned yet.
    pub is_open: bool,
}

/// A process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// The program.
    pub image: String,
    /// Stands for the parent.
    pub parent: String,
    /// The tool call it descends from.
    pub call: Option<String>,
}

/// A credential that was read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SecretRead {
    /// The file.
    pub path: String,
    /// What kind of credential.
    pub kind: String,
    /// When, in microseconds UTC, by the clock of the source.
    pub at: i64,
    /// The record that shows it.
    pub record: Uuid,
    /// The tool call behind it.
    #[serde(default)]
    pub call: Option<String>,
}

/// A question to a person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ticket {
    /// The record that asked.
    pub record: Uuid,
    /// The objects that the answer is about.
    pub objects: Vec<String>,
    /// Whether it waits for an answer.
    pub is_open: bool,
}

/// Where a value was seen first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// The record.
    pub record: Uuid,
    /// Whether it stood in running text rather than in a field of its own.
    pub is_prose: bool,
}

/// The end of one writer's chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ChainEnd {
    /// The next record's seq.
    pub next_seq: i64,
    /// Digest of the last record.
    pub last: [u8; 32],
}

impl ChainEnd {
    /// As the schema's type.
    #[must_use]
    pub const fn chain(self) -> Chain {
        Chain { next_seq: self.next_seq, last: Digest(self.last) }
    }
}

impl From<Chain> for ChainEnd {
    fn from(chain: Chain) -> Self {
        Self { next_seq: chain.next_seq, last: chain.last.0 }
    }
}

/// A freeze or kill that was commanded and has not become a fact yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Kill; else freeze.
    pub is_kill: bool,
    /// When the command is void, in microseconds UTC: a command that came to nothing may be repeated.
    pub until: i64,
}

/// Everything the watcher knows of one session. What an older version did not save is as in a new session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Session {
    /// When it started, in microseconds UTC, or when its first record was seen.
    pub started_at: Option<i64>,
    /// Goes up by at least one with each record: the order inside a microsecond, and across steps of the wall clock.
    pub clock: i64,
    /// Folder the agent is meant to work in.
    pub workspace: Option<String>,
    /// Adapter of the agent.
    pub adapter: String,
    /// What people asked for, oldest first.
    pub prompts: Vec<Said>,
    /// The plan in force.
    pub plan: Option<Plan>,
    /// How often a plan was declared.
    pub plans: u32,
    /// The plan's history, oldest first; the first declaration stays.
    pub revisions: Vec<Revision>,
    /// The last thing that could lead to a change of plan.
    pub cause: Option<Cause>,
    /// Tool calls by the agent's id.
    pub calls: Recent<Call>,
    /// How many tool calls there were.
    pub calls_total: u64,
    /// Tool calls in flight, by the agent's id, with the record of the call.
    pub open_calls: Recent<Uuid>,
    /// What ran that would show a claim of the agent.
    pub runs: crate::claims::Runs,
    /// Processes by uid.
    pub processes: Recent<Process>,
    /// Credentials read, oldest first; a program's reading its own is not among them.
    pub secrets: Vec<SecretRead>,
    /// Hosts and addresses reached for, with the record that did so first.
    pub hosts: Recent<Uuid>,
    /// Host names by address, as resolved.
    pub names: Recent<String>,
    /// `host:port` that the agent's own process reached for before it did any work: where its model is.
    pub endpoints: Recent<Uuid>,
    /// What the policy lets through.
    pub allowed: Vec<Allowed>,
    /// Name and digest of the policy in force.
    pub policy: Option<String>,
    /// Questions by ticket.
    pub tickets: Recent<Ticket>,
    /// Objects that were refused, with the record that did so.
    pub denied: Recent<Uuid>,
    /// Objects that a person let through.
    pub granted: Recent<Uuid>,
    /// How often people were asked.
    pub asking: Asking,
    /// Places outside the workspace that were written to and are not ordinary, with the first record of each.
    pub outside: Recent<Uuid>,
    /// Values that came out of tools, by `form:value`.
    pub values: Recent<Seen>,
    /// Digests of pieces of credentials that were shown to the agent, with the record that did so.
    pub secret_pieces: Recent<Uuid>,
    /// Records that are known to be missing.
    pub lost: i64,
    /// The command that asked for the freeze in force, or nil when the shim froze by itself.
    pub frozen_by: Option<Uuid>,
    /// A freeze or kill that was commanded.
    pub asked: Option<Asked>,
    /// Set when the session has ended.
    pub has_ended: bool,
    /// The chains of its writers on the events topic.
    pub chains: BTreeMap<String, ChainEnd>,
    /// Findings raised, by rule and object: what is not raised again.
    pub raised: Recent<u32>,
    /// State of the correlations.
    pub windows: crate::rules::Windows,
    /// State of the deviation score.
    pub deviation: crate::deviation::Memory,
    /// What people have answered beyond single questions.
    #[serde(default)]
    pub grants: crate::grants::Memory,
    /// What is kept for the judge; empty where there is none.
    #[serde(default)]
    pub judge: crate::judge::Memory,
}

impl Default for Session {
    fn default() -> Self {
        Self {
            started_at: None,
            clock: 0,
            workspace: None,
            adapter: String::new(),
            prompts: Vec::new(),
            plan: None,
            plans: 0,
            revisions: Vec::new(),
            cause: None,
            calls: Recent::new(CALLS_MAX),
            calls_total: 0,
            open_calls: Recent::new(OPEN_CALLS_MAX),
            runs: crate::claims::Runs::default(),
            processes: Recent::new(PROCESSES_MAX),
            secrets: Vec::new(),
            hosts: Recent::new(HOSTS_MAX),
            names: Recent::new(HOSTS_MAX),
            endpoints: Recent::new(32),
            allowed: Vec::new(),
            policy: None,
            tickets: Recent::new(TICKETS_MAX),
            denied: Recent::new(DENIED_MAX),
            granted: Recent::new(DENIED_MAX),
            asking: Asking::default(),
            outside: Recent::new(OUTSIDE_MAX),
            values: Recent::new(VALUES_MAX),
            secret_pieces: Recent::new(SECRET_PIECES_MAX),
            lost: 0,
            frozen_by: None,
            asked: None,
            has_ended: false,
            chains: BTreeMap::new(),
            raised: Recent::new(2048),
            windows: crate::rules::Windows::default(),
            deviation: crate::deviation::Memory::default(),
            grants: crate::grants::Memory::default(),
            judge: crate::judge::Memory::default(),
        }
    }
}

impl Session {
    /// The task's texts, oldest first.
    pub fn task(&self) -> impl Iterator<Item = &Phrase> {
        self.prompts.iter().map(|p| &p.text)
    }

    /// The last credential read.
    #[must_use]
    pub fn last_secret(&self) -> Option<&SecretRead> {
        self.secrets.last()
    }

    /// Programs from the process up to the agent, at most eight.
    #[must_use]
    pub fn ancestry(&self, process_uid: &str) -> Vec<&str> {
        let mut out = Vec::new();
        let mut at = process_uid;
        while let Some(process) = self.processes.get(at)
            && out.len() < 8
        {
            out.push(process.image.as_str());
            at = &process.parent;
        }
        out
    }

    /// The record that last said something to which the field `name` of the context goes back, if one did.
    #[must_use]
    pub fn evidence(&self, name: &str) -> Option<RecordId> {
        let id = match name {
            "host.in_plan" => self.plan.as_ref()?.record,
            "host.in_task" => self.prompts.last()?.record,
            _ => match name.split('.').next()? {
                "secret" => self.last_secret()?.record,
                "plan" => self.plan.as_ref()?.record,
                "task" => self.prompts.last()?.record,
                _ => return None,
            },
        };
        Some(RecordId(id))
    }
}

/// The key under which a host and port are remembered.
#[must_use]
pub fn host_key(host: &str, port: Option<i32>) -> String {
    port.map_or_else(|| host.to_owned(), |p| format!("{host}:{p}"))
}
