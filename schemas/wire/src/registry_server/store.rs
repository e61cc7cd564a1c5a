//! The registry's schemas in one JSON file: written beside it under another name, synced, then renamed over it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

/// One version of one subject.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) id: i32,
    pub(super) version: i32,
    pub(super) schema: String,
}

#[derive(Debug, Clone, Default, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
struct Content {
    /// In the order of their versions.
    subjects: BTreeMap<String, Vec<Entry>>,
}

/// The schemas, in memory and in the file.
#[derive(Debug)]
pub(super) struct Store {
    file: PathBuf,
    content: Mutex<Content>,
}

/// Why the file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Reading or writing.
    #[error("failed to {doing} the schema registry `{}`", file.display())]
    File {
        /// `read` or `write`.
        doing: &'static str,
        /// The file.
        file: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// It is not what we wrote.
    #[error("the schema registry `{}` is damaged", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Where.
        #[source]
        source: serde_json::Error,
    },
}

impl Store {
    /// Reads the file; one that does not exist is an empty registry.
    pub(super) fn open(file: &Path) -> Result<Self, StoreError> {
        let content = match std::fs::read(file) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|source| StoreError::Damaged { file: file.to_owned(), source })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Content::default(),
            Err(source) => return Err(failed("read", file)(source)),
        };
        Ok(Self { file: file.to_owned(), content: Mutex::new(content) })
    }

    pub(super) fn subjects(&self) -> Vec<String> {
        self.lock().subjects.keys().cloned().collect()
    }

    pub(super) fn versions(&self, subject: &str) -> Vec<Entry> {
        let content = self.lock();
        content.subjects.get(subject).cloned().unwrap_or_default()
    }

    pub(super) fn schema(&self, id: i32) -> Option<String> {
        let content = self.lock();
        let found = content.subjects.values().flatten().find(|e| e.id == id);
        found.map(|entry| entry.schema.clone())
    }

    /// Makes `schema` the newest version of `subject`, unless it is one already, and returns its id. One schema has one id
    /// in all subjects, as in Confluent's registry. Returns once the file is on disk.
    pub(super) fn register(&self, subject: &str, schema: &str) -> Result<i32, StoreError> {
        let mut content = self.lock();
        let versions = content.subjects.get(subject);
        let known = versions.and_then(|v| v.iter().find(|entry| same(&entry.schema, schema)));
        if let Some(entry) = known {
            return Ok(entry.id);
        }
        let entries = || content.subjects.values().flatten();
        let id = entries()
            .find(|entry| same(&entry.schema, schema))
            .map(|entry| entry.id)
            .unwrap_or_else(|| entries().map(|entry| entry.id).max().unwrap_or(0) + 1);
        let version = versions.and_then(|v| v.last()).map_or(1, |e| e.version + 1);
        let mut next = content.clone();
        next.subjects.entry(subject.to_owned()).or_default().push(Entry { id, version, schema: schema.to_owned() });
        self.write(&next)?;
        *content = next;
        Ok(id)
    }

    fn write(&self, content: &Content) -> Result<(), StoreError> {
        let failed = failed("write", &self.file);
        let text = serde_json::to_vec_pretty(content).map_err(|error| failed(error.into()))?;
        let beside = self.file.with_extension("json.new");
        let folder = self.file.parent().unwrap_or(Path::new("."));
        // 1. The new content, whole, under another name. A crash here leaves a file that the next write replaces.
        let written = File::create(&beside).and_then(|mut file| {
            file.write_all(&text)?;
            file.sync_all()
        });
        // 2. Rename, which other readers see at once; the folder's sync makes it survive a loss of power.
        written
            .and_then(|()| std::fs::rename(&beside, &self.file))
            .and_then(|()| File::open(folder)?.sync_all())
            .map_err(failed)
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether two texts are the same JSON; key order matters no more than white space.
pub(super) fn same(one: &str, other: &str) -> bool {
    one == other
        || match (serde_json::from_str::<Value>(one), serde_json::from_str::<Value>(other)) {
            (Ok(one), Ok(other)) => one == other,
            _ => false,
        }
}

fn failed(doing: &'static str, file: &Path) -> impl Fn(std::io::Error) -> StoreError + use<> {
    let file = file.to_owned();
    move |source| StoreError::File { doing, file: file.clone(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_schema_has_one_id_in_every_subject_and_one_version_in_each() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("schemas.json")).unwrap();
        assert_eq!(store.register("a-value", r#""string""#).unwrap(), 1);
        assert_eq!(store.register("a-value", r#"  "string" "#).unwrap(), 1);
        assert_eq!(store.register("b-value", r#""string""#).unwrap(), 1);
        assert_eq!(store.register("a-value", r#""long""#).unwrap(), 2);
        assert_eq!(store.versions("a-value").len(), 2);
        assert_eq!(store.subjects(), ["a-value", "b-value"]);
    }

    #[test]
    fn reopened_store_holds_what_was_registered() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("schemas.json");
        let store = Store::open(&file).unwrap();
        let id = store.register("a-value", r#""string""#).unwrap();
        let reopened = Store::open(&file).unwrap();
        assert_eq!(reopened.schema(id).as_deref(), Some(r#""string""#));
        assert_eq!(reopened.register("a-value", r#""string""#).unwrap(), id);
    }

    #[test]
    fn damaged_file_is_refused_and_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("schemas.json");
        std::fs::write(&file, "{\"subjects\": {").unwrap();
        assert!(matches!(Store::open(&file), Err(StoreError::Damaged { .. })));
        assert_eq!(std::fs::read(&file).unwrap(), b"{\"subjects\": {");
    }

    #[test]
    fn failed_write_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("gone").join("schemas.json");
        let store = Store::open(&file).unwrap();
        assert!(store.register("a-value", r#""string""#).is_err());
        assert_eq!(store.subjects(), Vec::<String>::new());
    }
}
