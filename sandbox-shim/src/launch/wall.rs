//! The shim's sockets in the agent's network: made by the init before anything else runs there, served from outside.

use super::frame::Frame;
use super::line::Line;
use crate::egress::{self, Services};
use crate::sys::net;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};

/// How many there are.
const COUNT: usize = 4;

/// Where, and whether they take connections, in the order in which they are passed.
const SOCKETS: [(SocketAddrV4, i32); COUNT] = [
    (egress::DOOR, libc::SOCK_STREAM),
    (egress::RELAY, libc::SOCK_STREAM),
    (egress::NAMES, libc::SOCK_STREAM),
    (egress::NAMES, libc::SOCK_DGRAM),
];

/// Makes them in the network of this process. Allocates nothing.
///
/// # Errors
/// `EACCES` when ports below 1024 are refused even there.
pub(crate) fn listeners() -> io::Result<[OwnedFd; COUNT]> {
    let make = |(address, kind): (SocketAddrV4, i32)| {
        let socket = net::socket(libc::AF_INET, kind, 0)?;
        net::bind(socket.as_fd(), &egress::bytes(address))?;
        if kind == libc::SOCK_STREAM {
            net::listen(socket.as_fd())?;
        }
        Ok::<_, io::Error>(socket)
    };
    let [door, relay, names, questions] = SOCKETS;
    Ok([make(door)?, make(relay)?, make(names)?, make(questions)?])
}

/// The same, in the shim's hands.
#[derive(Debug)]
pub(crate) struct Listeners {
    /// Where proxies are spoken to.
    pub door: TcpListener,
    /// Where connects are turned to.
    pub relay: TcpListener,
    /// Where names are asked for over a stream.
    pub names: TcpListener,
    /// Where names are asked for.
    pub questions: UdpSocket,
}

impl Listeners {
    /// Receives those of the agent's network; or the frame that says what failed.
    ///
    /// # Errors
    /// `UnexpectedEof` when the init died without a word.
    pub(crate) fn receive(line: &Line) -> io::Result<Result<Self, Frame>> {
        let mut sockets = Vec::with_capacity(COUNT);
        for _ in 0..COUNT {
            match line.socket()? {
                Ok(socket) => sockets.push(socket),
                Err(failed) => return Ok(Err(failed)),
            }
        }
        let [door, relay, names, questions] =
            <[OwnedFd; COUNT]>::try_from(sockets).map_err(|_| io::ErrorKind::InvalidData)?;
        Ok(Ok(Self { door: door.into(), relay: relay.into(), names: names.into(), questions: questions.into() }))
    }

    /// Makes them on the machine's loopback, at ports that are free, for an agent without a network of its own.
    ///
    /// # Errors
    /// When nothing can listen there.
    pub(crate) fn on_loopback() -> io::Result<Self> {
        let any = (Ipv4Addr::LOCALHOST, 0);
        let stream = || TcpListener::bind(any);
        Ok(Self { door: stream()?, relay: stream()?, names: stream()?, questions: UdpSocket::bind(any)? })
    }

    /// Where they are.
    ///
    /// # Errors
    /// None in practice.
    pub(crate) fn services(&self) -> io::Result<Services> {
        let v4 = |address: SocketAddr| match address {
            SocketAddr::V4(address) => Ok(address),
            SocketAddr::V6(_) => Err(io::Error::from(io::ErrorKind::InvalidData)),
        };
        Ok(Services {
            door: v4(self.door.local_addr()?)?,
            relay: v4(self.relay.local_addr()?)?,
            names: v4(self.names.local_addr()?)?,
            questions: v4(self.questions.local_addr()?)?,
        })
    }
}
