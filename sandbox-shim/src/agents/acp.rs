//! The Agent Client Protocol, seen from between an editor and an agent: `wk-shim acp -- <agent>`. Versions 1 and 2.
//!
//! ```text
//! editor ── session/prompt ──────────────► agent        prompt
//!        ◄─ session/update: plan ──────────             plan
//!        ◄─ …: agent_*_chunk ──────────────             thought, once it is whole
//!        ◄─ …: tool_call, tool_call_update             call (observed: the agent does not wait), return
//!        ◄─ session/request_permission ────             call (allowed: the agent waits for the editor's answer)
//!        ◄─ fs/*, terminal/create ─────────             call: the *editor* reads, writes or runs it, outside the sandbox
//! ```
//! What the editor does for the agent is seen here and nowhere else: no process of the session does it.
//! An editor that offers neither `fs` nor `terminal` leaves it to the agent, where the kernel's side sees it.

use super::invocation::{Invocation, PrepareError};
use super::refusals::Refusals;
use super::rpc::{self, Message};
use super::{Adapter, Said, ToolAnswer, ToolCall, names_in, plain, steps, text};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What the agent may ask the editor to do for it: method and class. Their answers are the tool's.
const FOR_THE_AGENT: [(&str, &str); 3] =
    [("fs/read_text_file", "read"), ("fs/write_text_file", "write"), ("terminal/create", "shell")];

/// The adapter; remembers calls until they are told, and questions until they are answered.
#[derive(Debug, Default)]
pub(super) struct Acp {
    /// What is known of each call that has not returned, by the agent's id.
    calls: BTreeMap<String, Known>,
    /// Questions of the agent's without an answer, by the JSON text of their id.
    asked: BTreeMap<String, Asked>,
    /// A text that comes in pieces, and its form.
    piece: Option<(&'static str, String)>,
    /// What the editor shows of the call that has returned last.
    shown: Option<Value>,
    /// The folder of the session that was made last.
    cwd: Option<String>,
}

#[derive(Debug, Default)]
struct Known {
    /// All fields that were said of it, the last of each.
    fields: Map<String, Value>,
    was_told: bool,
}

#[derive(Debug)]
enum Asked {
    /// May it do this? The options by id: kind and name.
    Permission { call: String, options: BTreeMap<String, (String, String)> },
    /// Will the editor do this?
    Service { call: String },
}

impl Adapter for Acp {
    fn name(&self) -> &'static str {
        "acp"
    }

    fn has_hooks(&self) -> bool {
        false
    }

    fn prepare(&self, invocation: &mut Invocation) -> Result<(), PrepareError> {
        invocation.is_dialogue = true;
        Ok(())
    }

    fn hook(&mut self, _: &Value) -> Vec<Said> {
        vec![Said::Lost("a hook's input, where no hook is installed".into())]
    }

    fn stream_line(&mut self, line: &Value) -> Vec<Said> {
        rpc::each(line, |message| match message {
            Message::Notification { method: "session/update", params } => match params.get("update") {
                Some(update) => self.update(update),
                None => vec![Said::Lost("a session/update without update".into())],
            },
            Message::Request { id, method, params } => self.asks(id, method, params),
            Message::Response { result, .. } => self.settled(result.ok()),
            Message::Notification { .. } => Vec::new(),
        })
    }

    fn question_line(&mut self, line: &Value) -> Vec<Said> {
        rpc::each(line, |message| match message {
            Message::Request { method: "session/prompt", params, .. } => {
                let mut said = self.whole();
                let texts = params.get("prompt").and_then(Value::as_array).into_iter().flatten().filter_map(content);
                said.push(Said::Prompt(texts.collect::<Vec<_>>().join("\n")));
                said
            }
            Message::Request { method: "session/new" | "session/load", params, .. } => {
                self.cwd = text(params, "cwd");
                Vec::new()
            }
            Message::Response { id, result } => self.editor_answers(&id.to_string(), result).into_iter().collect(),
            Message::Request { .. } | Message::Notification { .. } => Vec::new(),
        })
    }

