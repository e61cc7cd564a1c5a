//! One session's program that tells of opens for reading, its maps, and what comes out of them.

use super::layout::Layout;
use super::results::{Results, Thread};
use super::ring::Ring;
use super::walk::{self, CALLS, Maps, ROOM_BYTES, ended, head};
use crate::contract::{Observer, Sees};
use crate::sys::bpf::{self, Array, License};
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

/// Its word in `session_started`'s `confinement`.
pub const READS_WORD: &str = "ebpf-reads";

/// How much is told at once before whoever reads it must have come, for each two processors: an eighth of a second of opens that do nothing else.
const RING_BYTES: u32 = 4 << 20;
/// How many times as much there is at most.
const RINGS_MAX: usize = 8;

/// What the kernel names the clock's ticks of `/proc/<pid>/stat` by: 100 of them in a second, on both architectures.
const NANOSECONDS_OF_A_TICK: u64 = 10_000_000;

/// An open for reading, or an attempt at one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Read {
    /// Whose.
    pub thread: Thread,
    /// When its process started, in clock ticks after boot.
    pub started_ticks: u64,
    /// The process's parent.
    pub parent: i32,
    /// A descriptor, or an error below zero.
    pub result: i64,
    /// As given.
    pub flags: i32,
    /// What was asked for, as given; `None` when it could not be read.
    pub asked: Option<PathBuf>,
    /// The file that was opened, by its whole path, or of an attempt the folder that the path is relative to; `None` when it was gone, or hangs at no root.
    pub at: Option<PathBuf>,
}

impl Read {
    /// The path, absolute and with dots taken out by their text, and the object where it is another one; `None` when neither is known.
    #[must_use]
    pub(crate) fn named(self, without_dots: impl Fn(&Path) -> PathBuf) -> Option<(PathBuf, Option<PathBuf>)> {
        let (object, folder) = if self.result >= 0 { (self.at, None) } else { (None, self.at) };
        match (self.asked, object, folder) {
            (Some(asked), object, _) if asked.is_absolute() => {
                let name = without_dots(&asked);
                let object = object.filter(|object| *object != name);
                Some((name, object))
            }
            // Where it led is known for certain, how it led there is not.
            (_, Some(object), _) => Some((object, None)),
            (Some(asked), None, Some(folder)) => Some((without_dots(&folder.join(asked)), None)),
            (Some(asked), None, None) => Some((asked, None)),
            (None, None, _) => None,
        }
    }
}

/// Reads what the program put into the ring; `None` when it is none of that.
fn parse(told: &[u8]) -> Option<Read> {
    let word = |at: i16| {
        let at = usize::try_from(at).ok()?;
        Some(u64::from_ne_bytes(told.get(at..at + 8)?.try_into().ok()?))
    };
    let size = |at| word(at).and_then(|bytes| usize::try_from(bytes).ok());
    let behind = told.get(usize::try_from(head::BYTES).ok()?..)?;
    let (names, asked) = behind.split_at_checked(size(head::NAMES)?)?;
    let asked = asked.get(..size(head::ASKED)?)?.strip_suffix(&[0]);
    let ended = i32::try_from(word(head::ENDED)?).ok()?;
    let number = |at| word(at).and_then(|number| u32::try_from(number & 0xffff_ffff).ok()).map(u32::cast_signed);
    Some(Read {
        thread: Thread::from_kernel(word(head::THREAD)?),
        started_ticks: word(head::STARTED)? / NANOSECONDS_OF_A_TICK,
        parent: number(head::PARENT)?,
        result: word(head::RESULT)?.cast_signed(),
        flags: number(head::FLAGS)?,
        asked: asked.map(|asked| PathBuf::from(OsStr::from_bytes(asked))),
        at: path(names, ended),
    })
}

