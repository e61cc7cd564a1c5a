//! View `sessions`: one row per session.
//!
//! Over roll-ups where a file keeps them, and over the records of all other files ([`crate::rolled`]): a list of the sessions of years reads a row for
//! each session and file, and not each record.

use super::{Column, SESSION, View, column};

pub(super) const VIEW: View = View {
    name: "sessions",
    doc: "One row per session: who ran what, where, how it stands, and what was noticed.",
    columns: COLUMNS,
    with: PARTS,
    from: "parts GROUP BY session_id HAVING max(state_at) IS NOT NULL OR sum(acts) > 0",
};

/// What there is of sessions: the sums that a file keeps, and each record of the others as a sum of its own.
pub(super) const PARTS: &str = "WITH parts AS (\
  SELECT \
    day, tenant, session_id, first_at, last_at, first_seq, last_seq, ended, state_at, state, agent, agent_version, model, principal, \
    \"user\", host, workspace, task_at, task, records, prompts, tool_calls, processes, files, connections, denied, findings, worst, \
    approvals_asked, freezes, kills, records_lost, prompts + tool_calls + processes + findings AS acts \
  FROM rollups.sessions \
  UNION ALL \
  SELECT \
    day, tenant, session_id, occurred_at AS first_at, occurred_at AS last_at, CASE WHEN writer = 'shim' THEN seq END AS first_seq, \
    CASE WHEN writer = 'shim' THEN seq END AS last_seq, CASE WHEN kind = 'session_ended' THEN occurred_at END AS ended, \
    CASE WHEN kind IN ('session_started', 'session_frozen', 'session_resumed', 'session_killed', 'session_ended') THEN occurred_at END AS state_at, \
    CASE WHEN kind IN ('session_started', 'session_frozen', 'session_resumed', 'session_killed', 'session_ended') THEN kind END AS state, \
    agent_name AS agent, agent_version, agent_model AS model, principal, session_started['user'] AS \"user\", \
    CASE WHEN writer = 'shim' THEN host END AS host, session_started['workspace'] AS workspace, \
    CASE WHEN kind = 'prompt_submitted' THEN occurred_at END AS task_at, prompt_submitted['text'] AS task, 1 AS records, \
    CASE WHEN kind = 'prompt_submitted' THEN 1 ELSE 0 END AS prompts, CASE WHEN kind = 'tool_called' THEN 1 ELSE 0 END AS tool_calls, \
    CASE WHEN kind = 'process_started' THEN 1 ELSE 0 END AS processes, coalesce(file_accessed['count'], 0) AS files, \
    coalesce(connection_attempted['count'], 0) AS connections, \
    CASE WHEN process_started['outcome'] = 'DENIED' THEN 1 WHEN file_accessed['outcome'] = 'DENIED' THEN file_accessed['count'] \
      WHEN connection_attempted['outcome'] = 'DENIED' THEN connection_attempted['count'] ELSE 0 END AS denied, \
    CASE WHEN kind = 'finding' THEN 1 ELSE 0 END AS findings, \
    CASE finding['level'] WHEN 'INFORMATIONAL' THEN 1 WHEN 'LOW' THEN 2 WHEN 'MEDIUM' THEN 3 WHEN 'HIGH' THEN 4 WHEN 'CRITICAL' THEN 5 END AS worst, \
    CASE WHEN kind = 'approval_requested' THEN 1 ELSE 0 END AS approvals_asked, \
    CASE WHEN kind = 'session_frozen' THEN 1 ELSE 0 END AS freezes, CASE WHEN kind = 'session_killed' THEN 1 ELSE 0 END AS kills, \
    CASE WHEN records_lost['count'] < 0 THEN 1 ELSE coalesce(records_lost['count'], 0) END AS records_lost, \
    CASE WHEN kind IN ('prompt_submitted', 'tool_called', 'process_started', 'finding') THEN 1 ELSE 0 END AS acts \
  FROM rollups.beside_sessions)";

