//! What a message of a sandbox says, in the words of the other observers.
//!
//! Pure: the time of arrival comes in. A sandbox is not trusted (google/gvisor says so of its own sentry): everything that it says is
//! cut to a length, and a time that is far from ours is not believed.

use super::points::{Context, Exit, Point};
use super::trace;
use crate::observe::resolve::without_dots;
use crate::observe::witness::{Sight, Who};
use crate::supervise::network::{Target, abstract_name, target};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wk_schemas::Timestamp;
use wk_schemas::body::{FileOperation, NetworkOperation};

/// The longest text that is kept of a path, a folder, or one argument; bytes.
const TEXT_MAX: usize = 8192;
/// As many arguments are kept of one program, and so many bytes of all of them.
const ARGUMENTS_MAX: usize = 1024;
const ARGUMENTS_BYTES_MAX: usize = 64 << 10;
/// So many sockets are remembered; when there are more, all are forgotten, and their protocol is `ip`.
const SOCKETS_MAX: usize = 65_536;
/// A sandbox's clock may be so far from ours.
const CLOCKS_APART_MAX_US: i64 = 60_000_000;
/// What `credentials` are when the sandbox did not tell: nobody has this number.
const NO_USER: &str = "unknown";

/// A container that begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Its id.
    pub id: String,
    /// Its first program and its arguments; empty when the container was there before its stream.
    pub arguments: Vec<String>,
    /// Where its first program starts.
    pub cwd: String,
    /// Number of its first process.
    pub pid: i64,
    /// The user that its first process runs as.
    pub uid: i64,
}

/// What one message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reading {
    /// A container begins; its first process executes its program without any further message.
    Begins { container: Container, at: Timestamp, who: Who, program: Sight },
    /// A process of a container did something. `container` is empty when the sandbox did not tell.
    Saw { container: String, at: Timestamp, who: Who, sight: Sight },
    /// A process's thread that has the process's number ended. That is the end of the process only if nothing else says so.
    LeaderEnded { container: String, at: Timestamp, who: Who, status: i32 },
    /// Nothing that is recorded.
    Nothing,
}

/// Reads the messages of one sandbox.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    /// Protocols of sockets, by process and descriptor.
    sockets: HashMap<(i64, i64), &'static str>,
}

impl Reader {
    /// Reads one message that arrived `now`.
    pub(crate) fn read(&mut self, point: &Point, now: Timestamp) -> Reading {
        let unknown = Context::default();
        let context = point.context().unwrap_or(&unknown);
        let (at, who) = (time(context, now), who(context));
        let container = || cut(&context.container_id);
        let saw = |sight| Reading::Saw { container: container(), at, who: who.clone(), sight };
        match point {
            Point::Start(point) => {
                let arguments = arguments(&point.args);
                // The program is not told, only what it is called.
                let image = arguments.first().cloned().unwrap_or_default();
                let program =
                    Sight::Executed { image, arguments: arguments.clone(), cwd: cut(&point.cwd), result: Ok(()) };
                let uid = context.credentials.map_or(-1, |credentials| i64::from(credentials.effective_uid));
                let id = if point.id.is_empty() { container() } else { cut(&point.id) };
                Reading::Begins {
                    container: Container { id, arguments, cwd: cut(&point.cwd), pid: who.pid, uid },
                    at,
                    program,
                    who,
                }
            }
            Point::Cloned(point) if point.created_thread_id == point.created_thread_group_id => {
                let child = Who {
                    pid: i64::from(point.created_thread_group_id),
                    started_ticks: ticks(point.created_thread_start_time_ns),
                    user: Arc::clone(&who.user),
                    image: None,
                };
                saw(Sight::Forked { child })
            }
            // A thread of a process that is known.
            Point::Cloned(_) => Reading::Nothing,
            Point::Execve(point) => saw(Sight::Executed {
                image: cut(&point.binary_path),
                arguments: arguments(&point.argv),
                cwd: cut(&context.cwd),
                result: Ok(()),
            }),
            Point::ExecveCall(point) => match result(point.exit.as_ref()) {
                // Told by the sentry itself, with the program that was found.
                Ok(()) => Reading::Nothing,
                failed => {
                    let path = absolute(&context.cwd, (point.fd, &point.fd_path), &point.pathname);
                    saw(Sight::Executed {
                        image: path.to_string_lossy().into_owned(),
                        arguments: arguments(&point.argv),
                        cwd: cut(&context.cwd),
                        result: failed,
                    })
                }
            },
            Point::Exited(point) => saw(Sight::Ended { status: point.exit_status }),
            Point::TaskExit(point) if context.thread_id == context.thread_group_id => {
                Reading::LeaderEnded { container: container(), at, who, status: point.exit_status }
            }
            Point::TaskExit(_) => Reading::Nothing,
            Point::Open(point) => saw(Sight::Touched {
                operation: operation(point.flags.cast_signed()),
                path: absolute(&context.cwd, (point.fd, &point.fd_path), &point.pathname),
                flags: i64::from(point.flags),
                result: result(point.exit.as_ref()),
            }),
            Point::Socket(point) => {
                if let (Ok(()), Some(exit)) = (result(point.exit.as_ref()), &point.exit) {
                    if self.sockets.len() >= SOCKETS_MAX {
                        self.sockets.clear();
                    }
                    self.sockets.insert((who.pid, exit.result), protocol(point.domain, point.kind));
                }
                Reading::Nothing
            }
            Point::Connect(point) => self.reached(NetworkOperation::Connect, &who, point).map_or(Reading::Nothing, saw),
            Point::Bind(point) => self.reached(NetworkOperation::Bind, &who, point).map_or(Reading::Nothing, saw),
            Point::Raw(point) => match trace::raw_call(point.sysno) {
                // To the peer that the socket is connected to, which was told when it was.
                Some(call) if call.name == "sendto" && point.arg5 == 0 => Reading::Nothing,
                Some(call) => saw(Sight::Called {
                    call: call.name,
                    detail: "the sandbox tells only that it was called".to_owned(),
                    reason: call.reason,
                }),
                None => Reading::Nothing,
            },
        }
    }

