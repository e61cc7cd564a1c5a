//! Compaction: a second arrangement of records that are in the table already, provably the same ones.
//!
//! Commits are frequent, so their files are small and in the order of time. A compaction reads some files of one day and writes their records
//! into one file in the order of sessions, where a timeline is one run of rows.
//!
//! ```text
//! commitInfo   OPTIMIZE; watchkeeper.arrangement: how many records, and the root over their leaves in the order of the leaves
//! remove       each file that was read, dataChange=false
//! add          the new file, dataChange=false, tag watchkeeper.order=session
//! ```
//! The commit is leaf N of the Merkle log as any other, so it is signed which file has replaced which. No offset is accounted for by it and
//! no record changes. The files that were read stay where they are: earlier versions stay readable, and whoever doubts a compaction reads
//! both sides and compares the root over their sorted leaves ([`records_digest`]), which does not depend on the order of records or on how
//! many files they lie in.

use crate::commit::{NewFile, PrepareError, seal};
use crate::delta::{self, Action, Arrangement, Remove};
use crate::files::{Files, FilesError};
use crate::lake::{DataFile, OpenError, Snapshot, Version};
use crate::layout::{ONE_KIND_ROWS, Order, ROW_GROUP_ROWS};
use crate::merkle::records::record_leaf;
use crate::merkle::tree::Edge;
use crate::rollup::Bounds;
use crate::rows::{KindName, Row};
use crate::verify::{read_each, read_leaves};
use crate::writer::{CommitError, Writer};
use bytes::Bytes;
use object_store::path::Path as ObjectPath;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use uuid::Uuid;
use wk_schemas::{CodecError, Digest, Timestamp};

/// How much one compaction takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Fewer files of one day than this are left alone while the day is not over.
    pub files_min: usize,
    /// More files than this do not fit the text of one commit.
    pub files_max: usize,
    /// All records of a compaction are in memory at once.
    pub rows_max: u64,
    /// Roll-ups that are larger are not kept.
    pub rollups: Bounds,
}

impl Default for Limits {
    fn default() -> Self {
        Self { files_min: 64, files_max: 150, rows_max: 2 * ROW_GROUP_ROWS as u64, rollups: Bounds::default() }
    }
}

/// A second arrangement, ready to be committed by [`crate::Writer::rearrange`].
#[derive(Debug, Clone)]
pub struct Rewrite {
    pub(crate) id: Uuid,
    at: Timestamp,
    pub(crate) inputs: Vec<Arc<DataFile>>,
    pub(crate) file: NewFile,
    records: u64,
    digest: Digest,
}

/// Why files were not rearranged. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum CompactError {
    /// A file could not be read.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// A file is not what was committed: it must be looked at, not written anew.
    #[error("file `{path}` is not what was committed: {reason}; see `wk verify`")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// The records do not become a file.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// The table cannot be read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The commit was not made.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// What files have in common that go into one: the day, the schema, and the kind that they are kept apart for.
type Pile<'a> = (&'a str, Option<[u8; 32]>, Option<&'a KindName>);

/// Files in the order of time, and files in that of sessions.
type Orders<'a> = [Vec<&'a Arc<DataFile>>; 2];

/// The files that a compaction should take next, oldest day first; `None` when there is nothing to do.
///
/// `today` is the UTC day that goes on, as `YYYY-MM-DD`. Of a day that is over every file is taken that is still in the order of time; of
/// today's only once [`Limits::files_min`] have piled up. What compactions wrote is taken again, together, while it is small. `skipped` are files
/// that are left alone.
#[must_use]
pub fn plan(
    snapshot: &Snapshot,
    skipped: &BTreeSet<String>,
    today: &str,
    limits: &Limits,
) -> Option<Vec<Arc<DataFile>>> {
    // Records of two schemas do not lie in one file, and those of a kind that has large files of its own stay by themselves.
    let mut days: BTreeMap<Pile<'_>, Orders<'_>> = BTreeMap::new();
    for file in snapshot.files.iter().filter(|file| !skipped.contains(&file.path)) {
        let of = (file.day.as_str(), file.schema.map(|schema| schema.0), kept_apart_for(file));
        let [time, session] = days.entry(of).or_default();
        match file.order {
            Order::Time => time.push(file),
            // One that is half full is not written again: with those that follow it would be over the limit soon.
            Order::Session if file.rows < limits.rows_max.div_ceil(2) => session.push(file),
            Order::Session => {}
        }
    }
    days.into_iter().find_map(|((day, ..), [time, session])| {
        let piled_up =
            |files: &[_], least| files.len() >= if day < today { least } else { limits.files_min.max(least) };
        if piled_up(&time, 1) {
            return Some(take(&time, limits));
        }
        piled_up(&session, 2).then(|| take(&session, limits))
    })
}

