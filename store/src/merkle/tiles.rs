//! The log on disk: C2SP tlog-tiles.
//!
//! ```text
//! log/checkpoint                       signed note over size and root
//! log/tile/0/x001/x234/067             256 leaf hashes, 32 bytes each; x001/x234/067 is tile number 1,234,067
//! log/tile/0/x001/x234/067.p/8         the same while only 8 are there
//! log/tile/1/...                       the roots of the full tiles below
//! log/tile/entries/x001/x234/067[.p/8] the entries themselves: a u16 length (BE) and the bytes, 256 of them
//! ```
//! A length of 16 bits bounds an entry to [`ENTRY_BYTES_MAX`] bytes.
//!
//! The Delta log is the truth and this follows it: the commit is durable first, then the tiles, then the checkpoint. What a crash
//! leaves undone is done at the next open. A partial tile goes away once a longer one is there.

use super::note::{Checkpoint, NoteError};
use super::tree::{Edge, Node, consistency, fold, inclusion, leaf_hash, peaks};
use crate::files::{Files, FilesError};
use bytes::{Bytes, BytesMut};
use ed25519_dalek::SigningKey;
use object_store::path::Path as ObjectPath;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use wk_schemas::Digest;

/// The most bytes an entry may have.
pub const ENTRY_BYTES_MAX: usize = u16::MAX as usize;

/// Hashes in a full tile.
const WIDTH: u64 = 256;
/// Levels of the tree in a tile.
const HEIGHT: u32 = 8;
/// How often a tile is looked for that a growing log may just have replaced.
const TRIES: u32 = 3;

/// The log, open for appending.
#[derive(Debug)]
pub struct Log {
    reader: Tiles,
    edge: Edge,
    /// The rightmost tile of each tile level, as far as it is filled.
    rims: Vec<Vec<Digest>>,
    /// The entries of the bundle that is not full.
    bundle: Vec<Bytes>,
}

