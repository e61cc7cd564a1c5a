//! Questions to the cluster that are not reading: partitions, watermarks, offsets for a time.
//!
//! librdkafka answers them by blocking a thread, so each runs on the pool for that.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};

use super::brokers::{Brokers, BrokersError};
use super::context::Traced;
use super::producer::{blocking, is_unknown_topic};
use crate::log::ReadError;

const WAIT: Duration = Duration::from_secs(10);

/// What a partition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermarks {
    /// The first offset that the log holds.
    pub low: i64,
    /// The offset of the next message to come.
    pub high: i64,
}

/// Asks the cluster. Cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    client: Arc<BaseConsumer<Traced>>,
    traced: Traced,
    brokers: Arc<Brokers>,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("brokers", &self.brokers).finish_non_exhaustive()
    }
}

impl Cluster {
    /// Makes a client for questions. It connects by itself.
    ///
    /// # Errors
    /// [`BrokersError`] when the configuration is wrong.
    pub fn connect(brokers: &Brokers) -> Result<Self, BrokersError> {
        let traced = Traced::default();
        let client = brokers
            .client_config()?
            .set("enable.auto.commit", "false")
            .create_with_context(traced.clone())
            .map_err(|source| brokers.refused(source))?;
        Ok(Self { client: Arc::new(client), traced, brokers: Arc::new(brokers.clone()) })
    }

    /// The partitions of a topic, in order.
    ///
    /// # Errors
    /// [`ReadError::UnknownTopic`], [`ReadError::Unreachable`].
    pub async fn partitions(&self, topic: &str) -> Result<Vec<i32>, ReadError> {
        let partitions = self.replicas(topic).await?;
        Ok(partitions.into_iter().map(|(id, _)| id).collect())
    }

    /// How many partitions the topic has, and on how many brokers the least replicated of them is.
    pub(crate) async fn layout(&self, topic: &str) -> Result<(usize, usize), ReadError> {
        let partitions = self.replicas(topic).await?;
        let replication = partitions.iter().map(|&(_, replicas)| replicas).min();
        Ok((partitions.len(), replication.unwrap_or(0)))
    }

    /// Each partition with the number of its replicas, in order.
    async fn replicas(&self, topic: &str) -> Result<Vec<(i32, usize)>, ReadError> {
        let (client, name) = (self.client.clone(), topic.to_owned());
        let asked = blocking(move || {
            let answer = client.fetch_metadata(Some(&name), WAIT);
            listen(&client);
            answer
        });
        let metadata = asked.await.map_err(|source| self.failed(topic, source))?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        let Some(found) = found else {
            return Err(self.unknown(topic));
        };
        if let Some(error) = found.error() {
            return Err(self.failed(topic, KafkaError::MetadataFetch(error.into())));
        }
        let mut partitions: Vec<(i32, usize)> =
            found.partitions().iter().map(|partition| (partition.id(), partition.replicas().len())).collect();
        if partitions.is_empty() {
            return Err(self.unknown(topic));
        }
        partitions.sort_unstable();
        Ok(partitions)
    }

    /// What a partition holds now.
    ///
    /// # Errors
    /// [`ReadError::UnknownTopic`], [`ReadError::UnknownPartition`], [`ReadError::Unreachable`].
    pub async fn watermarks(&self, topic: &str, partition: i32) -> Result<Watermarks, ReadError> {
        self.check_partition(topic, partition).await?;
        let (client, name) = (self.client.clone(), topic.to_owned());
        let (low, high) = blocking(move || client.fetch_watermarks(&name, partition, WAIT))
            .await
            .map_err(|source| self.failed(topic, source))?;
        Ok(Watermarks { low, high })
    }

    /// For each partition of the topic, the first offset whose message the log took at `timestamp_ms` or later, and where
    /// there is none yet the offset of the next message to come.
    ///
    /// # Errors
    /// As [`Cluster::partitions`].
    pub async fn offsets_for_time(&self, topic: &str, timestamp_ms: i64) -> Result<Vec<(i32, i64)>, ReadError> {
        let mut question = TopicPartitionList::new();
        for partition in self.partitions(topic).await? {
            question
                .add_partition_offset(topic, partition, Offset::Offset(timestamp_ms))
                .map_err(|source| self.failed(topic, source))?;
        }
        let client = self.client.clone();
        let answer = blocking(move || client.offsets_for_times(question, WAIT))
            .await
            .map_err(|source| self.failed(topic, source))?;
        let mut found = Vec::with_capacity(answer.count());
        for element in answer.elements() {
            element.error().map_err(|source| self.failed(topic, source))?;
            found.push((element.partition(), element.offset()));
        }
        let mut offsets = Vec::with_capacity(found.len());
        for (partition, offset) in found {
            let offset = match offset {
                Offset::Offset(offset) => offset,
                _ => self.watermarks(topic, partition).await?.high,
            };
            offsets.push((partition, offset));
        }
        offsets.sort_unstable();
        Ok(offsets)
    }

    /// A partition that does not exist would make librdkafka ask until its time is up.
    pub(super) async fn check_partition(&self, topic: &str, partition: i32) -> Result<(), ReadError> {
        let partitions = self.partitions(topic).await?;
        if partitions.contains(&partition) {
            return Ok(());
        }
        Err(ReadError::UnknownPartition { topic: topic.to_owned(), partition, count: partitions.len() })
    }

    fn unknown(&self, topic: &str) -> ReadError {
        ReadError::UnknownTopic { topic: topic.to_owned(), brokers: self.brokers.bootstrap.clone() }
    }

    fn failed(&self, topic: &str, source: KafkaError) -> ReadError {
        if source.rdkafka_error_code().is_some_and(is_unknown_topic) {
            return self.unknown(topic);
        }
        read_failed(&self.brokers, &self.traced, source)
    }
}

/// Lets a client that reads nothing tell what it has to say: lost connections, and why. It blocks for a moment.
pub(super) fn listen(client: &BaseConsumer<Traced>) {
    const MOMENT: Duration = Duration::from_millis(5);
    const REPORTS_MAX: u32 = 100;
    for _ in 0..REPORTS_MAX {
        // Errors come as messages; what is written to the log is taken on the way.
        if client.poll(MOMENT).is_none() {
            return;
        }
    }
}

/// Tells an outage, which ends by itself, from a refusal, which does not.
pub(super) fn read_failed(brokers: &Brokers, traced: &Traced, source: KafkaError) -> ReadError {
    use rdkafka::error::RDKafkaErrorCode as Code;
    let refused = matches!(
        source.rdkafka_error_code(),
        Some(
            Code::TopicAuthorizationFailed
                | Code::GroupAuthorizationFailed
                | Code::ClusterAuthorizationFailed
                | Code::Authentication
                | Code::SaslAuthenticationFailed
                | Code::SSL
                | Code::Fatal
                | Code::InvalidArgument
                | Code::UnsupportedFeature
                | Code::InvalidGroupId
                | Code::FencedInstanceId
        )
    );
    let (brokers, source) = (brokers.bootstrap.clone(), traced.explain(source));
    if refused || traced.is_refused() {
        ReadError::Refused { brokers, source }
    } else {
        ReadError::Unreachable { brokers, source }
    }
}
