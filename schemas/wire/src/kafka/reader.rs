//! Reads chosen partitions from chosen offsets, without a group.

use std::collections::VecDeque;
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _};
use rdkafka::consumer::{Consumer as _, ConsumerContext, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::brokers::{Brokers, BrokersError};
use super::cluster::{Cluster, read_failed};
use super::context::Traced;
use super::copies::Copies;
use crate::log::{Message, Read, ReadError};

/// Reads partitions from given offsets. The offsets are the caller's: nothing is committed, and a position that the log
/// does not hold is an error, never a jump to another one.
pub struct Reader {
    consumer: StreamConsumer<Traced>,
    traced: Traced,
    cluster: Cluster,
    brokers: Brokers,
    /// Taken from the consumer and not yet handed out.
    ready: VecDeque<Message>,
    copies: Copies,
    /// Found while taking a batch; told once the messages before it are handed out.
    failure: Option<KafkaError>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader")
            .field("brokers", &self.brokers)
            .field("ready", &self.ready.len())
            .finish_non_exhaustive()
    }
}

/// Why a reader could not start.
#[derive(Debug, thiserror::Error)]
pub enum AssignError {
    /// The configuration is wrong.
    #[error(transparent)]
    Brokers(#[from] BrokersError),
    /// The log does not have what was asked for, or is not there.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl Reader {
    /// Reads each `(topic, partition, start offset)` from its offset on.
    ///
    /// Every start offset is checked against what the log holds: a broker may answer a position beyond its end with
    /// silence, and then skip what comes to lie below it.
    ///
    /// # Errors
    /// [`ReadError::OutOfRange`], [`ReadError::UnknownTopic`], [`ReadError::UnknownPartition`],
    /// [`ReadError::Unreachable`]; [`BrokersError`] when the configuration is wrong.
    pub async fn assign(brokers: &Brokers, starts: &[(&str, i32, i64)]) -> Result<Self, AssignError> {
        Self::assign_with(brokers, starts, consumer_config(brokers)?).await
    }

    /// As [`Reader::assign`], for one of few readers that reads many partitions as fast as it can.
    ///
    /// A partition that has filled the client's queue is left out of the next fetch, and a broker that has nothing in the others holds that
    /// fetch back; meanwhile the queue runs empty. Here it is held back for a tenth of the time, and asked for ten times as often when there is nothing.
    ///
    /// # Errors
    /// As [`Reader::assign`].
    pub async fn assign_eager(brokers: &Brokers, starts: &[(&str, i32, i64)]) -> Result<Self, AssignError> {
        let mut config = consumer_config(brokers)?;
        config.set("fetch.wait.max.ms", "10");
        Self::assign_with(brokers, starts, config).await
    }

    async fn assign_with(
        brokers: &Brokers,
        starts: &[(&str, i32, i64)],
        config: ClientConfig,
    ) -> Result<Self, AssignError> {
        let cluster = Cluster::connect(brokers)?;
        let mut assignment = TopicPartitionList::with_capacity(starts.len());
        for &(topic, partition, offset) in starts {
            let holds = cluster.watermarks(topic, partition).await?;
            if offset < holds.low || offset > holds.high {
                return Err(out_of_range(topic, partition, offset, holds).into());
            }
            assignment
                .add_partition_offset(topic, partition, Offset::Offset(offset))
                .map_err(|source| brokers.refused(source))?;
        }
        let traced = Traced::default();
        let consumer: StreamConsumer<Traced> =
            config.create_with_context(traced.clone()).map_err(|source| brokers.refused(source))?;
        consumer.assign(&assignment).map_err(|source| brokers.refused(source))?;
        Ok(Self {
            consumer,
            traced,
            cluster,
            brokers: brokers.clone(),
            ready: VecDeque::new(),
            copies: Copies::default(),
            failure: None,
        })
    }

    /// For questions to the same cluster.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    async fn explain(&self, source: KafkaError) -> ReadError {
        let lost = matches!(
            source.rdkafka_error_code(),
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange)
        );
        if lost && let Some(error) = self.find_lost_position().await {
            return error;
        }
        read_failed(&self.brokers, &self.traced, source)
    }

    /// The error of librdkafka names no partition, so this looks which position the log no longer holds.
    async fn find_lost_position(&self) -> Option<ReadError> {
        for (topic, partition, offset) in self.positions().ok()? {
            match self.cluster.watermarks(&topic, partition).await {
                Ok(holds) if offset < holds.low || offset > holds.high => {
                    return Some(out_of_range(&topic, partition, offset, holds));
                }
                Ok(_) => {}
                Err(error) => return Some(error),
            }
        }
        None
    }

    /// Where each partition goes on: behind the last message read, or at the start if none was.
    fn positions(&self) -> Result<Vec<(String, i32, i64)>, KafkaError> {
        let read = self.consumer.position()?;
        let mut positions = Vec::new();
        for start in self.consumer.assignment()?.elements() {
            let (topic, partition) = (start.topic(), start.partition());
            let read = read.find_partition(topic, partition).map(|read| read.offset());
            match (read, start.offset()) {
                (Some(Offset::Offset(offset)), _) | (_, Offset::Offset(offset)) => {
                    positions.push((topic.to_owned(), partition, offset));
                }
                _ => {}
            }
        }
        Ok(positions)
    }
}

