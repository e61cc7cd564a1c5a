//! The context of a record: flat fields that say what it means in its session, for rules to match on.
//!
//! Computed against the session as it was before the record: `host.first_seen` is true for the first connection, and
//! `secret.read_ago` speaks of an earlier read. [`FIELDS`] is the one table of all fields; `docs/fields.md` is made from it.

mod agent;
mod fields;
mod kernel;
mod object;

pub use fields::{FIELDS, Field, document};
pub use object::Object;

use crate::places::Secret;
use crate::session::Session;
use crate::text::{self, Phrase};
use std::borrow::Cow;
use uuid::Uuid;
use wk_schemas::body::{Actor, Mediation};
use wk_schemas::sigma::Value;
use wk_schemas::{Body, Record, RecordId};

/// Fields that most records have at most.
const FIELDS_USUAL: usize = 40;

/// The flat fields of one record, borrowed from it and its session, and what they come to.
#[derive(Debug, Clone, Default)]
pub struct Context<'a> {
    fields: Vec<(&'static str, Value<'a>)>,
    /// What fold, score and judge go by.
    pub meaning: Meaning,
}

/// What a record means in its session beside its fields: nothing in it is borrowed, so the session may change meanwhile.
#[derive(Debug, Clone, Default)]
pub struct Meaning {
    /// What the action is about.
    pub object: Object,
    /// The credential that is accessed, unless its own program does it.
    pub secret: Option<&'static Secret>,
    /// Records that the fields go back to: the tool call, the refusal, the answer a value came from.
    pub evidence: Vec<(&'static str, RecordId)>,
    /// `scope.inside_workspace`
    pub is_inside: bool,
    /// `scope.ordinary`
    pub is_ordinary: bool,
    /// `effect.writes`
    pub writes: bool,
    /// `effect.unmediated`
    pub is_unmediated: bool,
    /// `host.first_seen`
    pub is_first_seen: bool,
}

impl<'a> Context<'a> {
    /// Computes the context of a record in its session.
    #[must_use]
    pub fn of(session: &'a Session, record: &'a Record) -> Self {
        let mut c = Self { fields: Vec::with_capacity(FIELDS_USUAL), ..Self::default() };
        c.common(session, record);
        match &record.body {
            Body::FileAccessed(b) => c.file(session, b),
            Body::ProcessStarted(b) => c.process(session, b),
            Body::ConnectionAttempted(b) => c.connection(session, b),
            Body::ApprovalRequested(b) => c.held(session, b),
            Body::ToolCalled(b) => c.call(session, b),
            Body::NameResolved(b) => c.name(session, b),
            Body::PlanDeclared(b) => c.declared(session, b),
            Body::Thought(b) => c.said(session, b),
            Body::CallAttempted(b) => c.actor(session, &b.actor),
            Body::ProcessExited(_)
            | Body::SessionStarted(_)
            | Body::SessionEnded(_)
            | Body::PromptSubmitted(_)
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
    pub fn get(&self, name: &str) -> Option<&Value<'a>> {
        self.fields.iter().find(|(n, _)| *n == name).map(|(_, v)| v)
    }

    /// Whether the flag of that name is there and set.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.get(name) == Some(&Value::Flag(true))
    }

    /// All fields, in the order in which they were computed.
    #[must_use]
    pub fn fields(&self) -> &[(&'static str, Value<'a>)] {
        &self.fields
    }

    /// The same, with nothing borrowed.
    #[must_use]
    pub fn into_owned(self) -> Context<'static> {
        let owned = |value| match value {
            Value::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
            Value::Number(number) => Value::Number(number),
            Value::Flag(flag) => Value::Flag(flag),
        };
        Context { fields: self.fields.into_iter().map(|(n, v)| (n, owned(v))).collect(), meaning: self.meaning }
    }

    fn flag(&mut self, name: &'static str, value: bool) {
        self.fields.push((name, Value::Flag(value)));
    }

    fn number(&mut self, name: &'static str, value: i64) {
        self.fields.push((name, Value::Number(value)));
    }

    fn text(&mut self, name: &'static str, value: impl Into<Cow<'a, str>>) {
        self.fields.push((name, Value::Text(value.into())));
    }

    fn evidence(&mut self, name: &'static str, record: Uuid) {
        self.meaning.evidence.push((name, RecordId(record)));
    }

    fn inside(&mut self, is_inside: bool) {
        self.flag("scope.inside_workspace", is_inside);
        self.meaning.is_inside = is_inside;
    }

    fn ordinary(&mut self, is_ordinary: bool) {
        self.flag("scope.ordinary", is_ordinary);
        self.meaning.is_ordinary = is_ordinary;
    }

    fn writes(&mut self, writes: bool) {
        self.flag("effect.writes", writes);
        self.meaning.writes = writes;
    }

