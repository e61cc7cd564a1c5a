//! What happens to a request before and after nisshi's own services answer it.
//!
//! - **Produce**: answered once the write-ahead log is synced; then readers that wait are woken.
//! - **Fetch**: nisshi looks, sleeps half of the client's patience, looks again. Here a fetch that is at the end of all its
//!   partitions waits for an append instead, and the storage is asked only when there is something, or when the patience
//!   is over. Nothing is shown that is not synced: a record that a loss of power took back might otherwise be in the lake
//!   already, and another record would come to lie at its offset.
//! - **Fetch beyond the end**: nisshi answers with silence, and the client skips what comes to lie below its position.
//!   Kafka answers "out of range", and so does this.
//! - **API versions**: without the fields that old clients stumble over; see [`leave_out_what_says_nothing`].
//! - **Produce of what is there already**: see [`disown_positions_of_repeats`].

use std::sync::Arc;
use std::time::Duration;

use nisshi_broker::Error;
use nisshi_sans_io::api_versions_response::ApiVersionsResponse;
use nisshi_sans_io::fetch_request::{FetchRequest, FetchTopic};
use nisshi_sans_io::fetch_response::FetchableTopicResponse;
use nisshi_sans_io::produce_request::ProduceRequest;
use nisshi_sans_io::produce_response::ProduceResponse;
use nisshi_sans_io::{Body, ErrorCode, Frame, FrameInput};
use nisshi_service::FrameRouteService;
use nisshi_storage::{ArcDynStorage, Storage as _, TopicId};
use rama::Service;
use tokio::time::Instant;

use super::durable::Durable;
use super::tails::Tails;

/// nisshi's services, wrapped. Cheap to clone; each connection has one.
#[derive(Clone, Debug)]
pub(super) struct LogService {
    pub(super) routes: FrameRouteService<Error>,
    pub(super) storage: ArcDynStorage,
    pub(super) tails: Arc<Tails>,
    pub(super) durable: Durable,
}

impl Service<FrameInput> for LogService {
    type Output = Frame;
    type Error = Error;

    async fn serve(&self, input: FrameInput) -> Result<Frame, Error> {
        match &input.frame.body {
            Body::ProduceRequest(request) => {
                let lengths = lengths(request);
                self.produce(input, lengths).await
            }
            Body::FetchRequest(request) => {
                let asked = Asked::new(request);
                self.fetch(input, asked).await
            }
            Body::ApiVersionsRequest(_) => {
                let mut answer = self.routes.serve(input).await?;
                if let Body::ApiVersionsResponse(response) = &mut answer.body {
                    leave_out_what_says_nothing(response);
                }
                Ok(answer)
            }
            _ => {
                let answer = self.routes.serve(input).await;
                // A topic, a producer id, a committed offset: the next sync covers it.
                self.durable.written();
                answer
            }
        }
    }
}

impl LogService {
    async fn produce(&self, input: FrameInput, lengths: Vec<Length>) -> Result<Frame, Error> {
        let mut answer = self.routes.serve(input).await;
        self.durable.written();
        self.durable.settled().await;
        match &mut answer {
            Ok(frame) => {
                if let Body::ProduceResponse(response) = &mut frame.body {
                    self.announce(response, &lengths);
                    disown_positions_of_repeats(response);
                }
            }
            // Some of it may have been written before the error.
            Err(_) => lengths.iter().for_each(|length| self.tails.forget(&length.topic, length.partition)),
        }
        answer
    }

    fn announce(&self, response: &ProduceResponse, lengths: &[Length]) {
        for topic in response.responses.as_deref().unwrap_or_default() {
            for answer in topic.partition_responses.as_deref().unwrap_or_default() {
                let length =
                    lengths.iter().find(|length| length.topic == topic.name && length.partition == answer.index);
                match length {
                    Some(length) if answer.error_code == 0 && answer.base_offset >= 0 => {
                        let end = answer.base_offset + length.messages;
                        self.tails.appended(&topic.name, answer.index, end);
                    }
                    _ => self.tails.forget(&topic.name, answer.index),
                }
            }
        }
    }

