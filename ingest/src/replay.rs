//! Gives dead letters another chance: those that can be read by now are appended to the topic that they were found in.
//!
//! ```text
//! letters on the topic ─► whole again ─► read as ingest would ─► already on its topic? ─► append ─► note on the dead-letter topic
//! ```
//! A letter becomes readable when its schema is registered, or when a newer version of this program knows it; its schema is held against the
//! columns that the lake has, as ingest does. Each is replayed once,
//! however often this runs and wherever it dies: before a message is appended its topic is searched for it, behind the place of the letter,
//! and a note that names the new place is left beside the letter. A note is a dead letter of no parts, written by `replay`; it comes into
//! the lake like everything else. Nothing is taken away: the letter stays.
//!
//! One at a time: two that run at once may both find that a message is not there yet. `wk` holds a lock in the data folder.

use crate::dead_letter::{self, Identity, PART_BYTES};
use crate::schema_ids::Known;
use crate::through::{self, ThroughError};
use crate::walk::{Taken, schema_id, walk};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::time::Duration;
use wk_schemas::body::DeadLetter;
use wk_schemas::{Body, Chain, Digest, RecordId, SCHEMA, SessionId, Timestamp, Topic, codec};
use wk_store::rows::Columns;
use wk_store::{Source, replayed};
use wk_wire::kafka::{BrokersError, Producer};
use wk_wire::registry::{self, RegistryError};
use wk_wire::{Append as _, AppendError, Brokers, frame, unframe};

/// Who writes notes.
pub const WRITER: &str = "replay";

/// What a letter is known by: where its message was found, and the digest of its bytes.
type Key = (Source, i64, Digest);

/// What became of the letters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Messages that were set aside, ever.
    pub letters: u64,
    /// Replayed by an earlier run.
    pub before: u64,
    /// Replayed now: where each was found, and where it is now, if the log says so.
    pub replayed: Vec<(Source, i64, Option<i64>)>,
    /// Found on their topic without a note: an earlier run died in between. Their note is there now.
    pub found: u64,
    /// Cannot be read yet, by reason.
    pub refused: BTreeMap<String, u64>,
    /// Not all parts are there, or their bytes are not those that were set aside.
    pub incomplete: u64,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { letters, before, replayed, found, refused, incomplete } = self;
        writeln!(f, "{letters} dead letters, {before} replayed before, {} replayed now", replayed.len())?;
        if *found > 0 {
            writeln!(f, "{found} had been replayed without a note, which is there now")?;
        }
        for (reason, count) in refused {
            writeln!(f, "{count} cannot be read yet: {reason}")?;
        }
        if *incomplete > 0 {
            writeln!(f, "{incomplete} are not whole")?;
        }
        Ok(())
    }
}

