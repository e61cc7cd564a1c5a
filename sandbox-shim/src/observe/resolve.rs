//! Where a path leads: the name as the process said it, made absolute, and the object it stands for.
//!
//! Folders are resolved once and remembered for a short while; a rename or a new link makes everything be forgotten. What is
//! found can be outdated when the agent wants it to be: the floor does not rest on it, and what the shim does itself is checked
//! again on the open handle.

use super::bases::Bases;
use super::proc::{UNCLEAR, goes_back_behind_a_process, into_proc, object};
use super::request::Place;
use crate::sys::fs;
use std::collections::HashMap;
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

/// As many links as the kernel follows.
pub(super) const LINKS_MAX: u8 = 40;
const REMEMBERED_MAX: usize = 8192;
const REMEMBERED_FOR: Duration = Duration::from_secs(1);
/// After a rename or a new link was let through, nothing is remembered for so long: it may not have happened yet.
const UNSETTLED_FOR: Duration = Duration::from_millis(20);

/// A path and where it leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resolved {
    /// Absolute; dots taken out by their text, links left in.
    pub name: PathBuf,
    /// The object: absolute, without links. The same as `name` when it could not be found out.
    pub real: PathBuf,
    /// Whether it lies in `/proc`, where the shim's view is another than the agent's.
    pub in_proc: bool,
    /// What it is then, in the agent's own numbering: by links and through the roots, folders and descriptors of processes.
    pub proc: Option<PathBuf>,
}

impl Resolved {
    /// Something that is where it is named, or at `real`, and not in `/proc`.
    #[must_use]
    pub(crate) const fn outside_proc(name: PathBuf, real: PathBuf) -> Self {
        Self { name, real, in_proc: false, proc: None }
    }
}

/// Remembered folders.
#[derive(Debug, Default)]
pub(crate) struct Resolver {
    bases: Bases,
    folders: HashMap<OsString, (PathBuf, Instant)>,
    has_links: bool,
    unsettled_until: Option<Instant>,
}

