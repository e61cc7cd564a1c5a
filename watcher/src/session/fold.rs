//! Folding one record into the session. What a record means for rules is in `context.rs`; here it only becomes memory.

use super::{
    Allowed, CALL_BYTES_MAX, Call, Cause, NAME_BYTES_MAX, PATH_BYTES_MAX, PROMPT_BYTES_MAX, PROMPTS_MAX, Plan, Process,
    REVISIONS_MAX, Revision, SECRETS_MAX, STEP_BYTES_MAX, STEPS_MAX, Said, SecretRead, Seen, Session, Ticket, host_key,
};
use crate::context::{Meaning, Object};
use crate::places;
use crate::text::{self, bounded, cut};
use uuid::Uuid;
use wk_schemas::body::{
    ApprovalRequested, ApprovalResolved, ConnectionAttempted, FileAccessed, Instruction, Mediation, NetworkOperation,
    Outcome, PlanDeclared, ProcessStarted, Resolution, ToolCalled, ToolReturned,
};
use wk_schemas::{Body, Record};

/// Values are followed out of this much of a tool's answer.
const RESULT_BYTES_MAX: usize = 64 * 1024;
/// So many values are taken from one answer.
const RESULT_VALUES_MAX: usize = 200;

impl Session {
    /// Moves the logical clock to the record, and tells when the session began.
    pub(crate) fn tick(&mut self, record: &Record) {
        let at = record.header.occurred_at.0;
        self.clock = at.max(self.clock.saturating_add(1));
        self.started_at.get_or_insert(at);
    }

    /// Folds a record in, with what it means against the state before.
    pub(crate) fn fold(&mut self, record: &Record, meaning: &Meaning) {
        let id = record.header.record_id.0;
        let at = record.header.occurred_at.0;
        match &record.body {
            Body::SessionStarted(b) => {
                self.started_at = Some(at);
                self.workspace = (!b.workspace.is_empty()).then(|| b.workspace.clone());
                self.adapter.clone_from(&b.adapter);
            }
            Body::SessionEnded(_) | Body::SessionKilled(_) => self.end(),
            Body::PromptSubmitted(b) => {
                if self.prompts.len() >= PROMPTS_MAX {
                    // The first prompt is the task; later ones amend it, and the newest amends most.
                    self.prompts.remove(1);
                }
                self.prompts.push(Said { text: cut(&b.text, PROMPT_BYTES_MAX).into(), record: id });
                self.caused("prompt", id);
            }
            Body::PlanDeclared(b) => self.declare(b, id),
            Body::ToolCalled(b) => self.call(b, id, meaning),
            Body::ToolReturned(b) => self.answer(b, id),
            Body::ProcessStarted(b) => self.process(b, id),
            Body::ProcessExited(b) => {
                // Where neither could be had, nothing is known of how it ended.
                if let Some(has_failed) = b.exit_code.map(|c| c != 0).or(b.signal.map(|_| true)) {
                    self.runs.ended(&b.actor.process_uid, has_failed);
                }
                self.processes.remove(&b.actor.process_uid);
            }
            Body::FileAccessed(b) => self.file(b, id, at, meaning),
            Body::ConnectionAttempted(b) => self.connection(b, id, meaning),
            Body::NameResolved(b) => {
                let name = bounded(b.name.trim_end_matches('.'), NAME_BYTES_MAX).to_lowercase();
                for address in &b.addresses {
                    self.names.insert(address, name.clone());
                }
            }
            Body::RecordsLost(b) => self.lost = self.lost.saturating_add(b.count.max(1)),
            Body::PolicyApplied(b) => {
                if self.policy.is_some() {
                    // Another policy may allow what the last one refused.
                    self.denied.clear();
                }
                self.allowed = Allowed::read(&b.text);
                self.allowed.truncate(512);
                self.policy = Some(format!("{} {}", b.name, b.digest));
            }
            Body::ApprovalRequested(b) => self.ask(b, id, meaning),
            Body::ApprovalResolved(b) => self.resolve(b, id),
            Body::SessionFrozen(b) => self.frozen_by = Some(b.command_id.map_or(Uuid::nil(), |c| c.0)),
            Body::SessionResumed(_) => self.resume(),
            Body::Thought(_)
            | Body::CallAttempted(_)
            | Body::Finding(_)
            | Body::Command(_)
            | Body::Approval(_)
            | Body::QueryRun(_)
            | Body::EvidenceExported(_)
            | Body::DeadLetter(_) => {}
        }
    }

    /// The session goes on after a freeze: what froze it may do so again.
    pub(crate) fn resume(&mut self) {
        self.frozen_by = None;
        self.asked = self.asked.filter(|a| a.is_kill);
        let freezing: Vec<String> =
            self.raised.iter().filter(|(k, _)| k.starts_with("freeze ")).map(|(k, _)| k.to_owned()).collect();
        for key in freezing {
            self.raised.remove(&key);
        }
    }

