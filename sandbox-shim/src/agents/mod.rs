//! What agents say: one adapter per agent translates its hooks and streams into the same few sentences.
//!
//! An [`Adapter`] is a translation and nothing else: JSON in, [`Said`] out, no I/O but what [`Adapter::prepare`] needs to make
//! the agent talk to us. [`ear::Ear`] turns what was said into records and tells [`crate::causality`] about tool calls;
//! [`door`] is the socket that hooks come in by; [`stream`] listens to the agent's standard streams while passing them on.
//!
//! All of it is evidence of what the agent *claims*. Nothing here is trusted beyond that: fields that are missing or new are
//! tolerated, and what cannot be read is recorded as lost.

mod acp;
mod callers;
pub mod claude_code;
mod claude_settings;
pub mod codex;
mod codex_app_server;
mod codex_sandbox;
pub mod door;
pub mod ear;
pub mod gemini;
mod gemini_home;
pub mod hook;
pub mod invocation;
pub mod jsonl;
mod mcp;
pub mod mcp_http;
pub mod otlp;
pub mod own_sandbox;
pub mod refusals;
mod rpc;
pub mod stream;

pub use invocation::{Invocation, PrepareError};

use refusals::Refusals;
use serde_json::Value;
use std::path::PathBuf;
use wk_schemas::body::{PlanStep, StepStatus};

/// Something an agent said, in words that are the same for all agents.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// Who the agent is; what is `None` stays as it was.
    Agent {
        /// Its name.
        name: Option<String>,
        /// Its version.
        version: Option<String>,
        /// The model that drives it.
        model: Option<String>,
    },
    /// A person gave it a task.
    Prompt(String),
    /// It declared a plan, which replaces the one before.
    Plan {
        /// The steps.
        steps: Vec<PlanStep>,
        /// As `PlanDeclared::source`.
        source: &'static str,
        /// Why.
        explanation: Option<String>,
    },
    /// It showed a thought, or said something to its user.
    Thought {
        /// The text.
        text: String,
        /// As `Thought::form`.
        form: &'static str,
    },
    /// It asks for a tool.
    Called(ToolCall),
    /// A tool answered.
    Returned(ToolAnswer),
    /// Something could not be read.
    Lost(String),
}

/// A tool call as the agent declares it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ToolCall {
    /// The agent's id of the call.
    pub id: String,
    /// The tool's name.
    pub tool: String,
    /// As `ToolCalled::tool_class`.
    pub class: &'static str,
    /// The arguments as JSON.
    pub arguments: String,
    /// The command, when it is a shell.
    pub command: Option<String>,
    /// The words that name what it acts on.
    pub names: Vec<String>,
    /// Working directory.
    pub working_directory: Option<PathBuf>,
    /// The sub-agent that asks.
    pub subagent: Option<String>,
    /// The call by which that sub-agent was started.
    pub parent: Option<String>,
    /// Whether the tool waits until the call is recorded. Hooks always do; in a dialogue it depends on who asks whom.
    pub waits: bool,
}

/// A tool's answer as the agent reports it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ToolAnswer {
    /// The agent's id of the call.
    pub id: String,
    /// The tool's name; empty when the report does not say.
    pub tool: String,
    /// Whether it succeeded.
    pub success: Option<bool>,
    /// The answer.
    pub output: String,
    /// How long it took.
    pub duration_us: Option<i64>,
}

/// By which way something was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// The agent's hook: before the fact, and the agent waits for our answer.
    Hook,
    /// The agent's standard output: after the fact.
    Stream,
    /// A dialogue between the agent and another program, which passes through the shim line by line.
    Proxy,
    /// The agent's OpenTelemetry: after the fact.
    Otel,
    /// Plain JSON lines on the session's socket.
    Jsonl,
}

impl Channel {
    /// As the records say it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hook => "hook",
            Self::Stream => "stream",
            Self::Proxy => "proxy",
            Self::Otel => "otel",
            Self::Jsonl => "jsonl",
        }
    }
}

