//! The Model Context Protocol, seen from between a client and a server: `wk-shim mcp -- <server>`.
//!
//! The client's requests pass through here before the server reads them, so a call that is recorded is one that waited. Understood are
//! the revisions with a handshake (to 2025-11-25) and the one without (2026-07-28). A tool that answers `input_required` is asked
//! again by a request of its own, which is a call of its own.
//!
//! What the server asks of the client (a model's answer, a person's) is a call as well, made by the server.
//!
//! The same over HTTP is [`super::mcp_http`], which has one of these for each conversation.

use super::invocation::{Invocation, PrepareError};
use super::refusals::Refusals;
use super::rpc::{self, Message};
use super::{Adapter, Said, ToolAnswer, ToolCall, names_in, plain, text};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";

/// The adapter; remembers which requests are under way.
#[derive(Debug)]
pub(super) struct Mcp {
    /// What the ids of its calls begin with.
    name: String,
    /// Ids of calls without an answer.
    open: BTreeSet<String>,
    /// Id of the `initialize` or `server/discover` without an answer.
    greeting: Option<String>,
}

impl Default for Mcp {
    fn default() -> Self {
        Self::of("mcp".to_owned())
    }
}

impl Adapter for Mcp {
    fn name(&self) -> &'static str {
        "mcp"
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
        rpc::each(line, |message| self.heard(message, "server"))
    }

    fn question_line(&mut self, line: &Value) -> Vec<Said> {
        rpc::each(line, |message| self.heard(message, "client"))
    }

    fn explain(&mut self, line: &Value, said: &[Said], refusals: &Refusals) -> Option<Value> {
        let mut instead = None;
        for said in said {
            if let Said::Returned(answer) = said
                && let Some(id) = answer.id.strip_prefix(&format!("{}/client/", self.name))
                && let Ok(id) = serde_json::from_str::<Value>(id)
                && let Some(told) = refusals.take(&answer.id)
            {
                let line = instead.get_or_insert_with(|| line.clone());
                let messages = match line {
                    Value::Array(batch) => batch.as_mut_slice(),
                    single => std::slice::from_mut(single),
                };
                let answers = |message: &&mut Value| message.get("method").is_none() && message.get("id") == Some(&id);
                if let Some(message) = messages.iter_mut().find(answers) {
                    add(message, &told);
                }
            }
        }
        instead
    }
}

/// Adds a text to a result, or to the message of an error.
fn add(answer: &mut Value, told: &str) {
    if let Some(result) = answer.get_mut("result").and_then(Value::as_object_mut) {
        let content = result.entry("content").or_insert_with(|| json!([]));
        if let Some(content) = content.as_array_mut() {
            content.push(json!({"type": "text", "text": told}));
        }
    } else if let Some(Value::String(message)) = answer.pointer_mut("/error/message") {
        message.push('\n');
        message.push_str(told);
    }
}

impl Mcp {
    /// The adapter of a conversation whose calls have ids of this name's own.
    pub(super) const fn of(name: String) -> Self {
        Self { name, open: BTreeSet::new(), greeting: None }
    }

    /// Calls without an answer.
    pub(super) fn under_way(&self) -> Vec<String> {
        self.open.iter().cloned().collect()
    }

    /// Those of these calls that have no answer will not get one.
    pub(super) fn give_up(&mut self, calls: &[String], why: &str) -> Vec<Said> {
        let open = calls.iter().filter(|id| self.open.remove(*id));
        let failed = |id: &String| {
            let answer =
                ToolAnswer { id: id.clone(), success: Some(false), output: why.to_owned(), ..ToolAnswer::default() };
            Said::Returned(answer)
        };
        open.map(failed).collect()
    }

    /// A message of the one or the other. Ids belong to who asks.
    fn heard(&mut self, message: Message<'_>, from: &str) -> Vec<Said> {
        match message {
            Message::Request { id, method: "initialize" | "server/discover", .. } => {
                self.greeting = Some(id.to_string());
                Vec::new()
            }
            Message::Request { id, method, params } => self.asked(format!("{}/{from}/{id}", self.name), method, params),
            Message::Response { id, result } => {
                let asker = if from == "server" { "client" } else { "server" };
                let call = format!("{}/{asker}/{id}", self.name);
                self.answered(&id.to_string(), call, result).into_iter().collect()
            }
            Message::Notification { .. } => Vec::new(),
        }
    }

    fn asked(&mut self, id: String, method: &str, params: &Value) -> Vec<Said> {
        let none = Value::Null;
        let (tool, class, arguments) = match method {
            "tools/call" => match text(params, "name") {
                Some(name) => (name, "other", params.get("arguments").unwrap_or(&none)),
                None => return vec![Said::Lost("a tools/call without a name".into())],
            },
            "resources/read" => (method.to_owned(), "read", params),
            "prompts/get" | "elicitation/create" => (method.to_owned(), "other", params),
            "sampling/createMessage" => (method.to_owned(), "agent", params),
            _ => return Vec::new(),
        };
        self.open.insert(id.clone());
        vec![Said::Called(ToolCall {
            id,
            tool,
            class,
            arguments: arguments.to_string(),
            names: names_in(arguments),
            waits: true,
            ..ToolCall::default()
        })]
    }