    /// What is needed only while the session runs is dropped; the chains stay, so that a late record finds its place.
    fn end(&mut self) {
        self.has_ended = true;
        self.calls.clear();
        self.open_calls.clear();
        self.processes.clear();
        self.names.clear();
        self.values.clear();
        self.secret_pieces.clear();
        self.windows = crate::rules::Windows::default();
        self.deviation = crate::deviation::Memory::default();
        self.judge.end();
    }

    fn declare(&mut self, b: &PlanDeclared, id: Uuid) {
        self.plans = self.plans.saturating_add(1);
        let (added, dropped) = self.plan_difference(b);
        if self.revisions.len() >= REVISIONS_MAX {
            self.revisions.remove(1);
        }
        self.revisions.push(Revision {
            record: id,
            revision: b.revision,
            by: cut(&b.source, 64).to_owned(),
            after: self.cause.clone(),
            added,
            dropped,
        });
        let steps = b.steps.iter().take(STEPS_MAX).map(|s| cut(&s.text, STEP_BYTES_MAX).into()).collect();
        self.plan = Some(Plan { record: id, revision: b.revision, steps, confidence: b.confidence });
    }

    /// How many steps a declaration adds to the plan in force, and how many it drops.
    pub(crate) fn plan_difference(&self, b: &PlanDeclared) -> (u32, u32) {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let new = || b.steps.iter().take(STEPS_MAX).map(|s| cut(&s.text, STEP_BYTES_MAX));
        let Some(plan) = &self.plan else { return (count(new().count()), 0) };
        let added = new().filter(|n| plan.steps.iter().all(|o| o.text() != *n)).count();
        let dropped = plan.steps.iter().filter(|o| new().all(|n| n != o.text())).count();
        (count(added), count(dropped))
    }

    fn caused(&mut self, kind: &str, record: Uuid) {
        self.cause = Some(Cause { kind: kind.to_owned(), record });
    }

    fn call(&mut self, b: &ToolCalled, id: Uuid, meaning: &Meaning) {
        self.calls_total = self.calls_total.saturating_add(1);
        let words = b.command_text.as_deref().unwrap_or(&b.arguments);
        if b.decision != "denied" {
            self.open_calls.insert(&b.tool_call_id, id);
            if b.tool_class == "shell" {
                self.runs.started(words, &b.tool_call_id, id);
            }
        }
        let call = Call {
            record: id,
            tool: cut(&b.tool, NAME_BYTES_MAX).to_owned(),
            class: cut(&b.tool_class, NAME_BYTES_MAX).to_owned(),
            text: cut(words, CALL_BYTES_MAX).to_owned(),
            is_open: b.decision != "denied",
        };
        self.calls.insert(&b.tool_call_id, call);
        if b.decision == "denied" {
            self.deny(&meaning.object, id);
            for value in text::values(words, 32).iter().filter(|v| v.form == text::Form::Path) {
                // Only credentials: other paths of a refused command are touched by honest work all the time. `~/x` is known
                // by its ending, because the home folder is not in the record.
                if places::secret(&value.text.replacen('~', "/home/user", 1)).is_some() {
                    self.denied.insert_first(&format!("read {}", value.text), id);
                }
            }
        }
    }

    fn answer(&mut self, b: &ToolReturned, id: Uuid) {
        if let Some(call) = self.calls.get_mut(&b.tool_call_id) {
            call.is_open = false;
        }
        self.open_calls.remove(&b.tool_call_id);
        if let Some(success) = b.success {
            self.runs.ended(&b.tool_call_id, !success);
        }
        self.caused("tool_result", id);
        let output = cut(&b.output, RESULT_BYTES_MAX);
        if self.shows_secret(&b.tool_call_id) {
            // Neither followed nor kept as text: a session's state on disk is no place for credentials.
            for piece in crate::taint::pieces(output) {
                self.secret_pieces.insert_first(&piece, id);
            }
            return;
        }
        for value in text::values(output, RESULT_VALUES_MAX) {
            let key = format!("{:?} {}", value.form, value.text);
            let is_prose = crate::deviation::is_prose(output, value.at);
            match self.values.get_mut(&key) {
                // Once a value has stood in a field of its own, it is data.
                Some(seen) => seen.is_prose &= is_prose,
                None => self.values.insert(&key, Seen { record: id, is_prose }),
            }
        }
    }

