//! Connects and datagrams of an agent behind the proxy: each goes to one of the shim's own services, stays inside, or is refused.

use super::super::ask::Question;
use super::super::core::Core;
use super::super::names;
use super::super::network::{Attempt, Socket, Target, target};
use crate::egress::routes::{Meant, Route};
use crate::egress::{self, somebody_listens};
use crate::policy::{Action, Destination, plain};
use crate::process::Process;
use crate::sys::seccomp::{Answer, Notification};
use crate::sys::{self, net};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use wk_schemas::body::NetworkOperation;

/// Which way something goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Way {
    /// As asked: it stays inside, or there is no proxy.
    Kernel,
    /// To a service of the shim's, as asked.
    Own,
    /// To the shim's names, instead of the machine's resolver.
    Names,
    /// To the relay, instead of there.
    Turned(Destination, u16),
    /// Nowhere: error number and reason.
    Refused(i32, &'static str),
}

impl Core {
    /// Which way it goes.
    pub(crate) fn way(&self, process: &Process, operation: NetworkOperation, to: SocketAddr, socket: &Socket) -> Way {
        let Some(out) = &self.out else { return Way::Kernel };
        let at = SocketAddr::new(plain(to.ip()), to.port());
        let is_stream = !socket.is_datagram && socket.protocol == "tcp";
        let services = &out.services;
        if (is_stream && [services.door, services.names].map(SocketAddr::V4).contains(&at))
            || (socket.is_datagram && at == SocketAddr::V4(services.questions))
        {
            return Way::Own;
        }
        if at.ip() == IpAddr::V4(egress::HOST) || at == SocketAddr::V4(services.relay) {
            return Way::Refused(libc::EPERM, "the shim's own");
        }
        if at.ip().is_loopback() || at.ip().is_unspecified() {
            let is_turned = out.inside && is_stream && operation == NetworkOperation::Connect;
            return match Destination::Address(Ipv4Addr::LOCALHOST.into()) {
                host if is_turned && self.leads_to_the_machine(process, &host, at.port()) => {
                    Way::Turned(host, at.port())
                }
                _ => Way::Kernel,
            };
        }
        if at.port() == 53 && operation == NetworkOperation::Connect && names::resolvers().contains(&at.ip()) {
            return Way::Names;
        }
        match (is_stream, operation) {
            (true, NetworkOperation::Connect) => {
                let name = out.names.name_of(at.ip());
                Way::Turned(name.map_or(Destination::Address(at.ip()), Destination::Name), at.port())
            }
            (true, _) => Way::Refused(libc::EOPNOTSUPP, "nothing is sent before a connection is there"),
            (false, NetworkOperation::Connect) if socket.is_datagram => {
                Way::Refused(libc::ENETUNREACH, "only streams leave, through the shim's proxy")
            }
            (false, _) => Way::Refused(libc::EPERM, "only streams leave, through the shim's proxy"),
        }
    }

    /// Whether nobody of the agent's listens on a port of its loopback, and a rule speaks of the machine's.
    fn leads_to_the_machine(&self, process: &Process, host: &Destination, port: u16) -> bool {
        let (verdict, _) = self.egress_verdict(host, port, None);
        if verdict.action == Action::Deny {
            return false;
        }
        let table = |name| std::fs::read_to_string(format!("/proc/{}/net/{name}", process.pid)).unwrap_or_default();
        !somebody_listens(&[&table("tcp"), &table("tcp6")], port)
    }

    /// Whether a datagram goes to the shim's own names.
    pub(crate) fn is_asked_of_the_shim(&self, to: SocketAddr) -> bool {
        let to = SocketAddr::new(plain(to.ip()), to.port());
        self.out.as_ref().is_some_and(|out| to == SocketAddr::V4(out.services.questions))
    }

    /// Notes who will ask for names from this socket.
    pub(crate) fn will_ask(&self, process: &Arc<Process>, socket: &OwnedFd) -> io::Result<()> {
        if let Some(out) = &self.out {
            out.routes.asks(own_port(socket)?, process);
        }
        Ok(())
    }

    /// Lets a process speak to one of the shim's services. Not recorded: what it wants there is.
    pub(crate) fn go_to_the_shim(
        &self,
        call: &Notification,
        process: &Arc<Process>,
        socket: &Socket,
        act: impl FnOnce(&OwnedFd) -> io::Result<usize>,
    ) {
        let expected = match &self.out {
            Some(out) if !socket.is_datagram => own_port(&socket.copy)
                .map(|port| out.routes.expect(port, Route { process: Arc::clone(process), meant: None })),
            Some(_) | None => self.will_ask(process, &socket.copy),
        };
        self.go_there(call, socket, expected.and_then(|()| act(&socket.copy)));
    }

