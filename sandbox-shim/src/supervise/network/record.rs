//! What was done with the network, and the records of it.

use super::super::core::{Core, Stop};
use crate::clock;
use crate::observe::dns;
use crate::process::Process;
use std::net::SocketAddr;
use wk_schemas::body::{ConnectionAttempted, NameResolved, NetworkOperation, Outcome};
use wk_schemas::{Origin, RecordId};

/// One thing done with the network, as a record shows it.
#[derive(Debug, Clone)]
pub(in crate::supervise) struct Attempt {
    pub(crate) operation: NetworkOperation,
    pub(in crate::supervise) protocol: String,
    pub(in crate::supervise) address: String,
    pub(in crate::supervise) port: Option<i32>,
    pub(in crate::supervise) host_name: Option<String>,
}

impl Attempt {
    pub(crate) fn internet(operation: NetworkOperation, protocol: &str, to: SocketAddr, names: &[String]) -> Self {
        Self {
            operation,
            protocol: protocol.to_owned(),
            address: to.ip().to_string(),
            port: Some(i32::from(to.port())),
            host_name: names.first().filter(|name| *name != "localhost").cloned(),
        }
    }

    pub(super) fn local(operation: NetworkOperation, address: String) -> Self {
        Self { operation, protocol: "unix".to_owned(), address, port: None, host_name: None }
    }

    fn object(&self) -> &str {
        self.host_name.as_deref().unwrap_or(&self.address)
    }
}

impl Core {
    /// Writes down a question for a name, when these bytes are one.
    pub(super) fn note_question(&self, process: &Process, port: u16, data: &[u8]) -> Result<(), Stop> {
        let Some(question) = (port == 53).then(|| dns::question(data)).flatten() else { return Ok(()) };
        self.names.asked(&question.name);
        let (tool_call_id, mediation) = self.causality.mediation(&process.tie, &question.name);
        let body = NameResolved {
            actor: process.actor(tool_call_id, mediation),
            name: question.name,
            record_type: question.record_type,
            addresses: Vec::new(),
            // With a proxy, whoever else is asked is not reached.
            outcome: if self.out.is_none() { Outcome::Allowed } else { Outcome::Denied },
        };
        self.record(Origin::Kernel, clock::now(), body.into()).map(drop)
    }

    /// An attempt that is let through; on the disk before it returns.
    pub(super) fn record_first(
        &self,
        process: &Process,
        attempt: &Attempt,
        reason: Option<String>,
    ) -> Result<(), Stop> {
        let body = self.attempt_body(process, attempt, Outcome::Allowed, None, reason, 1);
        self.record_durable(Origin::Kernel, clock::now(), vec![], body.into()).map(drop)
    }

    /// An attempt and what became of it; a `count` of 0 when it was counted before.
    pub(super) fn record_attempt(
        &self,
        process: &Process,
        attempt: &Attempt,
        outcome: Outcome,
        errno: Option<i32>,
        reason: Option<String>,
        count: i64,
    ) -> Result<RecordId, Stop> {
        let body = self.attempt_body(process, attempt, outcome, errno, reason, count);
        self.record(Origin::Kernel, clock::now(), body.into())
    }

    pub(crate) fn attempt_body(
        &self,
        process: &Process,
        attempt: &Attempt,
        outcome: Outcome,
        errno: Option<i32>,
        reason: Option<String>,
        count: i64,
    ) -> ConnectionAttempted {
        let (tool_call_id, mediation) = self.causality.mediation(&process.tie, attempt.object());
        ConnectionAttempted {
            actor: process.actor(tool_call_id, mediation),
            operation: attempt.operation,
            protocol: attempt.protocol.clone(),
            address: attempt.address.clone(),
            port: attempt.port,
            host_name: attempt.host_name.clone(),
            outcome,
            errno,
            count,
            last_at: None,
            reason,
        }
    }
}
