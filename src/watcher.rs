//! `wk watcher`: the part as a service of its own, and how good its judgement is.

use crate::config::Settings;
use crate::home::Key;
use crate::{log, services, show};
use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use wk_schemas::Topic;
use wk_watcher::decide::Judge;
use wk_watcher::judge;
use wk_watcher::rules::{Rules, Sources};

/// The arguments of `wk watcher`; without a subcommand it watches.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Measures the deviation score on files of labelled sessions (.jsonl or .jsonl.xz; `watcher/docs/deviation.md` has the form).
    Evaluate {
        /// The files, taken together.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Prints one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Asks the judge of the configuration again about a recorded session, and shows where it differs from the verdicts of then.
    Rejudge {
        /// The session, or a beginning of its id that fits only one.
        session: String,
        /// How many days back its records may lie on the log.
        #[arg(long, default_value_t = 30)]
        days: u64,
        /// Prints one JSON array.
        #[arg(long)]
        json: bool,
    },
}

/// Watches until it is interrupted, or does what the subcommand says.
pub(crate) fn main(settings: Settings, options: Options) -> anyhow::Result<ExitCode> {
    match options.action {
        None => services::only(settings, services::Part::Watcher),
        Some(Action::Evaluate { files, json }) => evaluate(&files, json),
        Some(Action::Rejudge { session, days, json }) => {
            services::block_on(rejudge(&settings, &session, Duration::from_secs(days * 86_400), json))
        }
    }
}

async fn rejudge(settings: &Settings, session: &str, span: Duration, json: bool) -> anyhow::Result<ExitCode> {
    let Some(config) = settings.watcher.judge.clone() else {
        bail!("no judge is configured: there is no section [watcher.judge] in the configuration");
    };
    let session = show::find_session(settings, session).await?;
    let mut records = Vec::new();
    for topic in [Topic::Events, Topic::Findings] {
        let of_topic = log::recent(settings, topic, span).await?;
        records.extend(of_topic.into_iter().filter(|r| r.header.session_id == session).map(|r| (topic, r)));
    }
    if records.is_empty() {
        bail!("the log holds no record of session {session} from the last {} days", span.as_secs() / 86_400);
    }
    let (client, policy) = judge::open(config)?;
    let mut sources = Sources::embedded();
    for path in &settings.watcher.rules {
        sources.add_path(path).with_context(|| format!("failed to read the rules in `{}`", path.display()))?;
    }
    let core = Judge {
        rules: Rules::compile(&sources),
        approvers: Vec::new(),
        settings: settings.watcher.settings(&settings.home.verifying_key(Key::Command)?),
    };
    let differences = judge::rejudge(&core, &client, &policy, records).await?;
    if json {
        println!("{}", serde_json::to_string_pretty(&differences)?);
    } else {
        differences.iter().for_each(|d| println!("{d}"));
        let differing = differences.iter().filter(|d| d.agrees == Some(false)).count();
        println!("{} questions, {differing} answered differently", differences.len());
    }
    Ok(ExitCode::SUCCESS)
}

fn evaluate(files: &[PathBuf], json: bool) -> anyhow::Result<ExitCode> {
    let evaluation = wk_watcher::deviation::evaluate(files)?;
    if json {
        println!("{}", serde_json::to_string_pretty(&evaluation).context("the evaluation is no JSON")?);
    } else {
        println!("{evaluation}");
    }
    Ok(ExitCode::SUCCESS)
}
