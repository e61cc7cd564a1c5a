//! Connections and datagrams.
//!
//! What goes to an IP address is decided on the shim's own copy of the address and done by the shim on a copy of the socket, so
//! nothing that changes in the agent's memory or descriptors afterwards matters. Local sockets are left to the kernel, because
//! the other side would see the shim's credentials; a path decides about them like about any file.

use super::core::{Core, Decided, Question, Stop};
use super::egress::Way;
use super::names;
use crate::clock;
use crate::doors;
use crate::observe::dns;
use crate::observe::memory::Memory;
use crate::observe::request::Place;
use crate::policy::{Action, Verdict, plain};
use crate::process::Process;
use crate::sys::seccomp::{Answer, Notification};
use crate::sys::{self, net};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use wk_schemas::Origin;
use wk_schemas::body::{ConnectionAttempted, NameResolved, NetworkOperation, Outcome};

/// The longest piece of data sent in the agent's place at once; a stream socket may always send less than it was given.
const DATA_MAX: usize = 1 << 20;

/// Where something goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// An IP address.
    Internet(SocketAddr),
    /// A local socket with a path.
    Path(Vec<u8>),
    /// A local socket without a path, or one that another process of the session made for itself.
    Abstract(Vec<u8>),
    /// How a program asks the kernel about the network.
    Netlink,
    /// `AF_UNSPEC`: undoes a connect.
    Nothing,
    /// Another family.
    Other(u16),
}

/// Reads a `sockaddr`.
pub(crate) fn target(address: &[u8]) -> Target {
    let family = address.get(..2).map_or(0, |b| u16::from_ne_bytes([b[0], b[1]]));
    let port = || address.get(2..4).map(|b| u16::from_be_bytes([b[0], b[1]]));
    let fixed = |range: std::ops::Range<usize>| address.get(range);
    match i32::from(family) {
        libc::AF_UNSPEC => Target::Nothing,
        libc::AF_NETLINK => Target::Netlink,
        libc::AF_INET => match (port(), fixed(4..8).and_then(|b| <[u8; 4]>::try_from(b).ok())) {
            (Some(port), Some(ip)) => Target::Internet(SocketAddr::new(Ipv4Addr::from(ip).into(), port)),
            _ => Target::Other(family),
        },
        libc::AF_INET6 => match (port(), fixed(8..24).and_then(|b| <[u8; 16]>::try_from(b).ok())) {
            (Some(port), Some(ip)) => Target::Internet(SocketAddr::new(plain(Ipv6Addr::from(ip).into()), port)),
            _ => Target::Other(family),
        },
        libc::AF_UNIX => match address.get(2..) {
            Some([0, name @ ..]) => Target::Abstract(name.to_vec()),
            Some(path) if !path.is_empty() => {
                Target::Path(path.split(|byte| *byte == 0).next().unwrap_or_default().to_vec())
            }
            _ => Target::Abstract(Vec::new()),
        },
        _ => Target::Other(family),
    }
}

/// What is known about a socket.
pub(super) struct Socket {
    pub(super) copy: OwnedFd,
    pub(super) is_datagram: bool,
    pub(super) protocol: &'static str,
}

/// One thing done with the network, as a record shows it.
#[derive(Debug, Clone)]
pub(super) struct Attempt {
    pub(super) operation: NetworkOperation,
    pub(super) protocol: String,
    pub(super) address: String,
    pub(super) port: Option<i32>,
    pub(super) host_name: Option<String>,
}

impl Attempt {
    pub(super) fn internet(operation: NetworkOperation, protocol: &str, to: SocketAddr, names: &[String]) -> Self {
        Self {
            operation,
            protocol: protocol.to_owned(),
            address: to.ip().to_string(),
            port: Some(i32::from(to.port())),
            host_name: names.first().filter(|name| *name != "localhost").cloned(),
        }
    }

    fn local(operation: NetworkOperation, address: String) -> Self {
        Self { operation, protocol: "unix".to_owned(), address, port: None, host_name: None }
    }

    fn object(&self) -> &str {
        self.host_name.as_deref().unwrap_or(&self.address)
    }
}

