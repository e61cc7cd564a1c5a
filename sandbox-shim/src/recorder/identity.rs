//! What every record of a session says about itself.

use wk_schemas::{Digest, Header, Origin, RecordId, SessionId, Timestamp};

/// Who writes the shim's records.
pub const WRITER: &str = "shim";

/// What every record of a session says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The session.
    pub session_id: SessionId,
    /// The tenant.
    pub tenant: String,
    /// Name of the host.
    pub host: String,
    /// Name of the agent.
    pub agent_name: Option<String>,
    /// Version of the agent.
    pub agent_version: Option<String>,
    /// Model that drives the agent.
    pub agent_model: Option<String>,
    /// On whose behalf the agent runs.
    pub principal: Option<String>,
    /// Digest of the policy in force.
    pub policy_digest: Option<String>,
}

impl Identity {
    /// Reads it from the header of a record.
    pub(super) fn of(header: Header) -> Self {
        Self {
            session_id: header.session_id,
            tenant: header.tenant,
            host: header.host,
            agent_name: header.agent_name,
            agent_version: header.agent_version,
            agent_model: header.agent_model,
            principal: header.principal,
            policy_digest: header.policy_digest,
        }
    }

    /// What all records have in common; the rest is left to each.
    pub(super) fn header(&self) -> Header {
        Header {
            record_id: RecordId(uuid::Uuid::nil()),
            session_id: self.session_id.clone(),
            writer: WRITER.into(),
            seq: 0,
            prev_digest: Digest::ZERO,
            occurred_at: Timestamp(0),
            origin: Origin::Unspecified,
            caused_by: Vec::new(),
            tenant: self.tenant.clone(),
            host: self.host.clone(),
            agent_name: self.agent_name.clone(),
            agent_version: self.agent_version.clone(),
            agent_model: self.agent_model.clone(),
            principal: self.principal.clone(),
            policy_digest: self.policy_digest.clone(),
        }
    }
}
