//! The context of a record: flat fields that say what it means in its session, for rules to match on.
//!
//! Computed against the session as it was before the record: `host.first_seen` is true for the first connection, and
//! `secret.read_ago` speaks of an earlier read. [`FIELDS`] is the one table of all fields; `docs/fields.md` is made from it.

use crate::places::{self, Place, Secret};
use crate::session::{Session, host_key};
use crate::text::{self, Phrase};
use std::borrow::Cow;
use uuid::Uuid;
use wk_schemas::body::{
    Actor, ApprovalRequested, ConnectionAttempted, FileAccessed, FileOperation, Mediation, NetworkOperation, Outcome,
    ProcessStarted, ToolCalled,
};
use wk_schemas::sigma::Value;
use wk_schemas::{Body, Record, RecordId};

/// A context field: its name, its type, what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Name, as rules write it.
    pub name: &'static str,
    /// text, number, or flag.
    pub kind: &'static str,
    /// What it means, and on which records it is there.
    pub meaning: &'static str,
}

macro_rules! fields {
    ($($name:literal $kind:ident $meaning:literal,)*) => {
        /// Every context field.
        pub const FIELDS: &[Field] =
            &[$(Field { name: $name, kind: stringify!($kind), meaning: $meaning },)*];
    };
}

fields! {
    "session.age_s" number "Seconds since the session started. On every record.",
    "session.adapter" text "Adapter of the agent: claude-code, codex, jsonl, none. On every record.",
    "session.frozen" flag "Whether the session stands still. On every record.",
    "session.records_lost" number "Records known to be missing so far. On every record.",
    "task.present" flag "Whether a person's task is known. On every record.",
    "task.mentions" flag "The task names the object: its path, its file name, its host, or for a credential its kind. On actions.",
    "plan.present" flag "Whether a plan is in force. On every record.",
    "plan.revision" number "Revision of the plan in force. Absent without a plan.",
    "plan.covered" flag "A step of the plan speaks of the object or of what is done. On actions; false without a plan.",
    "plan.step" number "Number of the step that covers the action best, from 0. Absent when none does.",
    "scope.object" text "What is acted on: a path, host:port, or a command.",
    "scope.inside_workspace" flag "The path is the workspace or lies in it. On files, programs, and tool calls with a path.",
    "scope.ordinary" flag "The path is where honest programs read (for a writing operation: write) as a matter of course, or the host is the resolver of this machine.",
    "scope.agents_own" flag "The path is in a folder of the agent's own.",
    "scope.arguments_outside" flag "An argument of the program is a path outside the workspace and outside caches and temporary folders. On process_creation.",
    "effect.mediation" text "declared: a tool call names it; inherited: a tool call is behind it but does not name it; agent: the agent's own process; none: nothing explains it. On what the kernel saw.",
    "effect.unmediated" flag "No tool call names it (mediation none or inherited), and it is outside the workspace and not ordinary. On what the kernel saw.",
    "effect.writes" flag "The operation changes the file. On file_event.",
    "effect.happened" flag "It was not refused and did not fail, as far as was seen. On actions.",
    "effect.ancestry" text "Programs from the acting process up to the agent, joined with ` < `.",
    "secret.is_secret" flag "The path is that of a credential, and the program is not the one it belongs to. On file_event and held files.",
    "secret.by_owner" flag "The path is that of a credential, and its own program or the agent itself has it. On file_event and held files.",
    "secret.kind" text "Kind of the credential that is accessed: ssh_key, env_file. Absent when it is none.",
    "secret.read_ago" number "Seconds since a credential was last read in this session. Absent when none was.",
    "secret.path" text "Path of the credential last read. Absent when none was.",
    "secret.count" number "How many reads of credentials there were. On every record.",
    "host.name" text "Host name if it is known, else the address. On connections.",
    "host.first_seen" flag "Nothing in this session reached for that host or address before. On connections.",
    "host.in_plan" flag "A step of the plan names the host. On connections; false without a plan.",
    "host.in_task" flag "The task names the host. On connections.",
    "host.loopback" flag "The address is this machine's own, or a local socket. On connections.",
    "host.private" flag "The address is of a private or link-local network. On connections.",
    "host.allowed" flag "An entry of the policy lets it through, or did. On connections.",
    "host.agent_endpoint" flag "The agent's own process reached for it before it did any work: where its model is. On connections.",
    "tool.name" text "Tool behind it, as the agent names it. On tool calls and on what descends from one.",
    "tool.class" text "What the tool does: shell, read, edit, write, search, fetch, plan, agent, other.",
    "tool.text" text "Command or arguments of the tool call behind it.",
    "tool.path" text "The path that a tool call's arguments name.",
    "denied.before" flag "The same object was refused earlier in this session, and nobody has let it through since. On actions.",
    "granted.before" flag "A person let the same object through. On actions.",
    "taint.from_prose" flag "An argument of the tool call came out of running text that a tool returned, and not from the task.",
    "taint.value" text "That argument.",
}

