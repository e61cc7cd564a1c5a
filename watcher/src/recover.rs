//! What the watcher had written before it was stopped: read from the output topics, from the last checkpoint to their end.
//!
//! State lags behind the log. What is found here is not written again, and the chains go on from here.

use crate::output::WRITER;
use crate::run::WatchError;
use crate::state::Offsets;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use wk_schemas::{Chain, RecordId, SessionId, Topic, codec};
use wk_wire::kafka::{Cluster, Reader};
use wk_wire::{Brokers, Read as _, unframe};

/// Topics that the watcher writes to.
pub const OUTPUTS: [Topic; 3] = [Topic::Findings, Topic::Commands, Topic::DeadLetters];

/// Silence of this length on a topic that should hold more means that the brokers are away.
const WAIT: Duration = Duration::from_secs(10);

/// What was found.
#[derive(Debug, Default)]
pub struct Written {
    /// Ids of records of ours.
    pub ids: BTreeSet<RecordId>,
    /// Ends of our chains, where something was found.
    pub chains: BTreeMap<(Topic, SessionId), Chain>,
    /// Where each partition ended.
    pub ends: Offsets,
}

/// Reads the output topics from `from` (where nothing is said, from their beginning) to their end as it is now.
///
/// # Errors
/// [`WatchError`] when the log cannot be read.
pub async fn read(brokers: &Brokers, cluster: &Cluster, from: &Offsets) -> Result<Written, WatchError> {
    let mut written = Written::default();
    let mut starts = Vec::new();
    for topic in OUTPUTS {
        for partition in cluster.partitions(topic.name()).await? {
            let holds = cluster.watermarks(topic.name(), partition).await?;
            let start = from.get(&(topic, partition)).copied().unwrap_or(holds.low).max(holds.low);
            written.ends.insert((topic, partition), holds.high);
            if start < holds.high {
                starts.push((topic, partition, start));
            }
        }
    }
    if starts.is_empty() {
        return Ok(written);
    }
    let mut left: BTreeSet<(Topic, i32)> = starts.iter().map(|(t, p, _)| (*t, *p)).collect();
    let named: Vec<(&str, i32, i64)> = starts.iter().map(|(t, p, o)| (t.name(), *p, *o)).collect();
    let mut reader = Reader::assign(brokers, &named).await?;
    while !left.is_empty() {
        let batch = reader.next_batch(1000, WAIT).await?;
        if batch.is_empty() {
            // A partition may end in markers that are no messages; its end is then never met.
            let mut ended = BTreeSet::new();
            for (topic, partition) in &left {
                let holds = cluster.watermarks(topic.name(), *partition).await?;
                if written.ends.get(&(*topic, *partition)).is_none_or(|end| holds.high >= *end) {
                    ended.insert((*topic, *partition));
                }
            }
            tracing::debug!(partitions = ended.len(), "output partitions end in what is no message");
            left.retain(|place| !ended.contains(place));
            continue;
        }
        for message in batch {
            let Some(topic) = Topic::from_name(&message.topic) else { continue };
            let place = (topic, message.partition);
            let end = written.ends.get(&place).copied().unwrap_or(0);
            if message.offset < end {
                note(&mut written, topic, &message.value);
            }
            if message.offset + 1 >= end {
                left.remove(&place);
            }
        }
    }
    Ok(written)
}

fn note(written: &mut Written, topic: Topic, value: &[u8]) {
    let Ok((_, datum)) = unframe(value) else { return };
    let Ok(view) = codec::walk(datum) else { return };
    if view.writer != WRITER {
        return;
    }
    let (Ok(id), Ok(session)) = (RecordId::parse(view.record_id), SessionId::parse(view.session_id)) else { return };
    written.ids.insert(id);
    written.chains.insert((topic, session), Chain::after(view.seq, datum));
}

/// Keeps the kind of error that a reader may start with.
impl From<wk_wire::kafka::AssignError> for WatchError {
    fn from(error: wk_wire::kafka::AssignError) -> Self {
        match error {
            wk_wire::kafka::AssignError::Brokers(error) => Self::Brokers(error),
            wk_wire::kafka::AssignError::Read(error) => error.into(),
        }
    }
}
