//! Reads `linux.txt`, and says which of its lines applies to a call.
//!
//! The list names every call of the kernel, the harmless ones too, so that a call nobody thought about cannot be told from one that
//! somebody did. What it does not name fails (`filter.rs`).

use crate::sys::arch::{Arch, NATIVE};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// When a line applies. Arguments are counted from 0; only the low 32 bits are compared, except for null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// To every call.
    Always,
    /// The argument is not zero.
    NotNull(usize),
    /// The argument has one of these bits.
    AnyBit(usize, u32),
    /// The argument, masked, has this value.
    Masked(usize, u32, u32),
}

impl When {
    /// Whether it applies to these registers.
    #[must_use]
    pub(crate) fn applies(self, arguments: &[u64; 6]) -> bool {
        match self {
            Self::Always => true,
            Self::NotNull(argument) => arguments[argument] != 0,
            Self::AnyBit(argument, bits) => low(arguments[argument]) & bits != 0,
            Self::Masked(argument, mask, value) => low(arguments[argument]) & mask == value,
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the kernel takes the low 32 bits of such a register")]
const fn low(register: u64) -> u32 {
    register as u32
}

/// What becomes of a call. `linux.txt` says each in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// Goes on, unseen.
    Harmless,
    /// Waits for the shim, which decides.
    Trapped,
    /// Waits for the shim, which decides; or goes on, and is told of afterwards.
    Told,
    /// Waits for the shim, which records it; the kernel goes on.
    Observed,
    /// Waits for the shim, which records it and answers with this error number.
    Refused(i32),
    /// Fails with this error number, unrecorded.
    Closed(i32),
    /// Without a process namespace: waits for the shim, which refuses it when the process that this argument names is not of the
    /// session.
    Fenced(usize),
    /// Without a process namespace and without root: answered with success, without effect.
    Muted,
}

/// One line of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The kernel's name for the call.
    pub name: &'static str,
    /// Its number on x86-64.
    pub x86_64: Option<u32>,
    /// Its number on arm64.
    pub arm64: Option<u32>,
    /// When this line applies.
    pub when: When,
    /// What happens then.
    pub then: Then,
    /// Why.
    pub reason: &'static str,
}

impl Entry {
    /// Whether the shim answers by this line alone, and writes a `call_attempted`.
    #[must_use]
    pub(crate) const fn is_about_the_sandbox(&self) -> bool {
        matches!(self.then, Then::Refused(_) | Then::Observed | Then::Fenced(_))
    }
}

/// What of the list depends on the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Setup {
    /// There is no process namespace: the fences stand.
    pub fences: bool,
    /// The agent could blind the shim by hiding its memory.
    pub mutes: bool,
    /// Sockets cannot be copied, so the shim makes the IP sockets itself.
    pub makes_sockets: bool,
    /// Opens for reading go on, and are told of afterwards.
    pub tells_reads: bool,
}

impl Setup {
    /// What becomes of a call in this session.
    #[must_use]
    pub(crate) fn then(self, entry: &Entry) -> Then {
        let internet = [libc::AF_INET, libc::AF_INET6].map(|family| When::Masked(0, u32::MAX, family.unsigned_abs()));
        match entry.then {
            Then::Fenced(_) if !self.fences => Then::Harmless,
            Then::Muted if !self.mutes => Then::Harmless,
            Then::Told if self.tells_reads => Then::Harmless,
            Then::Harmless if self.makes_sockets && entry.name == "socket" && internet.contains(&entry.when) => {
                Then::Trapped
            }
            then => then,
        }
    }
}

const TEXT: &str = include_str!("linux.txt");

/// The list, in its own order.
pub(crate) fn table() -> &'static [Entry] {
    static TABLE: LazyLock<Vec<Entry>> =
        LazyLock::new(|| parse(TEXT).expect("the list is a part of this program, and a test reads it"));
    &TABLE
}

/// x32 calls share the architecture with x86-64 and have numbers of their own; the filter hands all of them to the shim.
const FOREIGN: Entry = Entry {
    name: "x32",
    x86_64: None,
    arm64: None,
    when: When::Always,
    then: Then::Refused(libc::ENOSYS),
    reason: "calls of another ABI pass every check of numbers",
};

