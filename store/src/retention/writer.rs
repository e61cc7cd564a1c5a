//! Makes acts part of the lake. What a removal takes is taken from the disk last, once a signed checkpoint covers the act.

use super::act::{Act, ActError, Deed, Removal, SignedAct};
use super::ledger::{self, Gone, Ledger, Spans};
use super::rules::Acts;
use crate::delta::{self, Action, Remove};
use crate::files::{FilesError, PutNew};
use crate::lake::{DataFile, OpenError, Version};
use crate::merkle::tiles::ENTRY_BYTES_MAX;
use crate::writer::{CommitError, Writer};
use bytes::Bytes;
use ed25519_dalek::VerifyingKey;
use object_store::path::Path as ObjectPath;
use std::collections::BTreeSet;
use std::sync::Arc;
use wk_schemas::Digest;

/// Why an act was not made. Unless it says otherwise, nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    /// A hold covers the day.
    #[error("day {day} is under a legal hold and stays: {hold}; `wk hold release` ends it")]
    Held {
        /// The day.
        day: String,
        /// The hold, in words.
        hold: String,
    },
    /// There are no records of the day.
    #[error("the lake has no records of day {day}")]
    Nothing {
        /// The day.
        day: String,
    },
    /// A file is not what was committed: a removal must not hide that.
    #[error("file `{path}` is not what was committed: {reason}; see `wk verify`")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// The table has changed since the removal was prepared: it has to be prepared and signed again.
    #[error("the table has changed since this was prepared: prepare it again")]
    Changed,
    /// The day has more files than the text of one commit can name.
    #[error("the day has {files} files in the table, more than one commit can name: `wk lake compact` first")]
    TooManyFiles {
        /// How many.
        files: usize,
    },
    /// There is no such hold.
    #[error("there is no hold {hold} in force; see `wk hold list`")]
    NoHold {
        /// Its id.
        hold: String,
    },
    /// The act does not count.
    #[error("the act does not count: {0}")]
    Act(#[from] ActError),
    /// The disk or the store.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The table cannot be read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The commit was not made, or it is not known whether it was; see there.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// A removal that somebody has to sign.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// What is to be signed.
    pub removal: Removal,
    /// What goes.
    pub ledger: Ledger,
    /// The files that the table has of the day.
    current: Vec<Arc<DataFile>>,
}

impl Writer {
    /// Finds out what the removal of a day would take. Nothing changes.
    ///
    /// Every file of the day is read and compared with its commit.
    ///
    /// # Errors
    /// [`RetentionError::Held`], [`RetentionError::Nothing`], [`RetentionError::Damaged`], or the lake cannot be read.
    pub async fn prepare_removal(&self, day: &str, trusted: &[VerifyingKey]) -> Result<Prepared, RetentionError> {
        let acts = Acts::of_lake(self.lake(), trusted).await?;
        let snapshot = self.lake().snapshot();
        let current: Vec<_> = snapshot.files.iter().filter(|file| file.day == day).cloned().collect();
        if current.is_empty() {
            return Err(RetentionError::Nothing { day: day.to_owned() });
        }
        let in_table: BTreeSet<&str> = current.iter().map(|file| file.path.as_str()).collect();
        let mut spans = Spans::default();
        let mut gone = Vec::new();
        for file in self.committed(day, snapshot.version).await? {
            if acts.removed(day, file.version).is_some() {
                continue;
            }
            let damaged = |reason: String| RetentionError::Damaged { path: file.path.clone(), reason };
            let bytes = self.lake().files().get(&ObjectPath::from(file.path.as_str())).await?;
            let bytes = bytes.ok_or_else(|| damaged("it is not there".into()))?;
            if Digest::of(&bytes) != file.sha256 {
                return Err(damaged("its bytes are others".into()));
            }
            if in_table.contains(file.path.as_str()) {
                spans.take(&bytes).map_err(damaged)?;
            }
            gone.push(Gone::of(&file));
        }
        let ledger = spans.ledger(snapshot.lake_id.clone(), day.to_owned(), gone);
        if let Some(placed) = acts.holding(day, &ledger) {
            return Err(RetentionError::Held { day: day.to_owned(), hold: placed.to_string() });
        }
        let removal = Removal {
            day: day.to_owned(),
            up_to: snapshot.version,
            files: ledger.files.len() as u64,
            records: current.iter().map(|file| file.rows).sum(),
            ledger: Digest::of(&ledger.bytes()).to_hex(),
        };
        Ok(Prepared { removal, ledger, current })
    }

