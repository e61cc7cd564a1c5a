//! Claude Code: hooks given by `--settings`, and `--output-format stream-json`.
//!
//! Facts, tried with 2.1.197:
//! - Hooks in the file of `--settings` run beside those of the user's and the project's own settings; nothing of the
//!   installation or the user's configuration changes. Only one `--settings` counts, so a user's own is merged into ours.
//! - `disableAllHooks: true` in the user's settings silences our hooks too, unless our file says `false`; then the user's
//!   own hooks run as well.
//! - The hook runs as `/bin/sh -c '<command>'`; the Bash tool as `/bin/bash -c 'source <snapshot> … && eval '<command>' …'`.
//! - The plan: `TaskCreate` and `TaskUpdate` come through PreToolUse and PostToolUse, the task's id only in the latter's
//!   `tool_response.task.id`. They and `TodoWrite` are absent in newer models unless `CLAUDE_CODE_ENABLE_TODO_TOOLS=1`; in
//!   `-p` mode `TodoWrite` stays away even then. `ExitPlanMode` carries `plan`, put in by Claude Code, in interactive plan
//!   mode; in `-p` mode the tool does not exist.
//! - A call of a tool that does not exist reaches no hook; it is seen in the stream only.
//! - Exit code 2 of a `Stop` hook makes the agent go on, so only hooks before an action may answer with it (`hook.rs`).

use super::invocation::{Invocation, PrepareError};
use super::{Adapter, Said, ToolAnswer, ToolCall, claude_settings, names_in, plain, status, steps, text};
use serde_json::Value;
use std::collections::BTreeMap;
use wk_schemas::body::{PlanStep, StepStatus};

/// The adapter; remembers the tasks of the Task tools, whose list is nowhere said as a whole.
#[derive(Debug, Default)]
pub struct ClaudeCode {
    tasks: Vec<(String, PlanStep)>,
    /// Calls that start a sub-agent and whose sub-agent is not known yet: the call's id and the kind of agent.
    starting: Vec<(String, String)>,
    /// Sub-agents by their id: the call that started each.
    parents: BTreeMap<String, String>,
}

impl Adapter for ClaudeCode {
    fn name(&self) -> &'static str {
        "claude-code"
    }

    fn programs(&self) -> &'static [&'static str] {
        &["claude", "claude.exe"]
    }

    fn prepare(&self, invocation: &mut Invocation) -> Result<(), PrepareError> {
        let program = invocation.program(&["claude", "claude.exe", "cli.js"], "claude-code")?;
        let command = invocation.hook_command(self.name())?;
        claude_settings::install(invocation, program, &command)?;
        invocation.default_env("CLAUDE_CODE_ENABLE_TODO_TOOLS", "1");
        invocation.reads_stdout = invocation.has("stream-json") || invocation.has("--output-format=stream-json");
        Ok(())
    }

    fn hook(&mut self, event: &Value) -> Vec<Said> {
        let mut said = Vec::new();
        match event.get("hook_event_name").and_then(Value::as_str) {
            Some("SessionStart") => said.push(agent(text(event, "model"), None)),
            Some("UserPromptSubmit") => said.extend(text(event, "prompt").map(Said::Prompt)),
            Some("PreToolUse") => self.called(event, &mut said),
            Some("PostToolUse") => self.returned(event, &mut said),
            Some("PostToolUseFailure") => said.push(answer(event, Some(false), event.get("error"))),
            Some("PermissionDenied") => said.push(answer(event, Some(false), event.get("reason"))),
            Some("SubagentStart") => self.subagent_started(event),
            Some("Stop" | "SubagentStop") => {
                let last = text(event, "last_assistant_message").filter(|t| !t.is_empty());
                said.extend(last.map(|text| Said::Thought { text, form: "message" }));
            }
            Some(_) => {}
            None => said.push(Said::Lost("a hook input without hook_event_name".into())),
        }
        said
    }

    fn stream_line(&mut self, line: &Value) -> Vec<Said> {
        let mut said = Vec::new();
        let blocks = || line.pointer("/message/content").and_then(Value::as_array).into_iter().flatten();
        match line.get("type").and_then(Value::as_str) {
            Some("system") if line.get("subtype").is_some_and(|s| s == "init") => {
                said.push(agent(text(line, "model"), text(line, "claude_code_version")));
            }
            Some("assistant") => said.extend(blocks().filter_map(assistant_block)),
            Some("user") => said.extend(blocks().filter_map(|block| {
                let id = text(block, "tool_use_id")?;
                let success = block.get("is_error").and_then(Value::as_bool).map(|e| !e);
                let output = plain(block.get("content").unwrap_or(&Value::Null));
                Some(Said::Returned(ToolAnswer { id, success, output, ..ToolAnswer::default() }))
            })),
            Some(_) => {}
            None => said.push(Said::Lost("a line of the stream without type".into())),
        }
        said
    }
}

