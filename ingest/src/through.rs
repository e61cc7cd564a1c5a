//! Reads a topic through: everything that it holds at this moment, from given offsets on, and then no further.

use std::collections::HashMap;
use std::time::Duration;
use wk_wire::kafka::{AssignError, BrokersError, Cluster, Reader};
use wk_wire::{Brokers, Message, Read as _, ReadError};

/// Silence of this length on a topic that should hold more means that the brokers are away.
pub(crate) const WAIT: Duration = Duration::from_secs(10);

/// A topic could not be read through.
#[derive(Debug, thiserror::Error)]
pub enum ThroughError {
    /// It could not be read.
    #[error("failed to read the topic {topic}")]
    Read {
        /// The topic.
        topic: String,
        /// Why.
        #[source]
        source: Box<ReadError>,
    },
    /// The configuration is wrong.
    #[error(transparent)]
    Brokers(#[from] BrokersError),
    /// The brokers do not hand out what they said they hold.
    #[error("what the topic {topic} holds was not delivered within {} seconds", WAIT.as_secs())]
    Silence {
        /// The topic.
        topic: String,
    },
}

/// Hands every message of a topic to `take`, each partition in order, from the offset that `from` gives for it; `None` leaves it out.
///
/// # Errors
/// [`ThroughError`].
pub(crate) async fn read(
    brokers: &Brokers,
    topic: &str,
    from: impl Fn(i32) -> Option<i64>,
    mut take: impl FnMut(Message),
) -> Result<(), ThroughError> {
    let failed = |source: ReadError| ThroughError::Read { topic: topic.to_owned(), source: source.into() };
    let cluster = Cluster::connect(brokers)?;
    let (mut starts, mut missing) = (Vec::new(), HashMap::new());
    for partition in cluster.partitions(topic).await.map_err(failed)? {
        let Some(from) = from(partition) else { continue };
        let holds = cluster.watermarks(topic, partition).await.map_err(failed)?;
        let start = from.max(holds.low);
        if start < holds.high {
            starts.push((topic, partition, start));
            missing.insert(partition, holds.high);
        }
    }
    if starts.is_empty() {
        return Ok(());
    }
    let mut reader = Reader::assign(brokers, &starts).await.map_err(|error| match error {
        AssignError::Brokers(error) => error.into(),
        AssignError::Read(error) => failed(error),
    })?;
    while !missing.is_empty() {
        let messages = reader.next_batch(1000, WAIT).await.map_err(failed)?;
        if messages.is_empty() {
            return Err(ThroughError::Silence { topic: topic.to_owned() });
        }
        for message in messages {
            if missing.get(&message.partition).is_some_and(|high| message.offset + 1 >= *high) {
                missing.remove(&message.partition);
            }
            take(message);
        }
    }
    Ok(())
}