/// The kind that a file is kept apart for; a small file that happens to have only one goes with the others.
fn kept_apart_for(file: &DataFile) -> Option<&KindName> {
    file.stats.only_kind().filter(|_| file.rows >= ONE_KIND_ROWS as u64)
}

/// The first of the files that go into one compaction; one at least, if there is one.
fn take(files: &[&Arc<DataFile>], limits: &Limits) -> Vec<Arc<DataFile>> {
    let mut rows = 0;
    let fits = files.iter().take(limits.files_max.max(2)).enumerate().take_while(|(index, file)| {
        rows += file.rows;
        *index == 0 || rows <= limits.rows_max
    });
    fits.map(|(_, file)| Arc::clone(file)).collect()
}

/// Reads the files and writes their records, in memory, as one file in the order of sessions, with roll-ups of them ([`crate::rollup`]).
///
/// `inputs` are files of one day, whose records were written with one schema. The same arguments give the same bytes.
///
/// # Errors
/// [`CompactError`]. A file that is not what was committed stops it: a compaction must not bless it.
///
/// # Panics
/// When there are no files, or they are of several days or schemas.
pub async fn prepare(
    files: &Files,
    inputs: Vec<Arc<DataFile>>,
    id: Uuid,
    at: Timestamp,
) -> Result<Rewrite, CompactError> {
    prepare_within(files, inputs, id, at, Bounds::default()).await
}

async fn prepare_within(
    files: &Files,
    inputs: Vec<Arc<DataFile>>,
    id: Uuid,
    at: Timestamp,
    rollups: Bounds,
) -> Result<Rewrite, CompactError> {
    assert!(
        !inputs.is_empty() && inputs.iter().all(|file| (&file.day, file.schema) == (&inputs[0].day, inputs[0].schema)),
        "a compaction takes files of one day and one schema"
    );
    let mut read = Vec::with_capacity(inputs.len());
    for file in &inputs {
        let bytes = files.get(&ObjectPath::from(file.path.as_str())).await?;
        let damaged = |reason: &str| CompactError::Damaged { path: file.path.clone(), reason: reason.to_owned() };
        read.push((Arc::clone(file), bytes.ok_or_else(|| damaged("it is not there"))?));
    }
    let work = move || rewrite(read, id, at, &rollups);
    let (file, records, digest) = tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| FilesError::Read { path: "a compaction".into(), source: e.into() })??;
    Ok(Rewrite { id, at, inputs, file, records, digest })
}

fn rewrite(
    read: Vec<(Arc<DataFile>, Bytes)>,
    id: Uuid,
    at: Timestamp,
    rollups: &Bounds,
) -> Result<(NewFile, u64, Digest), CompactError> {
    let mut all = Vec::new();
    for (file, bytes) in read {
        let damaged = |reason: String| CompactError::Damaged { path: file.path.clone(), reason };
        if Digest::of(&bytes) != file.sha256 {
            return Err(damaged("its bytes are others".into()));
        }
        let (rows, root) = rows(&bytes).map_err(damaged)?;
        if root != file.merkle_root {
            return Err(damaged("its records are others".into()));
        }
        all.extend(rows);
    }
    let digest = sorted_root(all.iter().map(leaf).collect());
    let records = all.len() as u64;
    Ok((seal(all, at, id, Order::Session, Some(rollups))?, records, digest))
}

