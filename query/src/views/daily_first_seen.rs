//! View `daily_first_seen`: one row for each host, path or program of a day, with the record that saw it first.
//!
//! Over roll-ups where a file keeps them, and over the records of all other files; see [`crate::rolled`].

use super::{Column, View, column};

pub(super) const VIEW: View = View {
    name: "daily_first_seen",
    doc: "One row per day, tenant and host, path or program: who met it first on that day, when, and how often it was met. Mostly answered from \
          what compacted files keep in sum.",
    columns: COLUMNS,
    with: SEEN,
    from: "seen GROUP BY kind, tenant, value, day",
};

/// The sights of one kind that files keep in sum.
macro_rules! kept {
    ($kind:literal, $part:literal) => {
        concat!(
            "SELECT '",
            $kind,
            "' AS kind, tenant, value, day, first_at, record_id, session_id, seq, host, agent, principal, image, outcome, detail, last_at, \
             records, times FROM rollups.",
            $part
        )
    };
}

/// The sights of one of a file's two paths, in the records of the files that keep no sums.
macro_rules! touched {
    ($path:literal) => {
        concat!(
            "SELECT 'path' AS kind, tenant, file_accessed['",
            $path,
            "'] AS value, day, occurred_at AS first_at, record_id, session_id, seq, host, agent_name AS agent, principal, \
             file_accessed['actor']['image'] AS image, file_accessed['outcome'] AS outcome, file_accessed['operation'] AS detail, \
             greatest(file_accessed['last_at'], occurred_at) AS last_at, 1 AS records, file_accessed['count'] AS times \
             FROM rollups.beside_paths WHERE kind = 'file_accessed' AND file_accessed['",
            $path,
            "'] IS NOT NULL"
        )
    };
}

/// Every sight: those of a file that keeps them in sum, and those of each record of the others.
const SEEN: &str = concat!(
    "WITH seen AS (",
    kept!("host", "hosts"),
    " UNION ALL \
     SELECT 'host' AS kind, tenant, coalesce(connection_attempted['host_name'], connection_attempted['address']) AS value, day, \
     occurred_at AS first_at, record_id, session_id, seq, host, agent_name AS agent, principal, \
     connection_attempted['actor']['image'] AS image, connection_attempted['outcome'] AS outcome, connection_attempted['address'] AS detail, \
     greatest(connection_attempted['last_at'], occurred_at) AS last_at, 1 AS records, connection_attempted['count'] AS times \
     FROM rollups.beside_hosts WHERE kind = 'connection_attempted' AND connection_attempted['protocol'] NOT IN ('unix', 'netlink') \
     UNION ALL ",
    kept!("path", "paths"),
    " UNION ALL ",
    touched!("path"),
    " UNION ALL ",
    touched!("target_path"),
    " UNION ALL ",
    kept!("image", "images"),
    " UNION ALL \
     SELECT 'image' AS kind, tenant, process_started['actor']['image'] AS value, day, occurred_at AS first_at, record_id, session_id, seq, host, \
     agent_name AS agent, principal, process_started['parent_image'] AS image, process_started['outcome'] AS outcome, \
     process_started['command_line'] AS detail, occurred_at AS last_at, 1 AS records, 1 AS times \
     FROM rollups.beside_images WHERE kind = 'process_started')",
);

const COLUMNS: &[Column] = &[
    column("day", "date", "Day it entered the log, UTC. A filter on it spares whole files.", "day"),
    column("kind", "text", "host, path or image.", "kind"),
    column(
        "value",
        "text",
        "Name of a remote host, or its address when it has none; absolute path, the second one of a rename or link, too; absolute path of a program.",
        "value",
    ),
    column("tenant", "text", "The tenant.", "tenant"),
    column("first_at", "timestamp", "When it was met first on that day, by the clock of the source.", "min(first_at)"),
    column(
        "session_id",
        "text",
        "The session that met it first.",
        "first_value(session_id ORDER BY first_at, record_id)",
    ),
    column(
        "record_id",
        "text",
        "The record that says so; of several at the same time the one with the smallest id.",
        "first_value(record_id ORDER BY first_at, record_id)",
    ),
    column("seq", "bigint", "Its place in its writer's chain.", "first_value(seq ORDER BY first_at, record_id)"),
    column("host", "text", "Name of the host it happened on.", "first_value(host ORDER BY first_at, record_id)"),
    column("agent", "text", "Name of the agent.", "first_value(agent ORDER BY first_at, record_id)"),
    column(
        "principal",
        "text",
        "Person or service on whose behalf it ran.",
        "first_value(principal ORDER BY first_at, record_id)",
    ),
    column(
        "image",
        "text",
        "Program that did it; for a program the one that started it.",
        "first_value(image ORDER BY first_at, record_id)",
    ),
    column(
        "outcome",
        "text",
        "ALLOWED, SUCCEEDED, FAILED or DENIED, of that first time.",
        "first_value(outcome ORDER BY first_at, record_id)",
    ),
    column(
        "detail",
        "text",
        "Of that first time: the address of a host, the operation on a path, the command line of a program.",
        "first_value(detail ORDER BY first_at, record_id)",
    ),
    column("last_at", "timestamp", "When it was met last on that day.", "max(last_at)"),
    column("records", "bigint", "Records about it.", "sum(records)"),
    column("times", "bigint", "How often it was met, folded ones counted.", "sum(times)"),
];
