//! Agents that bring a sandbox of their own: under the shim it is off, knowingly, and our policy is at least as strong.

use crate::world::{Agent, World, say};
use crate::{TASK, shell};
use serde_json::json;

/// Writing is free in the workspace and in the agents' own folders, and refused elsewhere.
fn closed(port: u16) -> String {
    // The test's own folder, a home in it, lies in the folder for what is temporary, so that one cannot be free as a whole.
    let free = [
        "${workspace}/**",
        "/tmp/[!w]*",
        "/tmp/[!w]*/**",
        "/tmp/wk-*/agent.sock",
        "/dev/**",
        "/proc/**",
        "~/.codex/**",
        "~/.claude*",
        "~/.claude/**",
        "~/.cache/**",
    ];
    let rule = |path: &str, action: &str| {
        format!("[[files.rules]]\nmatch = \"{path}\"\non = \"write\"\naction = \"{action}\"\nreason = \"a test\"\n")
    };
    let rules: String = free.iter().map(|path| rule(path, "allow")).chain([rule("/**", "deny")]).collect();
    format!(
        "name = \"closed\"\n[files]\ndefault = \"allow\"\n{rules}[network]\ndefault = \"deny\"\n\
         [[network.rules]]\nmatch = \"127.0.0.1:{port}\"\naction = \"allow\"\nreason = \"the model\"\n"
    )
}

fn runs_without_its_own_sandbox_where_ours_is_as_strong(agent: Agent, arguments: &[&str], name: &str) {
    let Some(mut world) = World::new(agent) else { return };
    let outside = "/var/wk-e2e-outside";
    let port = world.start_model(&[
        vec![shell(agent, "sed -i 's/helo/hello/' README.md")],
        vec![shell(agent, &format!("echo x > {outside}"))],
        vec![say("Done.")],
    ]);
    let begin = |world: &World| {
        let mut command = world.command(agent.name());
        world.introduce(&mut command, port);
        if agent == Agent::ClaudeCode {
            let settings = json!({"sandbox": {"enabled": true, "failIfUnavailable": true}});
            world.write("home/.claude/settings.json", &settings.to_string());
        }
        world.start(command.args(arguments).stdin(std::process::Stdio::null()))
    };
    let refused = begin(&world);
    assert_eq!(refused.end(), Some(2));
    let said = world.printed();
    assert!(said.contains(name) && said.contains("is weaker") && said.contains("/etc/passwd"), "{said}");

    world.write("policy.toml", &closed(port));
    assert_eq!(begin(&world).end(), Some(0), "{}", world.printed());
    world.is_complete();
    let instead = "SELECT session_id FROM records WHERE kind = 'session_started' AND \
                   array_has(session_started['confinement'], 'instead of NAME')";
    assert_eq!(world.sql(&instead.replace("NAME", name)).len(), 1);
    assert_eq!(std::fs::read_to_string(world.path("work/README.md")).unwrap(), "hello\n", "commands run");
    assert!(!std::path::Path::new(outside).exists(), "and write nowhere else");
    let tried = format!("SELECT DISTINCT outcome AS o FROM file_access WHERE path = '{outside}'");
    let outcomes = world.column(&tried, "o");
    assert!(!outcomes.is_empty() && outcomes.iter().all(|o| o == "DENIED" || o == "FAILED"), "{outcomes:?}");
}

#[test]
fn codex_workspace_write() {
    let arguments = ["exec", "--json", "--skip-git-repo-check", "-s", "workspace-write", TASK];
    runs_without_its_own_sandbox_where_ours_is_as_strong(Agent::Codex, &arguments, "codex workspace-write");
}

#[test]
fn claude_code_sandbox_runtime() {
    let arguments = ["-p", TASK, "--output-format", "stream-json", "--verbose", "--allowedTools", "Bash Read Edit"];
    runs_without_its_own_sandbox_where_ours_is_as_strong(Agent::ClaudeCode, &arguments, "claude-code sandbox");
}