impl Core {
    pub(crate) fn connect(
        &self,
        call: &Notification,
        process: &Arc<Process>,
        socket: i32,
        address: Vec<u8>,
    ) -> Decided {
        match target(&address) {
            Target::Internet(to) => {
                let (call, process) = (*call, Arc::clone(process));
                self.act(move |core| {
                    core.go(&call, &process, socket, NetworkOperation::Connect, to, move |copy| {
                        net::connect(copy.as_fd(), &address).map(|()| 0)
                    });
                });
                Ok(None)
            }
            Target::Nothing => {
                let (call, process) = (*call, Arc::clone(process));
                self.act(move |core| {
                    let done = core.copy_of(&process, socket).and_then(|s| net::connect(s.copy.as_fd(), &address));
                    let answer = done.map_or_else(|e| Answer::Error(sys::errno(&e)), |()| Answer::Value(0));
                    core.answer(call.id, answer);
                });
                Ok(None)
            }
            Target::Netlink => Ok(Some(Answer::Continue)),
            local => self.local(call, process, NetworkOperation::Connect, &local),
        }
    }

    pub(crate) fn bind(&self, call: &Notification, process: &Arc<Process>, socket: i32, address: &[u8]) -> Decided {
        match target(address) {
            Target::Internet(to) => {
                let protocol = self.copy_of(process, socket).map_or("ip", |s| s.protocol);
                let attempt = Attempt::internet(NetworkOperation::Bind, protocol, to, &[]);
                self.record_attempt(process, &attempt, Outcome::Allowed, None, None, 1)?;
                Ok(Some(Answer::Continue))
            }
            Target::Nothing | Target::Netlink => Ok(Some(Answer::Continue)),
            local => self.local(call, process, NetworkOperation::Bind, &local),
        }
    }

    pub(crate) fn listen(&self, call: &Notification, process: &Arc<Process>, socket: i32) -> Decided {
        let known = self.copy_of(process, socket).and_then(|s| Ok((net::own(s.copy.as_fd())?, s.protocol)));
        if !self.is_waiting(call) {
            return Ok(None);
        }
        let attempt = match known.map(|(address, protocol)| (target(&address), protocol)) {
            Ok((Target::Internet(at), protocol)) => Attempt::internet(NetworkOperation::Listen, protocol, at, &[]),
            Ok((Target::Path(path), _)) => {
                Attempt::local(NetworkOperation::Listen, String::from_utf8_lossy(&path).into_owned())
            }
            Ok((Target::Abstract(name), _)) => Attempt::local(NetworkOperation::Listen, abstract_name(&name)),
            Ok(_) | Err(_) => return Ok(Some(Answer::Continue)),
        };
        self.record_attempt(process, &attempt, Outcome::Allowed, None, None, 1)?;
        if let (Some(sockets), Ok(known)) = (&self.sockets, self.copy_of(process, socket)) {
            sockets.let_go(&known.copy);
        }
        Ok(Some(Answer::Continue))
    }

    pub(crate) fn send_to(
        &self,
        call: &Notification,
        process: &Arc<Process>,
        socket: i32,
        (data, length, flags): (u64, u64, i32),
        address: Vec<u8>,
    ) -> Decided {
        match target(&address) {
            Target::Internet(to) => {
                let length = usize::try_from(length).unwrap_or(usize::MAX).min(DATA_MAX);
                let data = match (Memory { thread: call.thread }).bytes(data, length) {
                    Ok(data) => data,
                    Err(error) => return Ok(Some(Answer::Error(sys::errno(&error)))),
                };
                if !self.is_waiting(call) {
                    return Ok(None);
                }
                if !self.is_asked_of_the_shim(to) {
                    self.note_question(process, to.port(), &data)?;
                }
                let (call, process) = (*call, Arc::clone(process));
                self.act(move |core| {
                    core.go(&call, &process, socket, NetworkOperation::Send, to, move |copy| {
                        net::send_to(copy.as_fd(), &data, flags, &address)
                    });
                });
                Ok(None)
            }
            Target::Netlink => Ok(Some(Answer::Continue)),
            Target::Nothing | Target::Other(_) => Ok(Some(Answer::Error(libc::EAFNOSUPPORT))),
            local @ (Target::Path(_) | Target::Abstract(_)) => {
                self.local(call, process, NetworkOperation::Send, &local)
            }
        }
    }

