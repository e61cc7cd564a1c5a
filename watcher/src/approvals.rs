//! A person's decision becomes a command, if the signature is that of a person who may decide.
//!
//! What an answer covers beyond its question is in `grants.rs`. Where two people are needed, the first word is written down
//! and the second, by another key, acts. No answer is a refusal: the shim's deadline sees to that.

use crate::decide::{Decision, Judge, Outgoing};
use crate::grants::{Reach, Standing, Vote, covers, kind, lets_go_on};
use crate::session::Session;
use std::collections::BTreeSet;
use wk_schemas::body::{Approval, ApprovalRequested, Command, Finding, Instruction, Level, Step};
use wk_schemas::command::{Signed, policy_in_reason};
use wk_schemas::{Body, Bytes, Digest, Record, RecordId, Topic};

/// The clock of whoever decides and that of the shim may differ by so much.
const SKEW_US: i64 = 60_000_000;

/// What people's answers mean here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// What only two people together let go on: reach, read, write, execute, call, resume.
    pub two_person: BTreeSet<String>,
    /// An answer stands for the same question so long, in microseconds.
    pub standing_us: i64,
}

impl Default for Rules {
    fn default() -> Self {
        Self { two_person: BTreeSet::new(), standing_us: 3_600_000_000 }
    }
}

/// Verifies an approval and turns it into commands; what is not authentic becomes a finding and nothing else.
pub(crate) fn answer(session: &mut Session, judge: &Judge, record: &Record, approval: &Approval) -> Decision {
    let id = record.header.record_id;
    if let Err(fault) = verify(judge, record, approval) {
        let said = format!("an approval in the name of `{}` was not accepted: {fault}", approval.approver);
        let finding = finding(judge, record, "approval_not_authentic", "ApprovalNotAuthentic", said, Level::High);
        return Decision { findings: vec![finding], ..Decision::default() };
    }
    let ticket = approval.ticket.map(|t| t.to_string());
    let names = ticket.as_deref().and_then(|t| session.tickets.get(t)).map(|t| t.objects.clone()).unwrap_or_default();
    let mut causes = vec![id];
    match second_person(session, judge, record, approval, &names) {
        Ok(Some(first)) => causes.insert(0, first),
        Ok(None) => {}
        Err(finding) => return Decision { findings: vec![*finding], ..Decision::default() },
    }
    session.note_answer(ticket.as_deref(), approval.decision, id.0);
    let mut commands = vec![command(judge, record, approval, approval.ticket, causes.clone())];
    if matches!(approval.decision, Instruction::Grant | Instruction::Deny) && judge.settings.approvals.standing_us > 0 {
        let reach = Reach::of(&approval.reason);
        let lifetime = reach.lifetime_us.unwrap_or(judge.settings.approvals.standing_us);
        let at = record.header.occurred_at.0;
        let standing = Standing {
            is_grant: approval.decision == Instruction::Grant,
            covers: covers(reach.scope, &names),
            until: at.saturating_add(lifetime),
            approver: approval.approver.clone(),
            record: id.0,
        };
        session.grants.stand(standing);
        // The same question may wait more than once: one answer is enough for all of them.
        let alike = session.tickets.iter().filter(|(t, open)| {
            open.is_open
                && Some(*t) != ticket.as_deref()
                && session.grants.find(&open.objects, at).is_some_and(|s| s.record == id.0)
        });
        let alike: Vec<RecordId> = alike.filter_map(|(t, _)| RecordId::parse(t).ok()).collect();
        commands.extend(alike.into_iter().map(|t| command(judge, record, approval, Some(t), causes.clone())));
    }
    Decision { commands, ..Decision::default() }
}

/// The answer to a question that a person has answered before. `is_grave` says that a rule wants a person to look at this one:
/// then nothing is let through unseen.
pub(crate) fn again(
    session: &Session,
    judge: &Judge,
    record: &Record,
    asked: &ApprovalRequested,
    is_grave: bool,
) -> Option<Outgoing> {
    let at = record.header.occurred_at;
    let ticket = session.tickets.get(&asked.ticket.to_string()).filter(|t| t.is_open)?;
    let standing = session.grants.find(&ticket.objects, at.0)?;
    if (standing.is_grant && is_grave) || judge.settings.is_shadow {
        return None;
    }
    let instruction = if standing.is_grant { Instruction::Grant } else { Instruction::Deny };
    let causes = vec![RecordId(standing.record), record.header.record_id];
    let body = Command {
        instruction,
        ticket: Some(asked.ticket),
        policy: None,
        reason: format!("{} has answered this question before", standing.approver),
        by: standing.approver.clone(),
        issued_at: at.plus_micros(-SKEW_US),
        expires_at: at.plus_micros(judge.settings.command_ttl_us.saturating_add(SKEW_US)),
        key_id: String::new(),
        signature: Bytes::default(),
    };
    Some(Outgoing {
        topic: Topic::Commands,
        id: RecordId::derived(&causes, instruction.as_str()),
        caused_by: causes,
        occurred_at: at,
        body: body.into(),
    })
}

