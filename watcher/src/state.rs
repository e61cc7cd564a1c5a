//! The watcher's own state on disk: sessions, chains, and how far it has read and written.
//!
//! ```text
//! read/<topic>/<partition>       next offset to read of an input topic
//! written/<topic>/<partition>    where reading an output topic begins after a crash
//! session/<session>              the fold, as JSON
//! chain/<topic>/<session>        the end of the watcher's chain there
//! alerted:<receiver>/<topic>/<partition>    next finding to tell a receiver of alerts
//! ```
//! A checkpoint is one atomic batch. It may lag behind what is on the log: the next start repeats what came after it, and the
//! ids of what it writes are derived, so what is on the log already is recognised.

use crate::session::{ChainEnd, Session};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use wk_schemas::{SessionId, Topic};
use wk_wire::in_use::{self, patiently};

/// Next offset by topic and partition.
pub type Offsets = BTreeMap<(Topic, i32), i64>;

/// State that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another process has it.
    #[error("the watcher's state in `{dir}` is in use by another process")]
    InUse {
        /// The folder.
        dir: PathBuf,
    },
    /// Disk or database.
    #[error("the watcher's state in `{dir}` cannot be read or written")]
    Storage {
        /// The folder.
        dir: PathBuf,
        /// Why.
        #[source]
        source: sled::Error,
    },
    /// An entry is not what it should be.
    #[error(
        "the watcher's state in `{dir}` holds `{key}`, which cannot be read; move the folder away and the state is rebuilt from the log"
    )]
    Foreign {
        /// The folder.
        dir: PathBuf,
        /// The entry.
        key: String,
    },
}

/// The state's folder, open.
#[derive(Debug, Clone)]
pub struct State {
    db: sled::Db,
    dir: PathBuf,
}

/// How far the watcher has come, for others to see while it runs.
#[derive(Debug, Clone)]
pub struct Progress(State);

impl Progress {
    /// Whether every record before `end` is judged, everything that follows from it is on the log, and both are saved.
    ///
    /// # Errors
    /// [`StateError::Storage`], [`StateError::Foreign`].
    pub fn has_judged(&self, topic: Topic, partition: i32, end: i64) -> Result<bool, StateError> {
        let (read, _) = self.0.offsets()?;
        Ok(read.get(&(topic, partition)).is_some_and(|next| *next >= end))
    }
}

/// What is saved together.
#[derive(Debug, Default)]
pub struct Checkpoint<'a> {
    /// How far the input topics were read.
    pub read: Offsets,
    /// Where reading the output topics begins after a crash.
    pub written: Offsets,
    /// Sessions that changed.
    pub sessions: Vec<(&'a SessionId, &'a Session)>,
    /// Chains that moved on.
    pub chains: Vec<(Topic, &'a SessionId, ChainEnd)>,
}

fn locked(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(error) if in_use::is_sleds_lock(error))
}

impl State {
    /// Opens the state in `dir`, which is made when it is not there.
    ///
    /// # Errors
    /// [`StateError::InUse`], [`StateError::Storage`].
    pub fn open(dir: &Path) -> Result<Self, StateError> {
        let dir = dir.to_owned();
        let open = || sled::Config::new().path(&dir).cache_capacity(16 << 20).flush_every_ms(None).open();
        match patiently(locked, open) {
            Ok(db) => Ok(Self { db, dir }),
            Err(error) if locked(&error) => Err(StateError::InUse { dir }),
            Err(source) => Err(StateError::Storage { dir, source }),
        }
    }

