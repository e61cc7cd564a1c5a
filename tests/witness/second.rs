//! The second witness: from the calls that strace printed to what was done.

use crate::act::{Act, Testimony, absolute};
use crate::trace::{Call, field, quoted, referent};
use std::collections::HashMap;
use std::path::Path;

/// What strace is asked to print: more than the shim watches, so that a call that the shim forgot would be seen here.
pub(crate) const TRACED: &str =
    "%file,%network,%process,fchmod,fchown,fchdir,ftruncate,fsetxattr,fremovexattr,io_uring_setup";

/// Calls that make no record, each with the reason. A call that is neither here nor read below fails the test.
const UNRECORDED: &[(&str, &str)] = &[
    ("access", "asks about a file, does not open it"),
    ("faccessat", "asks about a file, does not open it"),
    ("faccessat2", "asks about a file, does not open it"),
    ("stat", "asks about a file, does not open it"),
    ("lstat", "asks about a file, does not open it"),
    ("newfstatat", "asks about a file, does not open it"),
    ("statx", "asks about a file, does not open it"),
    ("statfs", "asks about a file system"),
    ("readlink", "asks about a link, does not follow it"),
    ("readlinkat", "asks about a link, does not follow it"),
    ("getxattr", "asks about a file, does not open it"),
    ("lgetxattr", "asks about a file, does not open it"),
    ("llistxattr", "asks about a file, does not open it"),
    ("getcwd", "asks where the process is"),
    ("utimensat", "changes dates; the content's change was the open for writing"),
    ("futimesat", "changes dates; the content's change was the open for writing"),
    ("ftruncate", "on an open file: the open for writing was recorded"),
    ("inotify_add_watch", "asks to be told of changes, reads nothing"),
    ("umask", "changes what later calls do, and they are recorded"),
    ("exit", "ends a thread"),
    ("exit_group", "the end of a process has a record of its own, without a counterpart here"),
    ("wait4", "waits"),
    ("waitid", "waits"),
    ("kill", "a signal is no file, program or connection"),
    ("tkill", "a signal is no file, program or connection"),
    ("tgkill", "a signal is no file, program or connection"),
    ("pidfd_send_signal", "a signal is no file, program or connection"),
    ("pidfd_open", "a handle on a process"),
    ("rt_sigqueueinfo", "a signal is no file, program or connection"),
    ("socketpair", "both ends are the program's own"),
    ("accept", "the listen was recorded"),
    ("accept4", "the listen was recorded"),
    ("getsockname", "asks about a socket"),
    ("getpeername", "asks about a socket"),
    ("getsockopt", "asks about a socket"),
    ("setsockopt", "changes a socket that leads nowhere by that"),
    ("shutdown", "ends a connection that was recorded"),
    ("recvfrom", "receives on a socket whose connect or bind was recorded"),
    ("recvmsg", "receives on a socket whose connect or bind was recorded"),
    ("getsid", "asks about a process"),
    ("arch_prctl", "sets a register"),
];

#[derive(Debug, Clone)]
struct Process {
    image: String,
    folder: String,
}

#[derive(Debug, Default)]
struct World {
    process_of: HashMap<i64, i64>,
    processes: HashMap<i64, Process>,
    /// Protocol of a socket, by the text that strace prints for it.
    protocols: HashMap<String, &'static str>,
    bound: HashMap<String, String>,
}

/// What was done, as the trace tells it; the traced program was started in `folder`. Of programs that are not `wanted`, by their path, is only
/// followed what they start.
pub(crate) fn testimony(calls: &[Call], folder: &str, wanted: impl Fn(&str) -> bool) -> Testimony {
    let mut world = World::default();
    let mut seen = Testimony::default();
    for call in calls {
        world.meet(call.thread, folder);
        if !wanted(&world.process(call.thread).image) {
            if !matches!(call.name.as_str(), "socket" | "bind") {
                world.follow(call);
            }
            continue;
        }
        for (operation, object, target) in world.read(call) {
            let act = Act {
                image: world.process(call.thread).image.clone(),
                operation: operation.to_owned(),
                object,
                target,
            };
            // A call without a return was cut off by the end of its process, or begins again as another line.
            seen.add(act, call.outcome(), 1);
        }
        world.follow(call);
    }
    seen
}

