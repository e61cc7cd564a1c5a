//! Makes appends survive a loss of power.
//!
//! The broker's SQLite runs with `synchronous = NORMAL`, which writes a commit to the write-ahead log and leaves it to the
//! system when that reaches the disk: enough against a crash of the process, not against one of the machine. So an append is
//! acknowledged only after the write-ahead log has been synced once more. One sync serves every append that was written
//! before it began, however many there are.
//!
//! The file is opened anew each time: SQLite removes it when its last connection closes, and then everything in it has
//! been synced into the database, so its absence is as good as a sync.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Notify, watch};

/// Syncs on demand.
#[derive(Debug, Clone)]
pub(super) struct Durable(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    wal: PathBuf,
    /// Counts the writes that have ended.
    written: AtomicU64,
    /// How many of them a sync has covered.
    synced: watch::Sender<u64>,
    wanted: Notify,
}

impl Durable {
    /// For the write-ahead log at `wal`. Somebody has to [`run`](Self::run) it.
    pub(super) fn new(wal: PathBuf) -> Self {
        Self(Arc::new(Shared { wal, written: AtomicU64::new(0), synced: watch::Sender::new(0), wanted: Notify::new() }))
    }

    /// Notes that something was written to the file.
    pub(super) fn written(&self) {
        self.0.written.fetch_add(1, Ordering::SeqCst);
    }

    /// Waits until every write noted before this call is on disk. Returns at once when it is.
    ///
    /// Never returns once a sync has failed: what the disk holds is then unknown, and nothing may be acknowledged.
    pub(super) async fn settled(&self) {
        let wanted = self.0.written.load(Ordering::SeqCst);
        let mut synced = self.0.synced.subscribe();
        if *synced.borrow_and_update() >= wanted {
            return;
        }
        self.0.wanted.notify_one();
        if synced.wait_for(|synced| *synced >= wanted).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Syncs whenever somebody waits. Ends only with the first sync that fails.
    pub(super) async fn run(self) -> io::Error {
        loop {
            self.0.wanted.notified().await;
            let covered = self.0.written.load(Ordering::SeqCst);
            if *self.0.synced.borrow() >= covered {
                continue;
            }
            let wal = self.0.wal.clone();
            let synced = tokio::task::spawn_blocking(move || sync(&wal)).await;
            match synced {
                Ok(Ok(())) => self.0.synced.send_replace(covered),
                Ok(Err(error)) => return error,
                Err(error) => return io::Error::other(error),
            };
        }
    }
}

fn sync(wal: &Path) -> io::Result<()> {
    match File::open(wal) {
        Ok(file) => file.sync_data(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    #[tokio::test]
    async fn a_write_is_settled_only_by_a_sync_that_began_after_it() {
        let dir = tempfile::tempdir().unwrap();
        let durable = Durable::new(dir.path().join("log.db-wal"));
        assert_eq!(durable.settled().now_or_never(), Some(()));
        durable.written();
        assert_eq!(durable.settled().now_or_never(), None);
        let running = tokio::spawn(durable.clone().run());
        durable.settled().await;
        durable.written();
        assert_eq!(durable.settled().now_or_never(), None);
        durable.settled().await;
        running.abort();
    }

    #[tokio::test]
    async fn nothing_is_settled_after_a_sync_that_failed() {
        let dir = tempfile::tempdir().unwrap();
        // A folder that is a file: opening below it fails with something else than "not found".
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let durable = Durable::new(file.join("log.db-wal"));
        durable.written();
        let waiting = tokio::spawn({
            let durable = durable.clone();
            async move { durable.settled().await }
        });
        let error = durable.clone().run().await;
        assert_eq!(error.kind(), io::ErrorKind::NotADirectory);
        assert_eq!(durable.settled().now_or_never(), None);
        assert!(!waiting.is_finished());
        waiting.abort();
    }
}