    /// Several messages, each with an address or without. On local and stream sockets the kernel goes on: an address has no effect
    /// there. Datagrams are copied and sent by the shim.
    pub(crate) fn send_messages(
        &self,
        call: &Notification,
        process: &Arc<Process>,
        socket: i32,
        (headers, count, flags, several): (u64, u64, i32, bool),
    ) -> Decided {
        let copy = match self.copy_of(process, socket) {
            Ok(copy) => copy,
            // Not one the shim made and kept: a local socket, or a stream whose address was decided when it was connected.
            Err(error) if self.sockets.is_some() && sys::errno(&error) == libc::EPERM => {
                return self.local_messages(call, process, (headers, several));
            }
            Err(error) => return Ok(Some(Answer::Error(sys::errno(&error)))),
        };
        if !matches!(copy.protocol, "tcp" | "udp" | "ip") {
            return self.local_messages(call, process, (headers, several));
        }
        if !copy.is_datagram {
            return Ok(Some(Answer::Continue));
        }
        let memory = Memory { thread: call.thread };
        let mut messages = Vec::new();
        for index in 0..count {
            match Message::read(memory, headers + index * if several { 64 } else { 56 }) {
                Ok(message) => messages.push(message),
                Err(error) => return Ok(Some(Answer::Error(sys::errno(&error)))),
            }
        }
        if !self.is_waiting(call) {
            return Ok(None);
        }
        let peer = net::peer(copy.copy.as_fd()).ok().map(|address| target(&address));
        for message in &messages {
            let to = if message.address.is_empty() { peer.clone() } else { Some(target(&message.address)) };
            if let Some(Target::Internet(to)) = to
                && !self.is_asked_of_the_shim(to)
            {
                self.note_question(process, to.port(), &message.data)?;
            }
        }
        let (call, process) = (*call, Arc::clone(process));
        self.act(move |core| core.send_each(&call, &process, copy, messages, (headers, flags, several)));
        Ok(None)
    }

