//! `shim.toml`, and the environment: the one file of this crate that reads either.
#![expect(clippy::disallowed_methods, reason = "this file owns the environment")]

use crate::drain::LogAddress;
use crate::recorder::Limits;
use serde::Deserialize;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;
use wk_wire::Brokers;
use wk_wire::registry::RegistryConfig;

/// Names the session's socket in the agent's environment.
pub const SOCKET_VARIABLE: &str = "WATCHKEEPER_SOCKET";

/// What the shim may be told beyond the session itself; `[shim]` of `wk.toml`. Unknown keys are refused.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// A policy file, or the name of a preset: read-only, workspace, workspace+network, walled, build, strict, observe. Default: workspace.
    pub policy: String,
    /// The most records that may wait for the log; at eight tenths of it the agent is frozen until half of them are gone.
    /// Default: 1,000,000.
    pub outbox_records_max: u64,
    /// The most bytes that may wait for the log. Default: 512 MiB.
    pub outbox_bytes_max: u64,
    /// How long the end of a session waits for the log to take the rest. Default: 10 seconds.
    #[serde(with = "humantime_serde")]
    pub drain_patience: Duration,
    /// How long the start of a session waits for a broker to take a connection, and how long the agent then goes on before the log
    /// has been reached; after that it stands still until it is. Default: 15 seconds.
    #[serde(with = "humantime_serde")]
    pub connect_patience: Duration,
    /// Whether, as root, fanotify watches what the kernel opens to execute programs: interpreters, loaders, and a program other than
    /// the one asked for. It takes one of the user's fanotify groups for each session. Default: true.
    pub fanotify: bool,
    /// Whether, as root in the machine's own namespaces, an eBPF program tells how calls ended that were let through. While a session runs,
    /// every call of the machine passes it. Default: true.
    pub ebpf: bool,
    /// Whether, where [`Config::ebpf`] is possible and the policy leaves every read free, opens for reading do not wait for the shim: an eBPF program tells of
    /// them a moment later. Reading costs a fraction then; what that gives up is in `docs/0008-reads.md`. Default: false.
    pub ebpf_reads: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            policy: "workspace".into(),
            outbox_records_max: 1_000_000,
            outbox_bytes_max: 512 << 20,
            drain_patience: Duration::from_secs(10),
            connect_patience: Duration::from_secs(15),
            fanotify: true,
            ebpf: true,
            ebpf_reads: false,
        }
    }
}

impl Config {
    /// The limits of an outbox.
    #[must_use]
    pub const fn limits(&self) -> Limits {
        Limits { records_max: self.outbox_records_max, bytes_max: self.outbox_bytes_max }
    }
}

/// `shim.toml` of a shim that runs as a program of its own. Unknown keys are refused.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// The data folder; outboxes lie in it, and the agent never sees it. Default: ~/.local/share/watchkeeper.
    pub data: Option<PathBuf>,
    /// Stands in every record. Default: `default`.
    #[serde(default = "default_tenant")]
    pub tenant: String,
    /// On whose behalf agents run. Default: the user's name.
    pub principal: Option<String>,
    /// The public key that commands must be signed with, PEM. Default: `keys/command.pub` in the data folder.
    pub command_key: Option<PathBuf>,
    /// The brokers. Default: what `--brokers` says.
    pub brokers: Option<Brokers>,
    /// The schema registry. Default: what `--registry` says.
    pub registry: Option<RegistryConfig>,
    /// The rest.
    #[serde(default)]
    pub shim: Config,
}

fn default_tenant() -> String {
    "default".into()
}

impl Default for File {
    fn default() -> Self {
        Self {
            data: None,
            tenant: default_tenant(),
            principal: None,
            command_key: None,
            brokers: None,
            registry: None,
            shim: Config::default(),
        }
    }
}

impl File {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// A sentence that names the file, and what is wrong where in it.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        use anyhow::Context as _;
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("failed to read the configuration `{}`", path.display()))?;
        toml::from_str(&text).with_context(|| format!("`{}` is not a configuration of wk-shim", path.display()))
    }

    /// The data folder.
    ///
    /// # Errors
    /// When neither the file nor the environment names one.
    pub fn data(&self) -> anyhow::Result<PathBuf> {
        match (&self.data, home()) {
            (Some(data), _) => Ok(data.clone()),
            (None, Some(home)) => Ok(home.join(".local/share/watchkeeper")),
            (None, None) => anyhow::bail!("no data folder: HOME is not set; give `data` in the configuration"),
        }
    }

    /// Where the log is.
    ///
    /// # Errors
    /// When the file does not say.
    pub fn log(&self) -> anyhow::Result<LogAddress> {
        match (&self.brokers, &self.registry) {
            (Some(brokers), Some(registry)) => Ok(LogAddress { brokers: brokers.clone(), registry: registry.clone() }),
            (None, _) => anyhow::bail!("no log: give --brokers, or [brokers] in the configuration"),
            (_, None) => anyhow::bail!("no schema registry: give --registry, or [registry] in the configuration"),
        }
    }
}

/// The user's home folder.
#[must_use]
pub fn home() -> Option<PathBuf> {
    std::env::var_os("HOME").map(PathBuf::from)
}

/// The user's name, as the environment says.
#[must_use]
pub fn user_name() -> Option<String> {
    std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).ok()
}

/// The whole environment, for the agent to inherit.
#[must_use]
pub fn environment() -> Vec<(OsString, OsString)> {
    std::env::vars_os().collect()
}

/// The session that this process belongs to.
#[must_use]
pub fn session_socket() -> Option<PathBuf> {
    std::env::var_os(SOCKET_VARIABLE).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delivered_configuration_lists_every_key_with_its_default() {
        let file: File = toml::from_str(include_str!("../../deploy/config/shim.toml")).unwrap();
        assert_eq!(file.shim, Config::default());
        assert_eq!(file.tenant, default_tenant());
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let error = toml::from_str::<File>("[shim]\npolicie = \"x\"").unwrap_err().to_string();
        assert!(error.contains("policie"), "{error}");
    }
}
