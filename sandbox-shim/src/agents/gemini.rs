//! Gemini CLI: hooks given by a settings file of ours, and `--output-format stream-json`.
//!
//! Facts, tried with 0.61.0:
//! - Settings come from the system, the user's `~/.gemini`, and the workspace. System files count only when they and every folder
//!   above them belong to root, so ours stands in for the user's: see `gemini_home.rs`. Lists of hooks from
//!   all files are joined, so the user's and the project's own hooks run beside ours.
//! - All hooks are switched off in a folder that the user does not trust; then nothing is heard, and the session says so at its end.
//! - A hook runs as `bash -c '<command>'`, for 60 s unless it says otherwise in milliseconds. Exit code 2 with a reason on stderr is a
//!   deny; every other failure lets the tool run.
//! - Hooks carry **no id of the call**: a call and its return are paired by tool and arguments, in the order in which they came.
//! - A call of a tool that does not exist reaches no hook; it is seen in the stream only.
//! - Sub-agents (`invoke_agent`) fire the same hooks without naming themselves: while exactly one is at work, a call is its.
//! - `write_todos` is offered to 2.5 models only; later ones have `update_topic` and plan mode, whose plan lies in a file.
//! - Gemini starts itself a second time with more memory, as `node … gemini …`: that one is the agent (see [`Adapter::programs`]).
//! - `AfterModel` fires for every piece of an answer and carries the whole conversation, so it is not asked for. Thoughts are in no other
//!   hook and not in the stream.

use super::invocation::{Invocation, PrepareError};
use super::{Adapter, Said, ToolAnswer, ToolCall, gemini_home, names_in, plain, steps, text};
use serde_json::Value;
use std::collections::BTreeMap;

/// The hooks that we ask for. SessionStart carries no record of its own, but shows that hooks work.
pub(super) const HOOKS: [&str; 6] =
    ["SessionStart", "SessionEnd", "BeforeAgent", "AfterAgent", "BeforeTool", "AfterTool"];

/// The tool that starts a sub-agent.
const SUBAGENT_TOOL: &str = "invoke_agent";

/// The adapter; remembers which calls are under way, as hooks do not say.
#[derive(Debug, Default)]
pub struct Gemini {
    /// Calls that hooks announced and that have not returned, oldest first.
    open: Vec<Open>,
    /// How many calls were announced.
    calls: u64,
    hears_hooks: bool,
    /// Calls that hooks announced and the stream has not told yet, by tool and arguments.
    untold: BTreeMap<String, u32>,
    /// Calls that the stream has told and that have not returned there, by its id.
    told: BTreeMap<String, ToolCall>,
    /// The message that the stream is telling, piece by piece.
    message: String,
    hears_messages: bool,
}

#[derive(Debug)]
struct Open {
    id: String,
    tool: String,
    /// See [`key`].
    key: String,
}

impl Adapter for Gemini {
    fn name(&self) -> &'static str {
        "gemini"
    }

    fn programs(&self) -> &'static [&'static str] {
        &["gemini", "gemini.js"]
    }

    fn prepare(&self, invocation: &mut Invocation) -> Result<(), PrepareError> {
        invocation.program(&["gemini", "gemini.js", "gemini-cli"], "gemini")?;
        let command = invocation.hook_command(self.name())?;
        gemini_home::prepare(invocation, &command)?;
        invocation.reads_stdout = ["stream-json", "--output-format=stream-json", "-o=stream-json", "-ostream-json"]
            .iter()
            .any(|word| invocation.has(word));
        Ok(())
    }

    fn hook(&mut self, event: &Value) -> Vec<Said> {
        self.hears_hooks = true;
        match event.get("hook_event_name").and_then(Value::as_str) {
            Some("BeforeAgent") => text(event, "prompt").map(Said::Prompt).into_iter().collect(),
            Some("BeforeTool") => self.called(event),
            Some("AfterTool") => vec![self.returned(event)],
            // The whole answer once more, when the stream has told it in its parts.
            Some("AfterAgent") if self.hears_messages => Vec::new(),
            Some("AfterAgent") => message(text(event, "prompt_response")).into_iter().collect(),
            Some(_) => Vec::new(),
            None => vec![Said::Lost("a hook input without hook_event_name".into())],
        }
    }

    fn stream_line(&mut self, line: &Value) -> Vec<Said> {
        let Some(kind) = line.get("type").and_then(Value::as_str) else {
            return vec![Said::Lost("a line of the stream without type".into())];
        };
        if kind == "message" && line.get("role").is_some_and(|r| r == "assistant") {
            self.hears_messages = true;
            self.message += line.get("content").and_then(Value::as_str).unwrap_or_default();
            return Vec::new();
        }
        let mut said: Vec<Said> = message(Some(std::mem::take(&mut self.message))).into_iter().collect();
        match kind {
            "init" => said.push(Said::Agent { name: Some("gemini".into()), version: None, model: text(line, "model") }),
            "message" if !self.hears_hooks => said.extend(text(line, "content").map(Said::Prompt)),
            "tool_use" => said.extend(self.told_call(line)),
            "tool_result" => said.extend(self.told_return(line)),
            _ => {}
        }
        said
    }

    fn stream_end(&mut self) -> Vec<Said> {
        message(Some(std::mem::take(&mut self.message))).into_iter().collect()
    }
}

