//! One session's group of marks: what was opened on its mounts, and that its mounts changed.

use super::{FileId, mounts};
use crate::observe::resolve::name_of;
use crate::sys::fanotify::{self, Told};
use crate::sys::process;
use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

const OVERFLOW: &str = "more was executed at once than the kernel keeps to tell of";
const UNREADABLE: &str = "a file that was opened for execution could not be looked at";

/// A file that the kernel opened for execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Opened {
    /// For which process, in the shim's own numbering.
    pub pid: i32,
    /// Which file.
    pub file: FileId,
    /// Absolute path, without links.
    pub path: PathBuf,
}

/// What there was in the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    /// A file was opened for execution.
    Opened(Opened),
    /// So many files were, and it is not known which; -1 when nobody knows how many. And why.
    Lost(i64, String),
}

/// What there is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct News {
    /// Something was opened.
    pub opened: bool,
    /// The session has other mounts than before.
    pub mounts: bool,
    /// It is time to stop.
    pub stop: bool,
}

/// Watches what is opened for execution on the mounts of one session.
#[derive(Debug)]
pub(crate) struct Watch {
    group: OwnedFd,
    /// The root of the session's processes, below which its mounts are found.
    root: OwnedFd,
    /// Their `mountinfo`; the kernel says when it has changed.
    mounts: File,
}

/// Whether this process may watch mounts at all. No mark is tried: the kernel takes its time, some 15 ms, to close a group that had one.
#[must_use]
pub(crate) fn offered() -> bool {
    fanotify::group().is_ok()
}

impl Watch {
    /// Watches the mounts that process `pid` has, which must have a mount namespace of its own.
    ///
    /// # Errors
    /// What the kernel says: `EPERM` without the right to, `EMFILE` at the user's limit of groups.
    pub(crate) fn begin(pid: i32) -> io::Result<Self> {
        let folder = PathBuf::from(format!("/proc/{pid}"));
        let root = File::open(folder.join("root"))?;
        // Before they are read: what changes from here on is told.
        let mounts = File::open(folder.join("mountinfo"))?;
        let watch = Self { group: fanotify::group()?, root: root.into(), mounts };
        fanotify::mark_mount(watch.group.as_fd(), watch.root.as_fd(), c".")?;
        watch.mark()?;
        Ok(watch)
    }

    /// Marks every mount that there is now. One that cannot be marked is traced: what is executed from it is not told.
    ///
    /// # Errors
    /// When the mounts cannot be read.
    pub(crate) fn mark(&self) -> io::Result<()> {
        let mut text = Vec::new();
        let mut mounts = &self.mounts;
        mounts.rewind()?;
        mounts.read_to_end(&mut text)?;
        for place in mounts::places(&text) {
            match fanotify::mark_mount(self.group.as_fd(), self.root.as_fd(), &place) {
                Ok(()) => {}
                // Covered by another mount, or gone: no path leads there. Or one of the kernel's own, which holds no programs.
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR | libc::EINVAL)) => {}
                Err(error) => {
                    tracing::warn!(?place, %error, "what is executed from a mount of the session is not told")
                }
            }
        }
        Ok(())
    }

    /// Takes the next thing out of the queue, or `None` when there is nothing.
    ///
    /// # Errors
    /// When nothing more will be told.
    pub(crate) fn next(&self) -> io::Result<Option<Seen>> {
        let seen = match fanotify::next(self.group.as_fd()) {
            Ok(Some(Told::Opened { pid, file })) => opened(pid, file).map(Seen::Opened),
            Ok(Some(Told::Overflow)) => Ok(Seen::Lost(-1, OVERFLOW.to_owned())),
            Ok(None) => return Ok(None),
            Err(error) => Err(error),
        };
        match seen {
            Ok(seen) => Ok(Some(seen)),
            // These are about the group, the others about one file.
            Err(error) if matches!(error.raw_os_error(), None | Some(libc::EBADF | libc::EINVAL | libc::EFAULT)) => {
                Err(error)
            }
            Err(error) => Ok(Some(Seen::Lost(1, format!("{UNREADABLE}: {error}")))),
        }
    }

    /// Waits until there is something to do.
    ///
    /// # Errors
    /// `EINTR` when a signal came.
    pub(crate) fn wait(&self, stop: BorrowedFd<'_>) -> io::Result<News> {
        let asked = [(self.group.as_fd(), libc::POLLIN), (self.mounts.as_fd(), libc::POLLPRI), (stop, libc::POLLIN)];
        let [opened, mounts, stop] = process::poll_for(asked, -1)?;
        Ok(News { opened: opened != 0, mounts: mounts != 0, stop: stop != 0 })
    }
}