/// The path of names that were written down from the last one up.
fn path(names: &[u8], ended: i32) -> Option<PathBuf> {
    let mut names: Vec<&[u8]> = names.split(|byte| *byte == 0).filter(|name| !name.is_empty()).collect();
    names.reverse();
    let mut path = match ended {
        ended::ROOT => b"/".to_vec(),
        // Deeper than anything that is told: what is known of it.
        ended::EARLY => b"/.../".to_vec(),
        // What it hangs at is named as a root is.
        ended::LOOSE if !names.is_empty() => {
            names.remove(0);
            b"/".to_vec()
        }
        _ => return None,
    };
    path.extend(names.join(&b'/'));
    Some(PathBuf::from(OsStr::from_bytes(&path)))
}

/// Tells what is opened for reading.
#[derive(Debug)]
pub(crate) struct Reads {
    session: Array,
    lost: Array,
    _room: OwnedFd,
    /// The program is at its place as long as this is open.
    _attached: OwnedFd,
}

/// What one program tells, and what comes out of it.
#[derive(Debug)]
pub(crate) struct Begun {
    /// What is opened for reading.
    pub reads: (Reads, Told),
    /// How calls end that are awaited.
    pub results: (Results, Ring),
}

impl Reads {
    /// Begins; nothing is told before the session is named.
    ///
    /// # Errors
    /// What the kernel says: `EPERM` without the right to, `NotFound` where it does not describe itself; `Unsupported` on another architecture than x86-64.
    pub(crate) fn begin() -> io::Result<Begun> {
        let calls = CALLS.ok_or(io::ErrorKind::Unsupported)?;
        let layout = Layout::of_this_kernel()?;
        let processors = std::thread::available_parallelism().map_or(1, |count| count.get().div_ceil(2));
        let bytes = RING_BYTES * u32::try_from(processors.next_power_of_two().min(RINGS_MAX)).unwrap_or(1);
        let (session, lost) = (Array::new(8, 1)?, Array::new(8, 1)?);
        let (room, ring) = (bpf::room(ROOM_BYTES)?, Ring::new(bytes)?);
        let (results, failed, of_results) = Results::beside(super::RING_BYTES)?;
        let maps = Maps {
            session: session.number(),
            room: room.as_raw_fd(),
            told: ring.number(),
            lost: lost.number(),
            results: of_results,
        };
        let loaded = bpf::load(&walk::program(maps, calls, &layout), License::Gpl, Some(layout.sys_exit))?;
        let attached = bpf::attach(None, loaded.as_fd())?;
        let reads = Self { session, lost, _room: room, _attached: attached };
        Ok(Begun { reads: (reads, Told { ring, bytes: Vec::new() }), results: (results, failed) })
    }

    /// Tells of the processes of the namespace that process `init` is in, and of those inside of it. It must be one below the first.
    ///
    /// # Errors
    /// When the process is gone.
    pub(crate) fn of_namespace(&self, init: i32) -> io::Result<()> {
        use std::os::unix::fs::MetadataExt as _;
        let number = std::fs::metadata(format!("/proc/{init}/ns/pid"))?.ino();
        self.session.word(0).store(number, Ordering::SeqCst);
        Ok(())
    }

    /// How many had no room in the ring so far.
    #[must_use]
    pub(crate) fn lost(&self) -> u64 {
        self.lost.word(0).load(Ordering::SeqCst)
    }
}

impl Observer for Reads {
    fn word(&self) -> &'static str {
        READS_WORD
    }

    fn sees(&self) -> Sees {
        Sees {
            programs: false,
            loaders: false,
            ends: false,
            opens: true,
            names: false,
            connections: false,
            results: true,
            holds: false,
        }
    }
}

/// What was told and not read yet.
#[derive(Debug)]
pub(crate) struct Told {
    ring: Ring,
    bytes: Vec<u8>,
}

impl Told {
    /// Takes the next one out, or `None` when there is nothing.
    pub(crate) fn next(&mut self) -> Option<Read> {
        let is_there = self.ring.next_into(&mut self.bytes);
        is_there.then(|| parse(&self.bytes).expect("the program writes what is read here"))
    }