/// The first person's record, where two are needed and this is the second; the finding that says so where this is the first.
fn second_person(
    session: &mut Session,
    judge: &Judge,
    record: &Record,
    approval: &Approval,
    names: &[String],
) -> Result<Option<RecordId>, Box<Outgoing>> {
    let what = if approval.decision == Instruction::Resume { "resume" } else { kind(names) };
    if !lets_go_on(approval.decision) || !judge.settings.approvals.two_person.contains(what) {
        return Ok(None);
    }
    let vote = Vote {
        subject: approval.ticket.map_or_else(|| "resume".to_owned(), |t| t.to_string()),
        key_id: approval.key_id.clone(),
        record: record.header.record_id.0,
        at: record.header.occurred_at.0,
    };
    match session.grants.vote(vote, judge.settings.command_ttl_us) {
        Some(first) => Ok(Some(RecordId(first.record))),
        None => {
            let said = format!(
                "`{}` says {}; a second person, with another key, has to say so too",
                approval.approver,
                approval.decision.as_str().to_lowercase()
            );
            let title = "SecondPersonNeeded";
            Err(Box::new(finding(judge, record, "second_person_needed", title, said, Level::Informational)))
        }
    }
}

fn command(
    judge: &Judge,
    record: &Record,
    approval: &Approval,
    ticket: Option<RecordId>,
    causes: Vec<RecordId>,
) -> Outgoing {
    let at = record.header.occurred_at;
    let id = record.header.record_id;
    let (reason, policy) = match policy_in_reason(&approval.reason) {
        Some((reason, policy)) if approval.decision == Instruction::ApplyPolicy => (reason, Some(policy.to_owned())),
        Some(_) | None => (approval.reason.as_str(), None),
    };
    let command = Command {
        instruction: approval.decision,
        ticket,
        policy,
        reason: reason.to_owned(),
        by: approval.approver.clone(),
        issued_at: at.plus_micros(-SKEW_US),
        expires_at: at.plus_micros(judge.settings.command_ttl_us.saturating_add(SKEW_US)),
        key_id: String::new(),
        signature: Bytes::default(),
    };
    // The answer's own question; or one that it reaches beside it.
    let name = approval.decision.as_str();
    let id = if ticket == approval.ticket {
        RecordId::derived(&[id], name)
    } else {
        RecordId::derived(&[Some(id), ticket].into_iter().flatten().collect::<Vec<_>>(), name)
    };
    Outgoing { topic: Topic::Commands, id, caused_by: causes, occurred_at: at, body: command.into() }
}

fn verify(judge: &Judge, record: &Record, approval: &Approval) -> Result<(), String> {
    let header = &record.header;
    let mut fault = "nobody is trusted to decide: no approver's key is configured".to_owned();
    let mut is_authentic = false;
    for key in &judge.approvers {
        match approval.check(&header.session_id, header.record_id, key) {
            Ok(()) => is_authentic = true,
            Err(error) => fault = error.to_string(),
        }
    }
    if !is_authentic {
        return Err(fault);
    }
    match (approval.decision, approval.ticket) {
        (Instruction::Grant | Instruction::Deny, None) => Err("it names no ticket".to_owned()),
        (Instruction::Grant | Instruction::Deny, Some(_))
        | (Instruction::Freeze | Instruction::Resume | Instruction::Kill, _) => Ok(()),
        // The shim narrows at once and asks again before it widens.
        (Instruction::ApplyPolicy, _) => match policy_in_reason(&approval.reason) {
            Some(_) => Ok(()),
            None => Err("it asks for another policy and brings none".to_owned()),
        },
        (Instruction::Unspecified, _) => Err("it does not say what it asks for".to_owned()),
    }
}

fn finding(judge: &Judge, record: &Record, rule: &str, title: &str, description: String, level: Level) -> Outgoing {
    let id = record.header.record_id;
    let is_bad = level == Level::High;
    let finding = Finding {
        source: "integrity".to_owned(),
        rule_id: format!("integrity.{rule}"),
        title: title.to_owned(),
        rule_version: env!("CARGO_PKG_VERSION").to_owned(),
        rule_digest: Digest::ZERO,
        pack_digest: judge.rules.pack_digest,
        level,
        tags: if is_bad { vec!["attack.defense-evasion".to_owned()] } else { Vec::new() },
        description,
        evidence: vec![id],
        matches: Vec::new(),
        task_plan_score: None,
        plan_action_score: None,
        action_effect_score: None,
        step: if is_bad { Step::Warn } else { Step::Note },
    };
    Outgoing {
        topic: Topic::Findings,
        id: RecordId::derived(&[id], &format!("integrity.{rule}")),
        caused_by: vec![id],
        occurred_at: record.header.occurred_at,
        body: Body::from(finding),
    }
}
