//! The topics and their settings: creates them, and says where what exists differs.
//!
//! Partitions are final: more of them would send a session's later records to another partition than its earlier ones.
//! The same settings are in `deploy/topics.yaml` for whoever creates topics by other means; a test holds the two together.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::admin::{
    AdminClient, AdminOptions, NewTopic, OwnedResourceSpecifier, ResourceSpecifier, TopicReplication,
};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use wk_schemas::topic::Topic;

use crate::kafka::{AssignError, Brokers, BrokersError, Cluster, Traced};
use crate::log::ReadError;

/// What differs from one cluster to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct TopicSpec {
    /// Partitions of each topic; can never be changed. A session is in one of them.
    pub partitions: i32,
    /// On how many brokers each message is kept.
    pub replication: i32,
    /// How many of those must have a message before it counts as appended.
    pub min_insync: i32,
}

impl TopicSpec {
    /// One broker that keeps every message once.
    pub const SINGLE: Self = Self { partitions: 4, replication: 1, min_insync: 1 };

    /// Three brokers of which one may be away without stopping anybody.
    pub const PRODUCTION: Self = Self { partitions: 12, replication: 3, min_insync: 2 };
}

impl Default for TopicSpec {
    fn default() -> Self {
        Self::SINGLE
    }
}

/// Settings that are the same everywhere, and why.
pub const SETTINGS: [(&str, &str); 5] = [
    // Compaction would remove records of a session. Deletion by age is what `retention.ms` says: never.
    ("cleanup.policy", "delete"),
    // The log alone explains what happened. Whoever has checked evidence of the lake may lower it.
    ("retention.ms", "-1"),
    ("retention.bytes", "-1"),
    // One record is at most 900,000 bytes; the rest is the frame of the batch.
    ("max.message.bytes", "1048588"),
    // `recorded_at` is when the log took the record, by the log's clock and not by the writer's.
    ("message.timestamp.type", "LogAppendTime"),
];

/// A topic as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicState {
    /// Which.
    pub topic: Topic,
    /// Whether this call created it.
    pub created: bool,
    /// Where it is not as asked for; empty is well.
    pub differences: Vec<Difference>,
}

/// One setting that is not as asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// `partitions`, `replication` or the name of a setting; `exists` when there is no such topic.
    pub what: String,
    /// As asked for.
    pub expected: String,
    /// As it is.
    pub found: String,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { what, expected, found } = self;
        write!(f, "{what} is {found}, expected {expected}")
    }
}

