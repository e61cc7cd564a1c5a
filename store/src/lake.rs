//! The lake, to be read: the Delta log replayed into files and offsets.
//!
//! ```text
//! <lake>/records/_delta_log/   the table's commits        <lake>/log/checkpoint   signed note over them
//! <lake>/records/day=.../      the table's data files     <lake>/log/tile/        the Merkle log
//! ```
//! A replay goes on from the commit it has reached: [`Lake::refresh`] reads what is new and nothing else.

use crate::checkpoint;
use crate::delta::{self, Action, Add, MetaData, tag};
use crate::files::{Files, FilesError, PutNew};
use crate::layout::Order;
use crate::offsets::Offsets;
use crate::rollup::Places;
use crate::rows::{self, Columns};
use crate::stats::Stats;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use object_store::path::Path as ObjectPath;
use std::collections::{HashSet, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex};
use uuid::Uuid;
use wk_schemas::{Digest, Timestamp};

/// Number of a commit, from 0.
pub type Version = u64;

/// How many commits are read at once when a lake is opened.
const READ_AHEAD: usize = 16;

/// How many commits back a commit is still known by its id.
const REMEMBERED: usize = 64;

/// The lake, to be read. Clones share what they have read.
#[derive(Debug, Clone)]
pub struct Lake {
    files: Files,
    snapshot: Arc<Mutex<Arc<Snapshot>>>,
}

/// The table as of one commit. Each record is in exactly one file.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The commit.
    pub version: Version,
    /// The lake's id, a UUID.
    pub lake_id: String,
    /// Every file, in the order in which they were added. What a compaction has replaced is not among them.
    pub files: Vec<Arc<DataFile>>,
    /// Where every partition goes on.
    pub offsets: Offsets,
    /// The columns of the table, which may be more than this program writes by itself.
    pub columns: Arc<Columns>,
    /// The table's identity, once it has been read.
    pub(crate) meta: Option<Arc<MetaData>>,
    /// Why this program must not write to it, if so.
    pub(crate) not_ours_to_write: Option<String>,
    /// Versions and ids of the newest commits, the newest last: what settles a lost answer. Others may have committed since.
    recent: VecDeque<(Version, String)>,
}

/// A file of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFile {
    /// Path from the lake's root: `records/day=.../....parquet`.
    pub path: String,
    /// The UTC day of its records.
    pub day: String,
    /// Its bytes.
    pub size: u64,
    /// Its records.
    pub rows: u64,
    /// What is known of it without opening it.
    pub stats: Stats,
    /// SHA-256 of its bytes.
    pub sha256: Digest,
    /// Root over its records; see [`crate::merkle::records`].
    pub merkle_root: Digest,
    /// The commit that added it.
    pub version: Version,
    /// The order of its rows.
    pub order: Order,
    /// Fingerprint of the schema that its records were written with; `None` for the first that was released.
    pub schema: Option<Digest>,
    /// Where in it the roll-ups of its records are, if it keeps some.
    pub rollups: Option<Places>,
}

/// The lake could not be read.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The disk or the object store.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// There is no table.
    #[error("there is no lake at `{place}`")]
    NoLake {
        /// Where it was looked for.
        place: String,
    },
    /// Two writers could overwrite each other's commits there.
    #[error(
        "the object store `{place}` replaces an object that `If-None-Match: *` forbids it to replace; it cannot hold a lake"
    )]
    Overwrites {
        /// The store.
        place: String,
    },
    /// A lake was to be made where one is.
    #[error("there is a lake already")]
    Exists,
    /// A commit is missing while later ones are there.
    #[error("commit {version} is missing, though there are later ones")]
    Hole {
        /// The commit.
        version: Version,
    },
    /// The lake was made by a newer program, in a way that this one cannot read.
    #[error("the lake needs a newer version of this program to be read: {reason}")]
    Newer {
        /// What it needs.
        reason: String,
    },
    /// A commit cannot be read.
    #[error("commit {version} is not readable: {reason}")]
    Commit {
        /// The commit.
        version: Version,
        /// Why.
        reason: String,
    },
}

/// The object that shows whether a store puts if absent. It stays: two processes that asked and removed it would mislead each other.
const PROBE: &str = "log/conditional-put";

