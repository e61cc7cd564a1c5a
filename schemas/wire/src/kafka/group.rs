//! Reads as a member of a group: partitions are shared out among the members and handed over when one leaves.
//!
//! The offsets that a member commits are where the next owner goes on, and what lag displays show. Where the truth about
//! progress is elsewhere (the lake), the caller compares and skips what it already has: a hand-over may deliver messages
//! again, and never leaves one out.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use super::brokers::{Brokers, BrokersError};
use super::cluster::{Cluster, listen, read_failed};
use super::context::Traced;
use super::copies::Copies;
use super::producer::blocking;
use super::reader::{AssignError, consumer_config};
use crate::log::{Message, ReadError};

const COMMIT_WAIT: Duration = Duration::from_secs(10);

/// What a member of a group meets, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupEvent {
    /// These partitions are now this member's: each with the offset at which it goes on.
    Assigned(Vec<(String, i32)>),
    /// These are no longer: what was read of them and not committed comes to their next owner.
    Revoked(Vec<(String, i32)>),
    /// A message of a partition that is this member's.
    Message(Message),
}

/// How far a group is behind in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lag {
    /// The partition.
    pub partition: i32,
    /// The offset that the group has committed, if any.
    pub committed: Option<i64>,
    /// The offset of the next message to come.
    pub high: i64,
}

/// Reads topics as a member of a group.
pub struct GroupReader {
    consumer: Arc<StreamConsumer<Member>>,
    changes: Changes,
    traced: Traced,
    brokers: Brokers,
    copies: Copies,
}

type Changes = Arc<Mutex<VecDeque<GroupEvent>>>;

impl std::fmt::Debug for GroupReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupReader").field("brokers", &self.brokers).finish_non_exhaustive()
    }
}

/// Writes each change of the assignment down, in the order in which it happens between messages.
struct Member {
    changes: Changes,
    traced: Traced,
}

impl ClientContext for Member {
    fn log(&self, level: rdkafka::config::RDKafkaLogLevel, facility: &str, message: &str) {
        self.traced.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.traced.error(error, reason);
    }
}

impl ConsumerContext for Member {
    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let change = match rebalance {
            Rebalance::Assign(partitions) => GroupEvent::Assigned(names(partitions)),
            Rebalance::Revoke(partitions) => GroupEvent::Revoked(names(partitions)),
            Rebalance::Error(error) => {
                tracing::warn!(%error, "rebalance failed; the group tries again");
                return;
            }
        };
        lock(&self.changes).push_back(change);
    }
}

impl GroupReader {
    /// Joins `group` and reads `topics`. A partition nobody has committed for is read from its beginning.
    ///
    /// # Errors
    /// [`ReadError::UnknownTopic`], [`ReadError::Unreachable`]; [`BrokersError`] when the configuration is wrong.
    pub async fn subscribe(brokers: &Brokers, group: &str, topics: &[&str]) -> Result<Self, AssignError> {
        let cluster = Cluster::connect(brokers)?;
        for topic in topics {
            cluster.partitions(topic).await?;
        }
        let changes = Changes::default();
        let mut config = consumer_config(brokers)?;
        config
            .set("group.id", group)
            // Only for a partition without a committed offset: from the beginning leaves nothing out.
            .set("auto.offset.reset", "earliest")
            .set("session.timeout.ms", "10000")
            .set("heartbeat.interval.ms", "1000")
            .set("partition.assignment.strategy", "range");
        let traced = Traced::default();
        let member = Member { changes: Arc::clone(&changes), traced: traced.clone() };
        let consumer: StreamConsumer<Member> =
            config.create_with_context(member).map_err(|source| brokers.refused(source))?;
        consumer.subscribe(topics).map_err(|source| brokers.refused(source))?;
        Ok(Self { consumer: Arc::new(consumer), changes, traced, brokers: brokers.clone(), copies: Copies::default() })
    }

