//! `wk workspace`: what agents changed on ephemeral workspaces, and a person's word about it.
//!
//! The word is a signed approval on the log, as every other; when it has been carried out, that is a record, too. Nothing is applied
//! that was not on record before.

use crate::clock;
use crate::config::Settings;
use crate::people::{self, Wish};
use crate::run::OwnServices;
use crate::{log, services};
use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;
use wk_schemas::body::{ApprovalResolved, Instruction, Resolution};
use wk_schemas::{Body, Chain, Header, Origin, RecordId, SessionId, Topic};
use wk_shim::ephemeral::{Change, Changes, Kind, Overlay, State, unified};
use wk_shim::session::{Question, folder_of, question_of};
use wk_wire::Append as _;

/// Names that are listed at the end of a run; `wk workspace show` has them all.
const LISTED_MAX: usize = 40;

/// The longest file whose difference is shown line by line.
const SHOWN_BYTES_MAX: u64 = 1 << 20;

/// The subcommands of `wk workspace`.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Lists the sessions whose changes wait for a word.
    List,
    /// Shows what a session changed, texts line by line.
    Show {
        /// The session, or a beginning of its id that fits only one.
        session: String,
        /// Only the names.
        #[arg(long)]
        names: bool,
    },
    /// Makes the workspace what the session made of it: all of it, or nothing.
    Apply(Word),
    /// Forgets what the session changed.
    Discard(Word),
}