/// The path of a commit.
pub(crate) fn commit_path(version: Version) -> ObjectPath {
    ObjectPath::from(format!("records/_delta_log/{version:020}.json"))
}

/// The commits that are there after one, in order.
async fn versions(files: &Files, after: Option<Version>) -> Result<Vec<Version>, OpenError> {
    let folder = ObjectPath::from("records/_delta_log");
    let names = match after {
        Some(version) => files.list_after(&folder, &commit_path(version)).await?,
        None => files.list(&folder).await?,
    };
    Ok(names.iter().filter_map(|m| m.location.filename()?.strip_suffix(".json")?.parse().ok()).collect())
}

impl Lake {
    /// Makes a lake in a folder of this machine. `lake_id` names it for ever.
    ///
    /// # Errors
    /// [`OpenError::Exists`] when there is one.
    pub async fn create(folder: &Path, lake_id: Uuid, at: Timestamp) -> Result<Self, OpenError> {
        Self::create_on(Files::local(folder)?, lake_id, at).await
    }

    /// Makes a lake on any store that puts if absent.
    ///
    /// # Errors
    /// [`OpenError::Exists`] when there is one; [`OpenError::Overwrites`].
    pub async fn create_on(files: Files, lake_id: Uuid, at: Timestamp) -> Result<Self, OpenError> {
        // A store that does not know the condition takes the object in silence. It is asked with one that nobody will miss.
        let probe = ObjectPath::from(PROBE);
        if files.root().is_none() {
            files.put_new(&probe, Bytes::from_static(b"put if absent\n")).await?;
            if files.put_new(&probe, Bytes::from_static(b"put anyway\n")).await? == PutNew::Created {
                return Err(OpenError::Overwrites { place: files.store().to_string() });
            }
        }
        let id = lake_id.to_string();
        let bytes = delta::write(&delta::create(&id, &id, at.0.div_euclid(1000)));
        match files.put_new(&commit_path(0), bytes.into()).await? {
            PutNew::Created => Self::open_on(files).await,
            PutNew::Taken => Err(OpenError::Exists),
        }
    }

