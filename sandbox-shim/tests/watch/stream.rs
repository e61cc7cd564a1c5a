//! gVisor's stream: messages of its protocol over a real socket, and what becomes of them.

use crate::harness::Memory;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use wk_schemas::{Body, Timestamp};
use wk_shim::clock;
use wk_shim::contract::{RecordError, Recorder};
use wk_shim::gvisor::points::{Address, Cloned, Context, Credentials, Ended, Execve, Exit, Open, Point, Raw, Start};
use wk_shim::gvisor::{Book, Container, Serving, Shelf, connect, wire};

/// What became of one container.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kept {
    pub(crate) container: Option<Container>,
    pub(crate) recorder: Arc<Memory>,
    /// The status that its first process ended with, or that its record could not be kept.
    pub(crate) over: Option<Result<Option<i32>, String>>,
}

/// Keeps the sessions of containers in memory.
#[derive(Debug, Default)]
pub(crate) struct Books {
    kept: Mutex<BTreeMap<String, Kept>>,
    news: Condvar,
    pub(crate) fails_after: Option<usize>,
}

impl Books {
    /// Waits until a container is over.
    pub(crate) fn wait_over(&self, id: &str) -> Kept {
        let mut kept = self.kept.lock().unwrap();
        loop {
            if let Some(found) = kept.get(id).filter(|found| found.over.is_some()) {
                return found.clone();
            }
            let (back, timeout) = self.news.wait_timeout(kept, Duration::from_secs(600)).unwrap();
            kept = back;
            assert!(!timeout.timed_out(), "waited for the end of {id}: {kept:#?}");
        }
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.kept.lock().unwrap().keys().cloned().collect()
    }

    fn over(&self, id: &str, how: Result<Option<i32>, String>) {
        self.kept.lock().unwrap().get_mut(id).unwrap().over = Some(how);
        self.news.notify_all();
    }
}

struct MemoryBook(Arc<Books>, String, Arc<Memory>);

impl Book for MemoryBook {
    fn recorder(&self) -> Arc<dyn Recorder> {
        Arc::clone(&self.2) as _
    }
    fn wait_for_room(&self) {}
    fn close(self: Box<Self>, status: Option<i32>) {
        self.0.over(&self.1, Ok(status));
    }
    fn lose(self: Box<Self>, error: &RecordError) {
        self.0.over(&self.1, Err(error.to_string()));
    }
}

pub(crate) struct MemoryShelf(pub(crate) Arc<Books>);

impl Shelf for MemoryShelf {
    fn open(&self, container: &Container) -> anyhow::Result<Box<dyn Book>> {
        let recorder = Arc::new(Memory::default());
        *recorder.fails_after.lock().unwrap() = self.0.fails_after;
        let kept = Kept { container: Some(container.clone()), recorder: Arc::clone(&recorder), over: None };
        let id = container.id.clone();
        assert!(self.0.kept.lock().unwrap().insert(id.clone(), kept).is_none(), "{id} was opened twice");
        Ok(Box::new(MemoryBook(Arc::clone(&self.0), id, recorder)))
    }
}

thread_local! {
    /// When everything happens in a test: at one time, and a little ahead, so that no second is over however slow the machine is.
    static AT: Cell<Timestamp> = const { Cell::new(Timestamp(0)) };
}

/// A socket that is served, and what is kept.
struct Scene {
    folder: tempfile::TempDir,
    books: Arc<Books>,
    serving: Serving,
}

impl Scene {
    fn new(fails_after: Option<usize>) -> Self {
        AT.set(clock::now().plus_micros(30_000_000));
        let folder = tempfile::tempdir().unwrap();
        let books = Arc::new(Books { fails_after, ..Books::default() });
        let serving = Serving::begin(&folder.path().join("s"), Arc::new(MemoryShelf(Arc::clone(&books)))).unwrap();
        Self { folder, books, serving }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    fn sandbox(&self) -> Sandbox {
        let mut stream = connect(&self.path()).unwrap();
        stream.write_all(&[8, 1]).unwrap();
        let mut answer = [0; 64];
        let length = stream.read(&mut answer).unwrap();
        assert_eq!(answer[..length], [8, 1]);
        Sandbox { stream, dropped: 0 }
    }
}

/// Plays a sentry.
struct Sandbox {
    stream: UnixStream,
    dropped: u32,
}

impl Sandbox {
    fn say(&mut self, point: &Point) {
        let (kind, payload) = point.encode();
        self.send(&wire::message(kind, self.dropped, &payload));
    }