    /// Waits for the next change of the assignment or the next message. Cancel safe.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn next(&mut self) -> Result<GroupEvent, ReadError> {
        // A change wakes no `recv`, so while nothing is to be read the changes are looked at this often.
        const LOOK: Duration = Duration::from_millis(100);
        loop {
            if let Some(change) = lock(&self.changes).pop_front() {
                return Ok(change);
            }
            match tokio::time::timeout(LOOK, self.consumer.recv()).await {
                Err(_) => {}
                Ok(Ok(message)) => {
                    let message = GroupEvent::Message(self.copies.take(&message));
                    // The change came before the message, so it is told before it.
                    let mut changes = lock(&self.changes);
                    let Some(change) = changes.pop_front() else {
                        return Ok(message);
                    };
                    changes.push_back(message);
                    return Ok(change);
                }
                Ok(Err(source)) => return Err(read_failed(&self.brokers, &self.traced, source)),
            }
        }
    }

    /// Commits, for each `(topic, partition)`, the offset at which the next owner goes on.
    ///
    /// # Errors
    /// [`ReadError::Unreachable`] also when a partition has been handed over meanwhile; nothing is lost by it.
    pub async fn commit(&self, offsets: &[(&str, i32, i64)]) -> Result<(), ReadError> {
        let mut list = TopicPartitionList::with_capacity(offsets.len());
        for &(topic, partition, offset) in offsets {
            list.add_partition_offset(topic, partition, Offset::Offset(offset))
                .map_err(|source| read_failed(&self.brokers, &self.traced, source))?;
        }
        let consumer = Arc::clone(&self.consumer);
        blocking(move || consumer.commit(&list, CommitMode::Sync))
            .await
            .map_err(|source| read_failed(&self.brokers, &self.traced, source))
    }

    /// Leaves the group, so that its partitions are handed over at once and not after a time-out.
    pub async fn leave(self) {
        let consumer = self.consumer;
        blocking(move || drop(consumer)).await;
    }
}

impl Lag {
    /// Commits offsets for a group of which nobody is a member, so that lag displays show the progress of a reader that
    /// keeps its offsets elsewhere.
    ///
    /// # Errors
    /// As [`Lag::of`].
    pub async fn publish(brokers: &Brokers, group: &str, offsets: &[(&str, i32, i64)]) -> Result<(), AssignError> {
        let (consumer, traced) = observer(brokers, group)?;
        let mut list = TopicPartitionList::with_capacity(offsets.len());
        for &(topic, partition, offset) in offsets {
            list.add_partition_offset(topic, partition, Offset::Offset(offset))
                .map_err(|source| brokers.refused(source))?;
        }
        let committed = blocking(move || {
            let committed = consumer.commit(&list, CommitMode::Sync);
            listen(&consumer);
            committed
        });
        committed.await.map_err(|source| read_failed(brokers, &traced, source).into())
    }

    /// How far `group` is behind in each partition of `topic`.
    ///
    /// # Errors
    /// [`ReadError::UnknownTopic`], [`ReadError::Unreachable`]; [`BrokersError`] when the configuration is wrong.
    pub async fn of(brokers: &Brokers, group: &str, topic: &str) -> Result<Vec<Self>, AssignError> {
        let cluster = Cluster::connect(brokers)?;
        let mut question = TopicPartitionList::new();
        for partition in cluster.partitions(topic).await? {
            question.add_partition(topic, partition);
        }
        let (consumer, traced) = observer(brokers, group)?;
        let committed = blocking(move || consumer.committed_offsets(question, COMMIT_WAIT))
            .await
            .map_err(|source| read_failed(brokers, &traced, source))?;
        let offset = |offset| match offset {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        };
        let committed: Vec<_> = committed.elements().iter().map(|e| (e.partition(), offset(e.offset()))).collect();
        let mut lags = Vec::with_capacity(committed.len());
        for (partition, committed) in committed {
            let high = cluster.watermarks(topic, partition).await?.high;
            lags.push(Self { partition, committed, high });
        }
        Ok(lags)
    }
}

fn observer(brokers: &Brokers, group: &str) -> Result<(BaseConsumer<Traced>, Traced), BrokersError> {
    let traced = Traced::default();
    let consumer = consumer_config(brokers)?
        .set("group.id", group)
        .create_with_context(traced.clone())
        .map_err(|source| brokers.refused(source))?;
    Ok((consumer, traced))
}

fn names(partitions: &TopicPartitionList) -> Vec<(String, i32)> {
    let elements = partitions.elements();
    let named = elements.iter().map(|e| (e.topic().to_owned(), e.partition()));
    named.collect()
}

fn lock(changes: &Changes) -> std::sync::MutexGuard<'_, VecDeque<GroupEvent>> {
    changes.lock().unwrap_or_else(PoisonError::into_inner)
}