/// What an action is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Object {
    /// Nothing that has a name.
    #[default]
    None,
    /// A file, or a program.
    Path {
        /// `read`, `write` or `execute`: a refusal of one says nothing of the other.
        access: &'static str,
        /// Absolute path.
        path: String,
    },
    /// The other end of a connection.
    Host {
        /// Name, where it is known.
        name: Option<String>,
        /// Address, or path of a local socket.
        address: String,
        /// Port.
        port: Option<i32>,
    },
    /// A tool's command or arguments.
    Call(String),
}

impl Object {
    /// The keys under which refusals and grants of it are remembered.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        match self {
            Self::None => Vec::new(),
            Self::Path { access, path } => vec![format!("{access} {path}")],
            Self::Host { name, address, port } => {
                let names = [name.as_deref(), Some(address.as_str())];
                names.into_iter().flatten().map(|n| format!("reach {}", host_key(n, *port))).collect()
            }
            Self::Call(text) => vec![format!("call {text}")],
        }
    }

    /// As a person reads it.
    #[must_use]
    pub fn label(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::None => None,
            Self::Path { path, .. } => Some(path.into()),
            Self::Host { name, address, port } => Some(host_key(name.as_deref().unwrap_or(address), *port).into()),
            Self::Call(text) => Some(text.into()),
        }
    }
}

/// The flat fields of one record, and what they were computed from.
#[derive(Debug, Clone, Default)]
pub struct Context {
    fields: Vec<(&'static str, Value<'static>)>,
    /// What the action is about.
    pub object: Object,
    /// The credential that is accessed, unless its own program does it.
    pub secret: Option<&'static Secret>,
    /// Records that the fields go back to: the tool call, the refusal, the answer a value came from.
    pub evidence: Vec<(&'static str, RecordId)>,
}

impl Context {
    /// Computes the context of a record in its session.
    #[must_use]
    pub fn of(session: &Session, record: &Record) -> Self {
        let mut c = Self::default();
        c.common(session, record);
        match &record.body {
            Body::FileAccessed(b) => c.file(session, b),
            Body::ProcessStarted(b) => c.process(session, b),
            Body::ConnectionAttempted(b) => c.connection(session, b),
            Body::ApprovalRequested(b) => c.held(session, b),
            Body::ToolCalled(b) => c.call(session, b),
            Body::NameResolved(b) => c.actor(session, &b.actor),
            Body::CallAttempted(b) => c.actor(session, &b.actor),
            Body::ProcessExited(_)
            | Body::SessionStarted(_)
            | Body::SessionEnded(_)
            | Body::PromptSubmitted(_)
            | Body::PlanDeclared(_)
            | Body::Thought(_)
            | Body::ToolReturned(_)
            | Body::RecordsLost(_)
            | Body::PolicyApplied(_)
            | Body::ApprovalResolved(_)
            | Body::SessionFrozen(_)
            | Body::SessionResumed(_)
            | Body::SessionKilled(_)
            | Body::Finding(_)
            | Body::Command(_)
            | Body::Approval(_)
            | Body::QueryRun(_)
            | Body::EvidenceExported(_)
            | Body::DeadLetter(_) => {}
        }
        c
    }

    /// The field of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value<'static>> {
        self.fields.iter().find(|(n, _)| *n == name).map(|(_, v)| v)
    }