/// Translates one kind of agent.
pub trait Adapter: Send {
    /// Its name on the command line and in `session_started`.
    fn name(&self) -> &'static str;

    /// File names of the agent's own programs: a process that runs one of them is the agent, not a tool.
    fn programs(&self) -> &'static [&'static str] {
        &[]
    }

    /// Changes how the agent is started, so that it tells us what it does.
    ///
    /// # Errors
    /// [`PrepareError`] when the agent cannot be made to talk; it must not be started then.
    fn prepare(&self, invocation: &mut Invocation) -> Result<(), PrepareError>;

    /// Whether the agent runs hooks of ours, so that its silence is worth a record.
    fn has_hooks(&self) -> bool {
        true
    }

    /// Translates what a hook was given.
    fn hook(&mut self, event: &Value) -> Vec<Said>;

    /// Translates one line of the agent's standard output, or one export of its OpenTelemetry.
    fn stream_line(&mut self, line: &Value) -> Vec<Said>;

    /// Translates one line of the agent's standard input, where that is a dialogue (see [`Invocation::is_dialogue`]).
    fn question_line(&mut self, _line: &Value) -> Vec<Said> {
        Vec::new()
    }

    /// Puts what was refused during calls into the line of the dialogue that answers them; `said` is what the line was translated to.
    /// `None` leaves the line as it is.
    fn explain(&mut self, _line: &Value, _said: &[Said], _refusals: &Refusals) -> Option<Value> {
        None
    }

    /// The agent's standard output has ended; gives what was waiting for its end.
    fn stream_end(&mut self) -> Vec<Said> {
        Vec::new()
    }
}

/// The adapter of that name.
#[must_use]
pub fn adapter(name: &str) -> Option<Box<dyn Adapter>> {
    match name {
        "acp" => Some(Box::new(acp::Acp::default())),
        "claude-code" => Some(Box::new(claude_code::ClaudeCode::default())),
        "codex" => Some(Box::new(codex::Codex::default())),
        "gemini" => Some(Box::new(gemini::Gemini::default())),
        "jsonl" => Some(Box::new(jsonl::Jsonl)),
        "mcp" => Some(Box::new(mcp::Mcp::default())),
        "otel" => Some(Box::new(otlp::Otel)),
        _ => None,
    }
}

/// The names that [`adapter`] knows.
pub const ADAPTERS: [&str; 7] = ["acp", "claude-code", "codex", "gemini", "jsonl", "mcp", "otel"];

fn text(value: &Value, key: &str) -> Option<String> {
    value.get(key).and_then(Value::as_str).map(str::to_owned)
}

/// A string as it is, anything else as JSON.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => other.to_string(),
    }
}

/// Arguments that hold content, not the name of what is acted on.
const CONTENT_KEYS: [&str; 11] = [
    "content",
    "old_string",
    "new_string",
    "new_source",
    "prompt",
    "description",
    "instruction",
    "strategic_intent",
    "summary",
    "todos",
    "questions",
];

/// The words in a tool's arguments that name what it acts on.
fn names_in(arguments: &Value) -> Vec<String> {
    let mut names = Vec::new();
    if let Some(object) = arguments.as_object() {
        for (key, value) in object {
            if !CONTENT_KEYS.contains(&key.as_str()) {
                leaves(value, &mut names);
            }
        }
    }
    names
}

