//! `[[alerts]]` of `watcher.toml`: who is told, of what, how.

use crate::ladder::StepName;
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;

/// The language of a receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// JSON over HTTP, signed as Standard Webhooks has it.
    Webhook,
    /// Slack's incoming webhooks, and whatever takes the same.
    Slack,
    /// RFC 5424, over TLS (RFC 5425) or TCP.
    Syslog,
    /// OpenTelemetry logs, OTLP over HTTP with JSON.
    Otlp,
}

/// One receiver. Unknown keys are refused.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertConfig {
    /// Names the receiver; its cursor goes by it.
    pub name: String,
    /// webhook, slack, syslog or otlp.
    pub kind: Kind,
    /// Where to: `https://…`, or `tls://host:6514` and `tcp://host:514` for syslog. For otlp the whole path, `…/v1/logs`.
    pub url: String,
    /// webhook: file with the secret that signs, `whsec_…` or plain. otlp: file with a bearer token.
    #[serde(default)]
    pub key_file: Option<PathBuf>,
    /// PEM file of authorities that are trusted beside the system's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// PEM file of a certificate that the receiver knows us by.
    #[serde(default)]
    pub certificate_file: Option<PathBuf>,
    /// The key of that certificate (PKCS #8).
    #[serde(default)]
    pub certificate_key_file: Option<PathBuf>,
    /// URL of a proxy; not for syslog.
    #[serde(default)]
    pub proxy: Option<String>,
    /// Only findings with this step or a higher one. Default: warn.
    #[serde(default = "least")]
    pub least: StepName,
    /// What cannot be delivered for so long becomes a dead letter. Default: 10 minutes.
    #[serde(default = "give_up_after", with = "humantime_serde")]
    pub give_up_after: Duration,
}

const fn least() -> StepName {
    StepName::Warn
}

const fn give_up_after() -> Duration {
    Duration::from_secs(600)
}
