//! The record: one header, one body.

use crate::avro::{Avro, Field, Input, avro_enum, doc};
use crate::body::{Body, Kind};
use crate::codec::CodecError;
use crate::digest::Digest;
use crate::ids::{RecordId, SessionId};
use crate::time::Timestamp;

avro_enum! {
    /// Where a record's content comes from, and so how far it can be trusted.
    pub enum Origin {
        /// The kernel, through the shim: what happened.
        Kernel = "KERNEL",
        /// The agent's hook: what the agent says it is about to do.
        Hook = "HOOK",
        /// The agent's stream or transcript: what the agent says it did.
        Transcript = "TRANSCRIPT",
        /// The egress proxy.
        Proxy = "PROXY",
        /// The shim itself: what it decided and did.
        Shim = "SHIM",
        /// The watcher.
        Watcher = "WATCHER",
        /// A person.
        Person = "PERSON",
        /// The lake's own services: ingest and query.
        Lake = "LAKE",
    }
}

macro_rules! header {
    ($($(#[doc = $fdoc:literal])+ pub $field:ident : $ty:ty,)*) => {
        /// What every record says about itself.
        #[derive(Debug, Clone, PartialEq)]
        pub struct Header { $($(#[doc = $fdoc])+ pub $field: $ty,)* }

        impl Header {
            pub(crate) fn write(&self, kind: Kind, out: &mut Vec<u8>) {
                $(self.$field.write(out);)*
                kind.write(out);
            }
            pub(crate) fn read(input: &mut Input<'_>) -> Result<(Self, Kind), CodecError> {
                Ok((Self { $($field: <$ty>::read(input)?,)* }, Kind::read(input)?))
            }
            pub(crate) fn shapes() -> Vec<Field> {
                vec![
                    $((stringify!($field).to_owned(), doc(&[$($fdoc),+]), <$ty as Avro>::shape()),)*
                    ("kind".to_owned(), "Which of the sub-records below is set.".to_owned(), Kind::shape()),
                ]
            }
        }
    };
}

header! {
    /// Identifies this record for ever. OCSF: metadata.uid.
    pub record_id: RecordId,
    /// The run of the agent that it belongs to. OCSF: metadata.correlation_uid.
    pub session_id: SessionId,
    /// Who wrote it: shim, watcher, ingest, query, or cli/ and a UUID. Each writer has one chain per topic and session.
    pub writer: String,
    /// Place in that chain: 0, 1, 2, without a gap. OCSF: metadata.sequence.
    pub seq: i64,
    /// SHA-256 of the record before it in that chain, as encoded; 32 zero bytes for seq 0. OCSF: attestation.prev_event.
    pub prev_digest: Digest,
    /// When it happened, by the clock of the source. OCSF: time.
    pub occurred_at: Timestamp,
    /// Where the content comes from, and so how far it can be trusted.
    pub origin: Origin,
    /// The records that led to this one: a command behind a freeze, the evidence behind a finding.
    pub caused_by: Vec<RecordId>,
    /// The tenant. OCSF: metadata.tenant_uid.
    pub tenant: String,
    /// Name of the host. Sigma: Computer. OCSF: device.hostname.
    pub host: String,
    /// Name of the agent. OCSF: ai_agent.name.
    pub agent_name: Option<String>,
    /// Version of the agent. OCSF: ai_agent.version.
    pub agent_version: Option<String>,
    /// Model that drives the agent. OCSF: ai_agent.ai_model.name.
    pub agent_model: Option<String>,
    /// The person or service on whose behalf the agent runs. OCSF: actor.user.name.
    pub principal: Option<String>,
    /// SHA-256, in hex, of the policy in force. OCSF: policy.uid.
    pub policy_digest: Option<String>,
}

/// An event and its place in the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// What every record says about itself.
    pub header: Header,
    /// What this one says.
    pub body: Body,
}

impl Record {
    /// Which kind of record it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.body.kind()
    }
}