    /// Every file that commits up to a version have brought for a day.
    async fn committed(&self, day: &str, last: Version) -> Result<Vec<DataFile>, OpenError> {
        let mut files = Vec::new();
        for version in 0..=last {
            let text = self.lake().commit_bytes(version).await?.ok_or(OpenError::Hole { version })?;
            let bad = |reason: String| OpenError::Commit { version, reason };
            for action in delta::read(&text).map_err(|e| bad(e.to_string()))? {
                let Action::Add(add) = action else { continue };
                let file = DataFile::of(add, version).ok_or_else(|| bad("it has a file of a foreign writer".into()))?;
                files.extend((file.day == day).then_some(file));
            }
        }
        Ok(files)
    }

    /// Removes a day, by an act that was signed over what [`Writer::prepare_removal`] found. Returns its version.
    ///
    /// # Errors
    /// [`RetentionError::Changed`] when something else has been done to the day meanwhile. With [`RetentionError::Files`] the act may be in
    /// and files may be left on the disk: [`Writer::finish_removals`] takes them.
    pub async fn remove_day(
        &mut self,
        prepared: &Prepared,
        signed: &SignedAct,
        trusted: &[VerifyingKey],
    ) -> Result<Version, RetentionError> {
        signed.check(&self.lake().id(), trusted)?;
        if signed.act.deed != Deed::Remove(prepared.removal.clone()) {
            return Err(RetentionError::Changed);
        }
        let removes = prepared.current.iter().map(|file| {
            let path = file.path.strip_prefix("records/").unwrap_or(&file.path).to_owned();
            let deletion_timestamp = Some(signed.act.at_us.div_euclid(1000));
            Action::Remove(Remove { path, deletion_timestamp, data_change: true })
        });
        let text = text(signed, removes);
        if text.len() > ENTRY_BYTES_MAX {
            return Err(RetentionError::TooManyFiles { files: prepared.current.len() });
        }
        // 1. Write the ledger. A crash here leaves a ledger of an act that was not made; nothing is removed.
        let (path, bytes) = (ledger::path(&signed.act.id), prepared.ledger.bytes());
        if self.lake().files().put_new(&path, bytes.clone()).await? == PutNew::Taken
            && self.lake().files().get(&path).await? != Some(bytes)
        {
            return Err(CommitError::FileTaken { path: path.to_string() }.into());
        }
        // 2. Put the Delta commit with the act, if absent: from here no reader sees a record of the day, and the files are still there.
        // 3. Bring the Merkle log up (as for any commit). A crash before its checkpoint is made good when the lake is next opened for writing.
        let version = self.make(signed, text, Some(prepared)).await?;
        // 4. Take the files from the disk. A crash here leaves some, which verification names; `finish_removals` takes them.
        self.take_away(prepared.ledger.files.iter()).await?;
        Ok(version)
    }

