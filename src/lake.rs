//! `wk lake`: looks after the lake.

use crate::config::{Settings, WhichLake};
use crate::home::Key;
use crate::{clock, services};
use clap::{Args, Subcommand};
use std::collections::BTreeSet;
use std::process::ExitCode;
use wk_store::compact::{CompactError, Limits};
use wk_store::{CommitError, Writer, layout};

/// What can be done to the lake.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Writes the files of each day again in the order of sessions. Ingest may go on meanwhile.
    Compact(Options),
}

/// The arguments of `wk lake compact`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Takes today's files as well, however few there are.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    place: WhichLake,
}

/// Exit code 0: done; 1: a file is not what was committed, and was left alone; 2: it could not be done.
pub(crate) fn main(settings: &Settings, action: Action) -> anyhow::Result<ExitCode> {
    let Action::Compact(options) = action;
    services::block_on(compact(settings, options))
}

async fn compact(settings: &Settings, options: Options) -> anyhow::Result<ExitCode> {
    let mut writer = Writer::open(options.place.open(settings).await?, settings.home.signing_key(Key::Lake)?).await?;
    let mut limits = Limits::default();
    if options.all {
        limits.files_min = 2;
    }
    let mut damaged = BTreeSet::new();
    loop {
        let now = clock::now();
        match writer.compact(&damaged, &layout::day(now), &limits, clock::new_id().0, now).await {
            Ok(None) => break,
            Ok(Some((version, rewrite))) => {
                let (files, day) = (rewrite.inputs().len(), &rewrite.inputs()[0].day);
                println!("commit {version}: {} records of {day} from {files} files into one", rewrite.records());
            }
            Err(CompactError::Damaged { path, reason }) => {
                eprintln!("wk: file `{path}` is not what was committed: {reason}; see `wk verify`");
                damaged.insert(path);
            }
            // Another process has compacted them meanwhile.
            Err(CompactError::Commit(CommitError::Rearranged { .. })) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(ExitCode::from(u8::from(!damaged.is_empty())))
}