impl Gemini {
    fn called(&mut self, event: &Value) -> Vec<Said> {
        let Some(tool) = text(event, "tool_name") else {
            return vec![Said::Lost("a BeforeTool without tool_name".into())];
        };
        let input = event.get("tool_input").unwrap_or(&Value::Null);
        self.calls += 1;
        let mut call = tool_call(format!("gemini/{}", self.calls), tool, input);
        call.working_directory = text(event, "cwd").map(Into::into);
        let mut subagents = self.open.iter().filter(|o| o.tool == SUBAGENT_TOOL);
        if let (Some(only), None) = (subagents.next(), subagents.next()) {
            call.subagent = Some(only.id.clone());
            call.parent = Some(only.id.clone());
        }
        let key = key(&call.tool, input);
        if call.subagent.is_none() {
            *self.untold.entry(key.clone()).or_default() += 1;
        }
        self.open.push(Open { id: call.id.clone(), tool: call.tool.clone(), key });
        let declared = declared(&call.tool, input);
        // The call first: what is declared through it follows from it.
        [Said::Called(call)].into_iter().chain(declared).collect()
    }

    fn returned(&mut self, event: &Value) -> Said {
        let Some(tool) = text(event, "tool_name") else {
            return Said::Lost("an AfterTool without tool_name".into());
        };
        let key = key(&tool, event.get("tool_input").unwrap_or(&Value::Null));
        // A hook of the user's may have changed the arguments between the two.
        let same = self.open.iter().position(|o| o.key == key);
        let Some(at) = same.or_else(|| self.open.iter().position(|o| o.tool == tool)) else {
            return Said::Lost(format!("a return of {tool}, which no hook announced"));
        };
        let id = self.open.remove(at).id;
        let response = event.get("tool_response").unwrap_or(&Value::Null);
        let output = response.get("returnDisplay").filter(|d| d.as_str().is_some_and(|text| !text.is_empty()));
        let output = output.or(response.get("llmContent")).unwrap_or(response);
        let failed = response.get("error").is_some_and(|e| !e.is_null());
        Said::Returned(ToolAnswer { id, tool, success: Some(!failed), output: plain(output), duration_us: None })
    }

    /// A call in the stream. Its hook, which has said it better, comes after it.
    fn told_call(&mut self, line: &Value) -> Option<Said> {
        let (Some(id), Some(tool)) = (text(line, "tool_id"), text(line, "tool_name")) else {
            return Some(Said::Lost("a tool_use without tool_id or tool_name".into()));
        };
        let call = tool_call(format!("stream/{id}"), tool, line.get("parameters").unwrap_or(&Value::Null));
        self.told.insert(id, call);
        None
    }

    /// A return in the stream: call and answer in one, when no hook has announced the call.
    fn told_return(&mut self, line: &Value) -> Vec<Said> {
        let Some(call) = text(line, "tool_id").and_then(|id| self.told.remove(&id)) else {
            return vec![Said::Lost("a tool_result for a call that was not told".into())];
        };
        let arguments = serde_json::from_str(&call.arguments).unwrap_or(Value::Null);
        if let Some(announced) = self.untold.get_mut(&key(&call.tool, &arguments)).filter(|count| **count > 0) {
            *announced -= 1;
            return Vec::new();
        }
        let answer = ToolAnswer {
            id: call.id.clone(),
            tool: call.tool.clone(),
            success: line.get("status").and_then(Value::as_str).map(|status| status == "success"),
            output: line.get("output").map(plain).unwrap_or_default(),
            duration_us: None,
        };
        vec![Said::Called(call), Said::Returned(answer)]
    }
}

/// What tells two calls apart when nothing names them.
fn key(tool: &str, input: &Value) -> String {
    format!("{tool} {input}")
}

fn message(text: Option<String>) -> Option<Said> {
    text.filter(|t| !t.trim().is_empty()).map(|text| Said::Thought { text, form: "message" })
}

/// What is declared through a call, beside the call.
fn declared(tool: &str, input: &Value) -> Option<Said> {
    match tool {
        "write_todos" => Some(Said::Plan {
            steps: steps(input.get("todos"), "description"),
            source: "write_todos",
            explanation: None,
        }),
        "update_topic" => {
            let text = text(input, "strategic_intent").filter(|t| !t.is_empty())?;
            Some(Said::Thought { text, form: "summary" })
        }
        _ => None,
    }
}

