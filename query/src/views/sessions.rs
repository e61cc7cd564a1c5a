//! View `sessions`: one row per session.

use super::{Column, SESSION, View, column};

pub(super) const VIEW: View = View {
    name: "sessions",
    doc: "One row per session: who ran what, where, how it stands, and what was noticed.",
    columns: COLUMNS,
    with: "",
    from: "records GROUP BY session_id HAVING bool_or(kind IN ('session_started', 'session_ended', 'prompt_submitted', \
           'tool_called', 'process_started', 'session_frozen', 'session_killed', 'finding'))",
};

const COLUMNS: &[Column] = &[
    SESSION,
    column("started", "timestamp", "When it started: its first record.", "min(occurred_at)"),
    column(
        "ended",
        "timestamp",
        "When it ended in order; null while it runs, or when its end was never recorded.",
        "max(occurred_at) FILTER (WHERE kind = 'session_ended')",
    ),
    column(
        "state",
        "text",
        "running, frozen, killed or ended, by the newest fact about it.",
        "CASE last_value(kind ORDER BY occurred_at) FILTER (WHERE kind IN ('session_started', 'session_frozen', \
         'session_resumed', 'session_killed', 'session_ended')) WHEN 'session_frozen' THEN 'frozen' WHEN 'session_killed' \
         THEN 'killed' WHEN 'session_ended' THEN CASE WHEN bool_or(kind = 'session_killed') THEN 'killed' ELSE 'ended' END \
         ELSE 'running' END",
    ),
    column("agent", "text", "Name of the agent.", "max(agent_name)"),
    column("agent_version", "text", "Version of the agent.", "max(agent_version)"),
    column("model", "text", "Model that drives it.", "max(agent_model)"),
    column("principal", "text", "Person or service on whose behalf it runs.", "max(principal)"),
    column("user", "text", "User of the host it runs as.", "max(session_started['user'])"),
    column("host", "text", "Name of the host.", "max(host) FILTER (WHERE kind = 'session_started')"),
    column("workspace", "text", "Folder it is meant to work in.", "max(session_started['workspace'])"),
    column(
        "task",
        "text",
        "What a person asked for first.",
        "first_value(prompt_submitted['text'] ORDER BY occurred_at) FILTER (WHERE kind = 'prompt_submitted')",
    ),
    column("records", "bigint", "Records of it in the lake.", "count(*)"),
    column("prompts", "bigint", "Tasks given.", "count(*) FILTER (WHERE kind = 'prompt_submitted')"),
    column("tool_calls", "bigint", "Tools asked for.", "count(*) FILTER (WHERE kind = 'tool_called')"),
    column(
        "processes",
        "bigint",
        "Programs executed, attempts included.",
        "count(*) FILTER (WHERE kind = 'process_started')",
    ),
    column(
        "files",
        "bigint",
        "Times a file was touched, folded ones counted.",
        "coalesce(sum(file_accessed['count']) FILTER (WHERE kind = 'file_accessed'), 0)",
    ),
    column(
        "connections",
        "bigint",
        "Times the network was reached for, folded ones counted.",
        "coalesce(sum(connection_attempted['count']) FILTER (WHERE kind = 'connection_attempted'), 0)",
    ),
    column("findings", "bigint", "Findings about it.", "count(*) FILTER (WHERE kind = 'finding')"),
    column(
        "worst",
        "text",
        "Highest level among them: INFORMATIONAL, LOW, MEDIUM, HIGH, CRITICAL; null without findings.",
        "CASE max(CASE finding['level'] WHEN 'INFORMATIONAL' THEN 1 WHEN 'LOW' THEN 2 WHEN 'MEDIUM' THEN 3 WHEN 'HIGH' THEN 4 \
         WHEN 'CRITICAL' THEN 5 END) FILTER (WHERE kind = 'finding') WHEN 1 THEN 'INFORMATIONAL' WHEN 2 THEN 'LOW' WHEN 3 \
         THEN 'MEDIUM' WHEN 4 THEN 'HIGH' WHEN 5 THEN 'CRITICAL' END",
    ),
    column(
        "approvals_asked",
        "bigint",
        "Questions put to a person.",
        "count(*) FILTER (WHERE kind = 'approval_requested')",
    ),
    column("freezes", "bigint", "How often it was frozen.", "count(*) FILTER (WHERE kind = 'session_frozen')"),
    column(
        "records_lost",
        "bigint",
        "Records known to be missing; a gap of unknown size counts as one.",
        "coalesce(sum(CASE WHEN records_lost['count'] < 0 THEN 1 ELSE records_lost['count'] END) \
         FILTER (WHERE kind = 'records_lost'), 0)",
    ),
];
