//! People's answers: once for the same question, as far as they say, by two where two are needed, and by nobody else.

#![cfg(test)]

mod common;

use common::{AGENT, Script, approver_key, by, command_key, judge, secret_then_egress};
use ed25519_dalek::SigningKey;
use wk_schemas::body::{Approval, Instruction, Mediation};
use wk_schemas::command::Signed as _;
use wk_schemas::{Body, Record, RecordId, Topic};
use wk_watcher::decide::{Decision, Judge};
use wk_watcher::replay::Replay;

const CURL: common::Who = by(9, "/usr/bin/curl", "c9", Mediation::Declared);

/// A session that is asked about, step by step.
struct Play {
    judge: Judge,
    script: Script,
    replay: Replay,
    folded: usize,
}

impl Play {
    fn new(judge: Judge) -> Self {
        let mut script = Script::new("s");
        script.start();
        script.prompt("Fetch the reports from the two mirrors");
        Self { judge, script, replay: Replay::default(), folded: 0 }
    }

    /// What follows from the records that are not folded yet.
    fn fold(&mut self) -> Vec<Decision> {
        let new = self.script.records[self.folded..].to_vec();
        self.folded = self.script.records.len();
        new.into_iter().map(|r| self.replay.step(&self.judge, Topic::Events, r)).collect()
    }

    /// Asks for a host; the ticket, and what the watcher answers by itself.
    fn ask(&mut self, host: (&str, i32)) -> (RecordId, Vec<Instruction>) {
        let ticket = self.script.held(CURL, host);
        let decisions = self.fold();
        (ticket, decisions.iter().flat_map(instructions).collect())
    }

    /// A person's answer with this reason, by this key.
    fn answer(&mut self, decision: Instruction, ticket: Option<RecordId>, reason: &str, key: &SigningKey) -> Decision {
        let record = signed(self.script.approval(decision, ticket, key), reason, key);
        self.replay.step(&self.judge, Topic::Approvals, record)
    }
}

fn signed(mut record: Record, reason: &str, key: &SigningKey) -> Record {
    let Body::Approval(approval) = &mut record.body else { panic!() };
    let mut again = Approval { reason: reason.to_owned(), ..approval.clone() };
    again.sign(&record.header.session_id, record.header.record_id, key);
    *approval = again;
    record
}

fn instructions(decision: &Decision) -> Vec<Instruction> {
    let of = |o: &wk_watcher::decide::Outgoing| match &o.body {
        Body::Command(c) => c.instruction,
        other => panic!("{other:?}"),
    };
    decision.commands.iter().map(of).collect()
}

fn titles(decision: &Decision) -> Vec<String> {
    let of = |o: &wk_watcher::decide::Outgoing| match &o.body {
        Body::Finding(f) => f.title.clone(),
        other => panic!("{other:?}"),
    };
    decision.findings.iter().map(of).collect()
}

#[test]
fn the_same_question_is_asked_once() {
    let mut play = Play::new(judge());
    let (ticket, answers) = play.ask(("203.0.113.7", 443));
    assert_eq!(answers, []);
    let granted = play.answer(Instruction::Grant, Some(ticket), "a mirror of ours", &approver_key());
    assert_eq!(instructions(&granted), [Instruction::Grant]);
    let (again, answers) = play.ask(("203.0.113.7", 443));
    assert_ne!(again, ticket);
    assert_eq!(answers, [Instruction::Grant]);
    assert_eq!(play.ask(("203.0.113.7", 80)).1, [], "another port is another question");
    assert_eq!(play.ask(("203.0.113.8", 443)).1, []);
    play.script.wait(3_700_000_000);
    assert_eq!(play.ask(("203.0.113.7", 443)).1, [], "an answer stands for an hour");
}

#[test]
fn a_refusal_stands_too_and_may_be_taken_back() {
    let mut play = Play::new(judge());
    let (ticket, _) = play.ask(("203.0.113.7", 443));
    play.answer(Instruction::Deny, Some(ticket), "no", &approver_key());
    let (second, answers) = play.ask(("203.0.113.7", 443));
    assert_eq!(answers, [Instruction::Deny]);
    play.answer(Instruction::Grant, Some(second), "it is all right after all", &approver_key());
    assert_eq!(play.ask(("203.0.113.7", 443)).1, [Instruction::Grant]);
}

