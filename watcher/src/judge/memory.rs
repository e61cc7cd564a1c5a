//! What a session keeps for the judge's sake: the last actions, words and results, bounded.

use super::clean::clean;
use crate::context::Meaning;
use crate::text::cut;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use uuid::Uuid;
use wk_schemas::body::FileOperation;
use wk_schemas::{Body, Record};

/// Actions that a question shows at most.
pub(super) const ACTIONS_MAX: usize = 40;
/// Pieces of the agent's prose, and of results, that a second look shows at most.
const WORDS_MAX: usize = 6;
/// Bytes kept of one action; the one that is judged is shown longer.
const ACTION_BYTES_MAX: usize = 1000;
/// Bytes kept of one piece of prose or of a result.
const WORDS_BYTES_MAX: usize = 800;
/// Questions without an answer that are remembered.
const OPEN_MAX: usize = 64;

/// Something that was done or said, and the record that shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// The record.
    pub record: Uuid,
    /// What it is, in one word: tool_call, process, file, connection, held.
    pub kind: String,
    /// What was done or said, cut when long.
    pub text: String,
}

/// What a session keeps for the judge. A few tens of kilobytes at most; empty where no judge is configured.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// The last actions, oldest first.
    pub actions: VecDeque<Shown>,
    /// How many came before these.
    pub actions_before: u64,
    /// The agent's own words, oldest first: shown on a second look only.
    pub prose: VecDeque<Shown>,
    /// What tools returned, oldest first: shown on a second look only.
    pub results: VecDeque<Shown>,
    /// Records that were asked about and have no answer yet, oldest first.
    pub open: VecDeque<Uuid>,
}

impl Memory {
    /// Takes note of a record, with what it means in its session.
    pub(crate) fn note(&mut self, record: &Record, meaning: &Meaning) {
        let id = record.header.record_id.0;
        match &record.body {
            Body::Thought(b) => keep(&mut self.prose, id, "prose", &b.text),
            Body::ToolReturned(b) => keep(&mut self.results, id, "result", &b.output),
            _ => {
                if let Some((kind, text)) = action(record, meaning, ACTION_BYTES_MAX) {
                    self.actions.push_back(Shown { record: id, kind: kind.to_owned(), text });
                    if self.actions.len() > ACTIONS_MAX {
                        self.actions.pop_front();
                        self.actions_before = self.actions_before.saturating_add(1);
                    }
                }
            }
        }
    }

    /// A question was asked about `record`.
    pub(crate) fn asked(&mut self, record: Uuid) {
        if self.open.len() >= OPEN_MAX {
            self.open.pop_front();
        }
        self.open.push_back(record);
    }

    /// The question about `record` is answered. Whether it was open.
    pub(crate) fn close(&mut self, record: Uuid) -> bool {
        let before = self.open.len();
        self.open.retain(|r| *r != record);
        self.open.len() < before
    }

    /// The session has ended: what only later questions would show goes.
    pub(crate) fn end(&mut self) {
        let open = std::mem::take(&mut self.open);
        *self = Self { open, ..Self::default() };
    }
}

fn keep(list: &mut VecDeque<Shown>, record: Uuid, kind: &str, text: &str) {
    if text.trim().is_empty() {
        return;
    }
    list.push_back(Shown { record, kind: kind.to_owned(), text: clean(text, WORDS_BYTES_MAX) });
    if list.len() > WORDS_MAX {
        list.pop_front();
    }
}

/// What a record says was done, as the judge reads it; `None` for what is no action or what a tool call already says.
pub(super) fn action(record: &Record, meaning: &Meaning, bytes_max: usize) -> Option<(&'static str, String)> {
    let is_notable = meaning.is_unmediated || meaning.secret.is_some();
    let (kind, text) = match &record.body {
        Body::ToolCalled(b) => {
            let input = b.command_text.as_deref().unwrap_or(&b.arguments);
            let refused = if b.decision == "denied" { " (refused)" } else { "" };
            ("tool_call", format!("{} [{}]{refused}: {input}", b.tool, b.tool_class))
        }
        Body::ProcessStarted(b) if is_notable => ("process", b.command_line.clone()),
        Body::FileAccessed(b) if is_notable => ("file", format!("{} {}", verb(b.operation), b.path)),
        Body::ConnectionAttempted(b) if is_notable || meaning.is_first_seen => {
            let host = b.host_name.as_deref().unwrap_or(&b.address);
            ("connection", format!("{} port {}", host, b.port.unwrap_or_default()))
        }
        Body::ApprovalRequested(b) => {
            let program = b.actor.as_ref().map_or("the agent", |a| a.image.as_str());
            ("held", format!("{program} wants to {}", b.subject))
        }
        _ => return None,
    };
    Some((kind, clean(&text, bytes_max)))
}

fn verb(operation: FileOperation) -> String {
    cut(operation.as_str(), 40).to_lowercase()
}
