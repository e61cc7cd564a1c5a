//! The log on disk: C2SP tlog-tiles.
//!
//! ```text
//! log/checkpoint                       signed note over size and root
//! log/tile/0/x001/x234/067             256 leaf hashes, 32 bytes each; x001/x234/067 is tile number 1,234,067
//! log/tile/0/x001/x234/067.p/8         the same while only 8 are there
//! log/tile/1/...                       the roots of the full tiles below
//! log/tile/entries/x001/x234/067[.p/8] the entries themselves: a u16 length (BE) and the bytes, 256 of them
//! ```
//! A length of 16 bits bounds an entry to [`ENTRY_BYTES_MAX`] bytes. This file reads; [`super::log`] writes.

use super::note::NoteError;
use super::tree::{Edge, Node, consistency, fold, inclusion, peaks};
use crate::files::{Files, FilesError};
use bytes::Bytes;
use object_store::path::Path as ObjectPath;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use wk_schemas::Digest;

/// The most bytes an entry may have.
pub const ENTRY_BYTES_MAX: usize = u16::MAX as usize;

/// Hashes in a full tile.
pub(super) const WIDTH: u64 = 256;
/// Levels of the tree in a tile.
pub(super) const HEIGHT: u32 = 8;
/// How often a tile is looked for that a growing log may just have replaced.
const TRIES: u32 = 3;

/// The log, to be read.
#[derive(Debug, Clone)]
pub struct Tiles {
    pub(super) files: Files,
    pub(super) size: u64,
}

/// The log could not be read or written, or is not what its checkpoint says.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The disk or the object store.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The checkpoint cannot be read.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// A tile that must be there is not, or is too short.
    #[error("tile `{path}` is missing or cut short")]
    Tile {
        /// Its path.
        path: String,
    },
    /// An entry is too long for an entry bundle.
    #[error("the entry for leaf {leaf} has {bytes} bytes, more than {ENTRY_BYTES_MAX}")]
    TooBig {
        /// Its number.
        leaf: u64,
        /// Its length.
        bytes: usize,
    },
    /// What is on disk has another root than the signed checkpoint.
    #[error("the tree over {size} commits has the root {found}, the signed checkpoint says {expected}: it was altered")]
    Altered {
        /// Leaves.
        size: u64,
        /// The root of the checkpoint.
        expected: Digest,
        /// The root of what is there.
        found: Digest,
    },
    /// The checkpoint covers more commits than there are.
    #[error("the signed checkpoint covers {signed} commits, the table has {found}: commits were cut off")]
    CutOff {
        /// Leaves of the checkpoint.
        signed: u64,
        /// Commits that are there.
        found: u64,
    },
    /// Commits were made, so there was a checkpoint, and it is gone. Signing anew would cover up whatever was done to them.
    #[error("the table has {commits} commits and no signed checkpoint: put `log/checkpoint` back from a copy")]
    NoCheckpoint {
        /// Commits that are there.
        commits: u64,
    },
    /// The checkpoint is that of another log.
    #[error("the checkpoint belongs to the log `{found}`, this is `{expected}`")]
    OtherLog {
        /// This log.
        expected: String,
        /// The checkpoint's.
        found: String,
    },
}

fn number(mut n: u64) -> String {
    let mut path = format!("{:03}", n % 1000);
    while n >= 1000 {
        n /= 1000;
        path = format!("x{:03}/{path}", n % 1000);
    }
    path
}

/// Where a tile lies; `level` is `entries` or a number.
pub(super) fn tile_path(level: &str, index: u64, width: u64) -> ObjectPath {
    let partial = if width == WIDTH { String::new() } else { format!(".p/{width}") };
    ObjectPath::from(format!("log/tile/{level}/{}{partial}", number(index)))
}

/// Where the checkpoint lies.
#[must_use]
pub fn checkpoint_path() -> ObjectPath {
    ObjectPath::from("log/checkpoint")
}

fn missing(level: &str, index: u64, width: u64) -> LogError {
    LogError::Tile { path: tile_path(level, index, width).to_string() }
}

impl Tiles {
    /// The log as of `size` leaves.
    #[must_use]
    pub fn new(files: Files, size: u64) -> Self {
        Self { files, size }
    }

    /// The hashes of one tile.
    pub(crate) async fn tile(&self, level: u32, index: u64) -> Result<Vec<Digest>, LogError> {
        let there = self.size >> (level * HEIGHT);
        let width = there.saturating_sub(index * WIDTH).min(WIDTH);
        let bytes = self.read(&level.to_string(), index, width).await?;
        let wanted = usize::try_from(width).expect("at most 256") * 32;
        let bytes = bytes.get(..wanted).ok_or_else(|| missing(&level.to_string(), index, width))?;
        Ok(bytes.chunks_exact(32).map(|c| Digest(c.try_into().expect("32 bytes"))).collect())
    }