    /// Opens the lake in a folder of this machine.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(folder: &Path) -> Result<Self, OpenError> {
        if !folder.join("records/_delta_log").is_dir() {
            return Err(OpenError::NoLake { place: folder.display().to_string() });
        }
        Self::open_on(Files::existing(folder)?).await
    }

    /// Opens the lake in a folder of this machine; makes it when there is none.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open_or_create(folder: &Path, lake_id: Uuid, at: Timestamp) -> Result<Self, OpenError> {
        Self::open_or_create_on(Files::local(folder)?, lake_id, at).await
    }

    /// Opens the lake on any store that puts if absent; makes it when there is none.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open_or_create_on(files: Files, lake_id: Uuid, at: Timestamp) -> Result<Self, OpenError> {
        match Self::create_on(files.clone(), lake_id, at).await {
            Err(OpenError::Exists) => Self::open_on(files).await,
            other => other,
        }
    }

    /// Opens the lake on any store, from its newest checkpoint if it has one.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open_on(files: Files) -> Result<Self, OpenError> {
        match Self::from_checkpoint(&files).await {
            Ok(Some(snapshot)) => Self::go_on(files, snapshot, Version::MAX).await,
            Ok(None) => Self::replay(files).await,
            Err(reason) => {
                tracing::warn!(reason, "the delta checkpoint is not readable; reading every commit");
                Self::replay(files).await
            }
        }
    }

    /// Opens the lake from its commits alone, as evidence wants it: a checkpoint is not covered by the Merkle log.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn replay(files: Files) -> Result<Self, OpenError> {
        Self::replay_to(files, Version::MAX).await
    }

    /// Opens the lake as it was after a commit, from the commits alone: compactions take no file away that an earlier version had.
    ///
    /// [`Lake::refresh`] goes on from there.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn replay_to(files: Files, last: Version) -> Result<Self, OpenError> {
        let Some(first) = files.get(&commit_path(0)).await? else {
            return Err(match versions(&files, None).await?[..] {
                [] => OpenError::NoLake { place: files.store().to_string() },
                [..] => OpenError::Hole { version: 0 },
            });
        };
        let mut snapshot = Snapshot::empty();
        snapshot.apply(0, &first)?;
        Self::go_on(files, snapshot, last).await
    }

    async fn from_checkpoint(files: &Files) -> Result<Option<Snapshot>, String> {
        let text = |e: &dyn std::fmt::Display| e.to_string();
        let Some((version, actions)) = checkpoint::read(files).await.map_err(|e| text(&e))? else { return Ok(None) };
        let mut snapshot = Snapshot::empty();
        snapshot.take(version, actions).map_err(|e| text(&e))?;
        // Who made the newest commit stands in the commit.
        let commit = files.get(&commit_path(version)).await.map_err(|e| text(&e))?;
        let commit = commit.ok_or_else(|| format!("commit {version} is not there"))?;
        for action in delta::read(&commit).map_err(|e| text(&e))? {
            if let Action::CommitInfo(info) = action {
                snapshot.remember(version, info);
            }
        }
        Ok(Some(snapshot))
    }

    /// Reads every commit after those that the snapshot has, up to `last`.
    async fn go_on(files: Files, mut snapshot: Snapshot, last: Version) -> Result<Self, OpenError> {
        let mut versions = versions(&files, Some(snapshot.version)).await?;
        versions.retain(|version| *version <= last);
        if let Some((hole, _)) = (snapshot.version + 1..).zip(&versions).find(|(expected, found)| expected != *found) {
            return Err(OpenError::Hole { version: hole });
        }
        let mut commits = stream::iter(versions)
            .map(|version| {
                let files = files.clone();
                async move { Ok::<_, OpenError>((version, files.get(&commit_path(version)).await?)) }
            })
            .buffered(READ_AHEAD);
        while let Some((version, bytes)) = commits.try_next().await? {
            snapshot.apply(version, &bytes.ok_or(OpenError::Hole { version })?)?;
        }
        drop(commits);
        Ok(Self { files, snapshot: Arc::new(Mutex::new(Arc::new(snapshot))) })
    }

    /// Reads the commits that have been made since, and returns the newest table.
    ///
    /// # Errors
    /// [`OpenError`]; what was known stays known.
    pub async fn refresh(&self) -> Result<Arc<Snapshot>, OpenError> {
        let known = self.snapshot();
        let mut next = known.version + 1;
        let mut newer: Option<Snapshot> = None;
        while let Some(bytes) = self.files.get(&commit_path(next)).await? {
            newer.get_or_insert_with(|| (*known).clone()).apply(next, &bytes)?;
            next += 1;
        }
        if let Some(newer) = newer {
            self.advance(newer);
        }
        Ok(self.snapshot())
    }

    /// The table as it was last read; see [`Lake::refresh`].
    ///
    /// # Panics
    /// When another thread panicked while it replaced the snapshot.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.lock().expect("no code panics while it holds this lock"))
    }

    /// Where every partition goes on, as last read.
    #[must_use]
    pub fn committed(&self) -> Offsets {
        self.snapshot().offsets.clone()
    }

    /// The lake's id.
    #[must_use]
    pub fn id(&self) -> String {
        self.snapshot().lake_id.clone()
    }

    /// The name of the Merkle log, which is also the name of its key.
    #[must_use]
    pub fn origin(&self) -> String {
        format!("watchkeeper/{}", self.id())
    }

    /// The lake's objects, for readers.
    #[must_use]
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// Takes a newer snapshot, unless another reader has already gone further.
    pub(crate) fn advance(&self, newer: Snapshot) {
        let mut current = self.snapshot.lock().expect("no code panics while it holds this lock");
        if newer.version > current.version {
            *current = Arc::new(newer);
        }
    }

    /// The bytes of a commit.
    pub(crate) async fn commit_bytes(&self, version: Version) -> Result<Option<Bytes>, FilesError> {
        self.files.get(&commit_path(version)).await
    }
}

impl Snapshot {
    /// Before the first commit.
    fn empty() -> Self {
        Self {
            version: 0,
            lake_id: String::new(),
            files: Vec::new(),
            offsets: Offsets::default(),
            columns: Arc::new(Columns::ours()),
            meta: None,
            not_ours_to_write: None,
            recent: VecDeque::new(),
        }
    }

    /// Takes the next commit.
    pub(crate) fn apply(&mut self, version: Version, bytes: &[u8]) -> Result<(), OpenError> {
        let actions = delta::read(bytes).map_err(|e| OpenError::Commit { version, reason: e.to_string() })?;
        self.take(version, actions)
    }