type Done = (&'static str, String, Option<String>);

impl World {
    fn meet(&mut self, thread: i64, folder: &str) {
        if !self.process_of.contains_key(&thread) {
            assert!(self.processes.is_empty(), "thread {thread} was made by no call in the trace");
            self.process_of.insert(thread, thread);
            self.processes.insert(thread, Process { image: String::new(), folder: folder.to_owned() });
        }
    }

    fn process(&self, thread: i64) -> &Process {
        &self.processes[&self.process_of[&thread]]
    }

    /// Follows what later calls rest on: new processes and threads, their folders, their programs, their sockets.
    fn follow(&mut self, call: &Call) {
        let Some(returned) = call.returned().filter(|n| *n >= 0) else { return };
        let process = self.process_of[&call.thread];
        match call.name.as_str() {
            "clone" | "clone3" | "fork" | "vfork" if returned > 0 => {
                if call.arguments.iter().any(|argument| argument.contains("CLONE_THREAD")) {
                    self.process_of.insert(returned, process);
                } else {
                    let child = self.processes[&process].clone();
                    self.process_of.insert(returned, returned);
                    self.processes.insert(returned, child);
                }
            }
            "execve" | "execveat" => {
                let path = if call.name == "execve" { self.here(call, 0) } else { self.at(call, 0) };
                self.processes.get_mut(&process).unwrap().image = real(&path);
            }
            "chdir" => self.processes.get_mut(&process).unwrap().folder = self.here(call, 0),
            "fchdir" => self.processes.get_mut(&process).unwrap().folder = referent(&call.arguments[0]).unwrap(),
            "socket" => {
                let protocol = match (call.arguments[0].as_str(), call.arguments[1].contains("SOCK_STREAM")) {
                    ("AF_UNIX", _) => "unix",
                    ("AF_NETLINK", _) => "netlink",
                    (_, true) => "tcp",
                    (_, false) => "udp",
                };
                self.protocols.insert(referent(&call.result).unwrap(), protocol);
            }
            "bind" => {
                if let Some(address) = address(&call.arguments[1], &self.process(call.thread).folder) {
                    self.bound.insert(referent(&call.arguments[0]).unwrap(), address);
                }
            }
            _ => {}
        }
    }

    fn here(&self, call: &Call, index: usize) -> String {
        let path = quoted(&call.arguments[index]).unwrap_or_else(|| panic!("no path in {call:?}"));
        absolute(&self.process(call.thread).folder, &path)
    }

    fn at(&self, call: &Call, index: usize) -> String {
        let folder = referent(&call.arguments[index]);
        let path = quoted(&call.arguments[index + 1]).unwrap_or_else(|| panic!("no path in {call:?}"));
        absolute(folder.as_deref().unwrap_or(&self.process(call.thread).folder), &path)
    }

    /// What a call did, in the record's words; nothing for a call that makes no record.
    fn read(&self, call: &Call) -> Vec<Done> {
        let one = |operation: &'static str, object: String| vec![(operation, object, None)];
        let two = |operation: &'static str, object: String, target: String| vec![(operation, object, Some(target))];
        let here = |index| self.here(call, index);
        let at = |index| self.at(call, index);
        let a = &call.arguments;
        match call.name.as_str() {
            "execve" => one("EXECUTE", real(&here(0))),
            "execveat" => one("EXECUTE", real(&at(0))),
            "open" => opened(&a[1]).map_or_else(Vec::new, |operation| one(operation, here(0))),
            "openat" => opened(&a[2]).map_or_else(Vec::new, |operation| one(operation, at(0))),
            "openat2" => {
                opened(field(&a[2], "flags").unwrap()).map_or_else(Vec::new, |operation| one(operation, at(0)))
            }
            "creat" => one("CREATE", here(0)),
            "unlink" => one("UNLINK", here(0)),
            "unlinkat" => one(if a[2].contains("AT_REMOVEDIR") { "REMOVE_DIRECTORY" } else { "UNLINK" }, at(0)),
            "rmdir" => one("REMOVE_DIRECTORY", here(0)),
            "mkdir" => one("MAKE_DIRECTORY", here(0)),
            "mkdirat" => one("MAKE_DIRECTORY", at(0)),
            "mknod" => one("MAKE_NODE", here(0)),
            "mknodat" => one("MAKE_NODE", at(0)),
            "truncate" => one("TRUNCATE", here(0)),
            "chmod" => one("CHANGE_MODE", here(0)),
            "fchmodat" | "fchmodat2" => one("CHANGE_MODE", at(0)),
            "fchmod" => one("CHANGE_MODE", referent(&a[0]).unwrap()),
            "chown" | "lchown" => one("CHANGE_OWNER", here(0)),
            "fchownat" => one("CHANGE_OWNER", at(0)),
            "fchown" => one("CHANGE_OWNER", referent(&a[0]).unwrap()),
            "rename" => two("RENAME", here(0), here(1)),
            "renameat" | "renameat2" => two("RENAME", at(0), at(2)),
            "link" => two("LINK", here(0), here(1)),
            "linkat" => two("LINK", at(0), at(2)),
            "symlink" => two("SYMLINK", here(1), quoted(&a[0]).unwrap()),
            "symlinkat" => two("SYMLINK", at(1), quoted(&a[0]).unwrap()),
            "connect" => self.network("CONNECT", call, &a[1]),
            "bind" => self.network("BIND", call, &a[1]),
            "sendto" if a[4] != "NULL" => self.network("SEND", call, &a[4]),
            "sendmsg" => match field(&a[1], "msg_name") {
                Some(name) if name != "NULL" => panic!("an addressed sendmsg is not read yet: {call:?}"),
                _ => vec![],
            },
            "listen" => {
                let socket = referent(&a[0]).unwrap();
                self.bound
                    .get(&socket)
                    .map_or_else(Vec::new, |bound| one("LISTEN", format!("{} {bound}", self.protocol(&socket))))
            }
            "clone" | "clone3" | "fork" | "vfork" | "chdir" | "fchdir" | "socket" | "sendto" => vec![],
            name => {
                assert!(
                    UNRECORDED.iter().any(|(known, _)| *known == name),
                    "a call that nobody has thought about: {call:?}"
                );
                vec![]
            }
        }
    }

    fn protocol(&self, socket: &str) -> &'static str {
        self.protocols.get(socket).copied().unwrap_or_else(|| panic!("no socket call made {socket}"))
    }

    fn network(&self, operation: &'static str, call: &Call, structure: &str) -> Vec<Done> {
        let socket = referent(&call.arguments[0]).unwrap();
        let to = address(structure, &self.process(call.thread).folder);
        to.map_or_else(Vec::new, |to| vec![(operation, format!("{} {to}", self.protocol(&socket)), None)])
    }
}