impl ClaudeCode {
    /// A sub-agent is not told by which call it was started: it is the oldest one under way for an agent of its kind.
    fn subagent_started(&mut self, event: &Value) {
        let (Some(id), kind) = (text(event, "agent_id"), text(event, "agent_type").unwrap_or_default()) else { return };
        let at = self.starting.iter().position(|(_, of)| *of == kind).or((!self.starting.is_empty()).then_some(0));
        if let Some(at) = at {
            self.parents.insert(id, self.starting.remove(at).0);
        }
    }

    fn called(&mut self, event: &Value, said: &mut Vec<Said>) {
        let (Some(id), Some(tool)) = (text(event, "tool_use_id"), text(event, "tool_name")) else {
            said.push(Said::Lost("a PreToolUse without tool_use_id or tool_name".into()));
            return;
        };
        let input = event.get("tool_input").unwrap_or(&Value::Null);
        let mut call = tool_call(id, tool, input);
        call.working_directory = text(event, "cwd").map(Into::into);
        call.subagent = text(event, "agent_id");
        call.parent = call.subagent.as_ref().and_then(|id| self.parents.get(id).cloned());
        if call.class == "agent" {
            let kind = text(input, "subagent_type").unwrap_or_else(|| "general-purpose".into());
            self.starting.push((call.id.clone(), kind));
        }
        let plan = match call.tool.as_str() {
            "TodoWrite" => Some((steps(input.get("todos"), "content"), "todo_write", None)),
            "ExitPlanMode" => text(input, "plan").map(|plan| (steps_in_text(&plan), "exit_plan_mode", Some(plan))),
            _ => None,
        };
        // The call first: what is declared through it follows from it.
        said.push(Said::Called(call));
        said.extend(plan.map(|(steps, source, explanation)| Said::Plan { steps, source, explanation }));
    }

    fn returned(&mut self, event: &Value, said: &mut Vec<Said>) {
        said.push(answer(event, Some(true), event.get("tool_response")));
        let id = text(event, "tool_use_id");
        self.starting.retain(|(call, _)| Some(call) != id.as_ref());
        let (input, response) = (event.get("tool_input"), event.get("tool_response"));
        let changed = match event.get("tool_name").and_then(Value::as_str) {
            Some("TaskCreate") => self.task_created(response),
            Some("TaskUpdate") => self.task_updated(input.unwrap_or(&Value::Null)),
            _ => false,
        };
        if changed {
            let steps = self.tasks.iter().map(|(_, step)| step.clone()).collect();
            said.push(Said::Plan { steps, source: "task_create", explanation: None });
        }
    }

    fn task_created(&mut self, response: Option<&Value>) -> bool {
        let task = response.and_then(|r| r.get("task")).unwrap_or(&Value::Null);
        let (Some(id), Some(subject)) = (text(task, "id"), text(task, "subject")) else { return false };
        self.tasks.retain(|(known, _)| *known != id);
        self.tasks.push((id, PlanStep { text: subject, status: StepStatus::Pending }));
        true
    }

    fn task_updated(&mut self, input: &Value) -> bool {
        let id = input.get("taskId").map(plain).unwrap_or_default();
        let Some((_, step)) = self.tasks.iter_mut().find(|(known, _)| *known == id) else { return false };
        let before = step.clone();
        if let Some(subject) = text(input, "subject") {
            step.text = subject;
        }
        if let Some(new) = input.get("status").and_then(Value::as_str) {
            step.status = status(Some(new));
        }
        *step != before
    }
}

fn agent(model: Option<String>, version: Option<String>) -> Said {
    Said::Agent { name: Some("claude-code".into()), version, model }
}

