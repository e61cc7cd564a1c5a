//! The log as the CLI uses it: appends one record, follows a session's facts, reads what is recent.

use crate::clock;
use crate::config::Settings;
use crate::endpoints::Endpoints;
use anyhow::Context as _;
use std::time::Duration;
use wk_schemas::{Digest, Header, Origin, Record, RecordId, SCHEMA, SessionId, Topic, codec};
use wk_wire::kafka::{Cluster, Producer, Reader};
use wk_wire::{Brokers, Message, Read as _, registry};

/// A producer, and the id of the schema that frames what it writes.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) producer: Producer,
    pub(crate) schema_id: i32,
}

/// Connects to the log that the settings name or that is running.
///
/// # Errors
/// When there is none, or its registry does not take the schema.
pub(crate) async fn connect(settings: &Settings) -> anyhow::Result<Log> {
    let endpoints = Endpoints::find(settings)?;
    let client = registry::Client::new(&endpoints.registry)?;
    let schema_id = client.register(Topic::Approvals.name(), SCHEMA).await.context("the schema was not registered")?;
    // A person waits for the answer, so a log that is away is an error here and not a reason to wait.
    let brokers = endpoints.brokers.with_delivery_timeout(Duration::from_secs(15));
    Ok(Log { producer: Producer::connect(&brokers)?, schema_id })
}

/// The header of a record that this process writes itself; its chain gives it its place.
pub(crate) fn header(
    settings: &Settings,
    record_id: RecordId,
    session: &SessionId,
    writer: &str,
    origin: Origin,
) -> Header {
    Header {
        record_id,
        session_id: session.clone(),
        writer: writer.to_owned(),
        seq: 0,
        prev_digest: Digest::ZERO,
        occurred_at: clock::now(),
        origin,
        caused_by: Vec::new(),
        tenant: settings.tenant.clone(),
        host: settings.host.clone(),
        agent_name: None,
        agent_version: None,
        agent_model: None,
        principal: Some(settings.principal.clone()),
        policy_digest: None,
    }
}

/// Decodes what is a record of ours and leaves out the rest: setting bytes aside is the business of ingest.
pub(crate) fn decode(message: &Message) -> Option<Record> {
    let (_, datum) = wk_wire::unframe(&message.value).ok()?;
    codec::decode(datum).ok()
}

/// What happens to one session from now on.
#[derive(Debug)]
pub(crate) struct Facts {
    reader: Reader,
    session: SessionId,
}

impl Facts {
    /// Starts at the end of the log, so that whatever is caused after this call is seen.
    ///
    /// # Errors
    /// When no log is running.
    pub(crate) async fn follow(settings: &Settings, session: &SessionId) -> anyhow::Result<Self> {
        let brokers = Endpoints::find(settings)?.brokers;
        let topics = [Topic::Events, Topic::Findings];
        Ok(Self { reader: tail(&brokers, &topics).await?, session: session.clone() })
    }

    /// Waits for the first record of the session that `says` something; `None` when the time runs out.
    ///
    /// # Errors
    /// When the log cannot be read any more.
    pub(crate) async fn wait_for<T>(
        &mut self,
        wait: Duration,
        says: impl Fn(&Record) -> Option<T>,
    ) -> anyhow::Result<Option<T>> {
        let search = async {
            loop {
                let message = self.reader.next().await?;
                if message.key == self.session.as_str().as_bytes()
                    && let Some(said) = decode(&message).as_ref().and_then(&says)
                {
                    return anyhow::Ok(said);
                }
            }
        };
        tokio::time::timeout(wait, search).await.ok().transpose()
    }
}

/// Every event of the last `span`, oldest first within each session.
///
/// # Errors
/// When no log is running, or it cannot be read.
pub(crate) async fn recent_events(settings: &Settings, span: Duration) -> anyhow::Result<Vec<Record>> {
    recent(settings, Topic::Events, span).await
}

/// Every record of a topic of the last `span`, oldest first within each session.
///
/// # Errors
/// When no log is running, or it cannot be read.
pub(crate) async fn recent(settings: &Settings, topic: Topic, span: Duration) -> anyhow::Result<Vec<Record>> {
    let brokers = Endpoints::find(settings)?.brokers;
    let cluster = Cluster::connect(&brokers)?;
    let since = clock::now().0 / 1000 - i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    let starts = cluster.offsets_for_time(topic.name(), since).await?;
    let mut left = 0;
    for (partition, start) in &starts {
        left += cluster.watermarks(topic.name(), *partition).await?.high - start;
    }
    let starts: Vec<_> = starts.iter().map(|(partition, offset)| (topic.name(), *partition, *offset)).collect();
    let mut reader = Reader::assign(&brokers, &starts).await?;
    let mut records = Vec::new();
    while left > 0 {
        let batch = reader.next_batch(10_000, Duration::from_secs(10)).await?;
        anyhow::ensure!(!batch.is_empty(), "the log stopped answering with {left} records to read");
        left -= i64::try_from(batch.len()).unwrap_or(i64::MAX);
        records.extend(batch.iter().filter_map(decode));
    }
    Ok(records)
}

/// A reader of whole topics that starts at their end.
///
/// # Errors
/// When the log cannot be reached.
pub(crate) async fn tail(brokers: &Brokers, topics: &[Topic]) -> anyhow::Result<Reader> {
    let cluster = Cluster::connect(brokers)?;
    let mut starts = Vec::new();
    for topic in topics {
        for partition in cluster.partitions(topic.name()).await? {
            starts.push((topic.name(), partition, cluster.watermarks(topic.name(), partition).await?.high));
        }
    }
    Ok(Reader::assign(brokers, &starts).await?)
}
