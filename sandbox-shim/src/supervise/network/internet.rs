//! IP addresses: decided on the shim's own copy of the address, done by the shim on a copy of the socket.

use super::super::ask::Question;
use super::super::core::Core;
use super::super::egress::Way;
use super::super::names;
use super::decide;
use super::record::Attempt;
use crate::policy::{Action, Verdict};
use crate::process::Process;
use crate::sys::seccomp::{Answer, Notification};
use crate::sys::{self, net};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use wk_schemas::body::{NetworkOperation, Outcome};

/// What is known about a socket.
pub(crate) struct Socket {
    pub(crate) copy: OwnedFd,
    pub(crate) is_datagram: bool,
    pub(crate) protocol: &'static str,
}

impl Core {
    /// Decides about an IP address and does it, holds it or refuses it. On a worker.
    pub(super) fn go(
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

    /// Writes a refusal down and answers with it.
    pub(in crate::supervise) fn refuse(
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

    /// What becomes of an address that is known by these names.
    pub(super) fn address_verdict(&self, to: SocketAddr, names: &[String]) -> Verdict {
        let is_resolver = |address| names::resolvers().contains(&address);
        decide::address(&self.policy(), to, names, self.is_protected_endpoint(to), is_resolver)
    }

    /// Whether this is where the log or the registry is.
    pub(crate) fn is_protected_endpoint(&self, to: SocketAddr) -> bool {
        self.protected_endpoints.iter().any(|endpoint| decide::leads_to(to, *endpoint))
    }

    /// A copy of the process's socket.
    pub(super) fn copy_of(&self, process: &Process, socket: i32) -> io::Result<Socket> {
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
}
