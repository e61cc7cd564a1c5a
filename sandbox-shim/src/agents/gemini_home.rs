//! The home that Gemini CLI is given for one run: the user's own, with our hooks in its settings.
//!
//! ```text
//! <session's folder>/gemini/.gemini/settings.json   the user's settings and our hooks
//!                                  /<else>          links to the user's ~/.gemini/<else>
//! ```
//! `GEMINI_CLI_HOME` points there. The user's folder is not changed; what Gemini keeps (login, history, trusted folders) goes through the
//! links and stays. What does not stay are changes of the settings made in the session: they are made to the copy.

use super::gemini::HOOKS;
use super::invocation::{Invocation, PrepareError};
use serde_json::{Map, Value, json};
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Names the folder above `.gemini`.
const HOME_VARIABLE: &str = "GEMINI_CLI_HOME";

/// Milliseconds that Gemini waits for a hook; when they are over it goes on as if allowed, so the client gives up earlier.
const HOOK_TIMEOUT_MS: u64 = 600_000;

/// Files that Gemini writes as it goes, whether they are there yet or not.
const KEPT_FILES: [&str; 8] = [
    "oauth_creds.json",
    "google_accounts.json",
    "installation_id",
    "projects.json",
    "state.json",
    "trustedFolders.json",
    "trusted_hooks.json",
    "mcp-oauth-tokens.json",
];

/// Folders that Gemini writes as it goes. A link to a folder that is not there cannot be entered, so they are made.
const KEPT_FOLDERS: [&str; 2] = ["tmp", "history"];

/// Makes the home and names it in the agent's environment.
///
/// # Errors
/// [`PrepareError::Settings`] when the user's settings cannot be read, [`PrepareError::Write`] when ours cannot be written.
pub(super) fn prepare(invocation: &mut Invocation, command: &str) -> Result<(), PrepareError> {
    let users = invocation.env_value(HOME_VARIABLE).or_else(|| invocation.env_value("HOME"));
    let users = PathBuf::from(users.unwrap_or_else(|| "/".into())).join(".gemini");
    let home = invocation.folder.join("gemini");
    let ours = home.join(".gemini");
    let write = |path: &Path| {
        let path = path.to_owned();
        move |source| PrepareError::Write { path, source }
    };
    fs::create_dir_all(&ours).map_err(write(&ours))?;
    for folder in KEPT_FOLDERS {
        let path = users.join(folder);
        fs::create_dir_all(&path).map_err(write(&path))?;
    }
    let present = fs::read_dir(&users).map_err(write(&users))?;
    let names = present.flatten().map(|entry| entry.file_name()).filter(|name| name != "settings.json");
    for name in names.chain(KEPT_FILES.map(Into::into)) {
        let link = ours.join(&name);
        match symlink(users.join(&name), &link) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(write(&link)(error)),
            _ => {}
        }
    }
    let settings = with_hooks(read(&users.join("settings.json"))?, command);
    let path = ours.join("settings.json");
    fs::write(&path, Value::Object(settings).to_string()).map_err(write(&path))?;
    invocation.set_env(HOME_VARIABLE, home.as_os_str());
    Ok(())
}

/// The user's settings; none is an empty file.
fn read(path: &Path) -> Result<Map<String, Value>, PrepareError> {
    let error = |source| PrepareError::Settings { path: path.display().to_string(), source };
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(absent) if absent.kind() == io::ErrorKind::NotFound => return Ok(Map::new()),
        Err(unreadable) => return Err(error(unreadable)),
    };
    match serde_json::from_str(&without_comments(&text)) {
        Ok(Value::Object(settings)) => Ok(settings),
        Ok(_) => Err(error(io::Error::other("they are not a JSON object"))),
        Err(source) => Err(error(source.into())),
    }
}

/// Adds our hooks to the user's. Hooks that the user has switched off stay off; ours run.
fn with_hooks(mut settings: Map<String, Value>, command: &str) -> Map<String, Value> {
    let config = settings.entry("hooksConfig").or_insert_with(|| json!({}));
    let were_off = config.get("enabled").is_some_and(|e| e == false);
    if let Some(config) = config.as_object_mut() {
        config.insert("enabled".into(), true.into());
    } else {
        *config = json!({"enabled": true});
    }
    let hooks = settings.entry("hooks").or_insert_with(|| json!({}));
    if were_off || !hooks.is_object() {
        *hooks = json!({});
    }
    let ours = json!({"hooks": [{"type": "command", "command": command, "timeout": HOOK_TIMEOUT_MS}]});
    for event in HOOKS {
        match hooks.get_mut(event).and_then(Value::as_array_mut) {
            Some(own) => own.push(ours.clone()),
            None => hooks[event] = json!([ours]),
        }
    }
    settings
}

