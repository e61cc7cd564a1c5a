//! `wk ingest`: carries the log into the lake; with `replay-dead-letters`, gives what it set aside another chance.

use crate::clock;
use crate::config::{Settings, WhichLake};
use crate::endpoints::Endpoints;
use crate::services::{self, Part};
use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use std::fs::{File, TryLockError};
use std::process::ExitCode;
use wk_ingest::Identity;
use wk_ingest::replay::Replay;
use wk_store::rows::Columns;
use wk_wire::in_use;
use wk_wire::registry;

/// The arguments of `wk ingest`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Appends dead letters that can be read by now to their topics again, each once, and notes where.
    ReplayDeadLetters {
        /// Says what would be replayed and writes nothing.
        #[arg(long)]
        dry_run: bool,
    },
}

/// Runs the service, or replays. Exit code of a replay 0: no letter is left; 1: some cannot be read yet.
pub(crate) fn main(settings: Settings, options: Options) -> anyhow::Result<ExitCode> {
    match options.action {
        None => services::only(settings, Part::Ingest),
        Some(Action::ReplayDeadLetters { dry_run }) => replay(&settings, dry_run),
    }
}

fn replay(settings: &Settings, dry: bool) -> anyhow::Result<ExitCode> {
    let endpoints = Endpoints::find(settings)?;
    let path = settings.home.dir().join("replay.lock");
    let lock = File::create(&path).with_context(|| format!("failed to write `{}`", path.display()))?;
    match in_use::lock(&lock) {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => bail!("dead letters are being replayed from this data folder already"),
        Err(TryLockError::Error(error)) => return Err(error).context("failed to lock the replay of dead letters"),
    }
    let identity = Identity { tenant: settings.tenant.clone(), host: settings.host.clone() };
    let registry = registry::Client::new(&endpoints.registry)?;
    let outcome = services::block_on(async {
        let columns = columns(settings).await?;
        Ok(Replay::new(&endpoints.brokers, registry, columns, identity, dry).run(clock::now()).await?)
    })?;
    if dry {
        println!("dry run: nothing was written; `replayed now` is what would be");
    }
    print!("{outcome}");
    for (source, offset, at) in &outcome.replayed {
        println!("{source}@{offset}{}", at.map_or(String::new(), |at| format!(" is at {source}@{at} now")));
    }
    let left = outcome.incomplete > 0 || !outcome.refused.is_empty();
    Ok(ExitCode::from(u8::from(left)))
}

/// The columns of the lake that ingest fills; this program's own as long as there is none.
async fn columns(settings: &Settings) -> anyhow::Result<Columns> {
    let which = WhichLake::default();
    if settings.lake(&which)?.is_nowhere() {
        return Ok(Columns::ours());
    }
    Ok(Columns::clone(&which.open(settings).await?.snapshot().columns))
}