    fn answered(&mut self, plain_id: &str, id: String, result: Result<&Value, &Value>) -> Option<Said> {
        if self.greeting.as_deref() == Some(plain_id) {
            self.greeting = None;
            let result = result.ok()?;
            // Without a handshake who it is stands beside each result.
            let server = result.get("serverInfo").or_else(|| result.get("_meta")?.get(SERVER_INFO))?;
            let part = |key| text(server, key).filter(|part| !part.is_empty());
            return Some(Said::Agent { name: part("name"), version: part("version"), model: None });
        }
        if !self.open.remove(&id) {
            return None;
        }
        let (success, output) = match result {
            Ok(result) if result.get("resultType").is_some_and(|t| t == "input_required") => (None, result.to_string()),
            Ok(result) => {
                let failed = result.get("isError").and_then(Value::as_bool).unwrap_or(false);
                (Some(!failed), content(result))
            }
            Err(error) => (Some(false), rpc::error_text(error)),
        };
        Some(Said::Returned(ToolAnswer { id, success, output, ..ToolAnswer::default() }))
    }
}

/// The texts of a result, or the whole of it when it has none.
fn content(result: &Value) -> String {
    let parts = result.get("content").and_then(Value::as_array).into_iter().flatten();
    let texts: Vec<String> = parts.filter_map(|part| text(part, "text")).collect();
    if texts.is_empty() { plain(result) } else { texts.join("\n") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const DIALOGUE: &str = include_str!("../../tests/samples/mcp/2026-07-28.tools.jsonl");

    /// Hears lines of `{"client": …}` and `{"server": …}`.
    fn hear(adapter: &mut Mcp, dialogue: &str) -> Vec<Said> {
        let lines = dialogue.lines().map(|l| serde_json::from_str::<Value>(l).unwrap());
        lines
            .flat_map(|l| match (l.get("client"), l.get("server")) {
                (Some(line), _) => adapter.question_line(line),
                (_, Some(line)) => adapter.stream_line(line),
                _ => panic!("{l}"),
            })
            .collect()
    }

    #[test]
    fn calls_of_the_specification_meet_their_answers() {
        let said = hear(&mut Mcp::default(), DIALOGUE);
        let calls: Vec<_> = said
            .iter()
            .map(|s| match s {
                Said::Called(c) => (c.id.as_str(), c.tool.as_str(), None),
                Said::Returned(a) => (a.id.as_str(), "", Some(a.success)),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(
            calls,
            [
                ("mcp/client/2", "get_weather", None),
                ("mcp/client/2", "", Some(None)),
                ("mcp/client/3", "get_weather", None),
                ("mcp/client/3", "", Some(Some(true))),
                ("mcp/client/4", "invalid_tool_name", None),
                ("mcp/client/4", "", Some(Some(false))),
                ("mcp/client/5", "book_flight", None),
                ("mcp/client/5", "", Some(Some(false))),
            ]
        );
        assert!(matches!(&said[3], Said::Returned(a) if a.output.starts_with("Current weather in New York")));
        assert!(matches!(&said[0], Said::Called(c) if c.waits && c.names == ["New York"]));
    }

    #[test]
    fn a_server_says_who_it_is_with_and_without_a_handshake() {
        for (method, result) in [
            ("initialize", json!({"serverInfo": {"name": "w", "version": "3"}})),
            ("server/discover", json!({"_meta": {SERVER_INFO: {"name": "w", "version": ""}}})),
        ] {
            let mut adapter = Mcp::default();
            adapter.question_line(&json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": {}}));
            let said = adapter.stream_line(&json!({"jsonrpc": "2.0", "id": 1, "result": result}));
            assert!(matches!(&said[..], [Said::Agent { name: Some(name), .. }] if name == "w"), "{method}: {said:?}");
        }
    }

    #[test]
    fn a_server_may_ask_too_and_its_ids_are_its_own() {
        let dialogue = [
            json!({"client": {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}}}),
            json!({"server": {"jsonrpc": "2.0", "id": 1, "result": {"serverInfo": {"name": "w", "version": "3"}}}}),
            json!({"client": [{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "t"}}]}),
            json!({"server": {"jsonrpc": "2.0", "id": 1, "method": "sampling/createMessage", "params": {}}}),
            json!({"client": {"jsonrpc": "2.0", "id": 1, "result": {"content": {"type": "text", "text": "m"}}}}),
            json!({"server": {"jsonrpc": "2.0", "id": 1, "result": {"content": []}}}),
            json!({"server": {"jsonrpc": "2.0", "id": 9, "result": {}}}),
            json!({"client": {"jsonrpc": "2.0"}}),
        ];
        let said = hear(&mut Mcp::default(), &dialogue.map(|l| l.to_string()).join("\n"));
        let ids: Vec<_> = said
            .iter()
            .map(|s| match s {
                Said::Agent { name, .. } => name.clone().unwrap(),
                Said::Called(c) => c.id.clone(),
                Said::Returned(a) => a.id.clone(),
                Said::Lost(why) => why.clone(),
                other => panic!("{other:?}"),
            })
            .collect();
        let expected =
            ["w", "mcp/client/1", "mcp/server/1", "mcp/server/1", "mcp/client/1", "a message without method or id"];
        assert_eq!(ids, expected);
    }
}
