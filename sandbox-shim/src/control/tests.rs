//! Commands as they come over the log, up to what they do to a session.

use super::{Brake, Cause, Control, Effect, Hands, Stopper};
use crate::clock;
use crate::contract::{Decision, Event, RecordError, Recorder, Ticket};
use ed25519_dalek::SigningKey;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use uuid::Uuid;
use wk_schemas::body::{Command, Instruction, PolicyApplied};
use wk_schemas::command::Signed;
use wk_schemas::{Body, Bytes, Chain, Digest, Header, Kind, Origin, RecordId, SessionId, Topic};
use wk_wire::Message;

#[derive(Default)]
struct Puppet(Mutex<Vec<String>>);

impl Puppet {
    fn done(&self, what: impl Into<String>) -> Result<Effect, String> {
        self.0.lock().unwrap().push(what.into());
        Ok(Effect { processes: 3, method: "none".into() })
    }
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Hands for Puppet {
    fn freeze(&self) -> Result<Effect, String> {
        self.done("freeze")
    }
    fn resume(&self) -> Result<Effect, String> {
        self.done("resume")
    }
    fn kill(&self) -> Result<Effect, String> {
        self.done("kill")
    }
    fn resolve(&self, ticket: Ticket, decision: Decision) -> bool {
        self.done(format!("{ticket} {}", decision.granted)).is_ok() && ticket != Uuid::nil()
    }
    fn replace_policy(&self, text: &str) -> Result<PolicyApplied, String> {
        self.done(text)?;
        Err("line 1: not a policy".into())
    }
}

#[derive(Default)]
struct Kept(Mutex<Vec<Event>>);

impl Recorder for Kept {
    fn record(&self, event: Event) -> Result<RecordId, RecordError> {
        self.0.lock().unwrap().push(event);
        Ok(RecordId(Uuid::nil()))
    }
    fn record_durable(&self, event: Event) -> Result<RecordId, RecordError> {
        self.record(event)
    }
}

struct Scene {
    puppet: Arc<Puppet>,
    kept: Arc<Kept>,
    brake: Arc<Brake>,
    control: Control,
    key: SigningKey,
}

fn scene() -> Scene {
    let (puppet, kept, key) =
        (Arc::new(Puppet::default()), Arc::new(Kept::default()), SigningKey::from_bytes(&[7; 32]));
    let brake = Arc::new(Brake::new(Arc::clone(&puppet) as _, Arc::clone(&kept) as _));
    let seen = Mutex::new(BTreeSet::new());
    let session = SessionId::parse("s1").unwrap();
    let first = move |id| Ok(seen.lock().unwrap().insert(id));
    let control = Control::new(session, key.verifying_key(), Arc::clone(&brake), first);
    Scene { puppet, kept, brake, control, key }
}

fn command(instruction: Instruction) -> Command {
    let now = clock::now();
    Command {
        instruction,
        ticket: None,
        policy: None,
        reason: "because".into(),
        by: "watcher".into(),
        issued_at: now,
        expires_at: now.plus_micros(60_000_000),
        key_id: String::new(),
        signature: Bytes::default(),
    }
}

impl Scene {
    fn message(&self, id: u128, session: &str, mut command: Command, key: &SigningKey) -> Message {
        let session_id = SessionId::parse(session).unwrap();
        let record_id = RecordId(Uuid::from_u128(id));
        command.sign(&session_id, record_id, key);
        let header = Header {
            record_id,
            session_id,
            writer: "watcher".into(),
            seq: 0,
            prev_digest: Digest::ZERO,
            occurred_at: clock::now(),
            origin: Origin::Watcher,
            caused_by: Vec::new(),
            tenant: "default".into(),
            host: "here".into(),
            agent_name: None,
            agent_version: None,
            agent_model: None,
            principal: None,
            policy_digest: None,
        };
        let (_, datum) = Chain::default().seal(header, command.into());
        Message {
            topic: Topic::Commands.name().into(),
            partition: 0,
            offset: 0,
            timestamp_ms: None,
            key: b"s1".to_vec().into(),
            value: wk_wire::frame(1, &datum).into(),
        }
    }

    fn send(&self, id: u128, command: Command) {
        self.control.obey(&self.message(id, "s1", command, &self.key), clock::instant());
    }

