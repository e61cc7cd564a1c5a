//! What the OCSF views have in common: OCSF 1.9's base event, with the names and the nesting of that schema.
//!
//! Written by hand after the classes' definitions; nothing checks it against OCSF's own schema files yet.

use super::{Column, column};

/// Points in time are milliseconds in OCSF.
pub(super) const TIME: Column =
    column("time", "bigint", "OCSF time: milliseconds since 1970 UTC.", "CAST(occurred_at AS BIGINT) / 1000");
pub(super) const TIME_DT: Column = column("time_dt", "timestamp", "OCSF time_dt.", "occurred_at");
pub(super) const METADATA: Column = column(
    "metadata",
    "struct",
    "OCSF metadata: uid is the record, correlation_uid the session, sequence the place in its writer's chain.",
    "named_struct('uid', record_id, 'correlation_uid', session_id, 'sequence', seq, 'tenant_uid', tenant, 'logged_time', \
     CAST(recorded_at AS BIGINT) / 1000, 'version', '1.9.0', 'product', named_struct('name', 'Watchkeeper', 'vendor_name', 'Watchkeeper'))",
);
pub(super) const DEVICE: Column =
    column("device", "struct", "OCSF device.", "named_struct('hostname', host, 'type_id', 0)");
pub(super) const AI_AGENT: Column = column(
    "ai_agent",
    "struct",
    "OCSF ai_agent: instance_uid is the session.",
    "named_struct('name', agent_name, 'version', agent_version, 'instance_uid', session_id, 'ai_model', \
     named_struct('name', agent_model))",
);
pub(super) const SEVERITY: Column = column("severity_id", "bigint", "OCSF severity_id: 1, Informational.", "1");
pub(super) const DAY: Column = super::DAY;
