//! The outbox: one folder per session, one process at a time, and what has to be remembered about its records.
//!
//! The place of the last record that the log acknowledged is remembered, so that after a crash the log can be asked what it
//! already has.
//!
//! ```text
//! outbox/<session>/lock       held by the process that has it open
//! outbox/<session>/spool-…    the records (see spool.rs)
//! outbox/<session>/db/        sled: `state` acked / start, `commands` ids that were carried out
//! ```

use crate::spool;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use wk_schemas::RecordId;
use wk_wire::in_use::{self, patiently};

/// sled's default is one gigabyte; what is kept in here is a handful of values.
const CACHE_BYTES: u64 = 256 << 10;

/// The database and the lock of one outbox.
#[derive(Debug)]
pub(crate) struct Outbox {
    folder: PathBuf,
    database: sled::Db,
    state: sled::Tree,
    commands: sled::Tree,
    _lock: File,
}

/// Where the last acknowledged record lies in the log, and the record itself: its successor is chained to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Acked {
    pub(crate) seq: i64,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) datum: Vec<u8>,
}

fn locked(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(error) if in_use::is_sleds_lock(error))
}

impl Outbox {
    /// Opens the outbox in `folder`, which is made when it is not there.
    pub(crate) fn open(folder: &Path) -> Result<Self, OutboxError> {
        Self::open_with(folder, in_use::lock)
    }

    /// As [`Outbox::open`], without waiting for one that is open elsewhere: for outboxes that may well be.
    pub(crate) fn open_if_free(folder: &Path) -> Result<Self, OutboxError> {
        Self::open_with(folder, File::try_lock)
    }

    fn open_with(folder: &Path, take: impl Fn(&File) -> Result<(), TryLockError>) -> Result<Self, OutboxError> {
        let io = |source| OutboxError::Io { path: folder.to_owned(), source };
        make_private(folder).map_err(io)?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(folder.join("lock")).map_err(io)?;
        take(&lock).map_err(|error| match error {
            TryLockError::WouldBlock => OutboxError::Busy { path: folder.to_owned() },
            TryLockError::Error(source) => io(source),
        })?;
        let database = patiently(locked, || {
            sled::Config::new()
                .path(folder.join("db"))
                .cache_capacity(CACHE_BYTES)
                // The flusher of the recorder flushes; a second one in sled's own time would only compete with it.
                .flush_every_ms(None)
                .open()
        })?;
        move_records(&database, folder)?;
        Ok(Self {
            state: database.open_tree("state")?,
            commands: database.open_tree("commands")?,
            database,
            folder: folder.to_owned(),
            _lock: lock,
        })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Remembers that the log has everything up to and including `acked.seq`.
    ///
    /// Not flushed: when it is lost, the log is asked from an earlier place on what it has.
    pub(crate) fn set_acked(&self, acked: &Acked) -> Result<(), OutboxError> {
        let mut value = Vec::with_capacity(20 + acked.datum.len());
        value.extend_from_slice(&acked.seq.to_be_bytes());
        value.extend_from_slice(&acked.partition.to_be_bytes());
        value.extend_from_slice(&acked.offset.to_be_bytes());
        value.extend_from_slice(&acked.datum);
        self.state.insert("acked", value)?;
        Ok(())
    }

    /// Returns once everything that was remembered survives a loss of power. Before records are removed: the one that the next
    /// record is chained to must not be forgotten with them.
    pub(crate) fn flush(&self) -> Result<(), OutboxError> {
        self.database.flush()?;
        Ok(())
    }

    /// The last acknowledged record.
    pub(crate) fn acked(&self) -> Result<Option<Acked>, OutboxError> {
        let Some(value) = self.state.get("acked")? else { return Ok(None) };
        let damaged = || OutboxError::Damaged { path: self.folder.clone() };
        let (seq, rest) = value.split_first_chunk::<8>().ok_or_else(damaged)?;
        let (partition, rest) = rest.split_first_chunk::<4>().ok_or_else(damaged)?;
        let (offset, datum) = rest.split_first_chunk::<8>().ok_or_else(damaged)?;
        Ok(Some(Acked {
            seq: i64::from_be_bytes(*seq),
            partition: i32::from_be_bytes(*partition),
            offset: i64::from_be_bytes(*offset),
            datum: datum.to_vec(),
        }))
    }

    /// Remembers where each partition ended before the first record was sent; returns once that is durable.
    pub(crate) fn set_start(&self, ends: &[(i32, i64)]) -> Result<(), OutboxError> {
        let value: Vec<u8> =
            ends.iter().flat_map(|(p, o)| p.to_be_bytes().into_iter().chain(o.to_be_bytes())).collect();
        self.state.insert("start", value)?;
        self.database.flush()?;
        Ok(())
    }

    /// What [`Outbox::set_start`] remembered; `None` when nothing was ever sent.
    pub(crate) fn start(&self) -> Result<Option<Vec<(i32, i64)>>, OutboxError> {
        let Some(value) = self.state.get("start")? else { return Ok(None) };
        let (pairs, []) = value.as_chunks::<12>() else {
            return Err(OutboxError::Damaged { path: self.folder.clone() });
        };
        Ok(Some(
            pairs
                .iter()
                .map(|pair| {
                    let (p, o) = pair.split_at(4);
                    (
                        i32::from_be_bytes(p.try_into().expect("four bytes")),
                        i64::from_be_bytes(o.try_into().expect("eight bytes")),
                    )
                })
                .collect(),
        ))
    }

    /// Remembers a command; `false` when it was there before.
    ///
    /// Not flushed: a session does not outlive its shim, so after a loss of power there is nothing left to command.
    pub(crate) fn first_time(&self, command: RecordId) -> Result<bool, OutboxError> {
        Ok(self.commands.insert(command.0.as_bytes(), &[])?.is_none())
    }
}

/// Where versions before the spool kept its records kept them.
const RECORDS: &str = "records";

/// What an earlier version left becomes the first segment of the spool.
fn move_records(database: &sled::Db, folder: &Path) -> Result<(), OutboxError> {
    if !database.tree_names().iter().any(|name| name == RECORDS.as_bytes()) {
        return Ok(());
    }
    let data = database.open_tree(RECORDS)?.iter().values().collect::<Result<Vec<_>, _>>()?;
    // 1. The records are on the disk a second time. A crash here writes them again.
    let data = data.iter().map(|datum| &**datum);
    spool::write_first(folder, data).map_err(|source| OutboxError::Io { path: folder.to_owned(), source })?;
    // 2. Now the first time is one too many.
    database.drop_tree(RECORDS)?;
    database.flush()?;
    Ok(())
}

/// Makes a folder that only its owner may enter.
pub(crate) fn make_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
        }
        made => made,
    }
}

