//! The overlay itself: where its layers lie, and how this process comes to see it.
//!
//! ```text
//! <data>/sessions/<id>/workspace/base    what stood in the workspace at the start
//!                               /upper   what the session wrote, as overlayfs keeps it
//!                               /work    overlayfs's own
//!                               /where   the workspace's path
//! ```
//! The whole shim moves into a mount namespace in which the overlay lies on the workspace. So what it resolves, decides and does in
//! the agent's place is about the same files that the agent sees, under the same names, and nothing on the way is slower. The
//! original is not reachable there under any name but one descriptor of the shim's.

use super::changes::Changes;
use super::listing::Listing;
use crate::confine::{IdMaps, c_path};
use crate::mountinfo;
use crate::outbox::make_private;
use crate::sys::{child, fs as calls, process};
use std::ffi::{CString, OsStr};
use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The workspace cannot be put under an overlay; nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum EphemeralError {
    /// One lies in the other.
    #[error("the data folder `{data}` and the workspace `{workspace}` lie in each other; give --data or --workspace")]
    Nested {
        /// Where the session's own files lie.
        data: PathBuf,
        /// The workspace.
        workspace: PathBuf,
    },
    /// An overlay shows one file system only.
    #[error(
        "`{mount}` is mounted inside the workspace, and an overlay would not show it; unmount it, or choose a smaller workspace"
    )]
    MountInside {
        /// The mount.
        mount: PathBuf,
    },
    /// Namespaces are of the whole process or of none of it.
    #[error("an ephemeral workspace has to be entered before other threads run")]
    Threads,
    /// No namespace can be made.
    #[error(
        "an ephemeral workspace needs a mount namespace, for an ordinary user inside a user namespace, and none can be made here"
    )]
    NoNamespace {
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The kernel does not take the layers.
    #[error(
        "overlayfs cannot be mounted on `{workspace}` with its layers in `{folder}`: that needs Linux 5.11 or later with overlayfs, and a \
         data folder on a file system that is no overlay itself and keeps `user.` attributes (ext4, xfs, btrfs; tmpfs since 6.6)"
    )]
    NoOverlay {
        /// The workspace.
        workspace: PathBuf,
        /// Where the layers lie.
        folder: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Something else could not be done.
    #[error("the ephemeral workspace could not be made ready while {step}")]
    Step {
        /// What was being done.
        step: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

fn step(step: &'static str) -> impl FnOnce(io::Error) -> EphemeralError {
    move |source| EphemeralError::Step { step, source }
}

/// What a session wrote instead of its workspace, and where the workspace is.
#[derive(Debug)]
pub struct Overlay {
    folder: PathBuf,
    workspace: PathBuf,
    /// Once the overlay lies on it in this process's namespace.
    entered: Option<Entered>,
}

/// What a process keeps open as long as it works on an overlay.
#[derive(Debug)]
struct Entered {
    /// The original.
    lower: OwnedFd,
    /// Locked, so that others see that somebody works on it.
    _where: File,
}

/// The name of the folder in a session's own.
const FOLDER: &str = "workspace";

impl Overlay {
    /// Puts an overlay on `workspace` and moves this process into a namespace where it is seen. What is written there from now on
    /// goes to a folder in `session`. The working directory is entered again, so that it is the overlay's.
    ///
    /// # Errors
    /// [`EphemeralError`] says what is missing.
    pub fn enter(session: &Path, workspace: &Path) -> Result<Self, EphemeralError> {
        let workspace = workspace.canonicalize().map_err(step("finding the workspace"))?;
        make_private(session).map_err(step("making the session's folder"))?;
        let session = session.canonicalize().map_err(step("finding the session's folder"))?;
        if session.starts_with(&workspace) || workspace.starts_with(&session) {
            return Err(EphemeralError::Nested { data: session, workspace });
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(step("reading the mounts"))?;
        let mut mounts = mountinfo::places(mounts.as_bytes());
        if let Some(mount) = mounts.find(|mount| *mount != workspace && mount.starts_with(&workspace)) {
            return Err(EphemeralError::MountInside { mount });
        }
        let threads = fs::read_dir("/proc/self/task").map_err(step("counting the threads"))?.count();
        if threads != 1 {
            return Err(EphemeralError::Threads);
        }
        let folder = session.join(FOLDER);
        make_private(&folder).map_err(step("making the layers"))?;
        let made = Self::lay(&folder, &workspace);
        if made.is_err() {
            remove_tree(&folder).ok();
        }
        Ok(Self { entered: Some(made?), folder, workspace })
    }

    /// The overlay of a session that is over; `None` when it had none, or it was applied or discarded.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of(session: &Path) -> io::Result<Option<Self>> {
        let folder = session.join(FOLDER);
        match fs::read(folder.join("where")) {
            Ok(path) => Ok(Some(Self { folder, workspace: PathBuf::from(OsStr::from_bytes(&path)), entered: None })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The folder that the session works in, or worked in.
    #[must_use]
    pub fn workspace(&self) -> &Path {
        &self.workspace
    }

    /// Where the layers lie, and what else is kept until they are applied or discarded.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether the session still works on it.
    ///
    /// # Errors
    /// When that cannot be found out.
    pub fn is_in_use(&self) -> io::Result<bool> {
        match File::open(self.folder.join("where"))?.try_lock() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// What the session changed so far.
    ///
    /// # Errors
    /// Names what cannot be read.
    pub fn changes(&self) -> io::Result<Changes> {
        Changes::find(&self.upper(), &self.original(), &self.base()?)
    }

    /// Where a changed file's new content lies.
    #[must_use]
    pub fn written(&self, path: &Path) -> PathBuf {
        self.upper().join(path)
    }

    /// Where the original is reached from this process.
    #[must_use]
    pub fn original(&self) -> PathBuf {
        match &self.entered {
            Some(entered) => PathBuf::from(format!("/proc/self/fd/{}/.", entered.lower.as_raw_fd())),
            None => self.workspace.clone(),
        }
    }

    /// Forgets everything that the session wrote. The original is not touched.
    ///
    /// # Errors
    /// Names what cannot be removed.
    pub fn discard(&self) -> io::Result<()> {
        // What says that there is an overlay goes first: half of one is never taken for a whole.
        fs::remove_file(self.folder.join("where"))?;
        remove_tree(&self.folder)
    }

    pub(super) fn upper(&self) -> PathBuf {
        self.folder.join("upper")
    }

    pub(super) fn base(&self) -> io::Result<Listing> {
        Listing::load(&self.folder.join("base"))
    }

    /// Makes the layers and mounts them.
    fn lay(folder: &Path, workspace: &Path) -> Result<Entered, EphemeralError> {
        let (upper, work) = (folder.join("upper"), folder.join("work"));
        let open = |path: &Path| c_path(path).and_then(|path| calls::open(&path, libc::O_PATH | libc::O_DIRECTORY));
        let base = Listing::of(workspace).map_err(step("listing the workspace"))?;
        base.save(&folder.join("base")).map_err(step("keeping the list of the workspace"))?;
        fs::create_dir(&upper).and_then(|()| fs::create_dir(&work)).map_err(step("making the layers"))?;
        let found = fs::metadata(workspace).map_err(step("looking at the workspace"))?;
        // The upper layer's own folder is what is seen in the workspace's place.
        if process::effective_user() == 0 {
            std::os::unix::fs::chown(&upper, Some(found.uid()), Some(found.gid()))
                .map_err(step("giving the layer away"))?;
        }
        let mode = fs::Permissions::from_mode(found.mode() & 0o7777);
        fs::set_permissions(&upper, mode).map_err(step("opening the layer"))?;
        let target = c_path(workspace).map_err(step("naming the workspace"))?;
        let flags = calls::mount_flags(&target).map_err(step("looking at the workspace's mount"))?;
        let own_user = leave().map_err(|source| EphemeralError::NoNamespace { source })?;
        calls::mount(c"none", c"/", c"", libc::MS_REC | libc::MS_SLAVE, c"")
            .map_err(step("leaving the host's mounts"))?;
        // Opened in the new namespace: a layer that is reached through a mount of another one is not taken.
        let layers = [workspace, &upper, &work].map(open);
        let [lower, upper, work] = layers;
        let opened = "opening the layers";
        let (lower, upper, work) =
            (lower.map_err(step(opened))?, upper.map_err(step(opened))?, work.map_err(step(opened))?);
        // Descriptors instead of paths: a path may hold what separates options.
        let by_number = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
        let options = format!(
            "lowerdir={},upperdir={},workdir={},userxattr",
            by_number(&lower),
            by_number(&upper),
            by_number(&work)
        );
        let options = CString::new(options).expect("numbers hold no zero byte");
        calls::mount(c"watchkeeper", &target, c"overlay", flags | libc::MS_NOSUID | libc::MS_NODEV, &options).map_err(
            |source| EphemeralError::NoOverlay { workspace: workspace.to_owned(), folder: folder.to_owned(), source },
        )?;
        if own_user {
            // They were for the mount only.
            child::capabilities()
                .and_then(|all| child::set_capabilities(all.without(u64::MAX)))
                .map_err(step("giving the namespace's capabilities up"))?;
        }
        let here = std::env::current_dir().map_err(step("finding the working directory"))?;
        std::env::set_current_dir(here).map_err(step("entering the working directory again"))?;
        // Last of all: until it is there, no session has worked on these layers.
        let mut place = File::create(folder.join("where")).map_err(step("naming the workspace"))?;
        place.lock().map_err(step("saying that the layers are in use"))?;
        place.write_all(workspace.as_os_str().as_bytes()).map_err(step("naming the workspace"))?;
        Ok(Entered { lower, _where: place })
    }
}

/// Moves this process into a mount namespace of its own; whether that took a user namespace, too.
fn leave() -> io::Result<bool> {
    if process::effective_user() == 0 && process::unshare(libc::CLONE_NEWNS).is_ok() {
        return Ok(false);
    }
    let maps = IdMaps::identity();
    process::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS)?;
    maps.write()?;
    Ok(true)
}

/// Removes a folder and all below it, also what its own user may not enter: overlayfs makes such folders, and agents can.
pub(super) fn remove_tree(folder: &Path) -> io::Result<()> {
    // Opened for good: it goes, and all below it has to be reached through it.
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    fs::remove_dir(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_removed_with_folders_that_nobody_may_enter() {
        let folder = tempfile::tempdir().unwrap();
        let closed = folder.path().join("a/closed");
        fs::create_dir_all(closed.join("b")).unwrap();
        fs::write(closed.join("b/file"), "").unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
        remove_tree(&folder.path().join("a")).unwrap();
        assert!(!folder.path().join("a").exists());
    }
}