    fn unmediated(&mut self, is_unmediated: bool) {
        self.flag("effect.unmediated", is_unmediated);
        self.meaning.is_unmediated = is_unmediated;
    }

    fn common(&mut self, session: &'a Session, record: &Record) {
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
        self.number("tool.open", i64::try_from(session.open_calls.len()).unwrap_or(i64::MAX));
        let outside =
            u64::try_from(session.outside.len()).unwrap_or(u64::MAX).saturating_add(session.outside.forgotten);
        self.number("scope.writes_outside", i64::try_from(outside).unwrap_or(i64::MAX));
        self.number("approval.asked", i64::from(session.asking.asked));
        self.number("approval.denied", i64::from(session.asking.denied));
        self.number("secret.count", i64::try_from(session.secrets.len()).unwrap_or(i64::MAX));
        if let Some(secret) = session.last_secret() {
            self.number("secret.read_ago", seconds(secret.at));
            self.text("secret.path", secret.path.as_str());
        }
    }

    fn actor(&mut self, session: &'a Session, actor: &Actor) {
        let mediation = match actor.mediation {
            Mediation::Declared => "declared",
            Mediation::Inherited => "inherited",
            Mediation::Agent => "agent",
            Mediation::None | Mediation::Unspecified => "none",
        };
        self.text("effect.mediation", mediation);
        match session.ancestry(&actor.process_uid).as_slice() {
            [] => {}
            [one] => self.text("effect.ancestry", *one),
            several => self.text("effect.ancestry", several.join(" < ")),
        }
        if let Some(call) = actor.tool_call_id.as_deref().and_then(|id| session.calls.get(id)) {
            self.text("tool.name", call.tool.as_str());
            self.text("tool.class", call.class.as_str());
            self.text("tool.text", call.text.as_str());
            self.evidence("effect", call.record);
        }
    }

    /// `plan.covered` and `plan.step`: the step that names the object, or shares most words with what is done.
    fn plan(&mut self, session: &Session, names: impl Fn(&Phrase) -> bool, words: &str) {
        let Some(plan) = &session.plan else {
            self.flag("plan.covered", false);
            return;
        };
        let shared = plan.steps.shared(words);
        let best = plan.steps.iter().enumerate().map(|(i, step)| {
            let shared = shared.get(i).copied().unwrap_or(0);
            (shared + if names(step) { 100 } else { 0 }, i)
        });
        // Of two that fit alike the earlier step is taken.
        let best = best.filter(|(n, _)| *n > 0).max_by_key(|(n, i)| (*n, usize::MAX - i));
        self.flag("plan.covered", best.is_some());
        if let Some((_, step)) = best {
            self.number("plan.step", i64::try_from(step).unwrap_or(i64::MAX));
        }
    }

    fn object(&mut self, session: &Session, object: Object, label: impl Into<Cow<'a, str>>) {
        self.text("scope.object", label);
        // Most sessions never ask anybody, and the keys are only made where there is something to find.
        let is_asked = !(session.granted.is_empty() && session.denied.is_empty());
        let keys = if is_asked { object.keys() } else { Vec::new() };
        let is_granted = keys.iter().any(|k| session.granted.contains(k));
        let refusal = keys.iter().find_map(|k| refusal(session, k)).filter(|_| !is_granted);
        self.flag("granted.before", is_granted);
        self.flag("denied.before", refusal.is_some());
        if let Some(record) = refusal {
            self.evidence("denied", record);
        }
        self.meaning.object = object;
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

fn is_unexplained(actor: &Actor) -> bool {
    matches!(actor.mediation, Mediation::None | Mediation::Inherited)
}

/// Whether a text names a path: in full, relative to the workspace or the home folder, or by a file name of some length.
fn mentions_path<'a>(texts: impl Iterator<Item = &'a Phrase>, path: &str, workspace: Option<&str>) -> bool {
    let last = path.rsplit('/').next().unwrap_or(path);
    // Whatever names the path ends in its last part, so that most texts are ruled out by that.
    let mut texts = texts.filter(|t| t.may_hold(last)).peekable();
    if texts.peek().is_none() {
        return false;
    }
    let relative = workspace.and_then(|w| path.strip_prefix(w)).map(|r| r.trim_start_matches('/'));
    let name = Some(last).filter(|n| n.len() > 2);
    let needles: Vec<String> = [Some(path), relative, name].into_iter().flatten().map(str::to_lowercase).collect();
    texts.any(|t| needles.iter().any(|n| t.names(n)))
}

/// Whether the task shares a word of some weight with what is done.
fn task_speaks_of(session: &Session, words: &str) -> bool {
    !session.prompts.is_empty()
        && text::any_stem(words, |stem| stem.len() > 2 && session.task().any(|t| t.stems().contains(stem)))
}
