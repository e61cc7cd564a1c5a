//! View `commands`: one row per command to a shim, with the fact that followed.

use super::{Column, View, column};

pub(super) const VIEW: View = View {
    name: "commands",
    doc: "One row per command to a shim, with the fact that followed it: a command is a wish until then.",
    columns: COLUMNS,
    with: "WITH facts AS (SELECT session_id, kind, occurred_at, CASE kind \
           WHEN 'session_frozen' THEN session_frozen['command_id'] WHEN 'session_resumed' THEN session_resumed['command_id'] \
           WHEN 'session_killed' THEN session_killed['command_id'] ELSE approval_resolved['command_id'] END AS command, \
           CASE kind WHEN 'session_frozen' THEN session_frozen['took_us'] WHEN 'session_resumed' THEN session_resumed['took_us'] \
           WHEN 'session_killed' THEN session_killed['took_us'] END AS took_us FROM records \
           WHERE kind IN ('session_frozen', 'session_resumed', 'session_killed', 'approval_resolved')), \
           fact AS (SELECT session_id, command, min(kind) AS kind, min(occurred_at) AS at, max(took_us) AS took_us \
           FROM facts WHERE command IS NOT NULL GROUP BY session_id, command)",
    from: "(SELECT occurred_at, session_id, record_id, caused_by, day, command FROM records WHERE kind = 'command') c \
           LEFT JOIN fact f ON c.session_id = f.session_id AND c.record_id = f.command",
};

const COLUMNS: &[Column] = &[
    column("time", "timestamp", "When the command was written.", "c.occurred_at"),
    column("session_id", "text", "The run of the agent that it is addressed to.", "c.session_id"),
    column("instruction", "text", "FREEZE, RESUME, KILL, GRANT, DENY or APPLY_POLICY.", "c.command['instruction']"),
    column("ticket", "text", "The question that a grant or a denial answers.", "c.command['ticket']"),
    column("reason", "text", "Why, in a sentence.", "c.command['reason']"),
    column("by", "text", "On whose behalf: watcher, or the person who decided.", "c.command['by']"),
    column("issued_at", "timestamp", "The command is void before this time.", "c.command['issued_at']"),
    column("expires_at", "timestamp", "The command is void after this time.", "c.command['expires_at']"),
    column("key_id", "text", "The key that signed it.", "c.command['key_id']"),
    column("caused_by", "text[]", "The finding's evidence, or the approval, behind it.", "c.caused_by"),
    column("fact", "text", "What followed: session_frozen, approval_resolved, …; null when nothing has.", "f.kind"),
    column("fact_at", "timestamp", "When that was.", "f.at"),
    column("took_us", "bigint", "Microseconds the shim took to carry it out.", "f.took_us"),
    column("record_id", "text", "The command's record; also the command's id.", "c.record_id"),
    column("day", "date", "Day the command entered the log, UTC. A filter on it spares whole files.", "c.day"),
];