fn leaves(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::String(text) => out.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|v| leaves(v, out)),
        Value::Object(fields) => fields.values().for_each(|v| leaves(v, out)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A step's status in any agent's spelling.
fn status(text: Option<&str>) -> StepStatus {
    match text {
        Some("pending") => StepStatus::Pending,
        Some("in_progress" | "inProgress") => StepStatus::InProgress,
        Some("completed") => StepStatus::Completed,
        Some("cancelled" | "canceled" | "deleted") => StepStatus::Cancelled,
        Some(_) | None => StepStatus::Unspecified,
    }
}

fn steps(list: Option<&Value>, text_key: &str) -> Vec<PlanStep> {
    let items = list.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    items
        .iter()
        .map(|item| PlanStep {
            text: text(item, text_key).unwrap_or_else(|| plain(item)),
            status: status(item.get("status").and_then(Value::as_str)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Every value that comes from `value` by taking one part away or putting something else in its place.
    fn damaged(value: &Value) -> Vec<Value> {
        let mut out = vec![Value::Null, json!(7), json!([]), json!({}), json!("x"), json!([{"a": null}])];
        match value {
            Value::Object(fields) => {
                for key in fields.keys() {
                    let mut without = fields.clone();
                    without.remove(key);
                    out.push(Value::Object(without));
                    for other in damaged(&fields[key]) {
                        let mut with = fields.clone();
                        with.insert(key.clone(), other);
                        out.push(Value::Object(with));
                    }
                }
            }
            Value::Array(items) => {
                for (at, item) in items.iter().enumerate() {
                    for other in damaged(item) {
                        let mut with = items.clone();
                        with[at] = other;
                        out.push(Value::Array(with));
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
        out
    }

    const SAMPLES: [&str; 11] = [
        include_str!("../../tests/samples/acp/gemini.captured-0.61.0.jsonl"),
        include_str!("../../tests/samples/acp/v1.spec.jsonl"),
        include_str!("../../tests/samples/acp/v2.spec.jsonl"),
        include_str!("../../tests/samples/claude-code/hook-in.captured-2.1.197.jsonl"),
        include_str!("../../tests/samples/claude-code/stream-json.captured-2.1.197.jsonl"),
        include_str!("../../tests/samples/codex/app-server.captured-0.169.0.jsonl"),
        include_str!("../../tests/samples/codex/exec-json.captured-0.169.0.jsonl"),
        include_str!("../../tests/samples/codex/exec-json.todo_list.jsonl"),
        include_str!("../../tests/samples/gemini-cli/hook-in.captured-0.61.0.jsonl"),
        include_str!("../../tests/samples/gemini-cli/stream-json.captured-0.61.0.jsonl"),
        include_str!("../../tests/samples/mcp/2026-07-28.tools.jsonl"),
    ];

    /// One value by every way that an adapter has.
    fn every_way(adapter: &mut dyn Adapter, value: &Value) -> Vec<Vec<Said>> {
        vec![adapter.hook(value), adapter.stream_line(value), adapter.question_line(value), adapter.stream_end()]
    }

    #[test]
    fn no_damage_to_what_agents_say_stops_an_adapter() {
        let mut heard = 0;
        for line in SAMPLES.iter().flat_map(|s| s.lines()) {
            let line: Value = serde_json::from_str(line).unwrap();
            // In samples of a dialogue a line also says whose it is.
            let line = ["client", "agent", "server"].iter().find_map(|who| line.get(who)).unwrap_or(&line);
            let damaged = damaged(line);
            for name in ADAPTERS {
                let mut adapter = adapter(name).unwrap();
                for value in &damaged {
                    heard += every_way(adapter.as_mut(), value).iter().map(Vec::len).sum::<usize>();
                }
            }
        }
        assert!(heard > 1000, "{heard}");
    }

    #[test]
    fn what_no_adapter_can_read_is_lost_evidence_and_never_a_statement() {
        for name in ADAPTERS {
            for garbage in
                [json!(null), json!(7), json!("x"), json!([]), json!({}), json!([{"a": 1}]), json!({"id": {}})]
            {
                let mut adapter = adapter(name).unwrap();
                let said = every_way(adapter.as_mut(), &garbage);
                assert!(said.iter().flatten().any(|s| matches!(s, Said::Lost(_))), "{name}: {garbage}: {said:?}");
                let is_statement = |s: &&Said| !matches!(s, Said::Lost(_) | Said::Agent { .. });
                assert_eq!(said.iter().flatten().find(is_statement), None, "{name}: {garbage}");
            }
        }
    }
}
