//! What a session changed: the layer it wrote, compared with what stood there when it began.

use super::listing::{Kind, Listing, Meta, is_whiteout, look};
use crate::sys;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use wk_schemas::Digest;

/// One name that is not what it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The name, relative to the workspace.
    pub path: PathBuf,
    /// What was there before; `None` for nothing.
    pub before: Option<State>,
    /// What is there now; `None` for nothing.
    pub after: Option<State>,
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// What it is.
    pub kind: Kind,
    /// Permission bits.
    pub mode: u32,
    /// SHA-256 of a file's content or a link's text; `None` for a folder, and for what is no longer what it was or cannot be read.
    pub digest: Option<Digest>,
}

impl fmt::Display for Change {
    /// One line: what happened, kind, mode and digest before and after, and the name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = |state: Option<State>| match state {
            None => "-".to_owned(),
            Some(State { kind, mode, digest: Some(digest) }) => format!("{} {mode:04o} {digest}", kind.as_str()),
            Some(State { kind, mode, digest: None }) => format!("{} {mode:04o}", kind.as_str()),
        };
        write!(f, "{} {:?}: {} -> {}", self.word(), self.path, state(self.before), state(self.after))
    }
}

impl Change {
    /// What happened to the name: created, changed or removed.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match (self.before, self.after) {
            (None, _) => "created",
            (Some(_), Some(_)) => "changed",
            (Some(_), None) => "removed",
        }
    }
}

/// Everything that a session changed, in the order of the names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes(pub Vec<Change>);

impl Changes {
    /// Compares the layer `upper` with what `base` says of the folder `lower`.
    pub(super) fn find(upper: &Path, lower: &Path, base: &Listing) -> io::Result<Self> {
        let mut said = BTreeMap::new();
        collect(upper, Path::new(""), base, &mut said)?;
        let mut changes = Vec::new();
        for (path, now) in said {
            let before = base.get(&path);
            if before.is_none() && now.is_none() {
                continue;
            }
            let untouched = match before {
                Some(before) => look(&lower.join(&path))?.is_some_and(|now| before.is_still(&now)),
                None => false,
            };
            let old = before.map(|meta| state(meta, untouched.then(|| lower.join(&path)).as_deref(), file_digest));
            let opening = |path: &Path| within_reach(path, 0o400, || file_digest(path));
            let new = now.as_ref().map(|meta| state(meta, Some(&upper.join(&path)), opening));
            let owners = |meta: &Meta| (meta.user, meta.group);
            let same_owner = before.map(owners) == now.as_ref().map(owners);
            if old != new || !same_owner || (!untouched && before.is_some_and(|m| m.kind != Kind::Folder)) {
                changes.push(Change { path, before: old, after: new });
            }
        }
        Ok(Self(changes))
    }

    /// How many names were created, changed and removed.
    #[must_use]
    pub fn counts(&self) -> String {
        let of = |word| self.0.iter().filter(|change| change.word() == word).count();
        format!("{} created, {} changed, {} removed", of("created"), of("changed"), of("removed"))
    }

    /// All of them, a line each; what the digest covers.
    #[must_use]
    pub fn text(&self) -> String {
        self.0.iter().map(|change| format!("{change}\n")).collect()
    }

    /// SHA-256 of the text: with it, what is applied can be shown to be what was shown.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(self.text().as_bytes())
    }
}

/// What the layer says of each name: `Some` for what it puts there, `None` for what it hides.
fn collect(upper: &Path, folder: &Path, base: &Listing, said: &mut BTreeMap<PathBuf, Option<Meta>>) -> io::Result<()> {
    let whole = upper.join(folder);
    let mut entries = within_reach(&whole, 0o700, || fs::read_dir(&whole)?.collect::<io::Result<Vec<_>>>())?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, found) = (folder.join(entry.file_name()), entry.metadata()?);
        let meta = Meta::of(&found);
        let is_folder = meta.kind == Kind::Folder;
        let hides = !is_folder || base.get(&path).is_none_or(|m| m.kind != Kind::Folder) || is_opaque(&entry.path());
        if hides {
            said.extend(base.below(&path).map(|below| (below.to_owned(), None)));
        }
        if is_whiteout(&found) || meta.kind == Kind::Other {
            // A pipe or a socket is of use only to the processes that made it, and they are gone.
            said.insert(path, None);
            continue;
        }
        said.insert(path.clone(), Some(meta));
        if is_folder {
            collect(upper, &path, base, said)?;
        }
    }
    Ok(())
}

