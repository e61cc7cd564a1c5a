//! The outbox: a session's records on disk until the log has them.
//!
//! One folder per session, one process at a time. Records are keyed by their seq; what the log has acknowledged is removed,
//! and the place of the last one is remembered, so that after a crash the log can be asked what it already has.
//!
//! ```text
//! outbox/<session>/lock       held by the process that has it open
//! outbox/<session>/spool-…    records that are taken (see spool.rs)
//! outbox/<session>/db/        sled: `records` seq → datum, `state` acked / start, `commands` ids that were carried out
//! ```

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use wk_schemas::RecordId;

/// sled's default is one gigabyte; an outbox is written once and read once.
const CACHE_BYTES: u64 = 4 << 20;

/// The database and the lock of one outbox.
#[derive(Debug)]
pub(crate) struct Outbox {
    folder: PathBuf,
    database: sled::Db,
    records: sled::Tree,
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

impl Outbox {
    /// Opens the outbox in `folder`, which is made when it is not there.
    pub(crate) fn open(folder: &Path) -> Result<Self, OutboxError> {
        let io = |source| OutboxError::Io { path: folder.to_owned(), source };
        make_private(folder).map_err(io)?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(folder.join("lock")).map_err(io)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OutboxError::Busy { path: folder.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }
        let database = sled::Config::new()
            .path(folder.join("db"))
            .cache_capacity(CACHE_BYTES)
            // The flusher of the recorder flushes; a second one in sled's own time would only compete with it.
            .flush_every_ms(None)
            .open()?;
        Ok(Self {
            records: database.open_tree("records")?,
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

    /// Adds records and returns once they survive a loss of power.
    pub(crate) fn put<'a>(&self, records: impl Iterator<Item = (i64, &'a [u8])>) -> Result<(), OutboxError> {
        let mut batch = sled::Batch::default();
        for (seq, datum) in records {
            batch.insert(&key(seq), datum);
        }
        self.records.apply_batch(batch)?;
        self.database.flush()?;
        Ok(())
    }

    /// At most `max` records from `seq` on, in order.
    pub(crate) fn read_from(&self, seq: i64, max: usize) -> Result<Vec<(i64, Vec<u8>)>, OutboxError> {
        let mut out = Vec::new();
        for item in self.records.range(key(seq)..).take(max) {
            let (k, datum) = item?;
            out.push((seq_of(&k), datum.to_vec()));
        }
        Ok(out)
    }

    /// How many records there are, and their bytes; reads all of them.
    pub(crate) fn size(&self) -> Result<(u64, u64), OutboxError> {
        let (mut count, mut bytes) = (0, 0);
        for item in &self.records {
            count += 1;
            bytes += item?.1.len() as u64;
        }
        Ok((count, bytes))
    }

    /// The last record, if there is one.
    pub(crate) fn last(&self) -> Result<Option<(i64, Vec<u8>)>, OutboxError> {
        Ok(self.records.last()?.map(|(k, datum)| (seq_of(&k), datum.to_vec())))
    }

    /// Forgets the records up to and including `acked.seq`.
    ///
    /// Not flushed: when the power goes now, the records are there again, and the log is asked which it has.
    pub(crate) fn forget(&self, acked: &Acked) -> Result<(), OutboxError> {
        let mut value = Vec::with_capacity(20 + acked.datum.len());
        value.extend_from_slice(&acked.seq.to_be_bytes());
        value.extend_from_slice(&acked.partition.to_be_bytes());
        value.extend_from_slice(&acked.offset.to_be_bytes());
        value.extend_from_slice(&acked.datum);
        self.state.insert("acked", value)?;
        let mut batch = sled::Batch::default();
        for item in self.records.range(..=key(acked.seq)) {
            batch.remove(item?.0);
        }
        self.records.apply_batch(batch)?;
        Ok(())
    }

    /// Removes the records before `seq`, which the log has.
    pub(crate) fn drop_before(&self, seq: i64) -> Result<(), OutboxError> {
        let mut batch = sled::Batch::default();
        for item in self.records.range(..key(seq)) {
            batch.remove(item?.0);
        }
        self.records.apply_batch(batch)?;
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

fn key(seq: i64) -> [u8; 8] {
    // Seqs start at 0, so the big-endian bytes sort as the numbers do.
    seq.to_be_bytes()
}

fn seq_of(key: &[u8]) -> i64 {
    i64::from_be_bytes(key.try_into().expect("keys are made by `key`"))
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
    fn what_was_put_is_there_after_reopening_until_it_is_acknowledged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let outbox = Outbox::open(&path).unwrap();
        outbox.put([(0, &b"a"[..]), (1, b"b"), (2, b"c")].into_iter()).unwrap();
        drop(outbox);
        let outbox = Outbox::open(&path).unwrap();
        assert_eq!(outbox.read_from(1, 9).unwrap(), [(1, b"b".to_vec()), (2, b"c".to_vec())]);
        assert_eq!(outbox.size().unwrap(), (3, 3));
        let acked = Acked { seq: 1, partition: 3, offset: 77, datum: b"b".to_vec() };
        outbox.forget(&acked).unwrap();
        assert_eq!(outbox.acked().unwrap(), Some(acked));
        assert_eq!(outbox.read_from(0, 9).unwrap(), [(2, b"c".to_vec())]);
        assert_eq!(outbox.start().unwrap(), None);
        outbox.set_start(&[(0, 5), (1, 9)]).unwrap();
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
