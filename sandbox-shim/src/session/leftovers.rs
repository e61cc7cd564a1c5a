//! What sessions left that could not bring everything to the log, or died.

use super::is_end;
use crate::clock;
use crate::contract::{Event, Recorder};
use crate::drain::{self, LogAddress};
use crate::outbox::OutboxError;
use crate::recorder::{Journal, Limits};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use wk_schemas::body::SessionEnded;
use wk_schemas::{Origin, SessionId};

/// One outbox that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// Its session.
    pub session_id: SessionId,
    /// Whether its shim had died, so that its end was written now.
    pub had_died: bool,
    /// Records that still wait.
    pub waiting: u64,
}

/// Sends what the outboxes in `folder` hold; those in use by a running session are left alone.
///
/// A session whose shim died without writing its end gets one here: `session_ended` with the reason `shim_failed`.
///
/// # Errors
/// [`OutboxError`] when an outbox cannot be read. The log being away is no error: `waiting` says what is left.
pub fn drain_leftovers(folder: &Path, log: &LogAddress, patience: Duration) -> Result<Vec<Leftover>, OutboxError> {
    let mut done = Vec::new();
    for path in outboxes(folder)? {
        let opening = opening(folder)?;
        if !path.exists() {
            // Its session has ended since, and left nothing.
            continue;
        }
        if path.extension().is_some_and(|extension| extension == SENT) {
            remove(&path);
            continue;
        }
        let identity = match Journal::identity_in(&path) {
            Ok(Some(identity)) => identity,
            Ok(None) => {
                // Its session ended before the first record.
                remove(&path);
                continue;
            }
            Err(OutboxError::Busy { .. }) => continue,
            Err(error) => return Err(error),
        };
        let session_id = identity.session_id.clone();
        // What is there is sent whatever the limits of today are.
        let journal = Journal::open(&path, identity, Limits { records_max: u64::MAX, bytes_max: u64::MAX })?;
        drop(opening);
        let had_died = !is_end(journal.tail().0);
        if had_died {
            let body = SessionEnded { exit_code: None, signal: None, reason: "shim_failed".into(), wall_time_us: 0 };
            let event =
                Event { origin: Origin::Shim, caused_by: Vec::new(), occurred_at: clock::now(), body: body.into() };
            if let Err(error) = journal.record(event) {
                tracing::warn!(%error, %session_id, "the end of a session that died could not be written");
            }
        }
        if let Err(error) = journal.close() {
            tracing::warn!(%error, %session_id, "an outbox could not be closed in order");
        }
        let waiting = send(&journal, log, patience)?;
        remove_when_empty(journal, waiting);
        done.push(Leftover { session_id, had_died, waiting });
    }
    Ok(done)
}

/// Held while an outbox is opened or removed, so that nobody takes a session that is just beginning for one that has died, or sends
/// once more what half an outbox no longer knows to be sent.
pub(super) fn opening(folder: &Path) -> Result<File, OutboxError> {
    let io = |source| OutboxError::Io { path: folder.to_owned(), source };
    fs::create_dir_all(folder).map_err(io)?;
    let lock = File::options().create(true).truncate(false).write(true).open(folder.join("opening")).map_err(io)?;
    lock.lock().map_err(io)?;
    Ok(lock)
}

fn outboxes(folder: &Path) -> Result<Vec<PathBuf>, OutboxError> {
    let io = |source| OutboxError::Io { path: folder.to_owned(), source };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io(error)),
    };
    let mut paths = entries.map(|e| e.map(|e| e.path())).collect::<Result<Vec<_>, _>>().map_err(io)?;
    paths.retain(|p| p.is_dir());
    paths.sort();
    Ok(paths)
}

fn send(journal: &Journal, log: &LogAddress, patience: Duration) -> Result<u64, OutboxError> {
    let io = |source| OutboxError::Io { path: journal.folder(), source };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(io)?;
    runtime.block_on(async {
        let give_up = CancellationToken::new();
        let timer = async {
            tokio::time::sleep(patience).await;
            give_up.cancel();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            done = drain::drain(journal, log, &give_up, None) => done.map(drop),
            () = timer => Ok(()),
        }
    })?;
    Ok(journal.waiting().0)
}

/// How long threads that are at their end may take to let go of the journal.
const LETTING_GO: Duration = Duration::from_secs(5);

/// Removes the outbox of a session that is over and has nothing left to send. One that stays is removed by the next session.
pub(super) fn remove_when_empty(journal: Arc<Journal>, waiting: u64) {
    if waiting > 0 {
        return;
    }
    let folder = journal.folder();
    let start = clock::instant();
    while Arc::strong_count(&journal) > 1 && start.elapsed() < LETTING_GO {
        std::thread::sleep(Duration::from_millis(1));
    }
    // Before the outbox is given up: nobody opens it from now on.
    let opening = match opening(folder.parent().unwrap_or(&folder)) {
        Ok(opening) => opening,
        Err(error) => return tracing::warn!(%error, "an empty outbox could not be removed"),
    };
    // The database is closed when nobody holds the journal any more.
    if Arc::into_inner(journal).is_some() {
        remove(&folder);
    }
    drop(opening);
}

/// What an outbox that only waits to be removed is called. A process that dies in the middle of that leaves half an outbox, which
/// must not be taken for one that has something to send.
const SENT: &str = "sent";

fn remove(folder: &Path) {
    let sent = folder.with_extension(SENT);
    if let Err(error) = fs::rename(folder, &sent).and_then(|()| fs::remove_dir_all(&sent)) {
        tracing::warn!(%error, folder = %folder.display(), "an empty outbox could not be removed");
    }
}