/// A person's word.
#[derive(Debug, Args)]
pub(crate) struct Word {
    /// The session, or a beginning of its id that fits only one.
    session: String,
    /// Why; it stands in the record.
    #[arg(long, default_value = "answered on the command line")]
    reason: String,
    /// Private key (PKCS#8, PEM) of the person who decides. Default: that of the data folder.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

/// Does it.
///
/// # Errors
/// When there is nothing to decide about, or it cannot be done; then the workspace is what it was.
pub(crate) fn main(settings: &Settings, action: Action) -> anyhow::Result<ExitCode> {
    match action {
        Action::List => list(settings)?,
        Action::Show { session, names } => show(&find(settings, &session)?.1, names)?,
        Action::Apply(word) => answer(settings, word, Instruction::Grant)?,
        Action::Discard(word) => answer(settings, word, Instruction::Deny)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What the person who started a session reads at its end.
pub(crate) fn say_what_changed(session: &SessionId, changes: &Changes) {
    eprintln!("wk: session {session} worked on an ephemeral workspace: {}", changes.counts());
    for change in changes.0.iter().take(LISTED_MAX) {
        eprintln!("  {} {}", change.word(), change.path.display());
    }
    if changes.0.len() > LISTED_MAX {
        eprintln!("  and {} more", changes.0.len() - LISTED_MAX);
    }
    eprintln!("wk: nothing of it is in the workspace; `wk workspace show|apply|discard {session}`");
}

/// Every session with an overlay, oldest first.
fn all(settings: &Settings) -> anyhow::Result<Vec<(SessionId, Overlay)>> {
    let folder = settings.home.sessions();
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("failed to read `{}`", folder.display())),
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let Some(session) = name.to_str().and_then(|name| SessionId::parse(name).ok()) else { continue };
        let folder = folder_of(settings.home.dir(), &session);
        let overlay = Overlay::of(&folder).with_context(|| format!("failed to read `{}`", folder.display()))?;
        found.extend(overlay.map(|overlay| (session, overlay)));
    }
    found.sort_by(|(a, _), (b, _)| a.as_str().cmp(b.as_str()));
    Ok(found)
}

fn find(settings: &Settings, named: &str) -> anyhow::Result<(SessionId, Overlay)> {
    let mut fitting = all(settings)?.into_iter().filter(|(session, _)| session.as_str().starts_with(named));
    let found = fitting.next().with_context(|| {
        format!("no session that begins with `{named}` has changes that wait for a word; see `wk workspace list`")
    })?;
    if fitting.next().is_some() {
        bail!("more than one session begins with `{named}`; see `wk workspace list`");
    }
    Ok(found)
}

fn list(settings: &Settings) -> anyhow::Result<()> {
    let all = all(settings)?;
    if all.is_empty() {
        println!("nothing waits for a word");
    }
    for (session, overlay) in all {
        let what = if overlay.is_in_use()? { "still at work".to_owned() } else { overlay.changes()?.counts() };
        println!("{session}  {}: {what}", overlay.workspace().display());
    }
    Ok(())
}

fn show(overlay: &Overlay, names: bool) -> anyhow::Result<()> {
    let changes = overlay.changes()?;
    println!("{}: {}", overlay.workspace().display(), changes.counts());
    for change in &changes.0 {
        println!("{} {}{}", change.word(), change.path.display(), bits(change));
        if !names && let Some(difference) = difference(overlay, change) {
            print!("{difference}");
        }
    }
    let conflicts = overlay.conflicts(&changes)?;
    for path in &conflicts {
        println!("conflict {}: changed in the workspace since the session began", path.display());
    }
    Ok(())
}

/// What is to be said of kind and permissions, where they are not a plain file's or not what they were.
fn bits(change: &Change) -> String {
    let said = |state: State| match state.kind {
        Kind::File => format!("{:04o}", state.mode),
        Kind::Folder | Kind::Link | Kind::Other => format!("{} {:04o}", state.kind.as_str(), state.mode),
    };
    match (change.before, change.after) {
        (Some(a), Some(b)) if (a.kind, a.mode) != (b.kind, b.mode) => format!(" ({} → {})", said(a), said(b)),
        (None, Some(one)) | (Some(one), None) if one.kind != Kind::File => format!(" ({})", said(one)),
        _ => String::new(),
    }
}

/// A file's change line by line; `None` where it is no text, too long, or not a file.
fn difference(overlay: &Overlay, change: &Change) -> Option<String> {
    let read = |state: Option<State>, path: PathBuf| match state {
        None => Some(Vec::new()),
        Some(State { kind: Kind::File, .. }) => {
            let length = std::fs::symlink_metadata(&path).map_or(0, |found| found.len());
            // Gone, or closed by the agent to its own user: the names are shown all the same.
            (length <= SHOWN_BYTES_MAX).then(|| std::fs::read(&path).ok()).flatten()
        }
        Some(State { kind: Kind::Folder | Kind::Link | Kind::Other, .. }) => None,
    };
    let before = read(change.before, overlay.original().join(&change.path))?;
    let after = read(change.after, overlay.written(&change.path))?;
    unified(&before, &after)
}

/// Puts the person's word on the log, carries it out, and puts that on the log.
fn answer(settings: &Settings, word: Word, decision: Instruction) -> anyhow::Result<()> {
    let (session, overlay) = find(settings, &word.session)?;
    if overlay.is_in_use()? {
        bail!("session {session} still works on it; wait for its end, or `wk kill` it");
    }
    overlay.undo_interrupted()?;
    let changes = overlay.changes()?;
    let question = question_of(&overlay)?;
    if decision == Instruction::Grant {
        let conflicts = overlay.conflicts(&changes)?;
        if !conflicts.is_empty() {
            bail!(wk_shim::ephemeral::ApplyError::Conflict(conflicts));
        }
        if question.as_ref().is_some_and(|question| question.digest != changes.digest().to_hex()) {
            bail!(
                "what session {session} wrote is no longer what is on record of it; `wk workspace show` it, and discard it"
            );
        }
    }
    let own = OwnServices::where_none_run(settings)?;
    let done = services::block_on(async {
        let mut pen = Pen::take(settings, &session).await?;
        let ticket = match question {
            Some(question) => RecordId::parse(&question.ticket).context("the ticket on file is none")?,
            None => {
                // Its shim died before it could ask.
                let (_, body) = Question::about(overlay.workspace(), &changes);
                let ticket = body.ticket;
                pen.write(Vec::new(), body.into()).await?;
                ticket
            }
        };
        let asked_at = clock::now();
        let wish = Wish {
            session: session.clone(),
            decision,
            ticket: Some(ticket),
            reason: word.reason.clone(),
            key: word.key,
        };
        let decided = people::decide(settings, wish).await?;
        let (resolution, said) = match decision {
            Instruction::Grant => {
                overlay.apply(&changes)?;
                (Resolution::Granted, format!("applied: {}", changes.counts()))
            }
            _ => {
                overlay.discard().context("failed to remove what the session wrote")?;
                (Resolution::Denied, format!("discarded: {}", changes.counts()))
            }
        };
        let body = ApprovalResolved {
            ticket,
            resolution,
            by: Some(settings.principal.clone()),
            reason: format!("{said}; {}", word.reason),
            command_id: None,
            waited_us: clock::now().micros_since(asked_at),
        };
        pen.write(vec![decided], body.into()).await?;
        anyhow::Ok(said)
    });
    if let Some(own) = own {
        own.await_verdict(session.as_str());
        own.stop(settings)?;
    }
    println!("{session}: {}", done?);
    Ok(())
}

/// Writes on the events of a session that is over, as a writer of its own.
#[derive(Debug)]
struct Pen<'a> {
    settings: &'a Settings,
    session: &'a SessionId,
    log: log::Log,
    chain: Chain,
    writer: String,
}

impl<'a> Pen<'a> {
    async fn take(settings: &'a Settings, session: &'a SessionId) -> anyhow::Result<Self> {
        let log = log::connect(settings).await?;
        Ok(Self { settings, session, log, chain: Chain::default(), writer: format!("cli/{}", clock::new_id()) })
    }

    async fn write(&mut self, caused_by: Vec<RecordId>, body: Body) -> anyhow::Result<()> {
        let header = Header {
            caused_by,
            ..log::header(self.settings, clock::new_id(), self.session, &self.writer, Origin::Person)
        };
        let (_, datum) = self.chain.seal(header, body);
        let value = wk_wire::frame(self.log.schema_id, &datum);
        let sent = self.log.producer.append(Topic::Events.name(), self.session.as_str().as_bytes(), &value).await;
        sent.map(drop).context("the log did not take the record")
    }
}