    /// Whether the flag of that name is there and set.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.get(name) == Some(&Value::Flag(true))
    }

    /// All fields, in the order in which they were computed.
    #[must_use]
    pub fn fields(&self) -> &[(&'static str, Value<'static>)] {
        &self.fields
    }

    fn flag(&mut self, name: &'static str, value: bool) {
        self.fields.push((name, Value::Flag(value)));
    }

    fn number(&mut self, name: &'static str, value: i64) {
        self.fields.push((name, Value::Number(value)));
    }

    fn text(&mut self, name: &'static str, value: impl Into<String>) {
        self.fields.push((name, Value::Text(Cow::Owned(value.into()))));
    }

    fn common(&mut self, session: &Session, record: &Record) {
        let at = record.header.occurred_at.0;
        let seconds = |since: i64| at.saturating_sub(since).max(0) / 1_000_000;
        self.number("session.age_s", session.started_at.map_or(0, seconds));
        self.text("session.adapter", session.adapter.as_str());
        self.flag("session.frozen", session.frozen_by.is_some());
        self.number("session.records_lost", session.lost);
        self.flag("task.present", !session.prompts.is_empty());
        self.flag("plan.present", session.plan.is_some());
        if let Some(plan) = &session.plan {
            self.number("plan.revision", i64::from(plan.revision));
        }
        self.number("secret.count", i64::try_from(session.secrets.len()).unwrap_or(i64::MAX));
        if let Some(secret) = session.last_secret() {
            self.number("secret.read_ago", seconds(secret.at));
            self.text("secret.path", secret.path.as_str());
        }
    }

    fn actor(&mut self, session: &Session, actor: &Actor) {
        let mediation = match actor.mediation {
            Mediation::Declared => "declared",
            Mediation::Inherited => "inherited",
            Mediation::Agent => "agent",
            Mediation::None | Mediation::Unspecified => "none",
        };
        self.text("effect.mediation", mediation);
        let ancestry = session.ancestry(&actor.process_uid);
        if !ancestry.is_empty() {
            self.text("effect.ancestry", ancestry.join(" < "));
        }
        if let Some(call) = actor.tool_call_id.as_deref().and_then(|id| session.calls.get(id)) {
            self.text("tool.name", call.tool.as_str());
            self.text("tool.class", call.class.as_str());
            self.text("tool.text", call.text.as_str());
            self.evidence.push(("effect", RecordId(call.record)));
        }
    }

    fn file(&mut self, session: &Session, b: &FileAccessed) {
        self.actor(session, &b.actor);
        let writes = writes(b.operation);
        // A rename or a link acts on the new name; whether a credential is behind it depends on the old one.
        let acted_on = b.target_path.as_deref().filter(|_| writes).unwrap_or(&b.path);
        self.flag("effect.writes", writes);
        self.flag("effect.happened", happened(b.outcome));
        self.path(session, &b.actor, &b.path, acted_on, writes);
        if !gives_content(b) {
            // Whoever only writes a credential's file has not learnt what was in it.
            self.secret = None;
            self.fields.iter_mut().filter(|(n, _)| *n == "secret.is_secret").for_each(|(_, v)| *v = Value::Flag(false));
        }
        self.object(session, Object::Path { access: if writes { "write" } else { "read" }, path: acted_on.to_owned() });
    }

    /// Scope, credential, task and plan of an access to a path.
    fn path(&mut self, session: &Session, actor: &Actor, source: &str, acted_on: &str, writes: bool) {
        let place = places::place(acted_on, session.workspace.as_deref());
        let is_ordinary = if writes { place.is_ordinary_to_write } else { place.is_ordinary_to_read };
        let of_agent = place.is_agents && actor.mediation == Mediation::Agent;
        self.secret = places::secret(source).filter(|s| !s.belongs_to(&actor.image) && !of_agent);
        self.flag("scope.inside_workspace", place.is_inside);
        self.flag("scope.ordinary", is_ordinary);
        self.flag("scope.agents_own", place.is_agents);
        self.flag("secret.is_secret", self.secret.is_some());
        self.flag("secret.by_owner", self.secret.is_none() && places::secret(source).is_some());
        if let Some(secret) = self.secret {
            self.text("secret.kind", secret.kind);
        }
        let is_explained = place.is_inside || (is_ordinary && self.secret.is_none());
        self.flag("effect.unmediated", is_unexplained(actor) && !is_explained);
        let is_mentioned = mentions_path(session.task(), source, session.workspace.as_deref())
            || self.secret.is_some_and(|s| session.task().any(|t| s.is_spoken_of(t.stems())));
        self.flag("task.mentions", is_mentioned);
        self.plan(session, |step| mentions_path([step].into_iter(), source, session.workspace.as_deref()), source);
    }

    fn process(&mut self, session: &Session, b: &ProcessStarted) {
        self.actor(session, &b.actor);
        let place = places::place(&b.actor.image, session.workspace.as_deref());
        self.flag("scope.inside_workspace", place.is_inside);
        self.flag("scope.ordinary", place.is_ordinary_to_read);
        self.flag("scope.agents_own", place.is_agents);
        self.flag("effect.happened", happened(b.outcome));
        self.flag("effect.unmediated", is_unexplained(&b.actor) && !place.is_inside && !place.is_ordinary_to_read);
        let outside = b.arguments.iter().skip(1).any(|a| is_path_outside(a, &b.working_directory, session));
        self.flag("scope.arguments_outside", outside);
        let said = text::stems(&b.command_line);
        self.flag("task.mentions", session.task().any(|t| speaks_of(t, &said)));
        self.plan(session, |_| false, &b.command_line);
        self.object(session, Object::Path { access: "execute", path: b.actor.image.clone() });
    }

    fn connection(&mut self, session: &Session, b: &ConnectionAttempted) {
        self.actor(session, &b.actor);
        self.flag("effect.happened", happened(b.outcome));
        let by_rule = b.reason.is_some() && happened(b.outcome);
        self.host(session, Some(&b.actor), &b.protocol, &b.address, b.port, b.host_name.as_deref(), by_rule);
        let is_out = matches!(b.operation, NetworkOperation::Connect | NetworkOperation::Send);
        let is_unmediated = is_out && is_unexplained(&b.actor) && !self.is_explained_host();
        self.flag("effect.unmediated", is_unmediated);
    }

    fn is_explained_host(&self) -> bool {
        ["host.loopback", "host.allowed", "host.agent_endpoint", "scope.ordinary", "granted.before"]
            .iter()
            .any(|f| self.is(f))
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of an address, from two kinds of record")]
    fn host(
        &mut self,
        session: &Session,
        actor: Option<&Actor>,
        protocol: &str,
        address: &str,
        port: Option<i32>,
        name: Option<&str>,
        by_rule: bool,
    ) {
        let is_local = matches!(protocol, "unix" | "netlink") || address.starts_with(['/', '@']) || address.is_empty();
        let name = name.or_else(|| session.names.get(address).map(String::as_str));
        let ip: Option<std::net::IpAddr> = address.parse().ok();
        let is_loopback = is_local || ip.is_some_and(|a| a.is_loopback() || a.is_unspecified());
        let is_private = ip.is_some_and(is_private);
        let names = || [name, Some(address)].into_iter().flatten();
        let first = !names().any(|n| session.hosts.contains(n));
        let allowed = by_rule || names().any(|n| session.allowed.iter().any(|a| a.covers(n, port)));
        let in_task = session.task().any(|t| names().any(|n| t.names_host(n)) || (is_loopback && t.names("localhost")));
        let in_plan = session.plan.as_ref().is_some_and(|p| p.steps.iter().any(|s| names().any(|n| s.names_host(n))));
        self.text("host.name", name.unwrap_or(address));
        self.flag("host.first_seen", first);
        self.flag("host.in_plan", in_plan);
        self.flag("host.in_task", in_task);
        self.flag("host.loopback", is_loopback);
        self.flag("host.private", is_private);
        self.flag("host.allowed", allowed);
        self.flag("host.agent_endpoint", session.endpoints.contains(&host_key(address, port)));
        // Asking the resolver of this machine or network is how every program begins.
        self.flag("scope.ordinary", is_local || (port == Some(53) && (is_loopback || is_private)));
        self.flag("task.mentions", in_task);
        let said = actor.map_or("", |a| a.image.as_str());
        self.plan(session, |s| names().any(|n| s.names_host(n)), said);
        let (name, address) = (name.map(str::to_owned), address.to_owned());
        self.object(session, Object::Host { name, address, port });
    }

    fn held(&mut self, session: &Session, b: &ApprovalRequested) {
        if let Some(actor) = &b.actor {
            self.actor(session, actor);
        }
        if let Some(address) = &b.address {
            self.host(session, b.actor.as_ref(), "tcp", address, b.port, b.host_name.as_deref(), false);
            let is_unmediated = b.actor.as_ref().is_some_and(is_unexplained) && !self.is_explained_host();
            self.flag("effect.unmediated", is_unmediated);
        } else if let Some(path) = &b.path {
            let access = match b.action.as_str() {
                "read" => "read",
                "execute" => "execute",
                _ => "write",
            };
            if let Some(actor) = &b.actor {
                self.flag("effect.writes", access == "write");
                self.path(session, actor, path, path, access == "write");
            }
            self.object(session, Object::Path { access, path: path.clone() });
        } else if b.action == "tool_call" {
            self.object(session, Object::Call(text::cut(&b.subject, 1024).to_owned()));
        }
    }

    fn call(&mut self, session: &Session, b: &ToolCalled) {
        self.text("tool.name", b.tool.as_str());
        self.text("tool.class", b.tool_class.as_str());
        self.flag("effect.happened", b.decision != "denied");
        let words = b.command_text.as_deref().unwrap_or(&b.arguments);
        let path = argument_path(&b.arguments).map(|p| {
            places::resolve(&p, b.working_directory.as_deref().or(session.workspace.as_deref()).unwrap_or("/"))
        });
        if let Some(path) = &path {
            let writes = matches!(b.tool_class.as_str(), "edit" | "write");
            let place = places::place(path, session.workspace.as_deref());
            self.flag("scope.inside_workspace", place.is_inside);
            self.flag("scope.ordinary", if writes { place.is_ordinary_to_write } else { place.is_ordinary_to_read });
            self.flag("scope.agents_own", place.is_agents);
            self.text("tool.path", path.as_str());
        }
        let said = text::stems(words);
        let is_mentioned = session.task().any(|t| speaks_of(t, &said))
            || path.as_deref().is_some_and(|p| mentions_path(session.task(), p, session.workspace.as_deref()));
        self.flag("task.mentions", is_mentioned);
        self.plan(session, |_| false, words);
        if let Some((value, seen)) = crate::deviation::foreign_value(session, &b.arguments) {
            self.flag("taint.from_prose", seen.is_prose);
            self.text("taint.value", value);
            self.evidence.push(("taint", RecordId(seen.record)));
        }
        self.object(session, Object::Call(text::cut(words, 1024).to_owned()));
    }

    /// `plan.covered` and `plan.step`: the step that names the object, or shares most words with what is done.
    fn plan(&mut self, session: &Session, names: impl Fn(&Phrase) -> bool, words: &str) {
        let Some(plan) = &session.plan else {
            self.flag("plan.covered", false);
            return;
        };
        let said = text::stems(words);
        let best = plan.steps.iter().enumerate().map(|(i, step)| {
            let shared = step.stems().intersection(&said).filter(|s| s.len() > 2).count();
            (shared + if names(step) { 100 } else { 0 }, i)
        });
        // Of two that fit alike the earlier step is taken.
        let best = best.filter(|(n, _)| *n > 0).max_by_key(|(n, i)| (*n, usize::MAX - i));
        self.flag("plan.covered", best.is_some());
        if let Some((_, step)) = best {
            self.number("plan.step", i64::try_from(step).unwrap_or(i64::MAX));
        }
    }

    fn object(&mut self, session: &Session, object: Object) {
        if let Some(label) = object.label() {
            self.fields.push(("scope.object", Value::Text(Cow::Owned(label.into_owned()))));
        }
        let keys = object.keys();
        let is_granted = keys.iter().any(|k| session.granted.contains(k));
        let refusal = keys.iter().find_map(|k| refusal(session, k)).filter(|_| !is_granted);
        self.flag("granted.before", is_granted);
        self.flag("denied.before", refusal.is_some());
        if let Some(record) = refusal {
            self.evidence.push(("denied", RecordId(record)));
        }
        self.object = object;
    }
}

