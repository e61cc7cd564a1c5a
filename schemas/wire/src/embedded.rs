//! The log inside the process, for one machine: a Kafka-protocol broker and a schema registry over one folder.
//!
//! ```text
//! <dir>/lock          held while the log is open; its text is the pid of the process that holds it
//! <dir>/log.db        the broker's storage (SQLite, write-ahead log)
//! <dir>/log.db-wal
//! <dir>/schemas.json  the registry's storage
//! ```
//!
//! The protocol and the storage are nisshi's. What is ours, in `service` and `durable`: an append is acknowledged, and
//! shown to readers, only once it would survive a loss of power; a reader that waits is woken by the append it waits for;
//! a position beyond the end is an error and not silence. It runs on threads of its own, because the storage blocks them.
//!
//! It listens on loopback only and asks nobody's name. Whoever may connect may write: the sandbox keeps the agent away.

mod durable;
mod folder;
mod server;
mod service;
mod tails;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::kafka::Brokers;
use crate::registry_server::{RegistryServer, RegistryServerError};
use crate::topics::{self, TopicSpec, TopicsError};
use folder::Folder;

/// What may be chosen about an embedded log.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// The port of the broker on 127.0.0.1; 0 takes any.
    pub port: u16,
    /// The port of the registry on 127.0.0.1; 0 takes any.
    pub registry_port: u16,
    /// Partitions of each topic, when they are created.
    pub partitions: i32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            port: 0,
            registry_port: 0,
            // One file and one writer: more partitions make nothing faster here, and every fetch slower.
            partitions: 1,
        }
    }
}

/// A log that is running.
#[derive(Debug)]
pub struct Broker {
    bootstrap: String,
    cancel: CancellationToken,
    thread: Option<JoinHandle<()>>,
    registry: Option<RegistryServer>,
}

/// Why the log did not start.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// Another process has it open.
    #[error("the log in `{}` is in use by {holder}", dir.display())]
    InUse {
        /// The folder.
        dir: PathBuf,
        /// `process <pid>`, as far as the lock file says.
        holder: String,
    },
    /// The folder cannot be made or used.
    #[error("failed to open the folder `{}`", dir.display())]
    Folder {
        /// The folder.
        dir: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The port is taken, or may not be used.
    #[error("failed to listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The broker's file is damaged, or the disk is full.
    #[error("failed to open the log's storage in `{}`: {reason}", dir.display())]
    Storage {
        /// The folder.
        dir: PathBuf,
        /// What the broker says.
        reason: String,
    },
    /// The system gives no thread.
    #[error("failed to start the log's threads")]
    Threads(#[source] std::io::Error),
    /// The broker runs, and refuses the topics.
    #[error("failed to create the topics of the log")]
    Topics(#[source] Box<TopicsError>),
    /// The registry did not start.
    #[error("failed to start the schema registry")]
    Registry(#[source] RegistryServerError),
}

impl Broker {
    /// Opens the log in `dir`, which is made if need be, and listens on `port` (0: any) of 127.0.0.1.
    ///
    /// # Errors
    /// [`EmbeddedError`]; nothing is left running.
    pub async fn start(dir: &Path, port: u16) -> Result<Self, EmbeddedError> {
        let settings = Settings { port, ..Settings::default() };
        Self::start_with(dir, settings).await
    }

    /// As [`Broker::start`], with every choice.
    ///
    /// # Errors
    /// [`EmbeddedError`]; nothing is left running.
    pub async fn start_with(dir: &Path, settings: Settings) -> Result<Self, EmbeddedError> {
        let folder = Folder::open(dir)?;
        let schemas = folder.path("schemas.json");
        let cancel = CancellationToken::new();
        let (ready, started) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("wk-log".to_owned())
            .spawn({
                let cancel = cancel.clone();
                move || server::run(folder, settings.port, cancel, ready)
            })
            .map_err(EmbeddedError::Threads)?;
        let address = match started.await {
            Ok(Ok(address)) => address,
            Ok(Err(error)) => return Err(error),
            Err(_) => {
                let reason = "its thread ended without a word".to_owned();
                let dir = dir.to_owned();
                return Err(EmbeddedError::Storage { dir, reason });
            }
        };
        // From here on, an early return drops the broker, and that stops it.
        let mut broker = Self { bootstrap: address.to_string(), cancel, thread: Some(thread), registry: None };
        let spec = TopicSpec { partitions: settings.partitions, ..TopicSpec::SINGLE };
        topics::create(&broker.brokers(), &spec).await.map_err(|error| EmbeddedError::Topics(Box::new(error)))?;
        let registry =
            RegistryServer::start(&schemas, settings.registry_port).await.map_err(EmbeddedError::Registry)?;
        broker.registry = Some(registry);
        Ok(broker)
    }

    /// `127.0.0.1:<port>`.
    #[must_use]
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// How a client reaches it.
    #[must_use]
    pub fn brokers(&self) -> Brokers {
        Brokers::plain(&self.bootstrap)
    }

    /// `http://127.0.0.1:<port>`.
    #[must_use]
    pub fn registry_url(&self) -> &str {
        self.registry.as_ref().map_or("", RegistryServer::url)
    }

    /// Stops it, and waits until the folder may be opened by somebody else. What was acknowledged is on disk already.
    pub async fn shutdown(mut self) {
        if let Some(registry) = self.registry.take() {
            registry.shutdown().await;
        }
        self.cancel.cancel();
        if let Some(thread) = self.thread.take() {
            let joined = tokio::task::spawn_blocking(move || thread.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                tracing::error!("the log's thread ended badly");
            }
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

/// Where an embedded broker listens.
fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