/// The log, to be read.
#[derive(Debug, Clone)]
pub struct Tiles {
    files: Files,
    size: u64,
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
fn tile_path(level: &str, index: u64, width: u64) -> ObjectPath {
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
    async fn peaks(&self) -> Result<Vec<Digest>, LogError> {
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

impl Log {
    /// Takes up the log where its checkpoint says it ends.
    ///
    /// # Errors
    /// [`LogError::Note`] when the checkpoint is not signed by `key`; [`LogError::Altered`] when the tiles have another root. An
    /// unfinished write is no error: tiles are written before the checkpoint that covers them.
    pub async fn open(files: Files, origin: &str, key: &SigningKey) -> Result<Self, LogError> {
        let Some(note) = read_checkpoint(&files).await? else { return Ok(Self::empty(files)) };
        let checkpoint = Checkpoint::open(&note, &key.verifying_key())?;
        if checkpoint.origin != origin {
            return Err(LogError::OtherLog { expected: origin.to_owned(), found: checkpoint.origin });
        }
        let reader = Tiles::new(files, checkpoint.size);
        let edge = Edge::resume(checkpoint.size, &reader.peaks().await?);
        if edge.root() != checkpoint.root {
            return Err(LogError::Altered { size: checkpoint.size, expected: checkpoint.root, found: edge.root() });
        }
        let mut rims = Vec::new();
        let mut level = 0;
        while checkpoint.size >> (level * HEIGHT) > 0 {
            let there = checkpoint.size >> (level * HEIGHT);
            let full = there.is_multiple_of(WIDTH);
            rims.push(if full { Vec::new() } else { reader.tile(level, there / WIDTH).await? });
            level += 1;
        }
        let bundle = if checkpoint.size.is_multiple_of(WIDTH) {
            Vec::new()
        } else {
            reader.entries(checkpoint.size / WIDTH).await?
        };
        Ok(Self { reader, edge, rims, bundle })
    }

    /// A log without a leaf; tiles that are there are written over.
    #[must_use]
    pub fn empty(files: Files) -> Self {
        Self { reader: Tiles::new(files, 0), edge: Edge::default(), rims: Vec::new(), bundle: Vec::new() }
    }

    /// How many leaves there are.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.edge.size()
    }

    /// Appends entries and signs a checkpoint over them.
    ///
    /// # Errors
    /// [`LogError::Files`]: some tiles may be written; the next [`Log::open`] goes on from the last checkpoint.
    pub async fn append(&mut self, entries: &[Bytes], origin: &str, key: &SigningKey) -> Result<Checkpoint, LogError> {
        let before = self.size();
        let mut done = Vec::new();
        for entry in entries {
            if entry.len() > ENTRY_BYTES_MAX {
                return Err(LogError::TooBig { leaf: self.size(), bytes: entry.len() });
            }
            let rims = &mut self.rims;
            self.edge.push(leaf_hash(entry), |node, hash| {
                if node.level.is_multiple_of(HEIGHT) {
                    let level = usize::try_from(node.level / HEIGHT).expect("a tree has few levels");
                    if rims.len() <= level {
                        rims.push(Vec::new());
                    }
                    rims[level].push(hash);
                    if rims[level].len() as u64 == WIDTH {
                        let path = tile_path(&level.to_string(), node.index / WIDTH, WIDTH);
                        done.push((path, hashes(&std::mem::take(&mut rims[level]))));
                    }
                }
            });
            self.bundle.push(entry.clone());
            if self.bundle.len() as u64 == WIDTH {
                let path = tile_path("entries", (self.size() - 1) / WIDTH, WIDTH);
                done.push((path, bundle(&std::mem::take(&mut self.bundle))));
            }
        }
        // 4. Write the tiles. A crash here leaves tiles that no checkpoint covers; the next open writes them again.
        for (path, bytes) in done {
            self.reader.files.put(&path, bytes).await?;
        }
        self.put_partials().await?;
        // 5. Sign and replace the checkpoint. A crash before this leaves the old one, which the old tiles still serve.
        self.reader.size = self.size();
        let checkpoint = Checkpoint { origin: origin.to_owned(), size: self.size(), root: self.edge.root() };
        if let Some(there) = read_checkpoint(&self.reader.files).await?
            && Checkpoint::read(&there).is_ok_and(|there| there.size > checkpoint.size)
        {
            // Another writer has gone further meanwhile. Its checkpoint covers these leaves too, and none ever goes back.
            return Ok(checkpoint);
        }
        self.reader.files.put(&checkpoint_path(), checkpoint.sign(key).into()).await?;
        // 6. Remove the partial tiles of the checkpoint before. A crash here leaves them, which harms nobody.
        self.remove_partials(before).await?;
        Ok(checkpoint)
    }

    async fn put_partials(&self) -> Result<(), LogError> {
        for (level, rim) in (0u32..).zip(&self.rims) {
            if !rim.is_empty() {
                let there = self.size() >> (level * HEIGHT);
                let path = tile_path(&level.to_string(), there / WIDTH, there % WIDTH);
                self.reader.files.put(&path, hashes(rim)).await?;
            }
        }
        if !self.bundle.is_empty() {
            let path = tile_path("entries", self.size() / WIDTH, self.size() % WIDTH);
            self.reader.files.put(&path, bundle(&self.bundle)).await?;
        }
        Ok(())
    }

    async fn remove_partials(&self, before: u64) -> Result<(), LogError> {
        let mut level = 0;
        while before >> (level * HEIGHT) > 0 {
            let (was, is) = (before >> (level * HEIGHT), self.size() >> (level * HEIGHT));
            if was != is && !was.is_multiple_of(WIDTH) {
                self.reader.files.remove(&tile_path(&level.to_string(), was / WIDTH, was % WIDTH)).await?;
            }
            level += 1;
        }
        if before != self.size() && !before.is_multiple_of(WIDTH) {
            self.reader.files.remove(&tile_path("entries", before / WIDTH, before % WIDTH)).await?;
        }
        Ok(())
    }

    /// The log as it is now, to be read.
    #[must_use]
    pub fn tiles(&self) -> Tiles {
        self.reader.clone()
    }
}

fn hashes(hashes: &[Digest]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(hashes.len() * 32);
    for hash in hashes {
        bytes.extend_from_slice(&hash.0);
    }
    bytes.freeze()
}

fn bundle(entries: &[Bytes]) -> Bytes {
    let mut bytes = BytesMut::new();
    for entry in entries {
        let length = u16::try_from(entry.len()).expect("the length was checked when the entry came");
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(entry);
    }
    bytes.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::tree::{root, verify_consistency, verify_inclusion};

    const ORIGIN: &str = "watchkeeper/test";

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[7; 32])
    }

    fn entry(n: u64) -> Bytes {
        Bytes::from(format!("commit {n}"))
    }

