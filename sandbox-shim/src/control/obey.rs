//! Which commands are obeyed, and how each reaches the session.

use super::brake::{Brake, Cause, Stopper};
use crate::clock;
use crate::contract::Decision;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use wk_schemas::body::{Command, Instruction};
use wk_schemas::command::{SignatureError, Signed};
use wk_schemas::{Body, CodecError, Record, RecordId, SessionId, Timestamp, Topic, codec};
use wk_wire::kafka::Reader;
use wk_wire::{Brokers, Message, Read};

/// How far the clock of the watcher may be ahead of ours.
const CLOCK_SKEW_US: i64 = 5_000_000;

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
