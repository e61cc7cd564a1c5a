//! `codex app-server`, seen from between a user interface and Codex.
//!
//! ```text
//! interface ── turn/start, turn/steer ─────────────► codex     prompt
//!           ◄─ turn/plan/updated ──────────────────            plan
//!           ◄─ item/completed: agentMessage, reasoning          thought
//!           ◄─ item/*/requestApproval ─────────────            call (Codex waits for the answer)
//!           ── decline, cancel ────────────────────►           the call's answer
//!           ◄─ item/started, item/completed: tools             call and answer, when no hook has told them
//! ```
//! Facts, tried with 0.169.0: messages leave out `jsonrpc`; the ids of items that are tools are those that hooks call `tool_use_id`;
//! our hooks run as under `codex exec`.

use super::codex::patched_paths;
use super::rpc::{self, Message};
use super::{Said, ToolAnswer, ToolCall, names_in, plain, steps, text};
use serde_json::Value;
use std::collections::BTreeMap;

/// What the dialogue remembers.
#[derive(Debug, Default)]
pub(super) struct AppServer {
    /// Approvals that were asked for, by the JSON text of the question's id: the item.
    asked: BTreeMap<String, String>,
    /// Prompts that a hook will tell again.
    prompts: Vec<String>,
}

impl AppServer {
    /// Whether a hook tells a prompt that was seen here already.
    pub(super) fn has_told(&mut self, prompt: &str) -> bool {
        let at = self.prompts.iter().position(|told| told == prompt);
        at.map(|at| self.prompts.remove(at)).is_some()
    }

    /// A line of the interface's.
    pub(super) fn question(&mut self, line: &Value) -> Vec<Said> {
        rpc::each(line, |message| match message {
            Message::Request { method: "turn/start" | "turn/steer", params, .. } => {
                let parts = params.get("input").and_then(Value::as_array).into_iter().flatten();
                let prompt = parts.filter_map(|part| text(part, "text")).collect::<Vec<_>>().join("\n");
                self.prompts.push(prompt.clone());
                vec![Said::Prompt(prompt)]
            }
            Message::Response { id, result } => self.answered(&id.to_string(), result).into_iter().collect(),
            Message::Request { .. } | Message::Notification { .. } => Vec::new(),
        })
    }

    /// A line of Codex's.
    pub(super) fn answer(&mut self, line: &Value, hears_hooks: bool) -> Vec<Said> {
        rpc::each(line, |message| match message {
            Message::Notification { method, params } => notified(method, params, hears_hooks),
            Message::Request { id, method, params } if method.ends_with("/requestApproval") => {
                let Some(item) = text(params, "itemId") else {
                    return vec![Said::Lost(format!("a {method} without itemId"))];
                };
                self.asked.insert(id.to_string(), item.clone());
                vec![Said::Called(ToolCall { waits: true, ..call(item, method, params) })]
            }
            Message::Response { result: Ok(result), .. } => {
                let thread = result.get("thread");
                let version = thread.and_then(|thread| text(thread, "cliVersion"));
                let model = text(result, "model").filter(|_| thread.is_some());
                let knows = version.is_some() || model.is_some();
                knows.then_some(Said::Agent { name: None, version, model }).into_iter().collect()
            }
            Message::Request { .. } | Message::Response { .. } => Vec::new(),
        })
    }

    fn answered(&mut self, id: &str, result: Result<&Value, &Value>) -> Option<Said> {
        let item = self.asked.remove(id)?;
        let output = match result {
            Ok(result) => match result.get("decision") {
                Some(Value::String(decision)) if decision == "decline" || decision == "cancel" => {
                    format!("refused by the user: {decision}")
                }
                // Every other decision lets it go on, now or from now on.
                Some(_) | None => return None,
            },
            Err(error) => format!("not answered: {}", rpc::error_text(error)),
        };
        Some(Said::Returned(ToolAnswer { id: item, success: Some(false), output, ..ToolAnswer::default() }))
    }
}

fn notified(method: &str, params: &Value, hears_hooks: bool) -> Vec<Said> {
    if method == "turn/plan/updated" {
        let steps = steps(params.get("plan"), "step");
        return vec![Said::Plan { steps, source: "turn_plan", explanation: text(params, "explanation") }];
    }
    let (Some(item), "item/started" | "item/completed") = (params.get("item"), method) else { return Vec::new() };
    let is_last = method == "item/completed";
    let thought = |text: String, form| {
        let said = Said::Thought { text, form };
        Some(said)
            .filter(|_| is_last)
            .into_iter()
            .filter(|s| !matches!(s, Said::Thought { text, .. } if text.is_empty()))
    };
    match item.get("type").and_then(Value::as_str) {
        Some("agentMessage") => thought(text(item, "text").unwrap_or_default(), "message").collect(),
        Some("reasoning") => {
            let parts = item.get("summary").and_then(Value::as_array).into_iter().flatten().map(plain);
            thought(parts.collect::<Vec<_>>().join("\n"), "summary").collect()
        }
        Some(kind @ ("commandExecution" | "fileChange" | "mcpToolCall" | "webSearch")) => {
            tool(item, kind, is_last, hears_hooks)
        }
        Some(_) | None => Vec::new(),
    }
}

