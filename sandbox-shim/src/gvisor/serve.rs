//! The socket that sandboxes connect to; a thread for each of them.

use super::sandbox::{Sandbox, Shelf};
use super::wire::{self, MESSAGE_BYTES_MAX};
use crate::clock;
use crate::contract::{Observer, Sees};
use crate::sys::{net, process};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a peer may take for its first message.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// How often folds are looked at while a sandbox is silent.
const TICK: Duration = Duration::from_millis(250);
/// So many sandboxes are listened to at once. One more cannot start until another has ended.
const SANDBOXES_MAX: usize = 256;
/// The longest path that the address of a local socket holds, with its last zero.
const PATH_BYTES_MAX: usize = 107;

/// The socket cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address of a local socket holds no more.
    #[error("`{path}` is too long for a socket: it may have {PATH_BYTES_MAX} bytes")]
    TooLong {
        /// The path.
        path: PathBuf,
    },
    /// Somebody serves it already.
    #[error("`{path}` is served by another process")]
    Busy {
        /// The path.
        path: PathBuf,
    },
    /// Something else failed.
    #[error("failed to serve `{path}`")]
    Io {
        /// The path.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// A socket that is served. Ends when dropped: then sandboxes are no longer observed, and no new one starts.
#[derive(Debug)]
pub struct Serving {
    path: PathBuf,
    stop: Arc<AtomicBool>,
    live: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Serving {
    /// Makes the socket, for this user alone, and serves it. A socket that nobody serves any more is replaced.
    ///
    /// # Errors
    /// [`ServeError`] says what is in the way.
    pub fn begin(path: &Path, shelf: Arc<dyn Shelf>) -> Result<Self, ServeError> {
        let failed = |source| ServeError::Io { path: path.to_owned(), source };
        let listener = bind(path)?;
        let (stop, live) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let (stopping, living) = (Arc::clone(&stop), Arc::clone(&live));
        let thread = std::thread::Builder::new().name("wk-gvisor".to_owned());
        let thread = thread.spawn(move || accept(&listener, &shelf, &stopping, &living)).map_err(failed)?;
        Ok(Self { path: path.to_owned(), stop, live, thread: Some(thread) })
    }

    /// How many sandboxes are observed.
    #[must_use]
    pub fn sandboxes(&self) -> usize {
        self.live.load(Ordering::SeqCst)
    }
}

impl Observer for Serving {
    fn word(&self) -> &'static str {
        "gvisor-stream"
    }

    fn sees(&self) -> Sees {
        Sees {
            programs: true,
            loaders: false,
            ends: true,
            opens: true,
            names: false,
            connections: true,
            results: true,
            holds: false,
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        drop(self.thread.take().map(JoinHandle::join));
        drop(std::fs::remove_file(&self.path));
    }
}

/// Connects to a socket as a sandbox does. What is written to it at once is one message.
///
/// # Errors
/// [`ServeError`] when nobody serves it.
pub fn connect(path: &Path) -> Result<UnixStream, ServeError> {
    let failed = |source| ServeError::Io { path: path.to_owned(), source };
    let socket = net::socket(libc::AF_UNIX, libc::SOCK_SEQPACKET, 0).map_err(failed)?;
    net::connect(socket.as_fd(), &address(path)?).map_err(failed)?;
    Ok(UnixStream::from(socket))
}

/// The address of a local socket.
fn address(path: &Path) -> Result<Vec<u8>, ServeError> {
    let name = path.as_os_str().as_bytes();
    if name.len() > PATH_BYTES_MAX {
        return Err(ServeError::TooLong { path: path.to_owned() });
    }
    let family = u16::try_from(libc::AF_UNIX).unwrap_or(1).to_ne_bytes();
    Ok([&family, name, &[0]].concat())
}

fn bind(path: &Path) -> Result<UnixListener, ServeError> {
    let failed = |source| ServeError::Io { path: path.to_owned(), source };
    let address = address(path)?;
    let listener = net::socket(libc::AF_UNIX, libc::SOCK_SEQPACKET, 0).map_err(failed)?;
    let bound = match net::bind(listener.as_fd(), &address) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            if connect(path).is_ok() {
                return Err(ServeError::Busy { path: path.to_owned() });
            }
            std::fs::remove_file(path).and_then(|()| net::bind(listener.as_fd(), &address))
        }
        other => other,
    };
    bound.map_err(failed)?;
    // Whoever may connect may claim to be a sandbox. Nobody is listened to before this is said.
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).map_err(failed)?;
    net::listen(listener.as_fd()).map_err(failed)?;
    Ok(UnixListener::from(listener))
}

fn accept(listener: &UnixListener, shelf: &Arc<dyn Shelf>, stop: &Arc<AtomicBool>, live: &Arc<AtomicUsize>) {
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        threads.retain(|thread| !thread.is_finished());
        let wait = i32::try_from(TICK.as_millis()).unwrap_or(250);
        if threads.len() >= SANDBOXES_MAX || !process::poll([listener.as_fd()], wait).is_ok_and(|[ready]| ready != 0) {
            if threads.len() >= SANDBOXES_MAX {
                std::thread::sleep(TICK);
            }
            continue;
        }
        let Ok((stream, _)) = listener.accept() else { continue };
        let (shelf, stop, counted) = (Arc::clone(shelf), Arc::clone(stop), Counted::new(live));
        let thread = std::thread::Builder::new().name("wk-sandbox".to_owned()).spawn(move || {
            let _counted = counted;
            if let Err(error) = listen(&stream, shelf.as_ref(), &stop) {
                tracing::warn!(error = format!("{error:#}"), "a sandbox is no longer listened to");
            }
        });
        match thread {
            Ok(thread) => threads.push(thread),
            Err(error) => tracing::error!(%error, "a sandbox cannot be listened to"),
        }
    }
    for thread in threads {
        drop(thread.join());
    }
}

/// Listens to one sandbox until it is gone.
fn listen(mut stream: &UnixStream, shelf: &dyn Shelf, stop: &AtomicBool) -> anyhow::Result<()> {
    stream.set_read_timeout(Some(HANDSHAKE_WITHIN))?;
    // One byte more than a message may have, to tell a message that is too long from one that just fits.
    let mut buffer = vec![0; MESSAGE_BYTES_MAX + 1];
    let length = stream.read(&mut buffer)?;
    let answer = wire::answer(&buffer[..length])?;
    stream.write_all(&answer)?;
    stream.set_read_timeout(Some(TICK))?;
    let mut sandbox = Sandbox::new(shelf);
    let mut next_tick = clock::instant() + TICK;
    let heard = loop {
        match stream.read(&mut buffer) {
            Ok(0) => break Ok(()),
            Ok(length) => {
                if let Err(error) = sandbox.take(&buffer[..length], clock::now()) {
                    break Err(error);
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if stop.load(Ordering::SeqCst) {
                    break Ok(());
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => break Err(error.into()),
        }
        if clock::instant() >= next_tick {
            sandbox.tick(clock::now());
            next_tick = clock::instant() + TICK;
        }
    };
    sandbox.end(clock::now());
    heard
}

/// Counts one sandbox as long as it lives.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(live: &Arc<AtomicUsize>) -> Self {
        live.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(live))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