    /// Connects to the shim's names instead.
    pub(crate) fn go_to_the_names(&self, call: &Notification, process: &Arc<Process>, socket: &Socket) {
        let Some(out) = &self.out else { return };
        let to = if socket.is_datagram { out.services.questions } else { out.services.names };
        self.go_to_the_shim(call, process, socket, |copy| connect(copy, to));
    }

    fn go_there(&self, call: &Notification, socket: &Socket, done: io::Result<usize>) {
        if let Some(sockets) = &self.sockets
            && done.as_ref().map_or_else(|error| sys::errno(error) == libc::EINPROGRESS, |_| true)
        {
            sockets.let_go(&socket.copy);
        }
        let answer = match done {
            Ok(value) => Answer::Value(i64::try_from(value).unwrap_or(i64::MAX)),
            Err(error) => Answer::Error(sys::errno(&error)),
        };
        self.answer(call.id, answer);
    }

    /// Decides about a connect that leaves, and turns it to the relay. What is let through is recorded there, before it is dialled.
    pub(crate) fn turn(
        &self,
        call: &Notification,
        process: &Arc<Process>,
        socket: Socket,
        to: SocketAddr,
        destination: Destination,
        port: u16,
    ) {
        let (verdict, by_request) = self.egress_verdict(&destination, port, None);
        let names: Vec<String> = destination.name().map(str::to_owned).into_iter().collect();
        let mut attempt = Attempt::internet(NetworkOperation::Connect, "tcp", to, &names);
        if destination.name().is_some() {
            // It stands for the name, here alone.
            attempt.address = String::new();
        }
        let mut meant = Meant { to: destination, port, reason: verdict.reason.clone(), by_request };
        match verdict.action {
            _ if by_request => self.lead(call, process, &socket, meant),
            Action::Allow => self.lead(call, process, &socket, meant),
            Action::Deny => self.refuse(call, process, &attempt, libc::EPERM, verdict.reason),
            Action::Hold => {
                let question = Question {
                    action: "connect",
                    subject: format!("connect to {}:{port}", meant.to),
                    path: None,
                    address: (!attempt.address.is_empty()).then(|| attempt.address.clone()),
                    port: attempt.port,
                    host_name: attempt.host_name.clone(),
                };
                let (call_then, process_then) = (*call, Arc::clone(process));
                self.hold(call, process, &verdict, question, move |core, granted, reason| {
                    if granted {
                        meant.reason = Some(reason.to_owned());
                        core.lead(&call_then, &process_then, &socket, meant);
                    } else {
                        core.refuse(&call_then, &process_then, &attempt, libc::EPERM, Some(reason.to_owned()));
                    }
                });
            }
        }
    }

    fn lead(&self, call: &Notification, process: &Arc<Process>, socket: &Socket, meant: Meant) {
        let Some(out) = &self.out else { return };
        if !self.is_waiting(call) {
            return;
        }
        let done = own_port(&socket.copy).and_then(|port| {
            out.routes.expect(port, Route { process: Arc::clone(process), meant: Some(meant) });
            connect(&socket.copy, out.services.relay)
        });
        self.go_there(call, socket, done);
    }
}

/// The port that a socket has, given to it if it has none yet: so it is known before anything comes from there.
fn own_port(socket: &OwnedFd) -> io::Result<u16> {
    let port = || match target(&net::own(socket.as_fd())?) {
        Target::Internet(own) => Ok(own.port()),
        _ => Err(io::Error::from_raw_os_error(libc::EAFNOSUPPORT)),
    };
    let known = port()?;
    if known != 0 {
        return Ok(known);
    }
    let anywhere = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
    if is_v6(socket)? {
        let mut any = egress::mapped_bytes(anywhere);
        any[8..24].fill(0);
        net::bind(socket.as_fd(), &any)?;
    } else {
        net::bind(socket.as_fd(), &egress::bytes(anywhere))?;
    }
    port()
}

fn connect(socket: &OwnedFd, to: SocketAddrV4) -> io::Result<usize> {
    if is_v6(socket)? {
        // Fails for a socket that speaks IPv6 alone: the proxy has no address there.
        net::connect(socket.as_fd(), &egress::mapped_bytes(to)).map(|()| 0)
    } else {
        net::connect(socket.as_fd(), &egress::bytes(to)).map(|()| 0)
    }
}

fn is_v6(socket: &OwnedFd) -> io::Result<bool> {
    net::option(socket.as_fd(), libc::SO_DOMAIN).map(|domain| domain == libc::AF_INET6)
}
