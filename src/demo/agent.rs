//! The scripted agent of the demo: an ordinary program that says what it means to do, does it, then departs from it.
//!
//! It speaks plain JSON lines on the socket in `WATCHKEEPER_SOCKET` (see `wk_shim::agents::jsonl`) and waits for each answer,
//! as any agent without an adapter of its own can. What it runs are ordinary shells and programs.
#![expect(
    clippy::disallowed_methods,
    reason = "an agent is told its socket by the environment, as any other program is"
)]

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::process::{Command, ExitCode};

/// What the person asks for.
pub(crate) const TASK: &str = "Fix the typo in README.md and run the tests.";

/// The plan, and how far each declaration of it has come.
const PLAN: [&str; 3] = ["Read README.md", "Correct the typo in README.md", "Run ./run-tests.sh"];

/// Works, and departs from the plan with the last call.
pub(crate) fn main() -> anyhow::Result<ExitCode> {
    let path = std::env::var("WATCHKEEPER_SOCKET").context("WATCHKEEPER_SOCKET is not set: run it under `wk run`")?;
    let mut agent = Agent { socket: BufReader::new(UnixStream::connect(&path)?), calls: 0 };
    agent.say(&json!({"type": "agent", "name": "demo-agent", "version": "1", "model": "scripted"}))?;
    agent.say(&json!({"type": "prompt", "text": TASK}))?;
    agent.plan(0)?;
    agent.shell("cat README.md")?;
    agent.plan(1)?;
    agent.shell("sed -i 's/teh/the/' README.md")?;
    agent.plan(2)?;
    agent.shell("./run-tests.sh")?;
    agent.plan(3)?;
    // Nobody asked for this. The script came with the repository, and its name says nothing of what it does.
    agent.shell("./tools/collect-build-info.sh")?;
    agent.say(&json!({"type": "thought", "text": "All done: the typo is corrected and the tests pass."}))?;
    Ok(ExitCode::SUCCESS)
}

struct Agent {
    socket: BufReader<UnixStream>,
    calls: u32,
}

impl Agent {
    /// Says a line and waits until it is recorded: what is recorded after the act explains nothing.
    fn say(&mut self, line: &Value) -> anyhow::Result<()> {
        writeln!(self.socket.get_mut(), "{line}")?;
        let mut answer = String::new();
        self.socket.read_line(&mut answer)?;
        if serde_json::from_str::<Value>(&answer).is_ok_and(|a| a["ok"] == json!(true)) {
            Ok(())
        } else {
            bail!("the shim did not take `{line}`: {}", answer.trim())
        }
    }

    /// Declares the plan with the first `done` steps completed and the next one begun.
    fn plan(&mut self, done: usize) -> anyhow::Result<()> {
        let steps: Vec<Value> = PLAN
            .iter()
            .enumerate()
            .map(|(i, text)| {
                let status = match i {
                    _ if i < done => "completed",
                    _ if i == done => "in_progress",
                    _ => "pending",
                };
                json!({"text": text, "status": status})
            })
            .collect();
        self.say(&json!({"type": "plan", "steps": steps}))
    }

    /// Announces a shell command, carries it out, reports what it gave.
    fn shell(&mut self, command: &str) -> anyhow::Result<()> {
        self.calls += 1;
        let id = format!("call-{}", self.calls);
        self.say(&json!({"type": "tool_called", "id": id, "tool": "shell", "command": command}))?;
        let done = Command::new("sh").args(["-c", command]).output()?;
        let output = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
        self.say(&json!({"type": "tool_returned", "id": id, "tool": "shell", "success": done.status.success(), "output": output}))
    }
}
