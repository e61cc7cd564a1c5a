//! Carries what a session changed into the original: all of it, or nothing.
//!
//! ```text
//! 1 check       every name that will change is still what it was when the session began
//! 2 stage       new content, complete and synced, under <workspace>/.watchkeeper-apply/new; the plan beside it
//! 3 switch      old things are renamed to …/old, new ones into place; each is looked at again as it is moved
//! 4 finish      the staging folder is removed
//! ```
//! Whatever fails before 4 is undone, last step first. A crash in 3 leaves the plan, and whoever comes next undoes from it: whether
//! a step was taken can be seen from what lies where. So the layers of the session are needed until the end, and stay until then.

use super::changes::{Changes, State, within_reach};
use super::listing::{Kind, Listing, Meta, look};
use super::overlay::{Overlay, remove_tree};
use crate::confine::c_path;
use crate::sys::fs as calls;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, FileTimes, Permissions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

/// Nothing was applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Somebody else changed the same things meanwhile.
    #[error("nothing was applied: {} changed in the workspace since the session began", list(.0))]
    Conflict(
        /// The names, relative to the workspace.
        Vec<PathBuf>,
    ),
    /// Something could not be read or written.
    #[error("nothing was applied: `{path}`")]
    Io {
        /// Where.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Something could not be written, and what was done before it could not be undone, either.
    #[error("applying was interrupted, and could not be undone: what is missing lies in `{staging}`")]
    Stuck {
        /// The staging folder.
        staging: PathBuf,
        /// Why it could not be undone.
        #[source]
        source: io::Error,
    },
}

fn list(paths: &[PathBuf]) -> String {
    let shown: Vec<_> = paths.iter().take(10).map(|path| format!("`{}`", path.display())).collect();
    let more = paths.len().saturating_sub(shown.len());
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}

/// The staging folder's name in the workspace.
const STAGING: &str = ".watchkeeper-apply";

/// One step of the switch. Paths are bytes, relative to the workspace; `n` names the step's files in `old` and `new`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Step {
    /// Moves what is there to `old/n`.
    TakeAway { path: Vec<u8>, n: usize },
    /// Moves `new/n`, which has this number in the file system, to where nothing is.
    Put { path: Vec<u8>, n: usize, inode: u64 },
    /// Swaps `new/n` with the file that is there.
    Swap { path: Vec<u8>, n: usize, inode: u64 },
    /// Sets a folder's permission bits.
    Mode { path: Vec<u8>, before: u32, after: u32 },
}

fn path_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes.to_vec()))
}

fn at<T>(path: &Path, result: io::Result<T>) -> Result<T, ApplyError> {
    result.map_err(|source| ApplyError::Io { path: path.to_owned(), source })
}

impl Overlay {
    /// Makes the original what the session made of it, all of it or nothing, and then forgets the overlay.
    ///
    /// # Errors
    /// [`ApplyError`]; the original is what it was, but for [`ApplyError::Stuck`].
    pub fn apply(&self, changes: &Changes) -> Result<(), ApplyError> {
        self.undo_interrupted()?;
        let base = at(self.workspace(), self.base())?;
        let conflicts = self.conflicts_with(changes, &base)?;
        if !conflicts.is_empty() {
            return Err(ApplyError::Conflict(conflicts));
        }
        let staging = self.workspace().join(STAGING);
        at(&staging, DirBuilder::new().mode(0o700).create(&staging))?;
        let switch = Switch { root: self.workspace(), staging: &staging, base: &base };
        let steps = match stage(self, &switch, changes) {
            Ok(steps) => steps,
            Err(error) => {
                drop(remove_tree(&staging));
                return Err(error);
            }
        };
        let done = steps.iter().try_for_each(|step| switch.take(step));
        if let Err(error) = done {
            switch.undo(&steps)?;
            return Err(error);
        }
        // From here on it is applied. What is left to do is to tidy up, and can be done again.
        let plan = switch.plan();
        at(&plan, fs::remove_file(&plan))?;
        let tidied = remove_tree(&staging).and_then(|()| self.discard());
        if let Err(error) = tidied {
            tracing::warn!(%error, "the changes were applied, but what they were made from could not be removed");
        }
        Ok(())
    }

