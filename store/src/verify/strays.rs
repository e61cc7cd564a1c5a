//! Objects in the table's folder that no commit names.
//!
//! A crash leaves them, and so may somebody who wants readers that go by file names (`**/*.parquet`) to see other records than the table has.
//! They change nothing that the table says; they are named so that somebody looks.

use super::report::{Class, Finding, Report};
use super::scope::Scope;
use crate::files::{Files, FilesError};
use object_store::path::Path as ObjectPath;
use std::collections::BTreeSet;

/// Every object of the table.
pub(super) async fn list(files: &Files) -> Result<Vec<String>, FilesError> {
    let listed = files.list(&ObjectPath::from("records")).await?;
    Ok(listed.into_iter().map(|meta| meta.location.to_string()).collect())
}

/// The files that commits name.
#[derive(Debug, Default)]
pub(super) struct Named(BTreeSet<String>);

impl Named {
    pub(super) fn take(&mut self, paths: impl Iterator<Item = String>) {
        self.0.extend(paths);
    }

    /// Reports what no commit names.
    pub(super) fn strays(&self, listed: &[String], scope: &Scope, report: &mut Report) {
        let inside = |path: &str| match scope {
            Scope::Lake => true,
            Scope::Day(day) => path.starts_with(&format!("records/day={day}/")),
            Scope::Session(_) | Scope::Record { .. } => false,
        };
        for path in listed.iter().filter(|path| inside(path) && !self.0.contains(*path)) {
            let (class, what) = match path.strip_prefix("records/_delta_log/") {
                Some(name) if is_of_the_log(name) => continue,
                Some(name) if is_believed(name) => {
                    (Class::Invalid, "readers go by it instead of the commits, and this table never writes one")
                }
                Some(_) => (Class::Notice, "it is in the table's log and is none of its commits"),
                None => (Class::Notice, "no commit names it: a crash has left it, or somebody put it there"),
            };
            report.findings.push(Finding::new(class, what).file(path));
        }
    }
}

/// Commits, and the checkpoints that are held against them.
fn is_of_the_log(name: &str) -> bool {
    match name.split_once('.') {
        Some((version, "json" | "checkpoint.parquet")) => is_version(version),
        Some(_) => false,
        None => name == "_last_checkpoint",
    }
}

/// What the Delta protocol lets readers take for a part of the log besides: checksums with the table's metadata in them, checkpoints in
/// parts or with sidecars, and commits put together.
fn is_believed(name: &str) -> bool {
    match name.split_once('.') {
        Some((version, "crc")) => is_version(version),
        Some((version, rest)) => {
            is_version(version) && (rest.starts_with("checkpoint.") || rest.ends_with(".compacted.json"))
                || name.starts_with("_sidecars/")
        }
        None => false,
    }
}

fn is_version(text: &str) -> bool {
    text.len() == 20 && text.bytes().all(|b| b.is_ascii_digit())
}
