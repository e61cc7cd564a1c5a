//! What the client library has read, in memory of ours: many messages in one allocation.
//!
//! A message takes what it holds and no allocation of its own. Where messages are made by one thread and let go by others, in the hundred
//! thousands, an allocation for each text of each message costs more than the copying.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use rdkafka::message::{BorrowedMessage, Message as _};

use crate::log::Message;

/// How many bytes are allocated at once. One message that is kept keeps them all.
const CHUNK: usize = 64 * 1024;

/// Takes messages over from the client library.
#[derive(Debug, Default)]
pub(super) struct Copies {
    /// The names of the topics that there have been.
    topics: Vec<Arc<str>>,
    chunk: BytesMut,
}

impl Copies {
    /// The message, as ours.
    pub(super) fn take(&mut self, message: &BorrowedMessage<'_>) -> Message {
        Message {
            topic: self.topic(message.topic()),
            partition: message.partition(),
            offset: message.offset(),
            timestamp_ms: message.timestamp().to_millis(),
            key: self.bytes(message.key().unwrap_or_default()),
            value: self.bytes(message.payload().unwrap_or_default()),
        }
    }

    fn topic(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.topics.iter().find(|known| ***known == *name) {
            return Arc::clone(known);
        }
        let topic: Arc<str> = name.into();
        self.topics.push(Arc::clone(&topic));
        topic
    }

    fn bytes(&mut self, bytes: &[u8]) -> Bytes {
        if bytes.len() > self.chunk.capacity() {
            self.chunk = BytesMut::with_capacity(bytes.len().max(CHUNK));
        }
        self.chunk.extend_from_slice(bytes);
        self.chunk.split().freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_stays_as_it_was_when_more_is_taken() {
        let mut copies = Copies::default();
        let sizes = [0, 1, 40_000, 30_000, CHUNK, CHUNK + 1, 5, 200_000, 0, 7];
        let given: Vec<Vec<u8>> = (1u8..).zip(sizes).map(|(n, size)| vec![n; size]).collect();
        let taken: Vec<Bytes> = given.iter().map(|bytes| copies.bytes(bytes)).collect();
        assert_eq!(taken, given);
    }

    #[test]
    fn small_messages_lie_in_one_piece_of_memory() {
        let mut copies = Copies::default();
        let (first, second) = (copies.bytes(b"first"), copies.bytes(b"second"));
        assert_eq!(first.as_ptr().wrapping_add(first.len()), second.as_ptr());
        assert!(Arc::ptr_eq(&copies.topic("a"), &copies.topic("a")));
    }
}