/// Every record of a data file, with its place, and the root over them.
fn rows(bytes: &Bytes) -> Result<(Vec<Row>, Digest), String> {
    let mut rows = Vec::new();
    let mut edge = Edge::default();
    read_each(bytes, |schema, source, offset, recorded_at, datum| {
        let datum = Bytes::copy_from_slice(datum);
        let row = Row::read_as(schema, source.topic, source.partition, offset, recorded_at, datum);
        let row = row.map_err(|e: CodecError| format!("{source}@{offset}: {e}"))?;
        edge.push(leaf(&row), |_, _| {});
        rows.push(row);
        Ok(())
    })?;
    Ok((rows, edge.root()))
}

fn leaf(row: &Row) -> Digest {
    record_leaf(row.topic, row.partition, row.offset, row.recorded_at, &row.datum)
}

/// The root over leaves in ascending order: the same for the same records, however they are arranged.
pub(crate) fn sorted_root(mut leaves: Vec<Digest>) -> Digest {
    leaves.sort_unstable_by_key(|leaf| leaf.0);
    let mut edge = Edge::default();
    for leaf in leaves {
        edge.push(leaf, |_, _| {});
    }
    edge.root()
}

/// How many records some data files hold, and the digest over them that does not depend on their arrangement.
///
/// The digest is the RFC 6962 root over the records' leaves ([`crate::merkle::records`]) in ascending order of their bytes.
///
/// # Errors
/// What is not readable, in words.
pub fn records_digest<'a>(files: impl IntoIterator<Item = &'a Bytes>) -> Result<(u64, Digest), String> {
    let mut leaves = Vec::new();
    for bytes in files {
        leaves.extend(read_leaves(bytes, None)?.0);
    }
    Ok((leaves.len() as u64, sorted_root(leaves)))
}

impl Writer {
    /// Makes the compaction that is due next, if one is, and returns it with its version.
    ///
    /// `skipped` are files to leave alone; a file that turns out to be damaged is to be put there, so that the others still get their turn.
    ///
    /// # Errors
    /// [`CompactError`]; the table is as it was, or as [`Writer::commit`] says. [`CommitError::Rearranged`] means that another process has
    /// been faster, and there may be nothing left to do.
    pub async fn compact(
        &mut self,
        skipped: &BTreeSet<String>,
        today: &str,
        limits: &Limits,
        id: Uuid,
        at: Timestamp,
    ) -> Result<Option<(Version, Rewrite)>, CompactError> {
        let snapshot = self.lake().refresh().await?;
        let Some(inputs) = plan(&snapshot, skipped, today, limits) else { return Ok(None) };
        let rewrite = match prepare_within(self.lake().files(), inputs, id, at, limits.rollups).await {
            // A file that has left the table while it was read is not damaged: its day was removed.
            Err(CompactError::Damaged { path, .. })
                if !self.lake().refresh().await?.files.iter().any(|file| file.path == path) =>
            {
                return Err(CommitError::Rearranged { path }.into());
            }
            prepared => prepared?,
        };
        let version = self.rearrange(&rewrite).await?;
        Ok(Some((version, rewrite)))
    }
}

impl Rewrite {
    /// How many records were rearranged.
    #[must_use]
    pub const fn records(&self) -> u64 {
        self.records
    }

    /// The files that the new one is to replace.
    #[must_use]
    pub fn inputs(&self) -> &[Arc<DataFile>] {
        &self.inputs
    }

    /// Bytes of the new file.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.file.bytes.len()
    }

    /// The lines of the Delta commit.
    pub(crate) fn actions(&self) -> Vec<Action> {
        let at_ms = self.at.0.div_euclid(1000);
        let arrangement = Arrangement { records: self.records, digest: self.digest.to_hex() };
        let info = delta::rearranged(&self.id.to_string(), at_ms, arrangement);
        let removes = self.inputs.iter().map(|file| {
            let path = file.path.strip_prefix("records/").unwrap_or(&file.path).to_owned();
            Action::Remove(Remove { path, deletion_timestamp: Some(at_ms), data_change: false })
        });
        let add = self.file.rearranged();
        [Action::CommitInfo(info)].into_iter().chain(removes).chain([Action::Add(add)]).collect()
    }
}
