//! How each part is put together from the settings: its keys, its folder, its end of the log.

use crate::clock;
use crate::config::{Settings, WhichLake};
use crate::endpoints::Endpoints;
use crate::home::{Key, read_public};
use crate::show;
use anyhow::Context as _;
use ed25519_dalek::VerifyingKey;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wk_ingest::Ingest;
use wk_query::doors::http;
use wk_store::{Lake, Writer};
use wk_watcher::Watcher;
use wk_watcher::state::Progress;
use wk_wire::registry;

type Task = JoinHandle<anyhow::Result<()>>;

/// The log's way into the lake, which is made when it is not there.
pub(crate) async fn ingest(
    settings: &Settings,
    endpoints: &Endpoints,
    cancel: CancellationToken,
) -> anyhow::Result<Task> {
    let place = settings.lake(&WhichLake::default())?;
    let lake = Lake::open_or_create_on(place.make()?, clock::new_id().0, clock::now())
        .await
        .with_context(|| format!("failed to open the lake `{place}`"))?;
    let writer = Writer::open(lake.clone(), settings.home.signing_key(Key::Lake)?).await?;
    let compactor = Writer::open(lake, settings.home.signing_key(Key::Lake)?).await?;
    let identity = wk_ingest::Identity { tenant: settings.tenant.clone(), host: settings.host.clone() };
    let registry = registry::Client::new(&endpoints.registry)?;
    let ingest = Ingest::new(settings.ingest.clone(), endpoints.brokers.clone(), registry, writer, identity);
    let config = settings.ingest.clone();
    Ok(tokio::spawn(async move {
        let end = cancel.child_token();
        let compacting = tokio::spawn(wk_ingest::compact::run(config, compactor, end.clone()));
        let ended = ingest.run(cancel).await;
        // What it was about is finished, so that nothing of this process writes to the lake once this task has ended.
        end.cancel();
        if let Err(error) = compacting.await {
            tracing::error!(%error, "the compaction broke down; the lake is as good as before");
        }
        ended?;
        Ok(())
    }))
}

/// Answers over HTTP on a port of loopback that it writes down; the token is in the data folder.
pub(crate) async fn query(settings: &Settings, _: &Endpoints, cancel: CancellationToken) -> anyhow::Result<Task> {
    let listener = TcpListener::bind(("127.0.0.1", settings.query_port))
        .await
        .with_context(|| format!("failed to listen on 127.0.0.1:{}", settings.query_port))?;
    let address = listener.local_addr()?;
    std::fs::write(settings.home.query_address(), format!("http://{address}"))?;
    let audit = crate::audit::Audit::start(&Arc::new(settings.clone()));
    let engine = show::engine(settings, audit.on_query()).await?;
    let door =
        http::Door { engine, token: settings.home.query_token()?.into(), user: settings.principal.clone().into() };
    Ok(tokio::spawn(async move {
        let served = http::serve(listener, door, cancel.cancelled_owned()).await;
        // Its thread writes down the last questions; waiting for it belongs on a thread of its own.
        tokio::task::spawn_blocking(move || drop(audit)).await?;
        served.context("the HTTP door failed")
    }))
}

/// Whose approvals count: the approver of this data folder, and those that are configured.
pub(crate) fn approvers(settings: &Settings) -> anyhow::Result<Vec<VerifyingKey>> {
    let mut approvers = vec![settings.home.verifying_key(Key::Approver)?];
    for path in &settings.watcher.approver_keys {
        approvers.push(read_public(path)?);
    }
    Ok(approvers)
}

/// Judges, and commands in the name of its key; listens to the approver of this data folder and those that are configured. Lets see how far it has come.
pub(crate) async fn watcher(
    settings: &Settings,
    endpoints: &Endpoints,
    cancel: CancellationToken,
) -> anyhow::Result<(Task, Progress)> {
    let setup = wk_watcher::run::Setup {
        brokers: endpoints.brokers.clone(),
        registry: registry::Client::new(&endpoints.registry)?,
        state: settings.home.watcher(),
        command_key: settings.home.signing_key(Key::Command)?,
        approvers: approvers(settings)?,
        tenant: settings.tenant.clone(),
        host: settings.host.clone(),
        points: wk_watcher::run::Points::default(),
    };
    let config = settings.watcher.clone();
    // Loading the rules takes a moment of a processor.
    let watcher = tokio::task::spawn_blocking(move || Watcher::open(config, setup)).await??;
    let progress = watcher.progress();
    let task = tokio::spawn(async move {
        watcher.run(cancel).await?;
        Ok(())
    });
    Ok((task, progress))
}
