//! Delta checkpoints: the table's state after a commit in one Parquet file, so that opening it does not read every commit.
//!
//! ```text
//! records/_delta_log/<version>.checkpoint.parquet    one row for each action that still counts; struct columns named after the actions
//! records/_delta_log/_last_checkpoint                {"version": …, "size": …}
//! ```
//! A checkpoint follows from the commits and is not evidence: no leaf of the Merkle log is over it, and whoever doubts one leaves it out
//! ([`Lake::replay`](crate::Lake::replay)). One that is missing or broken costs time and nothing else; one that is forged deceives whoever opens
//! the table by it, so [`verify`](crate::verify) holds each against the commits. Commits are kept all the same.

use crate::delta::{self, Action, Add, MetaData, Remove, Txn, tag};
use crate::files::{Files, FilesError};
use crate::lake::{Version, commit_path};
use arrow::array::{Array, AsArray as _, RecordBatch, StructArray};
use arrow::datatypes::{DataType, Field, Fields, Int64Type, Schema};
use arrow::json::LineDelimitedWriter;
use bytes::Bytes;
use object_store::path::Path as ObjectPath;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many commits there are between two checkpoints, at least: this many are read in a few milliseconds.
const COMMITS: u64 = 100;

/// A large table's checkpoint takes long to write, so it has one more commit between them for so many files.
const FILES_PER_COMMIT: u64 = 10;

/// What `_last_checkpoint` says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Last {
    pub(crate) version: Version,
    pub(crate) size: usize,
}