fn refusal(session: &Session, key: &str) -> Option<Uuid> {
    if let Some(record) = session.denied.get(key) {
        return Some(*record);
    }
    let (access, path) = key.split_once(' ')?;
    let home = format!("{access} ~");
    session
        .denied
        .starting_with(&home)
        .find_map(|(denied, record)| path.ends_with(denied.strip_prefix(&home)?).then_some(*record))
}

fn writes(operation: FileOperation) -> bool {
    !matches!(operation, FileOperation::Read | FileOperation::Unspecified)
}

/// Whether the operation lets the process see what is in the file: by reading it, or under another name.
fn gives_content(b: &FileAccessed) -> bool {
    // `O_ACCMODE` and `O_RDWR`, the same on all architectures.
    const ACCESS: i64 = 3;
    const BOTH: i64 = 2;
    match b.operation {
        FileOperation::Read | FileOperation::Link | FileOperation::Symlink | FileOperation::Rename => true,
        FileOperation::Write | FileOperation::Create => b.flags & ACCESS == BOTH,
        FileOperation::Unlink
        | FileOperation::MakeDirectory
        | FileOperation::RemoveDirectory
        | FileOperation::MakeNode
        | FileOperation::Truncate
        | FileOperation::ChangeMode
        | FileOperation::ChangeOwner
        | FileOperation::ChangeAttributes
        | FileOperation::Unspecified => false,
    }
}