    /// Undoes what a crash left half applied; nothing to do as a rule.
    ///
    /// # Errors
    /// [`ApplyError::Stuck`] when that fails.
    pub fn undo_interrupted(&self) -> Result<(), ApplyError> {
        let staging = self.workspace().join(STAGING);
        if !staging.is_dir() {
            return Ok(());
        }
        let base = Listing::default();
        let switch = Switch { root: self.workspace(), staging: &staging, base: &base };
        match fs::read(switch.plan()) {
            Ok(text) => {
                let stuck = |source| ApplyError::Stuck { staging: staging.clone(), source };
                let steps: Vec<Step> = serde_json::from_slice(&text).map_err(|error| stuck(error.into()))?;
                switch.undo(&steps)
            }
            // Not one step was taken, or all of them.
            Err(error) if error.kind() == io::ErrorKind::NotFound => at(&staging, remove_tree(&staging)),
            Err(source) => Err(ApplyError::Stuck { staging, source }),
        }
    }

    /// The names among `changes` that are no longer what they were when the session began.
    ///
    /// # Errors
    /// Names what cannot be looked at.
    pub fn conflicts(&self, changes: &Changes) -> Result<Vec<PathBuf>, ApplyError> {
        self.conflicts_with(changes, &at(self.workspace(), self.base())?)
    }

    fn conflicts_with(&self, changes: &Changes, base: &Listing) -> Result<Vec<PathBuf>, ApplyError> {
        let mut conflicts = Vec::new();
        for change in &changes.0 {
            let folders = change.path.ancestors().skip(1).filter(|path| !path.as_os_str().is_empty());
            let mut is_still = true;
            for path in std::iter::once(change.path.as_path()).chain(folders) {
                let whole = self.workspace().join(path);
                let now = at(&whole, look(&whole))?;
                is_still &= match (base.get(path), now) {
                    (Some(before), Some(now)) => before.is_still(&now),
                    (None, None) => true,
                    (Some(_), None) | (None, Some(_)) => false,
                };
            }
            if is_still && change.before.is_some_and(|b| b.kind == Kind::Folder) && !stays_a_folder(change.after) {
                // What somebody put into a folder that goes must not go with it.
                let whole = self.workspace().join(&change.path);
                for entry in at(&whole, fs::read_dir(&whole))? {
                    let path = change.path.join(at(&whole, entry)?.file_name());
                    is_still &= base.get(&path).is_some();
                }
            }
            if !is_still {
                conflicts.push(change.path.clone());
            }
        }
        Ok(conflicts)
    }
}

fn stays_a_folder(after: Option<State>) -> bool {
    after.is_some_and(|after| after.kind == Kind::Folder)
}