/// The line that applies to a call of the running architecture; `None` for a number that no line names.
#[must_use]
pub(crate) fn decision(number: i64, arguments: &[u64; 6]) -> Option<&'static Entry> {
    static BY_NUMBER: LazyLock<BTreeMap<u32, Vec<&'static Entry>>> = LazyLock::new(|| {
        let mut by_number: BTreeMap<u32, Vec<&'static Entry>> = BTreeMap::new();
        for entry in table() {
            if let Some(number) = NATIVE.number(entry) {
                by_number.entry(number).or_default().push(entry);
            }
        }
        by_number
    });
    let number = u32::try_from(number).ok()?;
    if NATIVE.is_foreign(number) {
        return Some(&FOREIGN);
    }
    BY_NUMBER.get(&number)?.iter().find(|entry| entry.when.applies(arguments)).copied()
}

impl Arch {
    /// The call's number here, if there is one.
    #[must_use]
    pub(crate) fn number(&self, entry: &Entry) -> Option<u32> {
        (self.number_of)(entry)
    }

    /// Whether a number belongs to another ABI that shares this architecture's value.
    #[must_use]
    pub(crate) fn is_foreign(&self, number: u32) -> bool {
        self.foreign_from.is_some_and(|from| number >= from)
    }
}

/// Reads the list.
fn parse(text: &'static str) -> Result<Vec<Entry>, String> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    lines.map(|(index, line)| entry(line).map_err(|what| format!("line {}: {what}", index + 1))).collect()
}

fn entry(line: &'static str) -> Result<Entry, String> {
    let mut rest = line;
    let mut word = || {
        let trimmed = rest.trim_start();
        let end = trimmed.find(' ').unwrap_or(trimmed.len());
        let (word, after) = trimmed.split_at(end);
        rest = after;
        if word.is_empty() { Err("ends too early".to_owned()) } else { Ok(word) }
    };
    let number = |word: &str| match word {
        "-" => Ok(None),
        digits => digits.parse().map(Some).map_err(|_| format!("`{digits}` is no number of a call")),
    };
    let name = word()?;
    let (x86_64, arm64) = (number(word()?)?, number(word()?)?);
    let when = when(word()?)?;
    let then = match word()? {
        "harmless" => Then::Harmless,
        "trapped" => Then::Trapped,
        "told" => Then::Told,
        "observed" => Then::Observed,
        "muted" => Then::Muted,
        "refused" => Then::Refused(errno(word()?)?),
        "closed" => Then::Closed(errno(word()?)?),
        "fenced" => Then::Fenced(argument(word()?)?),
        other => return Err(format!("`{other}` is nothing that becomes of a call")),
    };
    let reason = rest.trim();
    if reason.is_empty() {
        return Err(format!("no reason for {name}"));
    }
    Ok(Entry { name, x86_64, arm64, when, then, reason })
}

fn argument(word: &str) -> Result<usize, String> {
    let index = word.strip_prefix("arg").and_then(|digits| digits.parse().ok()).filter(|index| *index < 6);
    index.ok_or_else(|| format!("`{word}` is no argument"))
}

fn when(word: &str) -> Result<When, String> {
    if word == "always" {
        return Ok(When::Always);
    }
    let value = |text: &str| {
        let parsed = text.strip_prefix("0x").map_or_else(|| text.parse(), |hex| u32::from_str_radix(hex, 16));
        parsed.map_err(|_| format!("`{text}` is no number"))
    };
    if let Some((arg, "0")) = word.split_once("!=") {
        return Ok(When::NotNull(argument(arg)?));
    }
    match (word.split_once('&'), word.split_once('=')) {
        (Some((arg, rest)), _) => match rest.split_once('=') {
            Some((mask, wanted)) => Ok(When::Masked(argument(arg)?, value(mask)?, value(wanted)?)),
            None => Ok(When::AnyBit(argument(arg)?, value(rest)?)),
        },
        (None, Some((arg, wanted))) => Ok(When::Masked(argument(arg)?, u32::MAX, value(wanted)?)),
        (None, None) => Err(format!("`{word}` is no condition")),
    }
}

