//! `wk up`: log, ingest, watcher and query in one process, until it is interrupted.

use crate::config::Settings;
use crate::services::{self, Services};
use clap::Args;
use std::process::ExitCode;

/// The arguments of `wk up`.
#[derive(Debug, Args)]
pub(crate) struct Options {}

/// Starts everything, says where it listens, and waits.
pub(crate) fn main(settings: Settings, _: Options) -> anyhow::Result<ExitCode> {
    services::block_on(async {
        let mut services = Services::start(&settings).await?;
        println!("data      {}", settings.home.dir().display());
        println!("log       {}", services.endpoints.brokers.bootstrap);
        println!("registry  {}", services.endpoints.registry);
        println!("query     {} (token in keys/query.token)", std::fs::read_to_string(settings.home.query_address())?);
        println!("ready; `wk run -- <command>` finds this, Ctrl-C ends it");
        let failed = tokio::select! {
            error = services.first_end() => Some(error),
            () = services::interrupted() => None,
        };
        let stopped = services.stop(&settings).await;
        match failed {
            Some(error) => Err(error),
            None => stopped.map(|()| ExitCode::SUCCESS),
        }
    })
}