    async fn fetch(&self, mut input: FrameInput, asked: Asked) -> Result<Frame, Error> {
        let until = Instant::now() + asked.patience;
        self.learn_names(&asked.topics).await?;
        loop {
            let grown = self.tails.grown();
            tokio::pin!(grown);
            grown.as_mut().enable();
            if asked.topics.iter().any(|topic| self.tails.has_news(topic)) {
                break;
            }
            if tokio::time::timeout_at(until, grown).await.is_err() {
                break;
            }
        }
        let left = until.saturating_duration_since(Instant::now());
        if let Body::FetchRequest(request) = &mut input.frame.body {
            // nisshi answers a patience of zero without having looked.
            request.max_wait_ms = i32::try_from(left.as_millis()).unwrap_or(i32::MAX).max(1);
        }
        let mut answer = self.routes.serve(input).await?;
        if let Body::FetchResponse(response) = &mut answer.body {
            self.durable.settled().await;
            for topic in response.responses.as_deref_mut().unwrap_or_default() {
                self.tails.learn(topic);
                asked.refuse_beyond_the_end(topic);
            }
        }
        Ok(answer)
    }

    async fn learn_names(&self, topics: &[FetchTopic]) -> Result<(), Error> {
        let nameless: Vec<TopicId> =
            topics.iter().filter(|topic| self.tails.is_nameless(topic)).map(TopicId::from).collect();
        if nameless.is_empty() {
            return Ok(());
        }
        let metadata = self.storage.metadata(Some(&nameless)).await?;
        for topic in metadata.topics() {
            if let (Some(id), Some(name)) = (topic.topic_id, topic.name.clone()) {
                self.tails.named(id, name);
            }
        }
        Ok(())
    }
}

/// nisshi lists features in tagged fields that are all empty. librdkafka 2.0.2, with which Debian's kcat comes, takes such a
/// field for one byte shorter than it is and gives the connection up; without them nothing is missing.
fn leave_out_what_says_nothing(response: &mut ApiVersionsResponse) {
    response.supported_features = None;
    response.finalized_features_epoch = None;
    response.finalized_features = None;
    response.zk_migration_ready = None;
}

/// A message sent again after a lost connection is in the log once, and nisshi does not say where: it answers -1, and clients
/// count on from there, 0 for the second message of the batch and so on. Far below zero nobody takes it for a position.
fn disown_positions_of_repeats(response: &mut ProduceResponse) {
    const NOWHERE: i64 = i64::MIN / 2;
    for topic in response.responses.as_deref_mut().unwrap_or_default() {
        for answer in topic.partition_responses.as_deref_mut().unwrap_or_default() {
            if answer.error_code == i16::from(ErrorCode::DuplicateSequenceNumber) {
                answer.base_offset = NOWHERE;
            }
        }
    }
}

/// What a fetch asked for.
struct Asked {
    topics: Vec<FetchTopic>,
    patience: Duration,
}

impl Asked {
    fn new(request: &FetchRequest) -> Self {
        Self {
            topics: request.topics.clone().unwrap_or_default(),
            patience: Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)),
        }
    }

    fn refuse_beyond_the_end(&self, answer: &mut FetchableTopicResponse) {
        let asked = self.topics.iter().find(|asked| {
            (asked.topic.is_some() && asked.topic == answer.topic)
                || (asked.topic_id.is_some() && asked.topic_id == answer.topic_id)
        });
        let Some(asked) = asked else { return };
        for partition in answer.partitions.as_deref_mut().unwrap_or_default() {
            let asked = asked.partitions.as_deref().unwrap_or_default();
            let asked = asked.iter().find(|asked| asked.partition == partition.partition_index);
            // Unknown watermarks are negative.
            let beyond = asked
                .is_some_and(|asked| partition.high_watermark >= 0 && asked.fetch_offset > partition.high_watermark);
            if beyond && partition.error_code == i16::from(ErrorCode::None) {
                partition.error_code = ErrorCode::OffsetOutOfRange.into();
            }
        }
    }
}

/// How many messages a produce request has for a partition.
struct Length {
    topic: String,
    partition: i32,
    messages: i64,
}

fn lengths(request: &ProduceRequest) -> Vec<Length> {
    let topics = request.topic_data.as_deref().unwrap_or_default();
    topics
        .iter()
        .flat_map(|topic| {
            let partitions = topic.partition_data.as_deref().unwrap_or_default();
            partitions.iter().map(|partition| Length {
                topic: topic.name.clone(),
                partition: partition.index,
                messages: partition.records.as_ref().map_or(0, |records| {
                    let batches = records.batches.iter();
                    batches.map(|batch| i64::from(batch.last_offset_delta) + 1).sum()
                }),
            })
        })
        .collect()
}