    fn explain(&mut self, line: &Value, said: &[Said], refusals: &Refusals) -> Option<Value> {
        let told = said.iter().find_map(|said| match said {
            Said::Returned(answer) => refusals.take(&answer.id),
            _ => None,
        })?;
        let shown = self.shown.take().filter(Value::is_array).unwrap_or_else(|| json!([]));
        let mut instead = line.clone();
        let update = instead.pointer_mut("/params/update").and_then(Value::as_object_mut)?;
        if !update.get("content").is_some_and(Value::is_array) {
            // What comes now takes the place of what was there.
            update.insert("content".to_owned(), shown);
        }
        let content = update.get_mut("content").and_then(Value::as_array_mut)?;
        content.push(json!({"type": "content", "content": {"type": "text", "text": told}}));
        Some(instead)
    }

    fn stream_end(&mut self) -> Vec<Said> {
        self.whole()
    }
}

impl Acp {
    fn update(&mut self, update: &Value) -> Vec<Said> {
        let kind = update.get("sessionUpdate").and_then(Value::as_str).unwrap_or_default();
        let form = match kind {
            "agent_thought_chunk" => Some("reasoning"),
            "agent_message_chunk" => Some("message"),
            _ => None,
        };
        let Some(form) = form else {
            let mut said = self.whole();
            match kind {
                "plan" => said.push(plan(update)),
                "plan_update" => said.extend(update.get("plan").map(plan)),
                "tool_call" | "tool_call_update" => said.extend(self.call_update(update, false)),
                _ => {}
            }
            return said;
        };
        let text = update.get("content").and_then(content).unwrap_or_default();
        if let Some((_, piece)) = self.piece.as_mut().filter(|(of, _)| *of == form) {
            *piece += &text;
            return Vec::new();
        }
        let said = self.whole();
        self.piece = Some((form, text));
        said
    }

    /// The text that came in pieces, when nothing more comes to it.
    fn whole(&mut self) -> Vec<Said> {
        let piece = self.piece.take().filter(|(_, text)| !text.trim().is_empty());
        piece.map(|(form, text)| Said::Thought { text, form }).into_iter().collect()
    }