    #[test]
    fn tiles_lie_where_the_format_says() {
        assert_eq!(tile_path("0", 1_234_067, 256).as_ref(), "log/tile/0/x001/x234/067");
        assert_eq!(tile_path("1", 5, 8).as_ref(), "log/tile/1/005.p/8");
        assert_eq!(tile_path("entries", 999, 256).as_ref(), "log/tile/entries/999");
        assert_eq!(tile_path("entries", 1000, 256).as_ref(), "log/tile/entries/x001/000");
    }

    #[tokio::test]
    async fn a_log_grown_in_pieces_and_reopened_has_the_root_of_all_its_entries_and_proves_them() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::local(dir.path()).unwrap();
        let mut size = 0;
        let mut old = Vec::new();
        for piece in [1u64, 1, 254, 1, 300, 3, 210] {
            let mut log = Log::open(files.clone(), ORIGIN, &key()).await.unwrap();
            assert_eq!(log.size(), size);
            let entries: Vec<Bytes> = (size..size + piece).map(entry).collect();
            let checkpoint = log.append(&entries, ORIGIN, &key()).await.unwrap();
            size += piece;
            let leaves: Vec<Digest> = (0..size).map(|n| leaf_hash(&entry(n))).collect();
            assert_eq!(checkpoint.root, root(&leaves));
            let tiles = log.tiles();
            assert_eq!(tiles.root().await.unwrap(), checkpoint.root);
            for index in [0, size / 2, size - 1] {
                let proof = tiles.inclusion(index).await.unwrap();
                assert!(verify_inclusion(leaf_hash(&entry(index)), index, size, &proof, checkpoint.root));
            }
            for (old_size, old_root) in &old {
                let proof = tiles.consistency(*old_size).await.unwrap();
                assert!(verify_consistency(*old_size, *old_root, size, checkpoint.root, &proof));
            }
            old.push((size, checkpoint.root));
            let last = tiles.entries((size - 1) / WIDTH).await.unwrap();
            assert_eq!(last.last(), Some(&entry(size - 1)));
        }
        // No partial tile is left over from an earlier size.
        let partials: Vec<String> = files
            .list(&ObjectPath::from("log/tile"))
            .await
            .unwrap()
            .into_iter()
            .map(|m| m.location.to_string())
            .filter(|p| p.contains(".p/"))
            .collect();
        assert_eq!(partials, ["log/tile/0/003.p/2", "log/tile/1/000.p/3", "log/tile/entries/003.p/2"]);
    }

    #[tokio::test]
    async fn a_changed_tile_and_a_foreign_key_are_noticed_at_open() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::local(dir.path()).unwrap();
        let mut log = Log::open(files.clone(), ORIGIN, &key()).await.unwrap();
        log.append(&(0..5).map(entry).collect::<Vec<_>>(), ORIGIN, &key()).await.unwrap();
        let other = SigningKey::from_bytes(&[8; 32]);
        let error = Log::open(files.clone(), ORIGIN, &other).await.unwrap_err();
        assert!(matches!(error, LogError::Note(NoteError::OtherKey { .. })), "{error}");
        let path = tile_path("0", 0, 5);
        let mut tile = files.get(&path).await.unwrap().unwrap().to_vec();
        tile[40] ^= 1;
        files.put(&path, tile.into()).await.unwrap();
        let error = Log::open(files, ORIGIN, &key()).await.unwrap_err();
        assert!(matches!(error, LogError::Altered { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_checkpoint_never_goes_back() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::local(dir.path()).unwrap();
        let signer = key();
        let open = || Log::open(files.clone(), ORIGIN, &signer);
        open().await.unwrap().append(&[entry(0)], ORIGIN, &key()).await.unwrap();
        let (mut fast, mut slow) = (open().await.unwrap(), open().await.unwrap());
        fast.append(&[entry(1), entry(2)], ORIGIN, &key()).await.unwrap();
        slow.append(&[entry(1)], ORIGIN, &key()).await.unwrap();
        let log = open().await.unwrap();
        assert_eq!((log.size(), log.tiles().root().await.unwrap()), (3, fast.tiles().root().await.unwrap()));
    }

    #[tokio::test]
    async fn an_entry_over_64_kib_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = Log::empty(Files::local(dir.path()).unwrap());
        let error = log.append(&[Bytes::from(vec![0; 65_536])], ORIGIN, &key()).await.unwrap_err();
        assert!(matches!(error, LogError::TooBig { leaf: 0, bytes: 65_536 }), "{error}");
    }
}
