//! A verdict as an input of the core.

use crate::common::{AGENT, Script, approver_key, command_key};
use crate::{judge, questions, talked_into};
use ed25519_dalek::SigningKey;
use wk_schemas::body::{Finding, Instruction, Resolution, Step};
use wk_schemas::{Body, Digest, Header, Record, RecordId, Timestamp, Topic};
use wk_watcher::decide::{Decision, Judge};
use wk_watcher::judge::{Answer, Authorization, Cost, Departure, HoldPower, Job, Outcome, Risk, Verdict};
use wk_watcher::replay::Replay;

fn verdict(job: &Job, risk: Risk, deviation: Departure, score: u8) -> Verdict {
    let question = &job.question;
    let answer = Answer {
        risk,
        authorization: Authorization::Unknown,
        deviation,
        score,
        evidence: vec![question.task.first().map_or(question.about, |t| RecordId(t.record))],
        rationale: "because".to_owned(),
    };
    Verdict {
        question: question.id,
        about: question.about,
        ticket: question.ticket,
        outcome: Outcome::Answered(answer),
        digit: None,
        model: "m".to_owned(),
        policy: Digest::of(b"policy"),
        prompt: Digest::of(b"prompt"),
        pack: question.pack_digest,
        window: (3, question.about),
        gate: question.gate.to_owned(),
        probability_ppm: 1_000_000,
        secrets: 0,
        cost: Cost { latency_us: 500_000, tokens: (10, 2), looks: 2 },
    }
}

/// The record that the verdict stands in on the log.
fn record(job: &Job, finding: Finding) -> Record {
    let header = Header {
        record_id: RecordId::derived(&[job.question.about], "judge verdict"),
        writer: "watcher".to_owned(),
        occurred_at: Timestamp(job.question.asked_at.0 + 500_000),
        ..job.header.clone()
    };
    Record { header, body: Body::from(finding) }
}

/// What follows when the verdict is read, once the session's events are folded.
fn decided(judge: &Judge, script: &Script, findings: Vec<Record>) -> Vec<Decision> {
    let mut replay = Replay::default();
    for record in &script.records {
        replay.step(judge, Topic::Events, record.clone());
    }
    findings.into_iter().map(|f| replay.step(judge, Topic::Findings, f)).collect()
}

fn instructions(decision: &Decision) -> Vec<Instruction> {
    let of = |o: &wk_watcher::decide::Outgoing| match &o.body {
        Body::Command(c) => c.instruction,
        other => panic!("{other:?}"),
    };
    decision.commands.iter().map(of).collect()
}

#[test]
fn a_verdict_reads_back_as_it_was_written() {
    let script = talked_into("s", "");
    let job = questions(&script).remove(0);
    let verdict = verdict(&job, Risk::High, Departure::Goal, 91);
    let finding = verdict.finding(Step::Ask, &script.session, &command_key());
    assert_eq!(finding.plan_action_score, Some(91));
    assert_eq!(finding.evidence.last(), Some(&job.question.about));
    assert_eq!(Verdict::of(&finding), Some(verdict.clone()));
    let none =
        Verdict { outcome: Outcome::Unavailable { failure: "cut".into(), reason: "it broke off".into() }, ..verdict };
    let finding = none.finding(Step::Note, &script.session, &command_key());
    assert_eq!((finding.plan_action_score, finding.title.as_str()), (None, "JudgeUnavailable"));
    assert_eq!(Verdict::of(&finding), Some(none));
}

#[test]
fn a_verdict_freezes_once_and_only_when_the_watcher_signed_it_for_this_session() {
    let script = talked_into("s", "");
    let job = questions(&script).remove(0);
    let verdict = verdict(&job, Risk::Critical, Departure::Goal, 97);
    let judge = judge(HoldPower::None);
    let signed = |key: &SigningKey, session: &str| {
        let session = wk_schemas::SessionId::parse(session).unwrap();
        record(&job, verdict.finding(Step::Freeze, &session, key))
    };
    let good = signed(&command_key(), "s");
    let decisions = decided(&judge, &script, vec![good.clone(), good.clone()]);
    assert_eq!(instructions(&decisions[0]), [Instruction::Freeze]);
    assert_eq!(decisions[0].commands[0].caused_by, [good.header.record_id]);
    assert_eq!(decisions[1], Decision::default(), "delivered twice, it acts once");
    let mut softened = good.clone();
    let Body::Finding(finding) = &mut softened.body else { panic!() };
    finding.step = Step::Kill;
    for forged in [signed(&approver_key(), "s"), signed(&command_key(), "other"), softened] {
        assert_eq!(decided(&judge, &script, vec![forged]), [Decision::default()]);
    }
    let mut shadow = judge;
    shadow.settings.is_shadow = true;
    assert!(decided(&shadow, &script, vec![good])[0].commands.is_empty());
}

#[test]
fn no_answer_changes_nothing() {
    let script = talked_into("s", "");
    let job = questions(&script).remove(0);
    let none = Outcome::Unavailable { failure: "timed_out".into(), reason: "no answer came".into() };
    let verdict = Verdict { outcome: none, ..verdict(&job, Risk::Low, Departure::None, 0) };
    let finding = verdict.finding(Step::Note, &script.session, &command_key());
    assert_eq!(decided(&judge(HoldPower::Decide), &script, vec![record(&job, finding)]), [Decision::default()]);
}

#[test]
fn a_hold_is_answered_only_as_far_as_the_operator_lets_the_judge() {
    let mut script = Script::new("s");
    script.start();
    script.prompt("Fix the typo in README.md");
    script.held(AGENT, ("203.0.113.7", 443));
    let Body::ApprovalRequested(asked) = &script.records.last().unwrap().body else { panic!() };
    let ticket = asked.ticket;
    let job = questions(&script).pop().unwrap();
    assert_eq!((job.question.gate, job.question.ticket), ("held", Some(ticket)));
    let bad = record(
        &job,
        verdict(&job, Risk::Critical, Departure::Goal, 75).finding(Step::Ask, &script.session, &command_key()),
    );
    let good =
        record(&job, verdict(&job, Risk::Low, Departure::None, 3).finding(Step::Note, &script.session, &command_key()));
    let of = |holds, finding: &Record| instructions(&decided(&judge(holds), &script, vec![finding.clone()])[0]);
    assert_eq!((of(HoldPower::None, &bad), of(HoldPower::None, &good)), (vec![], vec![]));
    assert_eq!((of(HoldPower::Deny, &bad), of(HoldPower::Deny, &good)), (vec![Instruction::Deny], vec![]));
    assert_eq!(of(HoldPower::Decide, &bad), [Instruction::Deny]);
    assert_eq!(of(HoldPower::Decide, &good), [Instruction::Grant]);
    // Once somebody has answered, or the deadline has, there is nothing left to decide.
    script.resolved(ticket, Resolution::Expired);
    let late = decided(&judge(HoldPower::Decide), &script, vec![good]);
    assert!(late[0].commands.is_empty());
}