    /// Takes the actions of a commit, or of a checkpoint after it.
    fn take(&mut self, version: Version, actions: Vec<Action>) -> Result<(), OpenError> {
        let bad = |reason: String| OpenError::Commit { version, reason };
        let mut gone = HashSet::new();
        for action in actions {
            match action {
                Action::CommitInfo(info) => self.remember(version, info),
                Action::MetaData(meta) => {
                    let columns = Columns::read(&meta.schema_string).map_err(bad)?;
                    columns.join(&Columns::ours()).map_err(|problems| {
                        bad(format!("its columns are not those of records: {}", problems.join("; ")))
                    })?;
                    if let [first, ..] = columns.unknown() {
                        let reason = format!("its column `{first}` is of a type that this version does not know");
                        self.not_ours_to_write = Some(reason);
                    }
                    self.lake_id.clone_from(&meta.id);
                    self.columns = Arc::new(columns);
                    self.meta = Some(Arc::new(meta));
                }
                Action::Txn(txn) => {
                    if let Some(source) = delta::txn_source(&txn) {
                        self.offsets.0.insert(source, txn.version);
                    }
                }
                Action::Add(add) => {
                    let path = add.path.clone();
                    let version = checkpoint::add_version(&add).unwrap_or(version);
                    let file = DataFile::of(add, version)
                        .ok_or_else(|| bad(format!("file `{path}` does not carry what this table writes")))?;
                    self.files.push(Arc::new(file));
                }
                // The table is append-only: what is taken out has come in again in another file, and each record is to be seen once.
                Action::Remove(remove) => drop(gone.insert(format!("records/{}", remove.path))),
                Action::Protocol(protocol) => self.asks_for(&protocol)?,
                Action::Other(_) => {}
            }
        }
        if !gone.is_empty() {
            self.files.retain(|file| !gone.contains(&file.path));
        }
        self.version = version;
        Ok(())
    }

    /// Holds what the table asks of its readers and writers against what this program can do.
    fn asks_for(&mut self, protocol: &serde_json::Value) -> Result<(), OpenError> {
        let asks = |key: &str| protocol[key].as_u64().unwrap_or(u64::MAX);
        let reason = |who: &str, key: &str| format!("its protocol asks for {who} of version {}", protocol[key]);
        if asks("minReaderVersion") > delta::READER_VERSION {
            return Err(OpenError::Newer { reason: reason("readers", "minReaderVersion") });
        }
        if asks("minWriterVersion") > delta::WRITER_VERSION {
            self.not_ours_to_write = Some(reason("writers", "minWriterVersion"));
        }
        Ok(())
    }

    fn remember(&mut self, version: Version, info: delta::CommitInfo) {
        let Some(ours) = info.watchkeeper else { return };
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back((version, ours.commit_id));
    }

    /// The version of one of the newest commits, by its id.
    pub(crate) fn version_of(&self, commit_id: &str) -> Option<Version> {
        self.recent.iter().rev().find(|(_, id)| id == commit_id).map(|(version, _)| *version)
    }

    /// How many records there are.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.files.iter().map(|f| f.rows).sum()
    }
}

impl DataFile {
    pub(crate) fn of(add: Add, version: Version) -> Option<Self> {
        let tag = |name: &str| add.tags.get(name).map(String::as_str);
        let stats = Stats::read(add.stats.as_deref()?, tag(tag::KINDS)?, tag(tag::RANGES)?)?;
        Some(Self {
            day: add.partition_values.get(rows::DAY)?.clone(),
            size: add.size,
            rows: stats.rows(),
            sha256: Digest::from_hex(tag(tag::SHA256)?)?,
            merkle_root: Digest::from_hex(tag(tag::MERKLE_ROOT)?)?,
            path: format!("records/{}", add.path),
            schema: match tag(tag::SCHEMA) {
                Some(hex) => Some(Digest::from_hex(hex)?),
                None => None,
            },
            order: if tag(tag::ORDER) == Some(tag::SESSION) { Order::Session } else { Order::Time },
            rollups: tag(tag::ROLLUPS).map(Places::read),
            stats,
            version,
        })
    }
}
