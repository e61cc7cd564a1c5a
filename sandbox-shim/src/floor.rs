//! The floor: what the kernel refuses whatever the shim does, and which calls therefore need the shim.
//!
//! Two ways to put a path out of reach. A folder may be covered by an empty mount in the agent's own mount namespace; or Landlock
//! grants everything around it. Landlock only grants, and a grant covers all below it, so to leave `/a/b/secret` out, the
//! siblings along its chain of ancestors are granted one by one:
//!
//! ```text
//! /            chain: not granted itself
//! ├── a        chain
//! │   ├── b    chain
//! │   │   ├── secret   left out
//! │   │   └── x        granted, with all below
//! │   └── y            granted
//! └── usr              granted
//! ```
//! What stands directly in a chain folder and is made later has no grant; nor has the folder itself. The shim performs those
//! calls in the agent's place when policy allows them. Everything under a grant is left to the kernel, which then refuses what
//! is out of reach even when the path in memory changes after the shim has read it.

use crate::sys::landlock::{self, right};
use crate::sys::{self, fs};
use std::collections::BTreeSet;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What is granted and what is not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Floor {
    /// Folders and files granted with all below them, for everything. `/` alone means that nothing is left out.
    granted: BTreeSet<PathBuf>,
    /// The same, for reading and executing only.
    readable: BTreeSet<PathBuf>,
    /// Files granted one by one, because they stand in a chain folder.
    files: BTreeSet<PathBuf>,
    /// The same, for reading and executing only.
    readable_files: BTreeSet<PathBuf>,
    /// Every open must be carried out by the shim, because a rule names files that no folder contains.
    carry_every_open: bool,
}

/// What a floor is made from. All paths must be real.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    /// What may be read and written, with all below it.
    pub writable: Vec<PathBuf>,
    /// What may be read, with all below it.
    pub readable: Vec<PathBuf>,
    /// What must not be reached, with all below it.
    pub left_out: Vec<PathBuf>,
    /// What must not be written, with all below it.
    pub left_out_of_writing: Vec<PathBuf>,
    /// Whether every open must be carried out by the shim.
    pub carry_every_open: bool,
}

/// Folders, and files in chain folders.
type Grants = (BTreeSet<PathBuf>, BTreeSet<PathBuf>);

impl Floor {
    /// Plans the grants.
    #[must_use]
    pub(crate) fn plan(plan: &Plan) -> Self {
        let left_out: Vec<&Path> = plan.left_out.iter().map(PathBuf::as_path).collect();
        let unwritten = plan.left_out_of_writing.iter().map(PathBuf::as_path);
        let unwritten: Vec<&Path> = left_out.iter().copied().chain(unwritten).collect();
        let mut full = Grants::default();
        for root in &plan.writable {
            expand(root, &unwritten, &mut full);
        }
        let mut reading = Grants::default();
        // What may be written anyway needs no second grant.
        for root in plan.readable.iter().filter(|root| !full.0.contains(*root)) {
            expand(root, &left_out, &mut reading);
        }
        Self {
            granted: full.0,
            files: full.1,
            readable: reading.0,
            readable_files: reading.1,
            carry_every_open: plan.carry_every_open,
        }
    }

    /// Whether nothing is left out.
    #[must_use]
    pub(crate) fn is_open(&self) -> bool {
        !self.carry_every_open && self.granted.contains(Path::new("/"))
    }

    /// Whether the kernel can be left to open anything for reading.
    #[must_use]
    pub(crate) fn grants_all_reading(&self) -> bool {
        !self.carry_every_open && self.grants_reading(Path::new("/"))
    }

    /// Whether every open is carried out by the shim.
    #[must_use]
    pub(crate) fn carries_every_open(&self) -> bool {
        self.carry_every_open
    }

    /// Whether the kernel can be left to do anything with this real path: it lies at or below a granted folder.
    #[must_use]
    pub(crate) fn grants(&self, real: &Path) -> bool {
        real.ancestors().any(|ancestor| self.granted.contains(ancestor))
    }

    /// Whether the kernel can be left to open this real path for reading.
    #[must_use]
    pub(crate) fn grants_reading(&self, real: &Path) -> bool {
        let granted = |ancestor| self.granted.contains(ancestor) || self.readable.contains(ancestor);
        real.ancestors().any(granted)
    }

    /// Whether the kernel can be left to make, remove or rename this name: its folder is granted.
    #[must_use]
    pub(crate) fn grants_name(&self, real: &Path) -> bool {
        real.parent().is_some_and(|folder| self.grants(folder))
    }

    /// A granted folder was renamed by the shim itself; Landlock's grant goes with it.
    pub(crate) fn moved(&mut self, from: &Path, to: &Path) {
        for grants in [&mut self.granted, &mut self.readable] {
            grants.remove(to);
            if grants.remove(from) {
                grants.insert(to.to_owned());
            }
        }
    }

    /// A name was removed by the shim itself; what is made there later has no grant.
    pub(crate) fn removed(&mut self, path: &Path) {
        self.granted.remove(path);
        self.readable.remove(path);
    }