    /// What an update says of a call: that there is one, once its words are there, and that it has returned.
    fn call_update(&mut self, update: &Value, waits: bool) -> Vec<Said> {
        let Some(id) = text(update, "toolCallId") else {
            return vec![Said::Lost("a tool call without toolCallId".into())];
        };
        let known = self.calls.entry(id.clone()).or_default();
        if let Some(fields) = update.as_object() {
            known.fields.extend(fields.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), v.clone())));
        }
        let fields = Value::Object(known.fields.clone());
        let status = fields.get("status").and_then(Value::as_str);
        let has_ended = matches!(status, Some("completed" | "failed" | "cancelled"));
        let has_words = fields.get("rawInput").is_some_and(|input| *input != json!({}));
        let mut said = Vec::new();
        // A call that is pending may still be on its way from the model, and comes again with its words.
        if !known.was_told && (waits || has_words || status != Some("pending")) {
            known.was_told = true;
            said.push(Said::Called(tool_call(id.clone(), &fields, self.cwd.as_deref(), waits)));
        }
        if has_ended {
            self.calls.remove(&id);
            self.shown = fields.get("content").cloned();
            let output = fields.get("rawOutput").map(plain).filter(|o| !o.is_empty()).unwrap_or_else(|| {
                let parts = fields.get("content").and_then(Value::as_array).into_iter().flatten();
                parts.filter_map(|part| part.get("content").and_then(content)).collect::<Vec<_>>().join("\n")
            });
            let success = Some(status == Some("completed"));
            said.push(Said::Returned(ToolAnswer { id, success, output, ..ToolAnswer::default() }));
        }
        said
    }

    /// A question of the agent's to the editor.
    fn asks(&mut self, id: &Value, method: &str, params: &Value) -> Vec<Said> {
        let mut said = self.whole();
        if method == "session/request_permission" {
            let Some(call) = params.get("toolCall").or_else(|| params.pointer("/subject/toolCall")) else {
                // Version 2 may ask about something else than a call.
                return said;
            };
            said.extend(self.call_update(call, true));
            let list = params.get("options").and_then(Value::as_array).into_iter().flatten();
            let option = |option: &Value| {
                let part = |key| text(option, key).unwrap_or_default();
                (part("optionId"), (part("kind"), part("name")))
            };
            let call = text(call, "toolCallId").unwrap_or_default();
            self.asked.insert(id.to_string(), Asked::Permission { call, options: list.map(option).collect() });
        } else if let Some((_, class)) = FOR_THE_AGENT.iter().find(|(known, _)| *known == method) {
            let call = format!("acp/{id}");
            self.asked.insert(id.to_string(), Asked::Service { call: call.clone() });
            said.push(Said::Called(service(call, method, class, params)));
        }
        said
    }

    fn editor_answers(&mut self, id: &str, result: Result<&Value, &Value>) -> Option<Said> {
        match self.asked.remove(id)? {
            Asked::Permission { call, options } => {
                let outcome = result.ok().and_then(|r| r.get("outcome"));
                let chosen = outcome.and_then(|o| text(o, "optionId")).and_then(|id| options.get(&id).cloned());
                let output = match (chosen, result) {
                    (Some((kind, _)), _) if kind.starts_with("allow") => return None,
                    (Some((_, name)), _) => format!("refused by the user: {name}"),
                    (None, Err(error)) => format!("not answered: {}", rpc::error_text(error)),
                    (None, Ok(_)) => "refused by the user: cancelled".into(),
                };
                self.calls.remove(&call);
                Some(Said::Returned(ToolAnswer { id: call, success: Some(false), output, ..ToolAnswer::default() }))
            }
            Asked::Service { call } => {
                let output = match result {
                    Ok(result) => text(result, "content").unwrap_or_else(|| plain(result)),
                    Err(error) => rpc::error_text(error),
                };
                let success = Some(result.is_ok());
                Some(Said::Returned(ToolAnswer { id: call, success, output, ..ToolAnswer::default() }))
            }
        }
    }

    /// An answer of the agent's: the end of a turn, or who it is.
    fn settled(&mut self, result: Option<&Value>) -> Vec<Said> {
        let mut said = self.whole();
        if let Some(agent) = result.and_then(|r| r.get("agentInfo")) {
            said.push(Said::Agent { name: text(agent, "name"), version: text(agent, "version"), model: None });
        }
        said.extend(
            result.and_then(|r| r.pointer("/models/currentModelId")).and_then(Value::as_str).map(|model| Said::Agent {
                name: None,
                version: None,
                model: Some(model.to_owned()),
            }),
        );
        said
    }
}

fn plan(update: &Value) -> Said {
    Said::Plan { steps: steps(update.get("entries"), "content"), source: "acp", explanation: None }
}

/// The words of a content block: its text, or the name of what it links to.
fn content(block: &Value) -> Option<String> {
    text(block, "text").or_else(|| text(block, "uri")).or_else(|| text(block.get("resource")?, "uri"))
}

