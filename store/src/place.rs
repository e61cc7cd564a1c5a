//! Where a lake is: a folder of this machine, or a bucket of a store that speaks S3 and puts if absent.
//!
//! ```text
//! /srv/lake            a folder; every write is synced before it counts
//! s3://bucket/prefix   an object store: Amazon S3, MinIO, Ceph, R2, …; it must heed `If-None-Match: *` on PUT
//! ```
//! Keys of the store come from files that the configuration names, or from the environment as every AWS tool reads it (`AWS_…`, with what
//! stands behind it: web identity, container and instance roles). They are in no message and in no trace.

use crate::files::{Files, FilesError};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::path::Path as ObjectPath;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, Certificate, ClientOptions, ObjectStore, RetryConfig};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How often and how long one request is tried again by itself. Short: whoever asked tries the whole step again, and says so.
const RETRIES: (usize, Duration) = (4, Duration::from_secs(20));

/// An answer that takes longer has failed. Long enough for a file of 128 MiB on a slow line.
const ANSWER: Duration = Duration::from_secs(60);

/// `[lake]` of `wk.toml`. Unknown keys are refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// A folder, or `s3://bucket/prefix`. Default: the folder `lake` of the data folder.
    pub url: Option<String>,
    /// Where the store listens, as `https://host:port`. Default: Amazon's, by region.
    pub endpoint: Option<String>,
    /// The region. Default: that of the environment, else `us-east-1`.
    pub region: Option<String>,
    /// File with the id of the access key. Default: the environment says who we are.
    pub access_key_id_file: Option<PathBuf>,
    /// File with the secret of the access key.
    pub secret_access_key_file: Option<PathBuf>,
    /// File with the token of a session, where the store gives one.
    pub session_token_file: Option<PathBuf>,
    /// Certificates that the store's is checked against, PEM. Default: the system's.
    pub ca_file: Option<PathBuf>,
    /// Lets an endpoint be `http://` that is not on this machine: records then cross the network as they are. Default: false.
    pub plain_http: bool,
}

/// What the environment says of the object store. Its values are never shown.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Environment {
    /// Takes what is meant for object stores out of an environment.
    pub fn of(all: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(all.into_iter().filter(|(name, _)| name.starts_with("AWS_")).collect())
    }
}

/// What is known of places before one is named.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// The configuration.
    pub config: Config,
    /// The environment.
    pub environment: Environment,
}

/// A place that a lake may be at.
#[derive(Debug, Clone)]
pub enum Place {
    /// A folder of this machine.
    Folder(PathBuf),
    /// A bucket.
    Bucket {
        /// Its name.
        bucket: String,
        /// What the names of all objects begin with; may be empty.
        prefix: String,
        /// How it is reached.
        places: Box<Places>,
    },
}

/// A place that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// The folder or the store.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// Not a place.
    #[error("`{url}` is no place for a lake: give a folder, or s3://bucket/prefix")]
    Url {
        /// What was said.
        url: String,
    },
    /// The records would cross the network for everybody to read.
    #[error(
        "the object store `{endpoint}` is not encrypted and not on this machine: use https, or say `plain_http = true`"
    )]
    Plain {
        /// The endpoint.
        endpoint: String,
    },
    /// A file that the configuration names.
    #[error("failed to read `{path}`, which `{key}` of [lake] names")]
    File {
        /// The key.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The two belong together.
    #[error("`access_key_id_file` and `secret_access_key_file` of [lake] go together; only one is given")]
    HalfKey,
    /// The settings of the store.
    #[error("the settings of the object store do not fit together: {reason}")]
    Settings {
        /// Why.
        reason: String,
    },
}

