//! The lake's one writer: makes commits and keeps the Merkle log beside them.
//!
//! Two writers on one lake do no harm: both try to put commit N if it is absent, one finds it taken and gets
//! [`CommitError::Conflict`]. The state on disk is at every moment that of some number of whole commits.

use crate::checkpoint;
use crate::commit::Commit;
use crate::compact::Rewrite;
use crate::delta;
use crate::files::{FilesError, PutNew};
use crate::lake::{Lake, OpenError, Snapshot, Version, commit_path};
use crate::merkle::tiles::{ENTRY_BYTES_MAX, read_checkpoint};
use crate::merkle::tree::{Edge, leaf_hash};
use crate::merkle::{Checkpoint, Log, LogError};
use crate::offsets::Source;
use crate::rows::Columns;
use bytes::Bytes;
use ed25519_dalek::SigningKey;
use object_store::path::Path as ObjectPath;
use std::collections::HashSet;
use uuid::Uuid;

/// How many entries are given to the Merkle log at once when it catches up.
const CATCH_UP: u64 = 256;

/// The lake, open for writing.
#[derive(Debug)]
pub struct Writer {
    lake: Lake,
    key: SigningKey,
    /// `None` after a failed append: what is on disk is then read again.
    log: Option<Log>,
    /// The newest version that has been tried to be given a Delta checkpoint; `None` when nobody has looked yet.
    checkpoint: Option<Version>,
}

/// Why the lake does not open for writing.
#[derive(Debug, thiserror::Error)]
pub enum WriterError {
    /// The Delta log cannot be read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The Merkle log cannot be read, or does not fit the Delta log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A newer program has made the lake what it is. It can still be read.
    #[error("this version may read the lake and not write to it: {reason}; use a newer version")]
    Newer {
        /// What this program does not know of it.
        reason: String,
    },
}

