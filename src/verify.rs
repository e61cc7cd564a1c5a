//! `wk verify`: checks the lake from its signed checkpoint down to each record's place in its chain.

use crate::config::{Settings, WhichLake};
use crate::home::Key;
use crate::{parts, services, show};
use anyhow::Context as _;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use wk_store::Lake;
use wk_store::merkle::proof::prove;
use wk_store::merkle::verifier_key;
use wk_store::merkle::witness::WitnessKey;
use wk_store::verify::{self, Notebook, Report, Scope};

/// The arguments of `wk verify`.
#[derive(Debug, Default, Args)]
pub(crate) struct Options {
    /// Prints the report as JSON.
    #[arg(long)]
    json: bool,
    /// A checkpoint that was kept outside the lake: shows what was cut off or changed since.
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Notes in this file what is found whole, and reads of it no more than whether it is the same bytes the next time. Keep it as you keep a
    /// checkpoint: where nobody who writes to the lake can write.
    #[arg(long, value_name = "FILE", conflicts_with = "part")]
    notebook: Option<PathBuf>,
    /// Checks the records of one UTC day only: 2026-11-21.
    #[arg(long, value_name = "DAY", group = "part")]
    day: Option<String>,
    /// Checks one session only: its id, or a beginning that fits only one.
    #[arg(long, value_name = "ID", group = "part")]
    session: Option<String>,
    /// Checks one record only, by its place in the log: agent.session.events.v1/0@17.
    #[arg(long, value_name = "TOPIC/PARTITION@OFFSET", group = "part")]
    record: Option<String>,
    /// Writes the proof of the record of --record into this folder, as files that other software checks.
    #[arg(long, value_name = "DIR", requires = "record")]
    proof: Option<PathBuf>,
    /// A witness that must have cosigned a published checkpoint, by its key: name+id+base64. As often as needed.
    #[arg(long, value_name = "KEY")]
    witness: Vec<WitnessKey>,
    /// Public key (PEM) of a person whose signature under a removal or a hold counts, beside those of the configuration. As often as needed.
    #[arg(long, value_name = "FILE")]
    approver: Vec<PathBuf>,
    #[command(flatten)]
    place: WhichLake,
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
    let files = options.place.files(settings)?;
    let key = match &options.key {
        Some(path) => crate::home::read_public(path)?,
        None => settings.home.verifying_key(Key::Lake)?,
    };
    let scope = scope(settings, options).await?;
    let bar = ProgressBar::new(0).with_style(
        ProgressStyle::with_template("{bar:40} {pos} of {len} commits {msg}").expect("the template is a constant"),
    );
    let mut approvers = parts::approvers(settings)?;
    for path in &options.approver {
        approvers.push(crate::home::read_public(path)?);
    }
    let verify_options =
        verify::Options { against, scope: scope.clone(), witnesses: options.witness.clone(), approvers };
    let progress = |progress: verify::Progress| {
        bar.set_length(progress.of);
        bar.set_position(progress.commits);
        bar.set_message(format!("{} records", progress.records));
    };
    let report = match &options.notebook {
        None => verify::verify(&files, &key, &verify_options, progress).await?,
        Some(path) => {
            let mut notebook = read_notebook(path)?;
            let report = verify::verify_with(&mut notebook, &files, &key, &verify_options, progress).await?;
            if report.is_valid() {
                write_notebook(path, &notebook)?;
            }
            report
        }
    };
    bar.finish_and_clear();
    if let (Scope::Record { source, offset }, Some(folder)) = (scope, &options.proof) {
        let (proof, record) = prove(&Lake::open_on(files).await?, source, offset).await?;
        let signed = proof.check(&record, &key)?;
        std::fs::create_dir_all(folder).with_context(|| format!("failed to make `{}`", folder.display()))?;
        let vkey = format!("{}\n", verifier_key(&signed.origin, &key));
        for (name, bytes) in proof.files(&record).into_iter().chain([("key.vkey", vkey.into_bytes())]) {
            let path = folder.join(name);
            std::fs::write(&path, bytes).with_context(|| format!("failed to write `{}`", path.display()))?;
        }
        eprintln!("the proof is in {}", folder.display());
    }
    Ok(report)
}

/// What an earlier verification noted; nothing when there was none.
fn read_notebook(path: &Path) -> anyhow::Result<Notebook> {
    let text = match std::fs::read_to_string(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Notebook::default()),
        read => read.with_context(|| format!("failed to read the notebook `{}`", path.display()))?,
    };
    Notebook::read(&text).with_context(|| {
        format!(
            "`{}` is no notebook of a verification, or not whole; without it everything is read anew",
            path.display()
        )
    })
}

/// Puts the notebook in the place of the one before it, in one step.
fn write_notebook(path: &Path, notebook: &Notebook) -> anyhow::Result<()> {
    let mut new = path.to_owned().into_os_string();
    new.push(".new");
    let write = || {
        let mut file = File::create(&new)?;
        file.write_all(notebook.to_json().as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&new, path)
    };
    write().with_context(|| format!("failed to write the notebook `{}`", path.display()))
}

/// The part of the lake that the options name.
async fn scope(settings: &Settings, options: &Options) -> anyhow::Result<Scope> {
    Ok(match (&options.day, &options.session, &options.record) {
        (Some(day), _, _) => Scope::day(day)?,
        (_, Some(session), _) if options.place.is_named() => Scope::Session(session.clone()),
        (_, Some(session), _) => {
            // One that no session begins with is looked for as it is: that it is not there is for the report to say.
            Scope::Session(show::find_session(settings, session).await.map_or(session.clone(), |id| id.to_string()))
        }
        (_, _, Some(record)) => Scope::record(record)?,
        (None, None, None) => Scope::Lake,
    })
}

/// Verifies the lake of the data folder; for the demo.
pub(crate) async fn lake(settings: &Settings) -> anyhow::Result<Report> {
    check(settings, &Options::default(), None).await
}