fn tool_call(id: String, tool: String, input: &Value) -> ToolCall {
    let class = match tool.as_str() {
        "Bash" | "PowerShell" => "shell",
        "Read" | "NotebookRead" => "read",
        "Edit" | "MultiEdit" | "NotebookEdit" => "edit",
        "Write" => "write",
        "Grep" | "Glob" | "LS" | "WebSearch" | "ToolSearch" => "search",
        "WebFetch" => "fetch",
        "TodoWrite" | "TaskCreate" | "TaskUpdate" | "TaskList" | "TaskGet" | "ExitPlanMode" | "EnterPlanMode" => "plan",
        "Agent" | "Task" => "agent",
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

fn answer(event: &Value, success: Option<bool>, output: Option<&Value>) -> Said {
    let Some(id) = text(event, "tool_use_id") else {
        return Said::Lost("a tool's answer without tool_use_id".into());
    };
    let duration = event.get("duration_ms").and_then(Value::as_i64);
    Said::Returned(ToolAnswer {
        id,
        tool: text(event, "tool_name").unwrap_or_default(),
        success,
        output: output.map(plain).unwrap_or_default(),
        duration_us: duration.map(|ms| ms.saturating_mul(1000)),
    })
}

fn assistant_block(block: &Value) -> Option<Said> {
    let thought = |key, form| {
        let text = text(block, key).filter(|t| !t.is_empty())?;
        Some(Said::Thought { text, form })
    };
    match block.get("type").and_then(Value::as_str)? {
        "text" => thought("text", "message"),
        "thinking" => thought("thinking", "reasoning"),
        "tool_use" => {
            let input = block.get("input").unwrap_or(&Value::Null);
            Some(Said::Called(tool_call(text(block, "id")?, text(block, "name")?, input)))
        }
        _ => None,
    }
}

/// The steps of a plan written as text: its list items, or its whole text when it has none.
fn steps_in_text(plan: &str) -> Vec<PlanStep> {
    let item = |line: &str| {
        let line = line.trim_start();
        let bullet = ["- ", "* ", "+ "].iter().find_map(|b| line.strip_prefix(b));
        let digits = line.trim_start_matches(|c: char| c.is_ascii_digit());
        let numbered =
            (digits.len() < line.len()).then(|| digits.strip_prefix(". ").or(digits.strip_prefix(") "))).flatten();
        let text = bullet.or(numbered)?.trim();
        let text = ["[ ] ", "[x] "].iter().find_map(|b| text.strip_prefix(b)).unwrap_or(text);
        (!text.is_empty()).then(|| text.to_owned())
    };
    let mut texts: Vec<String> = plan.lines().filter_map(item).collect();
    if texts.is_empty() && !plan.trim().is_empty() {
        texts.push(plan.trim().to_owned());
    }
    texts.into_iter().map(|text| PlanStep { text, status: StepStatus::Pending }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn hook(adapter: &mut ClaudeCode, json: &str) -> Vec<Said> {
        adapter.hook(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn every_captured_hook_input_is_understood() {
        let mut adapter = ClaudeCode::default();
        let sample = include_str!("../../tests/samples/claude-code/hook-in.captured-2.1.197.jsonl");
        let said: Vec<Said> = sample.lines().flat_map(|line| hook(&mut adapter, line)).collect();
        let bash = ToolCall {
            id: "toolu_00000004".into(),
            tool: "Bash".into(),
            class: "shell",
            arguments: r#"{"command":"cat README.md; cat /etc/hostname","description":"Read the readme"}"#.into(),
            command: Some("cat README.md; cat /etc/hostname".into()),
            names: vec!["cat README.md; cat /etc/hostname".into()],
            working_directory: Some("/home/dev/repo".into()),
            subagent: None,
            parent: None,
            waits: false,
        };
        assert_eq!(said[0], agent(None, None));
        assert_eq!(said[1], Said::Prompt("fix the typo in README.md".into()));
        assert_eq!(said[2], Said::Called(bash));
        assert!(
            matches!(&said[3], Said::Returned(a) if a.success == Some(true) && a.duration_us == Some(27_000)),
            "{:?}",
            said[3]
        );
        assert!(matches!(&said[4], Said::Called(c) if c.class == "read" && c.names == ["/home/dev/repo/README.md"]));
        assert_eq!(said[6], Said::Thought { text: "The README is fixed.".into(), form: "message" });
        assert_eq!(said.len(), 7);
    }

    #[test]
    fn every_line_of_the_captured_stream_is_understood() {
        let mut adapter = ClaudeCode::default();
        let sample = include_str!("../../tests/samples/claude-code/stream-json.captured-2.1.197.jsonl");
        let said: Vec<Said> =
            sample.lines().flat_map(|l| adapter.stream_line(&serde_json::from_str(l).unwrap())).collect();
        assert_eq!(said[0], agent(Some("claude-opus-4-8[1m]".into()), Some("2.1.197".into())));
        assert!(matches!(&said[1], Said::Called(c) if c.tool == "TodoWrite"));
        assert!(matches!(&said[2], Said::Returned(a) if a.success == Some(false)));
        assert!(!said.iter().any(|s| matches!(s, Said::Lost(_))), "{said:?}");
    }

    #[test]
    fn tasks_are_one_plan_that_is_revised() {
        let mut adapter = ClaudeCode::default();
        let create = |id: &str, subject: &str| {
            json!({"hook_event_name": "PostToolUse", "tool_name": "TaskCreate", "tool_use_id": id,
                   "tool_response": {"task": {"id": id, "subject": subject}}})
            .to_string()
        };
        hook(&mut adapter, &create("1", "Read"));
        hook(&mut adapter, &create("2", "Fix"));
        let update = r#"{"hook_event_name":"PostToolUse","tool_name":"TaskUpdate","tool_use_id":"t",
            "tool_input":{"taskId":"1","status":"completed"},"tool_response":{"success":true}}"#;
        let steps = vec![
            PlanStep { text: "Read".into(), status: StepStatus::Completed },
            PlanStep { text: "Fix".into(), status: StepStatus::Pending },
        ];
        let said = hook(&mut adapter, update);
        assert_eq!(said[1], Said::Plan { steps, source: "task_create", explanation: None });
        assert_eq!(hook(&mut adapter, update).len(), 1, "an update that changes nothing is no new plan");
    }

    #[test]
    fn what_a_sub_agent_does_follows_from_the_call_that_started_it() {
        let mut adapter = ClaudeCode::default();
        let start = |id: &str, kind: &str| {
            json!({"hook_event_name": "PreToolUse", "tool_name": "Agent", "tool_use_id": id,
                   "tool_input": {"prompt": "look", "subagent_type": kind}})
        };
        let began =
            |id: &str, kind: &str| json!({"hook_event_name": "SubagentStart", "agent_id": id, "agent_type": kind});
        for event in [start("t1", "Explore"), start("t2", "Plan"), began("p", "Plan"), began("e", "Explore")] {
            adapter.hook(&event);
        }
        let call = |agent: &str| {
            json!({"hook_event_name": "PreToolUse", "tool_name": "Read", "tool_use_id": "r", "agent_id": agent,
                   "tool_input": {"file_path": "/w/a"}})
        };
        for (agent, parent) in [("e", Some("t1")), ("p", Some("t2")), ("stranger", None)] {
            let said = adapter.hook(&call(agent));
            assert!(
                matches!(&said[0], Said::Called(c) if c.subagent.as_deref() == Some(agent)
                && c.parent.as_deref() == parent),
                "{said:?}"
            );
        }
    }

    #[test]
    fn plans_come_from_todo_write_and_from_plan_mode() {
        let mut adapter = ClaudeCode::default();
        let todo = include_str!("../../tests/samples/claude-code/hook-in.PreToolUse.TodoWrite.composed.json");
        let Said::Plan { steps, source: "todo_write", .. } = &hook(&mut adapter, todo)[1] else { panic!() };
        assert!(!steps.is_empty() && steps.iter().all(|s| s.status != StepStatus::Unspecified), "{steps:?}");
        let exit = include_str!("../../tests/samples/claude-code/hook-in.PreToolUse.ExitPlanMode.composed.json");
        let Said::Plan { steps, source: "exit_plan_mode", .. } = &hook(&mut adapter, exit)[1] else { panic!() };
        assert!(!steps.is_empty(), "{steps:?}");
        let texts: Vec<_> =
            steps_in_text("# T\n1. one\n2) two\n - [ ] three\nprose").into_iter().map(|s| s.text).collect();
        assert_eq!(texts, ["one", "two", "three"]);
    }
}
