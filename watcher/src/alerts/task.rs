//! One task for each receiver: reads findings from its cursor on, sends, tries again, gives up into a dead letter.

use super::alert::Alert;
use super::send::{Receiver, SendError};
use crate::ladder::rank;
use crate::run::WatchError;
use crate::state::{Offsets, State, StateError};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{debug, warn};
use wk_schemas::body::Step;
use wk_schemas::{Topic, codec};
use wk_wire::kafka::{AssignError, Cluster, Reader};
use wk_wire::{Brokers, Message, Read as _, ReadError, unframe};

/// The first wait before an alert is sent again; it doubles.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// How long to wait when the log is away.
const BACKOFF: Duration = Duration::from_secs(1);

/// An alert that could not be delivered, to be put on the dead-letter topic.
#[derive(Debug)]
pub struct Undelivered {
    /// The finding, as it stood on the log.
    pub message: Message,
    /// The receiver.
    pub receiver: String,
    /// What was wrong, and for how long it was tried.
    pub reason: String,
    /// Told once the letter is on the log: only then does the cursor move.
    pub done: oneshot::Sender<()>,
}

/// The tasks of all receivers; they end with this.
#[derive(Debug)]
pub struct Desk {
    undelivered: mpsc::Receiver<Undelivered>,
    _stop: DropGuard,
}

#[derive(Debug, thiserror::Error)]
enum TellError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Assign(#[from] AssignError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error("the watcher does not take what could not be delivered")]
    Closed,
}

impl Desk {
    /// Starts a task for each receiver. One that is new begins at the end of the findings as it is now.
    ///
    /// # Errors
    /// [`WatchError`] when log or state cannot be read.
    pub async fn start(
        receivers: &[Arc<Receiver>],
        brokers: &Brokers,
        cluster: &Cluster,
        state: &State,
    ) -> Result<Self, WatchError> {
        for receiver in receivers {
            let name = &receiver.config.name;
            let mut cursor: Offsets = state.alerted(name)?;
            for partition in cluster.partitions(Topic::Findings.name()).await? {
                let holds = cluster.watermarks(Topic::Findings.name(), partition).await?;
                let next = cursor.entry((Topic::Findings, partition)).or_insert(holds.high);
                *next = (*next).max(holds.low);
            }
            state.save_alerted(name, &cursor)?;
        }
        let (give, undelivered) = mpsc::channel(receivers.len().max(1));
        let stop = CancellationToken::new();
        for receiver in receivers {
            let task = Teller {
                receiver: Arc::clone(receiver),
                brokers: brokers.clone(),
                state: state.clone(),
                give: give.clone(),
            };
            let cancel = stop.child_token();
            tokio::spawn(async move {
                tokio::select! {
                    () = cancel.cancelled() => {}
                    () = task.run() => {}
                }
            });
        }
        Ok(Self { undelivered, _stop: stop.drop_guard() })
    }

    /// The next alert that could not be delivered; waits for ever when there is none. Nothing is lost when this is cancelled.
    pub async fn next(&mut self) -> Undelivered {
        match self.undelivered.recv().await {
            Some(undelivered) => undelivered,
            None => std::future::pending().await,
        }
    }
}

struct Teller {
    receiver: Arc<Receiver>,
    brokers: Brokers,
    state: State,
    give: mpsc::Sender<Undelivered>,
}

impl Teller {
    async fn run(self) {
        loop {
            if let Err(error) = self.follow().await {
                let receiver = &self.receiver.config.name;
                warn!(%receiver, error = &error as &dyn std::error::Error, "telling is interrupted; trying again");
            }
            tokio::time::sleep(BACKOFF).await;
        }
    }

    /// Follows the findings from the saved cursor on.
    async fn follow(&self) -> Result<(), TellError> {
        let name = &self.receiver.config.name;
        let mut cursor: Offsets = self.state.alerted(name)?;
        let starts: Vec<(&str, i32, i64)> = cursor.iter().map(|((t, p), o)| (t.name(), *p, *o)).collect();
        let mut reader = Reader::assign(&self.brokers, &starts).await?;
        loop {
            for message in reader.next_batch(64, BACKOFF).await? {
                let place = (Topic::Findings, message.partition);
                let next = message.offset + 1;
                self.tell(message).await?;
                cursor.insert(place, next);
                self.state.save_alerted(name, &cursor)?;
            }
        }
    }

    /// Delivers what a message says, or sees it into a dead letter.
    async fn tell(&self, message: Message) -> Result<(), TellError> {
        let config = &self.receiver.config;
        let record = unframe(&message.value).ok().and_then(|(_, datum)| codec::decode(datum).ok());
        let Some(record) = record else { return Ok(()) };
        let Some((alert, finding)) = Alert::of(&record) else { return Ok(()) };
        if rank(finding.step) < rank(Step::from(config.least)) {
            return Ok(());
        }
        let started = Instant::now();
        let mut wait = FIRST_WAIT;
        let reason = loop {
            match self.receiver.send(&alert, finding.level).await {
                Ok(()) => {
                    debug!(receiver = %config.name, id = %alert.id, "alert delivered");
                    return Ok(());
                }
                Err(SendError::Never(why)) => break why,
                Err(SendError::Later(why)) if started.elapsed() + wait >= config.give_up_after => {
                    break format!("{why}; tried for {} s", started.elapsed().as_secs());
                }
                Err(SendError::Later(why)) => {
                    warn!(receiver = %config.name, id = %alert.id, %why, "alert not delivered; trying again");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(WAIT_MAX);
                }
            }
        };
        warn!(receiver = %config.name, id = %alert.id, %reason, "alert given up");
        let (done, taken) = oneshot::channel();
        let receiver = config.name.clone();
        self.give.send(Undelivered { message, receiver, reason, done }).await.map_err(|_| TellError::Closed)?;
        taken.await.map_err(|_| TellError::Closed)
    }
}
