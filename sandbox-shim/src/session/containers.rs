//! Sessions of containers that gVisor reports: no agent is started here, and none can be held; what its processes do is recorded as
//! that of any session is, in an outbox of its own, on the same log.

use super::{host, leftovers, new_session, parts};
use crate::clock;
use crate::contract::{RecordError, Recorder};
use crate::drain::LogAddress;
use crate::gvisor::{Book, Container, Serving, Shelf, trace_session};
use crate::process::{exit_code, exit_signal};
use crate::recorder::{Identity, Journal};
use anyhow::Context as _;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use wk_schemas::SessionId;
use wk_schemas::body::{SessionEnded, SessionStarted};

/// Stands, in the arguments of a command, for the path of the configuration that `runsc` is to be given.
pub const CONFIG_PLACE: &str = "{config}";

/// What observes containers, and for whom.
#[derive(Debug, Clone)]
pub struct ContainersConfig {
    /// Where sandboxes connect to.
    pub socket: PathBuf,
    /// Run with a container's id as its last argument when its record cannot be kept: it must stop the container.
    pub stop: Option<PathBuf>,
    /// Stands in every record.
    pub tenant: String,
    /// Name of this host.
    pub host: String,
    /// On whose behalf the containers run.
    pub principal: Option<String>,
    /// The data folder.
    pub data: PathBuf,
    /// The log.
    pub log: LogAddress,
    /// The rest.
    pub config: crate::config::Config,
}

/// Observes the containers of every sandbox that connects: as long as `command` runs, or else until this process is told to end.
///
/// `command` may say [`CONFIG_PLACE`] where `runsc` is told its `--pod-init-config`. `ready` is called with that file's path once
/// sandboxes may start. The exit status is the command's.
///
/// # Errors
/// When the socket cannot be served, the log cannot be reached, or the command cannot be started.
pub fn observe_containers(
    config: &ContainersConfig,
    command: &[OsString],
    ready: impl FnOnce(&std::path::Path),
) -> anyhow::Result<Option<ExitStatus>> {
    let brokers = &config.log.brokers;
    parts::knock(brokers, config.config.connect_patience)
        .with_context(|| format!("the log at {} cannot be reached, so nothing is observed", brokers.bootstrap))?;
    let endpoint = std::path::absolute(&config.socket).context("the socket's path cannot be made absolute")?;
    let endpoint = endpoint.to_str().context("the socket's path is not UTF-8, and runsc's configuration is")?;
    let shelf = Arc::new(Sessions { config: config.clone() });
    let serving = Serving::begin(endpoint.as_ref(), shelf)?;
    let file = PathBuf::from(format!("{endpoint}.json"));
    fs::write(&file, format!("{:#}\n", trace_session(endpoint)))
        .with_context(|| format!("failed to write `{}`", file.display()))?;
    ready(&file);
    parts::bring_leftovers(config.data.join("outbox"), config.log.clone(), config.config.drain_patience);
    let status = match command {
        [] => {
            until_told_to_end()?;
            None
        }
        [program, arguments @ ..] => {
            let place = |word: &OsString| match word.to_str() {
                Some(text) => text.replace(CONFIG_PLACE, &file.to_string_lossy()).into(),
                None => word.clone(),
            };
            let status = Command::new(program).args(arguments.iter().map(place)).status();
            let status = status.with_context(|| format!("failed to run `{}`", program.display()))?;
            // What it started may be about to go, and has the rest of its messages in the socket.
            let start = clock::instant();
            while serving.sandboxes() > 0 && start.elapsed() < config.config.drain_patience {
                std::thread::sleep(Duration::from_millis(5));
            }
            Some(status)
        }
    };
    drop(serving);
    fs::remove_file(&file).with_context(|| format!("failed to remove `{}`", file.display()))?;
    Ok(status)
}

fn until_told_to_end() -> anyhow::Result<()> {
    parts::runtime()?.block_on(async {
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    })
}

/// Opens a session for each container.
struct Sessions {
    config: ContainersConfig,
}