/// What the descriptor `fd` refers to, as the kernel names it.
///
/// # Errors
/// What the kernel says.
pub(crate) fn name_of(fd: BorrowedFd<'_>) -> io::Result<PathBuf> {
    link(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

pub(super) fn link(path: impl AsRef<OsStr>) -> io::Result<PathBuf> {
    let path = CString::new(path.as_ref().as_bytes())?;
    let mut buffer = [0_u8; 4096];
    let length = fs::read_link(&path, &mut buffer)?;
    Ok(PathBuf::from(OsString::from_vec(buffer[..length].to_vec())))
}

impl Resolver {
    /// A name changed its meaning, or will in a moment.
    pub(crate) fn forget(&mut self, now: Instant, may_be_a_link: bool) {
        if may_be_a_link || self.has_links {
            self.folders.clear();
            self.has_links = false;
            self.unsettled_until = Some(now + UNSETTLED_FOR);
        }
    }

    /// Resolves a path of thread `thread` in process `process`. With `follow`, a link at the end leads on.
    ///
    /// # Errors
    /// `EBADF` or `ENOTDIR` when the directory descriptor is none, `ENOENT` for an empty path without a descriptor.
    pub(crate) fn resolve(
        &mut self,
        (thread, process): (i32, i32),
        place: &Place,
        follow: bool,
        now: Instant,
    ) -> io::Result<Resolved> {
        let given = Path::new(OsStr::from_bytes(&place.path));
        let whole = if given.is_absolute() {
            given.to_owned()
        } else {
            let base = self.bases.of(thread, place.directory, !place.path.is_empty())?;
            if place.path.is_empty() {
                let in_proc = base.starts_with("/proc");
                return Ok(Resolved { in_proc, proc: in_proc.then(|| base.clone()), name: base.clone(), real: base });
            }
            if is_one_name(&place.path) && base.is_absolute() && !base.starts_with("/proc") {
                // The kernel has just said where the folder really is.
                let name = base.join(given);
                let real = if follow { self.end(&base, name.clone(), LINKS_MAX, now) } else { Some(name.clone()) };
                return Ok(led((process, thread), None, name, real, follow));
            }
            base.join(given)
        };
        let name = without_dots(&whole);
        if goes_back_behind_a_process(&whole) {
            return Ok(Resolved { real: name.clone(), name, in_proc: true, proc: Some(UNCLEAR.into()) });
        }
        if name.starts_with("/proc") {
            let real = object((process, thread), name.clone(), follow);
            let in_proc = real.starts_with("/proc");
            return Ok(Resolved { in_proc, proc: in_proc.then(|| real.clone()), name, real });
        }
        let real = self.real(&whole, &name, follow, LINKS_MAX, now);
        Ok(led((process, thread), Some(&whole), name, real, follow))
    }

    /// Where `whole`, of which `name` is the text without dots, leads; `None` when the shim does not find its folder.
    fn real(&mut self, whole: &Path, name: &Path, follow: bool, links: u8, now: Instant) -> Option<PathBuf> {
        let plain_end = matches!(whole.components().next_back(), Some(Component::Normal(_)))
            && !whole.as_os_str().as_bytes().ends_with(b"/.");
        let (Some(folder), Some(last), true) = (whole.parent(), whole.file_name(), plain_end) else {
            return Some(open_name(whole, libc::O_PATH).unwrap_or_else(|_| name.to_owned()));
        };
        let folder = self.folder(folder, now)?;
        let at = folder.join(last);
        if folder.starts_with("/proc") {
            // Through a link such as /dev/fd, it is the shim's own folder that was found; what lies in it says nothing of the agent.
            return Some(at);
        }
        let ends_in_slash = whole.as_os_str().as_bytes().ends_with(b"/");
        if follow || ends_in_slash { self.end(&folder, at, links, now) } else { Some(at) }
    }

    /// Where `at`, a name in the real folder `folder`, leads when it is followed.
    fn end(&mut self, folder: &Path, at: PathBuf, links: u8, now: Instant) -> Option<PathBuf> {
        let Ok(path) = CString::new(at.as_os_str().as_bytes()) else { return Some(at) };
        let mut buffer = [0_u8; 4096];
        let Ok(length) = fs::read_link(&path, &mut buffer) else { return Some(at) };
        // One step at a time, so that a link into /proc/self is seen before the shim follows it to itself.
        let next = folder.join(Path::new(OsStr::from_bytes(&buffer[..length])));
        let next_name = without_dots(&next);
        if links == 0 || next_name.starts_with("/proc") {
            return Some(next_name);
        }
        self.real(&next, &next_name, true, links - 1, now)
    }

    /// The real path of a folder.
    fn folder(&mut self, folder: &Path, now: Instant) -> Option<PathBuf> {
        if let Some((real, at)) = self.folders.get(folder.as_os_str())
            && now.duration_since(*at) < REMEMBERED_FOR
        {
            return Some(real.clone());
        }
        let real = open_name(folder, libc::O_PATH | libc::O_DIRECTORY).ok()?;
        if self.unsettled_until.is_some_and(|until| now < until) {
            return Some(real);
        }
        if self.folders.len() >= REMEMBERED_MAX {
            self.folders.clear();
        }
        self.has_links |= real != folder;
        self.folders.insert(folder.as_os_str().to_owned(), (real.clone(), now));
        Some(real)
    }
}

/// A name that does not lie in `/proc`, with where the shim found that it leads; `whole` is it with its dots, where it had any.
fn led(of: (i32, i32), whole: Option<&Path>, name: PathBuf, real: Option<PathBuf>, follow: bool) -> Resolved {
    match real {
        Some(real) if !real.starts_with("/proc") => Resolved::outside_proc(name, real),
        // A link such as /dev/stdin leads into /proc/self, which is the shim's own when the shim follows it, and a process that the agent
        // numbers in its own way is not there for the shim, or is another one.
        _ => match into_proc(whole.unwrap_or(&name), follow) {
            Some(text) => {
                let proc = object(of, text, follow);
                Resolved { real: name.clone(), name, in_proc: true, proc: Some(proc) }
            }
            None => Resolved::outside_proc(name.clone(), name),
        },
    }
}

pub(super) fn open_name(path: &Path, flags: i32) -> io::Result<PathBuf> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    name_of(fs::open(&path, flags)?.as_fd())
}

/// Whether a path is the name of something in a folder, and nothing else.
fn is_one_name(path: &[u8]) -> bool {
    !path.contains(&b'/') && !matches!(path, b"" | b"." | b"..")
}

/// The same path with `.` and `..` taken out by their text.
#[must_use]
pub(crate) fn without_dots(path: &Path) -> PathBuf {
    if is_plain(path.as_os_str().as_bytes()) {
        return path.to_owned();
    }
    let mut out = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(part) => out.push(part),
            Component::ParentDir => {
                out.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    out
}

/// Whether a path is absolute and has nothing to take out, as nearly all have.
pub(super) fn is_plain(path: &[u8]) -> bool {
    let mut parts = path.split(|byte| *byte == b'/');
    parts.next().is_some_and(<[u8]>::is_empty) && parts.all(|part| !matches!(part, b"" | b"." | b".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn me() -> (i32, i32) {
        let pid = i32::try_from(std::process::id()).unwrap();
        (pid, pid)
    }

    fn resolve(resolver: &mut Resolver, path: &Path, follow: bool) -> Resolved {
        let place = Place { directory: libc::AT_FDCWD, path: path.as_os_str().as_bytes().to_vec() };
        resolver.resolve(me(), &place, follow, crate::clock::instant()).unwrap()
    }

    #[test]
    fn links_are_seen_through_and_the_name_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("real")).unwrap();
        std::fs::write(root.join("real/secret"), "").unwrap();
        std::os::unix::fs::symlink("real", root.join("folder_link")).unwrap();
        std::os::unix::fs::symlink("real/secret", root.join("file_link")).unwrap();
        std::os::unix::fs::symlink("nowhere", root.join("dangling")).unwrap();
        let mut resolver = Resolver::default();
        for (path, real) in [
            ("folder_link/secret", "real/secret"),
            ("file_link", "real/secret"),
            ("folder_link/../real/./secret", "real/secret"),
            ("folder_link/new", "real/new"),
            ("dangling", "nowhere"),
            ("no/such/folder", "no/such/folder"),
        ] {
            let found = resolve(&mut resolver, &root.join(path), true);
            assert_eq!(found.real, root.join(real), "{path}");
            assert_eq!(found.name, without_dots(&root.join(path)), "{path}");
        }
        assert_eq!(resolve(&mut resolver, &root.join("file_link"), false).real, root.join("file_link"));
    }

    #[test]
    fn a_name_in_an_open_folder_leads_where_the_same_path_said_whole_does() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("real")).unwrap();
        std::fs::write(root.join("real/file"), "").unwrap();
        std::os::unix::fs::symlink("file", root.join("real/link")).unwrap();
        std::os::unix::fs::symlink("real", root.join("folder_link")).unwrap();
        let open = std::fs::File::open(root.join("folder_link")).unwrap();
        let directory = std::os::fd::AsRawFd::as_raw_fd(&open);
        let mut resolver = Resolver::default();
        for text in ["file", "link", "new", "..", ".", "file/", "./link", "../folder_link/link"] {
            for follow in [false, true] {
                let place = Place { directory, path: text.as_bytes().to_vec() };
                let found = resolver.resolve(me(), &place, follow, crate::clock::instant()).unwrap();
                let whole = resolve(&mut resolver, &root.join("real").join(text), follow);
                assert_eq!(found, whole, "{text} {follow}");
            }
        }
    }

    #[test]
    fn dots_and_doubled_slashes_are_taken_out_and_nothing_else() {
        for (path, plain) in [
            ("/", "/"),
            ("//a", "/a"),
            ("/a/", "/a"),
            ("/a/.b/..c/d.", "/a/.b/..c/d."),
            ("/a/./b/../c", "/a/c"),
            ("/..", "/"),
            ("/a/.", "/a"),
        ] {
            assert_eq!(without_dots(Path::new(path)).as_os_str(), plain, "{path}");
        }
    }

    #[test]
    fn the_agents_proc_is_followed_to_the_object_and_otherwise_left_alone() {
        let mut resolver = Resolver::default();
        let found = resolve(&mut resolver, Path::new("/proc/self/root/etc/passwd"), true);
        assert_eq!((found.real, found.in_proc), ("/etc/passwd".into(), false));
        let found = resolve(&mut resolver, Path::new("/proc/self/status"), true);
        assert_eq!((found.real, found.in_proc), ("/proc/self/status".into(), true));
        assert!(resolve(&mut resolver, Path::new("/dev/stdin"), true).in_proc);
        // A file of ours under the number that the agent asks for is not what the agent gets.
        let own = std::fs::File::open("/etc/passwd").unwrap();
        let path = format!("/dev/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&own));
        assert!(resolve(&mut resolver, Path::new(&path), true).in_proc);
    }

    #[test]
    fn links_into_the_agents_proc_say_what_it_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        // No process has such a number, for the shim.
        for (name, target) in [
            ("memory", "/proc/99999999/mem"),
            ("process", "/proc/99999999"),
            ("twice", "process/mem"),
            ("up", "process/../99999999/./mem"),
            ("own", "/proc/self"),
            ("round", "round"),
        ] {
            std::os::unix::fs::symlink(target, root.join(name)).unwrap();
        }
        std::fs::create_dir(root.join("folder")).unwrap();
        let mut resolver = Resolver::default();
        let mut proc =
            |path: &str| resolve(&mut resolver, &root.join(path), true).proc.map(|p| p.display().to_string());
        for path in ["memory", "process/mem", "twice", "up", "folder/../memory", "folder/../process/mem"] {
            assert_eq!(proc(path).as_deref(), Some("/proc/99999999/mem"), "{path}");
        }
        assert_eq!(proc("own/mem").as_deref(), Some("/proc/self/mem"));
        for path in ["folder", "missing", "missing/mem", "round", "round/mem"] {
            assert_eq!(proc(path), None, "{path}");
        }
        // Through a descriptor it is what that is open on.
        let open = std::fs::File::open("/proc/self/status").unwrap();
        let number = std::os::fd::AsRawFd::as_raw_fd(&open);
        let expected = format!("/proc/{}/status", me().0);
        for path in [format!("/proc/self/fd/{number}"), format!("/dev/fd/{number}")] {
            assert_eq!(resolve(&mut resolver, Path::new(&path), true).proc, Some(expected.clone().into()), "{path}");
        }
        // Out of there by a folder, and in again by a link.
        let path = Path::new("/proc/self/root").join(root.join("memory").strip_prefix("/").unwrap());
        assert_eq!(resolve(&mut resolver, &path, true).proc, Some("/proc/99999999/mem".into()));
        // Back behind the folder of a process only the kernel knows the way, and back before it everybody does.
        std::os::unix::fs::symlink("/proc/self/cwd/../x", root.join("behind")).unwrap();
        let mut proc = |path: &Path| resolve(&mut resolver, path, true).proc.map(|p| p.display().to_string());
        for path in [Path::new("/proc/self/cwd/../x"), Path::new("/proc/7/root/a/../x"), &root.join("behind")] {
            assert_eq!(proc(path).as_deref(), Some(UNCLEAR), "{}", path.display());
        }
        let there = format!("/proc/self/../..{}", root.join("memory").display());
        assert_eq!(proc(Path::new(&there)).as_deref(), Some("/proc/99999999/mem"));
        assert_eq!(proc(Path::new("/proc/self/fd/../../7/mem")).as_deref(), Some(UNCLEAR));
        assert_eq!(proc(Path::new("/proc/self/net/../../7/mem")).as_deref(), Some("/proc/7/mem"));
        // A link that is not followed is itself.
        assert_eq!(resolve(&mut resolver, &root.join("memory"), false).proc, None);
    }

    #[test]
    fn a_new_link_is_noticed_after_forgetting() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("a")).unwrap();
        std::fs::create_dir(root.join("b")).unwrap();
        let mut resolver = Resolver::default();
        assert_eq!(resolve(&mut resolver, &root.join("a/x"), true).real, root.join("a/x"));
        std::fs::remove_dir(root.join("a")).unwrap();
        std::os::unix::fs::symlink("b", root.join("a")).unwrap();
        resolver.forget(crate::clock::instant(), true);
        assert_eq!(resolve(&mut resolver, &root.join("a/x"), true).real, root.join("b/x"));
    }
}
