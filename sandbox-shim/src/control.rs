//! Carries out the commands that come back over the log.
//!
//! A command is obeyed when it is addressed to this session (by key and by content), signed with the one trusted key over its
//! session and its id, within its time, and for the first time. Everything else is refused, counted and traced; there is no record
//! for a refusal, because anybody who may write to the topic could fill the session's chain with them.
//!
//! The fact follows the effect: `session_frozen` is written when nothing runs any more, and names the command and the time from
//! its arrival.

use crate::clock;
use crate::contract::{Decision, Event, Recorder, Ticket};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use wk_schemas::body::{Command, Instruction, PolicyApplied, SessionFrozen, SessionKilled, SessionResumed};
use wk_schemas::command::{SignatureError, Signed};
use wk_schemas::{Body, CodecError, Origin, Record, RecordId, SessionId, Timestamp, Topic, codec};
use wk_wire::kafka::Reader;
use wk_wire::{Brokers, Message, Read};

/// How far the clock of the watcher may be ahead of ours.
const CLOCK_SKEW_US: i64 = 5_000_000;

/// What a command can do to the agent.
pub trait Hands: Send + Sync {
    /// Stops every process.
    ///
    /// # Errors
    /// Why something may still run, in a sentence.
    fn freeze(&self) -> Result<Effect, String>;
    /// Lets them go on.
    ///
    /// # Errors
    /// Why they may stand still, in a sentence.
    fn resume(&self) -> Result<Effect, String>;
    /// Ends them.
    ///
    /// # Errors
    /// Why something may still run, in a sentence.
    fn kill(&self) -> Result<Effect, String>;
    /// Answers a held action; `false` when nothing waits under this ticket. The one who holds records the answer.
    fn resolve(&self, ticket: Ticket, decision: Decision) -> bool;
    /// Puts another policy in force.
    ///
    /// # Errors
    /// Why it stays as it was.
    fn replace_policy(&self, text: &str) -> Result<PolicyApplied, String>;
}

/// What freezing, resuming or killing came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// How many processes it met.
    pub processes: i64,
    /// How it was done.
    pub method: String,
}

/// Who wants the session to stand still. It goes on when nobody does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stopper {
    /// A command.
    Command,
    /// The outbox is nearly full.
    Outbox,
    /// The log was not reached after the start.
    Log,
}

/// Freezes and resumes, and writes down what came of it.
pub struct Brake {
    hands: Arc<dyn Hands>,
    recorder: Arc<dyn Recorder>,
    stoppers: Mutex<BTreeSet<Stopper>>,
    killed: AtomicBool,
    lost: AtomicBool,
}

impl std::fmt::Debug for Brake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Brake").field("stoppers", &self.stoppers).finish_non_exhaustive()
    }
}

/// Why, and since when.
#[derive(Debug, Clone)]
pub struct Cause {
    /// The command; `None` when the shim acts by itself.
    pub command_id: Option<RecordId>,
    /// Why, in a sentence.
    pub reason: String,
    /// When it was asked for.
    pub since: Instant,
}

impl Brake {
    /// A brake on a session that runs.
    #[must_use]
    pub fn new(hands: Arc<dyn Hands>, recorder: Arc<dyn Recorder>) -> Self {
        Self {
            hands,
            recorder,
            stoppers: Mutex::default(),
            killed: AtomicBool::new(false),
            lost: AtomicBool::new(false),
        }
    }

    /// Stops every process, and kills them when they cannot be stopped.
    pub fn freeze(&self, stopper: Stopper, cause: &Cause) {
        let mut stoppers = self.stoppers.lock().unwrap_or_else(PoisonError::into_inner);
        stoppers.insert(stopper);
        // Also when it stands still already: a fork may have slipped through, and the command asks for its fact.
        match self.hands.freeze() {
            Ok(Effect { processes, method }) => {
                let body = SessionFrozen {
                    command_id: cause.command_id,
                    method,
                    processes,
                    took_us: clock::micros_since(cause.since),
                    reason: cause.reason.clone(),
                };
                self.write(cause, body);
            }
            Err(error) => {
                tracing::error!(%error, "the session could not be frozen; it is killed");
                self.kill(&Cause { reason: format!("{}; freezing failed: {error}", cause.reason), ..cause.clone() });
            }
        }
    }

    /// Lets the processes go on, unless somebody else wants them to stand still.
    pub fn resume(&self, stopper: Stopper, cause: &Cause) {
        let mut stoppers = self.stoppers.lock().unwrap_or_else(PoisonError::into_inner);
        let was_there = stoppers.remove(&stopper);
        if !stoppers.is_empty() || (stopper != Stopper::Command && !was_there) {
            return;
        }
        match self.hands.resume() {
            Ok(_) => {
                let body = SessionResumed {
                    command_id: cause.command_id,
                    took_us: clock::micros_since(cause.since),
                    reason: cause.reason.clone(),
                };
                self.write(cause, body);
            }
            Err(error) => tracing::error!(%error, "the session could not be resumed"),
        }
    }

