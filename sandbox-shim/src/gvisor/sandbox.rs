//! One sandbox and the containers in it, from its first message to its last.

use super::points::Point;
use super::reading::{Container, Reader, Reading};
use super::wire::{self, WireError};
use crate::causality::{CallTable, Calls};
use crate::contract::{RecordError, Recorder};
use crate::observe::witness::{Sight, Who, Witness};
use std::collections::BTreeMap;
use std::sync::Arc;
use wk_schemas::Timestamp;

/// So many containers may be in one sandbox; what is said of further ones is counted as lost.
const CONTAINERS_MAX: usize = 64;
/// A container whose first process has ended is given so long for the rest of its messages.
const ENDS_AFTER_US: i64 = 5_000_000;
/// Why something is missing that the sandbox itself could not send.
const STAGE: &str = "stream";

/// Where the session of one container is written.
pub trait Book: Send {
    /// Takes its records.
    fn recorder(&self) -> Arc<dyn Recorder>;

    /// Waits as long as nothing more may be taken: the sandbox waits meanwhile, and with it the process that goes on.
    fn wait_for_room(&self);

    /// The container is gone: its first process ended with this status, as `wait` gives it; `None` when that was not seen.
    fn close(self: Box<Self>, status: Option<i32>);

    /// The container's record cannot be kept, so the container must stop.
    fn lose(self: Box<Self>, error: &RecordError);
}

/// Opens books.
pub trait Shelf: Send + Sync {
    /// Opens the session of a container.
    ///
    /// # Errors
    /// When it cannot be opened; then the container is not observed, and must stop.
    fn open(&self, container: &Container) -> anyhow::Result<Box<dyn Book>>;
}

struct Observed {
    book: Box<dyn Book>,
    witness: Witness,
    root: i64,
    ended: Option<i32>,
    last_message_at: Timestamp,
}

/// What is known of one sandbox.
pub(crate) struct Sandbox<'a> {
    shelf: &'a dyn Shelf,
    reader: Reader,
    containers: BTreeMap<String, Observed>,
    dropped: u32,
    /// What was lost before there was a container whose record could say so.
    lost_early: Vec<(i64, String)>,
}

impl<'a> Sandbox<'a> {
    pub(crate) fn new(shelf: &'a dyn Shelf) -> Self {
        Self { shelf, reader: Reader::default(), containers: BTreeMap::new(), dropped: 0, lost_early: Vec::new() }
    }

    /// Takes a message that arrived `now`.
    ///
    /// # Errors
    /// When a session cannot be opened: the sandbox must not go on.
    pub(crate) fn take(&mut self, message: &[u8], now: Timestamp) -> anyhow::Result<()> {
        let frame = match wire::frame(message) {
            Ok(frame) => frame,
            Err(error) => {
                self.lost(now, 1, &error.to_string());
                return Ok(());
            }
        };
        let dropped = frame.dropped.wrapping_sub(self.dropped);
        if dropped > 0 {
            self.dropped = frame.dropped;
            let why = format!("the sandbox could not hand over {dropped} messages, for the socket was full");
            self.lost(now, i64::from(dropped), &why);
        }
        match Point::decode(frame.kind, frame.payload) {
            Ok(Some(point)) => {
                let reading = self.reader.read(&point, now);
                self.follow(reading, now)
            }
            Ok(None) => Ok(()),
            Err(error) => {
                let error = WireError::Payload { kind: frame.kind, why: error.to_string() };
                self.lost(now, 1, &error.to_string());
                Ok(())
            }
        }
    }

    /// Writes down what was counted, and ends the containers that are over.
    pub(crate) fn tick(&mut self, now: Timestamp) {
        let over = |seen: &Observed| seen.ended.is_some() && now.micros_since(seen.last_message_at) > ENDS_AFTER_US;
        let ids: Vec<String> = self.containers.keys().cloned().collect();
        for id in ids {
            if self.containers.get(&id).is_some_and(over) {
                self.close(&id, now);
            } else {
                self.with(&id, |seen| seen.witness.tick(now));
            }
        }
    }

    /// The sandbox is gone.
    pub(crate) fn end(mut self, now: Timestamp) {
        for (count, why) in std::mem::take(&mut self.lost_early) {
            tracing::warn!(count, why, "a sandbox said nothing of a container, and lost messages");
        }
        let ids: Vec<String> = self.containers.keys().cloned().collect();
        for id in ids {
            if self.containers.get(&id).is_some_and(|seen| seen.ended.is_none()) {
                let why = "the stream ended before the container's first process did: it was killed with its sandbox, or is no longer observed";
                self.with(&id, |seen| seen.witness.lost(now, -1, STAGE, why.to_owned()));
            }
            self.close(&id, now);
        }
    }