    /// Lets others see how far this state has come.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress(self.clone())
    }

    /// Applies a checkpoint, whole or not at all. It survives a crash of the process, and a loss of power after [`State::flush`].
    ///
    /// Returns how many bytes each of its sessions takes, in their order.
    ///
    /// # Errors
    /// [`StateError::Storage`].
    pub fn save(&self, checkpoint: &Checkpoint<'_>) -> Result<Vec<usize>, StateError> {
        let mut batch = sled::Batch::default();
        let mut sizes = Vec::with_capacity(checkpoint.sessions.len());
        for (kind, offsets) in [("read", &checkpoint.read), ("written", &checkpoint.written)] {
            for ((topic, partition), offset) in offsets {
                batch.insert(format!("{kind}/{topic}/{partition}").as_bytes(), &offset.to_be_bytes());
            }
        }
        for (id, session) in &checkpoint.sessions {
            let json = serde_json::to_vec(session).expect("a session is plain data with text keys");
            sizes.push(json.len());
            batch.insert(format!("session/{id}").as_bytes(), json);
        }
        for (topic, id, end) in &checkpoint.chains {
            let json = serde_json::to_vec(end).expect("a chain's end is plain data");
            batch.insert(format!("chain/{topic}/{id}").as_bytes(), json);
        }
        self.db.apply_batch(batch).map_err(|source| self.failed(source))?;
        Ok(sizes)
    }

    /// Waits until what was saved survives a loss of power. Blocks.
    ///
    /// # Errors
    /// [`StateError::Storage`].
    pub fn flush(&self) -> Result<(), StateError> {
        self.db.flush().map(drop).map_err(|source| self.failed(source))
    }

    /// How far the input topics were read, and where reading the output topics begins.
    ///
    /// # Errors
    /// [`StateError::Storage`], [`StateError::Foreign`].
    pub fn offsets(&self) -> Result<(Offsets, Offsets), StateError> {
        Ok((self.offsets_of("read")?, self.offsets_of("written")?))
    }

    fn offsets_of(&self, kind: &str) -> Result<Offsets, StateError> {
        let mut out = Offsets::new();
        for entry in self.db.scan_prefix(format!("{kind}/")) {
            let (key, value) = entry.map_err(|source| self.failed(source))?;
            let key = String::from_utf8_lossy(&key).into_owned();
            let parsed = (|| {
                let (topic, partition) = key.strip_prefix(kind)?.strip_prefix('/')?.rsplit_once('/')?;
                let offset = i64::from_be_bytes(value.as_ref().try_into().ok()?);
                Some(((Topic::from_name(topic)?, partition.parse().ok()?), offset))
            })();
            let (place, offset) =
                parsed.ok_or_else(|| StateError::Foreign { dir: self.dir.clone(), key: key.clone() })?;
            out.insert(place, offset);
        }
        Ok(out)
    }

    /// How far a receiver of alerts has been told.
    ///
    /// # Errors
    /// [`StateError::Storage`], [`StateError::Foreign`].
    pub fn alerted(&self, receiver: &str) -> Result<Offsets, StateError> {
        self.offsets_of(&format!("alerted:{receiver}"))
    }

    /// Saves how far a receiver of alerts has been told.
    ///
    /// # Errors
    /// [`StateError::Storage`].
    pub fn save_alerted(&self, receiver: &str, cursor: &Offsets) -> Result<(), StateError> {
        let mut batch = sled::Batch::default();
        for ((topic, partition), offset) in cursor {
            batch.insert(format!("alerted:{receiver}/{topic}/{partition}").as_bytes(), &offset.to_be_bytes());
        }
        self.db.apply_batch(batch).map_err(|source| self.failed(source))
    }

    /// A session as it was saved.
    ///
    /// # Errors
    /// [`StateError::Storage`], [`StateError::Foreign`].
    pub fn session(&self, id: &SessionId) -> Result<Option<Session>, StateError> {
        self.json(&format!("session/{id}"))
    }

    /// The end of the watcher's chain for a session, as it was saved.
    ///
    /// # Errors
    /// [`StateError::Storage`], [`StateError::Foreign`].
    pub fn chain(&self, topic: Topic, id: &SessionId) -> Result<Option<ChainEnd>, StateError> {
        self.json(&format!("chain/{topic}/{id}"))
    }

    fn json<T: serde::de::DeserializeOwned>(&self, key: &str) -> Result<Option<T>, StateError> {
        let Some(bytes) = self.db.get(key).map_err(|source| self.failed(source))? else { return Ok(None) };
        let foreign = |_| StateError::Foreign { dir: self.dir.clone(), key: key.to_owned() };
        serde_json::from_slice(&bytes).map(Some).map_err(foreign)
    }

    fn failed(&self, source: sled::Error) -> StateError {
        StateError::Storage { dir: self.dir.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let id = SessionId::parse("s1").unwrap();
        let mut session = Session { clock: 7, ..Session::default() };
        session.hosts.insert("e.org", uuid::Uuid::nil());
        let end = ChainEnd { next_seq: 3, last: [1; 32] };
        let read = Offsets::from([((Topic::Events, 0), 17), ((Topic::Approvals, 11), 2)]);
        let written = Offsets::from([((Topic::Findings, 0), 5)]);
        {
            let state = State::open(folder.path()).unwrap();
            assert!(matches!(State::open(folder.path()), Err(StateError::InUse { .. })));
            let checkpoint = Checkpoint {
                read: read.clone(),
                written: written.clone(),
                sessions: vec![(&id, &session)],
                chains: vec![(Topic::Findings, &id, end)],
            };
            let sizes = state.save(&checkpoint).unwrap();
            assert_eq!(sizes, [serde_json::to_vec(&session).unwrap().len()]);
            state.flush().unwrap();
        }
        let state = State::open(folder.path()).unwrap();
        assert_eq!(state.offsets().unwrap(), (read, written));
        let judged = |partition, end| state.progress().has_judged(Topic::Events, partition, end).unwrap();
        assert_eq!([judged(0, 17), judged(0, 18), judged(1, 1)], [true, false, false]);
        assert_eq!(state.session(&id).unwrap(), Some(session));
        assert_eq!(state.chain(Topic::Findings, &id).unwrap(), Some(end));
        assert_eq!(state.session(&SessionId::parse("s2").unwrap()).unwrap(), None);
    }
}