    /// Something could not be recorded: the agent must not go on.
    pub fn lose(&self, cause: &Cause) {
        if !self.lost.swap(true, Ordering::SeqCst) {
            self.kill(cause);
        }
    }

    /// Whether the session was killed.
    #[must_use]
    pub fn has_killed(&self) -> bool {
        self.killed.load(Ordering::SeqCst)
    }

    /// Whether the session was ended because something could not be recorded.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::SeqCst)
    }

    /// Ends every process.
    pub fn kill(&self, cause: &Cause) {
        self.killed.store(true, Ordering::SeqCst);
        match self.hands.kill() {
            Ok(Effect { processes, .. }) => {
                let body = SessionKilled {
                    command_id: cause.command_id,
                    processes,
                    took_us: clock::micros_since(cause.since),
                    reason: cause.reason.clone(),
                };
                self.write(cause, body);
            }
            Err(error) => tracing::error!(%error, "the session could not be killed"),
        }
    }

    fn write(&self, cause: &Cause, body: impl Into<Body>) {
        let event = Event {
            origin: Origin::Shim,
            caused_by: cause.command_id.into_iter().collect(),
            occurred_at: clock::now(),
            body: body.into(),
        };
        // The effect stands. That it cannot be recorded has stopped the agent already.
        if let Err(error) = self.recorder.record(event) {
            tracing::error!(%error, "what was done to the session could not be recorded");
        }
    }
}

/// Decides about commands and has them carried out.
pub struct Control {
    session: SessionId,
    key: ed25519_dalek::VerifyingKey,
    brake: Arc<Brake>,
    first_time: Box<dyn Fn(RecordId) -> Result<bool, String> + Send + Sync>,
    refused: AtomicU64,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").field("session", &self.session).finish_non_exhaustive()
    }
}

