//! `wk verify`: checks the lake from its signed checkpoint down to each record's place in its chain.

use crate::config::Settings;
use crate::home::Key;
use crate::services;
use anyhow::{Context as _, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use std::path::PathBuf;
use std::process::ExitCode;
use wk_store::verify::{self, Report};

/// The arguments of `wk verify`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Prints the report as JSON.
    #[arg(long)]
    json: bool,
    /// A checkpoint that was kept outside the lake: shows what was cut off or changed since.
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// The lake. Default: the one of the data folder.
    #[arg(long, value_name = "DIR")]
    lake: Option<PathBuf>,
    /// The lake's public key, PEM. Default: the one of the data folder. An auditor brings a copy of his own.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

/// Verifies and reports. Exit code 0: everything is valid; 1: something is not; 2: it could not be checked.
pub(crate) fn main(settings: Settings, options: Options) -> anyhow::Result<ExitCode> {
    let against = options
        .against
        .as_ref()
        .map(|path| {
            std::fs::read_to_string(path).with_context(|| format!("failed to read the checkpoint `{}`", path.display()))
        })
        .transpose()?;
    let report = services::block_on(check(&settings, &options, against))?;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{report}");
    }
    Ok(ExitCode::from(report.exit_status()))
}

/// Verifies the lake, with a progress bar on a terminal.
async fn check(settings: &Settings, options: &Options, against: Option<String>) -> anyhow::Result<Report> {
    let dir = options.lake.clone().unwrap_or_else(|| settings.home.lake());
    if !dir.exists() {
        bail!("there is no lake in `{}`", dir.display());
    }
    let key = match &options.key {
        Some(path) => crate::home::read_public(path)?,
        None => settings.home.verifying_key(Key::Lake)?,
    };
    let files = wk_store::files::Files::local(&dir)?;
    let bar = ProgressBar::new(0).with_style(
        ProgressStyle::with_template("{bar:40} {pos} of {len} commits {msg}").expect("the template is a constant"),
    );
    let report = verify::verify(&files, &key, &verify::Options { against, ..Default::default() }, |progress| {
        bar.set_length(progress.of);
        bar.set_position(progress.commits);
        bar.set_message(format!("{} records", progress.records));
    })
    .await?;
    bar.finish_and_clear();
    Ok(report)
}

/// Verifies the lake of the data folder; for the demo.
pub(crate) async fn lake(settings: &Settings) -> anyhow::Result<Report> {
    let options = Options { json: false, against: None, lake: None, key: None };
    check(settings, &options, None).await
}
