//! The folder of an embedded log, and the lock that lets one process have it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use super::EmbeddedError;
use crate::in_use;

/// An open folder. The lock goes with it, also when the process is killed.
#[derive(Debug)]
pub(super) struct Folder {
    dir: PathBuf,
    handle: File,
    _lock: File,
}

impl Folder {
    /// Makes the folder if need be (for nobody but its owner) and takes its lock.
    pub(super) fn open(dir: &Path) -> Result<Self, EmbeddedError> {
        let failed = |source| EmbeddedError::Folder { dir: dir.to_owned(), source };
        make(dir).map_err(failed)?;
        let dir = dir.canonicalize().map_err(failed)?;
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(dir.join("lock"))
            .map_err(failed)?;
        match in_use::lock(&lock) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = holder(&mut lock);
                return Err(EmbeddedError::InUse { dir, holder });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        lock.set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .map_err(failed)?;
        let handle = File::open(&dir).map_err(failed)?;
        Ok(Self { dir, handle, _lock: lock })
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Another path to the folder, of plain letters whatever the folder is called; good while this is open.
    #[cfg(unix)]
    pub(super) fn plain_path(&self, name: &str) -> PathBuf {
        use std::os::fd::AsRawFd as _;
        let folder = format!("/proc/self/fd/{}", self.handle.as_raw_fd());
        Path::new(&folder).join(name)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

fn holder(lock: &mut File) -> String {
    let mut text = String::new();
    match lock.read_to_string(&mut text) {
        Ok(_) if !text.trim().is_empty() => format!("process {}", text.trim()),
        _ => "another process".to_owned(),
    }
}

fn make(dir: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}