    fn send_each(
        &self,
        call: &Notification,
        process: &Arc<Process>,
        socket: Socket,
        messages: Vec<Message>,
        (headers, flags, several): (u64, i32, bool),
    ) {
        let mut sent = 0_i64;
        let mut length = 0_i64;
        let mut failure = None;
        for (index, message) in messages.into_iter().enumerate() {
            let done = self.send_one(process, &socket, &message, flags);
            match done {
                Ok(bytes) => {
                    sent += 1;
                    length = i64::try_from(bytes).unwrap_or(i64::MAX);
                    let filled_in = headers + 64 * u64::try_from(index).unwrap_or(0) + 56;
                    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).to_ne_bytes();
                    if several && sys::process::write_memory(call.thread, filled_in, &bytes).is_err() {
                        failure = Some(libc::EFAULT);
                        break;
                    }
                }
                Err(error) => {
                    failure = Some(sys::errno(&error));
                    break;
                }
            }
        }
        let answer = match failure {
            Some(errno) if sent == 0 => Answer::Error(errno),
            _ => Answer::Value(if several { sent } else { length }),
        };
        self.answer(call.id, answer);
    }

    /// Sends one datagram. One that would be held is refused: several may hang on one call, and what waits is not sent in time.
    fn send_one(&self, process: &Arc<Process>, socket: &Socket, message: &Message, flags: i32) -> io::Result<usize> {
        if message.has_control {
            return Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP));
        }
        match target(&message.address) {
            // To the connected peer: decided when the socket was connected.
            _ if message.address.is_empty() => net::send_to(socket.copy.as_fd(), &message.data, flags, &[]),
            Target::Internet(to) => {
                let (names, verdict) = match self.way(process, NetworkOperation::Send, to, socket) {
                    Way::Own => {
                        self.will_ask(process, &socket.copy)?;
                        return net::send_to(socket.copy.as_fd(), &message.data, flags, &message.address);
                    }
                    Way::Refused(_, reason) => {
                        (Vec::new(), Verdict { action: Action::Deny, reason: Some(reason.to_owned()) })
                    }
                    Way::Kernel | Way::Names | Way::Turned(..) => {
                        let names = self.names.of(to.ip(), &self.policy());
                        let verdict = self.address_verdict(to, &names);
                        (names, verdict)
                    }
                };
                let attempt = Attempt::internet(NetworkOperation::Send, socket.protocol, to, &names);
                let refused = io::Error::from_raw_os_error(libc::EPERM);
                if verdict.action != Action::Allow {
                    self.record_attempt(process, &attempt, Outcome::Denied, Some(libc::EPERM), verdict.reason, 1)
                        .map_err(|Stop| io::Error::from_raw_os_error(libc::EPERM))?;
                    return Err(refused);
                }
                self.record_first(process, &attempt, verdict.reason).map_err(|Stop| refused)?;
                net::send_to(socket.copy.as_fd(), &message.data, flags, &message.address)
            }
            _ => Err(io::Error::from_raw_os_error(libc::EAFNOSUPPORT)),
        }
    }

    /// A message over a local socket: the first address decides, and the kernel goes on.
    fn local_messages(&self, call: &Notification, process: &Arc<Process>, (headers, several): (u64, bool)) -> Decided {
        let memory = Memory { thread: call.thread };
        if several {
            return Ok(Some(Answer::Continue));
        }
        let address = memory.number(headers).and_then(|pointer| {
            let length = memory.number(headers + 8)? & 0xffff_ffff;
            if pointer == 0 || length == 0 {
                return Ok(Vec::new());
            }
            memory.bytes(pointer, usize::try_from(length).unwrap_or(0).min(128))
        });
        match address.map(|address| (address.is_empty(), target(&address))) {
            Ok((false, local @ (Target::Path(_) | Target::Abstract(_)))) => {
                self.local(call, process, NetworkOperation::Send, &local)
            }
            Ok(_) => Ok(Some(Answer::Continue)),
            Err(error) => Ok(Some(Answer::Error(sys::errno(&error)))),
        }
    }

    /// A local socket: decided by its path, done by the kernel.
    fn local(&self, call: &Notification, process: &Arc<Process>, operation: NetworkOperation, to: &Target) -> Decided {
        let (attempt, verdict) = match to {
            Target::Abstract(name) => {
                (Attempt::local(operation, abstract_name(name)), Verdict { action: Action::Allow, reason: None })
            }
            Target::Path(path) => {
                let place = Place { directory: libc::AT_FDCWD, path: path.clone() };
                let at = match self.resolve(call, process, &place, true) {
                    Ok(at) => at,
                    Err(error) => return Ok(Some(Answer::Error(sys::errno(&error)))),
                };
                if !self.is_waiting(call) {
                    return Ok(None);
                }
                let attempt = Attempt::local(operation, at.name.to_string_lossy().into_owned());
                let protected = self.is_protected(&at.real) || self.is_protected(&at.name);
                let asked = self.policy().file([at.name.as_path(), at.real.as_path()], true);
                let door = doors::behind(&at.real).or_else(|| doors::behind(&at.name));
                let by_rule = asked.action == Action::Allow && asked.reason.is_some();
                let verdict = match door {
                    _ if protected => {
                        Verdict { action: Action::Deny, reason: Some("protected by the shim".to_owned()) }
                    }
                    Some(behind) if operation != NetworkOperation::Bind && !by_rule => {
                        Verdict { action: Action::Deny, reason: Some(format!("leads out of the sandbox: {behind}")) }
                    }
                    // Every lookup of a name tries one; where there is none the kernel says so.
                    None if self.out.is_some()
                        && (doors::answers_names(&at.real) || doors::answers_names(&at.name))
                        && at.real.exists() =>
                    {
                        Verdict {
                            action: Action::Deny,
                            reason: Some("names are answered by the shim alone".to_owned()),
                        }
                    }
                    _ => asked,
                };
                (attempt, verdict)
            }
            Target::Internet(_) | Target::Netlink | Target::Nothing | Target::Other(_) => {
                return Ok(Some(Answer::Error(libc::EAFNOSUPPORT)));
            }
        };
        // A local socket cannot be held: the kernel would read the path again when it goes on.
        let (outcome, errno, answer) = match verdict.action {
            Action::Allow => (Outcome::Allowed, None, Answer::Continue),
            Action::Hold | Action::Deny => (Outcome::Denied, Some(libc::EACCES), Answer::Error(libc::EACCES)),
        };
        self.record_attempt(process, &attempt, outcome, errno, verdict.reason, 1)?;
        Ok(Some(answer))
    }

    /// Decides about an IP address and does it, holds it or refuses it. On a worker.
    fn go(
        &self,
        call: &Notification,
        process: &Arc<Process>,
        socket: i32,
        operation: NetworkOperation,
        to: SocketAddr,
        act: impl FnOnce(&OwnedFd) -> io::Result<usize> + Send + 'static,
    ) {
        let copy = match self.copy_of(process, socket) {
            Ok(copy) => copy,
            Err(error) => {
                // Without a copy of the socket the shim could only let the kernel go on, with whatever is in memory by then.
                let attempt = Attempt::internet(operation, "ip", to, &[]);
                let reason = Some("the socket could not be copied".to_owned());
                let errno = sys::errno(&error);
                self.record_attempt(process, &attempt, Outcome::Failed, Some(errno), reason, 1).ok();
                return self.answer(call.id, Answer::Error(errno));
            }
        };
        if !self.is_waiting(call) {
            return;
        }
        match self.way(process, operation, to, &copy) {
            Way::Kernel => {}
            Way::Own => return self.go_to_the_shim(call, process, &copy, act),
            Way::Names => return self.go_to_the_names(call, process, &copy),
            Way::Turned(destination, port) => return self.turn(call, process, copy, to, destination, port),
            Way::Refused(errno, reason) => {
                let attempt = Attempt::internet(operation, copy.protocol, to, &[]);
                return self.refuse(call, process, &attempt, errno, Some(reason.to_owned()));
            }
        }
        let names = self.names.of(to.ip(), &self.policy());
        let verdict = self.address_verdict(to, &names);
        let attempt = Attempt::internet(operation, copy.protocol, to, &names);
        match verdict.action {
            Action::Allow => self.go_on(call, process, &attempt, verdict.reason, &copy, act),
            // Connecting a datagram socket sends nothing; the C library does it to every address that a name has, to find out which
            // one it would reach. It is refused as unreachable, and what really goes out is asked about.
            Action::Hold if copy.is_datagram && operation == NetworkOperation::Connect => {
                let reason = Some("a datagram socket is not held, but refused".to_owned());
                self.refuse(call, process, &attempt, libc::ENETUNREACH, reason);
            }
            Action::Deny => self.refuse(call, process, &attempt, libc::EPERM, verdict.reason),
            Action::Hold => {
                let verb = if operation == NetworkOperation::Connect { "connect" } else { "send" };
                let shown = attempt.host_name.as_ref().map_or(String::new(), |name| format!(" ({name})"));
                let question = Question {
                    action: verb,
                    subject: format!("{verb} to {to}{shown}"),
                    path: None,
                    address: Some(attempt.address.clone()),
                    port: attempt.port,
                    host_name: attempt.host_name.clone(),
                };
                let (call_then, process_then) = (*call, Arc::clone(process));
                // Its answer comes later, and a failure to ask is answered by `hold` itself.
                self.hold(call, process, &verdict, question, move |core, granted, reason| {
                    let reason = Some(reason.to_owned());
                    if granted {
                        core.go_on(&call_then, &process_then, &attempt, reason, &copy, act);
                    } else {
                        core.refuse(&call_then, &process_then, &attempt, libc::EPERM, reason);
                    }
                });
            }
        }
    }

    /// Writes it down so that it survives a loss of power, and only then lets it leave the machine.
    fn go_on(
        &self,
        call: &Notification,
        process: &Process,
        attempt: &Attempt,
        reason: Option<String>,
        socket: &Socket,
        act: impl FnOnce(&OwnedFd) -> io::Result<usize>,
    ) {
        if self.record_first(process, attempt, reason.clone()).is_err() {
            return self.answer(call.id, Answer::Error(libc::EPERM));
        }
        if !self.is_waiting(call) {
            return;
        }
        let done = act(&socket.copy);
        if let Some(sockets) = &self.sockets
            && done.as_ref().map_or_else(|error| sys::errno(error) == libc::EINPROGRESS, |_| true)
        {
            sockets.let_go(&socket.copy);
        }
        match done {
            Ok(value) => self.answer(call.id, Answer::Value(i64::try_from(value).unwrap_or(i64::MAX))),
            Err(error) => {
                let errno = sys::errno(&error);
                if errno != libc::EINPROGRESS {
                    // The attempt itself was counted above.
                    self.record_attempt(process, attempt, Outcome::Failed, Some(errno), reason, 0).ok();
                }
                self.answer(call.id, Answer::Error(errno));
            }
        }
    }

    pub(super) fn refuse(
        &self,
        call: &Notification,
        process: &Process,
        attempt: &Attempt,
        errno: i32,
        reason: Option<String>,
    ) {
        self.record_attempt(process, attempt, Outcome::Denied, Some(errno), reason, 1).ok();
        self.answer(call.id, Answer::Error(errno));
    }

    fn address_verdict(&self, to: SocketAddr, names: &[String]) -> Verdict {
        let (ip, port) = (plain(to.ip()), to.port());
        if self.is_protected_endpoint(to) {
            return Verdict { action: Action::Deny, reason: Some("protected by the shim".to_owned()) };
        }
        let policy = self.policy();
        let local = if ip.is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { ip };
        let verdict = policy.address(local, port, names);
        if port == 53 && verdict.reason.is_none() && names::resolvers().contains(&ip) {
            return Verdict { action: policy.dns(), reason: Some("dns: the system's own resolver".to_owned()) };
        }
        verdict
    }

    /// Whether this is where the log or the registry is.
    pub(super) fn is_protected_endpoint(&self, to: SocketAddr) -> bool {
        let ip = plain(to.ip());
        let to_this_machine = ip.is_loopback() || ip.is_unspecified();
        self.protected_endpoints.iter().any(|endpoint| {
            let protected = plain(endpoint.ip());
            let same_place =
                protected == ip || (to_this_machine && (protected.is_loopback() || protected.is_unspecified()));
            endpoint.port() == to.port() && same_place
        })
    }

    /// A copy of the process's socket.
    fn copy_of(&self, process: &Process, socket: i32) -> io::Result<Socket> {
        let copy = match &self.sockets {
            None => sys::process::pidfd_getfd(process.pidfd.as_fd(), socket)?,
            Some(sockets) => sockets.copy(process.pid, socket)?,
        };
        let kind = net::option(copy.as_fd(), libc::SO_TYPE)?;
        let protocol =
            match (net::option(copy.as_fd(), libc::SO_DOMAIN)?, net::option(copy.as_fd(), libc::SO_PROTOCOL)?) {
                (libc::AF_UNIX, _) => "unix",
                (libc::AF_NETLINK, _) => "netlink",
                (libc::AF_INET | libc::AF_INET6, libc::IPPROTO_TCP) => "tcp",
                (libc::AF_INET | libc::AF_INET6, libc::IPPROTO_UDP) => "udp",
                (libc::AF_INET | libc::AF_INET6, _) => "ip",
                _ => "other",
            };
        Ok(Socket { copy, is_datagram: kind == libc::SOCK_DGRAM, protocol })
    }

    /// Writes down a question for a name, when these bytes are one.
    fn note_question(&self, process: &Process, port: u16, data: &[u8]) -> Result<(), Stop> {
        let Some(question) = (port == 53).then(|| dns::question(data)).flatten() else { return Ok(()) };
        self.names.asked(&question.name);
        let (tool_call_id, mediation) = self.causality.mediation(&process.tie, &question.name);
        let body = NameResolved {
            actor: process.actor(tool_call_id, mediation),
            name: question.name,
            record_type: question.record_type,
            addresses: Vec::new(),
            // With a proxy, whoever else is asked is not reached.
            outcome: if self.out.is_none() { Outcome::Allowed } else { Outcome::Denied },
        };
        self.record(Origin::Kernel, clock::now(), body.into()).map(drop)
    }

    fn record_first(&self, process: &Process, attempt: &Attempt, reason: Option<String>) -> Result<(), Stop> {
        let body = self.attempt_body(process, attempt, Outcome::Allowed, None, reason, 1);
        self.record_durable(Origin::Kernel, clock::now(), vec![], body.into()).map(drop)
    }

    fn record_attempt(
        &self,
        process: &Process,
        attempt: &Attempt,
        outcome: Outcome,
        errno: Option<i32>,
        reason: Option<String>,
        count: i64,
    ) -> Result<(), Stop> {
        let body = self.attempt_body(process, attempt, outcome, errno, reason, count);
        self.record(Origin::Kernel, clock::now(), body.into()).map(drop)
    }

    pub(super) fn attempt_body(
        &self,
        process: &Process,
        attempt: &Attempt,
        outcome: Outcome,
        errno: Option<i32>,
        reason: Option<String>,
        count: i64,
    ) -> ConnectionAttempted {
        let (tool_call_id, mediation) = self.causality.mediation(&process.tie, attempt.object());
        ConnectionAttempted {
            actor: process.actor(tool_call_id, mediation),
            operation: attempt.operation,
            protocol: attempt.protocol.clone(),
            address: attempt.address.clone(),
            port: attempt.port,
            host_name: attempt.host_name.clone(),
            outcome,
            errno,
            count,
            last_at: None,
            reason,
        }
    }
}

