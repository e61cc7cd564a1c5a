//! Commits sealed batches in the order in which they were read.
//!
//! ```text
//! read ─► seal (several at once) ─► 1. dead letters on the log ─► 2. commit in the lake ─► 3. offsets shown to lag displays
//! ```

use crate::dead_letter::{DeadLetters, Letter};
use crate::error::{IngestError, chain};
use crate::progress::{Committed, OnProgress, Progress, Summary};
use crate::seal::Sealed;
use std::future::Future;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use wk_store::merkle::LogError;
use wk_store::{CommitError, OpenError, PrepareError, Version, Writer};
use wk_wire::kafka::Lag;
use wk_wire::{Brokers, Disposition};

/// A batch on its way into columns.
pub(crate) type Job = JoinHandle<Result<Sealed, PrepareError>>;

/// How often lag displays are told; each time costs a connection.
const SHOW_EVERY: Duration = Duration::from_secs(10);

/// How long a shutdown waits for that.
const SHOW_WAIT: Duration = Duration::from_secs(3);

pub(crate) struct Committer {
    pub(crate) writer: Writer,
    pub(crate) letters: DeadLetters,
    pub(crate) brokers: Brokers,
    pub(crate) group: String,
    pub(crate) commit_time: Duration,
    pub(crate) on_progress: OnProgress,
    pub(crate) cancel: CancellationToken,
}

impl Committer {
    /// Commits batch after batch until no more come.
    pub(crate) async fn run(mut self, mut jobs: mpsc::Receiver<Job>) -> Result<Summary, IngestError> {
        let mut summary = Summary::default();
        let mut shown = Instant::now();
        while let Some(job) = jobs.recv().await {
            let sealed = finished(job.await)?;
            summary.add(self.commit(&sealed).await?);
            // 3. Show the offsets. Nobody reads them back, so a crash before this costs nothing.
            if shown.elapsed() >= SHOW_EVERY {
                shown = Instant::now();
                drop(self.show());
            }
        }
        if summary.commits > 0 {
            let last = self.show();
            if timeout(SHOW_WAIT, last).await.is_err() {
                tracing::debug!("the group's offsets were not committed in time");
            }
        }
        Ok(summary)
    }

    async fn commit(&mut self, sealed: &Sealed) -> Result<Committed, IngestError> {
        let Sealed { commit, letters } = sealed;
        // 1. Write dead letters. A crash here leaves letters on the log for messages that will be read again; the next run finds
        //    them there and does not write them twice.
        if !letters.is_empty() {
            self.still_ours(sealed).await?;
            let records = self.set_aside(letters).await?;
            tracing::warn!(messages = letters.len(), "messages set aside as dead letters");
            (self.on_progress)(&Progress::SetAside { messages: letters.len(), records });
        }
        // 2. Commit rows and offsets at once; the crash points within are numbered in the store's writer.
        let version = self.persist(sealed).await?;
        let sum = |count: fn(&wk_store::Range) -> i64| commit.ranges().iter().map(count).sum();
        let committed = Committed {
            version,
            rows: sum(|range| range.rows),
            dead_letters: sum(|range| range.dead_letters),
            absent: sum(|range| range.absent),
            bytes: commit.bytes(),
        };
        tracing::debug!(version, rows = committed.rows, bytes = committed.bytes, "commit");
        (self.on_progress)(&Progress::Committed(committed));
        Ok(committed)
    }

    /// Looks whether another process has gone further, before anything is written outside of the lake.
    async fn still_ours(&self, sealed: &Sealed) -> Result<(), IngestError> {
        let mut tries = Tries::new(self.commit_time);
        let snapshot = loop {
            match self.writer.lake().refresh().await {
                Ok(snapshot) => break snapshot,
                Err(OpenError::Files(error)) if tries.again(&error, &self.cancel).await => {}
                Err(error) => return Err(CommitError::from(error).into()),
            }
        };
        for range in sealed.commit.ranges() {
            let (partition, first) = (range.source(), range.first);
            if let Some(&committed) = snapshot.offsets.0.get(&partition)
                && committed != first
            {
                return Err(IngestError::Shared(CommitError::NotAtEnd { partition, first, committed }));
            }
        }
        Ok(())
    }