    fn reached(&self, operation: NetworkOperation, who: &Who, point: &super::points::Address) -> Option<Sight> {
        let result = result(point.exit.as_ref());
        let local = |address| (("unix".to_owned(), address), None);
        let ((protocol, address), port) = match target(&point.address) {
            Target::Internet(to) => {
                let protocol = self.sockets.get(&(who.pid, point.fd)).copied().unwrap_or("ip");
                ((protocol.to_owned(), to.ip().to_string()), Some(i32::from(to.port())))
            }
            Target::Path(path) => local(cut(&String::from_utf8_lossy(&path))),
            Target::Abstract(name) => local(cut(&abstract_name(&name))),
            Target::Nothing | Target::Netlink => return None,
            Target::Other(family) => ((family.to_string(), String::new()), None),
        };
        Some(Sight::Reached { operation, protocol, address, port, result })
    }
}

fn who(context: &Context) -> Who {
    let user = context.credentials.map_or_else(|| NO_USER.into(), |c| c.effective_uid.to_string().into());
    // What the kernel calls a process is no path, but better than nothing for one that was there before its stream.
    let image = (!context.process_name.is_empty()).then(|| cut(&context.process_name).into());
    Who {
        pid: i64::from(context.thread_group_id),
        started_ticks: ticks(context.thread_group_start_time_ns),
        user,
        image,
    }
}

/// In hundredths of a second, as the kernel counts; from the epoch, because a sandbox does not say since when the host is up.
const fn ticks(nanoseconds: i64) -> i64 {
    nanoseconds / 10_000_000
}

fn time(context: &Context, now: Timestamp) -> Timestamp {
    let theirs = Timestamp(context.time_ns / 1000);
    // Neither a clock that is wrong nor one that lies may move a record out of its day.
    if theirs.0.abs_diff(now.0) > CLOCKS_APART_MAX_US.unsigned_abs() { now } else { theirs }
}

fn result(exit: Option<&Exit>) -> Result<(), i32> {
    match exit.map_or(0, |exit| exit.errorno) {
        0 => Ok(()),
        errno => Err(i32::try_from(errno).unwrap_or(i32::MAX)),
    }
}

/// As the supervision names an open.
fn operation(flags: i32) -> FileOperation {
    let makes = flags & libc::O_CREAT != 0 || flags & libc::O_TMPFILE == libc::O_TMPFILE;
    let writes = flags & libc::O_ACCMODE != libc::O_RDONLY || flags & libc::O_TRUNC != 0;
    match (makes, writes) {
        (true, _) => FileOperation::Create,
        (false, true) => FileOperation::Write,
        (false, false) => FileOperation::Read,
    }
}

/// The path that a call means, dots and folder resolved by their text.
fn absolute(cwd: &str, (descriptor, folder): (i64, &str), path: &str) -> PathBuf {
    // `execve` has no folder and leaves the descriptor at 0.
    let base = if descriptor == i64::from(libc::AT_FDCWD) || folder.is_empty() { cwd } else { folder };
    let joined = Path::new(&cut(base)).join(cut(path));
    if joined.is_absolute() { without_dots(&joined) } else { joined }
}

fn protocol(domain: i32, kind: i32) -> &'static str {
    match (domain, kind & 0xf) {
        (libc::AF_INET | libc::AF_INET6, libc::SOCK_STREAM) => "tcp",
        (libc::AF_INET | libc::AF_INET6, libc::SOCK_DGRAM) => "udp",
        _ => "ip",
    }
}

fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(TEXT_MAX)].to_owned()
}