pub(crate) fn abstract_name(name: &[u8]) -> String {
    format!("@{}", Path::new(std::ffi::OsStr::from_bytes(name)).display())
}

/// A datagram, copied out of the agent's memory.
#[derive(Debug)]
struct Message {
    address: Vec<u8>,
    data: Vec<u8>,
    has_control: bool,
}

impl Message {
    /// Reads a `msghdr` and all it points to.
    fn read(memory: Memory, header: u64) -> io::Result<Self> {
        let invalid = || io::Error::from_raw_os_error(libc::EINVAL);
        let field = |index: u64| memory.number(header + index * 8);
        let (name, name_length) = (field(0)?, field(1)? & 0xffff_ffff);
        let (parts, count, control_length) = (field(2)?, field(3)?, field(5)?);
        let address = if name == 0 || name_length == 0 {
            Vec::new()
        } else {
            memory.bytes(name, usize::try_from(name_length).ok().filter(|n| *n <= 128).ok_or_else(invalid)?)?
        };
        let mut data = Vec::new();
        for index in 0..count.min(1024) {
            let (base, length) = (memory.number(parts + index * 16)?, memory.number(parts + index * 16 + 8)?);
            let length = usize::try_from(length).ok().filter(|n| data.len() + n <= DATA_MAX).ok_or_else(invalid)?;
            if length > 0 {
                data.extend(memory.bytes(base, length)?);
            }
        }
        Ok(Self { address, data, has_control: control_length > 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_the_kernel_reads_them() {
        let v4 = [2, 0, 0x01, 0xbb, 192, 0, 2, 7, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(target(&v4), Target::Internet("192.0.2.7:443".parse().unwrap()));
        let mut mapped = vec![10, 0, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1];
        assert_eq!(target(&mapped), Target::Internet("127.0.0.1:80".parse().unwrap()));
        mapped.truncate(20);
        assert_eq!(target(&mapped), Target::Other(10));
        assert_eq!(target(b"\x01\x00/run/x.sock\x00junk"), Target::Path(b"/run/x.sock".to_vec()));
        assert_eq!(target(b"\x01\x00\x00bus"), Target::Abstract(b"bus".to_vec()));
        assert_eq!(target(&[0, 0, 0, 0]), Target::Nothing);
        assert_eq!(target(&[40, 0, 0, 0]), Target::Other(40));
        assert_eq!(target(&[]), Target::Nothing);
    }
}