    fn follow(&mut self, reading: Reading, now: Timestamp) -> anyhow::Result<()> {
        match reading {
            Reading::Nothing => Ok(()),
            Reading::Begins { container, at, who, program } => {
                let id = container.id.clone();
                if !self.containers.contains_key(&id) && !self.open(&container, now)? {
                    return Ok(());
                }
                self.with(&id, |seen| {
                    seen.book.wait_for_room();
                    seen.last_message_at = now;
                    seen.witness.see(at, &who, program)
                });
                Ok(())
            }
            Reading::Saw { container, at, who, sight } => {
                let Some(id) = self.container_of(container, &who, now)? else { return Ok(()) };
                self.with(&id, |seen| {
                    seen.book.wait_for_room();
                    seen.last_message_at = now;
                    if let (Sight::Ended { status }, true) = (&sight, who.pid == seen.root) {
                        seen.ended = Some(*status);
                    }
                    seen.witness.see(at, &who, sight)
                });
                Ok(())
            }
            Reading::LeaderEnded { container, at, who, status } => {
                let Some(id) = self.container_of(container, &who, now)? else { return Ok(()) };
                self.with(&id, |seen| {
                    // The parent of every other process is told, and that says it better: its other threads are gone as well.
                    if who.pid != seen.root || seen.ended.is_some() {
                        return Ok(());
                    }
                    (seen.ended, seen.last_message_at) = (Some(status), now);
                    seen.witness.see(at, &who, Sight::Ended { status })
                });
                Ok(())
            }
        }
    }

    /// The container that a message is about; opened when it was there before its stream.
    fn container_of(&mut self, id: String, who: &Who, now: Timestamp) -> anyhow::Result<Option<String>> {
        if self.containers.contains_key(&id) {
            return Ok(Some(id));
        }
        if id.is_empty() {
            // Numbers of processes mean the same in all of a sandbox.
            let knows = self.containers.iter().find(|(_, seen)| seen.witness.knows(who.pid));
            if let Some((id, _)) = knows.or_else(|| self.containers.iter().next()) {
                return Ok(Some(id.clone()));
            }
        }
        let container = Container { id: id.clone(), arguments: Vec::new(), cwd: String::new(), pid: -1, uid: -1 };
        if !self.open(&container, now)? {
            return Ok(None);
        }
        let why = "the container ran before its stream began: what it did until then was not seen";
        self.with(&id, |seen| seen.witness.lost(now, -1, STAGE, why.to_owned()));
        Ok(Some(id))
    }

    /// Opens a container's session; whether there was room for one more.
    fn open(&mut self, container: &Container, now: Timestamp) -> anyhow::Result<bool> {
        if self.containers.len() >= CONTAINERS_MAX {
            self.lost(now, -1, &format!("the sandbox has more than {CONTAINERS_MAX} containers"));
            return Ok(false);
        }
        let book = self.shelf.open(container)?;
        let causality = Calls::new(CallTable::new(None, Vec::new(), Vec::new()));
        let witness = Witness::new(book.recorder(), causality);
        let seen = Observed { book, witness, root: container.pid, ended: None, last_message_at: now };
        self.containers.insert(container.id.clone(), seen);
        for (count, why) in std::mem::take(&mut self.lost_early) {
            self.with(&container.id, |seen| seen.witness.lost(now, count, STAGE, why));
        }
        Ok(true)
    }

    /// Writes down that messages are missing. Whose they were is known only where there is one container.
    fn lost(&mut self, now: Timestamp, count: i64, why: &str) {
        if self.containers.is_empty() {
            self.lost_early.truncate(CONTAINERS_MAX);
            self.lost_early.push((count, why.to_owned()));
            return;
        }
        let shared = self.containers.len() > 1;
        let ids: Vec<String> = self.containers.keys().cloned().collect();
        for id in ids {
            let (count, why) = if shared {
                (-1, format!("{why}; which of its containers they were about is not known"))
            } else {
                (count, why.to_owned())
            };
            self.with(&id, |seen| seen.witness.lost(now, count, STAGE, why));
        }
    }

    /// Does something for a container. One whose record cannot be kept is given up, and stopped.
    fn with(&mut self, id: &str, act: impl FnOnce(&mut Observed) -> Result<(), RecordError>) {
        let Some(seen) = self.containers.get_mut(id) else { return };
        if let Err(error) = act(seen)
            && let Some(seen) = self.containers.remove(id)
        {
            tracing::error!(%error, container = id, "a container's record cannot be kept; it is stopped");
            let Observed { book, witness, .. } = seen;
            drop(witness);
            book.lose(&error);
        }
    }

    fn close(&mut self, id: &str, now: Timestamp) {
        self.with(id, |seen| seen.witness.finish());
        if let Some(seen) = self.containers.remove(id) {
            tracing::debug!(container = id, at = now.0, "a container is gone");
            let Observed { book, witness, ended, .. } = seen;
            // It holds the recorder, which is about to be closed.
            drop(witness);
            book.close(ended);
        }
    }
}
