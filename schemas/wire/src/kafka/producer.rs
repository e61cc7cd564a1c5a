//! Appends to the log: idempotent, acknowledged by every in-sync replica, in order.

use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::future_producer::DeliveryFuture;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};

use super::brokers::{Brokers, BrokersError};
use super::context::Traced;
use crate::log::{Append, AppendError, Position};

/// The most that key and value of a message may have together. librdkafka counts the frame of the message as well and
/// stops at 1,000,000 bytes, below the 1,048,588 of a broker whose settings nobody touched.
pub(crate) const MESSAGE_BYTES_MAX: usize = 999_000;

/// How long one look at the topics may take.
const METADATA_WAIT: Duration = Duration::from_secs(10);

/// How long to wait for room in the buffer before looking again. librdkafka gives no sign when there is some.
const BUFFER_FULL_WAIT: Duration = Duration::from_millis(2);

/// Appends to the log. Cheap to clone; clones share one buffer and one order.
///
/// No message overtakes another: after one whose fate is unknown every later one fails with [`AppendError::InDoubt`], and
/// the caller goes on with a new producer from the first message that was not acknowledged.
#[derive(Clone)]
pub struct Producer {
    client: FutureProducer<Traced>,
    traced: Traced,
    brokers: Arc<Brokers>,
    known_topics: Arc<Mutex<HashSet<String>>>,
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer").field("brokers", &self.brokers).finish_non_exhaustive()
    }
}

impl Producer {
    /// Makes a producer. It connects by itself, now and whenever the connection is lost; nothing is awaited here.
    ///
    /// # Errors
    /// [`BrokersError`] when the configuration is wrong.
    pub fn connect(brokers: &Brokers) -> Result<Self, BrokersError> {
        let mut config = brokers.client_config()?;
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            // A message that failed may not be overtaken by the one behind it: the order is the evidence.
            .set("enable.gapless.guarantee", "true")
            // 0 is for ever.
            .set("message.timeout.ms", brokers.delivery_timeout_ms.unwrap_or(0).to_string())
            .set("message.max.bytes", "1000000")
            // One millisecond gathers what a busy writer submits, and costs a lone message as much: see README.md.
            .set("linger.ms", "1")
            .set("queue.buffering.max.messages", "100000")
            .set("queue.buffering.max.kbytes", "131072")
            .set("compression.type", "lz4")
            .set("retry.backoff.ms", "20")
            .set("retry.backoff.max.ms", "500")
            // The same hash of the key as every other client, so that a session's messages stay together.
            .set("partitioner", "murmur2_random");
        let traced = Traced::default();
        let client = config.create_with_context(traced.clone()).map_err(|source| brokers.refused(source))?;
        Ok(Self { client, traced, brokers: Arc::new(brokers.clone()), known_topics: Arc::default() })
    }

    /// Waits until everything submitted so far is acknowledged or has failed, at most `limit`.
    ///
    /// # Errors
    /// [`AppendError::Unreachable`] when something is still on its way; it stays in the buffer.
    pub async fn flush(&self, limit: Duration) -> Result<(), AppendError> {
        let client = self.client.clone();
        let flushed = blocking(move || client.flush(limit)).await;
        flushed.map_err(|source| self.unreachable(source))
    }

    /// Messages handed over and not yet acknowledged.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        usize::try_from(self.client.in_flight_count()).unwrap_or(0)
    }

    /// Without this, librdkafka keeps a message for an unknown topic for half a minute and then says so.
    async fn check_topic(&self, topic: &str) -> Result<(), AppendError> {
        if self.known().contains(topic) {
            return Ok(());
        }
        let (client, name) = (self.client.clone(), topic.to_owned());
        let metadata = blocking(move || client.client().fetch_metadata(Some(&name), METADATA_WAIT)).await;
        let metadata = metadata.map_err(|source| {
            if self.traced.is_refused() {
                return AppendError::Refused { topic: topic.to_owned(), source: self.traced.explain(source) };
            }
            self.unreachable(source)
        })?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        match found.map(|found| (found.error(), found.partitions().len())) {
            Some((None, partitions)) if partitions > 0 => {
                self.known().insert(topic.to_owned());
                Ok(())
            }
            Some((Some(error), _)) if !is_unknown_topic(error.into()) => {
                let source = KafkaError::MetadataFetch(error.into()).into();
                Err(AppendError::Refused { topic: topic.to_owned(), source })
            }
            _ => Err(AppendError::UnknownTopic { topic: topic.to_owned(), brokers: self.brokers.bootstrap.clone() }),
        }
    }

    fn unreachable(&self, source: KafkaError) -> AppendError {
        AppendError::Unreachable { brokers: self.brokers.bootstrap.clone(), source: self.traced.explain(source) }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.known_topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Append for Producer {
    type Delivery = Delivery;

    async fn append(&self, topic: &str, key: &[u8], value: &[u8]) -> Result<Position, AppendError> {
        self.submit(topic, key, value).await?.await
    }

    async fn submit(&self, topic: &str, key: &[u8], value: &[u8]) -> Result<Self::Delivery, AppendError> {
        let bytes = key.len() + value.len();
        if bytes > MESSAGE_BYTES_MAX {
            return Err(AppendError::TooBig { topic: topic.to_owned(), bytes, limit: MESSAGE_BYTES_MAX });
        }
        self.check_topic(topic).await?;
        loop {
            let record = FutureRecord::to(topic).key(key).payload(value);
            match self.client.send_result(record) {
                Ok(sent) => {
                    let topic = topic.to_owned();
                    return Ok(Delivery { topic, sent });
                }
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    tokio::time::sleep(BUFFER_FULL_WAIT).await;
                }
                Err((source, _)) => return Err(failed(topic.to_owned(), source)),
            }
        }
    }
}

/// A message on its way; dropping this changes nothing about it.
pub struct Delivery {
    topic: String,
    sent: DeliveryFuture,
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl Future for Delivery {
    type Output = Result<Position, AppendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(Pin::new(&mut self.sent).poll(context));
        let topic = std::mem::take(&mut self.topic);
        Poll::Ready(match answer {
            Ok(Ok(delivered)) => Ok(Position {
                partition: delivered.partition,
                offset: Some(delivered.offset).filter(|offset| *offset >= 0),
            }),
            Ok(Err((source, _))) => Err(failed(topic, source)),
            // The producer was dropped with the message still in its buffer.
            Err(_) => Err(AppendError::InDoubt { topic, source: KafkaError::Canceled.into() }),
        })
    }
}

fn failed(topic: String, source: KafkaError) -> AppendError {
    match source.rdkafka_error_code() {
        Some(
            RDKafkaErrorCode::MessageSizeTooLarge
            | RDKafkaErrorCode::InvalidMessage
            | RDKafkaErrorCode::InvalidRecord
            | RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed
            | RDKafkaErrorCode::InvalidArgument,
        ) => AppendError::Refused { topic, source: source.into() },
        _ => AppendError::InDoubt { topic, source: source.into() },
    }
}

pub(super) fn is_unknown_topic(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::InvalidTopic
    )
}

/// Runs a call of librdkafka that blocks its thread. Such calls end by their own timeout.
pub(super) async fn blocking<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(call).await {
        Ok(answer) => answer,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Blocking tasks are never cancelled but by the end of the runtime, which ends us as well.
            Err(_) => std::future::pending().await,
        },
    }
}
