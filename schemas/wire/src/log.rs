//! What the rest of the system needs of a log: append a message, read messages in order.
//!
//! A log is a set of topics, a topic a set of partitions, a partition a sequence of messages with offsets that only grow.
//! Messages with one key are in one partition, in the order in which one producer submitted them.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::kafka::ClientError;

/// A message as it is in the log. Cheap to clone; several may share the memory that they lie in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition of the topic.
    pub partition: i32,
    /// The place in the partition; the next message has a larger one, not necessarily by one.
    pub offset: i64,
    /// When the log took it, in milliseconds since 1970 UTC; `None` when the log does not say.
    pub timestamp_ms: Option<i64>,
    /// The key; for our topics the bytes of the session id.
    pub key: Bytes,
    /// The value as on the wire, with its Confluent framing; see [`crate::unframe`].
    pub value: Bytes,
}

/// Where a message came to lie in its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// The partition of the topic.
    pub partition: i32,
    /// The offset in the partition. `None` when the message was sent again after a lost connection and the broker only said
    /// that it has it already.
    pub offset: Option<i64>,
}

/// What a loop does about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// Try again after a while: nothing is lost, the log is only not there.
    Retry,
    /// This one message can never be taken: set it aside as a dead letter and go on.
    SetAside,
    /// State is in doubt, or the configuration is wrong: end, and let the next start recover.
    Stop,
}

/// Appends messages to a log.
pub trait Append {
    /// What [`Append::submit`] returns: ends when the message is acknowledged or has failed.
    type Delivery: Future<Output = Result<Position, AppendError>> + Send + 'static;

    /// Hands the message over and waits until every in-sync replica has it (`acks=all`).
    ///
    /// When this future is dropped before it ends, the message may or may not come to be in the log.
    ///
    /// # Errors
    /// See [`AppendError`]; [`AppendError::disposition`] says what to do.
    fn append(
        &self,
        topic: &str,
        key: &[u8],
        value: &[u8],
    ) -> impl Future<Output = Result<Position, AppendError>> + Send;

    /// Hands the message over and returns at once with a future that ends as [`Append::append`] does.
    ///
    /// Messages of one key come to lie in the order of these calls, so a caller that awaits each `submit` before the next
    /// may keep thousands in flight. Waits only while the buffer of the producer is full.
    ///
    /// # Errors
    /// [`AppendError::TooBig`], [`AppendError::UnknownTopic`] and [`AppendError::Unreachable`] already here.
    fn submit(
        &self,
        topic: &str,
        key: &[u8],
        value: &[u8],
    ) -> impl Future<Output = Result<Self::Delivery, AppendError>> + Send;
}

/// Reads messages from a log: each partition in order, partitions interleaved.
pub trait Read {
    /// Waits for the next message. Cancel safe: a dropped call has taken nothing.
    ///
    /// # Errors
    /// See [`ReadError`]; after one with [`Disposition::Retry`] the call may be repeated and misses nothing.
    fn next(&mut self) -> impl Future<Output = Result<Message, ReadError>> + Send;

    /// Waits at most `wait` for a message, then takes what is there, at most `max`, without waiting for more.
    ///
    /// An empty answer means that nothing came within `wait`. Cancel safe as [`Read::next`].
    ///
    /// # Errors
    /// As [`Read::next`]. Messages read before the error are handed out first.
    fn next_batch(
        &mut self,
        max: usize,
        wait: Duration,
    ) -> impl Future<Output = Result<Vec<Message>, ReadError>> + Send;
}

/// Why a message was not appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// No such topic, and topics are never made by writing to them.
    #[error("topic `{topic}` does not exist on {brokers}; create it with `wk topics create --brokers {brokers}`")]
    UnknownTopic {
        /// The topic asked for.
        topic: String,
        /// The bootstrap servers.
        brokers: String,
    },
    /// The message is bigger than the log takes. It has not been sent.
    #[error("message of {bytes} bytes for topic `{topic}` is over the limit of {limit} bytes")]
    TooBig {
        /// The topic it was for.
        topic: String,
        /// Key and value together.
        bytes: usize,
        /// The most that key and value may have together.
        limit: usize,
    },
    /// Nobody answers; nothing has been sent.
    #[error("no answer from the brokers at {brokers}")]
    Unreachable {
        /// The bootstrap servers.
        brokers: String,
        /// What the client library says.
        #[source]
        source: ClientError,
    },
    /// The broker, or the client before it, refused the message, and would refuse it again.
    #[error("topic `{topic}` does not take the message")]
    Refused {
        /// The topic.
        topic: String,
        /// What the client library says.
        #[source]
        source: ClientError,
    },
    /// The message was sent and its fate is unknown, or the producer has given up; later messages of this producer fail
    /// as well, so that none overtakes this one. A new producer may send it again: readers drop what they have seen.
    #[error("the fate of a message for topic `{topic}` is unknown and its producer has stopped")]
    InDoubt {
        /// The topic.
        topic: String,
        /// What the client library says.
        #[source]
        source: ClientError,
    },
}

impl AppendError {
    /// What a loop does about it.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Unreachable { .. } => Disposition::Retry,
            Self::TooBig { .. } => Disposition::SetAside,
            Self::UnknownTopic { .. } | Self::Refused { .. } | Self::InDoubt { .. } => Disposition::Stop,
        }
    }
}

/// Why nothing was read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No such topic.
    #[error("topic `{topic}` does not exist on {brokers}; create it with `wk topics create --brokers {brokers}`")]
    UnknownTopic {
        /// The topic asked for.
        topic: String,
        /// The bootstrap servers.
        brokers: String,
    },
    /// The topic is there, the partition is not.
    #[error("topic `{topic}` has no partition {partition}; it has {count}")]
    UnknownPartition {
        /// The topic asked for.
        topic: String,
        /// The partition asked for.
        partition: i32,
        /// How many partitions it has.
        count: usize,
    },
    /// The log does not hold the position asked for. It may have been cut off by retention, or be another log than the one
    /// that the position is from. A reader never moves to another position by itself.
    #[error("offset {offset} of topic `{topic}` partition {partition} is not in the log, which holds {low} to {high}")]
    OutOfRange {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The offset asked for.
        offset: i64,
        /// The first offset that the log holds.
        low: i64,
        /// The offset of the next message to come; reading may start there.
        high: i64,
    },
    /// Nobody answers. The client goes on trying to connect.
    #[error("no answer from the brokers at {brokers}")]
    Unreachable {
        /// The bootstrap servers.
        brokers: String,
        /// What the client library says.
        #[source]
        source: ClientError,
    },
    /// The broker refused, and would refuse again.
    #[error("the brokers at {brokers} refuse to be read")]
    Refused {
        /// The bootstrap servers.
        brokers: String,
        /// What the client library says.
        #[source]
        source: ClientError,
    },
}

impl ReadError {
    /// What a loop does about it.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Unreachable { .. } => Disposition::Retry,
            Self::UnknownTopic { .. }
            | Self::UnknownPartition { .. }
            | Self::OutOfRange { .. }
            | Self::Refused { .. } => Disposition::Stop,
        }
    }
}
