//! Extended attributes. Landlock has no right for them, so with anything left out of the floor the shim sets them itself.

use super::core::{Core, Decided};
use super::files::{Access, Carry, Done};
use super::results::Asked;
use crate::carry;
use crate::observe::memory::Memory;
use crate::observe::request::Place;
use crate::process::Process;
use crate::sys;
use crate::sys::seccomp::{Answer, Notification};
use std::ffi::CString;
use std::io;
use std::sync::Arc;
use wk_schemas::body::{FileOperation, Outcome};

/// The longest name and value that the kernel takes.
const NAME_MAX: usize = 255;
const VALUE_MAX: u64 = 65_536;

/// What is to become of an attribute.
struct Attribute {
    name: CString,
    /// `None` to remove it.
    value: Option<Vec<u8>>,
    flags: i32,
}

impl Core {
    /// Sets or removes an attribute; anything else that came here is only seen.
    pub(crate) fn attribute(&self, call: &Notification, process: &Arc<Process>) -> Decided {
        let memory = Memory { thread: call.thread };
        let follow = match call.nr {
            libc::SYS_setxattr | libc::SYS_removexattr => true,
            libc::SYS_lsetxattr | libc::SYS_lremovexattr => false,
            libc::SYS_fsetxattr | libc::SYS_fremovexattr => return self.attribute_of_open(call, process),
            _ => return Ok(Some(Answer::Continue)),
        };
        let removes = matches!(call.nr, libc::SYS_removexattr | libc::SYS_lremovexattr);
        let read = memory.path(call.args[0]).and_then(|path| {
            let place = Place { directory: libc::AT_FDCWD, path };
            let at = self.resolve(call, process, &place, follow)?;
            Ok((at, Attribute::read(memory, &call.args, removes)?))
        });
        let (at, attribute) = match read {
            Ok(both) => both,
            Err(error) => return Ok(Some(Answer::Error(sys::errno(&error)))),
        };
        if !self.is_waiting(call) {
            return Ok(None);
        }
        let verdict = self.file_verdict(&at, true);
        let access = Access::new(FileOperation::ChangeAttributes, &at, i64::from(attribute.flags));
        let granted = self.floor_allows(crate::floor::Floor::is_open);
        let real = at.real;
        let carry: Option<Carry> = (!granted && !at.in_proc).then(|| -> Carry {
            Box::new(move |core, _| {
                core.refuse_protected(&real)?;
                // The shim may have powers that the agent lacks, and these names are about powers.
                if [b"trusted.".as_slice(), b"security."].iter().any(|head| attribute.name.to_bytes().starts_with(head))
                {
                    return Err(io::Error::from_raw_os_error(libc::EPERM));
                }
                carry::attribute(&real, &attribute.name, attribute.value.as_deref(), attribute.flags)?;
                Ok(Done::Nothing)
            })
        });
        self.settle(call, process, access, &verdict, carry)
    }

    /// Of an open file: what may be done to it was decided when it was opened.
    fn attribute_of_open(&self, call: &Notification, process: &Arc<Process>) -> Decided {
        let Ok(descriptor) = i32::try_from(call.args[0]) else { return Ok(Some(Answer::Continue)) };
        let place = Place { directory: descriptor, path: Vec::new() };
        let Ok(at) = self.resolve(call, process, &place, false) else { return Ok(Some(Answer::Continue)) };
        if !self.is_waiting(call) {
            return Ok(None);
        }
        let access = Access::new(FileOperation::ChangeAttributes, &at, 0);
        let kept = self.record_access(process, &access, Outcome::Allowed, None, None)?;
        Ok(Some(self.goes_on(call, process, kept, || Asked::File(access))))
    }
}

impl Attribute {
    fn read(memory: Memory, args: &[u64; 6], removes: bool) -> io::Result<Self> {
        let (name, cut) = memory.text(args[1], NAME_MAX)?;
        if cut {
            return Err(io::Error::from_raw_os_error(libc::ERANGE));
        }
        let value = if removes {
            None
        } else if args[3] > VALUE_MAX {
            return Err(io::Error::from_raw_os_error(libc::E2BIG));
        } else {
            let length = usize::try_from(args[3]).map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?;
            Some(if length == 0 { Vec::new() } else { memory.bytes(args[2], length)? })
        };
        let flags = if removes { 0 } else { i32::try_from(args[4]).unwrap_or(-1) };
        Ok(Self { name: CString::new(name)?, value, flags })
    }
}