/// Whether a folder of the layer hides all that the one below it holds.
fn is_opaque(folder: &Path) -> bool {
    let asked = within_reach(folder, 0o500, || {
        let mut value = [0; 8];
        let path = crate::confine::c_path(folder)?;
        let length = sys::fs::get_attribute(&path, c"user.overlay.opaque", &mut value)?;
        Ok(value[..length] == *b"y")
    });
    asked.unwrap_or(false)
}

fn state(meta: &Meta, at: Option<&Path>, digest_of: impl Fn(&Path) -> io::Result<Digest>) -> State {
    let digest = at.and_then(|path| match meta.kind {
        Kind::File => digest_of(path).ok(),
        Kind::Link => fs::read_link(path).ok().map(|text| Digest::of(text.as_os_str().as_bytes())),
        Kind::Folder | Kind::Other => None,
    });
    State { kind: meta.kind, mode: meta.mode, digest }
}

fn file_digest(path: &Path) -> io::Result<Digest> {
    let mut hasher = Sha256::new();
    io::copy(&mut File::open(path)?, &mut hasher)?;
    Ok(Digest(hasher.finalize().into()))
}

/// Does something with a file or folder of the layer that the agent may have closed to its own user: opened for a moment.
pub(super) fn within_reach<T>(path: &Path, bits: u32, act: impl Fn() -> io::Result<T>) -> io::Result<T> {
    match act() {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let before = fs::symlink_metadata(path)?.permissions();
            let opened = fs::Permissions::from_mode(before.mode() | bits);
            fs::set_permissions(path, opened)?;
            let done = act();
            fs::set_permissions(path, before)?;
            done
        }
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A layer as overlayfs leaves it; whiteouts need no privilege since Linux 5.8.
    #[test]
    fn a_layer_is_read_as_what_it_changed() {
        let folder = tempfile::tempdir().unwrap();
        let (upper, lower) = (folder.path().join("upper"), folder.path().join("lower"));
        fs::create_dir_all(upper.join("d/new")).unwrap();
        fs::create_dir_all(lower.join("d/old")).unwrap();
        fs::create_dir_all(lower.join("gone/deep")).unwrap();
        for (name, text) in [("same", "a"), ("other", "b"), ("d/old/file", "c"), ("gone/deep/file", "d")] {
            fs::write(lower.join(name), text).unwrap();
        }
        let base = Listing::of(&lower).unwrap();
        // Copied up and written with the same bytes; written with others; a folder in place of a folder's file; a removed folder.
        for (name, text) in [("same", "a"), ("other", "B"), ("d/old", "now a file"), ("d/new/file", "e")] {
            fs::write(upper.join(name), text).unwrap();
        }
        let path = crate::confine::c_path(&upper.join("gone")).unwrap();
        let root = sys::fs::open(c"/", libc::O_PATH).unwrap();
        use std::os::fd::AsFd;
        sys::fs::mknod_at(root.as_fd(), &path, libc::S_IFCHR, 0).unwrap();
        let changes = Changes::find(&upper, &lower, &base).unwrap();
        let found: Vec<_> = changes.0.iter().map(|c| (c.word(), c.path.to_str().unwrap())).collect();
        let wanted = [
            ("created", "d/new"),
            ("created", "d/new/file"),
            ("changed", "d/old"),
            ("removed", "d/old/file"),
            ("removed", "gone"),
            ("removed", "gone/deep"),
            ("removed", "gone/deep/file"),
            ("changed", "other"),
        ];
        assert_eq!(found, wanted);
        assert_eq!(changes.0[7].after.unwrap().digest, Some(Digest::of(b"B")));
        assert_eq!(changes.counts(), "2 created, 2 changed, 4 removed");
        assert!(changes.text().starts_with("created \"d/new\": - -> folder 0"), "{}", changes.text());
    }
}
