//! One commit: its text, its ranges, its files.

use super::arrangement;
use super::file;
use super::notebook::Noted;
use super::report::{Class, Finding};
use super::scope::Scope;
use super::seen::{InOrder, Seen};
use crate::delta::{self, Action, Add, Provenance};
use crate::files::{Files, FilesError};
use crate::lake::{DataFile, commit_path};
use crate::merkle::tree::leaf_hash;
use crate::offsets::Range;
use crate::retention::Acts;
use bytes::Bytes;
use object_store::path::Path as ObjectPath;
use std::collections::BTreeMap;
use std::sync::Arc;
use wk_schemas::{Digest, Schema};

/// What a commit and its files hold.
#[derive(Debug, Default)]
pub(super) struct Checked {
    pub(super) version: u64,
    /// Its leaf in the Merkle log.
    pub(super) leaf: Digest,
    pub(super) ranges: Vec<Range>,
    /// The records of its files that are in the scope.
    pub(super) seen: InOrder,
    /// Records read, those of files in the scope that are not in it themselves included.
    pub(super) read: u64,
    pub(super) valid_files: u64,
    /// Those of its files that were removed since, by an act that counts.
    pub(super) gone: Vec<DataFile>,
    /// The schemas that the records of its files were written with, as far as those were read.
    pub(super) schemas: Vec<Arc<Schema>>,
    /// All its files.
    pub(super) added: Vec<DataFile>,
    /// Whether it only rearranges.
    pub(super) rearranges: bool,
    /// The day that it removes up to a version, by an act that counts.
    pub(super) removes: Option<(String, u64)>,
    /// The paths of the files that it takes out of the table.
    pub(super) removed: Vec<String>,
    /// Records read in files that rearrange.
    pub(super) rearranged: u64,
    /// What was noted of its files, when they are the same bytes as then.
    pub(super) noted: Option<Noted>,
    /// What it says; `None` when it is not there or not readable.
    pub(super) actions: Option<Vec<Action>>,
    pub(super) findings: Vec<Finding>,
}

/// Checks one commit and those of its files that the scope needs; of what is noted of it, only whether the bytes are the same.
pub(super) async fn check(
    files: Files,
    version: u64,
    scope: Arc<Scope>,
    acts: Arc<Acts>,
    noted: Option<&Noted>,
) -> Result<Checked, FilesError> {
    let mut checked = Checked { version, ..Checked::default() };
    // That the commit is there, and whether its bytes are the signed ones, was found out before.
    let Some(bytes) = files.get(&commit_path(version)).await? else { return Ok(checked) };
    let mut invalid = |what: String| checked.findings.push(Finding::new(Class::Invalid, what).commit(version));
    let leaf = leaf_hash(&bytes);
    let actions = match delta::read(&bytes) {
        Ok(actions) => actions,
        Err(e) => {
            invalid(format!("not readable: {e}"));
            return Ok(checked);
        }
    };
    checked.actions = Some(actions.clone());
    let mut ours: Option<Provenance> = None;
    let mut txns = BTreeMap::new();
    let mut adds = Vec::new();
    let mut changes = 0;
    for action in actions {
        match action {
            Action::CommitInfo(info) => ours = info.watchkeeper,
            Action::Txn(txn) => drop(txns.insert(txn.app_id, txn.version)),
            Action::Add(add) => match DataFile::of(add.clone(), version) {
                Some(file) => {
                    changes += usize::from(add.data_change);
                    if delta_rows(&add) != Some(file.rows) {
                        invalid(format!("file `{}`: `numRecords` is not the number of its records", add.path));
                    }
                    adds.push(file);
                }
                None => invalid(format!("file `{}` does not carry what this table writes", add.path)),
            },
            Action::Remove(remove) => {
                changes += usize::from(remove.data_change);
                checked.removed.push(format!("records/{}", remove.path));
            }
            Action::Other(name) => invalid(format!("it holds a `{name}`, which this table never writes")),
            // What they say is followed from commit to commit, by `columns`.
            Action::Protocol(_) | Action::MetaData(_) => {}
        }
    }
    let arrangement = ours.as_mut().and_then(|ours| ours.arrangement.take());
    let removal = acts.removals().iter().find(|one| one.version == version).map(|one| &one.removal);
    checked.removes = removal.map(|removal| (removal.day.clone(), removal.up_to));
    match (&arrangement, &checked.removed[..]) {
        (None, [path, ..]) if checked.removes.is_none() => {
            let path = path.strip_prefix("records/").unwrap_or(path);
            invalid(format!("it takes `{path}` out of an append-only table"));
        }
        (Some(_), _) if changes > 0 => invalid("it rearranges, and says that it changes the table".into()),
        (Some(_), _) if !txns.is_empty() => invalid("it rearranges, and accounts for offsets".into()),
        _ => {}
    }
    let carries_act = ours.as_ref().is_some_and(|ours| ours.act.is_some());
    if carries_act && (!adds.is_empty() || !txns.is_empty() || arrangement.is_some()) {
        invalid("it carries an act, and adds files or accounts for offsets".into());
    }
    match ours {
        Some(ours) => checked.ranges = ours.ranges,
        None => invalid("it was not made by this program".into()),
    }
    let said: BTreeMap<String, i64> = checked.ranges.iter().map(|r| (r.source().to_string(), r.next)).collect();
    if said != txns {
        checked.findings.push(Finding::new(Class::Invalid, "its ranges and its transactions disagree").commit(version));
    }
    checked.added.clone_from(&adds);
    checked.rearranges = arrangement.is_some();
    let removed = |file: &DataFile| acts.removed(&file.day, file.version).is_some();
    checked.gone = adds.iter().filter(|file| removed(file)).cloned().collect();
    checked.leaf = leaf;
    if checked.rearranges && !checked.gone.is_empty() {
        return Ok(checked);
    }
    if let Some(noted) = noted.filter(|noted| checked.gone.is_empty() && noted.leaf == leaf.to_hex()) {
        checked.valid_files = noted.files;
        checked.read = noted.records;
        checked.rearranged = noted.rearranged;
        checked.noted = Some(noted.clone());
        for file in adds {
            if let Some((file, bytes)) = there(&files, file, &mut checked).await? {
                let other = blocking(&file.path.clone(), move || file::other_bytes(&file, &bytes)).await?;
                checked.findings.extend(other);
            }
        }
        return Ok(checked);
    }
    if let Some(said) = arrangement {
        arrangement::check(&files, said, &scope, &mut checked).await?;
        return Ok(checked);
    }
    let mut seen = Vec::new();
    for file in adds {
        if scope.has_file(&file) && !removed(&file) {
            seen.extend(read_file(&files, file, &scope, &mut checked).await?);
        }
    }
    checked.seen = InOrder::of(seen);
    Ok(checked)
}

