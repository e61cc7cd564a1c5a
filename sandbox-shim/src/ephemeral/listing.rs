//! What stands in a folder, path by path: kept when a session begins, so that what a person changed meanwhile is noticed.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// What kind of thing has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A pipe, a socket or a device.
    Other,
}

impl Kind {
    /// The word for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Folder => "folder",
            Self::Link => "link",
            Self::Other => "special file",
        }
    }
}

/// What is known of one name without looking inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Meta {
    /// What it is.
    pub kind: Kind,
    /// Permission bits, 12 of them.
    pub mode: u32,
    /// Owner.
    pub user: u32,
    /// Group.
    pub group: u32,
    /// Bytes.
    pub size: u64,
    /// Seconds and nanoseconds of the last change of its content.
    pub modified: (i64, i64),
    /// Seconds and nanoseconds of the last change of anything about it; no program can set it.
    pub changed: (i64, i64),
    /// Its number in the file system.
    pub inode: u64,
}

impl Meta {
    /// As of `found`, which must not have followed a link.
    pub(crate) fn of(found: &Metadata) -> Self {
        let kind = found.file_type();
        let kind = match (kind.is_file(), kind.is_dir(), kind.is_symlink()) {
            (true, _, _) => Kind::File,
            (_, true, _) => Kind::Folder,
            (_, _, true) => Kind::Link,
            _ => Kind::Other,
        };
        Self {
            kind,
            mode: found.mode() & 0o7777,
            user: found.uid(),
            group: found.gid(),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
            inode: found.ino(),
        }
    }

    /// Whether the same thing still stands there, untouched. What a folder holds is another question.
    pub(crate) fn is_still(&self, now: &Self) -> bool {
        let owner = |meta: &Self| (meta.kind, meta.mode, meta.user, meta.group, meta.inode);
        if self.kind == Kind::Folder { owner(self) == owner(now) } else { self == now }
    }
}

/// What is at `path` itself; `None` for nothing.
///
/// # Errors
/// When it cannot be found out.
pub(crate) fn look(path: &Path) -> io::Result<Option<Meta>> {
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(Some(Meta::of(&found))),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether this is how overlayfs marks what was removed: a character device 0, 0.
pub(super) fn is_whiteout(found: &Metadata) -> bool {
    found.file_type().is_char_device() && found.rdev() == 0
}

/// Every name below a folder, relative to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Listing(BTreeMap<PathBuf, Meta>);

impl Listing {
    /// Reads a whole tree. Links are not followed.
    ///
    /// # Errors
    /// Names a folder that cannot be read.
    pub(crate) fn of(root: &Path) -> io::Result<Self> {
        let mut names = BTreeMap::new();
        let mut folders = vec![PathBuf::new()];
        while let Some(folder) = folders.pop() {
            let whole = root.join(&folder);
            let named = |error: io::Error| io::Error::new(error.kind(), format!("`{}`: {error}", folder.display()));
            for entry in fs::read_dir(&whole).map_err(named)? {
                let entry = entry.map_err(named)?;
                let path = folder.join(entry.file_name());
                let meta = match entry.metadata() {
                    Ok(found) => Meta::of(&found),
                    // Gone between the two looks.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(named(error)),
                };
                if meta.kind == Kind::Folder {
                    folders.push(path.clone());
                }
                names.insert(path, meta);
            }
        }
        Ok(Self(names))
    }

    /// What was at this name.
    pub(crate) fn get(&self, path: &Path) -> Option<&Meta> {
        self.0.get(path)
    }

    /// Every name below `folder`, the folder itself not among them.
    pub(crate) fn below<'a>(&'a self, folder: &'a Path) -> impl Iterator<Item = &'a Path> {
        let from = self.0.range::<Path, _>((std::ops::Bound::Excluded(folder), std::ops::Bound::Unbounded));
        from.map(|(path, _)| path.as_path()).take_while(move |path| path.starts_with(folder))
    }

    /// Writes it down: one line of numbers and the path a name, each ended by a zero byte.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn save(&self, file: &Path) -> io::Result<()> {
        let mut out = io::BufWriter::new(fs::File::create(file)?);
        for (path, m) in &self.0 {
            let kind = match m.kind {
                Kind::File => 'f',
                Kind::Folder => 'd',
                Kind::Link => 'l',
                Kind::Other => 'o',
            };
            let (modified, changed) = (m.modified, m.changed);
            let times = format!("{} {} {} {}", modified.0, modified.1, changed.0, changed.1);
            write!(out, "{kind} {:o} {} {} {} {times} {} ", m.mode, m.user, m.group, m.size, m.inode)?;
            out.write_all(path.as_os_str().as_bytes())?;
            out.write_all(b"\0")?;
        }
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    }

    /// Reads what [`Listing::save`] wrote.
    ///
    /// # Errors
    /// `InvalidData` when it is not whole.
    pub(crate) fn load(file: &Path) -> io::Result<Self> {
        let bytes = fs::read(file)?;
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, format!("`{}` is damaged", file.display()));
        let mut names = BTreeMap::new();
        for line in bytes.split_inclusive(|byte| *byte == 0) {
            let line = line.strip_suffix(b"\0").ok_or_else(damaged)?;
            let (path, meta) = parse(line).ok_or_else(damaged)?;
            names.insert(path, meta);
        }
        Ok(Self(names))
    }
}