/// A call as the agent shows it to a person: it has a kind and a title, and sometimes its arguments.
fn tool_call(id: String, fields: &Value, cwd: Option<&str>, waits: bool) -> ToolCall {
    let kind = text(fields, "kind").unwrap_or_else(|| "other".into());
    let class = match kind.as_str() {
        "read" => "read",
        "edit" | "delete" | "move" => "edit",
        "search" => "search",
        "execute" => "shell",
        "fetch" => "fetch",
        "switch_mode" => "plan",
        _ => "other",
    };
    let input = fields.get("rawInput").unwrap_or(&Value::Null);
    let words = |value: &Value| match value {
        Value::Array(words) => words.iter().map(plain).collect::<Vec<_>>().join(" "),
        other => plain(other),
    };
    let title = text(fields, "title");
    let command = input.get("command").map(words).or_else(|| Some(title.as_ref()?.trim_matches('`').to_owned()));
    let command = command.filter(|_| class == "shell");
    let places = fields.get("locations").and_then(Value::as_array).into_iter().flatten();
    let changed = fields.get("content").and_then(Value::as_array).into_iter().flatten();
    let mut names = names_in(input);
    names.extend(places.chain(changed).filter_map(|place| text(place, "path")));
    names.extend(command.clone());
    let meta = |key| fields.pointer(key).and_then(Value::as_str).map(str::to_owned);
    // What the adapter of Claude Code adds.
    let parent = meta("/_meta/claudeCode/parentToolUseId");
    let arguments =
        if input.is_null() { json!({"title": title, "locations": fields.get("locations")}) } else { input.clone() };
    ToolCall {
        id,
        tool: meta("/_meta/claudeCode/toolName").unwrap_or(kind),
        class,
        arguments: arguments.to_string(),
        command,
        names,
        working_directory: text(input, "cwd").or_else(|| cwd.map(str::to_owned)).map(Into::into),
        subagent: parent.clone(),
        parent,
        waits,
    }
}

