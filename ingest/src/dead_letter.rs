//! Sets aside what is no record: its bytes, its place and the reason become records on the dead-letter topic.
//!
//! A letter's records follow from the message alone, ids and times included, so that writing them again after a crash can be told from
//! writing others: before the first letter of a run, the topic is read once and what is there already is not written again. Their chains
//! (one for each session, writer `ingest`) go on from what the topic holds.
//!
//! Letters are on the log before the commit that counts them. A crash in between leaves letters whose messages are read again.

use crate::through::{self, ThroughError};
use crate::walk::{Refusal, Taken};
use std::collections::{HashMap, HashSet};
use std::time::Duration;
use wk_schemas::body::DeadLetter;
use wk_schemas::{Body, Bytes, Chain, Digest, Header, Origin, RecordId, SCHEMA, SessionId, Timestamp, Topic, codec};
use wk_store::Source;
use wk_wire::kafka::{BrokersError, Producer};
use wk_wire::registry::{self, RegistryError};
use wk_wire::{Append as _, AppendError, Brokers, Disposition, frame, unframe};

/// The most bytes of a message in one record; longer ones come in parts.
pub const PART_BYTES: usize = 500_000;

/// The most bytes of a key that are kept; keys of ours have at most 64.
const KEY_BYTES: usize = 64 * 1024;

/// The session of letters whose key is no session id.
pub const UNREADABLE: &str = "unreadable";

/// Who writes letters.
pub const WRITER: &str = "ingest";

/// What stands in the header of what ingest writes itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The tenant.
    pub tenant: String,
    /// The host that ingest runs on.
    pub host: String,
}

/// A message that is no record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    taken: Taken,
    reason: String,
}

impl Letter {
    /// Sets a message aside.
    #[must_use]
    pub fn new(taken: Taken, refusal: &Refusal) -> Self {
        Self { taken, reason: refusal.reason() }
    }

    /// Where it was found.
    #[must_use]
    pub const fn source(&self) -> Source {
        self.taken.source
    }

    fn session(&self) -> SessionId {
        let key = std::str::from_utf8(&self.taken.key).ok().and_then(|key| SessionId::parse(key).ok());
        key.unwrap_or_else(|| SessionId::parse(UNREADABLE).expect("it is a word"))
    }

    /// The letter as records, without their place in a chain.
    #[must_use]
    pub fn records(&self, identity: &Identity) -> Vec<(Header, Body)> {
        let Taken { source, offset, timestamp_ms, key, value } = &self.taken;
        let digest = Digest::of(value);
        let (key, reason) = match key.get(..KEY_BYTES) {
            None => (&key[..], self.reason.clone()),
            Some(start) => (start, format!("{}; of its key of {} bytes, the first are kept", self.reason, key.len())),
        };
        let parts: Vec<&[u8]> = if value.is_empty() { vec![&[]] } else { value.chunks(PART_BYTES).collect() };
        let count = small(parts.len());
        let one = |(part, bytes): (i32, &&[u8])| {
            let name = format!("dead-letter/{source}/{offset}/{digest}/{part}");
            let occurred_at = Timestamp(timestamp_ms.unwrap_or(0).saturating_mul(1000));
            let header = header(RecordId::derived(&[], &name), self.session(), WRITER, occurred_at, identity);
            let letter = DeadLetter {
                topic: source.topic.name().into(),
                partition: source.partition,
                offset: *offset,
                key: Bytes(key.to_vec()),
                value: Bytes(bytes.to_vec()),
                part,
                parts: count,
                value_bytes: i64::try_from(value.len()).expect("a message fits memory"),
                value_digest: digest,
                reason: reason.clone(),
            };
            (header, letter.into())
        };
        (0..).zip(&parts).map(one).collect()
    }
}

/// The header of what ingest writes itself, without its place in a chain.
pub(crate) fn header(
    record_id: RecordId,
    session_id: SessionId,
    writer: &str,
    occurred_at: Timestamp,
    identity: &Identity,
) -> Header {
    Header {
        record_id,
        session_id,
        writer: writer.into(),
        seq: 0,
        prev_digest: Digest::ZERO,
        occurred_at,
        origin: Origin::Lake,
        caused_by: Vec::new(),
        tenant: identity.tenant.clone(),
        host: identity.host.clone(),
        agent_name: None,
        agent_version: None,
        agent_model: None,
        principal: None,
        policy_digest: None,
    }
}

fn small(count: usize) -> i32 {
    i32::try_from(count).expect("a message has few parts")
}

