//! `wk.toml`, the command line and the user's environment, read once and made into one value.
#![expect(clippy::disallowed_methods, reason = "this file owns the environment")]

use crate::Global;
use crate::home::Home;
use anyhow::{Context as _, bail};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use wk_store::Lake;
use wk_store::files::Files;
use wk_store::place::{Environment, Place, PlaceError, Places};
use wk_wire::Brokers;

/// `wk.toml`. Unknown keys are refused.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    /// The data folder. Default: ~/.local/share/watchkeeper.
    data: Option<PathBuf>,
    /// Stands in every record. Default: `default`.
    tenant: Option<String>,
    /// Who decides and asks, as it stands in approvals and in the record of queries. Default: the user's name.
    principal: Option<String>,
    /// The log. Default: the embedded one.
    log: Option<LogSection>,
    /// Port of the HTTP door on loopback. Default: 0, any; `query.url` in the data folder says which.
    query_port: u16,
    /// Where the lake is. Default: in the data folder.
    lake: wk_store::place::Config,
    /// As `ingest.toml`.
    ingest: wk_ingest::Config,
    /// As `watcher.toml`.
    watcher: wk_watcher::Config,
    /// As `query.toml`.
    query: wk_query::Config,
    /// As `shim.toml`.
    shim: wk_shim::Config,
}

/// `[log]` of `wk.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LogSection {
    /// The brokers.
    brokers: Brokers,
    /// URL of the schema registry. Default: `wk up` serves one from the data folder.
    registry: Option<String>,
}

/// Everything that was said, settled.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) home: Home,
    pub(crate) tenant: String,
    pub(crate) principal: String,
    pub(crate) host: String,
    /// The user's own home folder, if the environment says so.
    pub(crate) user_home: Option<PathBuf>,
    pub(crate) brokers: Option<Brokers>,
    pub(crate) registry: Option<String>,
    pub(crate) query_port: u16,
    pub(crate) places: Places,
    pub(crate) ingest: wk_ingest::Config,
    pub(crate) watcher: wk_watcher::Config,
    pub(crate) query: wk_query::Config,
    pub(crate) shim: wk_shim::Config,
}

impl Settings {
    /// Where the lake is: as named, else as configured, else in the data folder.
    ///
    /// # Errors
    /// When it is no place for a lake.
    pub(crate) fn lake(&self, which: &WhichLake) -> Result<Place, PlaceError> {
        self.places.find(which.lake.as_deref(), &self.home.lake())
    }
}

/// The argument of every command that looks into a lake.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct WhichLake {
    /// The lake: a folder, or s3://bucket/prefix. Default: the configured one, else that of the data folder.
    #[arg(long, value_name = "PLACE")]
    lake: Option<String>,
}

impl WhichLake {
    /// Whether it is another than this data folder's.
    pub(crate) fn is_named(&self) -> bool {
        self.lake.is_some()
    }

    /// The lake's objects.
    ///
    /// # Errors
    /// Names the place, also when nothing is there.
    pub(crate) fn files(&self, settings: &Settings) -> anyhow::Result<Files> {
        let place = settings.lake(self)?;
        if place.is_nowhere() {
            bail!("there is no lake in `{place}`");
        }
        Ok(place.files()?)
    }

    /// Opens the lake, which must be there.
    ///
    /// # Errors
    /// As [`WhichLake::files`], and when it cannot be read.
    pub(crate) async fn open(&self, settings: &Settings) -> anyhow::Result<Lake> {
        let (place, files) = (settings.lake(self)?, self.files(settings)?);
        Lake::open_on(files).await.with_context(|| format!("failed to open the lake `{place}`"))
    }
}

/// The environment, as far as it is text.
fn environment() -> impl Iterator<Item = (String, String)> {
    let all = wk_shim::config::environment().into_iter();
    all.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// Reads what the command line names.
///
/// # Errors
/// Names the file, and what is wrong where in it.
pub(crate) fn load(global: &Global) -> anyhow::Result<Settings> {
    let file = match &global.config {
        Some(path) => read(path)?,
        None => File::default(),
    };
    let user_home = std::env::var_os("HOME").map(PathBuf::from);
    let data = match (&global.data, file.data, &user_home) {
        (Some(dir), _, _) => dir.clone(),
        (None, Some(dir), _) => dir,
        (None, None, Some(home)) => home.join(".local/share/watchkeeper"),
        (None, None, None) => bail!("no data folder: HOME is not set; give --data DIR"),
    };
    let (brokers, registry) = match (&global.brokers, file.log) {
        (Some(list), _) => (Some(Brokers::plain(list)), global.registry.clone()),
        (None, Some(section)) => (Some(section.brokers), global.registry.clone().or(section.registry)),
        (None, None) => (None, global.registry.clone()),
    };
    if brokers.is_none() && registry.is_some() {
        bail!("--registry goes with --brokers; the embedded log brings its own registry");
    }
    Ok(Settings {
        home: Home::open(&data)?,
        tenant: file.tenant.unwrap_or_else(|| "default".into()),
        principal: file.principal.unwrap_or_else(user_name),
        host: wk_shim::session::host_name(),
        user_home,
        brokers,
        registry,
        query_port: file.query_port,
        places: Places { config: file.lake, environment: Environment::of(environment()) },
        ingest: file.ingest,
        watcher: file.watcher,
        query: file.query,
        shim: file.shim,
    })
}

fn read(path: &Path) -> anyhow::Result<File> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("failed to read the configuration `{}`", path.display()))?;
    toml::from_str(&text).with_context(|| format!("`{}` is not a configuration of wk", path.display()))
}

/// The name of the user that this process runs as, by the system's own list: the environment could say anything.
fn user_name() -> String {
    use std::os::unix::fs::MetadataExt as _;
    let uid = std::fs::metadata("/proc/self").map(|m| m.uid().to_string()).unwrap_or_default();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let named =
        users.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|user| user.get(2) == Some(&uid.as_str()));
    named.map_or_else(|| format!("uid {uid}"), |user| user[0].to_owned())
}