/// Writes everything new beside the workspace's own files, and the plan of the switch.
fn stage(overlay: &Overlay, switch: &Switch<'_>, changes: &Changes) -> Result<Vec<Step>, ApplyError> {
    for folder in [switch.fresh(), switch.old()] {
        at(&folder, fs::create_dir(&folder))?;
    }
    let (mut opened, mut away, mut there, mut modes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut linked: HashMap<(u64, u64), PathBuf> = HashMap::new();
    for (n, change) in changes.0.iter().enumerate() {
        let path = change.path.as_os_str().as_bytes().to_vec();
        if let (Some(before), Some(after)) = (change.before, change.after)
            && before.kind == Kind::Folder
            && after.kind == Kind::Folder
        {
            // Opened before anything is put into it, and given its own bits when everything is there.
            let open = before.mode | 0o700;
            opened.push(Step::Mode { path: path.clone(), before: before.mode, after: open });
            modes.push(Step::Mode { path, before: open, after: after.mode });
            continue;
        }
        let swaps = matches!((change.before, change.after), (Some(b), Some(a)) if b.kind != Kind::Folder && a.kind != Kind::Folder);
        if change.before.is_some() && !swaps {
            away.push(Step::TakeAway { path: path.clone(), n });
        }
        let Some(after) = change.after else { continue };
        let (from, to) = (overlay.written(&change.path), switch.fresh().join(n.to_string()));
        at(&change.path, stage_one(&from, &to, after.kind, &mut linked))?;
        let inode = at(&to, fs::symlink_metadata(&to))?.ino();
        if after.kind == Kind::Folder && after.mode != 0o700 {
            modes.push(Step::Mode { path: path.clone(), before: 0o700, after: after.mode });
        }
        there.push(if swaps { Step::Swap { path, n, inode } } else { Step::Put { path, n, inode } });
    }
    // What lies in a folder goes before the folder goes, and comes after it has come; what may be written is closed last.
    away.reverse();
    modes.reverse();
    let steps: Vec<Step> = opened.into_iter().chain(away).chain(there).chain(modes).collect();
    let text = serde_json::to_vec(&steps).map_err(io::Error::from);
    let written = text.and_then(|text| {
        let draft = switch.staging.join("draft");
        fs::write(&draft, text)?;
        File::open(&draft)?.sync_all()?;
        fs::rename(&draft, switch.plan())?;
        File::open(switch.staging)?.sync_all()
    });
    at(switch.staging, written)?;
    Ok(steps)
}

/// Copies one thing out of the layer, with its times, owner and permissions; a folder stays open to its owner until the end.
fn stage_one(from: &Path, to: &Path, kind: Kind, linked: &mut HashMap<(u64, u64), PathBuf>) -> io::Result<()> {
    let found = fs::symlink_metadata(from)?;
    match kind {
        Kind::File => {
            if found.nlink() > 1
                && let Some(first) = linked.get(&(found.dev(), found.ino()))
            {
                return fs::hard_link(first, to);
            }
            let copied = within_reach(from, 0o400, || fs::copy(from, to))?;
            if copied != found.len() {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it changed while it was read"));
            }
            give(to, &found)?;
            fs::set_permissions(to, Permissions::from_mode(0o600))?;
            let file = File::options().write(true).open(to)?;
            file.set_times(FileTimes::new().set_modified(found.modified()?))?;
            file.sync_all()?;
            fs::set_permissions(to, Permissions::from_mode(found.mode() & 0o7777))?;
            linked.insert((found.dev(), found.ino()), to.to_owned());
            Ok(())
        }
        Kind::Link => {
            symlink(fs::read_link(from)?, to)?;
            give(to, &found)
        }
        Kind::Folder => {
            fs::create_dir(to)?;
            give(to, &found)?;
            fs::set_permissions(to, Permissions::from_mode(0o700))
        }
        Kind::Other => Err(io::Error::from_raw_os_error(libc::EINVAL)),
    }
}

/// Gives a copy the owner of what it was copied from, where that is another.
fn give(to: &Path, found: &fs::Metadata) -> io::Result<()> {
    let made = fs::symlink_metadata(to)?;
    if (made.uid(), made.gid()) == (found.uid(), found.gid()) {
        return Ok(());
    }
    lchown(to, Some(found.uid()), Some(found.gid()))
}

/// The switch from what is there to what was staged.
#[derive(Debug, Clone, Copy)]
struct Switch<'a> {
    root: &'a Path,
    staging: &'a Path,
    base: &'a Listing,
}