    /// The rights over files that Landlock of this version is to keep. With nothing left out there are none to keep, and the kernel need not walk
    /// up from each file that is opened to find out that it may be; before version 6 there would be nothing else to keep.
    #[must_use]
    pub(crate) fn rights(&self, abi: u32) -> u64 {
        if self.is_open() && abi >= 6 { 0 } else { landlock::file_rights(abi) }
    }

    /// Makes the ruleset for Landlock's version `abi`. The agent's `/proc` is mounted later and granted by whoever mounts it.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn ruleset(&self, abi: u32) -> io::Result<OwnedFd> {
        let all = self.rights(abi);
        let ruleset = landlock::create(abi, all)?;
        if all == 0 {
            return Ok(ruleset);
        }
        let full = self.granted.iter().map(|path| (path, all));
        let full_files = self.files.iter().map(|path| (path, all & right::OF_A_FILE));
        let reading = self.readable.iter().map(|path| (path, right::OF_READING));
        let reading_files = self.readable_files.iter().map(|path| (path, right::OF_READING & right::OF_A_FILE));
        for (path, rights) in full.chain(full_files).chain(reading).chain(reading_files) {
            let Ok(path) = CString::new(path.as_os_str().as_bytes()) else { continue };
            // Gone since the plan was made, or not to be opened: then there is nothing to grant.
            let Ok(object) = fs::open(&path, libc::O_PATH | libc::O_NOFOLLOW) else { continue };
            let is_file = !path_is_folder(object.as_fd());
            let rights = if is_file { rights & right::OF_A_FILE } else { rights };
            match landlock::grant(ruleset.as_fd(), object.as_fd(), rights) {
                Ok(()) => {}
                Err(error) if sys::errno(&error) == libc::EBADFD => {}
                Err(error) => return Err(error),
            }
        }
        Ok(ruleset)
    }
}

/// Grants all below `folder` but what is left out, sibling by sibling along the chain that leads there.
fn expand(folder: &Path, left_out: &[&Path], into: &mut Grants) {
    if left_out.iter().any(|out| folder.starts_with(out)) {
        return;
    }
    if !left_out.iter().any(|out| out.starts_with(folder)) {
        into.0.insert(folder.to_owned());
        return;
    }
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => expand(&entry.path(), left_out, into),
            // A link is no object of its own: what it leads to is granted or not where it stands.
            Ok(kind) if kind.is_symlink() => {}
            Ok(_) if !left_out.iter().any(|out| entry.path().starts_with(out)) => {
                into.1.insert(entry.path());
            }
            Ok(_) | Err(_) => {}
        }
    }
}

/// Whether the object is a folder: a rule of the policy may name a single file as a whole.
fn path_is_folder(object: std::os::fd::BorrowedFd<'_>) -> bool {
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&object));
    std::fs::metadata(path).is_ok_and(|found| found.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn siblings_along_the_chain_are_granted_and_the_chain_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("a/secret")).unwrap();
        std::fs::create_dir_all(root.join("a/x/deep")).unwrap();
        std::fs::create_dir_all(root.join("b")).unwrap();
        std::fs::write(root.join("a/file"), "").unwrap();
        let mut floor = Floor::plan(&Plan {
            writable: vec![root.clone()],
            left_out: vec![root.join("a/secret")],
            ..Plan::default()
        });
        assert!(!floor.is_open());
        for granted in ["b", "b/new", "a/x", "a/x/deep/new"] {
            assert!(floor.grants(&root.join(granted)), "{granted}");
        }
        for needs_shim in ["", "a", "a/new", "a/secret", "a/secret/key", "a/file", "new"] {
            assert!(!floor.grants(&root.join(needs_shim)), "{needs_shim}");
        }
        assert!(floor.grants_name(&root.join("b/new")));
        assert!(!floor.grants_name(&root.join("b")));
        floor.moved(&root.join("b"), &root.join("c"));
        assert!(!floor.grants(&root.join("b/x")));
        assert!(floor.grants(&root.join("c/x")));
        floor.removed(&root.join("c"));
        assert!(!floor.grants(&root.join("c/x")));
    }

    #[test]
    fn with_nothing_left_out_the_floor_is_open() {
        let open = Plan { writable: vec!["/".into()], readable: vec!["/".into()], ..Plan::default() };
        assert!(Floor::plan(&open).is_open());
        assert!(!Floor::plan(&Plan { carry_every_open: true, ..open }).is_open());
    }

    #[test]
    fn what_may_only_be_read_is_granted_for_reading() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        for name in ["work", "other", "work/locked"] {
            std::fs::create_dir(root.join(name)).unwrap();
        }
        let floor = Floor::plan(&Plan {
            writable: vec![root.join("work")],
            readable: vec![root.clone()],
            left_out_of_writing: vec![root.join("work/locked")],
            ..Plan::default()
        });
        assert!(floor.grants_reading(&root.join("other/x")) && !floor.grants(&root.join("other/x")));
        assert!(floor.grants_reading(&root.join("work/locked/x")) && !floor.grants(&root.join("work/locked/x")));
        assert!(!floor.is_open());
    }
}