/// Why a command is not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The message is not a record.
    #[error("the message is not a record")]
    Unreadable(#[from] CodecError),
    /// The message is not framed as ours are.
    #[error("the message is not framed")]
    Unframed(#[from] wk_wire::framing::FrameError),
    /// The record is not a command.
    #[error("the record is a {0}")]
    NotACommand(wk_schemas::Kind),
    /// The record is for another session than the message's key says.
    #[error("the command is for session {0}")]
    OtherSession(SessionId),
    /// The signature does not hold.
    #[error("the signature does not hold")]
    Signature(#[from] SignatureError),
    /// Too early or too late.
    #[error("the command is valid from {issued_at:?} to {expires_at:?}, and it is {now:?}")]
    NotNow {
        /// First valid moment.
        issued_at: Timestamp,
        /// Last valid moment.
        expires_at: Timestamp,
        /// The moment it arrived.
        now: Timestamp,
    },
    /// It was carried out before.
    #[error("the command was carried out before")]
    Repeated,
    /// It lacks what it needs.
    #[error("the command has no {0}")]
    Incomplete(&'static str),
    /// Nothing waits under its ticket, or the policy cannot be put in force.
    #[error("{0}")]
    Void(String),
}

impl Control {
    /// Control over one session; `first_time` remembers ids.
    pub fn new(
        session: SessionId,
        key: ed25519_dalek::VerifyingKey,
        brake: Arc<Brake>,
        first_time: impl Fn(RecordId) -> Result<bool, String> + Send + Sync + 'static,
    ) -> Self {
        Self { session, key, brake, first_time: Box::new(first_time), refused: AtomicU64::new(0) }
    }

    /// How many commands were refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Reads the commands topic from `starts` on, until `stop`.
    pub async fn tail(&self, brokers: &Brokers, mut starts: Vec<(i32, i64)>, stop: CancellationToken) {
        loop {
            let read = async {
                let topic = Topic::Commands.name();
                let from: Vec<_> = starts.iter().map(|(p, o)| (topic, *p, *o)).collect();
                let mut reader = Reader::assign(brokers, &from).await?;
                loop {
                    let message = reader.next().await?;
                    let arrived = clock::instant();
                    self.obey(&message, arrived);
                    if let Some(start) = starts.iter_mut().find(|(p, _)| *p == message.partition) {
                        start.1 = message.offset + 1;
                    }
                }
            };
            let ended: Result<std::convert::Infallible, anyhow::Error> = tokio::select! {
                ended = read => ended,
                () = stop.cancelled() => return,
            };
            let Err(error) = ended;
            tracing::warn!(error = format!("{error:#}"), "commands cannot be read; trying again");
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(250)) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Carries out the command in a message, when it is one for this session; says why not otherwise.
    pub fn obey(&self, message: &Message, arrived: Instant) {
        if message.key != self.session.as_str().as_bytes() {
            return;
        }
        if let Err(refusal) = self.try_obey(&message.value, arrived) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            let why = anyhow::Error::from(refusal);
            tracing::warn!(
                session_id = %self.session, partition = message.partition, offset = message.offset,
                why = format!("{why:#}"), "a command is refused"
            );
        }
    }

    fn try_obey(&self, value: &[u8], arrived: Instant) -> Result<(), Refusal> {
        let (_, datum) = wk_wire::unframe(value)?;
        let (id, command) = self.check(codec::decode(datum)?, clock::now())?;
        if !(self.first_time)(id).map_err(Refusal::Void)? {
            return Err(Refusal::Repeated);
        }
        let cause = Cause { command_id: Some(id), reason: command.reason.clone(), since: arrived };
        match command.instruction {
            Instruction::Freeze => self.brake.freeze(Stopper::Command, &cause),
            Instruction::Resume => self.brake.resume(Stopper::Command, &cause),
            Instruction::Kill => self.brake.kill(&cause),
            Instruction::Grant => self.resolve(id, command, true)?,
            Instruction::Deny => self.resolve(id, command, false)?,
            Instruction::ApplyPolicy => {
                let text = command.policy.ok_or(Refusal::Incomplete("policy"))?;
                let applied = self.brake.hands.replace_policy(&text).map_err(Refusal::Void)?;
                self.brake.write(&cause, applied);
            }
            Instruction::Unspecified => return Err(Refusal::Incomplete("instruction")),
        }
        Ok(())
    }

    fn resolve(&self, id: RecordId, command: Command, granted: bool) -> Result<(), Refusal> {
        let ticket = command.ticket.ok_or(Refusal::Incomplete("ticket"))?;
        let decision = Decision { granted, by: Some(command.by), reason: command.reason, command_id: Some(id) };
        if self.brake.hands.resolve(ticket.0, decision) {
            return Ok(());
        }
        Err(Refusal::Void(format!("nothing waits under ticket {ticket}")))
    }

    fn check(&self, record: Record, now: Timestamp) -> Result<(RecordId, Command), Refusal> {
        let kind = record.kind();
        let Record { header, body: Body::Command(command) } = record else { return Err(Refusal::NotACommand(kind)) };
        if header.session_id != self.session {
            return Err(Refusal::OtherSession(header.session_id));
        }
        command.check(&self.session, header.record_id, &self.key)?;
        let (issued_at, expires_at) = (command.issued_at, command.expires_at);
        if now < issued_at.plus_micros(-CLOCK_SKEW_US) || now > expires_at {
            return Err(Refusal::NotNow { issued_at, expires_at, now });
        }
        Ok((header.record_id, command))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::RecordError;
    use ed25519_dalek::SigningKey;
    use uuid::Uuid;
    use wk_schemas::{Bytes, Chain, Digest, Header, Kind};

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
        control: Control,
        key: SigningKey,
    }

    fn scene() -> Scene {
        let (puppet, kept, key) =
            (Arc::new(Puppet::default()), Arc::new(Kept::default()), SigningKey::from_bytes(&[7; 32]));
        let brake = Brake::new(Arc::clone(&puppet) as _, Arc::clone(&kept) as _);
        let seen = Mutex::new(BTreeSet::new());
        let session = SessionId::parse("s1").unwrap();
        let first = move |id| Ok(seen.lock().unwrap().insert(id));
        let control = Control::new(session, key.verifying_key(), Arc::new(brake), first);
        Scene { puppet, kept, control, key }
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
                key: b"s1".to_vec(),
                value: wk_wire::frame(1, &datum),
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
        let mut altered = scene.message(4, "s1", command(Instruction::Freeze), &scene.key);
        let end = altered.value.len() - 3;
        altered.value[end] ^= 1;
        let messages = [
            scene.message(1, "s1", command(Instruction::Freeze), &stranger),
            scene.message(2, "s2", command(Instruction::Freeze), &scene.key),
            scene.message(3, "s1", late, &scene.key),
            scene.message(5, "s1", early, &scene.key),
            Message { value: b"junk".to_vec(), ..altered.clone() },
            altered,
        ];
        for message in &messages {
            scene.control.obey(message, clock::instant());
        }
        assert_eq!(scene.control.refused(), messages.len() as u64);
        assert!(scene.puppet.take().is_empty());
        // A message of another session is none of our business, so it is not even counted.
        let foreign = Message { key: b"s2".to_vec(), ..messages[1].clone() };
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
        let brake = &scene.control.brake;
        brake.freeze(Stopper::Outbox, &cause);
        scene.send(1, command(Instruction::Freeze));
        brake.resume(Stopper::Outbox, &cause);
        assert_eq!(scene.puppet.take(), ["freeze", "freeze"]);
        scene.send(2, command(Instruction::Resume));
        assert_eq!(scene.puppet.take(), ["resume"]);
        assert_eq!(scene.kinds(), [Kind::SessionFrozen, Kind::SessionFrozen, Kind::SessionResumed]);
    }
}
