//! Knows, without asking the storage, where each partition ends: what a waiting reader is woken by.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nisshi_sans_io::fetch_request::FetchTopic;
use nisshi_sans_io::fetch_response::FetchableTopicResponse;
use tokio::sync::Notify;

/// A topic as a fetch names it: newer clients by its id.
pub(super) type TopicUuid = [u8; 16];

/// The ends of the partitions that somebody has written or read since the log was opened.
#[derive(Debug, Default)]
pub(super) struct Tails {
    ends: Mutex<HashMap<String, HashMap<i32, i64>>>,
    names: Mutex<HashMap<TopicUuid, String>>,
    grown: Notify,
}

impl Tails {
    /// Wakes those who wait. Get this before looking, so that nothing comes between.
    pub(super) fn grown(&self) -> tokio::sync::futures::Notified<'_> {
        self.grown.notified()
    }

    /// An append ended at `end`; readers may see it from now on.
    pub(super) fn appended(&self, topic: &str, partition: i32, end: i64) {
        self.raise(topic, partition, end);
        self.grown.notify_waiters();
    }

    /// Something happened to the partition after which its end is not known.
    pub(super) fn forget(&self, topic: &str, partition: i32) {
        if let Some(ends) = lock(&self.ends).get_mut(topic) {
            ends.remove(&partition);
        }
        self.grown.notify_waiters();
    }

    /// Takes over what the storage said in answer to a fetch.
    pub(super) fn learn(&self, response: &FetchableTopicResponse) {
        let Some(topic) = self.name(response.topic.as_deref(), response.topic_id) else {
            return;
        };
        for partition in response.partitions.as_deref().unwrap_or_default() {
            if partition.error_code == 0 && partition.high_watermark >= 0 {
                self.raise(&topic, partition.partition_index, partition.high_watermark);
            }
        }
    }

    /// Whether the storage may have something for this fetch: unless every partition in it is read to its end.
    pub(super) fn has_news(&self, topic: &FetchTopic) -> bool {
        let Some(name) = self.name(topic.topic.as_deref(), topic.topic_id) else {
            return true;
        };
        let ends = lock(&self.ends);
        let Some(ends) = ends.get(&name) else {
            return true;
        };
        let partitions = topic.partitions.as_deref().unwrap_or_default();
        partitions.iter().any(|partition| ends.get(&partition.partition) != Some(&partition.fetch_offset))
    }

    /// The ids of this fetch that have no name here yet.
    pub(super) fn is_nameless(&self, topic: &FetchTopic) -> bool {
        self.name(topic.topic.as_deref(), topic.topic_id).is_none()
    }

    pub(super) fn named(&self, id: TopicUuid, name: String) {
        lock(&self.names).insert(id, name);
    }

    fn name(&self, name: Option<&str>, id: Option<TopicUuid>) -> Option<String> {
        match (name, id) {
            (Some(name), _) => Some(name.to_owned()),
            (None, Some(id)) => lock(&self.names).get(&id).cloned(),
            (None, None) => None,
        }
    }

    /// Answers may come in another order than the appends they tell of, so an end only grows.
    fn raise(&self, topic: &str, partition: i32, end: i64) {
        let mut ends = lock(&self.ends);
        let known = match ends.get_mut(topic) {
            Some(topic) => topic,
            None => ends.entry(topic.to_owned()).or_default(),
        };
        let known = known.entry(partition).or_insert(end);
        *known = end.max(*known);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