/// Takes the comments out of a JSON text, as Gemini does.
fn without_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    let mut in_string = false;
    while let Some(c) = rest.next() {
        match (c, rest.peek()) {
            ('\\', Some(_)) if in_string => {
                out.push(c);
                out.extend(rest.next());
            }
            ('"', _) => {
                in_string = !in_string;
                out.push(c);
            }
            ('/', Some('/')) if !in_string => {
                rest.by_ref().find(|c| *c == '\n');
                out.push('\n');
            }
            ('/', Some('*')) if !in_string => {
                rest.next();
                while let Some(c) = rest.next() {
                    if c == '*' && rest.next_if_eq(&'/').is_some() {
                        break;
                    }
                }
            }
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invocation(folder: &Path) -> Invocation {
        Invocation {
            argv: vec!["gemini".into()],
            env: vec![("HOME".into(), folder.join("user").into())],
            folder: folder.join("session"),
            socket: "/tmp/s".into(),
            hook: vec!["/opt/wk".into(), "hook".into()],
            reads_stdout: false,
            is_dialogue: false,
            receives_otlp: false,
            cwd: "/".into(),
            own_sandbox: None,
        }
    }

    #[test]
    fn the_users_settings_and_files_stay_and_our_hooks_come_beside_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let users = folder.path().join("user/.gemini");
        fs::create_dir_all(&users).unwrap();
        let own = r#"{ // mine
            "ui": {"theme": "a // b"}, /* and */ "hooks": {"BeforeTool": [{"matcher": "x", "hooks": []}]}}"#;
        fs::write(users.join("settings.json"), own).unwrap();
        fs::write(users.join("GEMINI.md"), "be kind").unwrap();
        let mut invocation = invocation(folder.path());
        prepare(&mut invocation, "/opt/wk hook gemini").unwrap();
        let ours = folder.path().join("session/gemini/.gemini");
        assert_eq!(invocation.env_value(HOME_VARIABLE).unwrap(), ours.parent().unwrap());
        let written: Value = serde_json::from_slice(&fs::read(ours.join("settings.json")).unwrap()).unwrap();
        assert_eq!(written["ui"]["theme"], "a // b");
        assert_eq!(written["hooks"]["BeforeTool"][0]["matcher"], "x");
        assert_eq!(written["hooks"]["BeforeTool"][1]["hooks"][0]["command"], "/opt/wk hook gemini");
        assert_eq!(fs::read_to_string(ours.join("GEMINI.md")).unwrap(), "be kind");
        fs::write(ours.join("oauth_creds.json"), "{}").unwrap();
        fs::write(ours.join("tmp/x"), "kept").unwrap();
        assert_eq!(fs::read_to_string(users.join("oauth_creds.json")).unwrap(), "{}");
        assert_eq!(fs::read_to_string(users.join("tmp/x")).unwrap(), "kept");
        assert_eq!(fs::read_to_string(users.join("settings.json")).unwrap(), own, "the user's file is not touched");
    }

    #[test]
    fn hooks_that_the_user_has_switched_off_stay_off() {
        let own = json!({"hooksConfig": {"enabled": false}, "hooks": {"BeforeTool": [{"hooks": []}]}});
        let Value::Object(own) = own else { unreachable!() };
        let settings = with_hooks(own, "h");
        assert_eq!(settings["hooksConfig"]["enabled"], true);
        assert_eq!(settings["hooks"]["BeforeTool"].as_array().unwrap().len(), 1);
        assert_eq!(settings["hooks"]["BeforeTool"][0]["hooks"][0]["command"], "h");
    }

    #[test]
    fn settings_that_cannot_be_read_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let users = folder.path().join("user/.gemini");
        fs::create_dir_all(&users).unwrap();
        fs::write(users.join("settings.json"), "{").unwrap();
        let error = prepare(&mut invocation(folder.path()), "h").unwrap_err();
        assert!(matches!(&error, PrepareError::Settings { path, .. } if path.ends_with("settings.json")), "{error}");
    }
}
