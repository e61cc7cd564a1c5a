//! Objects under one root: put, put if absent, get, list. What was put is durable when the call returns.
//!
//! On an object store this is `object_store`'s own promise. On a local disk it is not: `LocalFileSystem` writes and links without
//! `fsync`, so a power cut can leave an empty file under a final name. Here a local put writes a staging file, syncs it, links or renames it
//! to its name, and syncs the folder, and every folder that was made on the way.
//!
//! ```text
//! put_new   staging file -> fsync -> hard link (fails when the name is taken) -> unlink staging -> fsync folder
//! put       staging file -> fsync -> rename                                    -> fsync folder
//! ```
//! Staging files end in `#` and a number: `LocalFileSystem` hides such names when it lists.

use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload};
use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Objects under one root.
#[derive(Debug, Clone)]
pub struct Files {
    store: Arc<dyn ObjectStore>,
    local: Option<Arc<Local>>,
}

#[derive(Debug)]
struct Local {
    root: PathBuf,
}

/// Tells the staging files of this process apart.
static STAGED: AtomicU64 = AtomicU64::new(0);

/// What became of [`Files::put_new`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutNew {
    /// The object is there now, and is durable.
    Created,
    /// An object of that name was there; it has not been touched.
    Taken,
}

/// An object could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// It could not be written, or it is unknown whether it was.
    #[error("failed to write `{path}`")]
    Write {
        /// The object.
        path: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It could not be read.
    #[error("failed to read `{path}`")]
    Read {
        /// The object.
        path: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl FilesError {
    fn write(path: &ObjectPath, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Write { path: path.to_string(), source: source.into() }
    }

    fn read(path: &ObjectPath, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Read { path: path.to_string(), source: source.into() }
    }
}

impl Files {
    /// A folder on this machine; it is made when it is not there.
    ///
    /// # Errors
    /// [`FilesError::Write`] when it cannot be made.
    pub fn local(root: &Path) -> Result<Self, FilesError> {
        make_dirs(root).map_err(|e| FilesError::Write { path: root.display().to_string(), source: e.into() })?;
        Self::existing(root)
    }

    /// A folder on this machine that is there already.
    ///
    /// # Errors
    /// [`FilesError::Read`] when it is not.
    pub fn existing(root: &Path) -> Result<Self, FilesError> {
        let read = |source| FilesError::Read { path: root.display().to_string(), source };
        let root = root.canonicalize().map_err(|e| read(e.into()))?;
        let store = LocalFileSystem::new_with_prefix(&root).map_err(|e| read(e.into()))?;
        Ok(Self { store: Arc::new(store), local: Some(Arc::new(Local { root })) })
    }

    /// Any store that puts if absent.
    #[must_use]
    pub fn on(store: Arc<dyn ObjectStore>) -> Self {
        Self { store, local: None }
    }

    /// The store itself, for readers.
    #[must_use]
    pub fn store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.store)
    }

    /// The folder, when it is one on this machine.
    #[must_use]
    pub fn root(&self) -> Option<&Path> {
        self.local.as_deref().map(|l| l.root.as_path())
    }

    /// Puts an object under a name that must be free.
    ///
    /// # Errors
    /// [`FilesError::Write`]: the object may or may not be there.
    pub async fn put_new(&self, path: &ObjectPath, bytes: Bytes) -> Result<PutNew, FilesError> {
        if self.local.is_some() {
            return self.put_local(path, bytes, true).await;
        }
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.store.put_opts(path, PutPayload::from_bytes(bytes), options).await {
            Ok(_) => Ok(PutNew::Created),
            Err(e @ (object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. })) => {
                // S3 also refuses while somebody else writes that name, and what they write may yet fail.
                match self.store.head(path).await {
                    Ok(_) => Ok(PutNew::Taken),
                    Err(object_store::Error::NotFound { .. }) => Err(FilesError::write(path, e)),
                    Err(unknown) => Err(FilesError::write(path, unknown)),
                }
            }
            Err(e) => Err(FilesError::write(path, e)),
        }
    }

    /// Puts an object, replacing what is there.
    ///
    /// # Errors
    /// [`FilesError::Write`]: the old object or the new one is there, never a mixture.
    pub async fn put(&self, path: &ObjectPath, bytes: Bytes) -> Result<(), FilesError> {
        if self.local.is_some() {
            return self.put_local(path, bytes, false).await.map(drop);
        }
        self.store.put(path, PutPayload::from_bytes(bytes)).await.map(drop).map_err(|e| FilesError::write(path, e))
    }

    /// Reads an object; `None` when there is none.
    ///
    /// # Errors
    /// [`FilesError::Read`].
    pub async fn get(&self, path: &ObjectPath) -> Result<Option<Bytes>, FilesError> {
        match self.store.get(path).await {
            Ok(found) => found.bytes().await.map(Some).map_err(|e| FilesError::read(path, e)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(FilesError::read(path, e)),
        }
    }

    /// Lists every object under `prefix`, by name.
    ///
    /// # Errors
    /// [`FilesError::Read`].
    pub async fn list(&self, prefix: &ObjectPath) -> Result<Vec<ObjectMeta>, FilesError> {
        let mut found: Vec<ObjectMeta> =
            self.store.list(Some(prefix)).try_collect().await.map_err(|e| FilesError::read(prefix, e))?;
        found.sort_by(|a, b| a.location.cmp(&b.location));
        Ok(found)
    }

    /// Lists every object under `prefix` whose name comes after `after`, by name.
    ///
    /// # Errors
    /// [`FilesError::Read`].
    pub async fn list_after(&self, prefix: &ObjectPath, after: &ObjectPath) -> Result<Vec<ObjectMeta>, FilesError> {
        let mut found: Vec<ObjectMeta> = self
            .store
            .list_with_offset(Some(prefix), after)
            .try_collect()
            .await
            .map_err(|e| FilesError::read(prefix, e))?;
        found.sort_by(|a, b| a.location.cmp(&b.location));
        Ok(found)
    }

    /// Removes an object: one that is there to be replaced by another, or that a signed act takes out of the lake. One that is not there is no error.
    ///
    /// # Errors
    /// [`FilesError::Write`].
    pub async fn remove(&self, path: &ObjectPath) -> Result<(), FilesError> {
        match self.store.delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(e) => Err(FilesError::write(path, e)),
        }
    }

    async fn put_local(&self, path: &ObjectPath, bytes: Bytes, new: bool) -> Result<PutNew, FilesError> {
        let local = Arc::clone(self.local.as_ref().expect("the caller has looked"));
        let (place, name) = (local.root.join(path.as_ref()), path.clone());
        let number = STAGED.fetch_add(1, Ordering::Relaxed);
        tokio::task::spawn_blocking(move || put_durably(&place, number, &bytes, new))
            .await
            .map_err(|e| FilesError::write(&name, e))?
            .map_err(|e| FilesError::write(&name, e))
    }
}

