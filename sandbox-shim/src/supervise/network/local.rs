//! Local sockets: decided by path, done by the kernel.

use super::super::core::{Core, Decided};
use super::super::results::Asked;
use super::decide::{self, Found};
use super::record::Attempt;
use super::target::{Target, abstract_name};
use crate::doors;
use crate::observe::request::Place;
use crate::policy::{Action, Verdict};
use crate::process::Process;
use crate::sys;
use crate::sys::seccomp::{Answer, Notification};
use std::sync::Arc;
use wk_schemas::body::{NetworkOperation, Outcome};

impl Core {
    /// Lets the kernel go on with a local socket, or refuses it.
    pub(super) fn local(
        &self,
        call: &Notification,
        process: &Arc<Process>,
        operation: NetworkOperation,
        to: &Target,
    ) -> Decided {
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
                let found = Found {
                    is_protected: self.is_protected(&at.real) || self.is_protected(&at.name),
                    door: doors::behind(&at.real).or_else(|| doors::behind(&at.name)),
                    // Every lookup of a name tries one; where there is none the kernel says so.
                    answers_names: self.out.is_some()
                        && (doors::answers_names(&at.real) || doors::answers_names(&at.name))
                        && at.real.exists(),
                    is_made: operation == NetworkOperation::Bind,
                };
                let asked = self.policy().file([at.name.as_path(), at.real.as_path()], true);
                (attempt, decide::local(found, asked))
            }
            Target::Internet(_) | Target::Netlink | Target::Nothing | Target::Other(_) => {
                return Ok(Some(Answer::Error(libc::EAFNOSUPPORT)));
            }
        };
        // A local socket cannot be held: the kernel would read the path again when it goes on.
        if verdict.action != Action::Allow {
            self.record_attempt(process, &attempt, Outcome::Denied, Some(libc::EACCES), verdict.reason, 1)?;
            return Ok(Some(Answer::Error(libc::EACCES)));
        }
        let kept = self.record_attempt(process, &attempt, Outcome::Allowed, None, verdict.reason, 1)?;
        Ok(Some(self.goes_on(call, process, Some(kept), || Asked::Network(attempt))))
    }
}