/// What the editor is asked to do.
fn service(id: String, method: &str, class: &'static str, params: &Value) -> ToolCall {
    let words = [params.get("command").map(plain)].into_iter().flatten();
    let arguments = params.get("args").and_then(Value::as_array).into_iter().flatten().map(plain);
    let command = words.chain(arguments).collect::<Vec<_>>().join(" ");
    let command = Some(command).filter(|c| class == "shell" && !c.is_empty());
    ToolCall {
        id,
        tool: method.to_owned(),
        class,
        arguments: params.to_string(),
        names: text(params, "path").into_iter().chain(command.clone()).collect(),
        command,
        working_directory: text(params, "cwd").map(Into::into),
        waits: true,
        ..ToolCall::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hears lines of `{"client": …}` and `{"agent": …}`.
    fn hear(dialogue: &str) -> Vec<Said> {
        let mut adapter = Acp::default();
        let lines = dialogue.lines().map(|l| serde_json::from_str::<Value>(l).unwrap());
        let said = lines.flat_map(|l| match (l.get("client"), l.get("agent")) {
            (Some(line), _) => adapter.question_line(line),
            (_, Some(line)) => adapter.stream_line(line),
            _ => panic!("{l}"),
        });
        let mut said: Vec<Said> = said.collect();
        said.extend(adapter.stream_end());
        said
    }

    /// A call in short: id, class, whether it waits, command.
    fn short(said: &Said) -> String {
        match said {
            Said::Called(c) => format!("{} {} {} {:?}", c.id, c.class, c.waits, c.command.as_deref().unwrap_or("")),
            Said::Returned(a) => format!("{} {:?} {}", a.id, a.success, a.output),
            Said::Thought { text, form } => format!("{form}: {text}"),
            Said::Prompt(text) => format!("prompt: {text}"),
            Said::Plan { steps, .. } => format!("plan of {}", steps.len()),
            Said::Agent { name, model, .. } => format!("agent {name:?} {model:?}"),
            Said::Lost(why) => format!("lost: {why}"),
        }
    }

    #[test]
    fn a_captured_dialogue_is_told_in_full() {
        let said = hear(include_str!("../../tests/samples/acp/gemini.captured-0.61.0.jsonl"));
        let told: Vec<_> = said.iter().map(short).collect();
        assert_eq!(
            told,
            [
                "agent Some(\"gemini-cli\") None",
                "agent None Some(\"auto\")",
                "prompt: fix the typo",
                "reasoning: **Look**\nI should read it.",
                "message: I read first.",
                "run_shell_command__call_00000002 shell false \"cat README.md\"",
                "run_shell_command__call_00000002 Some(true) ",
                "replace__call_00000003 edit true \"\"",
                "replace__call_00000003 Some(true) ",
                "read_file__call_00000004 read false \"\"",
                "read_file__call_00000004 Some(true) ",
                "message: Fixed.",
            ]
        );
        assert!(matches!(&said[7], Said::Called(c) if c.names.contains(&"/home/dev/repo/README.md".to_owned())));
        assert!(matches!(&said[5], Said::Called(c) if c.working_directory == Some("/home/dev/repo".into())));
    }

    #[test]
    fn both_versions_of_the_specification_are_understood() {
        for sample in [
            include_str!("../../tests/samples/acp/v1.spec.jsonl"),
            include_str!("../../tests/samples/acp/v2.spec.jsonl"),
        ] {
            let told: Vec<_> = hear(sample).iter().map(short).collect();
            assert_eq!(told[..2], ["plan of 3", "call_001 read false \"\""], "{sample}");
        }
    }

    #[test]
    fn the_end_of_a_call_says_what_was_refused_and_keeps_what_was_shown() {
        let update = |fields: Value| {
            let mut update = json!({"sessionUpdate": "tool_call_update", "toolCallId": "c1"});
            update.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            json!({"jsonrpc": "2.0", "method": "session/update", "params": {"sessionId": "s", "update": update}})
        };
        let text = |text: &str| json!({"type": "content", "content": {"type": "text", "text": text}});
        let refusals = Refusals::default();
        for ends_with in [json!({"status": "failed"}), json!({"status": "failed", "content": [text("denied")]})] {
            let mut adapter = Acp::default();
            refusals.note("c1", "watchkeeper: refused it");
            let mut hear = |line: &Value| {
                let said = adapter.stream_line(line);
                adapter.explain(line, &said, &refusals)
            };
            let begins = json!({"status": "in_progress", "rawInput": {"command": "x"}, "content": [text("denied")]});
            assert_eq!(hear(&update(begins)), None);
            let told = [text("denied"), text("watchkeeper: refused it")];
            assert_eq!(hear(&update(ends_with)), Some(update(json!({"status": "failed", "content": told}))));
        }
    }

    #[test]
    fn a_refused_permission_is_the_calls_answer() {
        let ask = |id: u8| {
            json!({"agent": {"jsonrpc": "2.0", "id": id, "method": "session/request_permission", "params": {
                "toolCall": {"toolCallId": format!("c{id}"), "kind": "execute", "title": "`rm x`", "status": "pending"},
                "options": [{"optionId": "n", "kind": "reject_once", "name": "No"}]}}})
        };
        let answer =
            |id: u8, outcome: Value| json!({"client": {"jsonrpc": "2.0", "id": id, "result": {"outcome": outcome}}});
        let lines = [
            ask(1),
            answer(1, json!({"outcome": "selected", "optionId": "n"})),
            ask(2),
            answer(2, json!({"outcome": "cancelled"})),
        ];
        let told: Vec<_> = hear(&lines.map(|l| l.to_string()).join("\n")).iter().map(short).collect();
        assert_eq!(
            told,
            [
                "c1 shell true \"rm x\"",
                "c1 Some(false) refused by the user: No",
                "c2 shell true \"rm x\"",
                "c2 Some(false) refused by the user: cancelled",
            ]
        );
    }

    #[test]
    fn what_the_editor_does_for_the_agent_is_a_call() {
        let lines = [
            json!({"agent": {"jsonrpc": "2.0", "id": 7, "method": "terminal/create",
                "params": {"command": "make", "args": ["test"], "cwd": "/w"}}}),
            json!({"client": {"jsonrpc": "2.0", "id": 7, "result": {"terminalId": "t"}}}),
            json!({"agent": {"jsonrpc": "2.0", "id": 8, "method": "fs/read_text_file", "params": {"path": "/w/a"}}}),
            json!({"client": {"jsonrpc": "2.0", "id": 8, "error": {"code": 1, "message": "no such file"}}}),
        ];
        let told: Vec<_> = hear(&lines.map(|l| l.to_string()).join("\n")).iter().map(short).collect();
        assert_eq!(
            told,
            [
                "acp/7 shell true \"make test\"",
                "acp/7 Some(true) {\"terminalId\":\"t\"}",
                "acp/8 read true \"\"",
                "acp/8 Some(false) no such file",
            ]
        );
    }
}
