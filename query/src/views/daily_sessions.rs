//! View `daily_sessions`: one row for each session of a day.

use super::sessions::{
    AGENT, AGENT_VERSION, APPROVALS_ASKED, CONNECTIONS, DENIED, ENDED, FILES, FINDINGS, FREEZES, MODEL, PARTS,
    PRINCIPAL, PROCESSES, PROMPTS, RECORDS, RECORDS_LOST, STATE, TASK, TOOL_CALLS, USER, WORKSPACE, WORST,
};
use super::{Column, DAY, SESSION, View, column};

pub(super) const VIEW: View = View {
    name: "daily_sessions",
    doc: "One row per day, tenant and session: what it did on that day, and how it stood by then. Mostly answered from what compacted files keep \
          in sum.",
    columns: COLUMNS,
    with: PARTS,
    from: "parts GROUP BY day, tenant, session_id",
};

const COLUMNS: &[Column] = &[
    DAY,
    SESSION,
    column("tenant", "text", "The tenant.", "tenant"),
    column("first_at", "timestamp", "Its first record of that day, by the clock of the source.", "min(first_at)"),
    column("last_at", "timestamp", "Its last record of that day.", "max(last_at)"),
    column("first_seq", "bigint", "The shim's first record of that day: its place in the chain.", "min(first_seq)"),
    column("last_seq", "bigint", "The shim's last record of that day: its place in the chain.", "max(last_seq)"),
    Column { doc: "When it ended in order, if it did on that day.", ..ENDED },
    Column {
        doc: "running, frozen, killed or ended, by the newest fact of that day; running when there is none.",
        ..STATE
    },
    AGENT,
    AGENT_VERSION,
    MODEL,
    PRINCIPAL,
    Column { doc: "User of the host it runs as; null on later days than that of its start.", ..USER },
    column("host", "text", "Name of the host.", "max(host)"),
    Column { doc: "Folder it is meant to work in; null on later days than that of its start.", ..WORKSPACE },
    Column { doc: "What a person asked for first on that day.", ..TASK },
    RECORDS,
    PROMPTS,
    TOOL_CALLS,
    PROCESSES,
    FILES,
    CONNECTIONS,
    DENIED,
    FINDINGS,
    WORST,
    APPROVALS_ASKED,
    FREEZES,
    RECORDS_LOST,
];
