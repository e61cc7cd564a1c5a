//! What an earlier verification has found whole, kept by the one who verified.
//!
//! The signed root pins the bytes of every commit, and a commit the SHA-256 of each of its files. What a verification makes of those bytes is always the
//! same, so as long as they are the same it need not be made again: of such a commit only its leaf and the digests of its files are computed. Whatever
//! does not fit is no verdict: everything is read then, as without a notebook.
//!
//! Only a commit that has nothing about it is noted: no finding, no record sent twice, none that came late. A notebook is trusted as a checkpoint is that was
//! kept outside: it belongs where nobody who can write to the lake can write.

use super::commit::Checked;
use super::file::Offset;
use super::removed::place;
use super::seen::Seen;
use crate::lake::Version;
use crate::offsets::Source;
use crate::retention::Span;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use wk_schemas::{Kind, Timestamp, Topic};

/// Which checks the notes are the outcome of. Raise it with every check that looks at more of a commit or of its files.
const CHECKS: u32 = 1;

/// What was found whole, and the checkpoint under which it was. Starts empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notebook {
    checks: u32,
    checkpoint: Option<String>,
    commits: BTreeMap<Version, Noted>,
}

impl Notebook {
    /// Reads what [`Notebook::to_json`] wrote.
    ///
    /// # Errors
    /// It is not whole, or none.
    pub fn read(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// The notebook as JSON.
    ///
    /// # Panics
    /// Never: it has no keys but numbers.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a notebook has no keys but numbers")
    }

    /// How many commits are noted.
    #[must_use]
    pub fn commits(&self) -> usize {
        self.commits.len()
    }

    /// The checkpoint, a signed note, under which they were.
    #[must_use]
    pub fn checkpoint(&self) -> Option<&str> {
        self.checkpoint.as_deref()
    }

    /// An empty one, for the notes of this program.
    pub(super) fn under(checkpoint: Option<String>) -> Self {
        Self { checks: CHECKS, checkpoint, commits: BTreeMap::new() }
    }

    /// What is noted of a commit, by a program that checks what this one does.
    pub(super) fn of(&self, version: Version) -> Option<&Noted> {
        self.commits.get(&version).filter(|_| self.checks == CHECKS)
    }

    pub(super) fn note(&mut self, version: Version, noted: Noted) {
        self.commits.insert(version, noted);
    }

    /// Takes out what has to be read again each time.
    pub(super) fn forget(&mut self, versions: RangeInclusive<Version>) {
        for version in versions {
            self.commits.remove(&version);
        }
    }
}

/// What the checks of a commit's files have brought to light that those of the whole lake need.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Noted {
    /// The leaf of the commit in the Merkle log, hex.
    pub(super) leaf: String,
    pub(super) files: u64,
    pub(super) records: u64,
    /// Records in files that rearrange.
    pub(super) rearranged: u64,
    /// The time of its newest record.
    newest: Option<i64>,
    /// Records of each partition, as `topic/partition`.
    rows: Vec<(String, i64)>,
    /// Where the bytes of its dead letters were.
    letters: Vec<String>,
    /// Where dead letters are that were replayed, by its notes.
    replayed: Vec<String>,
    runs: Vec<Run>,
}

impl Noted {
    /// Sums up a commit about which there is nothing to be said. Pure.
    pub(super) fn of(commit: &Checked) -> Self {
        let mut rows: BTreeMap<Source, i64> = BTreeMap::new();
        let mut noted = Self {
            leaf: commit.leaf.to_hex(),
            files: commit.valid_files,
            records: commit.read,
            rearranged: commit.rearranged,
            newest: commit.seen.iter().map(|record| record.recorded_at.0).max(),
            ..Self::default()
        };
        let mut chains: BTreeMap<(Topic, &str, &str), Vec<&Seen>> = BTreeMap::new();
        for record in commit.seen.iter() {
            *rows.entry(record.source).or_default() += 1;
            noted.letters.extend(record.letter().map(text));
            noted.replayed.extend(record.replayed().map(text));
            chains.entry((record.source.topic, &record.session, &record.writer)).or_default().push(record);
        }
        noted.rows = rows.into_iter().map(|(source, rows)| (source.to_string(), rows)).collect();
        noted.runs = chains.values().map(|records| Run::of(records)).collect();
        noted
    }

    pub(super) fn newest(&self) -> Option<Timestamp> {
        self.newest.map(Timestamp)
    }

    pub(super) fn rows(&self) -> BTreeMap<Source, i64> {
        self.rows.iter().filter_map(|(source, rows)| Some((Source::parse(source)?, *rows))).collect()
    }

    pub(super) fn letters(&self) -> impl Iterator<Item = Offset> {
        self.letters.iter().filter_map(|text| place(text))
    }

    pub(super) fn replayed(&self) -> impl Iterator<Item = Offset> {
        self.replayed.iter().filter_map(|text| place(text))
    }

    pub(super) fn runs(&self) -> &[Run] {
        &self.runs
    }
}

/// Records of one chain in one commit, each naming the one before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Run {
    pub(super) span: Span,
    /// When the last happened, by its writer's clock.
    occurred_at: i64,
    /// Whether the session's first record and its last are among them.
    pub(super) begins: bool,
    pub(super) ends: bool,
    /// The record that the log took last: when, where, and its seq.
    newest: (i64, String, i64),
}

impl Run {
    /// The run of these, which are one chain's in their order; at least one.
    fn of(records: &[&Seen]) -> Self {
        let (first, last) = (records[0], records[records.len() - 1]);
        let newest = records.iter().max_by_key(|record| record.newest()).expect("there is at least one");
        let is = |kind| records.iter().any(|record| record.kind == kind);
        Self {
            span: Span {
                topic: first.source.topic,
                session: first.session.to_string(),
                writer: first.writer.to_string(),
                first: first.seq,
                next: last.seq.saturating_add(1),
                before: first.prev_digest.to_hex(),
                last: last.digest.to_hex(),
            },
            occurred_at: last.occurred_at.0,
            begins: is(Kind::SessionStarted),
            ends: is(Kind::SessionEnded),
            newest: (newest.recorded_at.0, newest.place(), newest.seq),
        }
    }

    pub(super) const fn occurred_at(&self) -> Timestamp {
        Timestamp(self.occurred_at)
    }

    /// As [`Seen::newest`] of that record.
    pub(super) fn newest(&self) -> Option<(Timestamp, Offset, i64)> {
        let (at, text, seq) = &self.newest;
        Some((Timestamp(*at), place(text)?, *seq))
    }
}

/// `topic/partition@offset`.
fn text((source, offset): Offset) -> String {
    format!("{source}@{offset}")
}
