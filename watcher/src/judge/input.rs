//! A verdict as an input of the pure core: what follows from it.

use super::config::HoldPower;
use super::verdict::{Outcome, SOURCE, Verdict, is_signed};
use crate::decide::{self, Decision, Judge, Outgoing};
use crate::session::Session;
use ed25519_dalek::{SigningKey, VerifyingKey};
use wk_schemas::body::{Command, Finding, Instruction, Step};
use wk_schemas::{Body, Bytes, Record, RecordId, SessionId, Timestamp, Topic};

/// What the core needs of the judge's configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified {
    /// Which records are asked about.
    pub gate: super::Gate,
    /// Whose verdicts count: the watcher's own key.
    pub key: VerifyingKey,
    /// What an answer may do to a held action.
    pub holds: HoldPower,
}

/// Takes in a finding of the judge. One that the watcher did not sign changes nothing.
pub(crate) fn answered(session: &mut Session, judge: &Judge, record: &Record, finding: &Finding) -> Decision {
    let mut decision = Decision::default();
    let Some(settings) = &judge.settings.judge else { return decision };
    if finding.source != SOURCE || !is_signed(finding, &record.header.session_id, &settings.key) {
        return decision;
    }
    let Some(verdict) = Verdict::of(finding) else { return decision };
    // A verdict that was delivered twice finds its question closed.
    if !session.judge.close(verdict.about.0) {
        return decision;
    }
    let Outcome::Answered(answer) = &verdict.outcome else { return decision };
    let reason = format!("the judge ({}): {}", verdict.model, finding.description);
    decision.commands.extend(decide::command(
        session,
        judge,
        &record.header,
        record.header.record_id,
        finding.step,
        &reason,
    ));
    let instruction = match (settings.holds, answer.permits()) {
        (HoldPower::None, _) | (HoldPower::Deny, true) => return decision,
        (HoldPower::Decide, true) => Instruction::Grant,
        (HoldPower::Deny | HoldPower::Decide, false) => Instruction::Deny,
    };
    decision.commands.extend(hold(session, judge, record, &verdict, instruction, &reason));
    decision
}

/// The answer to a hold that still waits. Its deadline is the shim's to keep; the command expires with it all the same.
fn hold(
    session: &Session,
    judge: &Judge,
    record: &Record,
    verdict: &Verdict,
    instruction: Instruction,
    reason: &str,
) -> Option<Outgoing> {
    let ticket = verdict.ticket?;
    let waits = session.tickets.get(&ticket.to_string()).is_some_and(|t| t.is_open);
    let at = record.header.occurred_at;
    if !waits || judge.settings.is_shadow || session.has_ended {
        return None;
    }
    let command = Command {
        instruction,
        ticket: Some(ticket),
        policy: None,
        reason: crate::text::cut(reason, 1024).to_owned(),
        by: format!("judge {}", verdict.model),
        issued_at: at.plus_micros(-verdict.cost.latency_us.max(0)),
        expires_at: at.plus_micros(judge.settings.command_ttl_us),
        key_id: String::new(),
        signature: Bytes::default(),
    };
    let id = record.header.record_id;
    Some(Outgoing {
        topic: Topic::Commands,
        id: RecordId::derived(&[id], instruction.as_str()),
        caused_by: vec![id],
        occurred_at: at,
        body: command.into(),
    })
}

/// Whether a record of the findings topic is a verdict of ours, by its form; whether it is signed is another question.
pub(crate) fn is_verdict(record: &Record) -> bool {
    matches!(&record.body, Body::Finding(finding) if finding.source == SOURCE)
}

/// The id of the verdict on the question about a record.
pub(crate) fn verdict_id(about: RecordId) -> RecordId {
    RecordId::derived(&[about], "judge verdict")
}

/// A verdict as it goes to the log; a score that the ladder says nothing about is only noted.
pub(crate) fn outgoing(
    verdict: &Verdict,
    step: Option<Step>,
    at: Timestamp,
    session: &SessionId,
    key: &SigningKey,
) -> Outgoing {
    let finding = verdict.finding(step.unwrap_or(Step::Note), session, key);
    Outgoing {
        topic: Topic::Findings,
        id: verdict_id(verdict.about),
        caused_by: finding.evidence.clone(),
        occurred_at: at,
        body: finding.into(),
    }
}

/// The verdict on a question that was open when the watcher was stopped.
pub(crate) fn lost(about: RecordId) -> Verdict {
    let failure = super::Failure::Restarted;
    Verdict {
        question: RecordId::derived(&[about], "judge"),
        about,
        ticket: None,
        outcome: Outcome::Unavailable { failure: failure.name().to_owned(), reason: failure.to_string() },
        digit: None,
        model: String::new(),
        policy: wk_schemas::Digest::ZERO,
        prompt: wk_schemas::Digest::ZERO,
        pack: wk_schemas::Digest::ZERO,
        window: (1, about),
        gate: "unknown".to_owned(),
        probability_ppm: 0,
        secrets: 0,
        cost: super::Cost::default(),
    }
}
