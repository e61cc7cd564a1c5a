//! The client of a schema registry that speaks Confluent's REST protocol; Redpanda brings one.

mod http;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use hyper::{Method, StatusCode};

use self::http::{Broken, Http};
use crate::kafka::BrokersError;
use crate::log::Disposition;

/// What the protocol calls its JSON.
pub const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";

/// The registry has no such subject.
pub(crate) const SUBJECT_NOT_FOUND: u32 = 40401;
/// The subject has no such version.
pub(crate) const VERSION_NOT_FOUND: u32 = 40402;
/// The registry has no such schema.
pub(crate) const SCHEMA_NOT_FOUND: u32 = 40403;

/// How to reach the registry. Unknown keys are refused.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct RegistryConfig {
    /// `http://host:port` or `https://host:port`.
    pub url: String,
    /// A user name; needs `password_file`. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// A file that holds the password; a line break at its end is not part of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// Certificate authorities, PEM. Default: the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
}

/// Asks a registry. Cheap to clone; clones share what they have learned.
#[derive(Debug, Clone)]
pub struct Client {
    http: Arc<Http>,
    url: Arc<str>,
    /// A schema never changes under its id.
    by_id: Arc<Mutex<HashMap<i32, Arc<str>>>>,
}

/// The newest schema of a subject.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Latest {
    /// The id that values carry.
    pub id: i32,
    /// Counts the schemas of the subject from 1.
    pub version: i32,
    /// The schema, as JSON text.
    pub schema: String,
}

/// Why the registry gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// No schema has this id: the message is from elsewhere, or the registry is another one.
    #[error("the registry at {url} has no schema with id {id}")]
    UnknownSchema {
        /// The id asked for.
        id: i32,
        /// The registry.
        url: String,
    },
    /// The registry knows nothing under this name.
    #[error("the registry at {url} has no subject `{subject}`")]
    UnknownSubject {
        /// The subject asked for.
        subject: String,
        /// The registry.
        url: String,
    },
    /// The registry answered with an error.
    #[error("the registry at {url} answers with error {code}: {message}")]
    Refused {
        /// The registry.
        url: String,
        /// Its own number, of which the first three digits are the HTTP status.
        code: u32,
        /// What it says.
        message: String,
    },
    /// What answered is no registry.
    #[error("what answers at {url} is no schema registry: {found}")]
    Foreign {
        /// The address.
        url: String,
        /// The status, and the beginning of what it said.
        found: String,
    },
    /// Nobody answered.
    #[error("no answer from the registry at {url}")]
    Unreachable {
        /// The registry.
        url: String,
        /// What went wrong.
        #[source]
        source: Broken,
    },
    /// The address or a file of the configuration is wrong.
    #[error("the configuration of the registry at {url} is wrong: {reason}")]
    Config {
        /// The address.
        url: String,
        /// Which value, and why.
        reason: String,
    },
}

impl RegistryError {
    /// What a loop does about it.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::UnknownSchema { .. } => Disposition::SetAside,
            Self::Unreachable { .. } => Disposition::Retry,
            // A registry that is overloaded or without a leader says 5xx.
            Self::Refused { code, .. } if code / 100 == 5 || code / 10_000 == 5 => Disposition::Retry,
            Self::UnknownSubject { .. } | Self::Refused { .. } | Self::Foreign { .. } | Self::Config { .. } => {
                Disposition::Stop
            }
        }
    }
}

#[derive(serde::Deserialize)]
struct ErrorBody {
    error_code: u32,
    #[serde(default)]
    message: String,
}

#[derive(serde::Deserialize)]
struct Registered {
    id: i32,
}

#[derive(serde::Deserialize)]
struct Schema {
    schema: String,
}

impl Client {
    /// A client without password or certificate, as on loopback.
    ///
    /// # Errors
    /// [`RegistryError::Config`] when `url` is none.
    pub fn new(url: &str) -> Result<Self, RegistryError> {
        Self::connect(&RegistryConfig { url: url.to_owned(), username: None, password_file: None, ca_file: None })
    }