fn parse(line: &[u8]) -> Option<(PathBuf, Meta)> {
    let mut fields = line.splitn(11, |byte| *byte == b' ');
    let mut text = || std::str::from_utf8(fields.next()?).ok();
    let kind = match text()? {
        "f" => Kind::File,
        "d" => Kind::Folder,
        "l" => Kind::Link,
        "o" => Kind::Other,
        _ => return None,
    };
    let meta = Meta {
        kind,
        mode: u32::from_str_radix(text()?, 8).ok()?,
        user: text()?.parse().ok()?,
        group: text()?.parse().ok()?,
        size: text()?.parse().ok()?,
        modified: (text()?.parse().ok()?, text()?.parse().ok()?),
        changed: (text()?.parse().ok()?, text()?.parse().ok()?),
        inode: text()?.parse().ok()?,
    };
    Some((PathBuf::from(OsStr::from_bytes(fields.next()?)), meta))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_read_back_as_it_was_and_notices_what_changed_since() {
        let folder = tempfile::tempdir().unwrap();
        let (root, kept) = (folder.path().join("w"), folder.path().join("kept"));
        fs::create_dir_all(root.join("a b/c")).unwrap();
        fs::write(root.join("a b/c/file"), "one").unwrap();
        fs::write(root.join("a b.txt"), "two").unwrap();
        fs::write(root.join(OsStr::from_bytes(b"\xff\nx")), "").unwrap();
        std::os::unix::fs::symlink("nowhere", root.join("link")).unwrap();
        let listing = Listing::of(&root).unwrap();
        listing.save(&kept).unwrap();
        assert_eq!(Listing::load(&kept).unwrap(), listing);
        let below: Vec<_> = listing.below(Path::new("a b")).collect();
        assert_eq!(below, [Path::new("a b/c"), Path::new("a b/c/file")]);
        let before = *listing.get(Path::new("a b/c/file")).unwrap();
        let now = || look(&root.join("a b/c/file")).unwrap().unwrap();
        assert!(before.is_still(&now()));
        fs::write(root.join("a b/c/file"), "six").unwrap();
        assert!(!before.is_still(&now()));
        // What stands in a folder may change without the folder being another.
        let folder = *listing.get(Path::new("a b")).unwrap();
        fs::write(root.join("a b/new"), "").unwrap();
        assert!(folder.is_still(&look(&root.join("a b")).unwrap().unwrap()));
        assert_eq!(look(&root.join("a b.txt/x")).unwrap(), None);
        fs::write(&kept, "f 644 0 0 3 1 2 3").unwrap();
        assert_eq!(Listing::load(&kept).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
