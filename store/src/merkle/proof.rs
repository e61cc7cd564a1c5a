//! The proof of one record: it is in a file's tree, whose root stands in a commit, which is in the signed log.
//!
//! ```text
//! record ── inclusion in the file's records ──► root in the tags of `add` ── is in ──► commit ── inclusion in the log ──► checkpoint
//! ```
//! Whoever checks it needs the proof, the record's bytes and the lake's public key; not the lake. The second step alone is what other
//! tlog verifiers check: the commit is the entry, [`RecordProof::log`] its inclusion proof.

use super::note::{Checkpoint, NoteError};
use super::records::record_leaf;
use super::tiles::{LogError, Tiles, read_checkpoint};
use super::tree::{inclusion, leaf_hash, root, verify_inclusion};
use crate::delta::{self, Action};
use crate::files::Files;
use crate::lake::{DataFile, commit_path};
use crate::verify::read_leaves;
use bytes::Bytes;
use ed25519_dalek::VerifyingKey;
use object_store::path::Path as ObjectPath;
use wk_schemas::{Digest, Timestamp, Topic};

/// Where a record was in the log, and its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The topic.
    pub topic: Topic,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// When the log took it.
    pub recorded_at: Timestamp,
    /// The record as encoded, without framing.
    pub datum: Bytes,
}

/// What proves that a record is in the lake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordProof {
    /// The record's place among the rows of its file, and how many there are.
    pub row: (u64, u64),
    /// From the record to the file's root.
    pub file: Vec<Digest>,
    /// The number of the commit that added the file.
    pub version: u64,
    /// The bytes of that commit.
    pub commit: Bytes,
    /// From the commit to the root of the log.
    pub log: Vec<Digest>,
    /// The signed checkpoint, as text.
    pub checkpoint: String,
}

/// Why a record could not be proven.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// The log or the disk.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The file cannot be read, or does not hold the record.
    #[error("file `{path}`: {reason}")]
    File {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// No checkpoint covers the commit yet.
    #[error("no signed checkpoint covers commit {version} yet")]
    NotSigned {
        /// The commit.
        version: u64,
    },
}

/// Why a proof does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofBroken {
    /// The checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] NoteError),
    /// The commit is not the leaf that it should be.
    #[error("commit {version} is not in the signed log")]
    Commit {
        /// The commit.
        version: u64,
    },
    /// The record is in none of the commit's files.
    #[error("the record is in none of the files of commit {version}")]
    Record {
        /// The commit.
        version: u64,
    },
}

/// Proves the record at a place, given the file that holds it (see [`crate::Snapshot`]).
///
/// # Errors
/// [`ProofError`].
pub async fn prove(files: &Files, file: &DataFile, placed: (Topic, i32, i64)) -> Result<RecordProof, ProofError> {
    let bad = |reason: String| ProofError::File { path: file.path.clone(), reason };
    let version = file.version;
    let get = async |path: &str| files.get(&ObjectPath::from(path)).await.map_err(LogError::from);
    let bytes = get(&file.path).await?.ok_or_else(|| bad("it is not there".into()))?;
    let leaves = read_leaves(&bytes).map_err(bad)?;
    let index = leaves
        .iter()
        .position(|(place, _)| *place == placed)
        .ok_or_else(|| bad(format!("it does not hold {} {} {}", placed.0, placed.1, placed.2)))?;
    let leaves: Vec<Digest> = leaves.into_iter().map(|(_, leaf)| leaf).collect();
    let row = (index as u64, leaves.len() as u64);
    let part = |(from, to): (u64, u64)| {
        let at = |n: u64| usize::try_from(n).expect("an index into the leaves");
        root(&leaves[at(from)..at(to)])
    };
    let commit = get(commit_path(version).as_ref()).await?.ok_or(ProofError::NotSigned { version })?;
    let note = read_checkpoint(files).await?.ok_or(ProofError::NotSigned { version })?;
    let signed = Checkpoint::read(&note).map_err(LogError::from)?;
    if signed.size <= version {
        return Err(ProofError::NotSigned { version });
    }
    let log = Tiles::new(files.clone(), signed.size).inclusion(version).await?;
    let file = inclusion(row.0, row.1).into_iter().map(part).collect();
    Ok(RecordProof { row, file, version, commit, log, checkpoint: note })
}

impl RecordProof {
    /// Checks the proof with nothing but the record and the lake's public key.
    ///
    /// # Errors
    /// [`ProofBroken`] names the step that does not hold.
    pub fn check(&self, record: &Placed, key: &VerifyingKey) -> Result<Checkpoint, ProofBroken> {
        let signed = Checkpoint::open(&self.checkpoint, key)?;
        let version = self.version;
        if !verify_inclusion(leaf_hash(&self.commit), version, signed.size, &self.log, signed.root) {
            return Err(ProofBroken::Commit { version });
        }
        let Placed { topic, partition, offset, recorded_at, datum } = record;
        let leaf = record_leaf(*topic, *partition, *offset, *recorded_at, datum);
        let (index, rows) = self.row;
        let held = delta::read(&self.commit).unwrap_or_default().into_iter().any(|action| match action {
            Action::Add(add) => DataFile::of(add, version)
                .is_some_and(|f| f.rows == rows && verify_inclusion(leaf, index, rows, &self.file, f.merkle_root)),
            Action::CommitInfo(_)
            | Action::Protocol(_)
            | Action::MetaData(_)
            | Action::Txn(_)
            | Action::Remove(_)
            | Action::Other(_) => false,
        });
        if held { Ok(signed) } else { Err(ProofBroken::Record { version }) }
    }
}
