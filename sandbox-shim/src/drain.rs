//! Brings the records of a journal to the log, in order, each once.
//!
//! ```text
//!  connect ──► reconcile (only when something may have been sent before) ──► send ◄─┐
//!     ▲                                                                     │      │ acknowledged: forget
//!     └───────────────── wait a little ◄── any failure ─────────────────────┘      │ new records: send
//! ```
//! Many records are under way at once, all those that have gathered; a record is forgotten when the log has it. While the log is away
//! records gather in the outbox and nothing is lost. After a failure, or a crash, it is not known which of the records under way
//! arrived; so before anything is sent again, the log is read from the last acknowledged place on, and what is there counts as
//! acknowledged.

use crate::outbox::{Acked, OutboxError};
use crate::recorder::{Journal, WRITER};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use wk_schemas::{SCHEMA, Timestamp, Topic, codec};
use wk_wire::kafka::{Cluster, Producer, Reader};
use wk_wire::registry::{self, RegistryConfig};
use wk_wire::{Append, Brokers, Message, Position, Read};

/// How many records, and about how many bytes, are sent in one go: as a rule one request, and the next waits until the log has it.
///
/// The idempotent producer of librdkafka 2.12 keeps messages back while five others are under way (`rd_kafka_toppar_producer_serve`
/// compares messages with a limit on requests), and meanwhile asks its socket in a loop without a pause: one whole processor, taken
/// from the agent. So nothing is given to it that it could not send at once.
const GO_RECORDS: usize = 200;
const GO_BYTES: usize = 512 << 10;

/// How many records are fetched from the journal at a time.
const FETCH_MAX: usize = 100;

const WAIT_MIN: Duration = Duration::from_millis(100);
const WAIT_MAX: Duration = Duration::from_secs(5);

/// How long a look at what the log already has may wait for one more message.
const READ_WAIT: Duration = Duration::from_secs(10);

/// How to reach the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogAddress {
    /// The brokers.
    pub brokers: Brokers,
    /// The schema registry.
    pub registry: RegistryConfig,
}

/// Partitions of a topic, and the offset of the next message that each will hold.
pub type Ends = Vec<(i32, i64)>;

/// Whom to tell, once the log has been reached, from where on there may be commands for this session.
#[derive(Debug)]
pub struct WhenReached {
    /// Whom to tell.
    pub tell: oneshot::Sender<Ends>,
    /// When the session began: nobody knew its id before.
    pub began_at: Timestamp,
}

/// How far the clock by which the log dates a command may be behind ours.
const CLOCK_SKEW_US: i64 = 60_000_000;

/// Sends until the journal is closed and empty (`true`), or until `give_up` (`false`).
///
/// `reached` is told before the first record is sent.
///
/// # Errors
/// [`OutboxError`] when the outbox itself fails; every failure of the log is waited out.
pub async fn drain(
    journal: &Journal,
    log: &LogAddress,
    give_up: &CancellationToken,
    reached: Option<WhenReached>,
) -> Result<bool, OutboxError> {
    let mut wait = WAIT_MIN;
    // Without a remembered start nothing was ever sent.
    let mut in_doubt = journal.outbox().start()?.is_some();
    let mut attempt = Attempt { journal, log, reached };
    loop {
        let acked = journal.acked_until();
        let attempt = tokio::select! {
            attempt = attempt.run(in_doubt) => attempt,
            () = give_up.cancelled() => return Ok(journal.waiting().0 == 0),
        };
        match attempt {
            Ok(()) => return Ok(true),
            Err(Failure::Outbox(error)) => return Err(error),
            Err(Failure::Log(error)) => {
                tracing::warn!(error = format!("{error:#}"), ?wait, "the log does not take records; they wait");
            }
        }
        in_doubt = true;
        if journal.acked_until() > acked {
            wait = WAIT_MIN;
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = give_up.cancelled() => return Ok(journal.waiting().0 == 0),
        }
        wait = (wait * 2).min(WAIT_MAX);
    }
}

