//! A commit that rearranges: are the records in the files it adds those of the files it takes out, each once?

use super::commit::Checked;
use super::file;
use super::report::{Class, Finding, Report};
use super::scope::Scope;
use crate::compact::sorted_root;
use crate::delta::Arrangement;
use crate::files::{Files, FilesError};
use crate::lake::DataFile;
use crate::stats::Stats;
use bytes::Bytes;
use object_store::path::Path as ObjectPath;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use wk_schemas::{Digest, Schema};

/// Compares both sides of a compaction with each other and with what its commit says, when a file that it adds is in the scope.
///
/// The records themselves are checked where they were first committed: the files that were taken out are still there.
pub(super) async fn check(
    files: &Files,
    said: Arrangement,
    scope: &Scope,
    checked: &mut Checked,
) -> Result<(), FilesError> {
    if !checked.added.iter().any(|file| scope.has_file(file)) {
        return Ok(());
    }
    let version = checked.version;
    let missing = |path: &str| Finding::new(Class::Missing, "the file is not there").commit(version).file(path);
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for path in &checked.removed {
        match files.get(&ObjectPath::from(path.as_str())).await? {
            Some(bytes) => before.push((path.clone(), bytes)),
            None => checked.findings.push(missing(path)),
        }
    }
    for file in checked.added.clone() {
        match files.get(&ObjectPath::from(file.path.as_str())).await? {
            Some(bytes) => after.push((file, bytes)),
            None => checked.findings.push(missing(&file.path)),
        }
    }
    let whole = before.len() == checked.removed.len() && after.len() == checked.added.len();
    let work = move || compare(version, whole.then_some(&said), &before, &after);
    let compared = tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| FilesError::Read { path: format!("the files of commit {version}"), source: e.into() })?;
    checked.valid_files += compared.valid_files;
    checked.rearranged += compared.records;
    checked.schemas.extend(compared.schemas);
    checked.findings.extend(compared.findings);
    Ok(())
}

/// What became of a comparison.
#[derive(Default)]
struct Compared {
    valid_files: u64,
    records: u64,
    schemas: Vec<Arc<Schema>>,
    findings: Vec<Finding>,
}

/// Without `said` a file is missing, which was reported, and the sides cannot be compared.
fn compare(
    version: u64,
    said: Option<&Arrangement>,
    before: &[(String, Bytes)],
    after: &[(DataFile, Bytes)],
) -> Compared {
    let mut compared = Compared::default();
    let mut leaves = Vec::new();
    for (file, bytes) in after {
        let content = file::check_rearranged(file, bytes);
        compared.valid_files += u64::from(content.findings.is_empty());
        compared.records += content.rows;
        compared.schemas.extend(content.schema);
        compared.findings.extend(content.findings);
        leaves.extend(content.leaves);
    }
    let Some(said) = said else { return compared };
    let mut invalid = |what: String| compared.findings.push(Finding::new(Class::Invalid, what).commit(version));
    let mut hold = |side: &str, leaves: Vec<Digest>| {
        let (records, digest) = (leaves.len() as u64, sorted_root(leaves));
        if (records, digest.to_hex()) != (said.records, said.digest.clone()) {
            invalid(format!(
                "the files it {side} hold {records} records with the digest {digest}, it says that it rearranges {} with {}",
                said.records, said.digest
            ));
        }
    };
    hold("adds", leaves);
    let mut leaves = Vec::new();
    for (path, bytes) in before {
        match file::leaves(bytes, None) {
            Ok((found, _)) => leaves.extend(found),
            // What is wrong with it is reported by the check of the commit that added it; here the digest will not be the one that was said.
            Err(reason) => tracing::debug!(path, reason, "a file that was rearranged is not readable"),
        }
    }
    hold("takes out", leaves);
    compared
}

/// The files that the table consists of, followed from commit to commit.
#[derive(Debug, Default)]
pub(super) struct Table(BTreeMap<String, DataFile>);

impl Table {
    /// Takes the files that a commit adds and takes out.
    ///
    /// What is said of the files that a compaction adds must be what was said of those that it takes out. So a part of the lake that had one
    /// of these in it has one of those, and no part needs to look at every compaction.
    pub(super) fn take(&mut self, commit: &Checked, report: &mut Report) {
        let finding = |what: &str| Finding::new(Class::Invalid, what).commit(commit.version);
        let mut gone = Vec::new();
        for path in &commit.removed {
            match self.0.remove(path) {
                Some(file) => gone.push(file),
                None => report.findings.push(finding("it is taken out of a table that it is not in").file(path)),
            }
        }
        if commit.rearranges && said(&gone) != said(&commit.added) {
            report.findings.push(finding(
                "it says other things of the files that it adds than was said of those that it takes out: their records are others",
            ));
        }
        if let Some((day, up_to)) = &commit.removes {
            for file in self.0.values().filter(|file| file.day == *day && file.version <= *up_to) {
                let what = "it was removed by an act, and is still in the table";
                report.findings.push(finding(what).file(&file.path));
            }
        }
        for file in &commit.added {
            if self.0.insert(file.path.clone(), file.clone()).is_some() {
                report.findings.push(finding("it is added to a table that it is in already").file(&file.path));
            }
        }
    }
}

/// The days of some files, and what is said of all of them together.
fn said(files: &[DataFile]) -> (BTreeSet<&str>, Option<Stats>) {
    let days = files.iter().map(|file| file.day.as_str()).collect();
    (days, Stats::together(files.iter().map(|file| &file.stats)))
}
