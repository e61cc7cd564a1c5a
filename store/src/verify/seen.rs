//! What is needed of the records once their files are closed.

use super::file::Offset;
use crate::offsets::Source;
use std::sync::Arc;
use wk_schemas::{Digest, Kind, RecordId, Timestamp};

/// One of them.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) source: Source,
    pub(super) offset: i64,
    pub(super) recorded_at: Timestamp,
    pub(super) occurred_at: Timestamp,
    pub(super) kind: Kind,
    pub(super) session: Arc<str>,
    pub(super) writer: Arc<str>,
    pub(super) seq: i64,
    pub(super) prev_digest: Digest,
    pub(super) digest: Digest,
    /// What few records have.
    pub(super) rare: Option<Box<Rare>>,
}

/// What few records have.
#[derive(Debug, Default)]
pub(super) struct Rare {
    /// For a dead letter: where the bytes were found.
    pub(super) letter: Option<Offset>,
    /// For a note that a dead letter was replayed: where its message is now.
    pub(super) replayed: Option<Offset>,
    /// The record's id and the ids that it gives as evidence; only when one session is checked.
    pub(super) names: Option<(RecordId, Vec<RecordId>)>,
}

impl Seen {
    /// Where it is in the log, as `topic/partition@offset`.
    pub(super) fn place(&self) -> String {
        format!("{}@{}", self.source, self.offset)
    }

    /// When the log took it, where it is there, and its seq: of some records the greatest is the newest.
    pub(super) const fn newest(&self) -> Option<(Timestamp, Offset, i64)> {
        Some((self.recorded_at, (self.source, self.offset), self.seq))
    }

    pub(super) fn letter(&self) -> Option<Offset> {
        self.rare.as_ref()?.letter
    }

    pub(super) fn replayed(&self) -> Option<Offset> {
        self.rare.as_ref()?.replayed
    }
}

/// The records of some files in the order of their offsets. They stay where they are: a commit may have 100,000 of them.
#[derive(Debug, Default)]
pub(super) struct InOrder {
    files: Vec<Vec<Seen>>,
    /// The file and its row.
    order: Vec<(u32, u32)>,
}

impl InOrder {
    pub(super) fn of(files: Vec<Vec<Seen>>) -> Self {
        let short = |n: usize| u32::try_from(n).expect("a file in memory has fewer records");
        let rows = files.iter().enumerate();
        let mut order: Vec<_> =
            rows.flat_map(|(file, seen)| (0..seen.len()).map(move |row| (short(file), short(row)))).collect();
        // Stable and quick: each file's are in order already, mostly.
        order.sort_by_key(|(file, row)| {
            let seen = &files[*file as usize][*row as usize];
            (seen.source, seen.offset)
        });
        Self { files, order }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Seen> {
        self.order.iter().map(|(file, row)| &self.files[*file as usize][*row as usize])
    }

    pub(super) const fn len(&self) -> usize {
        self.order.len()
    }
}