/// Why a commit was not made.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Another writer has put this version. Nothing of ours is in the table.
    #[error("another writer has put version {version}: two ingest processes share this lake")]
    Conflict {
        /// The version.
        version: Version,
    },
    /// A range does not start where the lake ends. Nothing has changed.
    #[error("the range of {partition} starts at offset {first}, the lake has committed up to {committed}")]
    NotAtEnd {
        /// The partition.
        partition: Source,
        /// Where the range starts.
        first: i64,
        /// Where it should.
        committed: i64,
    },
    /// The commit's text would not fit an entry of the Merkle log. Nothing has changed.
    #[error(
        "the commit's text has {bytes} bytes, more than the Merkle log's {ENTRY_BYTES_MAX}: give it fewer partitions"
    )]
    TooBig {
        /// Its length.
        bytes: usize,
    },
    /// A file that a compaction has read is no longer in the table. Nothing has changed.
    #[error("`{path}` is no longer in the table: another compaction or a removal has taken it")]
    Rearranged {
        /// The file.
        path: String,
    },
    /// A data file of that name, with other contents, is in the way.
    #[error("a file `{path}` with other contents is in the way")]
    FileTaken {
        /// The file.
        path: String,
    },
    /// Nothing has changed, or it is unknown whether something has: making the same commit again settles it.
    #[error("the commit could not be written")]
    Write(#[from] FilesError),
    /// The commit is in the table; the Merkle log is behind. Making the same commit again brings it up.
    #[error("the commit is in, but the Merkle log could not be brought up to it")]
    Log(#[source] LogError),
    /// The table cannot be read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Records were written with a schema that does not fit the table's columns. Nothing has changed.
    #[error("the table cannot take these records: {}", problems.join("; "))]
    Columns {
        /// One sentence for each column.
        problems: Vec<String>,
    },
    /// Meanwhile a newer program has made the lake what it is. Nothing has changed.
    #[error("this version may read the lake and not write to it: {reason}; use a newer version")]
    Newer {
        /// What this program does not know of it.
        reason: String,
    },
}

impl Writer {
    /// Opens a lake for writing, and brings the Merkle log up to the Delta log.
    ///
    /// # Errors
    /// [`WriterError::Log`] when the Delta log is not what the signed checkpoint says: [`LogError::Altered`], [`LogError::CutOff`], or
    /// a checkpoint of another key.
    pub async fn open(lake: Lake, key: SigningKey) -> Result<Self, WriterError> {
        if let Some(reason) = lake.refresh().await?.not_ours_to_write.clone() {
            return Err(WriterError::Newer { reason });
        }
        let mut writer = Self { lake, key, log: None, checkpoint: None };
        writer.catch_up().await?;
        Ok(writer)
    }

    /// The lake, to be read.
    #[must_use]
    pub const fn lake(&self) -> &Lake {
        &self.lake
    }

    /// Makes a commit; returns its version once it is durable and a signed checkpoint covers it.
    ///
    /// Making the same commit again is harmless: it is known by its id.
    ///
    /// # Errors
    /// [`CommitError`] says for each case whether something has changed.
    pub async fn commit(&mut self, commit: &Commit) -> Result<Version, CommitError> {
        let id = commit.id.to_string();
        let (known, version, text) = loop {
            let known = self.lake.snapshot();
            if let Some(version) = known.version_of(&id) {
                self.settle().await?;
                return Ok(version);
            }
            at_end(commit, &known)?;
            // 0. Give the table the columns that these records need beside those it has. A crash behind this leaves columns without values.
            if self.widen(commit, &known).await? {
                continue;
            }
            let version = known.version + 1;
            let text = Bytes::from(delta::write(&commit.actions()));
            if text.len() > ENTRY_BYTES_MAX {
                return Err(CommitError::TooBig { bytes: text.len() });
            }
            // 1. Write the data files under their final names. A crash here leaves files that no commit names.
            for file in &commit.files {
                self.put_file(&file.path, &file.bytes).await?;
            }
            // 2. Put the Delta commit, if absent. It lists the files and the offsets they cover: from here the rows are in exactly once.
            match self.put_commit(version, &id, &text).await {
                Ok(()) => break (known, version, text),
                // Whoever was first may have read nothing from the log: a compaction, or another program that only rearranges.
                Err(CommitError::Conflict { version })
                    if self.lake.refresh().await?.offsets == known.offsets
                        && self.lake.snapshot().version >= version => {}
                Err(error) => return Err(error),
            }
        };
        self.land(&known, version, text).await
    }

    /// Makes a compaction's commit: the same records, in another arrangement. Returns its version.
    ///
    /// Other commits may be made meanwhile, by this process or others: this one goes in behind them as long as the files that it replaces are
    /// still in the table. Making the same one again is harmless.
    ///
    /// # Errors
    /// [`CommitError::Rearranged`] when one of them is not; the rest as [`Writer::commit`].
    pub async fn rearrange(&mut self, rewrite: &Rewrite) -> Result<Version, CommitError> {
        let id = rewrite.id.to_string();
        let text = Bytes::from(delta::write(&rewrite.actions()));
        if text.len() > ENTRY_BYTES_MAX {
            return Err(CommitError::TooBig { bytes: text.len() });
        }
        loop {
            let known = self.lake.snapshot();
            if let Some(version) = known.version_of(&id) {
                self.settle().await?;
                return Ok(version);
            }
            let there: HashSet<&str> = known.files.iter().map(|file| file.path.as_str()).collect();
            if let Some(gone) = rewrite.inputs.iter().find(|file| !there.contains(file.path.as_str())) {
                return Err(CommitError::Rearranged { path: gone.path.clone() });
            }
            // 1. Write the data file. A crash here leaves a file that no commit names.
            self.put_file(&rewrite.file.path, &rewrite.file.bytes).await?;
            // 2. Put the Delta commit, if absent: from here readers see the new file, and the old ones no more.
            let version = known.version + 1;
            match self.put_commit(version, &id, &text).await {
                // 3 to 6. As for any commit.
                Ok(()) => return self.land(&known, version, text).await,
                Err(CommitError::Conflict { .. }) if self.lake.refresh().await?.version >= version => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Brings the Merkle log up to a commit that an earlier try has put.
    pub(crate) async fn settle(&mut self) -> Result<(), CommitError> {
        self.catch_up().await.map_err(CommitError::Log)
    }

    /// Makes the commit that gives the table the columns that a commit's records need; `false` when it has them all.
    async fn widen(&mut self, commit: &Commit, known: &Snapshot) -> Result<bool, CommitError> {
        if let Some(reason) = known.not_ours_to_write.clone() {
            return Err(CommitError::Newer { reason });
        }
        let mut columns = Columns::clone(&known.columns);
        for schema in &commit.schemas {
            columns = columns.join(&Columns::of(schema)).map_err(|problems| CommitError::Columns { problems })?;
        }
        let Some(meta) = known.meta.as_ref().filter(|_| columns != *known.columns) else { return Ok(false) };
        // It follows from the commit and the place behind which it goes, so trying again after a lost answer finds it.
        let id = Uuid::new_v5(&commit.id, format!("columns/{}", known.version).as_bytes()).to_string();
        let text = Bytes::from(delta::write(&delta::widen(meta, &columns, &id, commit.at.0.div_euclid(1000))));
        if text.len() > ENTRY_BYTES_MAX {
            return Err(CommitError::TooBig { bytes: text.len() });
        }
        let version = known.version + 1;
        match self.put_commit(version, &id, &text).await {
            Ok(()) => drop(self.land(known, version, text).await?),
            // Whoever was first may have given the table the same columns, or have read nothing from the log.
            Err(CommitError::Conflict { version })
                if self.lake.refresh().await?.offsets == known.offsets && self.lake.snapshot().version >= version => {}
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    /// Takes up a commit that is in the table.
    pub(crate) async fn land(
        &mut self,
        known: &Snapshot,
        version: Version,
        text: Bytes,
    ) -> Result<Version, CommitError> {
        let mut newer = Snapshot::clone(known);
        newer.apply(version, &text)?;
        self.lake.advance(newer);
        // 3. Bring the Merkle log up (4 to 6 are there). A crash before its checkpoint is made good at the next open.
        match &mut self.log {
            Some(log) if log.size() == version => {
                let appended = log.append(&[text], &self.lake.origin(), &self.key).await;
                if let Err(e) = appended {
                    self.log = None;
                    return Err(CommitError::Log(e));
                }
            }
            _ => self.catch_up().await.map_err(CommitError::Log)?,
        }
        // Another writer may have gone further meanwhile, and then our checkpoint may have taken the place of one that covers more.
        if self.lake.refresh().await?.version > version {
            self.catch_up().await.map_err(CommitError::Log)?;
        }
        self.checkpoint(version).await;
        Ok(version)
    }

    /// Writes a Delta checkpoint when one is due. The commit is in without it, so a failure is told and no error.
    async fn checkpoint(&mut self, version: Version) {
        let files = self.lake.snapshot().files.len() as u64;
        let last = match self.checkpoint {
            Some(last) => last,
            None => checkpoint::newest(self.lake.files()).await.unwrap_or(0),
        };
        self.checkpoint = Some(last);
        if checkpoint::is_due(version, last, files) {
            self.checkpoint = Some(version);
            if let Err(error) = checkpoint::write(self.lake.files(), version).await {
                tracing::warn!(%error, version, "no delta checkpoint was written; opening the lake takes longer");
            }
        }
    }

    async fn put_file(&self, path: &str, bytes: &Bytes) -> Result<(), CommitError> {
        let path = ObjectPath::from(format!("records/{path}"));
        if self.lake.files().put_new(&path, bytes.clone()).await? == PutNew::Taken {
            // An earlier try of this same commit has written it.
            let there = self.lake.files().get(&path).await?;
            if there.as_ref() != Some(bytes) {
                return Err(CommitError::FileTaken { path: path.to_string() });
            }
        }
        Ok(())
    }

    /// Puts the commit. An answer that got lost is settled by reading back what is there and comparing the id.
    pub(crate) async fn put_commit(&self, version: Version, id: &str, text: &Bytes) -> Result<(), CommitError> {
        let failed = match self.lake.files().put_new(&commit_path(version), text.clone()).await {
            Ok(PutNew::Created) => return Ok(()),
            Ok(PutNew::Taken) => None,
            Err(e) => Some(e),
        };
        match (self.lake.commit_bytes(version).await?, failed) {
            (Some(there), _) if there == text || names(&there, id) => Ok(()),
            (Some(_), _) => Err(CommitError::Conflict { version }),
            (None, Some(e)) => Err(e.into()),
            (None, None) => Err(CommitError::Open(OpenError::Hole { version })),
        }
    }

    /// Gives the Merkle log every commit that it does not have.
    async fn catch_up(&mut self) -> Result<(), LogError> {
        let origin = self.lake.origin();
        let mut commits = self.lake.snapshot().version + 1;
        let mut log = match self.log.take() {
            Some(log) => log,
            None => match Log::open(self.lake.files().clone(), &origin, &self.key).await {
                Err(LogError::Tile { path }) => {
                    tracing::warn!(
                        path,
                        "a tile of the merkle log is missing: the tiles are made again from the commits"
                    );
                    self.rebuild(commits).await?
                }
                other => other?,
            },
        };
        // The first commit is signed before a second is made: a table of two without a checkpoint has lost it.
        if log.size() == 0 && commits > 1 && read_checkpoint(self.lake.files()).await?.is_none() {
            return Err(LogError::NoCheckpoint { commits });
        }
        if log.size() > commits {
            // Another writer has made and signed commits that are not known here yet; a commit is durable before it is signed.
            commits = self.lake.refresh().await.map_err(unreadable)?.version + 1;
        }
        if log.size() > commits {
            return Err(LogError::CutOff { signed: log.size(), found: commits });
        }
        while log.size() < commits {
            let mut entries = Vec::new();
            for version in log.size()..commits.min(log.size() + CATCH_UP) {
                entries.push(self.entry(version).await?);
            }
            log.append(&entries, &origin, &self.key).await?;
        }
        self.log = Some(log);
        Ok(())
    }

    /// Starts the tiles over, once the commits have been found to be those that the checkpoint was signed over.
    async fn rebuild(&self, commits: Version) -> Result<Log, LogError> {
        if let Some(note) = read_checkpoint(self.lake.files()).await? {
            let signed = Checkpoint::open(&note, &self.key.verifying_key())?;
            if signed.size > commits {
                return Err(LogError::CutOff { signed: signed.size, found: commits });
            }
            let mut edge = Edge::default();
            for version in 0..signed.size {
                edge.push(leaf_hash(&self.entry(version).await?), |_, _| {});
            }
            if edge.root() != signed.root {
                return Err(LogError::Altered { size: signed.size, expected: signed.root, found: edge.root() });
            }
        }
        Ok(Log::empty(self.lake.files().clone()))
    }

    async fn entry(&self, version: Version) -> Result<Bytes, LogError> {
        let path = commit_path(version).to_string();
        self.lake.commit_bytes(version).await?.ok_or(LogError::Tile { path })
    }
}

/// What the Merkle log cannot go on without.
fn unreadable(error: OpenError) -> LogError {
    match error {
        OpenError::Files(error) => LogError::Files(error),
        other => LogError::Files(FilesError::Read { path: "records/_delta_log".into(), source: other.into() }),
    }
}

/// Whether every range starts where the lake ends.
fn at_end(commit: &Commit, known: &Snapshot) -> Result<(), CommitError> {
    for range in &commit.ranges {
        let committed = known.offsets.next(range.source());
        let from_nowhere = !known.offsets.0.contains_key(&range.source());
        // A partition that was never read may start late: what retention cut off before the lake began was never promised.
        if range.first != committed && !from_nowhere {
            return Err(CommitError::NotAtEnd { partition: range.source(), first: range.first, committed });
        }
    }
    Ok(())
}

/// Whether a commit's text carries this id.
fn names(text: &[u8], id: &str) -> bool {
    delta::read(text).is_ok_and(|actions| {
        actions.iter().any(|action| match action {
            delta::Action::CommitInfo(info) => info.watchkeeper.as_ref().is_some_and(|p| p.commit_id == id),
            _ => false,
        })
    })
}