/// The outbox cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// Another process has it open.
    #[error("the outbox `{path}` is in use by another process")]
    Busy {
        /// Its folder.
        path: PathBuf,
    },
    /// A file operation failed.
    #[error("the outbox `{path}` cannot be read or written")]
    Io {
        /// Its folder.
        path: PathBuf,
        /// What failed.
        #[source]
        source: io::Error,
    },
    /// The database failed.
    #[error("the database of the outbox failed")]
    Database(#[from] sled::Error),
    /// What is there was not written by this program.
    #[error("the outbox `{path}` holds something that this program has not written")]
    Damaged {
        /// Its folder.
        path: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn what_was_remembered_is_there_after_reopening() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let outbox = Outbox::open(&path).unwrap();
        assert_eq!((outbox.acked().unwrap(), outbox.start().unwrap()), (None, None));
        let acked = Acked { seq: 1, partition: 3, offset: 77, datum: b"b".to_vec() };
        outbox.set_acked(&acked).unwrap();
        outbox.set_start(&[(0, 5), (1, 9)]).unwrap();
        drop(outbox);
        let outbox = Outbox::open(&path).unwrap();
        assert_eq!(outbox.acked().unwrap(), Some(acked));
        assert_eq!(outbox.start().unwrap(), Some(vec![(0, 5), (1, 9)]));
    }

    #[test]
    fn an_outbox_in_use_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let _first = Outbox::open(folder.path()).unwrap();
        let error = Outbox::open(folder.path()).unwrap_err();
        assert!(matches!(&error, OutboxError::Busy { path } if path == folder.path()), "{error}");
    }

    #[test]
    fn a_command_is_new_only_once() {
        let folder = tempfile::tempdir().unwrap();
        let id = RecordId(Uuid::from_u128(5));
        let outbox = Outbox::open(folder.path()).unwrap();
        assert!(outbox.first_time(id).unwrap());
        assert!(!outbox.first_time(id).unwrap());
        drop(outbox);
        assert!(!Outbox::open(folder.path()).unwrap().first_time(id).unwrap());
    }
}