/// What the statistics for other readers say of the number of records.
fn delta_rows(add: &Add) -> Option<u64> {
    serde_json::from_str::<serde_json::Value>(add.stats.as_deref()?).ok()?["numRecords"].as_u64()
}

/// Checks a file, if it is there; gives its records in the scope.
async fn read_file(
    files: &Files,
    file: DataFile,
    scope: &Arc<Scope>,
    checked: &mut Checked,
) -> Result<Option<Vec<Seen>>, FilesError> {
    let Some((file, bytes)) = there(files, file, checked).await? else { return Ok(None) };
    let scope = Arc::clone(scope);
    let content = blocking(&file.path.clone(), move || file::check(&file, &bytes, &scope)).await?;
    checked.valid_files += u64::from(content.findings.is_empty());
    checked.read += content.rows;
    checked.schemas.extend(content.schema);
    checked.findings.extend(content.findings);
    Ok(Some(content.seen))
}

/// The file and its bytes, if it is there.
async fn there(files: &Files, file: DataFile, checked: &mut Checked) -> Result<Option<(DataFile, Bytes)>, FilesError> {
    if let Some(bytes) = files.get(&ObjectPath::from(file.path.as_str())).await? {
        return Ok(Some((file, bytes)));
    }
    let held: Vec<String> =
        file.stats.held.iter().map(|h| format!("{} offsets {} to {}", h.source, h.first, h.last)).collect();
    checked.findings.push(
        Finding::new(Class::Missing, format!("the file is not there: {} records, {}", file.rows, held.join(", ")))
            .commit(file.version)
            .file(&file.path),
    );
    Ok(None)
}

/// Does what takes a processor where it holds nobody up; of the file at `path`.
async fn blocking<T: Send + 'static>(path: &str, work: impl FnOnce() -> T + Send + 'static) -> Result<T, FilesError> {
    let failed = |e: tokio::task::JoinError| FilesError::Read { path: path.to_owned(), source: e.into() };
    tokio::task::spawn_blocking(work).await.map_err(failed)
}