    /// Whether more than half of the room is taken.
    #[must_use]
    pub(crate) fn is_half_full(&self) -> bool {
        let (waiting, room) = self.ring.waiting();
        waiting > room / 2
    }

    /// Becomes readable each time that a good deal has come.
    pub(crate) fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.ring.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(names: &[u8], ended: i32, asked: &[u8], result: i64) -> Vec<u8> {
        let asked_bytes = u64::try_from(asked.len()).unwrap();
        let words = [
            7 << 32 | 8,
            result.cast_unsigned(),
            0x8_0000,
            5,
            1_230_000_000,
            u64::try_from(ended).unwrap(),
            u64::try_from(names.len()).unwrap(),
            asked_bytes,
        ];
        words.into_iter().flat_map(u64::to_ne_bytes).chain(names.iter().copied()).chain(asked.iter().copied()).collect()
    }

    fn named(names: &[u8], ended: i32, asked: &[u8], result: i64) -> Option<(String, Option<String>)> {
        let read = parse(&told(names, ended, asked, result)).unwrap();
        let (name, target) = read.named(crate::observe::resolve::without_dots)?;
        Some((name.display().to_string(), target.map(|target| target.display().to_string())))
    }

    #[test]
    fn what_was_asked_for_and_what_was_opened_are_told_apart() {
        let some = |name: &str, target: Option<&str>| Some((name.to_owned(), target.map(str::to_owned)));
        let file = b"file\0work\0";
        for (names, end, asked, result, expected) in [
            (&file[..], ended::ROOT, &b"/work/file\0"[..], 3, some("/work/file", None)),
            (file, ended::ROOT, b"/work/./x/../file\0", 3, some("/work/file", None)),
            (file, ended::ROOT, b"/link\0", 3, some("/link", Some("/work/file"))),
            (file, ended::ROOT, b"file\0", 3, some("/work/file", None)),
            (file, ended::ROOT, b"../link\0", 3, some("/work/file", None)),
            (file, ended::ROOT, b"", 3, some("/work/file", None)),
            (b"", ended::ROOT, b"..\0", 3, some("/", None)),
            (b"work\0", ended::ROOT, b"missing\0", -2, some("/work/missing", None)),
            (b"work\0", ended::ROOT, b"../missing\0", -2, some("/missing", None)),
            (b"work\0", ended::ROOT, b"/missing\0", -2, some("/missing", None)),
            (b"", ended::NOWHERE, b"missing\0", -9, some("missing", None)),
            (b"work\0", ended::ROOT, b"", -14, None),
            (b"deep\0deeper\0", ended::EARLY, b"deep\0", 3, some("/.../deeper/deep", None)),
            (b"x\0/\0", ended::LOOSE, b"/proc/self/fd/3\0", 4, some("/proc/self/fd/3", Some("/x"))),
        ] {
            assert_eq!(named(names, end, asked, result), expected, "{names:?} {end} {asked:?} {result}");
        }
    }

    #[test]
    fn who_it_was_is_told() {
        let read = parse(&told(b"", ended::ROOT, b"", 3)).unwrap();
        assert_eq!((read.thread, read.parent, read.started_ticks), (Thread::of(7, 8), 5, 123));
        assert_eq!((read.flags, read.result), (0x8_0000, 3));
        assert_eq!((read.thread.process(), read.thread.thread()), (7, 8));
    }

    #[test]
    fn what_is_cut_short_is_nothing() {
        let whole = told(b"file\0", ended::ROOT, b"file\0", 3);
        for length in 0..whole.len() {
            assert_eq!(parse(&whole[..length]), None, "{length}");
        }
    }

