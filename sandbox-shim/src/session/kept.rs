//! What becomes of an ephemeral workspace at the end of its session: the question to a person, on the log and beside the layers.

use crate::clock;
use crate::contract::{Event, Recorder};
use crate::ephemeral::{Changes, Overlay};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::Path;
use wk_schemas::body::ApprovalRequested;
use wk_schemas::{Origin, RecordId, SessionId};

/// The question whether a workspace is to be made what the session made of its overlay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// Its ticket.
    pub ticket: String,
    /// SHA-256 of the list of changes that it is about, in hex.
    pub digest: String,
}

/// Bytes of the list of changes that stand in the record; the digest is of the whole.
const LIST_MAX: usize = 16 << 10;

/// The question has no end; it is written down as one for this long, because every question has a deadline.
const ASKED_FOR_US: i64 = 10 * 365 * 86_400 * 1_000_000;

const FILE: &str = "question.json";

impl Question {
    /// The question about these changes, and what is recorded of it.
    #[must_use]
    pub fn about(workspace: &Path, changes: &Changes) -> (Self, ApprovalRequested) {
        let (ticket, digest) = (RecordId(clock::new_id()), changes.digest().to_hex());
        let mut list = changes.text();
        if list.len() > LIST_MAX {
            list.truncate(list.floor_char_boundary(LIST_MAX));
            list.push('…');
        }
        let workspace = workspace.display().to_string();
        let body = ApprovalRequested {
            ticket,
            action: "apply_workspace".to_owned(),
            subject: format!("apply to {workspace}: {} (list {digest})", changes.counts()),
            actor: None,
            tool_call_id: None,
            path: Some(workspace),
            address: None,
            port: None,
            host_name: None,
            reason: format!("the workspace was ephemeral; the agent changed\n{list}"),
            deadline: clock::now().plus_micros(ASKED_FOR_US),
        };
        (Self { ticket: ticket.to_string(), digest }, body)
    }
}

/// Records what the session changed, as a question; the changes, when there are any. Without any, the layers are removed.
pub(super) fn ask(session: &SessionId, overlay: &Overlay, recorder: &dyn Recorder) -> Option<Changes> {
    let asked = overlay.changes().and_then(|changes| {
        if changes.0.is_empty() {
            overlay.discard()?;
            return Ok(None);
        }
        let (question, body) = Question::about(overlay.workspace(), &changes);
        let event = Event { origin: Origin::Shim, caused_by: Vec::new(), occurred_at: clock::now(), body: body.into() };
        recorder.record(event).map_err(io::Error::other)?;
        let text = serde_json::to_vec(&question)?;
        fs::write(overlay.folder().join(FILE), text)?;
        Ok(Some(changes))
    });
    asked.unwrap_or_else(|error| {
        // They stay where they are, and `wk workspace show` reads them again.
        tracing::error!(%error, session_id = %session, "what the agent changed could not be written down");
        None
    })
}

/// The question that a session ended with; `None` when its shim died before.
///
/// # Errors
/// When it cannot be read.
pub fn question_of(overlay: &Overlay) -> io::Result<Option<Question>> {
    match fs::read(overlay.folder().join(FILE)) {
        Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