enum Failure {
    Log(anyhow::Error),
    Outbox(OutboxError),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        match error.into().downcast::<OutboxError>() {
            Ok(error) => Self::Outbox(error),
            Err(error) => Self::Log(error),
        }
    }
}

struct Attempt<'a> {
    journal: &'a Journal,
    log: &'a LogAddress,
    reached: Option<WhenReached>,
}

impl Attempt<'_> {
    async fn run(&mut self, in_doubt: bool) -> Result<(), Failure> {
        let topic = Topic::Events.name();
        // It connects by itself, while the registry is asked.
        let producer = Producer::connect(&self.log.brokers)?;
        let schema_id = registry::Client::connect(&self.log.registry)?.register(topic, SCHEMA).await?;
        if in_doubt {
            self.reconcile(topic).await?;
        }
        let begins = self.journal.outbox().start()?.is_none();
        if begins || self.reached.is_some() {
            let cluster = Cluster::connect(&self.log.brokers)?;
            if begins {
                self.journal.outbox().set_start(&ends(&cluster, topic).await?)?;
            }
            if let Some(WhenReached { began_at, .. }) = &self.reached {
                let starts = commands_since(&cluster, *began_at).await?;
                // When nobody listens any more, the session is over.
                if let Some(reached) = self.reached.take() {
                    drop(reached.tell.send(starts));
                }
            }
        }
        // The start is over. The registry's client alone has read every certificate authority of the system, which would stay with us.
        crate::sys::heap::give_back();
        send(self.journal, &producer, topic, schema_id).await
    }

    /// Finds out which records the log already has.
    async fn reconcile(&self, topic: &str) -> Result<(), Failure> {
        let outbox = self.journal.outbox();
        let Some(start) = outbox.start()? else { return Ok(()) };
        let from = match outbox.acked()? {
            // A session's records are all in one partition.
            Some(acked) if acked.offset >= 0 => vec![(acked.partition, acked.offset + 1)],
            Some(_) | None => start,
        };
        let session = self.journal.session_id();
        let mut last = None;
        for (partition, offset) in from {
            let high = Cluster::connect(&self.log.brokers)?.watermarks(topic, partition).await?.high;
            if offset >= high {
                continue;
            }
            let mut reader = Reader::assign(&self.log.brokers, &[(topic, partition, offset)]).await?;
            let mut reached = offset;
            while reached < high {
                let batch = reader.next_batch(10_000, READ_WAIT).await?;
                if batch.is_empty() {
                    return Err(anyhow::anyhow!(
                        "partition {partition} ends at {high}, but nothing comes behind {reached}"
                    )
                    .into());
                }
                for message in batch {
                    reached = reached.max(message.offset + 1);
                    if message.key == session.as_str().as_bytes() {
                        last = own(&message).or(last);
                    }
                }
            }
        }
        if let Some(acked) = last {
            tracing::info!(seq = acked.seq, offset = acked.offset, "the log has records that were not acknowledged");
            self.journal.found_in_log(&acked)?;
        }
        Ok(())
    }
}

/// The record in a message, when the shim wrote it.
fn own(message: &Message) -> Option<Acked> {
    let (_, datum) = wk_wire::unframe(&message.value).ok()?;
    let view = codec::walk(datum).ok()?;
    (view.writer == WRITER).then(|| Acked {
        seq: view.seq,
        partition: message.partition,
        offset: message.offset,
        datum: datum.to_vec(),
    })
}

/// Where each partition of a topic ends now.
async fn ends(cluster: &Cluster, topic: &str) -> Result<Ends, anyhow::Error> {
    let mut ends = Vec::new();
    for partition in cluster.partitions(topic).await? {
        ends.push((partition, cluster.watermarks(topic, partition).await?.high));
    }
    Ok(ends)
}