#[test]
fn an_answer_reaches_as_far_as_its_reason_says_and_answers_what_waits() {
    let mut play = Play::new(judge());
    let (one, _) = play.ask(("203.0.113.7", 443));
    let (_two, _) = play.ask(("203.0.113.7", 80));
    let (_three, _) = play.ask(("203.0.113.8", 80));
    let granted = play.answer(Instruction::Grant, Some(one), "that mirror [pattern, 30m]", &approver_key());
    assert_eq!(instructions(&granted), [Instruction::Grant, Instruction::Grant], "the other port waited as well");
    assert_eq!(play.ask(("203.0.113.7", 8080)).1, [Instruction::Grant]);
    assert_eq!(play.ask(("203.0.113.8", 443)).1, []);
    play.script.wait(1_900_000_000);
    assert_eq!(play.ask(("203.0.113.7", 8080)).1, []);
    let mut play = Play::new(judge());
    let (one, _) = play.ask(("203.0.113.7", 443));
    play.answer(Instruction::Grant, Some(one), "go on [session]", &approver_key());
    assert_eq!(play.ask(("198.51.100.1", 22)).1, [Instruction::Grant]);
}

#[test]
fn what_a_rule_wants_a_person_to_see_is_not_let_through_unseen() {
    let mut play = Play::new(judge());
    let (ticket, _) = play.ask(("203.0.113.7", 443));
    play.answer(Instruction::Grant, Some(ticket), "go on [session]", &approver_key());
    assert_eq!(play.ask(("127.0.0.1", 9998)).1, [Instruction::Grant]);
    // Then a key is read, and the same kind of question is no longer the same.
    play.script.shell("c2", "cat ~/.ssh/id_rsa");
    let cat = by(3, "/usr/bin/cat", "c2", Mediation::Declared);
    play.script.exec(cat, AGENT, "cat /home/alice/.ssh/id_rsa");
    play.script.read(cat, "/home/alice/.ssh/id_rsa");
    let (_, answers) = play.ask(("127.0.0.1", 9999));
    assert_eq!(answers, [Instruction::Freeze], "the rule's freeze, and no grant");
}

#[test]
fn two_people_are_two_keys() {
    let mut rules = judge();
    rules.settings.approvals.two_person = ["reach".to_owned(), "resume".to_owned()].into();
    let second = SigningKey::from_bytes(&[9; 32]);
    rules.approvers.push(second.verifying_key());
    let mut play = Play::new(rules);
    let (ticket, _) = play.ask(("203.0.113.7", 443));
    let first = play.answer(Instruction::Grant, Some(ticket), "ours", &approver_key());
    assert_eq!((instructions(&first), titles(&first)), (vec![], vec!["SecondPersonNeeded".to_owned()]));
    let same = play.answer(Instruction::Grant, Some(ticket), "really", &approver_key());
    assert_eq!(instructions(&same), [], "one person twice is one person");
    let stranger = play.answer(Instruction::Grant, Some(ticket), "me too", &command_key());
    assert_eq!((instructions(&stranger), titles(&stranger)), (vec![], vec!["ApprovalNotAuthentic".to_owned()]));
    let both = play.answer(Instruction::Grant, Some(ticket), "I agree", &second);
    assert_eq!(instructions(&both), [Instruction::Grant]);
    assert_eq!(both.commands[0].caused_by.len(), 2, "both answers are named");
    // One is enough to refuse, to freeze and to kill.
    let (ticket, _) = play.ask(("203.0.113.9", 443));
    assert_eq!(instructions(&play.answer(Instruction::Deny, Some(ticket), "no", &second)), [Instruction::Deny]);
    assert_eq!(instructions(&play.answer(Instruction::Freeze, None, "wait", &second)), [Instruction::Freeze]);
    assert_eq!(instructions(&play.answer(Instruction::Resume, None, "go on", &second)), []);
    assert_eq!(instructions(&play.answer(Instruction::Resume, None, "yes", &approver_key())), [Instruction::Resume]);
}

#[test]
fn in_shadow_nothing_is_answered_by_the_watcher_but_people_are_heard() {
    let mut rules = judge();
    rules.settings.is_shadow = true;
    let mut play = Play::new(rules);
    let (ticket, _) = play.ask(("203.0.113.7", 443));
    let granted = play.answer(Instruction::Grant, Some(ticket), "ours", &approver_key());
    assert_eq!(instructions(&granted), [Instruction::Grant]);
    assert_eq!(play.ask(("203.0.113.7", 443)).1, []);
}

#[test]
fn a_rule_in_shadow_finds_and_does_not_command() {
    let mut rules = judge();
    rules.settings.shadow_rules = ["SecretReadThenEgress".to_owned()].into();
    let mut replay = Replay::default();
    let decisions: Vec<Decision> =
        secret_then_egress("s").records.into_iter().map(|r| replay.step(&rules, Topic::Events, r)).collect();
    assert!(decisions.iter().flat_map(titles).any(|t| t == "SecretReadThenEgress"));
    assert_eq!(decisions.iter().flat_map(instructions).count(), 0);
}
