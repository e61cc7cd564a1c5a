//! The settings that Claude Code is started with: the user's own, our hooks beside his, and its own sandbox off.

use super::invocation::{Invocation, PrepareError};
use super::own_sandbox::OwnSandbox;
use serde_json::{Map, Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// The hooks that we ask for. SessionStart and the sub-agents' carry no record of their own, but show that hooks work.
const HOOKS: [&str; 10] = [
    "SessionStart",
    "SessionEnd",
    "UserPromptSubmit",
    "PreToolUse",
    "PostToolUse",
    "PostToolUseFailure",
    "PermissionDenied",
    "Stop",
    "SubagentStart",
    "SubagentStop",
];

/// Seconds that Claude Code waits for a hook; when they are over it goes on as if allowed, so the client gives up earlier.
const HOOK_TIMEOUT_S: u64 = 600;

/// Has the agent, whose program is the word `program` of its command line, read our settings; `command` runs the hook client.
pub(super) fn install(invocation: &mut Invocation, program: usize, command: &str) -> Result<(), PrepareError> {
    let (at, mut settings) = user_settings(invocation)?;
    add_hooks(&mut settings, command);
    invocation.own_sandbox = switch_sandbox_off(invocation, &mut settings);
    let path = invocation.folder.join("settings.json");
    fs::write(&path, Value::Object(settings).to_string())
        .map_err(|source| PrepareError::Write { path: path.clone(), source })?;
    match at {
        Some(at) => invocation.argv[at] = path.into(),
        None => invocation.insert(program, vec!["--settings".into(), path.into()]),
    }
    Ok(())
}

/// Claude Code's own sandbox (bubblewrap around its Bash tool) needs namespaces, which nothing inside a session gets. A setting of
/// `--settings` wins over those of the user's and the project's files, so it is switched off there; an organisation's managed settings
/// win over ours. Says what it was, if one of these files had it on.
fn switch_sandbox_off(invocation: &Invocation, settings: &mut Map<String, Value>) -> Option<OwnSandbox> {
    let config = invocation.env_value("CLAUDE_CONFIG_DIR").map(PathBuf::from);
    let config = config.or_else(|| Some(PathBuf::from(invocation.env_value("HOME")?).join(".claude")));
    let project = invocation.cwd.join(".claude");
    let files = [config.map(|c| c.join("settings.json")), Some(project.join("settings.json"))];
    let files = files.into_iter().flatten().chain([project.join("settings.local.json")]);
    let read = |path: PathBuf| serde_json::from_str::<Value>(&fs::read_to_string(path).ok()?).ok();
    let on = |settings: &Value| settings.pointer("/sandbox/enabled").and_then(Value::as_bool);
    // The strongest that says anything decides: `--settings`, local, project, user.
    let said = files.filter_map(read).filter_map(|s| on(&s)).next_back();
    let was_on = settings.get("sandbox").and_then(|s| s.get("enabled")).and_then(Value::as_bool).or(said);
    settings.insert("sandbox".into(), json!({"enabled": false}));
    (was_on == Some(true)).then(|| OwnSandbox {
        name: "claude-code sandbox".into(),
        without: "switch `sandbox.enabled` off in Claude Code's settings, if the policy you chose is what you want",
        writes_workspace: true,
        reaches_network: false,
    })
}

/// The user's own `--settings`: where its value stands, and what it says.
fn user_settings(invocation: &mut Invocation) -> Result<(Option<usize>, Map<String, Value>), PrepareError> {
    // `--settings=x` becomes two words, so that the value has a place of its own.
    if let Some(at) = invocation.argv.iter().position(|a| a.to_string_lossy().starts_with("--settings=")) {
        let value = invocation.argv[at].to_string_lossy()["--settings=".len()..].to_owned();
        invocation.argv.splice(at..=at, ["--settings".into(), value.into()]);
    }
    let Some(at) = invocation.argv.iter().position(|a| a == "--settings").map(|at| at + 1) else {
        return Ok((None, Map::new()));
    };
    let Some(value) = invocation.argv.get(at) else { return Ok((None, Map::new())) };
    let value = value.to_string_lossy().into_owned();
    let error = |source| PrepareError::Settings { path: value.clone(), source };
    let json = if value.trim_start().starts_with('{') {
        value.clone()
    } else {
        fs::read_to_string(Path::new(&value)).map_err(error)?
    };
    match serde_json::from_str(&json) {
        Ok(Value::Object(settings)) => Ok((Some(at), settings)),
        Ok(_) => Err(error(std::io::Error::other("they are not a JSON object"))),
        Err(source) => Err(error(source.into())),
    }
}

fn add_hooks(settings: &mut Map<String, Value>, command: &str) {
    settings.insert("disableAllHooks".into(), json!(false));
    let hooks = settings.entry("hooks").or_insert_with(|| json!({}));
    if !hooks.is_object() {
        *hooks = json!({});
    }
    for event in HOOKS {
        let groups = &mut hooks[event];
        if !groups.is_array() {
            *groups = json!([]);
        }
        if let Some(groups) = groups.as_array_mut() {
            groups.push(json!({"hooks": [{"type": "command", "command": command, "timeout": HOOK_TIMEOUT_S}]}));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Adapter;
    use super::super::claude_code::ClaudeCode;
    use super::*;

    #[test]
    fn a_sandbox_that_the_users_or_the_projects_settings_switch_on_is_off_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, on: bool| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, json!({"sandbox": {"enabled": on}}).to_string()).unwrap();
        };
        let mut invocation = Invocation {
            argv: vec!["claude".into()],
            env: vec![("HOME".into(), folder.path().join("home").into())],
            cwd: folder.path().join("work"),
            folder: folder.path().to_owned(),
            socket: "/tmp/s".into(),
            hook: vec!["/opt/wk".into(), "hook".into()],
            reads_stdout: false,
            is_dialogue: false,
            receives_otlp: false,
            own_sandbox: None,
        };
        let off = |settings: &str| {
            let mut settings = serde_json::from_str(settings).unwrap();
            let own = switch_sandbox_off(&invocation, &mut settings);
            assert_eq!(settings["sandbox"]["enabled"], false);
            own.is_some()
        };
        assert!(!off("{}"));
        write("home/.claude/settings.json", true);
        assert!(off("{}"));
        write("work/.claude/settings.local.json", false);
        assert!(!off("{}"), "the nearer file decides");
        assert!(off(r#"{"sandbox": {"enabled": true}}"#));
        ClaudeCode::default().prepare(&mut invocation).unwrap();
        assert_eq!(invocation.own_sandbox, None);
    }

    #[test]
    fn the_users_own_hooks_and_settings_stay_beside_ours() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("own.json");
        fs::write(&own, r#"{"model":"opus","hooks":{"PreToolUse":[{"matcher":"Bash","hooks":[]}]}}"#).unwrap();
        let mut invocation = Invocation {
            argv: ["claude", "-p", "hi"].map(Into::into).to_vec(),
            env: Vec::new(),
            folder: folder.path().to_owned(),
            socket: "/tmp/s".into(),
            hook: vec!["/opt/wk".into(), "hook".into()],
            reads_stdout: false,
            is_dialogue: false,
            receives_otlp: false,
            cwd: "/".into(),
            own_sandbox: None,
        };
        invocation.argv.push(format!("--settings={}", own.display()).into());
        ClaudeCode::default().prepare(&mut invocation).unwrap();
        assert_eq!(invocation.argv[3], "--settings");
        let written: Value = serde_json::from_slice(&fs::read(&invocation.argv[4]).unwrap()).unwrap();
        assert_eq!(written["model"], "opus");
        assert_eq!(written["hooks"]["PreToolUse"][0]["matcher"], "Bash");
        assert_eq!(written["hooks"]["PreToolUse"][1]["hooks"][0]["command"], "/opt/wk hook claude-code");
        invocation.argv = ["bash", "-c", "claude -p hi"].map(Into::into).to_vec();
        let error = ClaudeCode::default().prepare(&mut invocation).unwrap_err();
        assert!(matches!(error, PrepareError::NotTheAgent { .. }), "{error}");
    }
}