impl Read for Reader {
    async fn next(&mut self) -> Result<Message, ReadError> {
        if let Some(message) = self.ready.pop_front() {
            return Ok(message);
        }
        if let Some(source) = self.failure.take() {
            return Err(self.explain(source).await);
        }
        match self.consumer.recv().await {
            Ok(message) => Ok(self.copies.take(&message)),
            Err(source) => Err(self.explain(source).await),
        }
    }

    async fn next_batch(&mut self, max: usize, wait: Duration) -> Result<Vec<Message>, ReadError> {
        if self.ready.is_empty() {
            if let Some(source) = self.failure.take() {
                return Err(self.explain(source).await);
            }
            match tokio::time::timeout(wait, self.consumer.recv()).await {
                Err(_) => return Ok(Vec::new()),
                Ok(Err(source)) => return Err(self.explain(source).await),
                Ok(Ok(message)) => self.ready.push_back(self.copies.take(&message)),
            }
        }
        self.failure = drain(&self.consumer, max, &mut self.copies, &mut self.ready);
        let count = self.ready.len().min(max);
        Ok(self.ready.drain(..count).collect())
    }
}

/// Takes what librdkafka has already fetched, without waiting, until `ready` holds `max`.
pub(super) fn drain<C: ConsumerContext + 'static>(
    consumer: &StreamConsumer<C>,
    max: usize,
    copies: &mut Copies,
    ready: &mut VecDeque<Message>,
) -> Option<KafkaError> {
    // One stream for all: each takes its place among those who are woken.
    let mut messages = consumer.stream();
    while ready.len() < max {
        match messages.next().now_or_never().flatten() {
            None => break,
            Some(Ok(message)) => ready.push_back(copies.take(&message)),
            Some(Err(source)) => return Some(source),
        }
    }
    None
}

/// The settings of every consumer: quick when little comes, large batches when much does.
pub(super) fn consumer_config(brokers: &Brokers) -> Result<ClientConfig, BrokersError> {
    let mut config = brokers.client_config()?;
    config
        // Required by the client library; no group is joined and nothing is committed by an assigned reader.
        .set("group.id", &brokers.client_id)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // A lost position is an error. Any other value skips records or reads them again, in silence.
        .set("auto.offset.reset", "error")
        .set("enable.partition.eof", "false")
        // The broker answers as soon as there is a byte; the wait only says how often an idle connection is used.
        .set("fetch.min.bytes", "1")
        .set("fetch.wait.max.ms", "100")
        .set("fetch.error.backoff.ms", "20")
        // Full queues are looked at again after this; the default of a second would stop a fast reader for as long.
        .set("fetch.queue.backoff.ms", "2")
        // What is fetched ahead lies in memory. The bound is looked at before a fetch, whose bytes are compressed: a shim's records
        // unpack to eight times as many, and each has some 256 bytes of the client library's beside it.
        .set("queued.min.messages", "50000")
        .set("queued.max.messages.kbytes", "8192")
        .set("fetch.message.max.bytes", "1048576")
        .set("check.crcs", "true");
    Ok(config)
}

fn out_of_range(topic: &str, partition: i32, offset: i64, holds: super::cluster::Watermarks) -> ReadError {
    ReadError::OutOfRange { topic: topic.to_owned(), partition, offset, low: holds.low, high: holds.high }
}
