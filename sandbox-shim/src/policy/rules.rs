//! A policy, ready to be asked: its rules in their order, and its limits.

use super::egress::Egress;
use super::explain::Trial;
use super::network::Host;
use super::verdict::{Action, On};
use globset::GlobMatcher;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use wk_schemas::Digest;

/// The two folders that patterns may name.
#[derive(Debug, Clone)]
pub struct Places {
    /// What `~` means.
    pub home: PathBuf,
    /// What `${workspace}` means.
    pub workspace: PathBuf,
}

/// A rule about files or programs.
#[derive(Debug)]
pub(super) struct PathRule {
    pub(super) pattern: String,
    pub(super) matcher: GlobMatcher,
    /// Of a process rule: what the arguments must look like.
    pub(super) arguments: Option<GlobMatcher>,
    pub(super) on: On,
    pub(super) action: Action,
    pub(super) reason: String,
}

/// A rule about the network.
#[derive(Debug)]
pub(super) struct NetworkRule {
    pub(super) text: String,
    pub(super) host: Host,
    pub(super) port: Option<u16>,
    pub(super) action: Action,
    pub(super) reason: String,
}

/// How much a session may use; `None` is as much as there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Memory of all its processes together, in bytes.
    pub memory_bytes: Option<u64>,
    /// Processes and threads at one time.
    pub processes: Option<u64>,
    /// How long it may run.
    pub time: Option<Duration>,
}

/// A policy, ready to be asked.
#[derive(Debug)]
pub struct Policy {
    /// The policy's name.
    pub name: String,
    /// SHA-256 of its text.
    pub digest: Digest,
    /// Its whole text.
    pub text: String,
    /// Where it came from: a file's path, a preset's name, or command.
    pub source: String,
    /// An unanswered hold is refused after this long.
    pub hold_timeout: Duration,
    /// How much the session may use.
    pub limits: Limits,
    pub(super) files: Vec<PathRule>,
    pub(super) files_default: Action,
    pub(super) files_write: Action,
    pub(super) process: Vec<PathRule>,
    pub(super) process_default: Action,
    pub(super) network: Vec<NetworkRule>,
    pub(super) network_default: Action,
    pub(super) dns: Action,
    pub(super) egress: Option<Egress>,
    /// Decides as well; the stricter verdict counts.
    pub(super) also: Option<Arc<Policy>>,
    pub(super) trials: Vec<Trial>,
}
