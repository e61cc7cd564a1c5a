//! Codex's own sandbox: finds out which one the user has chosen, and switches it off.
//!
//! `read-only` and `workspace-write` start bubblewrap for each command, which the shim's filter refuses. Where the user has chosen neither,
//! our policy is the only choice that was made, and it counts. An `app-server` is told the mode by its interface, in messages that pass
//! unchanged: the interface must ask for `danger-full-access`.

use super::invocation::Invocation;
use super::own_sandbox::OwnSandbox;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

/// The mode without a sandbox.
const NONE: &str = "danger-full-access";

/// Makes Codex run commands without a sandbox of its own; says which one that was, if the user had chosen one.
pub(super) fn switch_off(invocation: &mut Invocation, program: usize) -> Option<OwnSandbox> {
    let flags = ["--dangerously-bypass-approvals-and-sandbox", "--yolo"];
    if flags.iter().any(|flag| invocation.has(flag)) {
        return None;
    }
    let chosen = given(&mut invocation.argv);
    if chosen.is_none() {
        // A setting of the command line wins over those of files.
        invocation.insert(program, vec!["-c".into(), format!("sandbox_mode=\"{NONE}\"").into()]);
    }
    let mode = chosen.or_else(|| configured(invocation))?;
    let (writes_workspace, reaches_network) = match mode.as_str() {
        "read-only" => (false, false),
        "workspace-write" => (true, network_in_workspace_write(invocation)),
        _ => return None,
    };
    Some(OwnSandbox {
        name: format!("codex {mode}"),
        without: "give codex `-s danger-full-access`, if the policy you chose is what you want",
        writes_workspace,
        reaches_network,
    })
}

/// The mode of the command line, which is changed to none.
fn given(argv: &mut [OsString]) -> Option<String> {
    let mut found = None;
    let mut names_next = None;
    for word in argv {
        let text = word.to_string_lossy().into_owned();
        let end_of_options = text == "--";
        let (before, mode) = match (names_next.take(), text.split_once('=')) {
            (Some("flag"), _) => ("", text.as_str()),
            (Some(_), Some(("sandbox_mode", mode))) => ("sandbox_mode=", mode.trim_matches(['"', '\''])),
            (_, Some(("--sandbox", mode))) => ("--sandbox=", mode),
            _ => {
                names_next = match text.as_str() {
                    "-s" | "--sandbox" => Some("flag"),
                    "-c" | "--config" => Some("setting"),
                    _ => None,
                };
                if end_of_options {
                    break;
                }
                continue;
            }
        };
        found = Some(mode.to_owned());
        *word = format!("{before}{NONE}").into();
    }
    found
}

/// The configuration files that count for this run, the strongest first.
fn configurations(invocation: &Invocation) -> Vec<toml::Table> {
    let home = invocation.env_value("CODEX_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(invocation.env_value("HOME")?).join(".codex")));
    let Some(home) = home else { return Vec::new() };
    let words: Vec<_> = invocation.argv.iter().map(|a| a.to_string_lossy()).collect();
    let profile =
        words.windows(2).find(|w| w[0] == "-p" || w[0] == "--profile").map(|w| format!("{}.config.toml", w[1]));
    let names = profile.into_iter().chain(["config.toml".to_owned()]);
    let read = |name: String| fs::read_to_string(home.join(name)).ok()?.parse().ok();
    names.filter_map(read).collect()
}

fn configured(invocation: &Invocation) -> Option<String> {
    let tables = configurations(invocation);
    tables.iter().find_map(|table| table.get("sandbox_mode")?.as_str().map(str::to_owned))
}

fn network_in_workspace_write(invocation: &Invocation) -> bool {
    let tables = configurations(invocation);
    let setting =
        tables.iter().find_map(|table| table.get("sandbox_workspace_write")?.get("network_access")?.as_bool());
    setting.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn invocation(argv: &[&str], home: &Path) -> Invocation {
        Invocation {
            argv: argv.iter().map(Into::into).collect(),
            env: vec![("CODEX_HOME".into(), home.into())],
            folder: "/tmp".into(),
            socket: "/tmp/s".into(),
            hook: Vec::new(),
            reads_stdout: false,
            is_dialogue: false,
            receives_otlp: false,
            cwd: "/".into(),
            own_sandbox: None,
        }
    }

    fn words(invocation: &Invocation) -> Vec<&str> {
        invocation.argv.iter().map(|a| a.to_str().unwrap()).collect()
    }

    #[test]
    fn the_mode_of_the_command_line_is_found_in_every_spelling_and_switched_off() {
        let folder = tempfile::tempdir().unwrap();
        for (argv, off) in [
            (&["codex", "exec", "-s", "workspace-write", "hi"][..], &["codex", "exec", "-s", NONE, "hi"][..]),
            (&["codex", "--sandbox=workspace-write"], &["codex", "--sandbox=danger-full-access"]),
            (
                &["codex", "-c", "sandbox_mode=\"workspace-write\"", "hi"],
                &["codex", "-c", "sandbox_mode=danger-full-access", "hi"],
            ),
        ] {
            let mut invocation = invocation(argv, folder.path());
            let own = switch_off(&mut invocation, 0).unwrap();
            assert_eq!((own.name.as_str(), own.writes_workspace), ("codex workspace-write", true));
            assert_eq!(words(&invocation), off);
        }
        let mut free = invocation(&["codex", "-s", NONE], folder.path());
        assert_eq!(switch_off(&mut free, 0), None);
        // What is asked of the agent is no option of its.
        let mut prompt = invocation(&["codex", "exec", "--", "-s", "read-only"], folder.path());
        assert_eq!(switch_off(&mut prompt, 0), None);
        assert_eq!(words(&prompt)[5..], ["-s", "read-only"]);
    }

    #[test]
    fn the_mode_of_the_users_configuration_counts_when_the_command_line_has_none() {
        let folder = tempfile::tempdir().unwrap();
        let config = "sandbox_mode = \"workspace-write\"\n[sandbox_workspace_write]\nnetwork_access = true\n";
        fs::write(folder.path().join("config.toml"), config).unwrap();
        fs::write(folder.path().join("careful.config.toml"), "sandbox_mode = \"read-only\"\n").unwrap();
        let mut plain = invocation(&["codex", "exec", "hi"], folder.path());
        let own = switch_off(&mut plain, 0).unwrap();
        assert_eq!((own.name.as_str(), own.reaches_network), ("codex workspace-write", true));
        assert_eq!(words(&plain), ["codex", "-c", "sandbox_mode=\"danger-full-access\"", "exec", "hi"]);
        let mut careful = invocation(&["codex", "-p", "careful", "exec", "hi"], folder.path());
        assert_eq!(switch_off(&mut careful, 0).unwrap().name, "codex read-only");
    }
}
