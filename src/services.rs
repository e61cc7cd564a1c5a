//! Starts the parts in this process, each as one task, and stops them in order: nobody is left writing to something that is gone.
//!
//! ```text
//! start: log ─► topics and schema ─► ingest, watcher, query        stop: watcher and query ─► ingest (commits what is there) ─► log
//! ```

use crate::config::Settings;
use crate::endpoints::Endpoints;
use crate::parts;
use anyhow::{Context as _, bail};
use std::process::ExitCode;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wk_schemas::{SCHEMA, Topic};
use wk_watcher::state::Progress;
use wk_wire::kafka::Cluster;
use wk_wire::registry;
use wk_wire::topics::{self, TopicSpec};

/// A part that can be a service of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Watcher,
    Query,
    Ingest,
}

/// How often it is looked whether the watcher has judged everything.
const JUDGED_LOOK: Duration = Duration::from_millis(50);

/// The order in which they are stopped.
const STOPPING: [Part; 3] = [Part::Watcher, Part::Query, Part::Ingest];

impl Part {
    const fn name(self) -> &'static str {
        match self {
            Self::Watcher => "watcher",
            Self::Query => "query",
            Self::Ingest => "ingest",
        }
    }
}

/// Threads for tasks.
///
/// # Errors
/// When there are none to be had.
pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("failed to start threads")
}

/// Runs a future on a runtime of its own.
///
/// # Errors
/// When there are no threads to be had, or the future fails.
pub(crate) fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    runtime()?.block_on(future)
}

/// The log of this process: the embedded one, or somebody else's with our registry beside it, or nothing of ours.
#[derive(Debug, Default)]
struct Log {
    #[cfg(feature = "embedded")]
    broker: Option<wk_wire::embedded::Broker>,
    #[cfg(feature = "embedded")]
    registry: Option<wk_wire::registry_server::RegistryServer>,
}

impl Log {
    #[cfg(feature = "embedded")]
    async fn start(settings: &Settings) -> anyhow::Result<(Self, Endpoints)> {
        let pid = std::process::id();
        match (&settings.brokers, &settings.registry) {
            (None, _) => {
                let broker = embedded_where_it_was(&settings.home.log()).await?;
                let endpoints =
                    Endpoints { brokers: broker.brokers(), registry: broker.registry_url().to_owned(), pid };
                Ok((Self { broker: Some(broker), registry: None }, endpoints))
            }
            (Some(brokers), Some(registry)) => {
                Ok((Self::default(), Endpoints { brokers: brokers.clone(), registry: registry.clone(), pid }))
            }
            (Some(brokers), None) => {
                std::fs::create_dir_all(settings.home.log())?;
                let schemas = settings.home.log().join("schemas.json");
                let server = wk_wire::registry_server::RegistryServer::start(&schemas, 0).await?;
                let endpoints = Endpoints { brokers: brokers.clone(), registry: server.url().to_owned(), pid };
                Ok((Self { broker: None, registry: Some(server) }, endpoints))
            }
        }
    }

    #[cfg(not(feature = "embedded"))]
    async fn start(settings: &Settings) -> anyhow::Result<(Self, Endpoints)> {
        match (&settings.brokers, &settings.registry) {
            (Some(brokers), Some(registry)) => {
                let pid = std::process::id();
                Ok((Self::default(), Endpoints { brokers: brokers.clone(), registry: registry.clone(), pid }))
            }
            _ => bail!("this build has no log of its own: give --brokers and --registry"),
        }
    }

    async fn stop(self) {
        #[cfg(feature = "embedded")]
        {
            if let Some(registry) = self.registry {
                registry.shutdown().await;
            }
            if let Some(broker) = self.broker {
                broker.shutdown().await;
            }
        }
    }
}

