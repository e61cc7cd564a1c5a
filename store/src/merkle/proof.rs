//! The proof of one record: it is in a file's tree, whose root stands in a commit, which is in the signed log.
//!
//! ```text
//! record ── inclusion in the file's records ──► root in the tags of `add` ── is in ──► commit ── inclusion in the log ──► checkpoint
//! ```
//! Whoever checks it needs the proof, the record's bytes and the lake's public key; not the lake. Both steps are RFC 6962 inclusion proofs, so
//! that software which is not ours can check each ([`RecordProof::files`]): the entry of the first is [`record_entry`], that of the second the
//! commit's text, whose `add` carries the root of the first in its tag `watchkeeper.merkleRoot`.

use super::blocks::path;
use super::note::{Checkpoint, NoteError};
use super::records::{record_entry, record_leaf};
use super::tiles::{LogError, Tiles, read_checkpoint};
use super::tree::{leaf_hash, root, root_from_inclusion, verify_inclusion};
use crate::delta::{self, Action};
use crate::files::Files;
use crate::find::{Answer, Found, find};
use crate::lake::{DataFile, Lake, commit_path};
use crate::offsets::Source;
use crate::stats::Held;
use crate::verify::{Offset, read_leaves};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use ed25519_dalek::VerifyingKey;
use object_store::path::Path as ObjectPath;
use std::cmp::Reverse;
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
    /// The file cannot be read.
    #[error("file `{path}`: {reason}")]
    File {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// The table does not hold the record.
    #[error("{source_partition}@{offset} is not in the lake")]
    Absent {
        /// The partition.
        source_partition: Source,
        /// The offset.
        offset: i64,
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

/// Proves the record at a place of the log, and reads it.
///
/// # Errors
/// [`ProofError::Absent`] when the table does not hold it, and the rest of [`ProofError`].
pub async fn prove(lake: &Lake, source: Source, offset: i64) -> Result<(RecordProof, Placed), ProofError> {
    let snapshot = lake.snapshot();
    let may_hold = |held: &Held| held.source == source && (held.first..=held.last).contains(&offset);
    let mut files: Vec<_> = snapshot.files.iter().filter(|file| file.stats.held.iter().any(may_hold)).collect();
    // A commit has a file for each kind of which it has many; the largest is the likeliest.
    files.sort_by_key(|file| Reverse(file.rows));
    for file in files {
        if let Some(found) = prove_in(lake.files(), file, source, offset).await? {
            return Ok(found);
        }
    }
    Err(ProofError::Absent { source_partition: source, offset })
}

/// Proves a record out of the file that may hold it; `None` when it does not.
async fn prove_in(
    files: &Files,
    file: &DataFile,
    source: Source,
    offset: i64,
) -> Result<Option<(RecordProof, Placed)>, ProofError> {
    let bad = |reason: String| ProofError::File { path: file.path.clone(), reason };
    let version = file.version;
    let get = async |path: &str| files.get(&ObjectPath::from(path)).await.map_err(LogError::from);
    let found = match find(files, file, (source, offset)).await.map_err(bad)? {
        Answer::Absent => return Ok(None),
        Answer::Found(found) => *found,
        Answer::Whole => {
            let bytes = get(&file.path).await?.ok_or_else(|| bad("it is not there".into()))?;
            match in_whole(&bytes, file, (source, offset)).map_err(bad)? {
                Some(found) => found,
                None => return Ok(None),
            }
        }
    };
    let commit = get(commit_path(version).as_ref()).await?.ok_or(ProofError::NotSigned { version })?;
    let note = read_checkpoint(files).await?.ok_or(ProofError::NotSigned { version })?;
    let signed = Checkpoint::read(&note).map_err(LogError::from)?;
    if signed.size <= version {
        return Err(ProofError::NotSigned { version });
    }
    let log = Tiles::new(files.clone(), signed.size).inclusion(version).await?;
    let Found { record, row, path } = found;
    let proof = RecordProof { row: (row, file.rows), file: path, version, commit, log, checkpoint: note };
    Ok(Some((proof, record)))
}

/// Finds a record in a file that does not keep the roots over its blocks: every record of it is read and hashed.
fn in_whole(bytes: &Bytes, file: &DataFile, wanted: Offset) -> Result<Option<Found>, String> {
    let (leaves, found) = read_leaves(bytes, Some(wanted))?;
    if root(&leaves) != file.merkle_root {
        return Err("its records are not those that were committed".to_owned());
    }
    Ok(found.map(|(row, record)| Found { record, row, path: path(row, &leaves) }))
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

    /// The proof as files that other software reads.
    ///
    /// ```text
    /// record.avro         the record as encoded, without framing
    /// record.entry        the entry of the first step: RFC 6962 hashes it as SHA-256(0x00 || entry)
    /// record.proof.json   its index, the number of rows, the root, the hashes from leaf to root (base64), and the number of the commit
    /// commit.json         the entry of the second step; its `add` carries that root
    /// commit.tlog-proof   C2SP tlog-proof: index, hashes, signed checkpoint with whatever cosignatures it has
    /// ```
    #[must_use]
    pub fn files(&self, record: &Placed) -> Vec<(&'static str, Vec<u8>)> {
        let Placed { topic, partition, offset, recorded_at, datum } = record;
        let hashes: Vec<String> = self.file.iter().map(|hash| STANDARD.encode(hash.0)).collect();
        let leaf = record_leaf(*topic, *partition, *offset, *recorded_at, datum);
        let root = root_from_inclusion(leaf, self.row.0, self.row.1, &self.file).unwrap_or(leaf);
        let steps = serde_json::json!({
            "index": self.row.0, "size": self.row.1, "root": STANDARD.encode(root.0), "root_hex": root.to_hex(),
            "hashes": hashes, "commit": self.version,
        });
        vec![
            ("record.avro", datum.to_vec()),
            ("record.entry", record_entry(*topic, *partition, *offset, *recorded_at, datum)),
            ("record.proof.json", format!("{steps:#}\n").into_bytes()),
            ("commit.json", self.commit.to_vec()),
            ("commit.tlog-proof", self.tlog_proof().into_bytes()),
        ]
    }

    /// The second step in the form of C2SP tlog-proof.
    #[must_use]
    pub fn tlog_proof(&self) -> String {
        let mut text = format!("c2sp.org/tlog-proof@v1\nindex {}\n", self.version);
        for hash in &self.log {
            text.push_str(&STANDARD.encode(hash.0));
            text.push('\n');
        }
        text.push('\n');
        text.push_str(&self.checkpoint);
        text
    }
}