/// Why topics were not created or described.
#[derive(Debug, thiserror::Error)]
pub enum TopicsError {
    /// The configuration is wrong.
    #[error(transparent)]
    Brokers(#[from] BrokersError),
    /// The cluster could not be asked.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The cluster was not reached, or refused the whole request.
    #[error("failed to {doing} on {brokers}")]
    Request {
        /// What was tried.
        doing: &'static str,
        /// The bootstrap servers.
        brokers: String,
        /// What the client library says.
        #[source]
        source: KafkaError,
    },
    /// The cluster refused one topic.
    #[error("{brokers} refuses to create topic `{topic}`: {reason}")]
    Refused {
        /// The bootstrap servers.
        brokers: String,
        /// The topic.
        topic: String,
        /// What the broker says.
        reason: RDKafkaErrorCode,
    },
}

impl From<AssignError> for TopicsError {
    fn from(error: AssignError) -> Self {
        match error {
            AssignError::Brokers(error) => Self::Brokers(error),
            AssignError::Read(error) => Self::Read(error),
        }
    }
}

/// Creates the topics that are missing and describes all of them. What exists is never changed.
///
/// # Errors
/// [`TopicsError`]. Topics created before the error stay; calling it again goes on.
pub async fn create(brokers: &Brokers, spec: &TopicSpec) -> Result<Vec<TopicState>, TopicsError> {
    // The request below would only say that its time is up; this says why.
    match Cluster::connect(brokers)?.partitions(Topic::ALL[0].name()).await {
        Ok(_) | Err(ReadError::UnknownTopic { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let admin = admin(brokers)?;
    let min_insync = spec.min_insync.to_string();
    let wanted: Vec<NewTopic<'_>> = Topic::ALL
        .iter()
        .map(|topic| {
            let replication = TopicReplication::Fixed(spec.replication);
            let mut new =
                NewTopic::new(topic.name(), spec.partitions, replication).set("min.insync.replicas", &min_insync);
            for (name, value) in SETTINGS {
                new = new.set(name, value);
            }
            new
        })
        .collect();
    let answers = admin.create_topics(&wanted, &options()).await.map_err(|source| TopicsError::Request {
        doing: "create topics",
        brokers: brokers.bootstrap.clone(),
        source,
    })?;
    let mut created = Vec::new();
    for answer in answers {
        match answer {
            Ok(topic) => created.push(topic),
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, reason)) => {
                return Err(TopicsError::Refused { brokers: brokers.bootstrap.clone(), topic, reason });
            }
        }
    }
    if !created.is_empty() {
        wait_until_known(brokers, &created).await?;
    }
    let mut states = describe(brokers, spec).await?;
    for state in &mut states {
        state.created = created.iter().any(|name| name == state.topic.name());
    }
    Ok(states)
}

/// Says of each topic where it is not as `spec` and [`SETTINGS`] have it. Changes nothing.
///
/// # Errors
/// [`TopicsError::Request`], [`TopicsError::Brokers`].
pub async fn describe(brokers: &Brokers, spec: &TopicSpec) -> Result<Vec<TopicState>, TopicsError> {
    let cluster = Cluster::connect(brokers)?;
    let admin = admin(brokers)?;
    let mut states = Vec::with_capacity(Topic::ALL.len());
    for topic in Topic::ALL {
        let mut differences = Vec::new();
        match cluster.layout(topic.name()).await {
            Err(ReadError::UnknownTopic { .. }) => {
                compare(&mut differences, "exists", "yes", "no");
            }
            Err(error) => return Err(error.into()),
            Ok((partitions, replication)) => {
                let partitions = partitions.to_string();
                let replication = replication.to_string();
                let wanted = (spec.partitions.to_string(), spec.replication.to_string());
                compare(&mut differences, "partitions", &wanted.0, &partitions);
                compare(&mut differences, "replication", &wanted.1, &replication);
                let found = settings(&admin, brokers, topic).await?;
                let min_insync = spec.min_insync.to_string();
                let wanted = SETTINGS.into_iter().chain([("min.insync.replicas", min_insync.as_str())]);
                for (name, expected) in wanted {
                    let found = found.get(name).map_or("unknown", String::as_str);
                    compare(&mut differences, name, expected, found);
                }
            }
        }
        states.push(TopicState { topic, created: false, differences });
    }
    Ok(states)
}

/// A cluster answers before every broker knows the new topic; a producer that is quicker would be told that there is none.
async fn wait_until_known(brokers: &Brokers, topics: &[String]) -> Result<(), TopicsError> {
    const ATTEMPTS: u32 = 100;
    let cluster = Cluster::connect(brokers)?;
    for topic in topics {
        for attempt in 1.. {
            match cluster.partitions(topic).await {
                Ok(_) => break,
                Err(error) if attempt == ATTEMPTS => return Err(error.into()),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }
    Ok(())
}

async fn settings(
    admin: &AdminClient<Traced>,
    brokers: &Brokers,
    topic: Topic,
) -> Result<BTreeMap<String, String>, TopicsError> {
    let failed = |source| TopicsError::Request { doing: "describe topics", brokers: brokers.bootstrap.clone(), source };
    let answers =
        admin.describe_configs([&ResourceSpecifier::Topic(topic.name())], &options()).await.map_err(failed)?;
    let mut found = BTreeMap::new();
    for answer in answers {
        let answer = answer.map_err(|code| failed(KafkaError::AdminOp(code)))?;
        if answer.specifier == OwnedResourceSpecifier::Topic(topic.name().to_owned()) {
            for entry in answer.entries {
                found.insert(entry.name, entry.value.unwrap_or_default());
            }
        }
    }
    Ok(found)
}

fn compare(differences: &mut Vec<Difference>, what: &str, expected: &str, found: &str) {
    if expected != found {
        differences.push(Difference { what: what.to_owned(), expected: expected.to_owned(), found: found.to_owned() });
    }
}

fn admin(brokers: &Brokers) -> Result<AdminClient<Traced>, BrokersError> {
    brokers.client_config()?.create_with_context(Traced::default()).map_err(|source| brokers.refused(source))
}

fn options() -> AdminOptions {
    let wait = Some(Duration::from_secs(15));
    AdminOptions::new().request_timeout(wait).operation_timeout(wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The file is read by people and by other tools, so it is data there and code here; this test is their tie.
    #[test]
    fn deploy_topics_yaml_says_the_same() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/topics.yaml");
        let text = std::fs::read_to_string(file).unwrap();
        let lines: Vec<&str> = text
            .lines()
            .map(|line| line.split(" #").next().unwrap_or_default().trim_end())
            .filter(|line| !line.trim_start().starts_with('#') && !line.trim().is_empty())
            .collect();
        let spec = TopicSpec::PRODUCTION;
        let mut expected = vec!["topics:".to_owned()];
        for topic in Topic::ALL {
            expected.push(format!("  - name: {}", topic.name()));
            expected.push(format!("    partitions: {}", spec.partitions));
            expected.push(format!("    replication: {}", spec.replication));
            expected.push("    settings:".to_owned());
            expected.push(format!("      min.insync.replicas: \"{}\"", spec.min_insync));
            for (name, value) in SETTINGS {
                expected.push(format!("      {name}: \"{value}\""));
            }
        }
        assert_eq!(lines, expected);
    }
}
