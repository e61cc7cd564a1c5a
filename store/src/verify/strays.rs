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
    pub(super) fn take(&mut self, paths: Vec<String>) {
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
            let what = match path.strip_prefix("records/_delta_log/") {
                Some(name) if is_of_the_log(name) => continue,
                Some(_) => "it is in the table's log and is none of its commits",
                None => "no commit names it: a crash has left it, or somebody put it there",
            };
            report.findings.push(Finding::new(Class::Notice, what).file(path));
        }
    }
}

/// Commits, and what the Delta protocol derives from them for faster opening.
fn is_of_the_log(name: &str) -> bool {
    let number = |text: &str| text.len() == 20 && text.bytes().all(|b| b.is_ascii_digit());
    match name.split_once('.') {
        Some((version, "json" | "crc")) => number(version),
        Some((version, rest)) => number(version) && rest.starts_with("checkpoint.") && rest.ends_with("parquet"),
        None => name == "_last_checkpoint",
    }
}
