//! A person's decision becomes a command, if the signature is that of a person who may decide.

use crate::decide::{Decision, Judge, Outgoing};
use crate::session::Session;
use wk_schemas::body::{Approval, Command, Finding, Instruction, Level, Step};
use wk_schemas::command::Signed;
use wk_schemas::{Body, Bytes, Digest, Record, RecordId, Topic};

/// The clock of whoever decides and that of the shim may differ by so much.
const SKEW_US: i64 = 60_000_000;

/// Verifies an approval and turns it into a command; what is not authentic becomes a finding and nothing else.
pub(crate) fn answer(session: &mut Session, judge: &Judge, record: &Record, approval: &Approval) -> Decision {
    let id = record.header.record_id;
    if let Err(fault) = verify(judge, record, approval) {
        let description = format!("an approval in the name of `{}` was not accepted: {fault}", approval.approver);
        return Decision { findings: vec![refused(judge, record, description)], commands: Vec::new() };
    }
    let at = record.header.occurred_at;
    let command = Command {
        instruction: approval.decision,
        ticket: approval.ticket,
        policy: None,
        reason: approval.reason.clone(),
        by: approval.approver.clone(),
        issued_at: at.plus_micros(-SKEW_US),
        expires_at: at.plus_micros(judge.settings.command_ttl_us.saturating_add(SKEW_US)),
        key_id: String::new(),
        signature: Bytes::default(),
    };
    let ticket = approval.ticket.map(|t| t.to_string());
    session.note_answer(ticket.as_deref(), approval.decision, id.0);
    let outgoing = Outgoing {
        topic: Topic::Commands,
        id: RecordId::derived(&[id], approval.decision.as_str()),
        caused_by: vec![id],
        occurred_at: at,
        body: command.into(),
    };
    Decision { findings: Vec::new(), commands: vec![outgoing] }
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
        (Instruction::ApplyPolicy | Instruction::Unspecified, _) => {
            Err(format!("it asks for {}, which is not for an approval to decide", approval.decision.as_str()))
        }
    }
}

fn refused(judge: &Judge, record: &Record, description: String) -> Outgoing {
    let id = record.header.record_id;
    let finding = Finding {
        source: "integrity".to_owned(),
        rule_id: "integrity.approval_not_authentic".to_owned(),
        title: "ApprovalNotAuthentic".to_owned(),
        rule_version: env!("CARGO_PKG_VERSION").to_owned(),
        rule_digest: Digest::ZERO,
        pack_digest: judge.rules.pack_digest,
        level: Level::High,
        tags: vec!["attack.defense-evasion".to_owned()],
        description,
        evidence: vec![id],
        matches: Vec::new(),
        task_plan_score: None,
        plan_action_score: None,
        action_effect_score: None,
        step: Step::Warn,
    };
    Outgoing {
        topic: Topic::Findings,
        id: RecordId::derived(&[id], "integrity.approval_not_authentic"),
        caused_by: vec![id],
        occurred_at: record.header.occurred_at,
        body: Body::from(finding),
    }
}
