//! OpenAI Codex: hooks given by `-c`, `codex exec --json`, and `codex app-server` (see `codex_app_server.rs`).
//!
//! Facts, tried with 0.169.0:
//! - Hooks given by `-c 'hooks.<Event>=[…]'` are a layer of their own and run beside those of the user's `config.toml`; the
//!   installation, the configuration and the login stay as they are. They run as `/bin/bash -c '<command>'`.
//! - A hook that is not managed runs only when its hash is trusted. The hash is SHA-256 over the hook's own canonical JSON, so
//!   we name it ourselves with `-c 'hooks.state={…}'`, for the key `/<session-flags>/config.toml:<event>:0:0`.
//!   `--dangerously-bypass-hook-trust` would do as well, but would also run every untrusted hook of the project.
//! - SessionEnd's timeout is cut to 3 s before it is hashed.
//! - `update_plan` is offered only with `-c tools.update_plan.enabled=true`, with known model names too. It fires PreToolUse
//!   and PostToolUse, and shows as `todo_list` in the stream.
//! - `exec_command` is reported as `Bash` with `tool_input.command`. `write_stdin` fires no hook: what is typed into a running
//!   shell is seen only by its effects.
//! - The npm package starts `node`, which starts the native `codex`; that one is the agent (see [`Adapter::programs`]).
//! - A deny is honoured only as exit code 2 with a reason on stderr; any unknown field on stdout lets the tool run.
//! - Items of the stream carry no call ids and no times. While hooks are heard, the stream adds only messages, reasoning,
//!   and what was declined.
//! - `-s danger-full-access` runs commands directly. `-s workspace-write` starts bubblewrap, which needs new namespaces; the
//!   shim's filter refuses them, and Codex then reports each command as failed (`features.use_legacy_landlock` does no better).
//!   So it is switched off, and our policy must be as strong: see `codex_sandbox.rs`.

use super::codex_app_server::AppServer;
use super::invocation::{Invocation, PrepareError};
use super::{Adapter, Said, ToolAnswer, ToolCall, codex_sandbox, names_in, plain, steps, text};
use serde_json::{Value, json};
use std::ffi::OsString;
use wk_schemas::Digest;
use wk_schemas::body::{PlanStep, StepStatus};

/// The hooks that we ask for: the event, its name in trust keys, and the seconds Codex waits.
const HOOKS: [(&str, &str, u64); 8] = [
    ("SessionStart", "session_start", 600),
    ("SessionEnd", "session_end", 3),
    ("UserPromptSubmit", "user_prompt_submit", 600),
    ("PreToolUse", "pre_tool_use", 600),
    ("PostToolUse", "post_tool_use", 600),
    ("Stop", "stop", 600),
    ("SubagentStart", "subagent_start", 600),
    ("SubagentStop", "subagent_stop", 600),
];

/// The adapter; knows whether hooks have been heard.
#[derive(Debug, Default)]
pub struct Codex {
    hears_hooks: bool,
    app_server: AppServer,
}

