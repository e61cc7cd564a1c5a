//! How to reach the brokers: the part of a configuration file that every service shares.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

/// How to reach the brokers. Unknown keys are refused.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct Brokers {
    /// `host:port`, several separated by commas; any of them names the others.
    pub bootstrap: String,
    /// The name under which the brokers see this client. Default: `watchkeeper`.
    #[serde(default = "client_id")]
    pub client_id: String,
    /// How long a message may wait for the brokers, in milliseconds, before its producer stops.
    /// Default: for ever, because an audit record that cannot be delivered yet is kept, not given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery_timeout_ms: Option<u32>,
    /// A user name and a password. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sasl: Option<Sasl>,
    /// Encryption, and a client certificate if the brokers want one. Default: plain text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

/// A user name and a password.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct Sasl {
    /// Default: `SCRAM-SHA-512`.
    #[serde(default)]
    pub mechanism: SaslMechanism,
    /// The user name.
    pub username: String,
    /// A file that holds the password; a line break at its end is not part of it.
    pub password_file: PathBuf,
}

/// How the password is shown to the broker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
pub enum SaslMechanism {
    /// As it is; only together with TLS.
    #[serde(rename = "PLAIN")]
    Plain,
    /// By challenge and answer with SHA-256.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// By challenge and answer with SHA-512.
    #[default]
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

/// Encryption. An empty section means: the system's certificate authorities, no client certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Certificate authorities, PEM. Default: the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// The client's certificate, PEM; needs `key_file`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_file: Option<PathBuf>,
    /// The key of the client's certificate, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
}

/// Why no client could be made of a [`Brokers`].
#[derive(Debug, thiserror::Error)]
pub enum BrokersError {
    /// A file that it names cannot be read.
    #[error("failed to read `{}`", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// Values that do not go together.
    #[error("{0}")]
    Contradiction(&'static str),
    /// The client library refuses a value.
    #[error("the Kafka client refuses the configuration for {bootstrap}")]
    Client {
        /// The bootstrap servers.
        bootstrap: String,
        /// What the client library says.
        #[source]
        source: rdkafka::error::KafkaError,
    },
}

fn client_id() -> String {
    "watchkeeper".to_owned()
}

impl Brokers {
    /// Brokers without password or encryption, as on loopback.
    #[must_use]
    pub fn plain(bootstrap: impl Into<String>) -> Self {
        Self { bootstrap: bootstrap.into(), client_id: client_id(), delivery_timeout_ms: None, sasl: None, tls: None }
    }

    /// The same brokers, with a limit on how long a message may wait for them.
    #[must_use]
    pub fn with_delivery_timeout(mut self, limit: Duration) -> Self {
        self.delivery_timeout_ms = Some(u32::try_from(limit.as_millis()).unwrap_or(u32::MAX));
        self
    }

    /// What producer, reader and administration have in common.
    pub(crate) fn client_config(&self) -> Result<ClientConfig, BrokersError> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.bootstrap)
            .set("client.id", &self.client_id)
            .set("socket.nagle.disable", "true")
            .set("socket.keepalive.enable", "true")
            // A broker that comes back should be found in a moment, not after ten seconds of growing pauses.
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "1000")
            // What a client knows of leaders may be from the moment in which a broker went or came; then it waits for the next look, five
            // minutes by default.
            .set("topic.metadata.refresh.interval.ms", "10000")
            // A topic is made by an operator with its partitions and replicas, never by a typing error.
            .set("allow.auto.create.topics", "false")
            // Why a connection failed is told by the log alone; see `context.rs`.
            .set_log_level(RDKafkaLogLevel::Notice);
        if let Some(sasl) = &self.sasl {
            if sasl.mechanism == SaslMechanism::Plain && self.tls.is_none() {
                return Err(BrokersError::Contradiction(
                    "SASL mechanism PLAIN sends the password as it is and needs a `tls` section",
                ));
            }
            config
                .set("sasl.mechanism", mechanism(sasl.mechanism))
                .set("sasl.username", &sasl.username)
                .set("sasl.password", read_secret(&sasl.password_file)?);
        }
        if let Some(tls) = &self.tls {
            if tls.cert_file.is_some() != tls.key_file.is_some() {
                return Err(BrokersError::Contradiction("`tls.cert_file` and `tls.key_file` need each other"));
            }
            for (key, path) in [
                ("ssl.ca.location", &tls.ca_file),
                ("ssl.certificate.location", &tls.cert_file),
                ("ssl.key.location", &tls.key_file),
            ] {
                if let Some(path) = path {
                    readable(path)?;
                    config.set(key, path.to_string_lossy());
                }
            }
        }
        config.set(
            "security.protocol",
            match (self.sasl.is_some(), self.tls.is_some()) {
                (false, false) => "plaintext",
                (false, true) => "ssl",
                (true, false) => "sasl_plaintext",
                (true, true) => "sasl_ssl",
            },
        );
        Ok(config)
    }

    pub(crate) fn refused(&self, source: rdkafka::error::KafkaError) -> BrokersError {
        BrokersError::Client { bootstrap: self.bootstrap.clone(), source }
    }
}

fn mechanism(mechanism: SaslMechanism) -> &'static str {
    match mechanism {
        SaslMechanism::Plain => "PLAIN",
        SaslMechanism::ScramSha256 => "SCRAM-SHA-256",
        SaslMechanism::ScramSha512 => "SCRAM-SHA-512",
    }
}

pub(crate) fn read_secret(path: &Path) -> Result<String, BrokersError> {
    let text = std::fs::read_to_string(path).map_err(|source| BrokersError::File { path: path.to_owned(), source })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// librdkafka's own message for a missing certificate names no file.
fn readable(path: &Path) -> Result<(), BrokersError> {
    std::fs::File::open(path).map(drop).map_err(|source| BrokersError::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_key_is_refused() {
        let error =
            serde_json::from_str::<Brokers>(r#"{"bootstrap": "a:1", "bootstap": "b"}"#).unwrap_err().to_string();
        assert!(error.contains("unknown field `bootstap`"), "{error}");
    }

    #[test]
    fn password_is_read_from_its_file_without_the_line_break() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("password");
        std::fs::write(&file, "s3cret \n").unwrap();
        let brokers: Brokers = serde_json::from_value(serde_json::json!({
            "bootstrap": "a:1", "sasl": {"username": "wk", "password_file": file}, "tls": {}}))
        .unwrap();
        let config = brokers.client_config().unwrap();
        assert_eq!(config.get("sasl.password"), Some("s3cret "));
        assert_eq!(config.get("sasl.mechanism"), Some("SCRAM-SHA-512"));
        assert_eq!(config.get("security.protocol"), Some("sasl_ssl"));
    }

    #[test]
    fn missing_file_is_named() {
        let brokers: Brokers = serde_json::from_value(serde_json::json!({
            "bootstrap": "a:1", "tls": {"ca_file": "/nowhere/ca.pem"}}))
        .unwrap();
        assert_eq!(brokers.client_config().unwrap_err().to_string(), "failed to read `/nowhere/ca.pem`");
    }

    #[test]
    fn plain_password_without_encryption_is_refused() {
        let brokers: Brokers = serde_json::from_value(serde_json::json!({
            "bootstrap": "a:1",
            "sasl": {"mechanism": "PLAIN", "username": "wk", "password_file": "/nowhere"}}))
        .unwrap();
        assert!(matches!(brokers.client_config(), Err(BrokersError::Contradiction(_))));
    }
}
