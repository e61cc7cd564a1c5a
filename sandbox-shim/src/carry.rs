//! Carries file calls out in the agent's place, on the object that was decided about and on no other.
//!
//! Every path here is real: absolute and without links. Its folder is opened and asked for its name, so that a folder swapped
//! for a link in between is noticed; the last part is never followed.

use crate::observe::request::Change;
use crate::observe::resolve::name_of;
use crate::sys::fs;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A name in a folder that is known to be the one decided about.
struct Spot {
    folder: OwnedFd,
    name: CString,
}

fn spot(real: &Path) -> io::Result<Spot> {
    let (Some(parent), Some(name)) = (real.parent(), real.file_name()) else {
        return Err(io::Error::from_raw_os_error(libc::EBUSY));
    };
    let path = CString::new(parent.as_os_str().as_bytes())?;
    let folder = fs::open(&path, libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW)?;
    if name_of(folder.as_fd())? != parent {
        return Err(io::Error::from_raw_os_error(libc::EACCES));
    }
    Ok(Spot { folder, name: CString::new(name.as_bytes())? })
}

/// Opens as the agent asked. Blocks on a pipe that nobody has opened at its other end.
///
/// # Errors
/// What the kernel says, and `EACCES` when the folder is not what it was.
pub(crate) fn open(real: &Path, flags: i32, mode: u32, umask: u32) -> io::Result<OwnedFd> {
    fs::umask(umask);
    let flags = flags | libc::O_NOFOLLOW | libc::O_NOCTTY;
    if real == Path::new("/") {
        return fs::open(c"/", flags);
    }
    let spot = spot(real)?;
    fs::open_at(spot.folder.as_fd(), &spot.name, flags, mode)
}

/// Changes one path as the agent asked.
///
/// # Errors
/// As [`open`].
pub(crate) fn change(real: &Path, change: Change, umask: u32) -> io::Result<()> {
    fs::umask(umask);
    let spot = spot(real)?;
    let (folder, name) = (spot.folder.as_fd(), spot.name.as_c_str());
    match change {
        Change::Unlink => fs::unlink_at(folder, name, 0),
        Change::RemoveDirectory => fs::unlink_at(folder, name, libc::AT_REMOVEDIR),
        Change::MakeDirectory(mode) => fs::mkdir_at(folder, name, mode),
        Change::MakeNode(mode, device) => fs::mknod_at(folder, name, mode, device),
        Change::Truncate(length) => fs::truncate(&through(&held(&spot)?)?, length),
        Change::Mode(mode) => fs::chmod(&through(&held(&spot)?)?, mode),
        Change::Owner(user, group) => fs::chown(&through(&held(&spot)?)?, user, group),
    }
}

/// A handle on the object itself.
fn held(spot: &Spot) -> io::Result<OwnedFd> {
    fs::open_at(spot.folder.as_fd(), &spot.name, libc::O_PATH | libc::O_NOFOLLOW, 0)
}

/// A path that leads to the object behind a handle, whatever its name is by then.
fn through(handle: &OwnedFd) -> io::Result<CString> {
    use std::os::fd::AsRawFd;
    Ok(CString::new(format!("/proc/self/fd/{}", handle.as_raw_fd()))?)
}

/// Renames or hard-links as the agent asked.
///
/// # Errors
/// As [`open`].
pub(crate) fn rename(from: &Path, to: &Path, link: bool, flags: u32) -> io::Result<()> {
    let (from, to) = (spot(from)?, spot(to)?);
    let (a, b) = ((from.folder.as_fd(), from.name.as_c_str()), (to.folder.as_fd(), to.name.as_c_str()));
    if link { fs::link_at(a, b, 0) } else { fs::rename_at(a, b, flags) }
}

/// Sets an attribute as the agent asked, or removes it.
///
/// # Errors
/// As [`open`].
pub(crate) fn attribute(real: &Path, name: &CStr, value: Option<&[u8]>, flags: i32) -> io::Result<()> {
    let handle = held(&spot(real)?)?;
    fs::set_attribute(&through(&handle)?, name, value, flags)
}

/// Makes a symbolic link as the agent asked.
///
/// # Errors
/// As [`open`].
pub(crate) fn symlink(text: &[u8], real: &Path) -> io::Result<()> {
    let spot = spot(real)?;
    fs::symlink_at(&CString::new(text)?, spot.folder.as_fd(), &spot.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::fs::{PermissionsExt, symlink as make_link};

    #[test]
    fn a_folder_swapped_for_a_link_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("secret")).unwrap();
        std::fs::write(root.join("secret/key"), "k").unwrap();
        make_link("secret", root.join("plain")).unwrap();
        assert!(open(&root.join("plain/key"), libc::O_RDONLY, 0, 0).is_err());
        make_link("secret/key", root.join("key")).unwrap();
        assert_eq!(open(&root.join("key"), libc::O_RDONLY, 0, 0).unwrap_err().raw_os_error(), Some(libc::ELOOP));
        let mut text = String::new();
        std::fs::File::from(open(&root.join("secret/key"), libc::O_RDONLY, 0, 0).unwrap())
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "k");
    }

    #[test]
    fn files_are_made_with_the_agents_mask() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        std::thread::spawn(move || {
            crate::sys::process::unshare_fs().unwrap();
            open(&root.join("new"), libc::O_CREAT | libc::O_WRONLY, 0o666, 0o027).unwrap();
            change(&root.join("dir"), Change::MakeDirectory(0o777), 0o077).unwrap();
            let mode = |name: &str| std::fs::metadata(root.join(name)).unwrap().permissions().mode() & 0o777;
            assert_eq!((mode("new"), mode("dir")), (0o640, 0o700));
        })
        .join()
        .unwrap();
    }
}