/// Why a checkpoint was not written or not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckpointError {
    #[error(transparent)]
    Files(#[from] FilesError),
    #[error("`{path}` is not there")]
    Missing { path: String },
    #[error("commit {version} is not readable")]
    Commit {
        version: Version,
        #[source]
        source: serde_json::Error,
    },
    #[error("failed to encode or decode a checkpoint")]
    Parquet(#[from] parquet::errors::ParquetError),
    #[error("failed to encode or decode a checkpoint")]
    Arrow(#[from] arrow::error::ArrowError),
    #[error("a checkpoint is not readable: {reason}")]
    Shape { reason: String },
}

/// Whether a checkpoint is due at a version, when the last one is at `last` and the table has so many files.
pub(crate) const fn is_due(version: Version, last: Version, files: u64) -> bool {
    version >= last + COMMITS + files / FILES_PER_COMMIT
}

pub(crate) fn checkpoint_path(version: Version) -> ObjectPath {
    ObjectPath::from(format!("records/_delta_log/{version:020}.checkpoint.parquet"))
}

pub(crate) fn last_path() -> ObjectPath {
    ObjectPath::from("records/_delta_log/_last_checkpoint")
}

/// The actions that still count after some commit. Pure.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) protocol: Option<Value>,
    pub(crate) meta: Option<MetaData>,
    pub(crate) txns: BTreeMap<String, Txn>,
    /// In the order in which they were added, which is how their paths are found here: by the commit, then the place in it.
    pub(crate) adds: BTreeMap<(Version, usize), Add>,
    places: BTreeMap<String, (Version, usize)>,
    removes: BTreeMap<String, Remove>,
}

impl State {
    /// Takes the actions of a commit.
    pub(crate) fn apply(&mut self, version: Version, actions: Vec<Action>) {
        for (place, action) in actions.into_iter().enumerate() {
            match action {
                Action::Protocol(protocol) => self.protocol = Some(protocol),
                Action::MetaData(meta) => self.meta = Some(meta),
                Action::Txn(txn) => drop(self.txns.insert(txn.app_id.clone(), txn)),
                Action::Add(mut add) => {
                    // A checkpoint forgets which commit brought a file, and a record's proof begins there.
                    add.tags.entry(tag::VERSION.to_owned()).or_insert_with(|| version.to_string());
                    self.removes.remove(&add.path);
                    let at = (add_version(&add).unwrap_or(version), place);
                    self.places.insert(add.path.clone(), at);
                    self.adds.insert(at, add);
                }
                Action::Remove(remove) => {
                    if let Some(at) = self.places.remove(&remove.path) {
                        self.adds.remove(&at);
                    }
                    self.removes.insert(remove.path.clone(), remove);
                }
                Action::CommitInfo(_) | Action::Other(_) => {}
            }
        }
    }

    /// The actions, as a commit that does all of it would have them.
    fn actions(self) -> Vec<Action> {
        let mut actions = Vec::with_capacity(self.adds.len() + self.txns.len() + self.removes.len() + 2);
        actions.extend(self.protocol.map(Action::Protocol));
        actions.extend(self.meta.map(Action::MetaData));
        actions.extend(self.txns.into_values().map(Action::Txn));
        actions.extend(self.removes.into_values().map(Action::Remove));
        actions.extend(self.adds.into_values().map(Action::Add));
        actions
    }
}

/// The commit that brought a file, if the checkpoint it was read from says so.
pub(crate) fn add_version(add: &Add) -> Option<Version> {
    add.tags.get(tag::VERSION)?.parse().ok()
}

/// The version of the newest checkpoint, as far as can be read.
pub(crate) async fn newest(files: &Files) -> Option<Version> {
    let last = files.get(&last_path()).await.ok().flatten()?;
    serde_json::from_slice::<Last>(&last).ok().map(|last| last.version)
}

/// The newest checkpoint: its version and the actions that count there. `None` when there is none.
///
/// # Errors
/// [`CheckpointError`]: one should be there and cannot be read.
pub(crate) async fn read(files: &Files) -> Result<Option<(Version, Vec<Action>)>, CheckpointError> {
    let Some(last) = files.get(&last_path()).await? else { return Ok(None) };
    let Last { version, .. } =
        serde_json::from_slice(&last).map_err(|e| CheckpointError::Shape { reason: e.to_string() })?;
    let path = checkpoint_path(version);
    let bytes = files.get(&path).await?.ok_or_else(|| CheckpointError::Missing { path: path.to_string() })?;
    Ok(Some((version, decode(bytes)?)))
}

/// Writes a checkpoint at a version, from the one before it and the commits since.
///
/// # Errors
/// [`CheckpointError`]; readers go on with what is there.
pub(crate) async fn write(files: &Files, version: Version) -> Result<(), CheckpointError> {
    let mut state = State::default();
    let mut next = 0;
    match read(files).await {
        Ok(Some((at, actions))) if at <= version => {
            state.apply(at, actions);
            next = at + 1;
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "the last delta checkpoint is not readable; making one from all commits"),
    }
    for version in next..=version {
        let path = commit_path(version);
        let bytes = files.get(&path).await?.ok_or_else(|| CheckpointError::Missing { path: path.to_string() })?;
        state.apply(version, delta::read(&bytes).map_err(|source| CheckpointError::Commit { version, source })?);
    }
    let actions = state.actions();
    let size = actions.len();
    let bytes = tokio::task::spawn_blocking(move || encode(&actions))
        .await
        .map_err(|e| CheckpointError::Shape { reason: e.to_string() })??;
    // 1. The checkpoint, whole. A crash before 2 leaves a file that nobody reads.
    files.put(&checkpoint_path(version), bytes).await?;
    // 2. The pointer to it.
    let last = serde_json::to_vec(&Last { version, size }).expect("two numbers are JSON");
    files.put(&last_path(), last.into()).await?;
    Ok(())
}

fn map() -> DataType {
    let entry = Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, true)]);
    DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(entry), false)), false)
}

