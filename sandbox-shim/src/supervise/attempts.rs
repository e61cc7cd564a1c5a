//! Calls that are about the sandbox itself: refused, or only watched, and in either case written down.
//!
//! What is decided here is decided by registers, which nothing can change while the call waits. What a record says beyond them was
//! read from memory and is what the caller wanted to be seen.

use super::core::{Core, Decided, Stop};
use super::results::Asked;
use crate::calls::{Entry, Then};
use crate::clock;
use crate::fold::{Repeats, Seen};
use crate::lock::lock;
use crate::observe::memory::Memory;
use crate::process::{Process, path_text, vitals};
use crate::sys::seccomp::{Answer, Notification};
use std::path::Path;
use std::sync::Arc;
use wk_schemas::body::{CallAttempted, Outcome};
use wk_schemas::{Origin, RecordId};

/// What makes two attempts the same, for folding.
pub(crate) type CallKey = (&'static str, Outcome, String);

/// How much of a text in an argument is kept.
const TEXT_MAX: usize = 256;
/// No process of a session is further from the shim than this.
const ANCESTORS_MAX: usize = 4096;

impl Core {
    /// Refuses, or lets go on, what the list says is about the sandbox; `None` when it says something else.
    pub(crate) fn attempt(
        &self,
        call: &Notification,
        process: &Arc<Process>,
        entry: &'static Entry,
    ) -> Option<Decided> {
        let (outcome, errno) = match entry.then {
            Then::Refused(errno) => (Outcome::Denied, Some(errno)),
            Then::Observed => (Outcome::Allowed, None),
            Then::Fenced(argument) => {
                if !aims_outside(process, int(call.args[argument])) {
                    return Some(Ok(Some(Answer::Continue)));
                }
                (Outcome::Denied, Some(libc::EPERM))
            }
            Then::Harmless | Then::Trapped | Then::Told | Then::Closed(_) | Then::Muted => return None,
        };
        let detail = detail(entry.name, call);
        if !self.is_waiting(call) {
            return Some(Ok(None));
        }
        let kept = self.record_call(vec![], process, (entry.name, entry.reason), detail.clone(), outcome, errno);
        let goes_on = |kept| self.goes_on(call, process, kept, || Asked::Call(entry, detail));
        Some(kept.map(|kept| Some(errno.map_or_else(|| goes_on(kept), Answer::Error))))
    }

    /// Writes an attempt down, or counts it when it repeats: then there is no record of its own.
    pub(super) fn record_call(
        &self,
        caused_by: Vec<RecordId>,
        process: &Process,
        (name, reason): (&'static str, &str),
        detail: String,
        outcome: Outcome,
        errno: Option<i32>,
    ) -> Result<Option<RecordId>, Stop> {
        let at = clock::now();
        let key: CallKey = (name, outcome, detail.clone());
        let body = || {
            let (tool_call_id, mediation) = self.causality.mediation(&process.tie, name);
            CallAttempted {
                actor: process.actor(tool_call_id, mediation),
                call: name.to_owned(),
                detail: detail.clone(),
                outcome,
                errno,
                count: 1,
                last_at: None,
                reason: reason.to_owned(),
            }
        };
        let seen = lock(&self.calls).see(process.pid, key, at, body);
        match seen {
            Seen::First(before) => {
                self.record_call_repeats(before.into_iter().collect())?;
                self.record_after(caused_by, Origin::Kernel, at, body().into()).map(Some)
            }
            Seen::Repeat => Ok(None),
        }
    }

    /// Writes down attempts that were counted.
    pub(crate) fn record_call_repeats(&self, repeats: Vec<Repeats<CallAttempted>>) -> Result<(), Stop> {
        for Repeats { what, count, last_at } in repeats {
            let body = CallAttempted { count, last_at: Some(last_at), ..what };
            self.record(Origin::Kernel, last_at, body.into())?;
        }
        Ok(())
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the kernel takes the low 32 bits of such a register, with their sign"
)]
const fn int(register: u64) -> i32 {
    register.cast_signed() as i32
}

/// Whether a process number, as a call of a session without a process namespace gives it, means anything that is not of this session.
///
/// Every process of the session descends from the init, which adopts orphans and is itself a child of the shim.
fn aims_outside(process: &Process, number: i32) -> bool {
    let target = match number {
        // The caller itself, or its own group, which the session made for itself.
        0 => return false,
        // Everything that the user may signal.
        -1 => return true,
        group if group < 0 => match group.checked_neg() {
            Some(leader) => leader,
            None => return true,
        },
        pid => pid,
    };
    if target == process.pid {
        return false;
    }
    let Ok(shim) = i32::try_from(std::process::id()) else { return true };
    let mut at = target;
    for hops in 0..ANCESTORS_MAX {
        let Ok(vitals) = vitals(at) else { return hops > 0 };
        if vitals.pid == shim {
            // The shim itself, or its child, the init.
            return hops < 2;
        }
        if vitals.parent <= 0 {
            return true;
        }
        at = vitals.parent;
    }
    true
}

/// What the arguments say, for a person.
fn detail(name: &str, call: &Notification) -> String {
    let memory = Memory { thread: call.thread };
    let text = |argument: usize| {
        let read = memory.text(call.args[argument], TEXT_MAX);
        read.map_or_else(|_| "?".to_owned(), |(bytes, _)| path_text(Path::new(&*String::from_utf8_lossy(&bytes))).0)
    };
    let number = |argument: usize| int(call.args[argument]);
    match name {
        "mount" => format!("{} on {}", text(0), text(1)),
        "umount2" | "chroot" | "swapon" | "swapoff" | "acct" | "uselib" => text(0),
        "pivot_root" => format!("{} to {}", text(0), text(1)),
        "open_tree" | "open_tree_attr" | "fspick" | "mount_setattr" => text(1),
        "move_mount" => format!("{} to {}", text(1), text(3)),
        "fsopen" => text(0),
        "memfd_create" => format!("`{}`", text(0)),
        "socket" => format!("family {}, type {}, protocol {}", family(number(0)), number(1) & 0xf, number(2)),
        "ptrace" => format!("request {:#x} to process {}", call.args[0], number(1)),
        "process_vm_readv" | "process_vm_writev" => format!("process {}", number(0)),
        "kill" => format!("signal {} to {}", number(1), number(0)),
        "tkill" | "rt_sigqueueinfo" => format!("signal {} to {}", number(1), number(0)),
        "tgkill" | "rt_tgsigqueueinfo" => format!("signal {} to {}", number(2), number(1)),
        "pidfd_open" | "prlimit64" | "sched_setaffinity" | "sched_setparam" => format!("process {}", number(0)),
        "sched_setscheduler" | "sched_setattr" => format!("process {}, policy {}", number(0), number(1)),
        "clone" | "unshare" => format!("flags {:#x}", call.args[0]),
        "setns" => format!("flags {:#x}", call.args[1]),
        "ioctl" => format!("request {:#x}", call.args[1]),
        "bpf" | "keyctl" => format!("command {}", number(0)),
        "x32" => format!("number {}", call.nr & 0x3fff_ffff),
        _ => String::new(),
    }
}

fn family(number: i32) -> String {
    match number {
        libc::AF_PACKET => "packet".to_owned(),
        libc::AF_VSOCK => "vsock".to_owned(),
        libc::AF_ALG => "alg".to_owned(),
        libc::AF_BLUETOOTH => "bluetooth".to_owned(),
        libc::AF_CAN => "can".to_owned(),
        libc::AF_INET => "inet".to_owned(),
        libc::AF_INET6 => "inet6".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_shown_for_a_person() {
        let call = |args: [u64; 6]| Notification { id: 0, thread: 0, nr: 0, args };
        assert_eq!(detail("socket", &call([40, 1, 0, 0, 0, 0])), "family vsock, type 1, protocol 0");
        assert_eq!(detail("kill", &call([u64::MAX, 9, 0, 0, 0, 0])), "signal 9 to -1");
        assert_eq!(detail("mount", &call([0; 6])), "? on ?");
        assert_eq!(detail("x32", &Notification { nr: 0x4000_0002, ..call([0; 6]) }), "number 2");
    }
}