impl Adapter for Codex {
    fn name(&self) -> &'static str {
        "codex"
    }

    fn programs(&self) -> &'static [&'static str] {
        &["codex"]
    }

    fn prepare(&self, invocation: &mut Invocation) -> Result<(), PrepareError> {
        let program = invocation.program(&["codex", "codex.js"], "codex")?;
        let command = invocation.hook_command(self.name())?;
        let mut arguments = Vec::new();
        if let Some(own) = setting(&invocation.argv, "hooks") {
            return Err(PrepareError::Conflict {
                argument: own,
                reason: "put these hooks into config.toml, where both are kept",
            });
        }
        if setting(&invocation.argv, "tools.update_plan").is_none() {
            arguments.extend(["-c".into(), "tools.update_plan.enabled=true".into()]);
        }
        arguments.extend(hook_settings(&command));
        invocation.insert(program, arguments);
        invocation.own_sandbox = codex_sandbox::switch_off(invocation, program);
        // Other transports than standard input and output do not pass by the shim; its hooks work all the same.
        invocation.is_dialogue = invocation.has("app-server")
            && !["unix:", "ws:", "off", "daemon", "proxy"].iter().any(|elsewhere| {
                invocation
                    .argv
                    .iter()
                    .any(|a| a.to_string_lossy().trim_start_matches("--listen=").starts_with(elsewhere))
            });
        invocation.reads_stdout = invocation.has("--json") && (invocation.has("exec") || invocation.has("e"));
        Ok(())
    }

    fn hook(&mut self, event: &Value) -> Vec<Said> {
        self.hears_hooks = true;
        let mut said = vec![Said::Agent { name: Some("codex".into()), version: None, model: text(event, "model") }];
        match event.get("hook_event_name").and_then(Value::as_str) {
            Some("UserPromptSubmit") => {
                let prompt = text(event, "prompt").filter(|prompt| !self.app_server.has_told(prompt));
                said.extend(prompt.map(Said::Prompt));
            }
            Some("PreToolUse") => called(event, &mut said),
            Some("PostToolUse") => said.push(match text(event, "tool_use_id") {
                Some(id) => Said::Returned(ToolAnswer {
                    id,
                    tool: text(event, "tool_name").unwrap_or_default(),
                    output: event.get("tool_response").map(plain).unwrap_or_default(),
                    ..ToolAnswer::default()
                }),
                None => Said::Lost("a PostToolUse without tool_use_id".into()),
            }),
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
        // The lines of `exec --json` have a type; those of the app-server are JSON-RPC.
        if line.get("type").is_none() && (line.get("method").is_some() || line.get("id").is_some()) {
            return self.app_server.answer(line, self.hears_hooks);
        }
        let Some(kind) = line.get("type").and_then(Value::as_str) else {
            return vec![Said::Lost("a line of the stream without type".into())];
        };
        let Some(item) = line.get("item").filter(|_| kind.starts_with("item.")) else { return Vec::new() };
        let is_last = kind == "item.completed";
        let thought = |form| {
            let text = text(item, "text").filter(|t| is_last && !t.is_empty())?;
            Some(Said::Thought { text, form })
        };
        match item.get("type").and_then(Value::as_str) {
            Some("agent_message") => thought("message").into_iter().collect(),
            Some("reasoning") => thought("summary").into_iter().collect(),
            Some("todo_list") => {
                vec![Said::Plan { steps: todo_steps(item), source: "todo_list", explanation: None }]
            }
            Some("command_execution" | "file_change" | "mcp_tool_call" | "web_search") if is_last => {
                self.item_completed(item)
            }
            Some(_) | None => Vec::new(),
        }
    }

    fn question_line(&mut self, line: &Value) -> Vec<Said> {
        self.app_server.question(line)
    }
}

impl Codex {
    /// A tool's item, as call and answer in one. Hooks have said it better, unless the call was declined or hooks are silent.
    fn item_completed(&self, item: &Value) -> Vec<Said> {
        let status = item.get("status").and_then(Value::as_str);
        if self.hears_hooks && status != Some("declined") {
            return Vec::new();
        }
        let id = format!("stream/{}", text(item, "id").unwrap_or_default());
        let command = text(item, "command");
        let mut fields = item.clone();
        let output = match fields.as_object_mut() {
            Some(fields) => {
                let output = ["aggregated_output", "result"].iter().find_map(|k| fields.remove(*k));
                for known in ["id", "type", "status", "exit_code"] {
                    fields.remove(known);
                }
                output.map(|o| plain(&o)).unwrap_or_default()
            }
            None => String::new(),
        };
        let (tool, class) = match item.get("type").and_then(Value::as_str) {
            Some("command_execution") => ("Bash".to_owned(), "shell"),
            Some("file_change") => ("apply_patch".to_owned(), "edit"),
            Some("web_search") => ("web_search".to_owned(), "search"),
            Some(_) | None => {
                let part = |key| text(item, key).unwrap_or_default();
                (format!("mcp__{}__{}", part("server"), part("tool")), "other")
            }
        };
        let success = match status {
            Some("completed") => Some(true),
            Some("failed" | "declined") => Some(false),
            Some(_) | None => None,
        };
        let call = ToolCall {
            id: id.clone(),
            tool: tool.clone(),
            class,
            arguments: fields.to_string(),
            command,
            names: names_in(&fields),
            ..ToolCall::default()
        };
        vec![Said::Called(call), Said::Returned(ToolAnswer { id, tool, success, output, duration_us: None })]
    }
}

