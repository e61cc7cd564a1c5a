//! Delta checkpoints, which sum up the commits so that readers need not read them all.
//!
//! No leaf of the Merkle log is over a checkpoint, and yet every reader of the table begins with the newest one: whoever can write to the
//! disk could leave a file out of it, and its records would be gone for everybody who asks a question, while commits and files stay as they
//! were signed. So each checkpoint is held against the commits up to its version.

use super::report::{Class, Finding, Report};
use crate::checkpoint::{self, Last, State, add_version};
use crate::delta::{Action, Add, tag};
use crate::files::{Files, FilesError};
use crate::lake::Version;
use arrow::array::AsArray as _;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The checkpoints that are there, and the table as the commits read so far make it.
#[derive(Debug, Default)]
pub(super) struct Derived {
    /// Those that are still to be compared.
    waiting: BTreeSet<Version>,
    /// How many actions those hold that have been compared.
    sizes: BTreeMap<Version, usize>,
    last: Option<Bytes>,
    state: State,
    next: Version,
    /// A commit is missing or unreadable, which is reported as such: what follows is not known.
    broken: bool,
}

impl Derived {
    /// Notes which checkpoints are there. Before the commits are read: a checkpoint comes after them.
    pub(super) async fn list(files: &Files, listed: &[String]) -> Result<Self, FilesError> {
        let version = |path: &String| {
            path.strip_prefix("records/_delta_log/")?.strip_suffix(".checkpoint.parquet")?.parse::<Version>().ok()
        };
        let waiting = listed.iter().filter_map(version).collect();
        Ok(Self { waiting, last: files.get(&checkpoint::last_path()).await?, ..Self::default() })
    }

    /// Takes the next commit, and compares the checkpoint of its version if there is one.
    pub(super) async fn take(
        &mut self,
        files: &Files,
        version: Version,
        actions: Option<Vec<Action>>,
        report: &mut Report,
    ) -> Result<(), FilesError> {
        self.broken |= version != self.next || actions.is_none();
        self.next = version + 1;
        if self.broken || self.waiting.is_empty() {
            return Ok(());
        }
        self.state.apply(version, actions.unwrap_or_default());
        if !self.waiting.remove(&version) {
            return Ok(());
        }
        let path = checkpoint::checkpoint_path(version);
        let Some(bytes) = files.get(&path).await? else { return Ok(()) };
        let mut invalid = |what: String| report.findings.push(Finding::new(Class::Invalid, what).file(path.as_ref()));
        match checkpoint::decode(bytes.clone()).and_then(|actions| Ok((actions, foreign(bytes)?))) {
            Err(e) => invalid(format!("not readable as a checkpoint of this table: {}", chain(&e))),
            Ok((actions, foreign)) => {
                self.sizes.insert(version, actions.len());
                for column in foreign {
                    invalid(format!("it has values of `{column}`, which this table never writes"));
                }
                differences(&self.state, version, actions).into_iter().for_each(invalid);
            }
        }
        Ok(())
    }

    /// Reports checkpoints of commits that are not there, and a pointer to another checkpoint than those.
    pub(super) async fn finish(self, files: &Files, report: &mut Report) -> Result<(), FilesError> {
        for version in self.waiting.range(self.next..) {
            let what =
                format!("it sums up commits up to {version}, and there is none after {}", self.next.saturating_sub(1));
            let path = checkpoint::checkpoint_path(*version);
            report.findings.push(Finding::new(Class::Invalid, what).file(path.as_ref()));
        }
        let Some(last) = &self.last else { return Ok(()) };
        let mut invalid = |what: String| {
            let path = checkpoint::last_path();
            report.findings.push(Finding::new(Class::Invalid, what).file(path.as_ref()));
        };
        let Ok(Last { version, size }) = serde_json::from_slice(last) else {
            invalid("it does not say which checkpoint is the newest".into());
            return Ok(());
        };
        if !self.sizes.contains_key(&version) && files.get(&checkpoint::checkpoint_path(version)).await?.is_none() {
            invalid(format!("it names checkpoint {version}, which is not there"));
        } else if self.sizes.get(&version).is_some_and(|held| *held != size) {
            invalid(format!(
                "it says that checkpoint {version} holds {size} actions, which holds {}",
                self.sizes[&version]
            ));
        }
        let others: BTreeMap<String, Value> = serde_json::from_slice(last).unwrap_or_default();
        for key in ["parts", "v2Checkpoint", "checkpointSchema"].iter().filter(|k| others.contains_key(**k)) {
            invalid(format!("it holds `{key}`, which this table never writes"));
        }
        Ok(())
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |e| e.source()).fold(error.to_string(), |text, e| format!("{text}: {e}"))
}