impl Shelf for Sessions {
    fn open(&self, container: &Container) -> anyhow::Result<Box<dyn Book>> {
        let session = self.open_session(container);
        if session.is_err() {
            stop(self.config.stop.as_ref(), &container.id);
        }
        Ok(Box::new(session?))
    }
}

impl Sessions {
    fn open_session(&self, container: &Container) -> anyhow::Result<Session> {
        let config = &self.config;
        let session_id = new_session();
        let outboxes = config.data.join("outbox");
        let opening = leftovers::opening(&outboxes)?;
        let identity = Identity {
            session_id: session_id.clone(),
            tenant: config.tenant.clone(),
            host: config.host.clone(),
            agent_name: None,
            agent_version: None,
            agent_model: None,
            principal: config.principal.clone(),
            policy_digest: None,
        };
        let journal = Journal::open(&outboxes.join(session_id.as_str()), identity, config.config.limits())?;
        drop(opening);
        let body = SessionStarted {
            arguments: crate::redact::arguments(&container.arguments),
            working_directory: container.cwd.clone(),
            workspace: container.cwd.clone(),
            pid: container.pid,
            user: container.uid.to_string(),
            uid: container.uid,
            adapter: "none".into(),
            confinement: vec!["gvisor".into(), "gvisor-stream".into(), format!("container:{}", container.id)],
            shim_version: env!("CARGO_PKG_VERSION").into(),
            kernel: host::kernel(),
        };
        super::write(journal.as_ref(), body)?;
        let (reached, _) = tokio::sync::oneshot::channel();
        let drain = parts::Draining::begin(Arc::clone(&journal), config.log.clone(), reached);
        tracing::info!(%session_id, container = container.id, "a container is observed");
        Ok(Session {
            id: session_id,
            container: container.id.clone(),
            journal,
            drain,
            began: clock::instant(),
            patience: config.config.drain_patience,
            stop: config.stop.clone(),
        })
    }
}

/// The session of one container.
struct Session {
    id: SessionId,
    container: String,
    journal: Arc<Journal>,
    drain: parts::Draining,
    began: Instant,
    patience: Duration,
    stop: Option<PathBuf>,
}

impl Session {
    fn end(self, exit_code: Option<i32>, signal: Option<i32>, reason: &str) {
        let wall_time_us = clock::micros_since(self.began);
        let body = SessionEnded { exit_code, signal, reason: reason.into(), wall_time_us };
        if let Err(error) = super::write(self.journal.as_ref(), body).and_then(|()| self.journal.close()) {
            tracing::error!(%error, session_id = %self.id, "the end of a container could not be recorded in order");
        }
        let waiting = self.drain.finish(self.patience);
        if waiting > 0 {
            tracing::warn!(session_id = %self.id, waiting, "records wait for the log; the next session brings them there");
        }
        leftovers::remove_when_empty(self.journal, waiting);
    }
}

impl Book for Session {
    fn recorder(&self) -> Arc<dyn Recorder> {
        Arc::clone(&self.journal) as _
    }

    fn wait_for_room(&self) {
        self.journal.wait_for_room();
    }

    fn close(self: Box<Self>, status: Option<i32>) {
        let (code, signal) = (status.and_then(exit_code), status.and_then(exit_signal));
        self.end(code, signal, if status.is_some() { "exited" } else { "shim_failed" });
    }

    fn lose(self: Box<Self>, error: &RecordError) {
        stop(self.stop.as_ref(), &self.container);
        let reason = match error {
            RecordError::Full { .. } => "outbox_full",
            RecordError::Storage { .. } => "shim_failed",
        };
        self.end(None, None, reason);
    }
}

/// Stops a container that can no longer be recorded.
fn stop(program: Option<&PathBuf>, container: &str) {
    let Some(program) = program else {
        tracing::error!(container, "nothing says how to stop a container that cannot be recorded: it goes on unseen");
        return;
    };
    match Command::new(program).arg(container).status() {
        Ok(status) if status.success() => tracing::warn!(container, "a container that cannot be recorded was stopped"),
        Ok(status) => tracing::error!(container, %status, "a container that cannot be recorded could not be stopped"),
        Err(error) => tracing::error!(container, %error, "a container that cannot be recorded could not be stopped"),
    }
}
