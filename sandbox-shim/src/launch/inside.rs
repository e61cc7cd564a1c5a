//! The agent's network, reached from outside: connections go in, and none can come out of it.
//!
//! The init makes the socket, because a socket stays in the network that it was made in, and hands it to the shim, which connects it.
//! No thread of the shim's enters the network: an ordinary user's may not. No process of the agent's has a part in it.

use super::line::Line;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Mutex;

/// A network of the agent's own.
#[derive(Debug)]
pub struct Network {
    /// Held while the init is asked: one thread waits for it, not one for each connection.
    line: Arc<Mutex<Arc<Line>>>,
}

impl Network {
    pub(crate) fn new(line: Arc<Line>) -> Self {
        Self { line: Arc::new(Mutex::new(line)) }
    }

    /// Connects to an address of its loopback. While the session is frozen, waits until it goes on. Cancel safe.
    ///
    /// # Errors
    /// `ConnectionRefused` when nobody listens there, `BrokenPipe` when the agent has ended.
    pub async fn connect(&self, to: SocketAddr) -> io::Result<TcpStream> {
        let family = if to.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
        let socket = loop {
            let line = Arc::clone(&self.line).lock_owned().await;
            match tokio::task::spawn_blocking(move || line.stream(family)).await? {
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
                made => break made?,
            }
        };
        TcpSocket::from_std_stream(socket.into()).connect(to).await
    }
}