fn arguments(all: &[String]) -> Vec<String> {
    let mut left = ARGUMENTS_BYTES_MAX;
    let mut kept = Vec::new();
    for argument in all.iter().take(ARGUMENTS_MAX) {
        let argument = cut(argument);
        let Some(rest) = left.checked_sub(argument.len()) else { break };
        left = rest;
        kept.push(argument);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::super::points::{Address, Credentials, ExecveCall, Open, Raw, Socket};
    use super::*;

    const NOW: Timestamp = Timestamp(1_700_000_000_000_000);

    fn context() -> Option<Context> {
        Some(Context {
            time_ns: NOW.0 * 1000 + 5_000,
            thread_id: 9,
            thread_group_id: 7,
            thread_group_start_time_ns: 42 * 10_000_000,
            container_id: "box".into(),
            credentials: Some(Credentials { effective_uid: 1000 }),
            cwd: "/work/sub".into(),
            process_name: "cat".into(),
        })
    }

    fn sight(reader: &mut Reader, point: Point) -> Sight {
        match reader.read(&point, NOW) {
            Reading::Saw { container, at, who, sight } => {
                let user = "1000".into();
                assert_eq!((container.as_str(), at), ("box", NOW.plus_micros(5)));
                assert_eq!(who, Who { pid: 7, started_ticks: 42, user, image: Some("cat".into()) });
                sight
            }
            other => panic!("{other:?}"),
        }
    }

    fn open(fd: i64, folder: &str, pathname: &str, flags: i32) -> Point {
        let exit = Some(Exit { result: -1, errorno: 13 });
        let (fd_path, pathname, flags) = (folder.to_owned(), pathname.to_owned(), flags.cast_unsigned());
        Point::Open(Open { context: context(), exit, fd, fd_path, pathname, flags })
    }

    #[test]
    fn paths_start_where_the_call_starts() {
        let mut reader = Reader::default();
        let here = i64::from(libc::AT_FDCWD);
        let cases = [
            (open(here, "", "../a", libc::O_RDONLY), FileOperation::Read, "/work/a"),
            (open(here, "", "/etc/./shadow", libc::O_RDWR), FileOperation::Write, "/etc/shadow"),
            (open(5, "/srv/data", "x/../y", libc::O_WRONLY | libc::O_CREAT), FileOperation::Create, "/srv/data/y"),
        ];
        for (point, operation, path) in cases {
            let Sight::Touched { operation: found, path: at, result, .. } = sight(&mut reader, point) else { panic!() };
            assert_eq!((found, at.to_str(), result), (operation, Some(path), Err(13)));
        }
    }

    #[test]
    fn a_connection_has_the_protocol_of_its_socket() {
        let mut reader = Reader::default();
        let made = Exit { result: 3, errorno: 0 };
        let socket = Socket { context: context(), exit: Some(made), domain: libc::AF_INET, kind: libc::SOCK_STREAM };
        assert_eq!(reader.read(&Point::Socket(socket), NOW), Reading::Nothing);
        let mut address = libc::AF_INET.to_ne_bytes()[..2].to_vec();
        address.extend([1, 187, 192, 0, 2, 7, 0, 0, 0, 0, 0, 0, 0, 0]);
        let connect = |fd| Point::Connect(Address { context: context(), exit: None, fd, address: address.clone() });
        for (fd, protocol) in [(3, "tcp"), (4, "ip")] {
            let expected = Sight::Reached {
                operation: NetworkOperation::Connect,
                protocol: protocol.into(),
                address: "192.0.2.7".into(),
                port: Some(443),
                result: Ok(()),
            };
            assert_eq!(sight(&mut reader, connect(fd)), expected);
        }
    }

    #[test]
    fn of_a_call_by_its_registers_only_that_it_was_made_is_known() {
        let mut reader = Reader::default();
        let raw = |number: i64, arg5| {
            let sysno = u64::try_from(number).unwrap();
            Point::Raw(Raw { context: context(), sysno, arg5, ..Raw::default() })
        };
        let Sight::Called { call, .. } = sight(&mut reader, raw(libc::SYS_unlinkat, 0)) else { panic!() };
        assert_eq!(call, "unlinkat");
        assert_eq!(reader.read(&raw(libc::SYS_sendto, 0), NOW), Reading::Nothing, "to its own peer");
        let Sight::Called { call, .. } = sight(&mut reader, raw(libc::SYS_sendto, 4096)) else { panic!() };
        assert_eq!(call, "sendto");
        assert_eq!(reader.read(&raw(libc::SYS_getpid, 0), NOW), Reading::Nothing);
    }

    #[test]
    fn what_a_sandbox_says_is_cut_and_its_clock_is_not_believed_far() {
        let mut reader = Reader::default();
        let mut exec =
            ExecveCall { context: context(), exit: Some(Exit { result: -1, errorno: 2 }), ..ExecveCall::default() };
        exec.fd = libc::AT_FDCWD.into();
        exec.argv = vec!["é".repeat(10_000); 2000];
        exec.context.as_mut().unwrap().time_ns = i64::MIN;
        let Reading::Saw { at, sight: Sight::Executed { arguments, .. }, .. } =
            reader.read(&Point::ExecveCall(exec), NOW)
        else {
            panic!()
        };
        assert_eq!(at, NOW);
        assert_eq!(arguments.len(), ARGUMENTS_BYTES_MAX / TEXT_MAX);
        assert!(arguments.iter().all(|argument| argument.len() == TEXT_MAX));
    }
}
