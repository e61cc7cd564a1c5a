//! What a removal takes out of the lake, written down before it does.
//!
//! The files with their digests are those of the commits. A span for each chain says which seqs were there, what the first named as its
//! predecessor and what the digest of the last was: so what comes after a removed day is still tied to what came before it.

use crate::files::{Files, FilesError};
use crate::lake::{DataFile, Version};
use crate::offsets::Source;
use crate::replayed;
use crate::verify::read_each;
use bytes::Bytes;
use object_store::path::Path as ObjectPath;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use wk_schemas::{Body, Digest, Kind, Schema, Topic, codec};

/// What a removal takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Ledger {
    /// The lake's id.
    pub lake: String,
    /// The day.
    pub day: String,
    /// Every file that was ever committed for it, by path.
    pub files: Vec<Gone>,
    /// The records of each chain; one that was whole has one span.
    pub chains: Vec<Span>,
    /// Where the bytes of dead letters among the records had been found: `topic/partition@offset`.
    pub letters: Vec<String>,
    /// Where notes among the records say that a dead letter was replayed to.
    pub replayed: Vec<String>,
}

/// A file that goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Gone {
    /// Path from the lake's root.
    pub path: String,
    /// SHA-256 of its bytes, hex.
    pub sha256: String,
    /// Root over its records, hex.
    pub merkle_root: String,
    /// Its records.
    pub records: u64,
    /// The commit that brought it.
    pub version: Version,
}

impl Gone {
    pub(crate) fn of(file: &DataFile) -> Self {
        Self {
            path: file.path.clone(),
            sha256: file.sha256.to_hex(),
            merkle_root: file.merkle_root.to_hex(),
            records: file.rows,
            version: file.version,
        }
    }
}

/// A run of records of one chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Span {
    /// The topic.
    #[serde(with = "crate::offsets::topic_name")]
    pub topic: Topic,
    /// The session.
    pub session: String,
    /// The writer.
    pub writer: String,
    /// The first seq.
    pub first: i64,
    /// One past the last seq.
    pub next: i64,
    /// What the first record names as the digest of the one before it, hex.
    pub before: String,
    /// The digest of the last record, hex.
    pub last: String,
}

impl Ledger {
    /// Its bytes: JSON, the same for the same ledger.
    pub(crate) fn bytes(&self) -> Bytes {
        let mut bytes = serde_json::to_vec_pretty(self).expect("a ledger has no keys but strings");
        bytes.push(b'\n');
        bytes.into()
    }

    /// The sessions that it has records of; one may come more than once.
    pub(crate) fn sessions(&self) -> impl Iterator<Item = &str> {
        self.chains.iter().map(|span| span.session.as_str())
    }
}

/// The path of the ledger of an act.
pub(crate) fn path(act: &str) -> ObjectPath {
    ObjectPath::from(format!("retention/{act}.json"))
}

/// Reads the ledger of an act, if it is there and has the digest that the act says.
///
/// # Errors
/// [`FilesError`] when the store does not answer; in words when it is another one.
pub(crate) async fn read(files: &Files, act: &str, digest: &str) -> Result<Result<Ledger, String>, FilesError> {
    let path = path(act);
    let Some(bytes) = files.get(&path).await? else { return Ok(Err(format!("its ledger `{path}` is not there"))) };
    let found = Digest::of(&bytes).to_hex();
    if found != digest {
        return Ok(Err(format!("its ledger `{path}` has the SHA-256 {found}, {digest} was signed")));
    }
    Ok(serde_json::from_slice(&bytes).map_err(|e| format!("its ledger `{path}` is not readable: {e}")))
}

/// Gathers spans out of records in any order.
#[derive(Debug, Default)]
pub(crate) struct Spans {
    chains: BTreeMap<(Topic, String, String), BTreeMap<i64, Run>>,
    letters: Vec<String>,
    replayed: Vec<String>,
}

#[derive(Debug, Clone, Copy)]
struct Run {
    next: i64,
    before: Digest,
    last: Digest,
}