    /// Places a hold, or releases one. Returns the version.
    ///
    /// # Errors
    /// [`RetentionError::NoHold`] for a release without one.
    ///
    /// # Panics
    /// When the act is a removal, which has to be prepared.
    pub async fn hold(&mut self, signed: &SignedAct, trusted: &[VerifyingKey]) -> Result<Version, RetentionError> {
        signed.check(&self.lake().id(), trusted)?;
        match &signed.act.deed {
            Deed::Remove(_) => panic!("a removal has to be prepared"),
            Deed::Hold(_) => {}
            Deed::Release { hold } => {
                if !Acts::of_lake(self.lake(), trusted).await?.holds().contains_key(hold) {
                    return Err(RetentionError::NoHold { hold: hold.clone() });
                }
            }
        }
        self.make(signed, text(signed, std::iter::empty()), None).await
    }

    /// Makes the commit of an act.
    async fn make(
        &mut self,
        signed: &SignedAct,
        text: Bytes,
        prepared: Option<&Prepared>,
    ) -> Result<Version, RetentionError> {
        let Act { id, .. } = &signed.act;
        let mut known = self.lake().refresh().await?;
        loop {
            if let Some(version) = known.version_of(id) {
                self.settle().await?;
                return Ok(version);
            }
            if let Some(prepared) = prepared {
                self.still(prepared, &known).await?;
            }
            let version = known.version + 1;
            match self.put_commit(version, id, &text).await {
                Ok(()) => return Ok(self.land(&known, version, text).await?),
                Err(CommitError::Conflict { .. }) if self.lake().refresh().await?.version >= version => {
                    known = self.lake().snapshot();
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whether what was prepared is still all there is to say: no other file of the day has come or gone, and no act was made.
    async fn still(&self, prepared: &Prepared, known: &crate::lake::Snapshot) -> Result<(), RetentionError> {
        let Removal { day, up_to, .. } = &prepared.removal;
        let now = known.files.iter().filter(|file| file.day == *day).map(|file| &file.path);
        if !now.eq(prepared.current.iter().map(|file| &file.path)) {
            return Err(RetentionError::Changed);
        }
        for version in up_to + 1..=known.version {
            let text = self.lake().commit_bytes(version).await?.ok_or(OpenError::Hole { version })?;
            if SignedAct::of_commit(&text).is_some() {
                return Err(RetentionError::Changed);
            }
        }
        Ok(())
    }

    /// Takes from the disk what removals have left there when they were interrupted. Returns the paths.
    ///
    /// # Errors
    /// When the lake cannot be read, or a file cannot be taken away.
    pub async fn finish_removals(&self, trusted: &[VerifyingKey]) -> Result<Vec<String>, RetentionError> {
        let acts = Acts::of_lake(self.lake(), trusted).await?;
        let listed = self.lake().files().list(&ObjectPath::from("records")).await?;
        let there: BTreeSet<&str> = listed.iter().map(|meta| meta.location.as_ref()).collect();
        let files = acts.removals().iter().flat_map(|one| &one.ledger.files);
        let left: Vec<&Gone> = files.filter(|file| there.contains(file.path.as_str())).collect();
        self.take_away(left.iter().copied()).await?;
        Ok(left.into_iter().map(|file| file.path.clone()).collect())
    }

    async fn take_away<'a>(&self, files: impl Iterator<Item = &'a Gone>) -> Result<(), FilesError> {
        for file in files.filter(|file| file.path.starts_with("records/day=")) {
            self.lake().files().remove(&ObjectPath::from(file.path.as_str())).await?;
        }
        Ok(())
    }
}

/// The text of the commit of an act.
fn text(signed: &SignedAct, removes: impl Iterator<Item = Action>) -> Bytes {
    let at_ms = signed.act.at_us.div_euclid(1000);
    let operation = if matches!(signed.act.deed, Deed::Remove(_)) { "DELETE" } else { "SET LEGAL HOLD" };
    let mut info = delta::info(operation, &signed.act.id, at_ms, Vec::new());
    info.watchkeeper = info.watchkeeper.map(|ours| delta::Provenance { act: Some(Box::new(signed.clone())), ..ours });
    let actions: Vec<Action> = [Action::CommitInfo(info)].into_iter().chain(removes).collect();
    delta::write(&actions).into()
}