    fn kinds(&self) -> Vec<Kind> {
        self.kept.0.lock().unwrap().iter().map(|e| e.body.kind()).collect()
    }
}

#[test]
fn a_signed_command_is_carried_out_once_and_its_fact_names_it() {
    let scene = scene();
    scene.send(1, command(Instruction::Freeze));
    scene.send(1, command(Instruction::Freeze));
    scene.send(2, command(Instruction::Resume));
    scene.send(3, command(Instruction::Kill));
    assert_eq!(scene.puppet.take(), ["freeze", "resume", "kill"]);
    assert_eq!(scene.kinds(), [Kind::SessionFrozen, Kind::SessionResumed, Kind::SessionKilled]);
    assert_eq!(scene.control.refused(), 1);
    let events = scene.kept.0.lock().unwrap();
    assert_eq!(events[0].caused_by, [RecordId(Uuid::from_u128(1))]);
    let Body::SessionFrozen(frozen) = &events[0].body else { panic!() };
    assert_eq!((frozen.command_id, frozen.processes), (Some(RecordId(Uuid::from_u128(1))), 3));
}

#[test]
fn what_is_not_signed_for_this_session_and_this_moment_is_refused() {
    let scene = scene();
    let stranger = SigningKey::from_bytes(&[8; 32]);
    let now = clock::now();
    let late = Command { expires_at: now.plus_micros(-1), ..command(Instruction::Freeze) };
    let early = Command { issued_at: now.plus_micros(60_000_000), ..command(Instruction::Freeze) };
    let signed = scene.message(4, "s1", command(Instruction::Freeze), &scene.key);
    let mut value = signed.value.to_vec();
    let end = value.len() - 3;
    value[end] ^= 1;
    let altered = Message { value: value.into(), ..signed };
    let messages = [
        scene.message(1, "s1", command(Instruction::Freeze), &stranger),
        scene.message(2, "s2", command(Instruction::Freeze), &scene.key),
        scene.message(3, "s1", late, &scene.key),
        scene.message(5, "s1", early, &scene.key),
        Message { value: b"junk".to_vec().into(), ..altered.clone() },
        altered,
    ];
    for message in &messages {
        scene.control.obey(message, clock::instant());
    }
    assert_eq!(scene.control.refused(), messages.len() as u64);
    assert!(scene.puppet.take().is_empty());
    // A message of another session is none of our business, so it is not even counted.
    let foreign = Message { key: b"s2".to_vec().into(), ..messages[1].clone() };
    scene.control.obey(&foreign, clock::instant());
    assert_eq!(scene.control.refused(), messages.len() as u64);
}

#[test]
fn a_grant_goes_to_its_ticket_and_one_without_a_ticket_is_refused() {
    let scene = scene();
    let ticket = Some(RecordId(Uuid::from_u128(9)));
    scene.send(1, Command { ticket, ..command(Instruction::Grant) });
    scene.send(2, Command { ticket, ..command(Instruction::Deny) });
    scene.send(3, command(Instruction::Grant));
    let id = Uuid::from_u128(9);
    assert_eq!(scene.puppet.take(), [format!("{id} true"), format!("{id} false")]);
    assert_eq!(scene.control.refused(), 1);
    assert!(scene.kinds().is_empty(), "the one who holds records the answer");
    scene.send(4, Command { policy: Some("x".into()), ..command(Instruction::ApplyPolicy) });
    assert_eq!(scene.control.refused(), 2);
}

#[test]
fn a_session_frozen_for_two_reasons_goes_on_when_both_are_gone() {
    let scene = scene();
    let cause = Cause { command_id: None, reason: "outbox".into(), since: clock::instant() };
    scene.brake.freeze(Stopper::Outbox, &cause);
    scene.send(1, command(Instruction::Freeze));
    scene.brake.resume(Stopper::Outbox, &cause);
    assert_eq!(scene.puppet.take(), ["freeze", "freeze"]);
    scene.send(2, command(Instruction::Resume));
    assert_eq!(scene.puppet.take(), ["resume"]);
    assert_eq!(scene.kinds(), [Kind::SessionFrozen, Kind::SessionFrozen, Kind::SessionResumed]);
}