impl Places {
    /// The place that is named, else the configured one, else a folder.
    ///
    /// # Errors
    /// [`PlaceError::Url`] and [`PlaceError::Plain`].
    pub fn find(&self, named: Option<&str>, otherwise: &Path) -> Result<Place, PlaceError> {
        let Some(text) = named.or(self.config.url.as_deref()) else { return Ok(Place::Folder(otherwise.to_owned())) };
        let bad = || PlaceError::Url { url: text.to_owned() };
        let Some((scheme, rest)) = text.split_once("://") else {
            return if text.is_empty() { Err(bad()) } else { Ok(Place::Folder(text.into())) };
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let named = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
        if scheme != "s3" || bucket.is_empty() || !bucket.chars().all(named) {
            return Err(bad());
        }
        let prefix = ObjectPath::parse(prefix.trim_end_matches('/')).map_err(|_| bad())?;
        if let Some(endpoint) = self.endpoint().filter(|endpoint| endpoint.starts_with("http://"))
            && !self.config.plain_http
            && !on_this_machine(endpoint)
        {
            return Err(PlaceError::Plain { endpoint: endpoint.to_owned() });
        }
        Ok(Place::Bucket { bucket: bucket.into(), prefix: prefix.to_string(), places: Box::new(self.clone()) })
    }

    fn endpoint(&self) -> Option<&str> {
        let said = |name: &str| self.environment.0.get(name).map(String::as_str);
        self.config
            .endpoint
            .as_deref()
            .or_else(|| said("AWS_ENDPOINT_URL_S3"))
            .or_else(|| said("AWS_ENDPOINT_URL"))
            .or_else(|| said("AWS_ENDPOINT"))
    }

    /// The store of a bucket. Nothing is asked of it yet.
    fn bucket(&self, bucket: &str) -> Result<Arc<dyn ObjectStore>, PlaceError> {
        let Self { config, environment } = self;
        let mut builder = AmazonS3Builder::new();
        for (name, value) in &environment.0 {
            // What this program has no use for is left alone.
            if let Ok(key) = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() {
                builder = builder.with_config(key, value);
            }
        }
        if let Some(region) = &config.region {
            builder = builder.with_region(region);
        }
        let mut client = ClientOptions::new().with_timeout(ANSWER);
        if let Some(endpoint) = self.endpoint() {
            builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
            client = client.with_allow_http(endpoint.starts_with("http://"));
        }
        if let Some(path) = &config.ca_file {
            let file = |source| PlaceError::File { key: "ca_file", path: path.clone(), source };
            let pem = std::fs::read(path).map_err(|e| file(e.into()))?;
            for certificate in Certificate::from_pem_bundle(&pem).map_err(|e| file(e.into()))? {
                client = client.with_root_certificate(certificate);
            }
        }
        match (&config.access_key_id_file, &config.secret_access_key_file) {
            (Some(id), Some(secret)) => {
                builder = builder
                    .with_access_key_id(secret_of("access_key_id_file", id)?)
                    .with_secret_access_key(secret_of("secret_access_key_file", secret)?);
            }
            (None, None) => {}
            (Some(_), None) | (None, Some(_)) => return Err(PlaceError::HalfKey),
        }
        if let Some(token) = &config.session_token_file {
            builder = builder.with_token(secret_of("session_token_file", token)?);
        }
        let (max_retries, retry_timeout) = RETRIES;
        let retry = RetryConfig { max_retries, retry_timeout, backoff: BackoffConfig::default() };
        let store = builder.with_bucket_name(bucket).with_client_options(client).with_retry(retry).build();
        // The message names settings and never their values.
        Ok(Arc::new(store.map_err(|e| PlaceError::Settings { reason: e.to_string() })?))
    }
}

/// What a file holds, without the end of its line.
fn secret_of(key: &'static str, path: &Path) -> Result<String, PlaceError> {
    let text = std::fs::read_to_string(path).map_err(|source| PlaceError::File {
        key,
        path: path.to_owned(),
        source: source.into(),
    })?;
    Ok(text.trim().to_owned())
}

fn on_this_machine(endpoint: &str) -> bool {
    let rest = endpoint.trim_start_matches("http://");
    let host = rest.split('/').next().unwrap_or_default();
    let host = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit())).map_or(host, |h| h.0);
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

impl Place {
    /// Its objects. A folder must be there.
    ///
    /// # Errors
    /// [`PlaceError`].
    pub fn files(&self) -> Result<Files, PlaceError> {
        match self {
            Self::Folder(folder) => Ok(Files::existing(folder)?),
            Self::Bucket { .. } => self.make(),
        }
    }