fn happened(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Allowed | Outcome::Succeeded)
}

fn is_unexplained(actor: &Actor) -> bool {
    matches!(actor.mediation, Mediation::None | Mediation::Inherited)
}

fn is_private(address: std::net::IpAddr) -> bool {
    match address {
        std::net::IpAddr::V4(a) => a.is_private() || a.is_link_local(),
        std::net::IpAddr::V6(a) => a.is_unique_local() || a.is_unicast_link_local(),
    }
}

/// Whether a text names a path: in full, relative to the workspace or the home folder, or by a file name of some length.
fn mentions_path<'a>(mut texts: impl Iterator<Item = &'a Phrase>, path: &str, workspace: Option<&str>) -> bool {
    let relative = workspace.and_then(|w| path.strip_prefix(w)).map(|r| r.trim_start_matches('/'));
    let name = path.rsplit('/').next().filter(|n| n.len() > 2);
    let needles: Vec<String> = [Some(path), relative, name].into_iter().flatten().map(str::to_lowercase).collect();
    texts.any(|t| needles.iter().any(|n| t.names(n)))
}

/// Whether a text shares a word of some weight with what is done.
fn speaks_of(text: &Phrase, said: &std::collections::BTreeSet<String>) -> bool {
    text.stems().intersection(said).any(|s| s.len() > 2)
}