/// Dead letters could not be replayed. What was appended has been searched for and found by the next run.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// A topic could not be read.
    #[error(transparent)]
    Read(#[from] ThroughError),
    /// A message or a note could not be appended.
    #[error("failed to append")]
    Append(#[from] AppendError),
    /// The configuration is wrong.
    #[error(transparent)]
    Brokers(#[from] BrokersError),
    /// The registry does not answer.
    #[error("failed to ask the schema registry")]
    Registry(#[from] RegistryError),
}

/// Replays dead letters.
#[derive(Debug)]
pub struct Replay {
    brokers: Brokers,
    registry: registry::Client,
    columns: Columns,
    identity: Identity,
    dry: bool,
}

impl Replay {
    /// Nothing is read yet. `columns` are those of the lake that the log is read into: what contradicts them would be set aside again. With
    /// `dry` nothing is written either; what would be is told.
    #[must_use]
    pub fn new(brokers: &Brokers, registry: registry::Client, columns: Columns, identity: Identity, dry: bool) -> Self {
        // Without a limit a producer waits for ever.
        let brokers = brokers.clone().with_delivery_timeout(Duration::from_secs(30));
        Self { brokers, registry, columns, identity, dry }
    }

    /// Replays what can be read by now. `now` stands in the notes.
    ///
    /// # Errors
    /// [`ReplayError`]. Running it again goes on where this run ended.
    pub async fn run(self, now: Timestamp) -> Result<Outcome, ReplayError> {
        let (mut outcome, letters) = self.readable().await?;
        let there = self.there(&letters).await?;
        if self.dry {
            let missing = letters.iter().filter(|(key, _)| !there.contains_key(*key));
            outcome.replayed = missing.map(|((source, offset, _), _)| (*source, *offset, None)).collect();
            return Ok(outcome);
        }
        if letters.is_empty() {
            return Ok(outcome);
        }
        let schema_id = self.registry.register(Topic::DeadLetters.name(), SCHEMA).await?;
        let (mut chains, _) = dead_letter::read(&self.brokers, WRITER).await?;
        let producer = Producer::connect(&self.brokers)?;
        // In the order in which they were found: the chains of their writers go on in it.
        for (place_of, letter) in &letters {
            let (source, offset, _) = *place_of;
            let place = match there.get(place_of) {
                Some(offset) => {
                    outcome.found += 1;
                    Some(*offset)
                }
                None => {
                    // 1. Append the message. A crash behind this is made good by the next run, which finds it there.
                    let Taken { key, value, .. } = &letter.taken;
                    let at = match producer.append(source.topic.name(), key, value).await?.offset {
                        Some(at) => Some(at),
                        // It was sent twice, and the broker only said that it has it.
                        None => self.there(&BTreeMap::from([(*place_of, letter.clone())])).await?.remove(place_of),
                    };
                    outcome.replayed.push((source, offset, at));
                    at
                }
            };
            // 2. Leave the note. From here no run looks at this letter again.
            let (header, body) = letter.note(*place_of, place, now, &self.identity);
            let session_id = header.session_id.clone();
            let chain: &mut Chain = chains.entry(session_id.clone()).or_default();
            let (_, datum) = chain.seal(header, body);
            let value = frame(schema_id, &datum);
            producer.append(Topic::DeadLetters.name(), session_id.as_str().as_bytes(), &value).await?;
        }
        Ok(outcome)
    }

    /// The letters that can be read by now and have no note, in order; and what is to be said of the others.
    async fn readable(&self) -> Result<(Outcome, BTreeMap<Key, Whole>), ReplayError> {
        let (mut parts, mut noted) = (BTreeMap::<Key, Parts>::new(), BTreeSet::new());
        through::read(
            &self.brokers,
            Topic::DeadLetters.name(),
            |_| Some(0),
            |message| {
                let Some((header, letter)) = letter(&message.value) else { return };
                let Some(topic) = Topic::from_name(&letter.topic) else { return };
                let key = (Source { topic, partition: letter.partition }, letter.offset, letter.value_digest);
                match (header.writer.as_str(), letter.parts) {
                    (WRITER, 0) => {
                        noted.insert(key);
                    }
                    (dead_letter::WRITER, 1..) => {
                        parts.entry(key).or_insert_with(|| Parts::new(&header, &letter)).take(letter)
                    }
                    _ => {}
                }
            },
        )
        .await?;
        let mut outcome = Outcome { letters: parts.len() as u64, ..Outcome::default() };
        let mut known = Known::new(self.registry.clone(), self.columns.clone());
        let mut readable = BTreeMap::new();
        for (key, parts) in parts {
            if noted.contains(&key) {
                outcome.before += 1;
                continue;
            }
            let Some(whole) = parts.whole(key) else {
                outcome.incomplete += 1;
                continue;
            };
            known.learn(schema_id(&whole.taken.value).into_iter()).await?;
            match walk(&whole.taken, &known.ids()) {
                Ok(_) => drop(readable.insert(key, whole)),
                Err(refusal) => *outcome.refused.entry(refusal.reason()).or_default() += 1,
            }
        }
        Ok((outcome, readable))
    }

    /// Which of the messages are on their topic again, behind the place where they were found, and where.
    async fn there(&self, letters: &BTreeMap<Key, Whole>) -> Result<HashMap<Key, i64>, ReplayError> {
        let mut sought: BTreeMap<Topic, HashMap<Digest, Vec<Key>>> = BTreeMap::new();
        for key in letters.keys() {
            sought.entry(key.0.topic).or_default().entry(key.2).or_default().push(*key);
        }
        let mut there = HashMap::new();
        for (topic, mut keys) in sought {
            let first = |partition: i32| {
                let of = letters.keys().filter(|(source, ..)| source.topic == topic && source.partition == partition);
                of.map(|(_, offset, _)| offset + 1).min()
            };
            through::read(&self.brokers, topic.name(), first, |message| {
                let Some(keys) = keys.get_mut(&Digest::of(&message.value)) else { return };
                let replay = |key: &Key| {
                    key.0.partition == message.partition
                        && key.1 < message.offset
                        && letters[key].taken.key == message.key
                };
                // The same bytes may have been set aside at several places; each wants a message of its own.
                if let Some(at) = keys.iter().position(replay)
                    && !letters.keys().any(|(source, offset, _)| {
                        (source.topic, source.partition, *offset) == (topic, message.partition, message.offset)
                    })
                {
                    there.insert(keys.remove(at), message.offset);
                }
            })
            .await?;
        }
        Ok(there)
    }
}

/// The dead letter that a message of the topic is, if it is one.
fn letter(value: &[u8]) -> Option<(wk_schemas::Header, DeadLetter)> {
    let record = codec::decode(unframe(value).ok()?.1).ok()?;
    match record.body {
        Body::DeadLetter(letter) => Some((record.header, letter)),
        _ => None,
    }
}

/// A letter in the making.
#[derive(Debug)]
struct Parts {
    session_id: SessionId,
    timestamp: Timestamp,
    key: Vec<u8>,
    count: i32,
    value_bytes: i64,
    values: BTreeMap<i32, Vec<u8>>,
    cause: RecordId,
}

/// A letter as it was found.
#[derive(Debug, Clone)]
struct Whole {
    session_id: SessionId,
    cause: RecordId,
    taken: Taken,
}

impl Parts {
    fn new(header: &wk_schemas::Header, letter: &DeadLetter) -> Self {
        Self {
            session_id: header.session_id.clone(),
            timestamp: header.occurred_at,
            key: letter.key.0.clone(),
            count: letter.parts,
            value_bytes: letter.value_bytes,
            values: BTreeMap::new(),
            cause: header.record_id,
        }
    }

    fn take(&mut self, letter: DeadLetter) {
        self.values.entry(letter.part).or_insert(letter.value.0);
    }

    /// The message, when all of it is there and is what was set aside.
    fn whole(self, (source, offset, digest): Key) -> Option<Whole> {
        let all = self.values.keys().copied().eq(0..self.count);
        let mut value = Vec::with_capacity(PART_BYTES.min(usize::try_from(self.value_bytes).ok()?));
        for part in self.values.values() {
            value.extend_from_slice(part);
        }
        if !all || Digest::of(&value) != digest {
            return None;
        }
        let timestamp_ms = Some(self.timestamp.0.div_euclid(1000));
        let taken = Taken { source, offset, timestamp_ms, key: self.key.into(), value: Bytes::from(value) };
        Some(Whole { session_id: self.session_id, cause: self.cause, taken })
    }
}

impl Whole {
    /// What is written down of its replay.
    fn note(
        &self,
        (source, offset, digest): Key,
        at: Option<i64>,
        now: Timestamp,
        identity: &Identity,
    ) -> (wk_schemas::Header, Body) {
        let name = format!("replayed/{source}/{offset}/{digest}");
        let mut header = dead_letter::header(
            RecordId::derived(&[self.cause], &name),
            self.session_id.clone(),
            WRITER,
            now,
            identity,
        );
        header.caused_by = vec![self.cause];
        let reason = match at {
            Some(at) => replayed::reason(source, at),
            None => format!("replayed into {source}"),
        };
        let letter = DeadLetter {
            topic: source.topic.name().into(),
            partition: source.partition,
            offset,
            key: wk_schemas::Bytes(self.taken.key.to_vec()),
            value: wk_schemas::Bytes(Vec::new()),
            part: 0,
            parts: 0,
            value_bytes: i64::try_from(self.taken.value.len()).expect("a message fits memory"),
            value_digest: digest,
            reason,
        };
        (header, letter.into())
    }
}
