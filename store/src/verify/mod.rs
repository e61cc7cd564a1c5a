//! Checks everything that the lake promises, from the signed checkpoint down to each record's place in its chain.
//!
//! ```text
//! checkpoint   signed by the key; nothing before an earlier checkpoint was changed or cut off
//! tiles        have the signed root; entry bundles are the commits
//! commits      each is the leaf of its number; offsets of every partition go on where they ended, and add up
//! files        SHA-256 and size; the root over the records, each encoded again from its columns
//! chains       seq of (topic, session, writer) without a gap, each record naming the digest of the one before
//! ```
//! Findings are told apart as CloudTrail does it: *invalid* is there and is not what was signed, *missing* was signed and is not there,
//! *gap* was never there though its neighbours say it should be. The lake may be written to meanwhile: what is newer than
//! the newest checkpoint at the end of a short wait is reported.
//!
//! Not seen: what was cut off after the newest checkpoint that anybody outside has kept. So keep checkpoints outside, and
//! give one as [`Options::against`]. A session that is still running has a chain that simply ends.

mod chains;
mod file;
mod log;
mod report;

pub(crate) use file::leaves as read_leaves;
pub use report::{Class, Finding, Report};

use crate::delta::{self, Action, Provenance};
use crate::files::{Files, FilesError};
use crate::lake::{DataFile, commit_path};
use crate::offsets::{Range, Source};
use chains::Chains;
use ed25519_dalek::VerifyingKey;
use file::Seen;
use futures::{StreamExt as _, stream};
use object_store::path::Path as ObjectPath;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How many commits are read and checked at once.
const AHEAD: usize = 4;

/// What to check against.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// A checkpoint that was kept outside the lake, as text.
    pub against: Option<String>,
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
    mut progress: impl FnMut(Progress),
) -> Result<Report, FilesError> {
    let mut report = Report::default();
    let commits = log::check(files, key, options, &mut report).await?;
    let of = commits.len() as u64;
    let mut tally = Tally::default();
    let mut chains = Chains::default();
    let mut checked = stream::iter(commits).map(|version| commit(files.clone(), version)).buffered(AHEAD);
    let mut done = 0;
    while let Some(commit) = checked.next().await {
        let commit = commit?;
        tally.take(commit.version, &commit.ranges, &commit.seen, &mut report);
        chains.follow(&commit.seen, &mut report);
        report.valid_files += commit.valid_files;
        report.records += commit.seen.len() as u64;
        report.findings.extend(commit.findings);
        done += 1;
        progress(Progress { commits: done, of, records: report.records });
    }
    tally.finish(&mut report);
    Ok(report)
}

/// What a commit and its files hold.
#[derive(Debug, Default)]
struct Checked {
    version: u64,
    ranges: Vec<Range>,
    seen: Vec<Seen>,
    valid_files: u64,
    findings: Vec<Finding>,
}

async fn commit(files: Files, version: u64) -> Result<Checked, FilesError> {
    let mut checked = Checked { version, ..Checked::default() };
    // That the commit is there, and whether its bytes are the signed ones, was found out before.
    let Some(bytes) = files.get(&commit_path(version)).await? else { return Ok(checked) };
    let mut invalid = |what: String| checked.findings.push(Finding::new(Class::Invalid, what).commit(version));
    let actions = match delta::read(&bytes) {
        Ok(actions) => actions,
        Err(e) => {
            invalid(format!("not readable: {e}"));
            return Ok(checked);
        }
    };
    let mut ours: Option<Provenance> = None;
    let mut txns = BTreeMap::new();
    let mut adds = Vec::new();
    for action in actions {
        match action {
            Action::CommitInfo(info) => ours = info.watchkeeper,
            Action::Txn(txn) => drop(txns.insert(txn.app_id, txn.version)),
            Action::Add(add) => match DataFile::of(add.clone(), version) {
                Some(file) => adds.push(file),
                None => invalid(format!("file `{}` does not carry what this table writes", add.path)),
            },
            Action::Remove(remove) => invalid(format!("it takes `{}` out of an append-only table", remove.path)),
            Action::Other(name) => invalid(format!("it holds a `{name}`, which this table never writes")),
            Action::Protocol(_) | Action::MetaData(_) => {
                if version > 0 {
                    invalid("it changes the table's protocol or schema".into());
                }
            }
        }
    }
    match ours {
        Some(ours) => checked.ranges = ours.ranges,
        None => invalid("it was not made by this program".into()),
    }
    let said: BTreeMap<String, i64> = checked.ranges.iter().map(|r| (r.source().to_string(), r.next)).collect();
    if said != txns {
        checked.findings.push(Finding::new(Class::Invalid, "its ranges and its transactions disagree").commit(version));
    }
    for file in adds {
        read_file(&files, file, &mut checked).await?;
    }
    checked.seen.sort_by_key(|s| (s.source, s.offset));
    Ok(checked)
}