/// Whether an argument is a path that leads out of the workspace to a place where writing is not ordinary.
fn is_path_outside(argument: &str, directory: &str, session: &Session) -> bool {
    let argument = argument.strip_prefix("file://").unwrap_or(argument);
    let is_path = argument.starts_with(['/', '~', '.']) || argument.contains('/');
    if !is_path || argument.starts_with('-') || argument.contains("://") {
        return false;
    }
    if argument.starts_with('~') {
        return true;
    }
    let path = places::resolve(argument, directory);
    let Place { is_inside, is_ordinary_to_write, .. } = places::place(&path, session.workspace.as_deref());
    session.workspace.is_some() && !is_inside && !is_ordinary_to_write
}

/// The path that a tool's arguments name.
fn argument_path(arguments: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(arguments).ok()?;
    ["file_path", "path", "notebook_path", "filename", "absolute_path", "target_file"]
        .iter()
        .find_map(|key| value.get(key)?.as_str())
        .map(str::to_owned)
}

/// The table of fields as Markdown: `docs/fields.md`.
#[must_use]
pub fn document() -> String {
    let mut out = String::from(
        "# Context fields\n\nMade from `src/context.rs`; rules use them as plain Sigma fields, beside those of the record itself\n(`schemas/src/sigma.rs`).\n\n| field | type | meaning |\n|---|---|---|\n",
    );
    for field in FIELDS {
        out.push_str(&format!("| `{}` | {} | {} |\n", field.name, field.kind, field.meaning));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_of_the_fields_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/fields.md");
        let there = std::fs::read_to_string(path).unwrap_or_default();
        if there != document() {
            std::fs::write(path, document()).unwrap();
            panic!("docs/fields.md was not up to date; it has been written anew");
        }
    }
}
