//! `sendmsg` and `sendmmsg`: several messages, each with an address or without.
//!
//! On local and stream sockets the kernel goes on, for an address has no effect there. Datagrams are copied and sent by the shim.

use super::super::core::{Core, Decided, Stop};
use super::super::egress::Way;
use super::internet::Socket;
use super::record::Attempt;
use super::target::{Target, target};
use crate::observe::memory::Memory;
use crate::policy::{Action, Verdict};
use crate::process::Process;
use crate::sys::seccomp::{Answer, Notification};
use crate::sys::{self, net};
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use wk_schemas::body::{NetworkOperation, Outcome};

/// The longest piece of data sent in the agent's place at once; a stream socket may always send less than it was given.
pub(super) const DATA_MAX: usize = 1 << 20;

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

impl Core {
    /// Has each message sent where it is addressed to, or connected to.
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
}