/// The columns of a checkpoint, as the Delta protocol has them.
pub(crate) fn schema() -> Arc<Schema> {
    let optional = |name: &str, data_type: DataType| Field::new(name, data_type, true);
    let action = |name: &str, members: Vec<Field>| Field::new(name, DataType::Struct(members.into()), true);
    let (text, long, boolean) = (DataType::Utf8, DataType::Int64, DataType::Boolean);
    let list = DataType::List(Arc::new(Field::new("element", DataType::Utf8, true)));
    let format = DataType::Struct(vec![optional("provider", text.clone()), optional("options", map())].into());
    Arc::new(Schema::new(vec![
        action(
            "txn",
            vec![
                optional("appId", text.clone()),
                optional("version", long.clone()),
                optional("lastUpdated", long.clone()),
            ],
        ),
        action(
            "add",
            vec![
                optional("path", text.clone()),
                optional("partitionValues", map()),
                optional("size", long.clone()),
                optional("modificationTime", long.clone()),
                optional("dataChange", boolean.clone()),
                optional("stats", text.clone()),
                optional("tags", map()),
            ],
        ),
        action(
            "remove",
            vec![
                optional("path", text.clone()),
                optional("deletionTimestamp", long.clone()),
                optional("dataChange", boolean),
            ],
        ),
        action(
            "metaData",
            vec![
                optional("id", text.clone()),
                optional("name", text.clone()),
                optional("description", text.clone()),
                optional("format", format),
                optional("schemaString", text),
                optional("partitionColumns", list),
                optional("createdTime", long),
                optional("configuration", map()),
            ],
        ),
        action(
            "protocol",
            vec![optional("minReaderVersion", DataType::Int32), optional("minWriterVersion", DataType::Int32)],
        ),
    ]))
}

/// Actions in the columns of the protocol. What the log writes as JSON lines, the columns take by name.
fn encode(actions: &[Action]) -> Result<Bytes, CheckpointError> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).expect("zstd has a level 1")))
        .build();
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(Vec::new(), schema(), options)?;
    let mut decoder = arrow::json::ReaderBuilder::new(schema()).with_batch_size(1024).build_decoder()?;
    for piece in actions.chunks(1024) {
        decoder.decode(&delta::write(piece))?;
        if let Some(batch) = decoder.flush()? {
            writer.write(&batch)?;
        }
    }
    Ok(writer.into_inner()?.into())
}

pub(crate) fn decode(bytes: Bytes) -> Result<Vec<Action>, CheckpointError> {
    let mut actions = Vec::new();
    for batch in ParquetRecordBatchReaderBuilder::try_new(bytes)?.build()? {
        let batch = batch?;
        adds(&batch, &mut actions)?;
        others(&batch, &mut actions)?;
    }
    Ok(actions)
}

/// Files are many, so their columns are read as columns.
fn adds(batch: &RecordBatch, actions: &mut Vec<Action>) -> Result<(), CheckpointError> {
    let wrong = || CheckpointError::Shape { reason: "the column `add` is not what the protocol says".into() };
    let add = batch.column_by_name("add").and_then(|c| c.as_struct_opt()).ok_or_else(wrong)?;
    let member = |name: &str| add.column_by_name(name).ok_or_else(wrong);
    let (path, stats) = (member("path")?.as_string_opt::<i32>(), member("stats")?.as_string_opt::<i32>());
    let (size, time) = (member("size")?.as_primitive_opt::<Int64Type>(), member("modificationTime")?);
    let (Some(path), Some(stats), Some(size), Some(time), Some(change)) =
        (path, stats, size, time.as_primitive_opt::<Int64Type>(), member("dataChange")?.as_boolean_opt())
    else {
        return Err(wrong());
    };
    let (values, tags) = (member("partitionValues")?, member("tags")?);
    for row in (0..batch.num_rows()).filter(|row| add.is_valid(*row)) {
        actions.push(Action::Add(Add {
            path: path.value(row).to_owned(),
            partition_values: texts(values, row).ok_or_else(wrong)?,
            size: u64::try_from(size.value(row)).map_err(|_| wrong())?,
            modification_time: time.value(row),
            data_change: change.value(row),
            stats: stats.is_valid(row).then(|| stats.value(row).to_owned()),
            tags: texts(tags, row).ok_or_else(wrong)?,
        }));
    }
    Ok(())
}

