//! Checks everything that the lake promises, from the signed checkpoint down to each record's place in its chain.
//!
//! ```text
//! checkpoint   signed by the key; nothing before an earlier checkpoint was changed or cut off
//! tiles        have the signed root; entry bundles are the commits
//! commits      each is the leaf of its number; offsets of every partition go on where they ended, and add up
//! columns      the table's only become more, and are all that its files have
//! derived      each Delta checkpoint says what the commits that it sums up say, because readers begin with it
//! files        SHA-256 and size; the root over the records, each encoded again from its columns; statistics that hold every record
//! compactions  the files that one adds hold the records of those that it takes out, each once; no file is taken out twice
//! roll-ups     what a file keeps of its records in sum is what they give
//! removals     each is signed by somebody who may, under no hold; its ledger says of files and chains what the commits and the records around say
//! chains       seq of (topic, session, writer) without a gap, each record naming the digest of the one before
//! ```
//! Findings are told apart as CloudTrail does it: *invalid* is there and is not what was signed, *missing* was signed and is not there,
//! *gap* was never there though its neighbours say it should be. A *notice* breaks no promise of the lake, and an auditor will want to ask
//! about it: a clock that was moved, a session without an end, a file that no commit names. The lake may be written to meanwhile: what is newer
//! than the newest checkpoint at the end of a short wait is reported.
//!
//! Not seen: what was cut off after the newest checkpoint that anybody outside has kept. So keep checkpoints outside, and
//! give one as [`Options::against`]. A session that is still running has a chain that simply ends.

mod arrangement;
mod bounds;
mod chains;
mod columns;
mod commit;
mod derived;
mod file;
mod log;
mod notebook;
mod outside;
mod removed;
mod report;
mod rollups;
mod scope;
mod seen;
mod strays;
mod tally;

pub(crate) use file::{Offset, PlaceColumns, each as read_each, leaves as read_leaves};
pub use notebook::Notebook;
pub use report::{Class, Finding, Removed, Report, Witnessed};
pub use scope::{Scope, ScopeError};

use crate::files::{Files, FilesError};
use crate::merkle::witness::WitnessKey;
use crate::retention::Acts;
use chains::Chains;
use derived::Derived;
use ed25519_dalek::VerifyingKey;
use futures::{StreamExt as _, stream};
use notebook::Noted;
use std::sync::Arc;
use tally::Tally;

/// How many commits are read and checked at once.
const AHEAD: usize = 4;

/// What to check, and against what.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// A checkpoint that was kept outside the lake, as text.
    pub against: Option<String>,
    /// Which part of the lake.
    pub scope: Scope,
    /// Witnesses whose cosignature must stand under a published checkpoint, or under that of `against`.
    pub witnesses: Vec<WitnessKey>,
    /// Whose signatures under removals, holds and releases count.
    pub approvers: Vec<VerifyingKey>,
}

/// How far a verification has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Commits checked.
    pub commits: u64,
    /// Commits to check.
    pub of: u64,
    /// Records checked.
    pub records: u64,
}

/// Checks the lake under `files`; tells `progress` after every commit.
///
/// # Errors
/// [`FilesError::Read`] when the disk or the store does not answer. What is wrong with the lake itself is in the report.
pub async fn verify(
    files: &Files,
    key: &VerifyingKey,
    options: &Options,
    progress: impl FnMut(Progress),
) -> Result<Report, FilesError> {
    let pass = Pass { files, key, options, notebook: None };
    Ok(pass.run(progress).await?.report)
}

/// As [`verify`], and reads of what `notebook` knows no more than whether it is the same bytes; notes what it finds whole if everything is valid. The
/// verdict is that of [`verify`] against the notebook's checkpoint: with anything invalid, missing or amiss all is read a second time, without the
/// notebook, and `progress` begins anew. Of a part of the lake ([`Options::scope`]) nothing is noted.
///
/// # Errors
/// As [`verify`].
pub async fn verify_with(
    notebook: &mut Notebook,
    files: &Files,
    key: &VerifyingKey,
    options: &Options,
    mut progress: impl FnMut(Progress),
) -> Result<Report, FilesError> {
    let pass = Pass { files, key, options, notebook: Some(notebook) };
    let mut passed = pass.run(&mut progress).await?;
    if !(passed.fits && passed.report.is_valid()) && passed.report.noted > 0 {
        let checkpoint = notebook.checkpoint().map(str::to_owned);
        let bare = Notebook::under(checkpoint);
        passed = Pass { notebook: Some(&bare), ..pass }.run(&mut progress).await?;
    }
    if passed.report.is_valid() && options.scope.is_whole() {
        *notebook = passed.notes;
    }
    Ok(passed.report)
}

