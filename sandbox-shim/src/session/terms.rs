//! What a session is asked to do, how it ended, and why there was none.

use crate::agents::mcp_http::Route;
use crate::agents::{self, own_sandbox};
use crate::config::Config;
use crate::drain::LogAddress;
use crate::ephemeral::{Changes, Overlay};
use crate::outbox::OutboxError;
use crate::policy::PolicyError;
use crate::supervise;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use wk_schemas::SessionId;

/// What to run, and for whom.
#[derive(Debug, Clone)]
pub struct SessionConfig {
    /// The agent's command line.
    pub argv: Vec<OsString>,
    /// The agent's environment.
    pub env: Vec<(OsString, OsString)>,
    /// Where it starts.
    pub cwd: PathBuf,
    /// The folder it is meant to work in; `None` is `cwd`.
    pub workspace: Option<PathBuf>,
    /// The adapter: claude-code, codex, jsonl; `None` for a program that says nothing.
    pub agent: Option<String>,
    /// A policy file or the name of a preset; `None` is what `config` says.
    pub policy: Option<String>,
    /// The user's home folder: what `~` means in policies and commands.
    pub home: PathBuf,
    /// Stands in every record.
    pub tenant: String,
    /// Name of this host.
    pub host: String,
    /// On whose behalf the agent runs.
    pub principal: Option<String>,
    /// The data folder. The agent cannot reach it.
    pub data: PathBuf,
    /// More paths that the agent must not reach.
    pub protected: Vec<PathBuf>,
    /// The log.
    pub log: LogAddress,
    /// The key that commands must be signed with.
    pub command_key: ed25519_dalek::VerifyingKey,
    /// The hook client's command line, to which the agent's name is added: `["/usr/bin/wk", "hook"]`.
    pub hook: Vec<String>,
    /// MCP servers behind HTTP, which are reached through a proxy of the shim's.
    pub mcp_http: Vec<Route>,
    /// The overlay that the agent works on instead of its workspace, already entered, and the session that it was laid for.
    pub overlay: Option<(SessionId, Arc<Overlay>)>,
    /// What the shim itself runs inside of, as far as it was told; stands in `session_started`.
    pub inside: Option<String>,
    /// The rest.
    pub config: Config,
}

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionEnd {
    /// The session.
    pub session_id: SessionId,
    /// Exit code of the agent.
    pub exit_code: Option<i32>,
    /// Signal that ended it.
    pub signal: Option<i32>,
    /// As in `session_ended`: exited, killed, shim_failed, outbox_full.
    pub reason: &'static str,
    /// Records that the log does not have yet; they are in the outbox, and the next session or `wk-shim drain` brings them there.
    pub waiting: u64,
    /// Commands that were refused.
    pub refused_commands: u64,
    /// What the agent changed on its overlay; `None` when it worked on the workspace itself, or changed nothing.
    pub changes: Option<Changes>,
}

impl SessionEnd {
    /// What a shell would say: the agent's exit code, or 128 and its signal.
    #[must_use]
    pub fn code(&self) -> u8 {
        let code = self.exit_code.or(self.signal.map(|s| 128 + s)).unwrap_or(1);
        u8::try_from(code & 0xff).unwrap_or(1)
    }
}

/// Why a session could not be started or kept.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// No such adapter.
    #[error("there is no adapter `{name}`; there are {}", agents::ADAPTERS.join(", "))]
    UnknownAgent {
        /// As given.
        name: String,
    },
    /// The policy cannot be read.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The outbox cannot be used.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// The agent cannot be made to talk to us.
    #[error(transparent)]
    Prepare(#[from] agents::PrepareError),
    /// The agent's own sandbox was stronger than the policy.
    #[error(transparent)]
    Weaker(#[from] own_sandbox::Weaker),
    /// The agent cannot be started.
    #[error(transparent)]
    Launch(#[from] supervise::LaunchError),
    /// The log cannot be reached, so nothing was started: commands could not arrive.
    #[error("the log at {brokers} cannot be reached, so nothing was started")]
    NoLog {
        /// The brokers.
        brokers: String,
        /// What was tried.
        #[source]
        source: anyhow::Error,
    },
    /// Something else failed.
    #[error("{0:#}")]
    Other(anyhow::Error),
}

impl From<anyhow::Error> for SessionError {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}