    /// Whether a tool call's answer shows a credential: the kernel saw it read on the call's behalf, or the call names its file.
    fn shows_secret(&self, call: &str) -> bool {
        if self.secrets.iter().any(|s| s.call.as_deref() == Some(&*bounded(call, NAME_BYTES_MAX))) {
            return true;
        }
        let Some(called) = self.calls.get(call) else { return false };
        let paths = || text::values(&called.text, 32).into_iter().filter(|v| v.form == text::Form::Path);
        matches!(called.class.as_str(), "shell" | "read")
            && paths().any(|v| places::secret(&v.text.replacen('~', "/home/user", 1)).is_some())
    }

    fn process(&mut self, b: &ProcessStarted, id: Uuid) {
        if matches!(b.outcome, Outcome::Allowed | Outcome::Succeeded) {
            self.runs.started(&b.command_line, &b.actor.process_uid, id);
            let process = Process {
                image: bounded(&b.actor.image, PATH_BYTES_MAX).into_owned(),
                parent: bounded(&b.parent_process_uid, NAME_BYTES_MAX).into_owned(),
                call: b.actor.tool_call_id.as_deref().map(|c| bounded(c, NAME_BYTES_MAX).into_owned()),
            };
            self.processes.insert(&b.actor.process_uid, process);
        }
    }

    fn file(&mut self, b: &FileAccessed, id: Uuid, at: i64, meaning: &Meaning) {
        let was_had = matches!(b.outcome, Outcome::Allowed | Outcome::Succeeded);
        if let Some(secret) = meaning.secret.filter(|_| was_had) {
            if self.secrets.len() >= SECRETS_MAX {
                self.secrets.remove(0);
            }
            self.secrets.push(SecretRead {
                path: bounded(&b.path, PATH_BYTES_MAX).into_owned(),
                kind: secret.kind.to_owned(),
                at,
                record: id,
                call: b.actor.tool_call_id.as_deref().map(|c| bounded(c, NAME_BYTES_MAX).into_owned()),
            });
        }
        if was_had && meaning.writes && !meaning.is_inside && !meaning.is_ordinary {
            self.outside.insert_first(meaning.object.label().as_deref().unwrap_or(&b.path), id);
        }
    }

    fn connection(&mut self, b: &ConnectionAttempted, id: Uuid, meaning: &Meaning) {
        if matches!(b.outcome, Outcome::Denied) {
            self.deny(&meaning.object, id);
        }
        let is_out = matches!(b.operation, NetworkOperation::Connect | NetworkOperation::Send);
        if let Object::Host { name, address, port } = &meaning.object
            && is_out
        {
            let had_nothing = self.calls_total == 0 && self.secrets.is_empty();
            if had_nothing && b.actor.mediation == Mediation::Agent && !matches!(b.outcome, Outcome::Denied) {
                self.endpoints.insert_first(&host_key(address, *port), id);
            }
            self.hosts.insert_first(address, id);
            if let Some(name) = name {
                self.hosts.insert_first(name, id);
            }
        }
    }

    fn ask(&mut self, b: &ApprovalRequested, id: Uuid, meaning: &Meaning) {
        self.asking.asked = self.asking.asked.saturating_add(1);
        let ticket = Ticket { record: id, objects: meaning.object.keys(), is_open: true };
        self.tickets.insert(&b.ticket.to_string(), ticket);
    }

    fn resolve(&mut self, b: &ApprovalResolved, id: Uuid) {
        let Some(ticket) = self.tickets.get_mut(&b.ticket.to_string()) else { return };
        ticket.is_open = false;
        let objects = ticket.objects.clone();
        let (count, cause) = match b.resolution {
            Resolution::Granted => (Some(&mut self.asking.granted), Some("approval")),
            Resolution::Denied | Resolution::Expired => (Some(&mut self.asking.denied), Some("refusal")),
            Resolution::Abandoned | Resolution::Unspecified => (None, None),
        };
        if let Some(count) = count {
            *count = count.saturating_add(1);
        }
        if let Some(cause) = cause {
            self.caused(cause, id);
        }
        for object in &objects {
            match b.resolution {
                Resolution::Granted => {
                    self.denied.remove(object);
                    self.granted.insert_first(object, id);
                }
                Resolution::Denied | Resolution::Expired => {
                    self.granted.remove(object);
                    self.denied.insert_first(object, id);
                }
                Resolution::Abandoned | Resolution::Unspecified => {}
            }
        }
    }

    fn deny(&mut self, object: &Object, id: Uuid) {
        for key in object.keys() {
            self.denied.insert_first(&key, id);
        }
    }

    /// Takes note of a person's answer before the shim has carried it out, so that the grant is known when its effect comes.
    pub(crate) fn note_answer(&mut self, ticket: Option<&str>, decision: Instruction, id: Uuid) {
        if decision == Instruction::Grant
            && let Some(ticket) = ticket.and_then(|t| self.tickets.get(t))
        {
            for object in ticket.objects.clone() {
                self.denied.remove(&object);
                self.granted.insert_first(&object, id);
            }
        }
    }
}
