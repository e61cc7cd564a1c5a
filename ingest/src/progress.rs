//! What ingest tells whoever started it: for displays, metrics, and tests that stop it at a given step.

use std::sync::Arc;
use wk_store::{Offsets, Version};

/// A step that has been made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Reading has begun, at these offsets.
    Started {
        /// The next offset of every partition.
        from: Offsets,
    },
    /// A batch is full or has waited long enough; its messages are on their way into columns.
    Sealed {
        /// Messages.
        messages: usize,
    },
    /// Dead letters are on the log.
    SetAside {
        /// Messages.
        messages: usize,
        /// Records that this took now; fewer than expected when an earlier run has written some.
        records: usize,
    },
    /// A batch is in the lake.
    Committed(Committed),
}

/// A commit that has been made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The table's version.
    pub version: Version,
    /// Messages that are rows.
    pub rows: i64,
    /// Messages that are dead letters.
    pub dead_letters: i64,
    /// Offsets at which the log holds nothing.
    pub absent: i64,
    /// Bytes of its data files.
    pub bytes: usize,
}

/// What a whole run has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Commits.
    pub commits: u64,
    /// Messages that are rows.
    pub rows: i64,
    /// Messages that are dead letters.
    pub dead_letters: i64,
    /// Offsets at which the log holds nothing.
    pub absent: i64,
}

impl Summary {
    pub(crate) const fn add(&mut self, commit: Committed) {
        self.commits += 1;
        self.rows += commit.rows;
        self.dead_letters += commit.dead_letters;
        self.absent += commit.absent;
    }
}

/// Is told of every step.
pub(crate) type OnProgress = Arc<dyn Fn(&Progress) + Send + Sync>;
