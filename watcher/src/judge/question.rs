//! Which records the judge is asked about, and what a question holds. Pure.
//!
//! Rules come first: what a rule froze is closed, and what nothing speaks of is not worth a question. Between the two lie
//! actions that a rule warns about or asks about, actions that score in the open band, and actions that are held anyhow.

use super::memory::{self, Shown};
use crate::context::Context;
use crate::decide::Incoming;
use crate::deviation::Scores;
use crate::rules::Hit;
use crate::session::Session;
use crate::text::cut;
use uuid::Uuid;
use wk_schemas::body::Step;
use wk_schemas::sigma::Value;
use wk_schemas::{Body, Digest, RecordId, Timestamp};

/// Bytes of the action that is judged.
const SUBJECT_BYTES_MAX: usize = 4000;
/// Bytes of each of a person's prompts.
const TASK_BYTES_MAX: usize = 4000;

/// When the judge is asked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gate {
    /// From this deviation score on, 0 to 100.
    pub score: u8,
    /// Of the actions that nothing speaks of, this share is asked about all the same, 0 to 1: what keeps statistics honest.
    pub sample: f64,
}

/// An action as a question shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// The record.
    pub record: Uuid,
    /// tool_call, process, file, connection, held.
    pub kind: String,
    /// What was done.
    pub text: String,
}

/// What the judge is asked: everything that a prompt is made from.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// Derived from the record that is asked about.
    pub id: RecordId,
    /// The record that is asked about.
    pub about: RecordId,
    /// Its time: the answer's time is this and how long it took.
    pub asked_at: Timestamp,
    /// The hold's ticket, when the action is held.
    pub ticket: Option<RecordId>,
    /// An answer after this is of no use to the hold.
    pub deadline: Option<Timestamp>,
    /// Class of the action, as the ladder knows it: shell, edit, process, held, ….
    pub class: String,
    /// Which gate let it through: held, rule, score, sample.
    pub gate: &'static str,
    /// Probability with which it was asked: 1 unless it was sampled.
    pub probability: f64,
    /// What people asked for, oldest first.
    pub task: Vec<Shown>,
    /// The plan in force, step by step.
    pub plan: Vec<String>,
    /// The actions before, oldest first; then the one that is judged.
    pub actions: Vec<Action>,
    /// How many came before these and are not shown.
    pub actions_before: u64,
    /// The agent's own words, for a second look.
    pub prose: Vec<Shown>,
    /// What tools returned, for a second look.
    pub results: Vec<Shown>,
    /// What the watcher itself knows, name and value, in a fixed order.
    pub facts: Vec<(String, String)>,
    /// The rules in force.
    pub pack_digest: Digest,
}

impl Question {
    /// The records that a verdict may name: those that a second look shows, the judged one last.
    #[must_use]
    pub fn window(&self) -> Vec<RecordId> {
        let of = |shown: &[Shown]| shown.iter().map(|s| RecordId(s.record)).collect::<Vec<_>>();
        let mut out = of(&self.task);
        out.extend(of(&self.prose));
        out.extend(of(&self.results));
        out.extend(self.actions.iter().map(|a| RecordId(a.record)));
        out.sort_unstable();
        out.dedup();
        out.retain(|id| *id != self.about);
        out.push(self.about);
        out
    }

    /// The action that is judged.
    #[must_use]
    pub fn subject(&self) -> &str {
        self.actions.last().map_or("", |a| a.text.as_str())
    }
}