/// Columns, and members of columns, that hold something and are none of this table's.
fn foreign(bytes: Bytes) -> Result<BTreeSet<String>, checkpoint::CheckpointError> {
    let known = checkpoint::schema();
    let mut found = BTreeSet::new();
    for batch in ParquetRecordBatchReaderBuilder::try_new(bytes)?.build()? {
        let batch = batch?;
        for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            let holds = |array: &dyn arrow::array::Array| array.logical_null_count() < array.len();
            let ours = known.field_with_name(field.name()).ok();
            let (Some(ours), Some(members)) = (ours, column.as_struct_opt()) else {
                found.extend(holds(column).then(|| field.name().clone()));
                continue;
            };
            let arrow::datatypes::DataType::Struct(ours) = ours.data_type() else { continue };
            for (member, values) in members.fields().iter().zip(members.columns()) {
                if ours.find(member.name()).is_none() && holds(values) {
                    found.insert(format!("{}.{}", field.name(), member.name()));
                }
            }
        }
    }
    Ok(found)
}

/// What a reader is told of a file: partition, size, time, statistics, tags.
type Told = (BTreeMap<String, String>, u64, i64, Option<Value>, BTreeMap<String, String>);

fn told(add: &Add) -> Told {
    // Other writers may set the members of the statistics in another order.
    let stats = add.stats.as_deref().map(|text| serde_json::from_str(text).unwrap_or(Value::Null));
    let mut tags = add.tags.clone();
    tags.remove(tag::VERSION);
    (add.partition_values.clone(), add.size, add.modification_time, stats, tags)
}

/// In what a checkpoint at a version differs from the commits up to it, in sentences. Pure.
fn differences(state: &State, version: Version, actions: Vec<Action>) -> Vec<String> {
    let mut found = Vec::new();
    let expected: BTreeMap<&str, &Add> = state.adds.values().map(|add| (add.path.as_str(), add)).collect();
    let mut seen = BTreeSet::new();
    let (mut twice, mut invented, mut other) = (Vec::new(), Vec::new(), Vec::new());
    for add in actions.iter().filter_map(|action| if let Action::Add(add) = action { Some(add) } else { None }) {
        if !seen.insert(add.path.as_str()) {
            twice.push(add.path.as_str());
        }
        match expected.get(add.path.as_str()) {
            None => invented.push(add.path.as_str()),
            Some(commit) => {
                let names_its_commit = !add.tags.contains_key(tag::VERSION) || add_version(add) == add_version(commit);
                if told(add) != told(commit) || !names_its_commit {
                    other.push(add.path.as_str());
                }
            }
        }
    }
    let left_out: Vec<&str> = expected.keys().copied().filter(|path| !seen.contains(path)).collect();
    let mut say = |paths: &[&str], what: &str| {
        if let Some(first) = paths.first() {
            found.push(format!("{what}: {} of them, the first `{first}`", paths.len()));
        }
    };
    say(&left_out, "it leaves out files that the commits add");
    say(&invented, "it has files that no commit up to it adds");
    say(&twice, "it has files twice");
    say(&other, "it says other things of files than their commits do");
    let mut said = State::default();
    said.apply(version, actions);
    if said.protocol.as_ref().is_none_or(|p| Some(versions(p)) != state.protocol.as_ref().map(versions)) {
        found.push("it has another protocol than the commits".into());
    }
    if said.meta != state.meta {
        found.push("it has another schema or other properties of the table than the commits".into());
    }
    let read = |state: &State| -> BTreeMap<String, i64> {
        state.txns.values().map(|txn| (txn.app_id.clone(), txn.version)).collect()
    };
    if read(&said) != read(state) {
        found.push("it says other things than the commits of how far the log has been read".into());
    }
    found
}

/// Which readers and writers a protocol asks for, and with which features.
fn versions(protocol: &Value) -> [Option<&Value>; 4] {
    ["minReaderVersion", "minWriterVersion", "readerFeatures", "writerFeatures"].map(|key| protocol.get(key))
}