/// Starts the embedded log on the ports of last time, if nobody has taken them: sessions that outlived it look for it there.
#[cfg(feature = "embedded")]
async fn embedded_where_it_was(dir: &std::path::Path) -> anyhow::Result<wk_wire::embedded::Broker> {
    use wk_wire::embedded::{Broker, EmbeddedError, Settings};
    let kept = dir.join("ports");
    let last = std::fs::read_to_string(&kept).ok().and_then(|text| {
        let (port, registry_port) = text.trim().split_once(' ')?;
        Some(Settings { port: port.parse().ok()?, registry_port: registry_port.parse().ok()?, ..Settings::default() })
    });
    let again = match last {
        Some(ports) => Some(Broker::start_with(dir, ports).await),
        None => None,
    };
    let broker = match again {
        None | Some(Err(EmbeddedError::Listen { .. } | EmbeddedError::Registry(_))) => Broker::start(dir, 0).await?,
        Some(started) => started?,
    };
    let port = |address: &str| address.rsplit(':').next().unwrap_or_default().to_owned();
    std::fs::write(&kept, format!("{} {}\n", port(broker.bootstrap()), port(broker.registry_url())))
        .with_context(|| format!("failed to write `{}`", kept.display()))?;
    Ok(broker)
}

/// Everything that runs in this process.
#[derive(Debug)]
pub(crate) struct Services {
    pub(crate) endpoints: Endpoints,
    log: Log,
    parts: Vec<(Part, CancellationToken, JoinHandle<anyhow::Result<()>>)>,
    /// How far the watcher has come.
    watched: Option<Progress>,
}

impl Services {
    /// Starts the log and all parts, and writes down where they listen.
    ///
    /// # Errors
    /// When something else holds the data folder, or the log cannot be had. Nothing is left running.
    pub(crate) async fn start(settings: &Settings) -> anyhow::Result<Self> {
        if let Some(running) = Endpoints::running(&settings.home.endpoints())? {
            bail!(
                "the data folder `{}` is in use by process {}, which already runs these services",
                settings.home.dir().display(),
                running.pid
            );
        }
        let (log, endpoints) = Log::start(settings).await?;
        let mut services = Self { endpoints, log, parts: Vec::new(), watched: None };
        match services.start_parts(settings).await {
            Ok(()) => Ok(services),
            Err(error) => {
                services.stop(settings).await?;
                Err(error)
            }
        }
    }

    async fn start_parts(&mut self, settings: &Settings) -> anyhow::Result<()> {
        check_topics(&self.endpoints).await?;
        let registry = registry::Client::new(&self.endpoints.registry)?;
        for topic in Topic::ALL {
            registry.register(topic.name(), SCHEMA).await.context("the registry did not take the schema")?;
        }
        for part in [Part::Ingest, Part::Watcher, Part::Query] {
            let cancel = CancellationToken::new();
            let (task, watched) = start_part(part, settings, &self.endpoints, cancel.clone()).await?;
            self.parts.push((part, cancel, task));
            self.watched = watched.or(self.watched.take());
        }
        self.endpoints.publish(&settings.home.endpoints())
    }