    async fn set_aside(&mut self, letters: &[Letter]) -> Result<usize, IngestError> {
        // The log being away is no reason to stop: there is nothing to read from it either.
        let mut tries = Tries::new(Duration::MAX);
        loop {
            match self.letters.write(letters).await {
                Ok(records) => return Ok(records),
                Err(error) if error.disposition() == Disposition::Retry => {
                    if self.cancel.is_cancelled() || !tries.again(&error, &self.cancel).await {
                        return Err(error.into());
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn persist(&mut self, sealed: &Sealed) -> Result<Version, IngestError> {
        let mut tries = Tries::new(self.commit_time);
        loop {
            let error = match self.writer.commit(&sealed.commit).await {
                Ok(version) => return Ok(version),
                Err(error @ (CommitError::Conflict { .. } | CommitError::NotAtEnd { .. })) => {
                    return Err(IngestError::Shared(error));
                }
                Err(error) => error,
            };
            if !passes(&error) || !tries.again(&error, &self.cancel).await {
                return Err(error.into());
            }
        }
    }

    fn show(&self) -> JoinHandle<()> {
        let (brokers, group) = (self.brokers.clone(), self.group.clone());
        let offsets = self.writer.lake().committed();
        tokio::spawn(async move {
            let offsets: Vec<_> =
                offsets.0.iter().map(|(source, next)| (source.topic.name(), source.partition, *next)).collect();
            if let Err(error) = Lag::publish(&brokers, &group, &offsets).await {
                tracing::debug!(%error, group, "the group's offsets were not committed");
            }
        })
    }
}

/// Whether the same commit may succeed later: a disk that is full or away. Making it again is harmless.
const fn passes(error: &CommitError) -> bool {
    matches!(
        error,
        CommitError::Write(_) | CommitError::Open(OpenError::Files(_)) | CommitError::Log(LogError::Files(_))
    )
}

fn finished<T>(job: Result<Result<T, PrepareError>, JoinError>) -> Result<T, IngestError> {
    match job {
        Ok(done) => Ok(done?),
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Tries again, each time after a longer pause, for a limited time.
pub(crate) struct Tries {
    until: Option<Instant>,
    pause: Duration,
}

const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

impl Tries {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { until: Instant::now().checked_add(limit), pause: PAUSES.0 }
    }

    /// Waits before the next try. `false` when the time is up, or when a shutdown ended the wait.
    pub(crate) async fn again(
        &mut self,
        error: &(dyn std::error::Error + Send + Sync),
        cancel: &CancellationToken,
    ) -> bool {
        if self.until.is_some_and(|until| Instant::now() + self.pause > until) {
            return false;
        }
        tracing::warn!(error = chain(error), "failed; trying again");
        let pause = self.pause;
        self.pause = (pause * 2).min(PAUSES.1);
        cancel.run_until_cancelled(tokio::time::sleep(pause)).await.is_some()
    }
}

/// Asks the log until it answers; `None` when a shutdown comes first.
pub(crate) async fn until_answered<T, E, F>(
    cancel: &CancellationToken,
    disposition: fn(&E) -> Disposition,
    mut ask: impl FnMut() -> F,
) -> Option<Result<T, E>>
where
    E: std::error::Error + Send + Sync + 'static,
    F: Future<Output = Result<T, E>>,
{
    let mut tries = Tries::new(Duration::MAX);
    loop {
        match ask().await {
            Err(error) if disposition(&error) == Disposition::Retry => {
                if !tries.again(&error, cancel).await {
                    return None;
                }
            }
            other => return Some(other),
        }
    }
}
