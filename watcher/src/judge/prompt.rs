//! The words that go to a model: a fixed policy with a place for the tenant's, then fenced blocks of quoted data.
//!
//! A session is one conversation. Its first message shows everything, later ones only what is new, so that a provider's cache
//! of the beginning holds. The agent's prose and what tools returned are shown on a second look only, and are not kept in the
//! conversation: the next first look does not see them.

use super::clean::quote;
use super::look::Look;
use super::question::{Action, Question};
use super::redact::Redactor;
use wk_schemas::{Digest, RecordId};

/// The fixed part of the policy.
const TEMPLATE: &str = include_str!("../../data/judge-policy.txt");
/// A conversation of more characters than this begins anew: about 12,000 tokens.
const CHARS_MAX: usize = 48_000;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The policy.
    System,
    /// The watcher.
    User,
    /// The model.
    Assistant,
}

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    /// Who speaks.
    pub(super) role: Role,
    /// What is said.
    pub(super) text: String,
}

/// The policy as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    text: String,
    /// SHA-256 of the policy, the tenant's part and the answers' schemas: what a verdict names as its prompt.
    pub digest: Digest,
}

impl Policy {
    /// The policy with the tenant's own words in their place; these are trusted.
    #[must_use]
    pub fn new(tenant: Option<&str>) -> Self {
        let tenant = tenant.map(str::trim).filter(|t| !t.is_empty());
        let slot = tenant.map_or(String::new(), |t| format!("The operator's own policy, which may be trusted\n{t}\n"));
        let text = TEMPLATE.replace("{{tenant_policy}}\n", &slot);
        let schemas = [Look::First, Look::Second].map(|l| l.schema(&["a1".to_owned()]).to_string() + l.instruction());
        let digest = Digest::of(format!("{text}\n{}", schemas.join("\n")).as_bytes());
        Self { text, digest }
    }
}

/// A prompt that is ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Prompt {
    /// In order.
    pub(super) messages: Vec<Message>,
    /// What the model may name as evidence, and the records these stand for.
    pub(super) names: Vec<(String, RecordId)>,
    /// How many secrets were taken out of what the prompt shows.
    pub(super) secrets: usize,
}

impl Prompt {
    /// SHA-256 over the messages as they are sent.
    #[must_use]
    pub(super) fn digest(&self) -> Digest {
        let mut bytes = Vec::new();
        for m in &self.messages {
            bytes.extend_from_slice(format!("{:?} {}\n", m.role, m.text.len()).as_bytes());
            bytes.extend_from_slice(m.text.as_bytes());
        }
        Digest::of(&bytes)
    }

    /// The names alone.
    #[must_use]
    pub(super) fn evidence(&self) -> Vec<String> {
        self.names.iter().map(|(name, _)| name.clone()).collect()
    }
}

/// What a model has been shown of one session.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    /// Without the policy.
    messages: Vec<Message>,
    names: Vec<(String, RecordId)>,
    task_shown: usize,
    plan_shown: Vec<String>,
    redactor: Redactor,
}

impl Conversation {
    /// The prompt of a first look: the task, the plan, facts and bare actions, as far as they were not shown before.
    pub(super) fn first_look(&mut self, policy: &Policy, question: &Question) -> Prompt {
        let length: usize = self.messages.iter().map(|m| m.text.len()).sum();
        if length > CHARS_MAX {
            *self = Self::default();
        }
        let mut text = String::new();
        if self.messages.is_empty() || question.task.len() != self.task_shown {
            let task: Vec<String> = question.task.iter().map(|t| quote(&self.redactor.redact(&t.text))).collect();
            let task = if task.is_empty() { "(no task is known)".to_owned() } else { task.join("\n") };
            text.push_str(&block("task", &task));
            self.task_shown = question.task.len();
        }
        if question.plan != self.plan_shown && !question.plan.is_empty() {
            let steps: Vec<String> = question.plan.iter().map(|s| quote(&self.redactor.redact(s))).collect();
            text.push_str(&block("plan", &steps.join("\n")));
            self.plan_shown.clone_from(&question.plan);
        }
        let (earlier, judged) = question.actions.split_at(question.actions.len().saturating_sub(1));
        let is_new = |a: &&Action| !self.names.iter().any(|(_, id)| id.0 == a.record);
        let unseen: Vec<Action> = earlier.iter().filter(is_new).cloned().collect();
        let mut lines = Vec::new();
        if self.messages.is_empty() && question.actions_before > 0 {
            lines.push(format!("({} earlier actions are not shown)", question.actions_before));
        }
        lines.extend(unseen.iter().map(|a| self.line(a)));
        if !lines.is_empty() {
            text.push_str(&block("actions", &lines.join("\n")));
        }
        let lines: Vec<String> = judged.iter().map(|a| self.line(a)).collect();
        text.push_str(&block("judge", &lines.join("\n")));
        let facts: Vec<String> =
            question.facts.iter().map(|(n, v)| format!("{n}: {}", quote(&self.redactor.redact(v)))).collect();
        text.push_str(&block("facts", &facts.join("\n")));
        text.push_str(Look::First.instruction());
        self.messages.push(Message { role: Role::User, text });
        self.prompt(policy, self.messages.clone(), self.names.clone())
    }

    /// The prompt of a second look at the same question: the agent's words and what tools returned come to it.
    pub(super) fn second_look(&mut self, policy: &Policy, question: &Question, first: &str) -> Prompt {
        let mut names = self.names.clone();
        let mut text = String::new();
        for (tag, shown) in [("prose", &question.prose), ("results", &question.results)] {
            let mut lines = Vec::new();
            for piece in shown {
                let name = format!("{}{}", &tag[..1], lines.len() + 1);
                lines.push(format!("{name} {}", quote(&self.redactor.redact(&piece.text))));
                names.push((name, RecordId(piece.record)));
            }
            if !lines.is_empty() {
                text.push_str(&block(tag, &lines.join("\n")));
            }
        }
        text.push_str(Look::Second.instruction());
        let mut messages = self.messages.clone();
        messages.push(Message { role: Role::Assistant, text: first.to_owned() });
        messages.push(Message { role: Role::User, text });
        self.prompt(policy, messages, names)
    }

    /// Keeps the answer to the first look as context for the next question.
    pub(super) fn keep(&mut self, first: &str) {
        self.messages.push(Message { role: Role::Assistant, text: first.to_owned() });
    }

    /// The first look came to nothing: it is as if it had not been asked.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    fn line(&mut self, action: &Action) -> String {
        let name = format!("a{}", self.names.len() + 1);
        let line = format!("{name} {} {}", action.kind, quote(&self.redactor.redact(&action.text)));
        self.names.push((name, RecordId(action.record)));
        line
    }

    fn prompt(&self, policy: &Policy, messages: Vec<Message>, names: Vec<(String, RecordId)>) -> Prompt {
        let system = Message { role: Role::System, text: policy.text.clone() };
        let messages = std::iter::once(system).chain(messages).collect();
        Prompt { messages, names, secrets: self.redactor.count() }
    }
}

/// A fenced block. Its mark is made from what it holds, so nothing inside can know it.
fn block(tag: &str, inner: &str) -> String {
    let mark = &Digest::of(inner.as_bytes()).to_hex()[..12];
    format!("<{tag} mark=\"{mark}\">\n{inner}\n</{tag} mark=\"{mark}\">\n")
}