async fn read_file(files: &Files, file: DataFile, checked: &mut Checked) -> Result<(), FilesError> {
    let Some(bytes) = files.get(&ObjectPath::from(file.path.as_str())).await? else {
        let held: Vec<String> =
            file.stats.held.iter().map(|h| format!("{} offsets {} to {}", h.source, h.first, h.last)).collect();
        checked.findings.push(
            Finding::new(Class::Missing, format!("the file is not there: {} records, {}", file.rows, held.join(", ")))
                .commit(file.version)
                .file(&file.path),
        );
        return Ok(());
    };
    let file = Arc::new(file);
    let path = file.path.clone();
    let (seen, findings) = tokio::task::spawn_blocking(move || file::check(&file, &bytes))
        .await
        .map_err(|e| FilesError::Read { path, source: e.into() })?;
    checked.valid_files += u64::from(findings.is_empty());
    checked.seen.extend(seen);
    checked.findings.extend(findings);
    Ok(())
}

/// Counts offsets against records over all commits.
#[derive(Debug, Default)]
struct Tally {
    next: BTreeMap<Source, i64>,
    letters_counted: BTreeMap<Source, i64>,
    letters_seen: BTreeMap<Source, BTreeSet<i64>>,
}

impl Tally {
    fn take(&mut self, version: u64, ranges: &[Range], seen: &[Seen], report: &mut Report) {
        let mut rows: BTreeMap<Source, i64> = BTreeMap::new();
        let mut before: Option<(Source, i64)> = None;
        for record in seen {
            let place = (record.source, record.offset);
            *rows.entry(record.source).or_default() += 1;
            let inside = ranges.iter().any(|r| r.source() == place.0 && (r.first..r.next).contains(&place.1));
            if before == Some(place) || !inside {
                let what = if inside { "it is in the commit twice" } else { "it is outside the commit's ranges" };
                let record = format!("{}@{}", place.0, place.1);
                report.findings.push(Finding::new(Class::Invalid, what).commit(version).record(record));
            }
            before = Some(place);
            if let Some((source, offset)) = record.letter {
                self.letters_seen.entry(source).or_default().insert(offset);
            }
        }
        for range in ranges {
            self.range(version, range, rows.get(&range.source()).copied().unwrap_or(0), report);
        }
    }

    fn range(&mut self, version: u64, range: &Range, rows: i64, report: &mut Report) {
        let source = range.source();
        let mut add = |class, what| report.findings.push(Finding::new(class, what).commit(version));
        if !range.is_complete() {
            add(Class::Invalid, format!("its range of {source} does not add up"));
        }
        if rows != range.rows {
            let class = if rows < range.rows { Class::Missing } else { Class::Invalid };
            add(class, format!("it has {rows} records of {source}, and says {}", range.rows));
        }
        // A partition may begin late: what the log had dropped before the lake began was never promised.
        let expected = self.next.get(&source).copied().unwrap_or(range.first);
        if range.first > expected {
            add(Class::Gap, format!("offsets {expected} to {} of {source} are in no commit", range.first - 1));
        } else if range.first < expected {
            add(Class::Invalid, format!("offsets {} to {} of {source} are in two commits", range.first, expected - 1));
        }
        self.next.insert(source, range.next);
        *self.letters_counted.entry(source).or_default() += range.dead_letters;
        report.dead_letters += u64::try_from(range.dead_letters).unwrap_or(0);
        report.absent += u64::try_from(range.absent).unwrap_or(0);
        report.offsets += u64::try_from(range.next - range.first).unwrap_or(0);
    }

    fn finish(&self, report: &mut Report) {
        for (source, counted) in &self.letters_counted {
            let seen = self.letters_seen.get(source).map_or(0, BTreeSet::len);
            let missing = counted - i64::try_from(seen).unwrap_or(i64::MAX);
            if missing > 0 {
                report.findings.push(Finding::new(
                    Class::Gap,
                    format!("{missing} dead letters of {source} are counted and not, or not yet, in the table"),
                ));
            }
        }
    }
}
