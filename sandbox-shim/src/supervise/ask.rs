//! What waits for a person's answer: asked, answered, expired or abandoned.

use super::core::Core;
use crate::clock;
use crate::contract::{Decision, Ticket};
use crate::hold::{Ending, Held};
use crate::policy::Verdict;
use crate::process::Process;
use crate::sys::seccomp::{self, Notification};
use std::os::fd::AsFd;
use wk_schemas::body::{ApprovalRequested, ApprovalResolved, Resolution};
use wk_schemas::{Origin, RecordId};

/// What a person is asked.
#[derive(Debug, Default)]
pub(crate) struct Question {
    pub(crate) action: &'static str,
    pub(crate) subject: String,
    pub(crate) path: Option<String>,
    pub(crate) address: Option<String>,
    pub(crate) port: Option<i32>,
    pub(crate) host_name: Option<String>,
}

impl Core {
    /// Asks a person about a call; `then` is done with the answer, on a worker.
    pub(crate) fn hold(
        &self,
        call: &Notification,
        process: &Process,
        verdict: &Verdict,
        question: Question,
        then: impl FnOnce(&Core, bool, &str) + Send + 'static,
    ) {
        self.ask(Some(call.id), process, verdict, question, then);
    }

    /// Asks a person, about a call that waits or about something else; the ticket under which the answer comes.
    pub(crate) fn ask(
        &self,
        notification: Option<u64>,
        process: &Process,
        verdict: &Verdict,
        question: Question,
        then: impl FnOnce(&Core, bool, &str) + Send + 'static,
    ) -> Ticket {
        let (ticket, now, at) = (clock::new_id(), clock::instant(), clock::now());
        let timeout = self.policy().hold_timeout;
        let object = question.path.as_deref().or(question.host_name.as_deref()).or(question.address.as_deref());
        let (tool_call_id, mediation) = self.causality.mediation(&process.tie, object.unwrap_or_default());
        let body = ApprovalRequested {
            ticket: RecordId(ticket),
            action: question.action.to_owned(),
            subject: question.subject,
            actor: Some(process.actor(tool_call_id.clone(), mediation)),
            tool_call_id,
            path: question.path,
            address: question.address,
            port: question.port,
            host_name: question.host_name,
            reason: verdict.reason.clone().unwrap_or_else(|| "the policy's default".to_owned()),
            deadline: at.plus_micros(i64::try_from(timeout.as_micros()).unwrap_or(i64::MAX)),
        };
        let me = self.me.clone();
        // In the table before it is known outside: the answer may come at once.
        self.holds.add(Held {
            ticket,
            pid: process.pid,
            notification,
            since: now,
            deadline: now + timeout,
            then: Box::new(move |granted, reason| {
                let reason = reason.to_owned();
                if let Some(core) = me.upgrade() {
                    core.act(move |core| then(core, granted, &reason));
                }
            }),
        });
        self.aside(move |core| {
            let kept = core.record_durable(Origin::Shim, at, vec![], body.into());
            if kept.is_err()
                && let Some(held) = core.holds.take(ticket)
            {
                (held.then)(false, "the question could not be recorded");
            }
        });
        self.wake();
        ticket
    }

    /// Ends a hold: writes down how, then goes on or refuses.
    pub(crate) fn end_hold(&self, held: Held, ending: Ending) {
        let (resolution, by, reason, command_id) = match ending {
            Ending::Answered(decision) => {
                let resolution = if decision.granted { Resolution::Granted } else { Resolution::Denied };
                (resolution, decision.by, decision.reason, decision.command_id)
            }
            Ending::Expired => (Resolution::Expired, None, "nobody answered in time".to_owned(), None),
            Ending::Abandoned => (Resolution::Abandoned, None, "the process that waited is gone".to_owned(), None),
        };
        let body = ApprovalResolved {
            ticket: RecordId(held.ticket),
            resolution,
            by,
            reason: reason.clone(),
            command_id,
            waited_us: clock::micros_since(held.since),
        };
        let caused_by = command_id.into_iter().collect();
        let kept = self.record_durable(Origin::Shim, clock::now(), caused_by, body.into());
        let granted = kept.is_ok() && resolution == Resolution::Granted;
        let reason = match resolution {
            Resolution::Granted => format!("granted: {reason}"),
            Resolution::Denied => format!("denied: {reason}"),
            Resolution::Expired | Resolution::Abandoned | Resolution::Unspecified => reason,
        };
        (held.then)(granted, &reason);
    }

    /// Answers a ticket; whether anything waited under it.
    pub(crate) fn answer_ticket(&self, ticket: Ticket, decision: Decision) -> bool {
        let Some(held) = self.holds.take(ticket) else { return false };
        let gone = held.notification.is_some_and(|id| !seccomp::is_valid(self.listener.as_fd(), id));
        self.end_hold(held, if gone { Ending::Abandoned } else { Ending::Answered(decision) });
        !gone
    }
}