    /// Its objects. A folder is made when it is not there; a bucket is never made.
    ///
    /// # Errors
    /// [`PlaceError`].
    pub fn make(&self) -> Result<Files, PlaceError> {
        match self {
            Self::Folder(folder) => Ok(Files::local(folder)?),
            Self::Bucket { bucket, prefix, places } => {
                let store = places.bucket(bucket)?;
                Ok(Files::on(if prefix.is_empty() {
                    store
                } else {
                    Arc::new(PrefixStore::new(store, prefix.as_str()))
                }))
            }
        }
    }

    /// Whether nothing can be there: a folder that does not exist. A store is asked when it is opened.
    #[must_use]
    pub fn is_nowhere(&self) -> bool {
        matches!(self, Self::Folder(folder) if !folder.exists())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "{}", folder.display()),
            Self::Bucket { bucket, prefix, .. } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Self::Bucket { bucket, prefix, .. } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(config: Config) -> Places {
        Places { config, environment: Environment::default() }
    }

    #[test]
    fn a_place_is_a_folder_or_a_bucket_and_nothing_else() {
        let places = places(Config { url: Some("s3://records/eu/".into()), ..Config::default() });
        let find = |text: Option<&str>| places.find(text, Path::new("/data/lake"));
        assert_eq!(find(None).unwrap().to_string(), "s3://records/eu");
        assert_eq!(find(Some("s3://other")).unwrap().to_string(), "s3://other");
        assert_eq!(find(Some("/srv/lake")).unwrap().to_string(), "/srv/lake");
        assert_eq!(Places::default().find(None, Path::new("/data/lake")).unwrap().to_string(), "/data/lake");
        for bad in ["", "s3://", "gs://bucket/x", "https://bucket.example.org", "s3://a b/c", "s3://bucket/a//b"] {
            let error = find(Some(bad)).unwrap_err();
            assert!(matches!(error, PlaceError::Url { .. }), "{bad}: {error}");
        }
    }

    #[test]
    fn plain_http_is_for_this_machine_unless_it_is_asked_for() {
        let at = |endpoint: &str, plain_http| {
            let config = Config { endpoint: Some(endpoint.into()), plain_http, ..Config::default() };
            places(config).find(Some("s3://b/p"), Path::new(""))
        };
        for near in ["http://127.0.0.1:7070", "http://localhost:9000/", "http://[::1]:9000", "https://s3.example.org"] {
            assert!(at(near, false).is_ok(), "{near}");
        }
        for far in ["http://minio:9000", "http://127.0.0.1.example.org", "http://10.0.0.7:9000"] {
            assert!(matches!(at(far, false), Err(PlaceError::Plain { .. })), "{far}");
            assert!(at(far, true).is_ok(), "{far}");
        }
        let environment = Environment::of([("AWS_ENDPOINT_URL".to_owned(), "http://minio:9000".to_owned())]);
        let places = Places { config: Config::default(), environment };
        assert!(matches!(places.find(Some("s3://b"), Path::new("")), Err(PlaceError::Plain { .. })));
    }

    #[test]
    fn keys_come_from_files_or_the_environment_and_are_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            Some(path)
        };
        let config = Config {
            url: Some("s3://records".into()),
            access_key_id_file: file("id", "AKIAFROMAFILE\n"),
            secret_access_key_file: file("secret", "hushhush\n"),
            ..Config::default()
        };
        let environment = Environment::of(
            [("AWS_SESSION_TOKEN", "hushtoken"), ("AWS_SECRET_ACCESS_KEY", "hushenv"), ("HOME", "/root")]
                .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        let places = Places { config: config.clone(), environment };
        let place = places.find(None, Path::new("")).unwrap();
        let files = place.make().unwrap();
        let shown = format!("{places:?} {place:?} {place} {files:?} {}", files.store());
        assert!(!shown.contains("hush"), "{shown}");
        assert!(shown.contains("AWS_SESSION_TOKEN") && !shown.contains("HOME"), "{shown}");
        let half = Config { secret_access_key_file: None, ..config.clone() };
        let half = Places { config: half, environment: Environment::default() };
        assert!(matches!(half.find(None, Path::new("")).unwrap().make(), Err(PlaceError::HalfKey)));
        std::fs::remove_file(dir.path().join("secret")).unwrap();
        let error = place.make().unwrap_err().to_string();
        assert!(error.contains("`secret_access_key_file` of [lake]"), "{error}");
    }
}
