//! Where the log of this data folder listens: written by whoever starts it, found by everybody else.

use crate::config::Settings;
use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use std::fs;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use wk_wire::Brokers;

/// How to reach the log and its registry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Endpoints {
    /// The brokers.
    pub(crate) brokers: Brokers,
    /// URL of the schema registry.
    pub(crate) registry: String,
    /// The process that serves, or that runs the parts.
    pub(crate) pid: u32,
}

impl Endpoints {
    /// What the command line or the configuration says, else what a running `wk up` has written down.
    ///
    /// # Errors
    /// When neither is there; the message says what to start.
    pub(crate) fn find(settings: &Settings) -> anyhow::Result<Self> {
        let running = Self::running(settings.home.endpoints().as_path())?;
        match (&settings.brokers, &settings.registry, running) {
            (Some(brokers), Some(registry), _) => {
                Ok(Self { brokers: brokers.clone(), registry: registry.clone(), pid: std::process::id() })
            }
            (Some(brokers), None, Some(running)) if running.brokers.bootstrap == brokers.bootstrap => Ok(running),
            (Some(brokers), None, _) => bail!(
                "no schema registry is known for the brokers at {}: give --registry URL, or start `wk up --brokers {}`, \
                 which serves one",
                brokers.bootstrap,
                brokers.bootstrap
            ),
            (None, _, Some(running)) => Ok(running),
            (None, _, None) => bail!(
                "nothing is running for the data folder `{}`: start `wk up`, or name a log with --brokers and --registry",
                settings.home.dir().display()
            ),
        }
    }

    /// What is written down, when the process that wrote it is still there.
    pub(crate) fn running(path: &Path) -> anyhow::Result<Option<Self>> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("failed to read `{}`", path.display())),
        };
        let endpoints: Self =
            serde_json::from_str(&text).with_context(|| format!("`{}` is not ours; remove it", path.display()))?;
        Ok(Path::new(&format!("/proc/{}", endpoints.pid)).exists().then_some(endpoints))
    }

    /// Writes it down for others to find.
    pub(crate) fn publish(&self, path: &Path) -> anyhow::Result<()> {
        let temporary = path.with_extension("json.new");
        let file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        serde_json::to_writer(file, self)?;
        fs::rename(&temporary, path).with_context(|| format!("failed to write `{}`", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_dead_process_wrote_down_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("up.json");
        assert_eq!(Endpoints::running(&path).unwrap(), None);
        let mut endpoints = Endpoints {
            brokers: Brokers::plain("127.0.0.1:9"),
            registry: "http://127.0.0.1:8".into(),
            pid: std::process::id(),
        };
        endpoints.publish(&path).unwrap();
        assert_eq!(Endpoints::running(&path).unwrap().as_ref(), Some(&endpoints));
        endpoints.pid = u32::try_from(i32::MAX).unwrap();
        endpoints.publish(&path).unwrap();
        assert_eq!(Endpoints::running(&path).unwrap(), None);
    }
}