/// The program that a path stands for; of one that is not there, as much as is.
fn real(path: &str) -> String {
    let path = Path::new(path);
    let folder = || Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?));
    let real = path.canonicalize().ok().or_else(folder);
    real.unwrap_or_else(|| path.to_owned()).to_string_lossy().into_owned()
}

/// The record's word for an open; `None` for a handle without access to content.
fn opened(flags: &str) -> Option<&'static str> {
    let has = |flag: &str| flags.split('|').any(|word| word == flag);
    if has("O_PATH") {
        None
    } else if has("O_CREAT") || has("O_TMPFILE") {
        Some("CREATE")
    } else if has("O_WRONLY") || has("O_RDWR") || has("O_TRUNC") {
        Some("WRITE")
    } else {
        Some("READ")
    }
}

/// `127.0.0.1:80`, a path, or `@name`; `None` for the kernel's own netlink and for undoing a connect.
fn address(structure: &str, folder: &str) -> Option<String> {
    let inner = |text: &str| text.split(['(', ')']).nth(1).unwrap().trim_matches('"').to_owned();
    match field(structure, "sa_family").unwrap() {
        "AF_UNIX" => Some(match field(structure, "sun_path")? {
            name if name.starts_with('@') => format!("@{}", quoted(&name[1..]).unwrap()),
            path => absolute(folder, &quoted(path).unwrap()),
        }),
        "AF_INET" => {
            let ip = inner(field(structure, "sin_addr").unwrap());
            Some(format!("{ip}:{}", inner(field(structure, "sin_port").unwrap())))
        }
        "AF_NETLINK" | "AF_UNSPEC" => None,
        other => panic!("addresses of {other} are not read yet: {structure}"),
    }
}