fn errno(word: &str) -> Result<i32, String> {
    match word {
        "EPERM" => Ok(libc::EPERM),
        "ENOSYS" => Ok(libc::ENOSYS),
        "EACCES" => Ok(libc::EACCES),
        "EAFNOSUPPORT" => Ok(libc::EAFNOSUPPORT),
        other => Err(format!("`{other}` is no error that is used here")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_line_can_be_read_and_reached() {
        let all = parse(TEXT).unwrap();
        let mut seen: Vec<&str> = Vec::new();
        for (index, entry) in all.iter().enumerate() {
            if seen.last() != Some(&entry.name) {
                assert!(!seen.contains(&entry.name), "the lines of {} are scattered", entry.name);
                seen.push(entry.name);
            }
            let shadowed = all[..index].iter().any(|before| before.name == entry.name && before.when == When::Always);
            assert!(!shadowed, "a line of {} stands below one that always applies", entry.name);
            assert!(entry.x86_64.is_some() || entry.arm64.is_some(), "{} is a call of no architecture", entry.name);
        }
        for name in seen {
            let last = all.iter().rfind(|entry| entry.name == name).unwrap();
            assert_eq!(last.when, When::Always, "{name}: what becomes of the rest?");
        }
    }

    #[test]
    fn no_two_calls_have_one_number() {
        for of in [|entry: &Entry| entry.x86_64, |entry: &Entry| entry.arm64] {
            let mut owners = BTreeMap::new();
            for entry in table() {
                if let Some(number) = of(entry) {
                    let owner = *owners.entry(number).or_insert(entry.name);
                    assert_eq!(owner, entry.name, "number {number}");
                }
            }
        }
    }

    /// Names and numbers of a C header: `#define __NR_read 0`. arm64's, which many architectures share, gives some numbers two names:
    /// `#define __NR_fcntl __NR3264_fcntl`.
    fn header(text: &str) -> BTreeMap<String, u32> {
        let lines = text.lines().filter_map(|line| line.strip_prefix("#define __NR")?.split_once(char::is_whitespace));
        let defined: BTreeMap<&str, &str> = lines.map(|(name, value)| (name, value.trim())).collect();
        let behind = |value: &str| value.strip_prefix("__NR").and_then(|name| defined.get(name)).copied();
        let calls = defined.iter().filter_map(|(name, value)| Some((name.strip_prefix('_')?, *value)));
        calls
            .filter_map(|(name, value)| Some((name.to_owned(), behind(value).unwrap_or(value).parse().ok()?)))
            .collect()
    }

    /// The kernel's header as the C compiler of this machine reads it for this architecture.
    fn header_as_the_compiler_reads_it() -> Option<String> {
        let mut compiler = std::process::Command::new("cc");
        compiler.args(["-dM", "-E", "-include", "asm/unistd.h", "-x", "c", "/dev/null"]);
        let read = compiler.output().ok().filter(|output| output.status.success())?;
        String::from_utf8(read.stdout).ok()
    }

    #[test]
    fn the_c_headers_of_this_machine_name_no_call_that_the_list_lacks() {
        let ours: BTreeMap<&str, u32> = table().iter().filter_map(|e| Some((e.name, NATIVE.number(e)?))).collect();
        let folders = ["/usr/include/asm", "/usr/include/x86_64-linux-gnu/asm", "/usr/include/aarch64-linux-gnu/asm"];
        let read = folders.iter().filter_map(|folder| std::fs::read_to_string(format!("{folder}/unistd_64.h")).ok());
        let mut compared = 0;
        for text in read.chain(header_as_the_compiler_reads_it()) {
            // How many there are, and where those of a single architecture would begin, are no calls.
            let counts = ["syscalls", "arch_specific_syscall"];
            for (name, number) in header(&text).into_iter().filter(|(name, _)| !counts.contains(&name.as_str())) {
                assert_eq!(ours.get(name.as_str()), Some(&number), "{name} is {number} in the kernel's header");
                compared += 1;
            }
        }
        // The C library's own list, for a machine without headers: a sample from every corner.
        for (name, number) in [
            ("read", libc::SYS_read),
            ("openat2", libc::SYS_openat2),
            ("execveat", libc::SYS_execveat),
            ("io_uring_setup", libc::SYS_io_uring_setup),
            ("mount_setattr", libc::SYS_mount_setattr),
            ("landlock_restrict_self", libc::SYS_landlock_restrict_self),
            ("futex_waitv", libc::SYS_futex_waitv),
            ("pidfd_getfd", libc::SYS_pidfd_getfd),
            ("keyctl", libc::SYS_keyctl),
        ] {
            assert_eq!(ours.get(name).map(|n| i64::from(*n)), Some(number), "{name}");
            compared += 1;
        }
        println!("{compared} numbers compared");
    }

    /// Entry points whose name in the kernel's symbols is another than that of their call, or that are no call of this architecture.
    fn call_of_symbol(symbol: &str) -> Option<&str> {
        Some(match symbol {
            "newstat" => "stat",
            "newlstat" => "lstat",
            "newfstat" => "fstat",
            "newuname" => "uname",
            "sendfile64" => "sendfile",
            "umount" => "umount2",
            "fadvise64_64" => "fadvise64",
            "mmap_pgoff" => "mmap",
            "arm64_personality" => "personality",
            // Entry points for other architectures, old ABIs and 32-bit programs, which the kernel builds in without numbers here.
            other if other.starts_with("ia32_") || other.starts_with("s390_") || other.starts_with("spu_") => {
                return None;
            }
            other if other.ends_with("_time32") || other.ends_with("16") || other.ends_with("time32") => return None,
            "ni_syscall" | "gethostname" | "ipc" | "llseek" | "nice" | "old_getrlimit" | "old_msgctl"
            | "old_readdir" | "old_semctl" | "old_shmctl" | "oldumount" | "olduname" | "pciconfig_iobase"
            | "pciconfig_read" | "pciconfig_write" | "recv" | "rtas" | "send" | "sgetmask" | "ssetmask" | "signal"
            | "sigpending" | "sigprocmask" | "sigsuspend" | "socketcall" | "statfs64" | "fstatfs64" | "stime"
            | "stime32" | "subpage_prot" | "sync_file_range2" | "utime32" | "vm86" | "vm86old" | "waitpid"
            | "ftruncate64" | "truncate64" | "fcntl64" | "stat64" | "lstat64" | "fstat64" | "fstatat64" => return None,
            other => other,
        })
    }

    #[test]
    fn the_running_kernel_has_no_entry_point_that_the_list_lacks() {
        let symbols = std::fs::read_to_string("/proc/kallsyms").unwrap_or_default();
        let prefix = if cfg!(target_arch = "x86_64") { "__x64_sys_" } else { "__arm64_sys_" };
        let points: BTreeSet<&str> = symbols
            .lines()
            .filter_map(|line| line.split_whitespace().nth(2)?.strip_prefix(prefix))
            // The compiler splits functions and names the pieces after them, with a dot.
            .filter(|name| !name.contains('.'))
            .filter_map(call_of_symbol)
            .collect();
        if points.is_empty() {
            println!("SKIPPED the_running_kernel_has_no_entry_point_that_the_list_lacks: no symbols to be seen");
            return;
        }
        let known: BTreeSet<&str> = table().iter().map(|entry| entry.name).collect();
        // A kernel that is newer than the list may have more; all of that has numbers above the list's last and fails.
        let unknown: Vec<_> = points.difference(&known).collect();
        assert!(
            unknown.is_empty(),
            "{unknown:?} are calls of this kernel: add them to linux.txt, with what becomes of them and why"
        );
    }

    #[test]
    fn a_call_is_found_by_its_number_and_arguments() {
        let find = |number: i64, args: [u64; 6]| decision(number, &args).map(|entry| (entry.name, entry.then));
        assert_eq!(find(libc::SYS_openat, [0, 0, 0o10_000_000, 0, 0, 0]), Some(("openat", Then::Harmless)));
        assert_eq!(find(libc::SYS_openat, [0; 6]), Some(("openat", Then::Told)));
        assert_eq!(find(libc::SYS_openat, [0, 0, 1, 0, 0, 0]), Some(("openat", Then::Trapped)));
        assert_eq!(find(libc::SYS_socket, [40, 1, 0, 0, 0, 0]), Some(("socket", Then::Refused(libc::EAFNOSUPPORT))));
        assert_eq!(find(libc::SYS_read, [0; 6]), Some(("read", Then::Harmless)));
        assert_eq!(find(9999, [0; 6]), None);
        if cfg!(target_arch = "x86_64") {
            assert_eq!(find(0x4000_0000 + 2, [0; 6]), Some(("x32", Then::Refused(libc::ENOSYS))));
        }
    }
}