/// Letters could not be written.
#[derive(Debug, thiserror::Error)]
pub enum LetterError {
    /// They were not appended.
    #[error("failed to append dead letters")]
    Append(#[from] AppendError),
    /// The letters that are there could not be read.
    #[error("failed to read the dead letters that are there")]
    Read(#[from] ThroughError),
    /// The configuration is wrong.
    #[error(transparent)]
    Brokers(#[from] BrokersError),
    /// The registry gives no schema id.
    #[error("the schema registry gives no id for dead letters")]
    Registry(#[from] RegistryError),
}

impl LetterError {
    /// What to do about it.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            // The next try reads what is there and goes on behind it with a producer of its own.
            Self::Append(AppendError::InDoubt { .. }) | Self::Read(ThroughError::Silence { .. }) => Disposition::Retry,
            Self::Append(error) => error.disposition(),
            Self::Read(ThroughError::Read { source, .. }) => source.disposition(),
            Self::Brokers(_) | Self::Read(ThroughError::Brokers(_)) => Disposition::Stop,
            Self::Registry(error) => error.disposition(),
        }
    }
}

/// Writes letters.
#[derive(Debug)]
pub struct DeadLetters {
    brokers: Brokers,
    registry: registry::Client,
    identity: Identity,
    open: Option<Open>,
}

/// What is needed to write, learned before the first letter.
#[derive(Debug)]
struct Open {
    producer: Producer,
    schema_id: i32,
    chains: HashMap<SessionId, Chain>,
    there: HashSet<RecordId>,
}

impl DeadLetters {
    /// Nothing is read or connected before the first letter.
    #[must_use]
    pub fn new(brokers: &Brokers, registry: registry::Client, identity: Identity) -> Self {
        // Without a limit a producer waits for ever, and with it a shutdown would.
        let brokers = brokers.clone().with_delivery_timeout(Duration::from_secs(30));
        Self { brokers, registry, identity, open: None }
    }

    /// Writes the letters that are not there yet, in order; returns how many records that took, once all are acknowledged.
    ///
    /// # Errors
    /// [`LetterError`]. Some letters may be there; calling again with the same ones does not write those twice.
    pub async fn write(&mut self, letters: &[Letter]) -> Result<usize, LetterError> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.open().await?,
        };
        // An error drops `open`: what is there is then read again.
        let written = open.write(letters, &self.identity).await?;
        self.open = Some(open);
        Ok(written)
    }

    async fn open(&self) -> Result<Open, LetterError> {
        let schema_id = self.registry.register(Topic::DeadLetters.name(), SCHEMA).await?;
        let (chains, there) = read(&self.brokers, WRITER).await?;
        Ok(Open { producer: Producer::connect(&self.brokers)?, schema_id, chains, there })
    }
}

impl Open {
    async fn write(&mut self, letters: &[Letter], identity: &Identity) -> Result<usize, LetterError> {
        let mut deliveries = Vec::new();
        for (header, body) in letters.iter().flat_map(|letter| letter.records(identity)) {
            if !self.there.insert(header.record_id) {
                continue;
            }
            let session_id = header.session_id.clone();
            let (_, datum) = self.chains.entry(session_id.clone()).or_default().seal(header, body);
            let value = frame(self.schema_id, &datum);
            let key = session_id.as_str().as_bytes();
            deliveries.push(self.producer.submit(Topic::DeadLetters.name(), key, &value).await?);
        }
        let written = deliveries.len();
        for delivery in deliveries {
            delivery.await?;
        }
        Ok(written)
    }
}

/// Reads the whole topic: where the chains of a writer end, and which records of it are there.
pub(crate) async fn read(
    brokers: &Brokers,
    writer: &str,
) -> Result<(HashMap<SessionId, Chain>, HashSet<RecordId>), ThroughError> {
    let (mut chains, mut there) = (HashMap::new(), HashSet::new());
    through::read(
        brokers,
        Topic::DeadLetters.name(),
        |_| Some(0),
        |message| {
            let Ok((_, datum)) = unframe(&message.value) else { return };
            let Ok(record) = codec::decode(datum) else { return };
            if record.header.writer == writer && record.header.session_id.as_str().as_bytes() == message.key {
                chains.insert(record.header.session_id, Chain::after(record.header.seq, datum));
                there.insert(record.header.record_id);
            }
        },
    )
    .await?;
    Ok((chains, there))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(key: &[u8], value: Vec<u8>) -> Letter {
        let source = Source { topic: Topic::Events, partition: 3 };
        let taken = Taken {
            source,
            offset: 99,
            timestamp_ms: Some(1_793_000_000_123),
            key: key.to_vec().into(),
            value: value.into(),
        };
        Letter::new(taken, &Refusal::NoTime)
    }

    fn identity() -> Identity {
        Identity { tenant: "default".into(), host: "lake-1".into() }
    }

    fn bodies(letter: &Letter) -> Vec<DeadLetter> {
        let body = |(_, body)| match body {
            Body::DeadLetter(letter) => letter,
            other => panic!("{other:?}"),
        };
        letter.records(&identity()).into_iter().map(body).collect()
    }

    #[test]
    fn a_letter_always_becomes_the_same_records() {
        let one = letter(b"s1", b"{}".to_vec());
        assert_eq!(one.records(&identity()), one.clone().records(&identity()));
        let (header, _) = &one.records(&identity())[0];
        assert_eq!((header.session_id.as_str(), header.occurred_at), ("s1", Timestamp(1_793_000_000_123_000)));
        assert_eq!(letter(b"\xff", Vec::new()).records(&identity())[0].0.session_id.as_str(), UNREADABLE);
    }

    #[test]
    fn the_parts_of_a_long_message_are_all_of_it_and_fit_the_log() {
        let value: Vec<u8> = (0u32..1_000_001).map(|n| n.to_le_bytes()[0]).collect();
        let letter = letter(&vec![b'k'; 100_000], value.clone());
        let parts = bodies(&letter);
        assert_eq!(parts.iter().map(|p| (p.part, p.parts)).collect::<Vec<_>>(), [(0, 3), (1, 3), (2, 3)]);
        assert_eq!(parts.iter().flat_map(|p| p.value.0.clone()).collect::<Vec<_>>(), value);
        assert!(parts.iter().all(|p| p.value_bytes == 1_000_001 && p.value_digest == Digest::of(&value)));
        for (header, body) in letter.records(&identity()) {
            let (_, datum) = Chain::default().seal(header, body);
            assert!(datum.len() < wk_schemas::MAX_RECORD_BYTES);
        }
    }

    #[test]
    fn an_empty_message_is_a_letter_too() {
        let parts = bodies(&letter(b"s1", Vec::new()));
        assert_eq!((parts.len(), parts[0].value_bytes, parts[0].parts), (1, 0, 1));
    }
}
