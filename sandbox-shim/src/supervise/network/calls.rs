//! What a process asks for: to connect, to bind, to listen, to send somewhere.

use super::super::core::{Core, Decided};
use super::super::results::Asked;
use super::messages::DATA_MAX;
use super::record::Attempt;
use super::target::{Target, abstract_name, target};
use crate::observe::memory::Memory;
use crate::process::Process;
use crate::sys::seccomp::{Answer, Notification};
use crate::sys::{self, net};
use std::os::fd::AsFd;
use std::sync::Arc;
use wk_schemas::body::{NetworkOperation, Outcome};

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
                let kept = self.record_attempt(process, &attempt, Outcome::Allowed, None, None, 1)?;
                Ok(Some(self.goes_on(call, process, Some(kept), || Asked::Network(attempt))))
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
        let kept = self.record_attempt(process, &attempt, Outcome::Allowed, None, None, 1)?;
        if let (Some(sockets), Ok(known)) = (&self.sockets, self.copy_of(process, socket)) {
            sockets.let_go(&known.copy);
        }
        Ok(Some(self.goes_on(call, process, Some(kept), || Asked::Network(attempt))))
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
}