const COLUMNS: &[Column] = &[
    SESSION,
    column("started", "timestamp", "When it started: its first record.", "min(first_at)"),
    ENDED,
    STATE,
    AGENT,
    AGENT_VERSION,
    MODEL,
    PRINCIPAL,
    USER,
    column("host", "text", "Name of the host.", "max(host)"),
    WORKSPACE,
    TASK,
    RECORDS,
    PROMPTS,
    TOOL_CALLS,
    PROCESSES,
    FILES,
    CONNECTIONS,
    FINDINGS,
    WORST,
    APPROVALS_ASKED,
    FREEZES,
    RECORDS_LOST,
];

// Columns that the view `daily_sessions` has, too.
pub(super) const ENDED: Column = column(
    "ended",
    "timestamp",
    "When it ended in order; null while it runs, or when its end was never recorded.",
    "max(ended)",
);
/// Between facts of the same time the one whose name comes last.
pub(super) const STATE: Column = column(
    "state",
    "text",
    "running, frozen, killed or ended, by the newest fact about it.",
    "CASE last_value(state ORDER BY state_at, state) FILTER (WHERE state_at IS NOT NULL) WHEN 'session_frozen' THEN 'frozen' \
     WHEN 'session_killed' THEN 'killed' WHEN 'session_ended' THEN CASE WHEN sum(kills) > 0 THEN 'killed' ELSE 'ended' END \
     ELSE 'running' END",
);
pub(super) const AGENT: Column = column("agent", "text", "Name of the agent.", "max(agent)");
pub(super) const AGENT_VERSION: Column = column("agent_version", "text", "Version of the agent.", "max(agent_version)");
pub(super) const MODEL: Column = column("model", "text", "Model that drives it.", "max(model)");
pub(super) const PRINCIPAL: Column =
    column("principal", "text", "Person or service on whose behalf it runs.", "max(principal)");
pub(super) const USER: Column = column("user", "text", "User of the host it runs as.", "max(\"user\")");
pub(super) const WORKSPACE: Column = column("workspace", "text", "Folder it is meant to work in.", "max(workspace)");
pub(super) const TASK: Column = column(
    "task",
    "text",
    "What a person asked for first.",
    "first_value(task ORDER BY task_at, task) FILTER (WHERE task_at IS NOT NULL)",
);
pub(super) const RECORDS: Column = column("records", "bigint", "Records of it in the lake.", "sum(records)");
pub(super) const PROMPTS: Column = column("prompts", "bigint", "Tasks given.", "sum(prompts)");
pub(super) const TOOL_CALLS: Column = column("tool_calls", "bigint", "Tools asked for.", "sum(tool_calls)");
pub(super) const PROCESSES: Column =
    column("processes", "bigint", "Programs executed, attempts included.", "sum(processes)");
pub(super) const FILES: Column =
    column("files", "bigint", "Times a file was touched, folded ones counted.", "sum(files)");
pub(super) const CONNECTIONS: Column =
    column("connections", "bigint", "Times the network was reached for, folded ones counted.", "sum(connections)");
pub(super) const DENIED: Column = column(
    "denied",
    "bigint",
    "Programs, files and connections that were refused, folded ones counted.",
    "sum(denied)",
);
pub(super) const FINDINGS: Column = column("findings", "bigint", "Findings about it.", "sum(findings)");
pub(super) const WORST: Column = column(
    "worst",
    "text",
    "Highest level among them: INFORMATIONAL, LOW, MEDIUM, HIGH, CRITICAL; null without findings.",
    "CASE max(worst) WHEN 1 THEN 'INFORMATIONAL' WHEN 2 THEN 'LOW' WHEN 3 THEN 'MEDIUM' WHEN 4 THEN 'HIGH' WHEN 5 THEN 'CRITICAL' END",
);
pub(super) const APPROVALS_ASKED: Column =
    column("approvals_asked", "bigint", "Questions put to a person.", "sum(approvals_asked)");
pub(super) const FREEZES: Column = column("freezes", "bigint", "How often it was frozen.", "sum(freezes)");
pub(super) const RECORDS_LOST: Column = column(
    "records_lost",
    "bigint",
    "Records known to be missing; a gap of unknown size counts as one.",
    "sum(records_lost)",
);