fn opened(pid: i32, file: OwnedFd) -> io::Result<Opened> {
    let path = name_of(file.as_fd())?;
    let bytes = path.as_os_str().as_bytes();
    let path = bytes.strip_suffix(b" (deleted)").map_or(path.clone(), |name| std::ffi::OsStr::from_bytes(name).into());
    Ok(Opened { pid, file: FileId::of(&File::from(file).metadata()?), path })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Write as _};
    use std::process::{Command, Stdio};

    fn all(watch: &Watch) -> Vec<Opened> {
        let next = || match watch.next().unwrap()? {
            Seen::Opened(opened) => Some(opened),
            Seen::Lost(count, why) => panic!("{count} lost: {why}"),
        };
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn a_group_that_says_nothing_sensible_ends_the_watch() {
        // A read from one ends at once, one from the other is no event; neither is taken for a queue that is empty.
        for file in ["/dev/null", "/dev/zero"] {
            let open = || File::open(file).unwrap();
            let watch = Watch { group: open().into(), root: open().into(), mounts: open() };
            assert!(watch.next().is_err(), "{file}");
        }
    }

    #[test]
    fn only_what_is_executed_on_the_sessions_own_mounts_is_told() {
        if !offered() {
            println!("SKIPPED only_what_is_executed_on_the_sessions_own_mounts_is_told: fanotify needs root");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().canonicalize().unwrap().join("later");
        std::fs::create_dir(&place).unwrap();
        let program = PathBuf::from("/bin/true").canonicalize().unwrap();
        let script = format!(
            "echo ready; read x; mount -t tmpfs none {0}; cp {1} {0}/copy; echo mounted; read x; {0}/copy; exec {1}",
            place.display(),
            program.display()
        );
        let mut session = Command::new("unshare")
            .args(["--mount", "--propagation", "slave", "/bin/sh", "-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut tell, mut told) = (session.stdin.take().unwrap(), BufReader::new(session.stdout.take().unwrap()));
        let mut answer = || {
            let mut line = String::new();
            told.read_line(&mut line).unwrap();
            line
        };
        assert_eq!(answer(), "ready\n");
        let pid = i32::try_from(session.id()).unwrap();
        let watch = Watch::begin(pid).unwrap();
        // The same program, on the same file system, by this process: on another mount of it.
        assert!(Command::new(&program).status().unwrap().success());
        assert_eq!(all(&watch), []);
        tell.write_all(b"\n").unwrap();
        assert_eq!(answer(), "mounted\n");
        let stop = process::event().unwrap();
        // The shell's `mount` and `cp` have been executed by now, and the mount has been made.
        assert_eq!(watch.wait(stop.as_fd()).unwrap(), News { opened: true, mounts: true, stop: false });
        let names = |opened: &[Opened]| {
            let name = |one: &Opened| one.path.file_name().unwrap().to_string_lossy().into_owned();
            opened.iter().map(name).filter(|name| !name.starts_with("ld-")).collect::<Vec<_>>()
        };
        assert_eq!(names(&all(&watch)), ["mount", "cp"]);
        watch.mark().unwrap();
        tell.write_all(b"\n").unwrap();
        assert!(session.wait().unwrap().success());
        let last = all(&watch);
        assert_eq!(names(&last), ["copy", "true"]);
        let own: Vec<_> = last.iter().filter(|one| one.pid == pid).collect();
        assert_eq!(
            own.first().map(|one| (&one.path, one.file)),
            Some((&program, FileId::of(&program.metadata().unwrap())))
        );
        assert!(last.len() > 2, "the loader is told as well: {last:#?}");
    }
}
