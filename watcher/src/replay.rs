//! Replays recorded records through the watcher's core, without a log: what tests, backtests and rule authors use.

use crate::decide::{Decision, Incoming, Judge, step};
use crate::output;
use crate::session::Session;
use ed25519_dalek::SigningKey;
use std::collections::BTreeMap;
use wk_schemas::digest::Digest;
use wk_schemas::{Chain, Record, SessionId, Topic, codec};

/// Sessions and chains in memory.
#[derive(Debug, Default)]
pub struct Replay {
    sessions: BTreeMap<SessionId, Session>,
    chains: BTreeMap<(Topic, SessionId), Chain>,
}

impl Replay {
    /// What follows from one record.
    pub fn step(&mut self, judge: &Judge, topic: Topic, record: Record) -> Decision {
        let digest = Digest::of(&codec::encode(&record));
        let session = self.sessions.entry(record.header.session_id.clone()).or_default();
        step(session, judge, &Incoming { topic, record, digest })
    }

    /// As [`Replay::step`], with the records sealed and encoded as they would go to the log: findings, then commands.
    pub fn sealed(
        &mut self,
        judge: &Judge,
        key: &SigningKey,
        topic: Topic,
        record: Record,
    ) -> Vec<(Topic, Record, Vec<u8>)> {
        let header = record.header.clone();
        let decision = self.step(judge, topic, record);
        let mut out = Vec::new();
        for outgoing in decision.findings.into_iter().chain(decision.commands) {
            let topic = outgoing.topic;
            let chain = self.chains.entry((topic, header.session_id.clone())).or_default();
            let (record, datum) = output::seal(outgoing, &header, chain, key);
            out.push((topic, record, datum));
        }
        out
    }

    /// The context that a record would be judged in if it came next.
    #[must_use]
    pub fn context(&self, record: &Record) -> crate::context::Context<'static> {
        let mut session = self.sessions.get(&record.header.session_id).cloned().unwrap_or_default();
        session.tick(record);
        crate::context::Context::of(&session, record).into_owned()
    }

    /// The session, as it stands.
    #[must_use]
    pub fn session(&self, id: &SessionId) -> Option<&Session> {
        self.sessions.get(id)
    }
}

/// The findings and commands that follow from records of the events topic, in order, as data.
#[must_use]
pub fn replay(
    judge: &Judge,
    key: &SigningKey,
    records: impl IntoIterator<Item = Record>,
) -> Vec<(Topic, Record, Vec<u8>)> {
    let mut replay = Replay::default();
    records.into_iter().flat_map(|r| replay.sealed(judge, key, Topic::Events, r)).collect()
}
