//! What the tables of the schema `rollups` hold, which some views are made of: see [`crate::rolled`].
//!
//! What a column means there it means in the view as well, as far as the records of one file say it; here stands only what differs.

use super::{View, daily_first_seen, daily_sessions};
use crate::rolled::{SCHEMA, beside_name, columns};
use crate::schema::{Documented, documented};
use wk_store::rollup::Part;

/// A table and what it means.
#[derive(Debug)]
pub(crate) struct Rollup {
    /// Its name, with that of the schema as a question writes it.
    pub(crate) name: String,
    /// What one row of it is.
    pub(crate) doc: &'static str,
    /// Its columns, in order.
    pub(crate) columns: Vec<Documented>,
}

/// Every table: first what files keep in sum, then the records of the files that do not.
pub(crate) fn rollups() -> Vec<Rollup> {
    let kept = Part::ALL.map(|part| Rollup {
        name: format!("{SCHEMA}.{}", part.name()),
        doc: row(part),
        columns: columns(part)
            .fields()
            .iter()
            .map(|field| Documented {
                name: field.name().clone(),
                data_type: field.data_type().clone(),
                doc: meaning(part, field.name()).unwrap_or_default().to_owned(),
            })
            .collect(),
    });
    let beside = Part::ALL.map(|part| Rollup {
        name: format!("{SCHEMA}.{}", beside_name(part)),
        doc: row_beside(part),
        // What is inside of a nested column is said once, with `records`.
        columns: documented().into_iter().filter(|column| !column.name.contains('[')).collect(),
    });
    kept.into_iter().chain(beside).collect()
}

const fn row(part: Part) -> &'static str {
    match part {
        Part::Sessions => {
            "A session, as far as the records of one compacted file say; what `sessions` and `daily_sessions` add up."
        }
        Part::Hosts => {
            "A remote host, and who reached for it first in one compacted file; what `daily_first_seen` adds up."
        }
        Part::Paths => "A path, and who touched it first in one compacted file; what `daily_first_seen` adds up.",
        Part::Images => "A program, and who ran it first in one compacted file; what `daily_first_seen` adds up.",
    }
}

const fn row_beside(part: Part) -> &'static str {
    match part {
        Part::Sessions => "A record, as in `records`, of the files whose sessions are not kept in sum.",
        Part::Hosts => "A record, as in `records`, of the files whose hosts are not kept in sum.",
        Part::Paths => "A record, as in `records`, of the files whose paths are not kept in sum.",
        Part::Images => "A record, as in `records`, of the files whose programs are not kept in sum.",
    }
}

/// What a column means.
fn meaning(part: Part, column: &str) -> Option<&'static str> {
    let (own, view): (&[(&str, &str)], &View) = match part {
        Part::Sessions => (SESSIONS, &daily_sessions::VIEW),
        Part::Hosts => (HOSTS, &daily_first_seen::VIEW),
        Part::Paths => (PATHS, &daily_first_seen::VIEW),
        Part::Images => (IMAGES, &daily_first_seen::VIEW),
    };
    let seen: &[(&str, &str)] = if part == Part::Sessions { &[] } else { SEEN };
    let own = own.iter().chain(seen).find(|(name, _)| *name == column).map(|(_, doc)| *doc);
    own.or_else(|| view.columns.iter().find(|known| known.name == column).map(|known| known.doc))
}

const SESSIONS: &[(&str, &str)] = &[
    ("first_at", "Its first record in the file, by the clock of the source."),
    ("last_at", "Its last record in the file."),
    ("first_seq", "The shim's first record in the file: its place in the chain; null when none is the shim's."),
    ("last_seq", "The shim's last record in the file: its place in the chain; null when none is the shim's."),
    ("ended", "When it ended in order; null when no record of the file says so."),
    ("state_at", "When the record of `state` occurred; of two files the later one tells how the session stands."),
    (
        "state",
        "Kind of the newest record that says how it stands, such as session_frozen; null when none of the file does.",
    ),
    ("user", "User of the host it runs as; null in a file without its start."),
    ("workspace", "Folder it is meant to work in; null in a file without its start."),
    ("task_at", "When the task was given; of two files the earlier one has the first."),
    ("task", "What a person asked for first; null when no record of the file says so."),
    ("records", "Records of it in the file."),
    ("worst", "Highest level of a finding, from 1 for INFORMATIONAL to 5 for CRITICAL; null without findings."),
    ("kills", "How often it was killed."),
];

const SEEN: &[(&str, &str)] = &[
    ("first_at", "When it was met first in the file, by the clock of the source."),
    ("last_at", "When it was met last in the file."),
    ("image", "Program that did it."),
];

const HOSTS: &[(&str, &str)] = &[
    ("value", "Name of a remote host, or its address when it has none."),
    ("detail", "The address, of that first time."),
];

const PATHS: &[(&str, &str)] = &[
    ("value", "Absolute path; the second one of a rename or link, too."),
    ("detail", "The operation, of that first time."),
];

const IMAGES: &[(&str, &str)] = &[
    ("value", "Absolute path of a program."),
    ("image", "Program that started it."),
    ("detail", "The command line, of that first time."),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_has_a_meaning_and_none_is_explained_that_is_not_there() {
        for table in rollups() {
            for column in &table.columns {
                assert!(!column.doc.is_empty(), "{}.{}", table.name, column.name);
            }
        }
        for (part, own) in Part::ALL.into_iter().zip([SESSIONS, HOSTS, PATHS, IMAGES]) {
            let there = columns(part);
            let seen: &[(&str, &str)] = if part == Part::Sessions { &[] } else { SEEN };
            for (name, _) in own.iter().chain(seen) {
                assert!(there.column_with_name(name).is_some(), "{}: {name}", part.name());
            }
        }
    }
}