/// What is asked about a record, if anything is: `hits` and `scores` are what rules and score say of it.
#[must_use]
pub(crate) fn ask(
    session: &Session,
    incoming: &Incoming,
    context: &Context<'_>,
    scores: &Scores,
    hits: &[Hit],
    gate: &Gate,
    pack_digest: Digest,
) -> Option<Question> {
    let record = &incoming.record;
    let (kind, text) = memory::action(record, &context.meaning, SUBJECT_BYTES_MAX)?;
    let (through, probability) = through(record.header.record_id, &record.body, scores, hits, gate)?;
    let id = record.header.record_id;
    let class = match &record.body {
        Body::ToolCalled(b) => b.tool_class.clone(),
        _ => kind.to_owned(),
    };
    let (ticket, deadline) = match &record.body {
        Body::ApprovalRequested(b) => (Some(b.ticket), Some(b.deadline)),
        _ => (None, None),
    };
    let mut actions: Vec<Action> = session
        .judge
        .actions
        .iter()
        .filter(|a| a.record != id.0)
        .map(|a| Action { record: a.record, kind: a.kind.clone(), text: a.text.clone() })
        .collect();
    actions.push(Action { record: id.0, kind: kind.to_owned(), text });
    let task = session.prompts.iter().map(|p| Shown {
        record: p.record,
        kind: "task".to_owned(),
        text: super::clean::clean(p.text.text(), TASK_BYTES_MAX),
    });
    Some(Question {
        id: RecordId::derived(&[id], "judge"),
        about: id,
        asked_at: record.header.occurred_at,
        ticket,
        deadline,
        class,
        gate: through,
        probability,
        task: task.collect(),
        plan: session.plan.iter().flat_map(|p| p.steps.iter().map(|s| super::clean::clean(s.text(), 512))).collect(),
        actions,
        actions_before: session.judge.actions_before,
        prose: session.judge.prose.iter().cloned().collect(),
        results: session.judge.results.iter().cloned().collect(),
        facts: facts(context, scores, hits),
        pack_digest,
    })
}

fn through(id: RecordId, body: &Body, scores: &Scores, hits: &[Hit], gate: &Gate) -> Option<(&'static str, f64)> {
    let is_closed = hits.iter().any(|h| matches!(h.rule.step, Step::Freeze | Step::Kill));
    if is_closed {
        return None;
    }
    if matches!(body, Body::ApprovalRequested(_)) {
        return Some(("held", 1.0));
    }
    if hits.iter().any(|h| matches!(h.rule.step, Step::Warn | Step::Ask)) {
        return Some(("rule", 1.0));
    }
    if scores.worst().is_some_and(|s| s.value >= gate.score) {
        return Some(("score", 1.0));
    }
    // Looking around is never worth a question.
    let looks = matches!(body, Body::ToolCalled(b) if matches!(b.tool_class.as_str(), "read" | "search" | "plan"));
    (!looks && is_sampled(id, gate.sample)).then_some(("sample", gate.sample))
}

/// Draws by the record's id, so that replaying draws the same.
fn is_sampled(id: RecordId, share: f64) -> bool {
    let [a, b, c, d, ..] = Digest::of(id.0.as_bytes()).0;
    f64::from(u32::from_be_bytes([a, b, c, d])) / (f64::from(u32::MAX) + 1.0) < share
}

fn facts(context: &Context<'_>, scores: &Scores, hits: &[Hit]) -> Vec<(String, String)> {
    // What is free text of the agent's stands among the actions, where it is quoted.
    const PROSE: [&str; 5] = ["tool.text", "scope.object", "taint.value", "secret.path", "effect.ancestry"];
    let mut out: Vec<(String, String)> = Vec::new();
    for (name, value) in context.fields() {
        let text = match value {
            Value::Flag(flag) => flag.to_string(),
            Value::Number(number) => number.to_string(),
            Value::Text(text) if !PROSE.contains(name) => cut(text, 120).to_owned(),
            Value::Text(_) => continue,
        };
        out.push(((*name).to_owned(), text));
    }
    let edges = [
        ("task_plan", &scores.task_plan),
        ("plan_action", &scores.plan_action),
        ("action_effect", &scores.action_effect),
    ];
    for (edge, score) in edges {
        if let Some(score) = score {
            out.push((format!("deviation.{edge}"), score.value.to_string()));
        }
    }
    out.extend(hits.iter().map(|h| ("rule".to_owned(), format!("{} ({})", h.rule.title, h.rule.level.as_str()))));
    out
}