    /// Makes a client. It connects at the first question.
    ///
    /// # Errors
    /// [`RegistryError::Config`].
    pub fn connect(config: &RegistryConfig) -> Result<Self, RegistryError> {
        let wrong = |reason: String| RegistryError::Config { url: config.url.clone(), reason };
        let url = url::Url::parse(&config.url).map_err(|error| wrong(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong(format!("`{}` is not http or https", url.scheme())));
        }
        let mut authorities = Vec::new();
        if let Some(path) = &config.ca_file {
            let of_file = |error: String| wrong(format!("`{}`: {error}", path.display()));
            let pem = std::fs::read(path).map_err(|error| of_file(error.to_string()))?;
            authorities = reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| of_file(error.to_string()))?;
        }
        let login = match (&config.username, &config.password_file) {
            (None, None) => None,
            (Some(name), Some(file)) => {
                let password =
                    crate::kafka::read_secret(file).map_err(|error: BrokersError| wrong(error.to_string()))?;
                Some((name.clone(), password))
            }
            _ => return Err(wrong("username and password_file need each other".into())),
        };
        Ok(Self {
            http: Arc::new(Http::new(&url, authorities, login).map_err(|error| wrong(error.to_string()))?),
            url: config.url.trim_end_matches('/').into(),
            by_id: Arc::default(),
        })
    }

    /// Makes `schema` (JSON text) the newest of the topic's values and returns its id. Doing it again returns the same id.
    ///
    /// # Errors
    /// [`RegistryError::Refused`] when it is no schema or is incompatible with the one before.
    pub async fn register(&self, topic: &str, schema: &str) -> Result<i32, RegistryError> {
        let subject = subject(topic);
        let path = format!("/subjects/{subject}/versions");
        let body = serde_json::json!({"schema": schema, "schemaType": "AVRO"});
        let registered: Registered = self.ask(Method::POST, &path, Some(&body)).await?;
        let mut known = self.by_id.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(registered.id, schema.into());
        Ok(registered.id)
    }

    /// The schema of an id, as JSON text; asked for once.
    ///
    /// # Errors
    /// [`RegistryError::UnknownSchema`].
    pub async fn by_id(&self, id: i32) -> Result<Arc<str>, RegistryError> {
        if let Some(schema) = self.cached(id) {
            return Ok(schema);
        }
        let asked = self.ask::<Schema>(Method::GET, &format!("/schemas/ids/{id}"), None).await;
        let schema: Arc<str> = match asked {
            Ok(found) => found.schema.into(),
            Err(RegistryError::Refused { code: SCHEMA_NOT_FOUND | 404, url, .. }) => {
                return Err(RegistryError::UnknownSchema { id, url });
            }
            Err(error) => return Err(error),
        };
        let mut known = self.by_id.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(known.entry(id).or_insert(schema)))
    }

    /// The newest schema of the topic's values.
    ///
    /// # Errors
    /// [`RegistryError::UnknownSubject`].
    pub async fn latest(&self, topic: &str) -> Result<Latest, RegistryError> {
        let subject = subject(topic);
        let path = format!("/subjects/{subject}/versions/latest");
        match self.ask(Method::GET, &path, None).await {
            Err(RegistryError::Refused { code: SUBJECT_NOT_FOUND | VERSION_NOT_FOUND | 404, url, .. }) => {
                Err(RegistryError::UnknownSubject { subject, url })
            }
            answer => answer,
        }
    }

    fn cached(&self, id: i32) -> Option<Arc<str>> {
        let known = self.by_id.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&id).cloned()
    }

    async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> Result<T, RegistryError> {
        let unreachable = |source| RegistryError::Unreachable { url: self.url.to_string(), source };
        let url = format!("{}{path}", self.url);
        let (status, text) = self.http.ask(method, &url, body.map(ToString::to_string)).await.map_err(unreachable)?;
        self.read(status, &text)
    }

    fn read<T: serde::de::DeserializeOwned>(&self, status: StatusCode, text: &[u8]) -> Result<T, RegistryError> {
        let url = self.url.to_string();
        if status.is_success()
            && let Ok(answer) = serde_json::from_slice(text)
        {
            return Ok(answer);
        }
        if let Ok(error) = serde_json::from_slice::<ErrorBody>(text) {
            return Err(RegistryError::Refused { url, code: error.error_code, message: error.message });
        }
        let start: String = String::from_utf8_lossy(text).chars().take(120).collect();
        let found = format!("{status}, {start:?}");
        if status.is_server_error() {
            // A gateway in front of the registry answers in its own words.
            return Err(RegistryError::Refused { url, code: u32::from(status.as_u16()), message: found });
        }
        Err(RegistryError::Foreign { url, found })
    }
}

/// The subject of a topic's values, as the stock clients name it.
fn subject(topic: &str) -> String {
    format!("{topic}-value")
}
