//! How the agent is started, while adapters may still change it.

use super::own_sandbox::OwnSandbox;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

/// The agent's command line and environment before the start.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// The program and its arguments.
    pub argv: Vec<OsString>,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// Where it starts.
    pub cwd: PathBuf,
    /// A private folder that the agent may read, for files made for it.
    pub folder: PathBuf,
    /// Path of the session's socket.
    pub socket: PathBuf,
    /// The command line of the hook client: the shim's own program, without the agent's name.
    pub hook: Vec<String>,
    /// Whether the agent's standard output is a stream of JSON that the adapter reads. Set by the adapter.
    pub reads_stdout: bool,
    /// Whether the agent talks with another program by JSON lines on its standard input and output, and the adapter reads both.
    /// Set by the adapter.
    pub is_dialogue: bool,
    /// Whether the agent tells by OpenTelemetry what it does. Set by the adapter.
    pub receives_otlp: bool,
    /// The agent's own sandbox, which was switched off because it cannot work under ours. Set by the adapter.
    pub own_sandbox: Option<OwnSandbox>,
}

impl Invocation {
    /// The command line that an agent is told to run as its hook: nothing in it needs quoting by a shell.
    ///
    /// # Errors
    /// [`PrepareError::Unquotable`] when a path in it would.
    pub fn hook_command(&self, agent: &str) -> Result<String, PrepareError> {
        // The socket is in the agent's environment, which hooks inherit.
        let words = self.hook.iter().map(String::as_str).chain([agent]);
        let mut command = String::new();
        for word in words {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@:,=".contains(c);
            if word.is_empty() || !word.chars().all(is_plain) {
                return Err(PrepareError::Unquotable { word: word.to_owned() });
            }
            if !command.is_empty() {
                command.push(' ');
            }
            command.push_str(word);
        }
        Ok(command)
    }

    /// Where in the command line the agent's own program stands: first, or behind a runner such as `node` or `npx`.
    ///
    /// # Errors
    /// [`PrepareError::NotTheAgent`] when it is not among the first few words.
    pub fn program(&self, names: &[&str], agent: &'static str) -> Result<usize, PrepareError> {
        let is_it = |word: &OsString| {
            let name = Path::new(word).file_name().and_then(OsStr::to_str);
            name.is_some_and(|n| names.contains(&n))
        };
        self.argv.iter().take(4).position(is_it).ok_or_else(|| PrepareError::NotTheAgent {
            agent,
            command: self.argv.iter().map(|a| a.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" "),
        })
    }

    /// Puts arguments directly behind the word at `position`.
    pub fn insert(&mut self, position: usize, arguments: Vec<OsString>) {
        let at = position + 1;
        self.argv.splice(at..at, arguments);
    }

    /// Sets a variable of the agent's environment unless the user has set it.
    pub fn default_env(&mut self, name: &str, value: &str) {
        if !self.env.iter().any(|(n, _)| n == name) {
            self.env.push((name.into(), value.into()));
        }
    }

    /// Sets a variable of the agent's environment.
    pub fn set_env(&mut self, name: &str, value: &OsStr) {
        self.env.retain(|(n, _)| n != name);
        self.env.push((name.into(), value.to_owned()));
    }

    /// A variable of the agent's environment.
    #[must_use]
    pub fn env_value(&self, name: &str) -> Option<OsString> {
        self.env.iter().rev().find(|(n, _)| n == name).map(|(_, value)| value.clone())
    }

    /// Whether one of the arguments is exactly `word`.
    #[must_use]
    pub fn has(&self, word: &str) -> bool {
        self.argv.iter().any(|a| a == word)
    }
}

/// The agent cannot be made to talk to the shim, so it is not started.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The command line does not start the agent that was named.
    #[error("`{command}` does not start {agent}: give the agent's own command, or leave out --agent")]
    NotTheAgent {
        /// The agent that was named.
        agent: &'static str,
        /// The command line.
        command: String,
    },
    /// The user's own arguments and ours cannot both be had.
    #[error("the agent's argument `{argument}` cannot be joined with the shim's hooks: {reason}")]
    Conflict {
        /// The argument.
        argument: String,
        /// What to do instead.
        reason: &'static str,
    },
    /// A path of ours would need quoting.
    #[error("`{word}` cannot stand in a hook's command line: move the program to a path without blanks")]
    Unquotable {
        /// The word.
        word: String,
    },
    /// The user's settings cannot be read.
    #[error("the settings `{path}` cannot be read")]
    Settings {
        /// Where they are.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file for the agent cannot be written.
    #[error("`{path}` cannot be written")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}