    /// Shell commands in a process namespace of their own that is one below the first, told of from the first command on.
    fn of(script: &str) -> Option<(Vec<Read>, u64)> {
        if !super::super::offered() || CALLS.is_none() {
            println!("SKIPPED: eBPF needs root in the machine's own namespaces, and x86-64");
            return None;
        }
        use std::io::Write as _;
        use std::process::{Command, Stdio};
        let (reads, mut told) = Reads::begin().unwrap().reads;
        let mut shell = Command::new("unshare");
        let mut shell = shell.args(["--pid", "--fork", "/bin/sh"]).stdin(Stdio::piped()).spawn().unwrap();
        let children = format!("/proc/{0}/task/{0}/children", shell.id());
        let child = loop {
            let child = std::fs::read_to_string(&children).unwrap();
            if let Ok(child) = child.trim().parse() {
                break child;
            }
        };
        reads.of_namespace(child).unwrap();
        shell.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        assert!(shell.wait().unwrap().success());
        Some((std::iter::from_fn(|| told.next()).collect(), reads.lost()))
    }

    #[test]
    fn what_the_processes_of_a_namespace_open_is_told_and_nobody_elses() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let (deep, too_deep) = (root.join("d/".repeat(20)), root.join("d/".repeat(60)));
        std::fs::create_dir_all(&too_deep).unwrap();
        std::fs::write(deep.join("file"), "").unwrap();
        std::fs::write(too_deep.join("file"), "").unwrap();
        std::fs::write(root.join("there"), "").unwrap();
        std::os::unix::fs::symlink("there", root.join("link")).unwrap();
        let (root_text, deep_text, too_deep_text) = (root.display(), deep.display(), too_deep.display());
        let script = format!(
            "cd {root_text}\nread x < there\nread x < {root_text}/link\nread x < missing\nread x < d/../link\n\
             echo > made\n: < made\n( : < /etc/hostname )\ncd {deep_text}\n: < file\ncd {too_deep_text}\n: < file\nexit 0\n"
        );
        let other = std::thread::spawn(move || std::fs::read("/etc/passwd"));
        let Some((reads, lost)) = of(&script) else { return };
        drop(other.join());
        assert_eq!(lost, 0);
        let named = |read: &Read| read.clone().named(crate::observe::resolve::without_dots).unwrap();
        let short = |path: &Path| path.strip_prefix(&root).unwrap_or(path).display().to_string();
        let seen: Vec<(String, Option<String>, bool)> = reads
            .iter()
            .map(|read| (named(read), read.result < 0))
            .filter(|((name, _), _)| {
                [&*root, Path::new("/etc/hostname"), Path::new("/etc/passwd"), Path::new("/...")]
                    .iter()
                    .any(|of| name.starts_with(of))
            })
            .map(|((name, target), failed)| (short(&name), target.as_deref().map(short), failed))
            .collect();
        let of = |name: &str, target: Option<&str>, failed| (name.to_owned(), target.map(str::to_owned), failed);
        let deepest = format!("{}file", "d/".repeat(20));
        let too_deep = format!("/.../{}file", "d/".repeat(39));
        assert_eq!(
            seen,
            [
                of("there", None, false),
                of("link", Some("there"), false),
                of("missing", None, true),
                of("there", None, false),
                of("made", None, false),
                of("/etc/hostname", None, false),
                of(&deepest, None, false),
                of(&too_deep, None, false),
            ]
        );
        // The subshell is a child of the shell, and both have started.
        let subshell = reads.iter().find(|read| read.asked.as_deref() == Some(Path::new("/etc/hostname"))).unwrap();
        let shell = reads.iter().find(|read| read.asked.as_deref() == Some(Path::new("missing"))).unwrap();
        assert_eq!(subshell.parent, shell.thread.process());
        assert!(subshell.started_ticks >= shell.started_ticks && shell.started_ticks > 0);
    }

    #[test]
    fn what_has_no_room_is_counted() {
        // More than the largest ring has room for.
        const TIMES: u64 = 400_000;
        let script = format!("i=0\nwhile [ $i -lt {TIMES} ]; do : < /etc/hostname; i=$((i+1)); done\n");
        let Some((reads, lost)) = of(&script) else { return };
        let known = reads.iter().filter(|read| read.asked.as_deref() == Some(Path::new("/etc/hostname"))).count();
        assert!(lost > 0 && u64::try_from(known).unwrap() + lost == TIMES, "{known} and {lost}");
    }
}