fn tool_call(id: String, tool: String, input: &Value) -> ToolCall {
    let class = match tool.as_str() {
        "run_shell_command" => "shell",
        "read_file" | "read_many_files" | "read_background_output" => "read",
        "replace" => "edit",
        "write_file" => "write",
        "list_directory" | "glob" | "grep_search" | "search_file_content" | "google_web_search" => "search",
        "web_fetch" => "fetch",
        "write_todos" | "update_topic" | "enter_plan_mode" | "exit_plan_mode" => "plan",
        SUBAGENT_TOOL => "agent",
        _ => "other",
    };
    ToolCall {
        command: (class == "shell").then(|| text(input, "command")).flatten(),
        names: names_in(input),
        arguments: input.to_string(),
        id,
        tool,
        class,
        ..ToolCall::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use wk_schemas::body::StepStatus;

    fn hooks(adapter: &mut Gemini, sample: &str) -> Vec<Said> {
        sample.lines().flat_map(|l| adapter.hook(&serde_json::from_str(l).unwrap())).collect()
    }

    fn stream(adapter: &mut Gemini, sample: &str) -> Vec<Said> {
        sample.lines().flat_map(|l| adapter.stream_line(&serde_json::from_str(l).unwrap())).collect()
    }

    const HOOKS: &str = include_str!("../../tests/samples/gemini-cli/hook-in.captured-0.61.0.jsonl");
    const STREAM: &str = include_str!("../../tests/samples/gemini-cli/stream-json.captured-0.61.0.jsonl");

    #[test]
    fn every_captured_hook_input_is_understood_and_calls_meet_their_returns() {
        let said = hooks(&mut Gemini::default(), HOOKS);
        assert!(!said.iter().any(|s| matches!(s, Said::Lost(_))), "{said:?}");
        assert_eq!(said[0], Said::Prompt("fix the typo".into()));
        let Said::Plan { steps, source: "write_todos", .. } = &said[2] else { panic!("{said:?}") };
        assert_eq!(steps.iter().map(|s| s.status).collect::<Vec<_>>(), [StepStatus::InProgress, StepStatus::Pending]);
        let calls: Vec<_> = said
            .iter()
            .filter_map(|s| match s {
                Said::Called(c) => Some((c.id.as_str(), c.class, c.subagent.as_deref())),
                _ => None,
            })
            .collect();
        assert_eq!(
            calls,
            [("gemini/1", "plan", None), ("gemini/2", "agent", None), ("gemini/3", "shell", Some("gemini/2"))]
        );
        let returns: Vec<_> = said
            .iter()
            .filter_map(|s| match s {
                Said::Returned(a) => Some((a.id.as_str(), a.success)),
                _ => None,
            })
            .collect();
        assert_eq!(returns, [("gemini/1", Some(true)), ("gemini/3", Some(true)), ("gemini/2", Some(true))]);
        assert_eq!(said.last(), Some(&Said::Thought { text: "I read first.\nDone.".into(), form: "message" }));
    }

    #[test]
    fn the_stream_alone_tells_prompt_calls_and_messages() {
        let said = stream(&mut Gemini::default(), STREAM);
        assert!(!said.iter().any(|s| matches!(s, Said::Lost(_))), "{said:?}");
        assert!(matches!(&said[0], Said::Agent { model: Some(m), .. } if m == "auto"));
        assert_eq!(said[1], Said::Prompt("fix the typo".into()));
        assert_eq!(said[2], Said::Thought { text: "I read first.".into(), form: "message" });
        assert!(matches!(&said[4], Said::Returned(a) if a.success == Some(false) && a.tool == "write_todos"));
        assert!(matches!(&said[5], Said::Called(c) if c.command.as_deref() == Some("cat README.md")));
    }

    #[test]
    fn with_hooks_the_stream_adds_only_what_no_hook_announced() {
        let mut adapter = Gemini::default();
        let event =
            |tool: &str, input: Value| json!({"hook_event_name": "BeforeTool", "tool_name": tool, "tool_input": input});
        for line in STREAM.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()) {
            // The real program writes the line, then runs the hook; the tool that does not exist has none.
            let said = adapter.stream_line(&line);
            match line["type"].as_str().unwrap() {
                "tool_use" if line["tool_name"] != "write_todos" => {
                    adapter.hook(&event(line["tool_name"].as_str().unwrap(), line["parameters"].clone()));
                }
                "tool_result" if line["status"] == "error" => assert_eq!(said.len(), 2, "{said:?}"),
                "tool_result" => assert_eq!(said, [], "a call that a hook has told is not told again"),
                _ => {}
            }
        }
    }

    #[test]
    fn equal_calls_at_once_are_two_calls() {
        let mut adapter = Gemini::default();
        let event =
            |name: &str| json!({"hook_event_name": name, "tool_name": "read_file", "tool_input": {"file_path": "a"}});
        let ids = |said: Vec<Said>| match &said[..] {
            [Said::Called(c)] => c.id.clone(),
            [Said::Returned(a)] => a.id.clone(),
            other => panic!("{other:?}"),
        };
        let said = ["BeforeTool", "BeforeTool", "AfterTool", "AfterTool"].map(|n| ids(adapter.hook(&event(n))));
        assert_eq!(said, ["gemini/1", "gemini/2", "gemini/1", "gemini/2"]);
        assert!(
            matches!(&adapter.hook(&event("AfterTool"))[..], [Said::Lost(why)] if why.contains("no hook announced"))
        );
    }
}
