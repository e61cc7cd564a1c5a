//! `wk topics`: creates the topics on a broker, or says how they differ.

use crate::config::Settings;
use crate::services;
use clap::{Args, Subcommand};
use std::process::ExitCode;
use wk_wire::topics::TopicSpec;

/// The subcommands of `wk topics`.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Creates the topics that are not there and registers the schema; safe to repeat.
    Create(Options),
}

/// How the topics are laid out. A partition count cannot be changed later without breaking the order of sessions.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Partitions of each topic.
    #[arg(long, default_value_t = 6)]
    partitions: i32,
    /// Copies of each partition.
    #[arg(long, default_value_t = 1)]
    replication: i32,
    /// Copies that must have a record before it counts as written.
    #[arg(long, default_value_t = 1)]
    min_insync_replicas: i32,
}

/// Creates the topics.
pub(crate) fn main(settings: Settings, action: Action) -> anyhow::Result<ExitCode> {
    let Action::Create(options) = action;
    let spec = TopicSpec {
        partitions: options.partitions,
        replication: options.replication,
        min_insync: options.min_insync_replicas,
    };
    services::block_on(async {
        for line in services::create_topics(&settings, spec).await? {
            println!("{line}");
        }
        Ok(ExitCode::SUCCESS)
    })
}