/// What a verification goes by.
struct Pass<'a> {
    files: &'a Files,
    key: &'a VerifyingKey,
    options: &'a Options,
    /// What is known already; without one nothing is noted either.
    notebook: Option<&'a Notebook>,
}

/// What came of it.
struct Passed {
    report: Report,
    notes: Notebook,
    /// What the notebook knows is what the rest of the lake goes on from.
    fits: bool,
}

impl Pass<'_> {
    async fn run(&self, mut progress: impl FnMut(Progress)) -> Result<Passed, FilesError> {
        let Self { files, key, options, notebook } = *self;
        let scope = Arc::new(options.scope.clone());
        let notebook = notebook.filter(|_| scope.is_whole());
        let mut report = Report { scope: scope.to_string(), ..Report::default() };
        // Listed first: a file is there before the commit that names it, so what is listed now is named by the time the commits are read.
        let listed = strays::list(files).await?;
        let mut derived = Derived::list(files, &listed).await?;
        let noted = notebook.and_then(Notebook::checkpoint);
        let log::Held { commits, acts: signed, checkpoint } =
            log::check(files, key, options, noted, &mut report).await?;
        let mut notes = Notebook::under(checkpoint);
        let mut acts = Acts::default();
        let lake = report.origin.strip_prefix("watchkeeper/").unwrap_or_default().to_owned();
        for (version, act) in signed {
            acts.take(files, &lake, &options.approvers, version, act).await?;
        }
        let acts = Arc::new(acts);
        let of = commits.len() as u64;
        let mut tally = Tally::default();
        let mut chains = Chains::new(&scope);
        let mut named = strays::Named::default();
        let mut table = arrangement::Table::default();
        let mut columns = columns::History::default();
        let mut found = 0;
        let mut gone = removed::Gone::default();
        let known = |version| notebook.and_then(|notebook| notebook.of(version));
        let mut checked = stream::iter(commits)
            .map(|version| commit::check(files.clone(), version, Arc::clone(&scope), Arc::clone(&acts), known(version)))
            .buffered(AHEAD);
        let (mut done, mut fits) = (0, true);
        while let Some(commit) = checked.next().await {
            let mut commit = commit?;
            let before = report.findings.len();
            tally.take(&commit, scope.is_whole(), &mut report);
            let plain = match &commit.noted {
                Some(noted) => {
                    report.noted += commit.read;
                    let joined = chains.join(commit.version, noted, &mut report);
                    fits &= joined;
                    joined
                }
                None => chains.follow(commit.version, &commit.seen, &mut report),
            };
            table.take(&commit, &mut report);
            gone.take(&acts, &commit.gone);
            columns.take(&commit, &mut report);
            let nothing = commit.findings.is_empty() && report.findings.len() == before && commit.gone.is_empty();
            if notebook.is_some() && plain && nothing {
                let noted = commit.noted.take().unwrap_or_else(|| Noted::of(&commit));
                notes.note(commit.version, noted);
            }
            named.take(commit.added.into_iter().map(|file| file.path));
            derived.take(files, commit.version, commit.actions, &mut report).await?;
            found += commit.seen.len();
            report.valid_files += commit.valid_files;
            report.records += commit.read;
            report.rearranged += commit.rearranged;
            report.findings.extend(commit.findings);
            done += 1;
            progress(Progress { commits: done, of, records: report.records });
        }
        gone.finish(&acts, &listed, &scope, &mut report);
        for one in acts.removals() {
            tally.removed(one);
            chains.removed(one, &mut report);
        }
        if scope.is_whole() {
            tally.finish(&mut report);
        }
        absent(&scope, found, &tally, &mut report);
        chains.repeated().into_iter().for_each(|commits| notes.forget(commits));
        chains.finish(&mut report);
        derived.finish(files, &mut report).await?;
        named.strays(&listed, &scope, &mut report);
        Ok(Passed { report, notes, fits })
    }
}

/// Says so when nothing of what was asked for is there.
fn absent(scope: &Scope, found: usize, tally: &Tally, report: &mut Report) {
    let what = match scope {
        Scope::Lake | Scope::Day(_) => return,
        _ if found > 0 || !report.removed.is_empty() => return,
        Scope::Session(session) => format!("there is no record of session {session}"),
        Scope::Record { source, offset } if *offset >= tally.next(*source) => {
            format!("{source} has been committed up to offset {}, so {offset} is not in the lake", tally.next(*source))
        }
        Scope::Record { source, offset } => {
            format!(
                "{source}@{offset} is in no file: it was a dead letter, a control record of the log, or before the lake began"
            )
        }
    };
    report.findings.push(Finding::new(Class::Missing, what));
}