fn put_durably(place: &Path, number: u64, bytes: &[u8], new: bool) -> std::io::Result<PutNew> {
    let folder = place.parent().ok_or_else(|| std::io::Error::other("an object has a folder"))?;
    make_dirs(folder)?;
    let mut staging = place.as_os_str().to_owned();
    // The process id keeps two writers on one folder apart; what a crash leaves behind is overwritten or swept.
    staging.push(format!("#{}{number:06}", std::process::id()));
    let staging = PathBuf::from(staging);
    let result = stage(&staging, bytes).and_then(|()| {
        if new {
            match fs::hard_link(&staging, place) {
                Ok(()) => fs::remove_file(&staging).map(|()| PutNew::Created),
                Err(e) if e.kind() == ErrorKind::AlreadyExists => fs::remove_file(&staging).map(|()| PutNew::Taken),
                Err(e) => Err(e),
            }
        } else {
            fs::rename(&staging, place).map(|()| PutNew::Created)
        }
    });
    match result {
        Ok(put) => sync_dir(folder).map(|()| put),
        Err(e) => {
            if let Err(left) = fs::remove_file(&staging)
                && left.kind() != ErrorKind::NotFound
            {
                tracing::debug!(path = %staging.display(), error = %left, "staging file left behind");
            }
            Err(e)
        }
    }
}

fn stage(staging: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::create(staging)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes a folder and those above it, and syncs the folder above each new one.
fn make_dirs(folder: &Path) -> std::io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = folder.parent().filter(|p| !p.as_os_str().is_empty());
    if let Some(above) = above {
        make_dirs(above)?;
    }
    match fs::create_dir(folder) {
        Ok(()) => sync_dir(above.unwrap_or(Path::new("."))),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(e),
    }
}

fn sync_dir(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_name_is_not_touched_and_nothing_is_left_behind() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::local(dir.path()).unwrap();
        let path = ObjectPath::from("a/b/00.json");
        assert_eq!(files.put_new(&path, Bytes::from_static(b"one")).await.unwrap(), PutNew::Created);
        assert_eq!(files.put_new(&path, Bytes::from_static(b"two")).await.unwrap(), PutNew::Taken);
        assert_eq!(files.get(&path).await.unwrap().unwrap(), "one");
        files.put(&path, Bytes::from_static(b"three")).await.unwrap();
        assert_eq!(files.get(&path).await.unwrap().unwrap(), "three");
        assert_eq!(fs::read_dir(dir.path().join("a/b")).unwrap().count(), 1);
        assert_eq!(files.get(&ObjectPath::from("a/none")).await.unwrap(), None);
    }

    #[tokio::test]
    async fn of_many_that_put_the_same_name_one_succeeds() {
        let dir = tempfile::tempdir().unwrap();
        let path = ObjectPath::from("_delta_log/1.json");
        let puts = (0u8..16).map(|n| {
            let files = Files::local(dir.path()).unwrap();
            let path = path.clone();
            tokio::spawn(async move { files.put_new(&path, Bytes::from(vec![n])).await.unwrap() })
        });
        let put = futures::future::join_all(puts).await;
        assert_eq!(put.into_iter().filter(|p| *p.as_ref().unwrap() == PutNew::Created).count(), 1);
    }
}