    /// Waits until a part ends by itself, which none should.
    pub(crate) async fn first_end(&mut self) -> anyhow::Error {
        loop {
            for (part, _, task) in &mut self.parts {
                if task.is_finished() {
                    let name = part.name();
                    return match task.await {
                        Ok(Ok(())) => anyhow::anyhow!("{name} ended without being asked to"),
                        Ok(Err(error)) => error.context(format!("{name} stopped")),
                        Err(error) => anyhow::Error::new(error).context(format!("{name} broke down")),
                    };
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until the watcher has judged every event that the log holds now, and what it found is on the log; `false` when that
    /// takes longer than `patience`.
    ///
    /// # Errors
    /// When the log does not say where it ends, or the watcher's state cannot be read.
    pub(crate) async fn judged(&self, patience: Duration) -> anyhow::Result<bool> {
        let Some(watched) = &self.watched else { return Ok(false) };
        let cluster = Cluster::connect(&self.endpoints.brokers)?;
        let events = Topic::Events;
        let mut ends = Vec::new();
        for partition in cluster.partitions(events.name()).await? {
            let holds = cluster.watermarks(events.name(), partition).await?;
            if holds.low < holds.high {
                ends.push((partition, holds.high));
            }
        }
        let wait = async move {
            while let Some(&(partition, end)) = ends.last() {
                if watched.has_judged(events, partition, end)? {
                    ends.pop();
                } else {
                    tokio::time::sleep(JUDGED_LOOK).await;
                }
            }
            anyhow::Ok(())
        };
        match tokio::time::timeout(patience, wait).await {
            Ok(judged) => judged.map(|()| true),
            Err(_) => Ok(false),
        }
    }

    /// Stops everything in order and waits for it.
    ///
    /// # Errors
    /// The first error of a part; the others are stopped all the same.
    pub(crate) async fn stop(mut self, settings: &Settings) -> anyhow::Result<()> {
        let mut outcome = Ok(());
        for stopping in STOPPING {
            while let Some(at) = self.parts.iter().position(|(part, ..)| *part == stopping) {
                let (part, cancel, task) = self.parts.swap_remove(at);
                cancel.cancel();
                let ended = task.await.context("a part broke down").flatten();
                if outcome.is_ok() {
                    outcome = ended.with_context(|| format!("{} did not end well", part.name()));
                }
            }
        }
        self.log.stop().await;
        if Endpoints::running(&settings.home.endpoints())?.is_some_and(|e| e.pid == std::process::id()) {
            std::fs::remove_file(settings.home.endpoints())?;
        }
        outcome
    }
}

async fn start_part(
    part: Part,
    settings: &Settings,
    endpoints: &Endpoints,
    cancel: CancellationToken,
) -> anyhow::Result<(JoinHandle<anyhow::Result<()>>, Option<Progress>)> {
    let started = match part {
        Part::Ingest => parts::ingest(settings, endpoints, cancel).await.map(|task| (task, None)),
        Part::Watcher => parts::watcher(settings, endpoints, cancel).await.map(|(task, watched)| (task, Some(watched))),
        Part::Query => parts::query(settings, endpoints, cancel).await.map(|task| (task, None)),
    };
    started.with_context(|| format!("{} did not start", part.name()))
}

/// `wk ingest`, `wk watcher`, `wk query`: one part against a log that somebody else runs, until it is interrupted.
pub(crate) fn only(settings: Settings, part: Part) -> anyhow::Result<ExitCode> {
    block_on(async {
        let endpoints = Endpoints::find(&settings)?;
        let cancel = CancellationToken::new();
        let (mut task, _) = start_part(part, &settings, &endpoints, cancel.clone()).await?;
        tokio::select! {
            ended = &mut task => ended.context("it broke down")??,
            () = interrupted() => {
                cancel.cancel();
                task.await.context("it broke down")??;
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Waits for SIGINT or SIGTERM.
pub(crate) async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

async fn check_topics(endpoints: &Endpoints) -> anyhow::Result<()> {
    // Partitions and replication are the operator's choice; what must hold is that the topics are there.
    let states = topics::describe(&endpoints.brokers, &TopicSpec::SINGLE).await?;
    for state in states {
        if state.differences.iter().any(|d| d.what == "exists") {
            bail!(
                "topic `{}` is not there; create the topics with `wk topics create --brokers {}`",
                state.topic,
                endpoints.brokers.bootstrap
            );
        }
    }
    Ok(())
}

/// Creates what is missing, registers the schema where a registry is known, and says what it found.
///
/// # Errors
/// When the broker or the registry refuses.
pub(crate) async fn create_topics(settings: &Settings, spec: TopicSpec) -> anyhow::Result<Vec<String>> {
    let Some(brokers) = &settings.brokers else {
        bail!("the embedded log makes its own topics; name a broker with --brokers");
    };
    let mut lines = Vec::new();
    for state in topics::create(brokers, &spec).await? {
        lines.push(format!("{}: {}", state.topic, if state.created { "created" } else { "there already" }));
        lines.extend(state.differences.iter().map(|d| format!("  differs: {d}")));
    }
    match &settings.registry {
        Some(url) => {
            let registry = registry::Client::new(url)?;
            for topic in Topic::ALL {
                let id = registry.register(topic.name(), SCHEMA).await?;
                lines.push(format!("{}: schema {id} at {url}", topic.subject()));
            }
        }
        None => {
            lines.push("no --registry: the schema is registered by `wk up`, which serves a registry of its own".into())
        }
    }
    Ok(lines)
}
