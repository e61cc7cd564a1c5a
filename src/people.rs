//! A person's decision, signed and put on the log. The watcher turns it into a command; nobody commands the shim directly.

use crate::clock;
use crate::config::Settings;
use crate::log;
use anyhow::Context as _;
use std::path::PathBuf;
use wk_schemas::body::{Approval, Instruction};
use wk_schemas::command::Signed as _;
use wk_schemas::{Bytes, Chain, Header, Origin, RecordId, SessionId, Topic};
use wk_wire::Append as _;

/// What a person wants, and why.
#[derive(Debug)]
pub(crate) struct Wish {
    pub(crate) session: SessionId,
    pub(crate) decision: Instruction,
    pub(crate) ticket: Option<RecordId>,
    pub(crate) reason: String,
    /// The key of the person; that of the data folder where none is named.
    pub(crate) key: Option<PathBuf>,
}

/// Signs the wish with the approver's key and appends it. Returns the record's id once the log has it.
///
/// # Errors
/// When no log is running, or it does not take the record.
pub(crate) async fn decide(settings: &Settings, wish: Wish) -> anyhow::Result<RecordId> {
    let log = log::connect(settings).await?;
    let id = clock::new_id();
    let mut approval = Approval {
        decision: wish.decision,
        ticket: wish.ticket,
        approver: settings.principal.clone(),
        reason: wish.reason,
        key_id: String::new(),
        signature: Bytes::default(),
    };
    approval.sign(&wish.session, id, &settings.home.approver_key(wish.key.as_deref())?);
    // Every call is a writer of its own: there is no place to keep a chain between two calls.
    let writer = format!("cli/{id}");
    let header = Header {
        caused_by: wish.ticket.into_iter().collect(),
        ..log::header(settings, id, &wish.session, &writer, Origin::Person)
    };
    let (_, datum) = Chain::default().seal(header, approval.into());
    let value = wk_wire::frame(log.schema_id, &datum);
    log.producer
        .append(Topic::Approvals.name(), wish.session.as_str().as_bytes(), &value)
        .await
        .context("the log did not take the decision")?;
    Ok(id)
}