fn texts(map: &dyn Array, row: usize) -> Option<BTreeMap<String, String>> {
    let map = map.as_map_opt()?;
    if map.is_null(row) {
        return Some(BTreeMap::new());
    }
    let entries: StructArray = map.value(row);
    let (keys, values) = (entries.column(0).as_string_opt::<i32>()?, entries.column(1).as_string_opt::<i32>()?);
    Some(keys.iter().zip(values).filter_map(|(key, value)| Some((key?.to_owned(), value?.to_owned()))).collect())
}

/// The other actions are few: back into the lines that a commit has.
fn others(batch: &RecordBatch, actions: &mut Vec<Action>) -> Result<(), CheckpointError> {
    for name in ["txn", "remove", "metaData", "protocol"] {
        let index = batch.schema().index_of(name)?;
        let column = batch.column(index);
        if column.null_count() == column.len() {
            continue;
        }
        let rows = arrow::compute::is_not_null(column)?;
        let few = arrow::compute::filter_record_batch(&batch.project(&[index])?, &rows)?;
        let mut writer = LineDelimitedWriter::new(Vec::new());
        writer.write(&few)?;
        writer.finish()?;
        let lines = writer.into_inner();
        actions.extend(delta::read(&lines).map_err(|e| CheckpointError::Shape { reason: e.to_string() })?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(path: &str) -> Action {
        Action::Add(Add {
            path: path.into(),
            partition_values: BTreeMap::from([("day".into(), "2026-11-21".into())]),
            size: 7,
            modification_time: 1,
            data_change: true,
            stats: Some(r#"{"numRecords":1}"#.into()),
            tags: BTreeMap::from([("watchkeeper.sha256".into(), "00".into())]),
        })
    }

    fn txn(version: i64) -> Action {
        Action::Txn(Txn { app_id: "t/0".into(), version, last_updated: 5 })
    }

    #[test]
    fn what_still_counts_survives_the_way_into_columns_and_back() {
        let mut state = State::default();
        state.apply(0, delta::create("5b6e0000-0000-4000-8000-000000000001", "id", 3));
        state.apply(1, vec![txn(10), add("day=2026-11-21/a.parquet")]);
        state.apply(2, vec![txn(20), add("day=2026-11-21/c.parquet"), add("day=2026-11-21/b.parquet")]);
        let gone = "day=2026-11-21/a.parquet".to_owned();
        state.apply(
            3,
            vec![Action::Remove(Remove { path: gone.clone(), deletion_timestamp: Some(9), data_change: false })],
        );
        let actions = state.actions();
        let read = decode(encode(&actions).unwrap()).unwrap();
        let sorted = |actions: &[Action]| {
            let mut lines: Vec<Value> = actions.iter().map(|a| serde_json::to_value(a).unwrap()).collect();
            lines.sort_by_key(Value::to_string);
            lines
        };
        assert_eq!(sorted(&read), sorted(&actions));
        let paths: Vec<_> = read
            .iter()
            .filter_map(|a| match a {
                Action::Add(add) => Some((add.path.as_str(), add_version(add))),
                _ => None,
            })
            .collect();
        assert_eq!(paths, [("day=2026-11-21/c.parquet", Some(2)), ("day=2026-11-21/b.parquet", Some(2))]);
        assert!(read.iter().any(|a| matches!(a, Action::Txn(t) if t.version == 20)));
        assert!(read.iter().any(|a| matches!(a, Action::Remove(r) if r.path == gone)));
        // Read again and written again, it is the same: a checkpoint may be made from the one before it.
        let mut again = State::default();
        again.apply(3, read);
        assert_eq!(sorted(&again.actions()), sorted(&actions));
    }
}
