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
    /// Folders granted with all below them. `/` alone means that nothing is left out.
    granted: BTreeSet<PathBuf>,
    /// Files granted one by one, because they stand in a chain folder.
    files: BTreeSet<PathBuf>,
    /// Every open must be carried out by the shim, because a rule names files that no folder contains.
    carry_every_open: bool,
}

impl Floor {
    /// Plans the grants: everything below `roots`, except what lies at or below `left_out`. Both must be real paths.
    #[must_use]
    pub(crate) fn plan(roots: &[PathBuf], left_out: &[PathBuf], carry_every_open: bool) -> Self {
        let mut floor = Self { carry_every_open, ..Self::default() };
        for root in roots {
            floor.expand(root, left_out);
        }
        floor
    }

    fn expand(&mut self, folder: &Path, left_out: &[PathBuf]) {
        if left_out.iter().any(|out| folder.starts_with(out)) {
            return;
        }
        if !left_out.iter().any(|out| out.starts_with(folder)) {
            self.granted.insert(folder.to_owned());
            return;
        }
        let Ok(entries) = std::fs::read_dir(folder) else { return };
        for entry in entries.flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => self.expand(&entry.path(), left_out),
                // A link is no object of its own: what it leads to is granted or not where it stands.
                Ok(kind) if kind.is_symlink() => {}
                Ok(_) if !left_out.iter().any(|out| entry.path().starts_with(out)) => {
                    self.files.insert(entry.path());
                }
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// Whether nothing is left out.
    #[must_use]
    pub(crate) fn is_open(&self) -> bool {
        !self.carry_every_open && self.granted.contains(Path::new("/"))
    }

    /// Whether every open is carried out by the shim.
    #[must_use]
    pub(crate) fn carries_every_open(&self) -> bool {
        self.carry_every_open
    }

    /// Whether the kernel can be left to open this real path: it lies at or below a granted folder.
    #[must_use]
    pub(crate) fn grants(&self, real: &Path) -> bool {
        real.ancestors().any(|ancestor| self.granted.contains(ancestor))
    }

    /// Whether the kernel can be left to make, remove or rename this name: its folder is granted.
    #[must_use]
    pub(crate) fn grants_name(&self, real: &Path) -> bool {
        real.parent().is_some_and(|folder| self.grants(folder))
    }

    /// A granted folder was renamed by the shim itself; Landlock's grant goes with it.
    pub(crate) fn moved(&mut self, from: &Path, to: &Path) {
        self.granted.remove(to);
        if self.granted.remove(from) {
            self.granted.insert(to.to_owned());
        }
    }

    /// A name was removed by the shim itself; what is made there later has no grant.
    pub(crate) fn removed(&mut self, path: &Path) {
        self.granted.remove(path);
    }

    /// Makes the ruleset for Landlock's version `abi`. The agent's `/proc` is mounted later and granted by whoever mounts it.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn ruleset(&self, abi: u32) -> io::Result<OwnedFd> {
        let ruleset = landlock::create(abi)?;
        let all = landlock::file_rights(abi);
        for (path, rights) in
            self.granted.iter().map(|p| (p, all)).chain(self.files.iter().map(|p| (p, all & right::OF_A_FILE)))
        {
            let Ok(path) = CString::new(path.as_os_str().as_bytes()) else { continue };
            // Gone since the plan was made, or not to be opened: then there is nothing to grant.
            let Ok(object) = fs::open(&path, libc::O_PATH | libc::O_NOFOLLOW) else { continue };
            match landlock::grant(ruleset.as_fd(), object.as_fd(), rights) {
                Ok(()) => {}
                Err(error) if sys::errno(&error) == libc::EBADFD => {}
                Err(error) => return Err(error),
            }
        }
        Ok(ruleset)
    }
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
        let mut floor = Floor::plan(std::slice::from_ref(&root), &[root.join("a/secret")], false);
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
        assert!(Floor::plan(&["/".into()], &[], false).is_open());
        assert!(!Floor::plan(&["/".into()], &[], true).is_open());
    }
}