/// A tool's item. Hooks tell it before the fact, so only where they are silent is it told when it begins.
fn tool(item: &Value, kind: &str, is_last: bool, hears_hooks: bool) -> Vec<Said> {
    let Some(id) = text(item, "id") else { return vec![Said::Lost(format!("a {kind} without id"))] };
    let begins = Said::Called(call(id.clone(), kind, item));
    if !is_last {
        return if hears_hooks { Vec::new() } else { vec![begins] };
    }
    let success = match item.get("status").and_then(Value::as_str) {
        Some("completed") => Some(true),
        Some("failed" | "declined") => Some(false),
        Some(_) | None => None,
    };
    let output = ["aggregatedOutput", "result", "error"].iter().find_map(|k| item.get(*k).filter(|v| !v.is_null()));
    let answer = ToolAnswer {
        id,
        success,
        output: output.map(plain).unwrap_or_default(),
        duration_us: item.get("durationMs").and_then(Value::as_i64).map(|ms| ms.saturating_mul(1000)),
        ..ToolAnswer::default()
    };
    vec![begins, Said::Returned(answer)]
}

/// A call as an item, or as the question about it, has it.
fn call(id: String, kind: &str, fields: &Value) -> ToolCall {
    let (tool, class) = match kind {
        "commandExecution" | "item/commandExecution/requestApproval" => ("Bash".to_owned(), "shell"),
        "fileChange" | "item/fileChange/requestApproval" => ("apply_patch".to_owned(), "edit"),
        "webSearch" => ("web_search".to_owned(), "search"),
        "mcpToolCall" => {
            let part = |key| text(fields, key).unwrap_or_default();
            (format!("mcp__{}__{}", part("server"), part("tool")), "other")
        }
        other => (other.to_owned(), "other"),
    };
    let command = text(fields, "command").filter(|_| class == "shell");
    let changes = fields.get("changes").and_then(Value::as_array).into_iter().flatten();
    let mut names: Vec<String> = changes.filter_map(|change| text(change, "path")).collect();
    match &command {
        Some(command) => names.push(command.clone()),
        None => names.extend(names_in(fields.get("arguments").unwrap_or(&Value::Null))),
    }
    names.extend(text(fields, "patch").map(|patch| patched_paths(&patch)).into_iter().flatten());
    let kept = ["command", "changes", "arguments", "query", "reason", "permissions", "cwd"];
    let arguments = kept.iter().filter_map(|key| Some(((*key).to_owned(), fields.get(*key)?.clone())));
    ToolCall {
        id,
        tool,
        class,
        arguments: Value::Object(arguments.collect()).to_string(),
        command,
        names,
        working_directory: text(fields, "cwd").map(Into::into),
        ..ToolCall::default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::codex::Codex;
    use super::super::{Adapter, Said};
    use serde_json::{Value, json};

    const DIALOGUE: &str = include_str!("../../tests/samples/codex/app-server.captured-0.169.0.jsonl");

    fn hear(adapter: &mut Codex, dialogue: &str) -> Vec<Said> {
        let lines = dialogue.lines().map(|l| serde_json::from_str::<Value>(l).unwrap());
        lines
            .flat_map(|l| match (l.get("client"), l.get("agent")) {
                (Some(line), _) => adapter.question_line(line),
                (_, Some(line)) => adapter.stream_line(line),
                _ => panic!("{l}"),
            })
            .collect()
    }

    #[test]
    fn a_captured_dialogue_is_told_in_full_without_hooks() {
        let said = hear(&mut Codex::default(), DIALOGUE);
        assert!(
            matches!(&said[0], Said::Agent { version: Some(v), model: Some(m), .. } if v == "0.169.0" && m == "scripted")
        );
        assert_eq!(said[1], Said::Prompt("fix the typo".into()));
        assert_eq!(said[2], Said::Thought { text: "I read first.".into(), form: "message" });
        assert!(matches!(&said[3], Said::Plan { steps, source: "turn_plan", .. } if steps.len() == 2));
        assert!(matches!(&said[4], Said::Called(c) if c.id == "call_00000007" && !c.waits
            && c.command.as_deref() == Some("/bin/bash -lc 'cat README.md'")));
        assert!(matches!(&said[5], Said::Called(c) if c.id == "call_00000007" && c.waits));
        assert!(
            matches!(&said[7], Said::Returned(a) if a.success == Some(true) && a.output == "helo\n"),
            "{:?}",
            said[7]
        );
        assert_eq!(said.last(), Some(&Said::Thought { text: "Fixed.".into(), form: "message" }));
        assert!(!said.iter().any(|s| matches!(s, Said::Lost(_))), "{said:?}");
    }

    #[test]
    fn a_prompt_is_told_once_though_a_hook_tells_it_too() {
        let mut adapter = Codex::default();
        hear(&mut adapter, DIALOGUE);
        let again = json!({"hook_event_name": "UserPromptSubmit", "prompt": "fix the typo"});
        let prompts = |said: Vec<Said>| said.iter().filter(|s| matches!(s, Said::Prompt(_))).count();
        assert_eq!([prompts(adapter.hook(&again)), prompts(adapter.hook(&again))], [0, 1]);
    }

    #[test]
    fn a_declined_approval_is_the_calls_answer() {
        let dialogue = [
            json!({"agent": {"method": "item/commandExecution/requestApproval", "id": 8, "params": {
                "itemId": "call_123", "command": "git push origin main", "cwd": "/w", "reason": "needs network access"}}}),
            json!({"client": {"id": 8, "result": {"decision": "decline"}}}),
            json!({"agent": {"method": "item/fileChange/requestApproval", "id": 9, "params": {}}}),
        ];
        let said = hear(&mut Codex::default(), &dialogue.map(|l| l.to_string()).join("\n"));
        assert!(matches!(&said[0], Said::Called(c) if c.waits && c.command.as_deref() == Some("git push origin main")));
        assert!(
            matches!(&said[1], Said::Returned(a) if a.id == "call_123" && a.output == "refused by the user: decline")
        );
        assert!(matches!(&said[2], Said::Lost(why) if why.contains("itemId")));
    }
}
