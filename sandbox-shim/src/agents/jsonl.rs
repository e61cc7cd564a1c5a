//! Plain JSON lines on the session's socket, for agents that have no adapter of their own.
//!
//! The socket's path is in the environment variable `WATCHKEEPER_SOCKET`. One JSON object per line; each is answered with one
//! line, `{"ok":true}` once it is recorded, or `{"ok":false,"error":"…"}`. Wait for the answer before you act: what is recorded
//! after the act explains nothing. `wk-shim emit '{…}'` (or `wk emit`) does both for a shell script. Who closes the socket without reading
//! the answer is heard as long as its process is still there.
//!
//! ```text
//! {"type":"agent","name":"my-agent","version":"1.2","model":"m"}
//! {"type":"prompt","text":"fix the typo in README.md"}
//! {"type":"plan","steps":["read the file",{"text":"fix it","status":"in_progress"}],"explanation":"two steps"}
//! {"type":"thought","text":"the file is short","form":"reasoning"}
//! {"type":"tool_called","id":"c1","tool":"shell","command":"cat README.md","working_directory":"/repo"}
//! {"type":"tool_called","id":"c2","tool":"read_file","class":"read","arguments":{"path":"/repo/README.md"}}
//! {"type":"tool_returned","id":"c1","success":true,"output":"helo"}
//! ```
//! In a session with hooks (`--agent claude-code`, `--agent codex`) the socket takes only the hooks.
//!
//! `class` is one of shell, read, edit, write, search, fetch, plan, agent, other; with `command` it is shell unless said otherwise.

use super::invocation::{Invocation, PrepareError};
use super::{Adapter, Said, ToolAnswer, ToolCall, names_in, plain, steps, text};
use serde_json::Value;

const CLASSES: [&str; 9] = ["shell", "read", "edit", "write", "search", "fetch", "plan", "agent", "other"];

/// The adapter for agents that speak for themselves.
#[derive(Debug, Default)]
pub struct Jsonl;

impl Adapter for Jsonl {
    fn name(&self) -> &'static str {
        "jsonl"
    }

    fn prepare(&self, _: &mut Invocation) -> Result<(), PrepareError> {
        Ok(())
    }

    fn has_hooks(&self) -> bool {
        false
    }

    fn hook(&mut self, event: &Value) -> Vec<Said> {
        vec![said(event)]
    }

    fn stream_line(&mut self, _: &Value) -> Vec<Said> {
        Vec::new()
    }
}

/// Translates one line.
#[must_use]
pub fn said(line: &Value) -> Said {
    translate(line).unwrap_or_else(Said::Lost)
}

/// Translates one line, or says why it cannot be understood.
fn translate(line: &Value) -> Result<Said, String> {
    let need = |key: &str| text(line, key).ok_or_else(|| format!("a line without `{key}`"));
    match line.get("type").and_then(Value::as_str) {
        Some("agent") => {
            Ok(Said::Agent { name: text(line, "name"), version: text(line, "version"), model: text(line, "model") })
        }
        Some("prompt") => Ok(Said::Prompt(need("text")?)),
        Some("plan") => Ok(Said::Plan {
            steps: steps(line.get("steps"), "text"),
            source: "jsonl",
            explanation: text(line, "explanation"),
        }),
        Some("thought") => {
            let form = match line.get("form").and_then(Value::as_str) {
                Some("reasoning") => "reasoning",
                Some("summary") => "summary",
                Some("result") => "result",
                Some(_) | None => "message",
            };
            Ok(Said::Thought { text: need("text")?, form })
        }
        Some("tool_called") => {
            let command = text(line, "command");
            let arguments = match (line.get("arguments"), &command) {
                (Some(arguments), _) => arguments.clone(),
                (None, Some(command)) => serde_json::json!({ "command": command }),
                (None, None) => Value::Null,
            };
            let said = line.get("class").and_then(Value::as_str);
            let class = CLASSES.into_iter().find(|c| said == Some(c));
            let mut names = names_in(&arguments);
            names.extend(command.clone());
            Ok(Said::Called(ToolCall {
                id: need("id")?,
                tool: need("tool")?,
                class: class.unwrap_or(if command.is_some() { "shell" } else { "other" }),
                arguments: arguments.to_string(),
                command,
                names,
                working_directory: text(line, "working_directory").map(Into::into),
                subagent: text(line, "subagent"),
                parent: text(line, "parent"),
                waits: true,
            }))
        }
        Some("tool_returned") => Ok(Said::Returned(ToolAnswer {
            id: need("id")?,
            tool: text(line, "tool").unwrap_or_default(),
            success: line.get("success").and_then(Value::as_bool),
            output: line.get("output").map(plain).unwrap_or_default(),
            duration_us: line.get("duration_us").and_then(Value::as_i64),
        })),
        Some(other) => Err(format!("a line of unknown type `{other}`")),
        None => Err("a line without `type`".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wk_schemas::body::StepStatus;

    #[test]
    fn every_example_of_the_documentation_is_understood() {
        let examples =
            include_str!("jsonl.rs").lines().filter_map(|l| l.strip_prefix("//! {")).map(|l| format!("{{{l}"));
        let said: Vec<Said> = examples.map(|e| said(&serde_json::from_str(&e).unwrap())).collect();
        assert_eq!(said.len(), 7);
        assert!(!said.iter().any(|s| matches!(s, Said::Lost(_))), "{said:?}");
        let Said::Plan { steps, .. } = &said[2] else { panic!() };
        assert_eq!((steps[0].text.as_str(), steps[0].status), ("read the file", StepStatus::Unspecified));
        assert_eq!(steps[1].status, StepStatus::InProgress);
        assert!(matches!(&said[4], Said::Called(c) if c.class == "shell" && c.names.contains(&"cat README.md".into())));
        assert!(matches!(&said[5], Said::Called(c) if c.class == "read" && c.names == ["/repo/README.md"]));
    }

    #[test]
    fn a_line_that_lacks_something_is_lost_by_name() {
        for (line, why) in [
            (r#"{"type":"prompt"}"#, "a line without `text`"),
            (r#"{"type":"tool_called","tool":"x"}"#, "a line without `id`"),
            (r#"{"type":"dance"}"#, "a line of unknown type `dance`"),
            ("3", "a line without `type`"),
        ] {
            assert_eq!(said(&serde_json::from_str(line).unwrap()), Said::Lost(why.into()));
        }
    }
}
