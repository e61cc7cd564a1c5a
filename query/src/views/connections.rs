//! View `connections`: one row per reach for the network, let through, refused or held.

use super::{AGENT, Column, DAY, HOST, RECORD, SESSION, TIME, View, column};

pub(super) const VIEW: View = View {
    name: "connections",
    doc: "One row per reach for the network or a local socket, and one for each that was held until a person answered.",
    columns: COLUMNS,
    with: "",
    from: "records WHERE kind = 'connection_attempted' OR (kind = 'approval_requested' AND approval_requested['action'] IN \
           ('connect', 'send', 'bind'))",
};

const COLUMNS: &[Column] = &[
    TIME,
    SESSION,
    HOST,
    AGENT,
    column(
        "operation",
        "text",
        "CONNECT, SEND, BIND or LISTEN.",
        "CASE kind WHEN 'connection_attempted' THEN connection_attempted['operation'] ELSE upper(approval_requested['action']) END",
    ),
    column("protocol", "text", "tcp, udp, unix, netlink; null for a hold.", "connection_attempted['protocol']"),
    column(
        "address",
        "text",
        "IP address, or the path of a local socket.",
        "CASE kind WHEN 'connection_attempted' THEN connection_attempted['address'] ELSE approval_requested['address'] END",
    ),
    column(
        "port",
        "int",
        "Port; null where there is none.",
        "CASE kind WHEN 'connection_attempted' THEN connection_attempted['port'] ELSE approval_requested['port'] END",
    ),
    column(
        "host_name",
        "text",
        "Host name, when it is known.",
        "CASE kind WHEN 'connection_attempted' THEN connection_attempted['host_name'] ELSE approval_requested['host_name'] END",
    ),
    column(
        "outcome",
        "text",
        "ALLOWED, SUCCEEDED, FAILED, DENIED; HELD for the moment it was held, which is followed by a row with its outcome.",
        "CASE kind WHEN 'connection_attempted' THEN connection_attempted['outcome'] ELSE 'HELD' END",
    ),
    column("errno", "int", "Number of the error when it failed or was denied.", "connection_attempted['errno']"),
    column(
        "count",
        "bigint",
        "How many times within the fold.",
        "CASE kind WHEN 'connection_attempted' THEN connection_attempted['count'] ELSE 1 END",
    ),
    column(
        "last_at",
        "timestamp",
        "When the last of them was, for a count above 1.",
        "connection_attempted['last_at']",
    ),
    column(
        "pid",
        "bigint",
        "Process id in the shim's own numbering.",
        "CASE kind WHEN 'connection_attempted' THEN connection_attempted['actor']['pid'] ELSE approval_requested['actor']['pid'] END",
    ),
    column(
        "image",
        "text",
        "Program of the process.",
        "CASE kind WHEN 'connection_attempted' THEN connection_attempted['actor']['image'] ELSE approval_requested['actor']['image'] END",
    ),
    column(
        "user",
        "text",
        "User it runs as.",
        "CASE kind WHEN 'connection_attempted' THEN connection_attempted['actor']['user'] ELSE approval_requested['actor']['user'] END",
    ),
    column(
        "tool_call_id",
        "text",
        "The tool call it descends from; null when there is none.",
        "CASE kind WHEN 'connection_attempted' THEN connection_attempted['actor']['tool_call_id'] ELSE approval_requested['tool_call_id'] END",
    ),
    column(
        "mediation",
        "text",
        "DECLARED: a tool call names it. INHERITED: it descends from a call that does not. AGENT: the agent's own. NONE: no call explains it.",
        "CASE kind WHEN 'connection_attempted' THEN connection_attempted['actor']['mediation'] ELSE approval_requested['actor']['mediation'] END",
    ),
    column(
        "reason",
        "text",
        "The rule of the policy that decided, or why it was held; null when the default decided.",
        "CASE kind WHEN 'connection_attempted' THEN connection_attempted['reason'] ELSE approval_requested['reason'] END",
    ),
    column(
        "ticket",
        "text",
        "The question that was asked about it; null when none was.",
        "approval_requested['ticket']",
    ),
    RECORD,
    DAY,
];