fn called(event: &Value, said: &mut Vec<Said>) {
    let (Some(id), Some(tool)) = (text(event, "tool_use_id"), text(event, "tool_name")) else {
        said.push(Said::Lost("a PreToolUse without tool_use_id or tool_name".into()));
        return;
    };
    let input = event.get("tool_input").unwrap_or(&Value::Null);
    let class = match tool.as_str() {
        "Bash" => "shell",
        "apply_patch" => "edit",
        "update_plan" => "plan",
        "view_image" => "read",
        "web_search" | "tool_search" => "search",
        _ => "other",
    };
    let command = text(input, "command");
    let names = match &command {
        Some(patch) if class == "edit" => patched_paths(patch),
        _ => names_in(input),
    };
    let is_plan = class == "plan";
    said.push(Said::Called(ToolCall {
        command: command.filter(|_| class == "shell"),
        names,
        arguments: input.to_string(),
        working_directory: text(event, "cwd").map(Into::into),
        subagent: text(event, "agent_id"),
        parent: None,
        waits: true,
        id,
        tool,
        class,
    }));
    if is_plan {
        let steps = steps(input.get("plan"), "step");
        said.push(Said::Plan { steps, source: "update_plan", explanation: text(input, "explanation") });
    }
}

/// The files that a patch in Codex's own format touches.
pub(super) fn patched_paths(patch: &str) -> Vec<String> {
    const HEADS: [&str; 4] = ["*** Add File: ", "*** Update File: ", "*** Delete File: ", "*** Move to: "];
    patch.lines().filter_map(|l| HEADS.iter().find_map(|h| l.strip_prefix(h))).map(|p| p.trim().to_owned()).collect()
}

