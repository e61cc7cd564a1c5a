//! The Delta protocol as far as this table uses it: the actions of a commit, as JSON lines.
//!
//! ```text
//! records/_delta_log/00000000000000000000.json   commitInfo, protocol, metaData
//! records/_delta_log/00000000000000000012.json   commitInfo, txn per topic-partition, add per file
//! records/_delta_log/00000000000000000013.json   commitInfo, remove per file that was read, add: a compaction
//! records/_delta_log/00000000000000000014.json   commitInfo with a signed act, remove per file: a removal by retention
//! records/_delta_log/00000000000000000015.json   commitInfo, metaData: more columns, before the first file that has them
//! ```
//! Reader version 1, writer version 2 (`delta.appendOnly`): any Delta reader reads it. Log clean-up is off, because leaf N of the Merkle log
//! is the bytes of commit N and an auditor wants to see them years later. A removal is the one exception to `delta.appendOnly`, which keeps other
//! programs from deleting: it says `dataChange`, because it does change what the table holds.

use crate::offsets::{Range, Source};
use crate::retention::SignedAct;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Names of the tags that this crate puts on a file.
pub mod tag {
    /// SHA-256 of the file, hex.
    pub const SHA256: &str = "watchkeeper.sha256";
    /// Root over the file's records, hex; see [`crate::merkle::records`].
    pub const MERKLE_ROOT: &str = "watchkeeper.merkleRoot";
    /// What the file holds of each partition: `topic/partition:first-last:rows`, joined with commas.
    pub const RANGES: &str = "watchkeeper.ranges";
    /// How many records of each kind: `kind:rows`, joined with commas.
    pub const KINDS: &str = "watchkeeper.kinds";
    /// The order of the rows, when it is not that of time; see [`crate::layout::Order`].
    pub const ORDER: &str = "watchkeeper.order";
    /// The value of [`ORDER`] in a file that a compaction wrote.
    pub const SESSION: &str = "session";
    /// Fingerprint of the schema that the file's records were written with, hex, when it is not the first that was released.
    pub const SCHEMA: &str = "watchkeeper.schema";
    /// Where in the file its roll-ups are, when it has any; see [`crate::rollup`].
    pub const ROLLUPS: &str = "watchkeeper.rollups";
    /// In a checkpoint: the commit that brought the file.
    pub const VERSION: &str = "watchkeeper.version";
}

/// What this program can do as a reader of Delta tables.
pub(crate) const READER_VERSION: u64 = 1;
/// What it can do as a writer.
pub(crate) const WRITER_VERSION: u64 = 2;

/// One line of a commit.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Action {
    CommitInfo(CommitInfo),
    Protocol(Value),
    MetaData(MetaData),
    Txn(Txn),
    Add(Add),
    Remove(Remove),
    /// Something that this table never writes; a foreign writer may.
    #[serde(skip)]
    Other(String),
}

/// Who made a commit, and which offsets of the log it accounts for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommitInfo {
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// WRITE, OPTIMIZE, DELETE, SET LEGAL HOLD, ADD COLUMNS or CREATE TABLE.
    pub operation: String,
    /// For other readers.
    #[serde(default)]
    pub operation_parameters: BTreeMap<String, String>,
    /// For other readers.
    #[serde(default)]
    pub is_blind_append: bool,
    /// This program and its version.
    #[serde(default)]
    pub engine_info: String,
    /// What only this table has.
    pub watchkeeper: Option<Provenance>,
}

/// What a commit of ours says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Provenance {
    /// Tells this commit from one that another writer put under the same number.
    pub commit_id: String,
    /// The offsets it accounts for.
    pub ranges: Vec<Range>,
    /// What it has rearranged; see [`crate::compact`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arrangement: Option<Arrangement>,
    /// What a person has decided about the lake; see [`crate::retention`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Box<SignedAct>>,
}

/// What a commit that rearranges says of the records: the same are in the files it adds as in those it takes out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Arrangement {
    /// How many there are.
    pub records: u64,
    /// Root over their leaves in ascending order, hex; see [`crate::compact::records_digest`].
    pub digest: String,
}

/// The table's identity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MetaData {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) format: Value,
    pub(crate) schema_string: String,
    pub(crate) partition_columns: Vec<String>,
    pub(crate) created_time: i64,
    pub(crate) configuration: BTreeMap<String, String>,
}

/// How far a partition has been read, as Delta's application transactions say it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Txn {
    /// `topic/partition`.
    pub(crate) app_id: String,
    /// The next offset.
    pub(crate) version: i64,
    pub(crate) last_updated: i64,
}

/// A file of the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Add {
    pub(crate) path: String,
    pub(crate) partition_values: BTreeMap<String, String>,
    pub(crate) size: u64,
    pub(crate) modification_time: i64,
    pub(crate) data_change: bool,
    pub(crate) stats: Option<String>,
    #[serde(default)]
    pub(crate) tags: BTreeMap<String, String>,
}