impl Spans {
    /// Takes the records of a data file.
    ///
    /// # Errors
    /// In words, when the file cannot be read.
    pub(crate) fn take(&mut self, bytes: &Bytes) -> Result<(), String> {
        read_each(bytes, |schema, source, offset, _, datum| {
            let (header, _) = schema.walk(datum).map_err(|e| format!("{source}@{offset}: {e}"))?;
            let chain = (source.topic, header.session_id.to_owned(), header.writer.to_owned());
            add(self.chains.entry(chain).or_default(), header.seq, header.prev_digest, Digest::of(datum));
            if header.kind == Kind::DeadLetter {
                self.letter(schema, datum);
            }
            Ok(())
        })
        .map(drop)
    }

    fn letter(&mut self, schema: &Schema, datum: &[u8]) {
        let known = schema.to_ours(datum).ok().flatten();
        let Some(Ok(record)) = known.map(|datum| codec::decode(&datum)) else { return };
        let Body::DeadLetter(letter) = record.body else { return };
        if letter.parts == 0 {
            self.replayed.extend(replayed::place(&letter.reason).map(|(source, offset)| format!("{source}@{offset}")));
        } else if let Some(topic) = Topic::from_name(&letter.topic) {
            let source = Source { topic, partition: letter.partition };
            self.letters.push(format!("{source}@{}", letter.offset));
        }
    }

    /// The ledger of a day, of these files.
    pub(crate) fn ledger(mut self, lake: String, day: String, mut files: Vec<Gone>) -> Ledger {
        files.sort_by(|a, b| a.path.cmp(&b.path));
        self.letters.sort_unstable();
        self.letters.dedup();
        self.replayed.sort_unstable();
        let span = |(topic, session, writer): &(Topic, String, String), first: i64, run: &Run| Span {
            topic: *topic,
            session: session.clone(),
            writer: writer.clone(),
            first,
            next: run.next,
            before: run.before.to_hex(),
            last: run.last.to_hex(),
        };
        let spans =
            self.chains.iter().flat_map(|(chain, runs)| runs.iter().map(move |(first, run)| span(chain, *first, run)));
        let chains = spans.collect();
        Ledger { lake, day, files, chains, letters: self.letters, replayed: self.replayed }
    }
}

/// Puts a record into the runs of its chain; runs that touch and fit become one.
fn add(runs: &mut BTreeMap<i64, Run>, seq: i64, prev: Digest, digest: Digest) {
    let below = runs.range(..=seq).next_back().map(|(first, run)| (*first, *run));
    if below.is_some_and(|(_, run)| seq < run.next) {
        // It was sent twice.
        return;
    }
    let (mut first, mut run) = (seq, Run { next: seq.saturating_add(1), before: prev, last: digest });
    if let Some((at, before)) = below.filter(|(_, before)| before.next == seq && before.last == prev) {
        (first, run.before) = (at, before.before);
    }
    if let Some(after) = runs.get(&run.next).copied().filter(|after| after.before == digest) {
        runs.remove(&run.next);
        (run.next, run.last) = (after.next, after.last);
    }
    runs.insert(first, run);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn digest(seq: i64) -> Digest {
        if seq < 0 { Digest::ZERO } else { Digest::of(&seq.to_be_bytes()) }
    }

    proptest! {
        #[test]
        fn a_chain_is_one_span_in_whatever_order_its_records_come(order in Just((0..40i64).collect::<Vec<_>>()).prop_shuffle(), again in 0..40i64) {
            let mut runs = BTreeMap::new();
            for seq in order.into_iter().chain([again]) {
                add(&mut runs, seq, digest(seq - 1), digest(seq));
            }
            prop_assert_eq!(runs.len(), 1);
            let run = runs[&0];
            prop_assert_eq!((run.next, run.before, run.last), (40, Digest::ZERO, digest(39)));
        }
    }

    #[test]
    fn a_record_that_is_missing_or_does_not_fit_parts_two_spans() {
        let mut runs = BTreeMap::new();
        for seq in [0, 1, 3, 4] {
            add(&mut runs, seq, digest(seq - 1), digest(seq));
        }
        add(&mut runs, 5, digest(77), digest(5));
        let firsts: Vec<(i64, i64)> = runs.iter().map(|(first, run)| (*first, run.next)).collect();
        assert_eq!(firsts, [(0, 2), (3, 5), (5, 6)]);
    }
}
