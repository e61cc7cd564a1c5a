//! Which offsets of the log the lake holds, and which a commit adds.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use wk_schemas::Topic;

/// A partition of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source {
    /// The topic.
    pub topic: Topic,
    /// The partition.
    pub partition: i32,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

impl Source {
    /// Reads what [`Source`] displays; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (topic, partition) = text.rsplit_once('/')?;
        Some(Self { topic: Topic::from_name(topic)?, partition: partition.parse().ok()? })
    }
}

/// The next offset of every partition that the lake has read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offsets(pub BTreeMap<Source, i64>);

impl Offsets {
    /// The offset at which a partition goes on; 0 for one that was never read.
    #[must_use]
    pub fn next(&self, source: Source) -> i64 {
        self.0.get(&source).copied().unwrap_or(0)
    }
}

/// A run of offsets of one partition, and what became of every one of them.
///
/// `rows + dead_letters + absent` is `next - first`: nothing is left out in silence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Range {
    /// The topic.
    #[serde(with = "topic_name")]
    pub topic: Topic,
    /// The partition.
    pub partition: i32,
    /// The first offset.
    pub first: i64,
    /// One past the last offset.
    pub next: i64,
    /// Offsets that are rows of the table.
    pub rows: i64,
    /// Offsets whose bytes are no record; each is on the dead-letter topic.
    pub dead_letters: i64,
    /// Offsets at which the log holds nothing, by its own word: control records and transaction markers.
    pub absent: i64,
}

impl Range {
    /// The partition.
    #[must_use]
    pub const fn source(&self) -> Source {
        Source { topic: self.topic, partition: self.partition }
    }

    /// Whether every offset is accounted for.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.first >= 0
            && self.first <= self.next
            && [self.rows, self.dead_letters, self.absent].iter().all(|n| *n >= 0)
            && self.rows + self.dead_letters + self.absent == self.next - self.first
    }
}

pub(crate) mod topic_name {
    //! A topic by its name on the log.
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};
    use wk_schemas::Topic;

    pub(crate) fn serialize<S: Serializer>(topic: &Topic, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(topic.name())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Topic, D::Error> {
        let name = String::deserialize(d)?;
        Topic::from_name(&name).ok_or_else(|| D::Error::custom(format!("`{name}` is no topic of ours")))
    }
}