impl Switch<'_> {
    fn fresh(&self) -> PathBuf {
        self.staging.join("new")
    }
    fn old(&self) -> PathBuf {
        self.staging.join("old")
    }
    fn plan(&self) -> PathBuf {
        self.staging.join("plan")
    }

    /// Takes one step. What it moves out of the way is looked at once more when nobody can reach it under its name any longer.
    fn take(&self, step: &Step) -> Result<(), ApplyError> {
        match step {
            Step::TakeAway { path, n } => {
                let (path, old) = (path_of(path), self.old().join(n.to_string()));
                at(&path, rename(&self.root.join(&path), &old, libc::RENAME_NOREPLACE))?;
                let moved = at(&old, fs::symlink_metadata(&old)).map(|found| Meta::of(&found))?;
                let is_empty = moved.kind != Kind::Folder || at(&old, fs::read_dir(&old))?.next().is_none();
                self.expect(&path, &moved, is_empty)
            }
            Step::Put { path, n, .. } => {
                let path = path_of(path);
                match rename(&self.fresh().join(n.to_string()), &self.root.join(&path), libc::RENAME_NOREPLACE) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(ApplyError::Conflict(vec![path])),
                    done => at(&path, done),
                }
            }
            Step::Swap { path, n, .. } => {
                let (path, new) = (path_of(path), self.fresh().join(n.to_string()));
                at(&path, rename(&new, &self.root.join(&path), libc::RENAME_EXCHANGE))?;
                let moved = at(&new, fs::symlink_metadata(&new)).map(|found| Meta::of(&found))?;
                self.expect(&path, &moved, true)
            }
            Step::Mode { path, after, .. } => {
                let whole = self.root.join(path_of(path));
                at(&whole, fs::set_permissions(&whole, Permissions::from_mode(*after)))
            }
        }
    }

    /// Whether what was moved is what stood there at the start. Moving it changed the time of its last change, and nothing else.
    fn expect(&self, path: &Path, moved: &Meta, also: bool) -> Result<(), ApplyError> {
        let same =
            self.base.get(path).is_some_and(|before| before.is_still(&Meta { changed: before.changed, ..*moved }));
        if same && also { Ok(()) } else { Err(ApplyError::Conflict(vec![path.to_owned()])) }
    }

    /// Takes back every step that was taken, the last one first, and removes the staging folder.
    fn undo(&self, steps: &[Step]) -> Result<(), ApplyError> {
        let stuck = |source| ApplyError::Stuck { staging: self.staging.to_owned(), source };
        for step in steps.iter().rev() {
            self.undo_one(step).map_err(stuck)?;
        }
        fs::remove_file(self.plan()).and_then(|()| remove_tree(self.staging)).map_err(stuck)
    }

    fn undo_one(&self, step: &Step) -> io::Result<()> {
        let inode = |path: &Path| Ok::<_, io::Error>(look(path)?.map(|found| found.inode));
        match step {
            Step::TakeAway { path, n } => {
                let old = self.old().join(n.to_string());
                if look(&old)?.is_none() {
                    return Ok(());
                }
                rename(&old, &self.root.join(path_of(path)), libc::RENAME_NOREPLACE)
            }
            Step::Put { path, n, inode: staged } => {
                let (new, whole) = (self.fresh().join(n.to_string()), self.root.join(path_of(path)));
                if look(&new)?.is_some() || inode(&whole)? != Some(*staged) {
                    return Ok(());
                }
                rename(&whole, &new, libc::RENAME_NOREPLACE)
            }
            Step::Swap { path, n, inode: staged } => {
                let (new, whole) = (self.fresh().join(n.to_string()), self.root.join(path_of(path)));
                if inode(&new)? == Some(*staged) {
                    return Ok(());
                }
                if inode(&whole)? != Some(*staged) {
                    let said = format!("`{}` was changed again while it was applied", whole.display());
                    return Err(io::Error::other(said));
                }
                rename(&new, &whole, libc::RENAME_EXCHANGE)
            }
            Step::Mode { path, before, .. } => match look(&self.root.join(path_of(path)))? {
                Some(found) if found.kind == Kind::Folder => {
                    fs::set_permissions(self.root.join(path_of(path)), Permissions::from_mode(*before))
                }
                Some(_) | None => Ok(()),
            },
        }
    }
}

fn rename(from: &Path, to: &Path, flags: u32) -> io::Result<()> {
    let here = calls::open(c"/", libc::O_PATH | libc::O_DIRECTORY)?;
    calls::rename_at((here.as_fd(), &c_path(from)?), (here.as_fd(), &c_path(to)?), flags)
}