/// A file that is no longer part of the table: its records are in another one and it stays where it is, or they were removed by a signed act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Remove {
    pub(crate) path: String,
    /// Milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) deletion_timestamp: Option<i64>,
    #[serde(default)]
    pub(crate) data_change: bool,
}

/// Writes the lines of a commit.
pub(crate) fn write(actions: &[Action]) -> Vec<u8> {
    let mut out = Vec::with_capacity(4096);
    for action in actions {
        serde_json::to_writer(&mut out, action).expect("actions have no keys but strings, and a Vec takes all bytes");
        out.push(b'\n');
    }
    out
}

/// Reads the lines of a commit.
pub(crate) fn read(bytes: &[u8]) -> Result<Vec<Action>, serde_json::Error> {
    let mut actions = Vec::new();
    for line in bytes.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
        let object: BTreeMap<String, Value> = serde_json::from_slice(line)?;
        for (name, value) in object {
            actions.push(match name.as_str() {
                "commitInfo" => Action::CommitInfo(serde_json::from_value(value)?),
                "protocol" => Action::Protocol(value),
                "metaData" => Action::MetaData(serde_json::from_value(value)?),
                "txn" => Action::Txn(serde_json::from_value(value)?),
                "add" => Action::Add(serde_json::from_value(value)?),
                "remove" => Action::Remove(serde_json::from_value(value)?),
                _ => Action::Other(name),
            });
        }
    }
    Ok(actions)
}

/// The first commit of a table.
pub(crate) fn create(id: &str, commit_id: &str, at_ms: i64) -> Vec<Action> {
    let configuration = [
        ("delta.appendOnly", "true"),
        ("delta.enableExpiredLogCleanup", "false"),
        // A hundred years: the bytes of every commit are evidence.
        ("delta.logRetentionDuration", "interval 36500 days"),
        ("delta.deletedFileRetentionDuration", "interval 36500 days"),
    ];
    vec![
        Action::CommitInfo(info("CREATE TABLE", commit_id, at_ms, Vec::new())),
        Action::Protocol(serde_json::json!({"minReaderVersion": READER_VERSION, "minWriterVersion": WRITER_VERSION})),
        Action::MetaData(MetaData {
            id: id.to_owned(),
            name: "records".into(),
            description: "What AI agents did, as recorded by Watchkeeper".into(),
            format: serde_json::json!({"provider": "parquet", "options": {}}),
            schema_string: crate::rows::Columns::ours().to_delta(),
            partition_columns: vec![crate::rows::DAY.into()],
            created_time: at_ms,
            configuration: configuration.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        }),
    ]
}

/// What a commit says of itself.
pub(crate) fn info(operation: &str, commit_id: &str, at_ms: i64, ranges: Vec<Range>) -> CommitInfo {
    let parameters = match operation {
        "WRITE" => BTreeMap::from([("mode".to_owned(), "Append".to_owned())]),
        _ => BTreeMap::new(),
    };
    CommitInfo {
        timestamp: at_ms,
        operation: operation.to_owned(),
        operation_parameters: parameters,
        is_blind_append: operation == "WRITE",
        engine_info: concat!("watchkeeper/", env!("CARGO_PKG_VERSION")).to_owned(),
        watchkeeper: Some(Provenance { commit_id: commit_id.to_owned(), ranges, arrangement: None, act: None }),
    }
}

/// What a commit says of itself that only rearranges.
pub(crate) fn rearranged(commit_id: &str, at_ms: i64, arrangement: Arrangement) -> CommitInfo {
    let info = info("OPTIMIZE", commit_id, at_ms, Vec::new());
    let watchkeeper = info.watchkeeper.map(|ours| Provenance { arrangement: Some(arrangement), ..ours });
    CommitInfo { watchkeeper, ..info }
}

/// The commit that gives the table more columns.
pub(crate) fn widen(meta: &MetaData, columns: &crate::rows::Columns, commit_id: &str, at_ms: i64) -> Vec<Action> {
    let meta = MetaData { schema_string: columns.to_delta(), ..meta.clone() };
    vec![Action::CommitInfo(info("ADD COLUMNS", commit_id, at_ms, Vec::new())), Action::MetaData(meta)]
}

/// How far a partition has been read, after a range.
pub(crate) fn txn(range: &Range, at_ms: i64) -> Txn {
    Txn { app_id: range.source().to_string(), version: range.next, last_updated: at_ms }
}

/// The source that a `txn` speaks of; `None` for one of a foreign writer.
pub(crate) fn txn_source(txn: &Txn) -> Option<Source> {
    Source::parse(&txn.app_id)
}