    fn send(&mut self, message: &[u8]) {
        assert_eq!(self.stream.write(message).unwrap(), message.len(), "a message is written whole");
    }
}

fn context(container: &str, pid: i32) -> Context {
    Context {
        time_ns: AT.get().0 * 1000,
        thread_id: pid,
        thread_group_id: pid,
        thread_group_start_time_ns: i64::from(pid) * 10_000_000,
        container_id: container.into(),
        credentials: Some(Credentials { effective_uid: 1000 }),
        cwd: "/work".into(),
        process_name: "sh".into(),
    }
}

fn start(container: &str) -> Point {
    let args = ["/bin/sh", "-c", "make TOKEN=ghp_abcdefghijklmnopqrstuvwxyz0123456789"].map(str::to_owned).to_vec();
    Point::Start(Start { context: Some(context(container, 1)), id: container.into(), cwd: "/work".into(), args })
}

fn fork(container: &str, child: i32) -> Point {
    Point::Cloned(Cloned {
        context: Some(context(container, 1)),
        created_thread_id: child,
        created_thread_group_id: child,
        created_thread_start_time_ns: i64::from(child) * 10_000_000,
    })
}

fn execve(container: &str, pid: i32, argv: &[&str]) -> Point {
    let argv = argv.iter().map(|word| (*word).to_owned()).collect();
    Point::Execve(Execve { context: Some(context(container, pid)), binary_path: "/usr/bin/curl".into(), argv })
}

fn open(container: &str, pid: i32, path: &str, flags: i32, errorno: i64) -> Point {
    Point::Open(Open {
        context: Some(context(container, pid)),
        exit: Some(Exit { result: 3, errorno }),
        fd: libc::AT_FDCWD.into(),
        fd_path: String::new(),
        pathname: path.into(),
        flags: flags.cast_unsigned(),
    })
}

fn end(container: &str, pid: i32, exit_status: i32) -> Point {
    Point::Exited(Ended { context: Some(context(container, pid)), exit_status })
}

fn root_ends(container: &str, exit_status: i32) -> Point {
    Point::TaskExit(Ended { context: Some(context(container, 1)), exit_status })
}

/// Records, a line each.
fn lines(kept: &Kept) -> Vec<String> {
    let line = |body: Body| match body {
        Body::ProcessStarted(b) => {
            format!("{} {} {:?} {:?} from {}", b.actor.process_uid, b.actor.image, b.arguments, b.outcome, b.parent_pid)
        }
        Body::ProcessExited(b) => format!("{} ended {:?} {:?}", b.actor.process_uid, b.exit_code, b.signal),
        Body::FileAccessed(b) => {
            format!("{} {:?} {} {:?} {:?} x{}", b.actor.pid, b.operation, b.path, b.outcome, b.errno, b.count)
        }
        Body::ConnectionAttempted(b) => {
            format!("{} {:?} {} {} {:?}", b.actor.pid, b.operation, b.protocol, b.address, b.port)
        }
        Body::CallAttempted(b) => format!("{} {} x{}", b.actor.pid, b.call, b.count),
        Body::RecordsLost(b) => format!("lost {} in {}: {}", b.count, b.stage, b.reason),
        other => panic!("{other:?}"),
    };
    kept.recorder.bodies().into_iter().map(line).collect()
}

#[test]
fn what_a_container_does_is_recorded_as_what_any_session_does() {
    let scene = Scene::new(None);
    let mut sandbox = scene.sandbox();
    sandbox.say(&start("box"));
    sandbox.say(&fork("box", 7));
    sandbox.say(&execve("box", 7, &["curl", "https://example.com"]));
    for _ in 0..3 {
        sandbox.say(&open("box", 7, "../etc/passwd", libc::O_RDONLY, 0));
    }
    sandbox.say(&open("box", 7, "out", libc::O_WRONLY | libc::O_CREAT, 13));
    let mut address = libc::AF_INET.to_ne_bytes()[..2].to_vec();
    address.extend([1, 187, 192, 0, 2, 7, 0, 0, 0, 0, 0, 0, 0, 0]);
    sandbox.say(&Point::Connect(Address { context: Some(context("box", 7)), exit: None, fd: 5, address }));
    let sysno = u64::try_from(libc::SYS_unlinkat).unwrap();
    sandbox.say(&Point::Raw(Raw { context: Some(context("box", 7)), sysno, ..Raw::default() }));
    sandbox.say(&end("box", 7, 22 << 8));
    sandbox.say(&root_ends("box", libc::SIGKILL));
    drop(sandbox);
    let kept = scene.books.wait_over("box");
    let container = kept.container.as_ref().unwrap();
    assert_eq!((container.pid, container.uid, container.cwd.as_str()), (1, 1000, "/work"));
    assert_eq!(kept.over, Some(Ok(Some(libc::SIGKILL))));
    let mut found = lines(&kept);
    let secret = found.remove(0);
    assert!(
        secret.starts_with("1-1 /bin/sh") && !secret.contains("ghp_"),
        "a secret in an argument stays out: {secret}"
    );
    assert_eq!(
        found,
        [
            r#"7-7 /usr/bin/curl ["curl", "https://example.com"] Succeeded from 1"#,
            "7 Read /etc/passwd Succeeded None x1",
            "7 Create /work/out Failed Some(13) x1",
            "7 Connect ip 192.0.2.7 Some(443)",
            "7 unlinkat x1",
            "7 Read /etc/passwd Succeeded None x2",
            "7-7 ended Some(22) None",
            "1-1 ended None Some(9)",
        ]
    );
}

#[test]
fn containers_of_one_sandbox_and_of_several_have_records_of_their_own() {
    let scene = Scene::new(None);
    let (mut pod, mut other) = (scene.sandbox(), scene.sandbox());
    pod.say(&start("one"));
    other.say(&start("three"));
    pod.say(&start("two"));
    pod.say(&open("two", 1, "/two", libc::O_RDONLY, 0));
    other.say(&open("three", 1, "/three", libc::O_RDONLY, 0));
    pod.say(&open("one", 1, "/one", libc::O_RDONLY, 0));
    // Two of the pod's messages were dropped. Whose they were, nobody knows.
    pod.dropped = 2;
    pod.say(&root_ends("one", 0));
    pod.say(&root_ends("two", 0));
    other.say(&root_ends("three", 0));
    drop((pod, other));
    for id in ["one", "two", "three"] {
        let kept = scene.books.wait_over(id);
        let files: Vec<_> = lines(&kept).into_iter().filter(|line| line.contains("Read")).collect();
        assert_eq!(files, [format!("1 Read /{id} Succeeded None x1")]);
        let lost: Vec<_> = lines(&kept).into_iter().filter(|line| line.starts_with("lost -1 in stream")).collect();
        assert_eq!(lost.len(), usize::from(id != "three"), "{lost:?}");
    }
}

#[test]
fn what_was_dropped_and_what_cannot_be_read_is_counted_and_the_rest_goes_on() {
    let scene = Scene::new(None);
    let mut sandbox = scene.sandbox();
    sandbox.dropped = u32::MAX - 1;
    sandbox.say(&start("box"));
    // The count wraps: four more.
    sandbox.dropped = 2;
    sandbox.say(&open("box", 1, "/a", libc::O_RDONLY, 0));
    sandbox.send(b"short");
    let (kind, payload) = open("box", 1, "/cut", libc::O_RDONLY, 0).encode();
    sandbox.send(&wire::message(kind, 2, &payload[..payload.len() - 3]));
    let mut header = wire::message(kind, 2, &payload);
    header[0] = 255;
    header[1] = 255;
    sandbox.send(&header);
    // A header that has grown, and a message of a type that there is not yet, are no fault.
    let mut grown = wire::message(kind, 2, b"");
    grown[0] = 10;
    grown.extend_from_slice(b"??");
    grown.extend_from_slice(&open("box", 1, "/b", libc::O_RDONLY, 0).encode().1);
    sandbox.send(&grown);
    sandbox.send(&wire::message(999, 2, b"whatever"));
    sandbox.say(&root_ends("box", 0));
    drop(sandbox);
    let kept = scene.books.wait_over("box");
    let starts: Vec<_> = lines(&kept).iter().map(|line| line.chars().take(24).collect::<String>()).collect();
    assert_eq!(
        starts,
        [
            "lost 4294967294 in strea",
            "1-1 /bin/sh [\"/bin/sh\", ",
            "lost 4 in stream: the sa",
            "1 Read /a Succeeded None",
            "lost 1 in stream: a mess",
            "lost 1 in stream: a mess",
            "lost 1 in stream: a head",
            "1 Read /b Succeeded None",
            "1-1 ended Some(0) None",
        ]
    );
}

#[test]
fn who_speaks_another_version_is_not_listened_to() {
    let scene = Scene::new(None);
    for handshake in [&[][..], &[8, 0], b"\xff\xff\xff\xff"] {
        let mut stream = connect(&scene.path()).unwrap();
        stream.write_all(handshake).unwrap();
        // Nothing is answered, and the connection is closed, which may reach a peer that goes on writing as an error.
        let (kind, payload) = start("never").encode();
        drop(stream.write(&wire::message(kind, 0, &payload)));
        let read = stream.read(&mut [0; 64]);
        assert!(read.is_err() || read.is_ok_and(|length| length == 0));
    }
    drop(scene.serving);
    assert_eq!(scene.books.names(), Vec::<String>::new());
}

#[test]
fn a_stream_that_began_late_or_broke_off_says_so() {
    let scene = Scene::new(None);
    let mut sandbox = scene.sandbox();
    sandbox.say(&open("box", 5, "/late", libc::O_RDONLY, 0));
    drop(sandbox);
    let kept = scene.books.wait_over("box");
    assert_eq!(kept.over, Some(Ok(None)));
    let starts: Vec<_> = lines(&kept).iter().map(|line| line.chars().take(40).collect::<String>()).collect();
    assert_eq!(
        starts,
        [
            "lost -1 in stream: the container ran bef",
            "5 Read /late Succeeded None x1",
            "lost -1 in stream: the stream ended befo",
        ]
    );
}

#[test]
fn a_container_whose_record_cannot_be_kept_is_given_up_and_said_to_be() {
    let scene = Scene::new(Some(2));
    let mut sandbox = scene.sandbox();
    sandbox.say(&start("box"));
    for name in ["/a", "/b"] {
        sandbox.say(&open("box", 1, name, libc::O_RDONLY, 0));
    }
    let kept = scene.books.wait_over("box");
    assert!(matches!(&kept.over, Some(Err(error)) if error.contains("outbox")), "{:?}", kept.over);
    assert_eq!(lines(&kept).len(), 2);
}

#[test]
fn a_socket_is_served_by_one_and_an_abandoned_one_is_taken_over() {
    let scene = Scene::new(None);
    let again = Serving::begin(&scene.path(), Arc::new(MemoryShelf(Arc::clone(&scene.books))));
    assert!(again.unwrap_err().to_string().contains("served by another process"));
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(scene.path()).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600, "who may connect may claim to be a sandbox");
    let Scene { folder, books, serving } = scene;
    drop(serving);
    let path = folder.path().join("s");
    assert!(!path.exists());
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    Serving::begin(&path, Arc::new(MemoryShelf(books))).unwrap();
}
