//! What the watcher needs beside its configuration, and why it may not go on.

use crate::judge;
use crate::state::StateError;
use ed25519_dalek::{SigningKey, VerifyingKey};
use std::path::PathBuf;
use std::sync::Arc;
use wk_wire::kafka::BrokersError;
use wk_wire::registry::{self, RegistryError};
use wk_wire::{AppendError, Brokers, Disposition, ReadError};

/// What the watcher needs beside its configuration.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The log.
    pub brokers: Brokers,
    /// The log's schemas.
    pub registry: registry::Client,
    /// Folder of the watcher's state.
    pub state: PathBuf,
    /// Signs commands.
    pub command_key: SigningKey,
    /// Whose approvals count.
    pub approvers: Vec<VerifyingKey>,
    /// Tenant that dead letters are written under.
    pub tenant: String,
    /// Name of this host.
    pub host: String,
    /// Told whenever a numbered point is passed; for tests that crash there.
    pub points: Points,
}

/// Somebody to be told of the numbered points at the head of `run.rs`.
#[derive(Clone, Default)]
pub struct Points(Option<Arc<dyn Fn(u32) + Send + Sync>>);

impl Points {
    /// Tells `f`.
    pub fn telling(f: impl Fn(u32) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(f)))
    }

    pub(crate) fn pass(&self, point: u32) {
        if let Some(f) = &self.0 {
            f(point);
        }
    }
}

impl std::fmt::Debug for Points {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Points").field(&self.0.is_some()).finish()
    }
}

/// The watcher cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// A folder of rules cannot be read.
    #[error("the rules in `{path}` cannot be read")]
    Rules {
        /// The folder or file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The state on disk.
    #[error(transparent)]
    State(#[from] StateError),
    /// The brokers' configuration.
    #[error(transparent)]
    Brokers(BrokersError),
    /// Reading the log.
    #[error("the log cannot be read")]
    Read(#[source] Box<ReadError>),
    /// Writing to the log.
    #[error("an output of the watcher cannot be written")]
    Append(#[source] Box<AppendError>),
    /// The registry.
    #[error("the schema registry gave no answer")]
    Registry(#[source] Box<RegistryError>),
    /// The judge, or a receiver of alerts, cannot be used as it is configured.
    #[error("the judge or a receiver of alerts cannot be used as it is configured")]
    Endpoint(#[from] judge::ClientError),
    /// Saving state in the background broke down.
    #[error("saving the watcher's state broke down")]
    Flush(#[from] tokio::task::JoinError),
}

impl WatchError {
    /// What the loop does about it: begin again from the saved state, or end.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Read(error) => error.disposition(),
            // A new producer may write again what is in doubt: what is on the log is found there first.
            Self::Append(error) => match **error {
                AppendError::InDoubt { .. } => Disposition::Retry,
                _ => error.disposition(),
            },
            Self::Registry(error) => error.disposition(),
            Self::Rules { .. } | Self::State(_) | Self::Brokers(_) | Self::Endpoint(_) | Self::Flush(_) => {
                Disposition::Stop
            }
        }
    }
}

impl From<ReadError> for WatchError {
    fn from(error: ReadError) -> Self {
        Self::Read(Box::new(error))
    }
}

impl From<AppendError> for WatchError {
    fn from(error: AppendError) -> Self {
        Self::Append(Box::new(error))
    }
}

impl From<RegistryError> for WatchError {
    fn from(error: RegistryError) -> Self {
        Self::Registry(Box::new(error))
    }
}

impl From<BrokersError> for WatchError {
    fn from(error: BrokersError) -> Self {
        Self::Brokers(error)
    }
}