    /// The entries of one bundle.
    ///
    /// # Errors
    /// [`LogError::Tile`] when it is missing or does not hold whole entries.
    pub async fn entries(&self, index: u64) -> Result<Vec<Bytes>, LogError> {
        let width = self.size.saturating_sub(index * WIDTH).min(WIDTH);
        let mut rest = self.read("entries", index, width).await?;
        let mut entries = Vec::new();
        while !rest.is_empty() && (entries.len() as u64) < width {
            let length = rest.get(..2).ok_or_else(|| missing("entries", index, width))?;
            let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
            if rest.len() < 2 + length {
                return Err(missing("entries", index, width));
            }
            entries.push(rest.split_to(2 + length).slice(2..));
        }
        if entries.len() as u64 == width { Ok(entries) } else { Err(missing("entries", index, width)) }
    }

    /// A tile or bundle of at least `width`. While the log grows its partial tiles give way to longer ones, which begin alike.
    async fn read(&self, level: &str, index: u64, width: u64) -> Result<Bytes, LogError> {
        for _ in 0..TRIES {
            for width in [width, WIDTH] {
                if let Some(bytes) = self.files.get(&tile_path(level, index, width)).await? {
                    return Ok(bytes);
                }
            }
            let partials = ObjectPath::from(format!("log/tile/{level}/{}.p", number(index)));
            let longer = self.files.list(&partials).await?.into_iter().find(|found| {
                found.location.filename().and_then(|n| n.parse::<u64>().ok()).is_some_and(|there| there > width)
            });
            if let Some(longer) = longer
                && let Some(bytes) = self.files.get(&longer.location).await?
            {
                return Ok(bytes);
            }
        }
        Err(missing(level, index, width))
    }

    /// The hash of one complete node.
    async fn node(&self, node: Node, read: &mut BTreeMap<(u32, u64), Vec<Digest>>) -> Result<Digest, LogError> {
        let (tile_level, within) = (node.level / HEIGHT, node.level % HEIGHT);
        let first = node.index << within;
        let (tile, at) = (first / WIDTH, usize::try_from(first % WIDTH).expect("below 256"));
        let read = match read.entry((tile_level, tile)) {
            Entry::Occupied(read) => read.into_mut(),
            Entry::Vacant(slot) => slot.insert(self.tile(tile_level, tile).await?),
        };
        let hashes = read.get(at..at + (1 << within)).ok_or_else(|| missing(&tile_level.to_string(), tile, WIDTH))?;
        Ok(super::tree::root(hashes))
    }

    async fn ranges(&self, ranges: Vec<(u64, u64)>) -> Result<Vec<Digest>, LogError> {
        let mut read = BTreeMap::new();
        let mut hashes = Vec::with_capacity(ranges.len());
        for (from, to) in ranges {
            let mut parts = Vec::new();
            for node in peaks(from, to) {
                parts.push(self.node(node, &mut read).await?);
            }
            hashes.push(fold(parts.into_iter()).expect("a range of a proof is not empty"));
        }
        Ok(hashes)
    }

    /// The peaks of the tree, largest first.
    pub(super) async fn peaks(&self) -> Result<Vec<Digest>, LogError> {
        let mut read = BTreeMap::new();
        let mut hashes = Vec::new();
        for node in peaks(0, self.size) {
            hashes.push(self.node(node, &mut read).await?);
        }
        Ok(hashes)
    }

    /// The root, from the tiles alone.
    ///
    /// # Errors
    /// [`LogError::Tile`] when one is missing.
    pub async fn root(&self) -> Result<Digest, LogError> {
        Ok(Edge::resume(self.size, &self.peaks().await?).root())
    }

    /// What proves that leaf `index` is in the tree.
    ///
    /// # Errors
    /// As [`Tiles::root`].
    pub async fn inclusion(&self, index: u64) -> Result<Vec<Digest>, LogError> {
        self.ranges(inclusion(index, self.size)).await
    }

    /// What proves that the tree over `old` leaves is the beginning of this one.
    ///
    /// # Errors
    /// As [`Tiles::root`].
    pub async fn consistency(&self, old: u64) -> Result<Vec<Digest>, LogError> {
        self.ranges(consistency(old, self.size)).await
    }
}

/// The newest checkpoint as text, if there is one.
///
/// # Errors
/// [`LogError::Files`], or [`LogError::Note`] when it is not text.
pub async fn read_checkpoint(files: &Files) -> Result<Option<String>, LogError> {
    let Some(bytes) = files.get(&checkpoint_path()).await? else { return Ok(None) };
    let note = String::from_utf8(bytes.to_vec()).map_err(|_| NoteError::Malformed { what: "it is not text" })?;
    Ok(Some(note))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_lie_where_the_format_says() {
        assert_eq!(tile_path("0", 1_234_067, 256).as_ref(), "log/tile/0/x001/x234/067");
        assert_eq!(tile_path("1", 5, 8).as_ref(), "log/tile/1/005.p/8");
        assert_eq!(tile_path("entries", 999, 256).as_ref(), "log/tile/entries/999");
        assert_eq!(tile_path("entries", 1000, 256).as_ref(), "log/tile/entries/x001/000");
    }
}