/// The stream knows only done and not done.
fn todo_steps(item: &Value) -> Vec<PlanStep> {
    let items = item.get("items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    items
        .iter()
        .map(|step| PlanStep {
            text: text(step, "text").unwrap_or_else(|| plain(step)),
            status: match step.get("completed").and_then(Value::as_bool) {
                Some(true) => StepStatus::Completed,
                Some(false) => StepStatus::Pending,
                None => StepStatus::Unspecified,
            },
        })
        .collect()
}

/// The user's own `-c <key>…`, if there is one.
fn setting(argv: &[OsString], key: &str) -> Option<String> {
    let names_it = |value: &str| value.strip_prefix(key).is_some_and(|rest| rest.starts_with(['.', '=']));
    let words: Vec<_> = argv.iter().map(|a| a.to_string_lossy()).collect();
    let behind_flag = words.windows(2).filter(|w| w[0] == "-c" || w[0] == "--config").map(|w| &*w[1]);
    let joined = words.iter().filter_map(|w| w.strip_prefix("--config=").or(w.strip_prefix("-c")));
    behind_flag.chain(joined).find(|v| names_it(v)).map(str::to_owned)
}

/// The arguments that install our hooks for this one run, trusted by their hashes.
fn hook_settings(command: &str) -> Vec<OsString> {
    let quoted = json!(command).to_string();
    let mut arguments = Vec::new();
    let mut trust = Vec::new();
    for (event, key, timeout) in HOOKS {
        arguments.push("-c".into());
        let hook = format!("hooks.{event}=[{{hooks=[{{type=\"command\",command={quoted},timeout={timeout}}}]}}]");
        arguments.push(hook.into());
        // Keys in alphabetical order and no blanks: the form that Codex hashes.
        let identity = format!(
            r#"{{"event_name":"{key}","hooks":[{{"async":false,"command":{quoted},"timeout":{timeout},"type":"command"}}]}}"#
        );
        let hash = Digest::of(identity.as_bytes());
        trust.push(format!(r#""/<session-flags>/config.toml:{key}:0:0"={{trusted_hash="sha256:{hash}"}}"#));
    }
    arguments.push("-c".into());
    arguments.push(format!("hooks.state={{{}}}", trust.join(",")).into());
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(json: &str) -> Vec<Said> {
        Codex::default().hook(&serde_json::from_str(json).unwrap())
    }

    fn stream(adapter: &mut Codex, sample: &str) -> Vec<Said> {
        sample.lines().flat_map(|l| adapter.stream_line(&serde_json::from_str(l).unwrap())).collect()
    }

    #[test]
    fn an_update_of_the_plan_is_a_call_and_a_plan() {
        let said = hook(include_str!("../../tests/samples/codex/hook-in.PreToolUse.update_plan.json"));
        assert!(matches!(&said[0], Said::Agent { model: Some(m), .. } if m == "gpt-5.3-codex"));
        assert!(matches!(&said[1], Said::Called(c) if c.class == "plan"));
        let Said::Plan { steps, source: "update_plan", explanation: Some(why) } = &said[2] else { panic!("{said:?}") };
        assert_eq!(why, "Split the work");
        assert_eq!(
            steps.iter().map(|s| s.status).collect::<Vec<_>>(),
            [StepStatus::Completed, StepStatus::InProgress, StepStatus::Pending]
        );
    }

    #[test]
    fn a_shell_call_carries_its_command_and_a_patch_its_files() {
        let said = hook(include_str!("../../tests/samples/codex/hook-in.PreToolUse.shell.json"));
        assert!(matches!(&said[1], Said::Called(c) if c.command.as_deref() == Some("cargo test -p core")
            && c.working_directory == Some("/home/u/proj".into())));
        let said = hook(include_str!("../../tests/samples/codex/hook-in.PreToolUse.apply_patch.json"));
        assert!(matches!(&said[1], Said::Called(c) if c.names == ["file.txt"] && c.command.is_none()), "{said:?}");
    }

    #[test]
    fn with_hooks_the_stream_adds_only_what_hooks_do_not_say() {
        let captured = include_str!("../../tests/samples/codex/exec-json.captured-0.169.0.jsonl");
        let mut silent = Codex::default();
        let said = stream(&mut silent, captured);
        assert!(matches!(&said[0], Said::Called(c) if c.command.as_deref()
            == Some("/bin/bash -lc 'cat README.md && cat /etc/hostname'")));
        assert!(matches!(&said[1], Said::Returned(a) if a.success == Some(true) && a.output == "helo\nvm\n"));
        assert_eq!(said.len(), 3);
        let mut heard = Codex { hears_hooks: true, ..Codex::default() };
        let message = Said::Thought { text: "The README is fixed.".into(), form: "message" };
        assert_eq!(stream(&mut heard, captured), [message]);
        let declined =
            stream(&mut heard, include_str!("../../tests/samples/codex/exec-json.mcp_and_declined.composed.jsonl"));
        assert!(matches!(&declined[1], Said::Returned(a) if a.success == Some(false)), "{declined:?}");
        assert_eq!(declined.len(), 2);
    }

    #[test]
    fn older_streams_are_understood_too() {
        for sample in [
            include_str!("../../tests/samples/codex/exec-json.real-1.jsonl"),
            include_str!("../../tests/samples/codex/exec-json.real-3.jsonl"),
            include_str!("../../tests/samples/codex/exec-json.todo_list.jsonl"),
        ] {
            let said = stream(&mut Codex::default(), sample);
            assert!(!said.is_empty() && !said.iter().any(|s| matches!(s, Said::Lost(_))), "{said:?}");
        }
    }

    #[test]
    fn our_hooks_are_installed_for_one_run_and_the_users_are_never_replaced() {
        let mut invocation = Invocation {
            argv: ["node", "/opt/bin/codex", "exec", "--json", "fix"].map(Into::into).to_vec(),
            env: Vec::new(),
            folder: "/tmp".into(),
            socket: "/tmp/s".into(),
            hook: vec!["/tmp/ag/hook.sh".into()],
            reads_stdout: false,
            is_dialogue: false,
            receives_otlp: false,
            cwd: "/".into(),
            own_sandbox: None,
        };
        Codex::default().prepare(&mut invocation).unwrap();
        assert!(invocation.reads_stdout);
        let ours = [
            "node",
            "/opt/bin/codex",
            "-c",
            "sandbox_mode=\"danger-full-access\"",
            "-c",
            "tools.update_plan.enabled=true",
        ];
        assert_eq!(invocation.argv[..6], ours);
        assert_eq!(invocation.argv.last().unwrap(), "fix");
        invocation.argv = ["codex", "exec", "-c", "hooks.Stop=[]"].map(Into::into).to_vec();
        let error = Codex::default().prepare(&mut invocation).unwrap_err();
        assert!(matches!(&error, PrepareError::Conflict { argument, .. } if argument == "hooks.Stop=[]"), "{error}");
    }

    #[test]
    fn the_trust_hash_is_the_one_codex_computes() {
        // Made with the hash that Codex 0.169.0 accepted for this command line in a run of the real program.
        let settings = hook_settings("/tmp/ag/hook.sh");
        let state = settings.last().unwrap().to_string_lossy().into_owned();
        let expected = "pre_tool_use:0:0\"={trusted_hash=\"sha256:cf897fe22e445bb4357bff9fa8335792d18b063414a560f097ec856a0ce3352f\"}";
        assert!(state.contains(expected), "{state}");
    }
}