/// From where on there may be commands for a session that began then.
async fn commands_since(cluster: &Cluster, began_at: Timestamp) -> Result<Ends, anyhow::Error> {
    let topic = Topic::Commands.name();
    // The ends first: a command that comes between the two questions lies behind them.
    let ends = ends(cluster, topic).await?;
    let dated = cluster.offsets_for_time(topic, began_at.plus_micros(-CLOCK_SKEW_US).0 / 1000).await?;
    let earliest = |(partition, end): (i32, i64)| {
        let dated = dated.iter().find(|(p, _)| *p == partition).map_or(end, |(_, offset)| *offset);
        (partition, end.min(dated))
    };
    Ok(ends.into_iter().map(earliest).collect())
}

/// Sends until the journal is closed and everything in it is acknowledged.
async fn send<A: Append>(journal: &Journal, log: &A, topic: &str, schema_id: i32) -> Result<(), Failure>
where
    A::Delivery: Unpin,
{
    let session = journal.session_id();
    let key = session.as_str().as_bytes();
    let mut next = journal.acked_until();
    loop {
        // Asked before reading: what was taken before closing is then seen.
        let is_closed = journal.is_closed();
        let mut in_flight: VecDeque<(i64, Arc<[u8]>, A::Delivery)> = VecDeque::new();
        let mut bytes = 0;
        while in_flight.len() < GO_RECORDS && bytes < GO_BYTES {
            let batch = journal.read_from(next, FETCH_MAX)?;
            if batch.is_empty() {
                break;
            }
            for (seq, datum) in batch {
                let delivery = log.submit(topic, key, &wk_wire::frame(schema_id, &datum)).await?;
                bytes += datum.len();
                in_flight.push_back((seq, datum, delivery));
                next = seq + 1;
            }
        }
        let found = in_flight.len();
        while !in_flight.is_empty() {
            forget(journal, acknowledged(&mut in_flight).await?)?;
        }
        match (found, is_closed) {
            (0, true) => return Ok(()),
            // There is as much again, perhaps.
            (GO_RECORDS.., _) | (_, true) => {}
            (_, false) => journal.gathered(next).await,
        }
    }
}

/// Records that the log took: the last one with its place, how many, and their bytes.
type Done = (i64, Arc<[u8]>, Position, u64, u64);

/// Waits for the oldest record under way, then takes all behind it that are there as well. Cancel safe: a record leaves
/// `in_flight` only together with its answer.
async fn acknowledged<D>(in_flight: &mut VecDeque<(i64, Arc<[u8]>, D)>) -> Result<Done, wk_wire::AppendError>
where
    D: Future<Output = Result<Position, wk_wire::AppendError>> + Unpin,
{
    let mut done: Option<Done> = None;
    std::future::poll_fn(|context| {
        while let Some((seq, datum, delivery)) = in_flight.front_mut() {
            match std::pin::Pin::new(delivery).poll(context) {
                std::task::Poll::Ready(Ok(position)) => {
                    let (records, bytes) = done.as_ref().map_or((0, 0), |d| (d.3, d.4));
                    let offset = position.offset.or(done.as_ref().and_then(|d| d.2.offset));
                    let position = Position { offset, ..position };
                    done = Some((*seq, Arc::clone(datum), position, records + 1, bytes + datum.len() as u64));
                    in_flight.pop_front();
                }
                // What came before the failure counts; the failure is met again with the next call.
                std::task::Poll::Ready(Err(error)) => match done.take() {
                    None => return std::task::Poll::Ready(Err(error)),
                    Some(done) => {
                        tracing::debug!(%error, "a record was not taken");
                        return std::task::Poll::Ready(Ok(done));
                    }
                },
                std::task::Poll::Pending => break,
            }
        }
        match done.take() {
            Some(done) => std::task::Poll::Ready(Ok(done)),
            None => std::task::Poll::Pending,
        }
    })
    .await
}

fn forget(journal: &Journal, (seq, datum, position, records, bytes): Done) -> Result<(), OutboxError> {
    let acked =
        Acked { seq, partition: position.partition, offset: position.offset.unwrap_or(-1), datum: datum.to_vec() };
    journal.acknowledge(&acked, records, bytes)
}
