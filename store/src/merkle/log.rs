//! The log, written: entries in, tiles and signed checkpoints out.
//!
//! The Delta log is the truth and this follows it: the commit is durable first, then the tiles, then the checkpoint. What a crash
//! leaves undone is done at the next open. A partial tile goes away once a longer one is there. Where things lie: [`super::tiles`].

use super::note::Checkpoint;
use super::tiles::{ENTRY_BYTES_MAX, HEIGHT, LogError, Tiles, WIDTH, checkpoint_path, read_checkpoint, tile_path};
use super::tree::{Edge, leaf_hash};
use crate::files::Files;
use bytes::{Bytes, BytesMut};
use ed25519_dalek::SigningKey;
use wk_schemas::Digest;

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
    use crate::merkle::NoteError;
    use crate::merkle::tree::{root, verify_consistency, verify_inclusion};
    use object_store::path::Path as ObjectPath;

    const ORIGIN: &str = "watchkeeper/test";

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[7; 32])
    }

    fn entry(n: u64) -> Bytes {
        Bytes::from(format!("commit {n}"))
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
