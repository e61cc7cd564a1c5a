//! The hook client: what an agent runs before and after a tool call.
//!
//! It hands the agent's JSON to the session over its socket, waits until it is recorded, and tells the agent how it went in the one
//! way that Claude Code and Codex both honour: go on is exit code 0 and silence; refuse is exit code 2, nothing on stdout, and
//! one line of reason on stderr. Agents let a tool run when a hook crashes or times out, so every failure in here is a refusal.
//!
//! ```text
//! request   {"hook":"codex","input":{…}}\n          answer   {"ok":true}\n   {"ok":true,"say":"…"}\n   {"ok":false,"error":"…"}\n
//! ```
//! What the session has to say after a call (what it refused meanwhile, and why) goes to standard output as the event's
//! `additionalContext`, which all three agents put beside the tool's result.

use serde_json::{Value, json};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// Well below the 600 s that agents wait before they let the tool run.
const PATIENCE: Duration = Duration::from_secs(540);

/// Events that come before something happens. After the others exit code 2 would mean something else: after `Stop`, for
/// instance, that the agent shall go on.
const GATES: [&str; 5] = ["PreToolUse", "UserPromptSubmit", "PermissionRequest", "BeforeTool", "BeforeAgent"];

/// How the hook client ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookEnd {
    /// The exit code.
    pub code: u8,
    /// The line for stderr; empty when there is nothing to say.
    pub reason: String,
    /// The JSON for stdout; empty when there is nothing to say.
    pub output: String,
}

/// Events after which the agent takes `additionalContext` for its model; one that does not know the field takes the hook for failed.
const LISTENING: [&str; 3] = ["PostToolUse", "PostToolUseFailure", "AfterTool"];

/// The hook client as a program: reads standard input, answers on standard error, and returns the exit code.
#[must_use]
pub fn main(agent: &str) -> ExitCode {
    let end = run(agent, crate::config::session_socket().as_deref(), io::stdin().lock());
    if !end.reason.is_empty() {
        eprintln!("{}", end.reason);
    }
    if !end.output.is_empty() {
        println!("{}", end.output);
    }
    ExitCode::from(end.code)
}

/// Runs the hook client: reads `input` to its end and asks the session behind `socket`.
#[must_use]
pub fn run(agent: &str, socket: Option<&Path>, mut input: impl Read) -> HookEnd {
    let mut bytes = Vec::new();
    let event = input.read_to_end(&mut bytes).map_err(|e| e.to_string()).and_then(|_| {
        serde_json::from_slice::<Value>(&bytes).map_err(|e| format!("the hook's input is not JSON: {e}"))
    });
    let name = event.as_ref().ok().and_then(|e| e.get("hook_event_name")).and_then(Value::as_str).map(str::to_owned);
    let outcome = event.and_then(|event| {
        let socket = socket.ok_or("WATCHKEEPER_SOCKET is not set: this is not a session")?;
        ask(socket, &json!({"hook": agent, "input": event}))
    });
    match outcome {
        Ok(told) => HookEnd { code: 0, reason: String::new(), output: output(name.as_deref(), told) },
        Err(reason) => {
            let is_gate = name.is_none_or(|n| GATES.contains(&n.as_str()));
            let reason = format!("refused by Watchkeeper: {}", reason.replace('\n', " "));
            HookEnd { code: if is_gate { 2 } else { 1 }, reason, output: String::new() }
        }
    }
}

/// The exact fields that each agent knows, and no other.
fn output(event: Option<&str>, told: Option<String>) -> String {
    match (event, told) {
        (Some(event), Some(told)) if LISTENING.contains(&event) => {
            json!({"hookSpecificOutput": {"hookEventName": event, "additionalContext": told}}).to_string()
        }
        _ => String::new(),
    }
}

/// Sends one JSON line to the session and waits for its answer; what the session has to say, when it has.
///
/// # Errors
/// Why it was not taken, in one line for a person.
pub fn ask(socket: &Path, line: &Value) -> Result<Option<String>, String> {
    let say = |e: io::Error| format!("the session at `{}` does not answer: {e}", socket.display());
    let mut stream = UnixStream::connect(socket).map_err(say)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(say)?;
    stream.write_all(format!("{line}\n").as_bytes()).map_err(say)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).map_err(say)?;
    let answer: Value = serde_json::from_str(&answer).map_err(|_| "the session ended before it answered".to_owned())?;
    if answer.get("ok").and_then(Value::as_bool) == Some(true) {
        return Ok(answer.get("say").and_then(Value::as_str).map(str::to_owned));
    }
    Err(answer.get("error").and_then(Value::as_str).unwrap_or("no reason was given").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_hook_that_cannot_reach_its_session_refuses() {
        let folder = tempfile::tempdir().unwrap();
        let gone = folder.path().join("gone.sock");
        let end = run("codex", Some(&gone), &br#"{"hook_event_name":"PreToolUse"}"#[..]);
        assert_eq!(end.code, 2);
        assert!(end.reason.contains("gone.sock") && !end.reason.contains('\n'), "{}", end.reason);
        assert_eq!(run("codex", None, &b"{}"[..]).code, 2);
        assert_eq!(run("codex", Some(&gone), &b"not json"[..]).code, 2);
        assert_eq!(run("codex", Some(&gone), &br#"{"hook_event_name":"Stop"}"#[..]).code, 1);
    }

    #[test]
    fn what_the_session_says_after_a_call_goes_to_the_agent_and_before_it_nothing_does() {
        let say = |event| output(Some(event), Some("refused".into()));
        let wanted = json!({"hookSpecificOutput": {"hookEventName": "AfterTool", "additionalContext": "refused"}});
        assert_eq!(say("AfterTool"), wanted.to_string());
        let silent = [say("PreToolUse"), say("Stop"), output(Some("AfterTool"), None)];
        assert!(silent.iter().all(String::is_empty), "{silent:?}");
    }

    #[test]
    fn a_session_that_dies_before_it_answers_is_a_refusal() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let answering = std::thread::spawn(move || drop(listener.accept().unwrap()));
        let end = run("codex", Some(&path), &br#"{"hook_event_name":"PreToolUse"}"#[..]);
        answering.join().unwrap();
        assert_eq!(end.code, 2);
    }
}
