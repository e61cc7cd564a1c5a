//! View `approvals`: one row per held action: what was asked, and what was answered.

use super::{AGENT, Column, View, column};

pub(super) const VIEW: View = View {
    name: "approvals",
    doc: "One row per held action: what was asked, who answered what, and how long it waited.",
    columns: COLUMNS,
    with: "WITH resolved AS (SELECT session_id, approval_resolved['ticket'] AS ticket, min(occurred_at) AS at, \
           min(approval_resolved['resolution']) AS resolution, min(approval_resolved['by']) AS by_whom, \
           min(approval_resolved['reason']) AS reason, max(approval_resolved['waited_us']) AS waited_us \
           FROM records WHERE kind = 'approval_resolved' GROUP BY session_id, approval_resolved['ticket']), \
           decided AS (SELECT session_id, approval['ticket'] AS ticket, min(occurred_at) AS at, \
           min(approval['approver']) AS approver FROM records \
           WHERE kind = 'approval' AND approval['ticket'] IS NOT NULL GROUP BY session_id, approval['ticket'])",
    from: "(SELECT occurred_at, session_id, agent_name, record_id, day, approval_requested AS q FROM records \
           WHERE kind = 'approval_requested') a \
           LEFT JOIN resolved r ON a.session_id = r.session_id AND a.q['ticket'] = r.ticket \
           LEFT JOIN decided d ON a.session_id = d.session_id AND a.q['ticket'] = d.ticket",
};

const COLUMNS: &[Column] = &[
    column("asked", "timestamp", "When the action was held.", "a.occurred_at"),
    column("session_id", "text", "The run of the agent that it belongs to.", "a.session_id"),
    AGENT,
    column("ticket", "text", "Names the question.", "a.q['ticket']"),
    column("state", "text", "OPEN, GRANTED, DENIED, EXPIRED or ABANDONED.", "coalesce(r.resolution, 'OPEN')"),
    column("action", "text", "connect, send, bind, execute, read, write, …, tool_call.", "a.q['action']"),
    column("subject", "text", "The action in one line.", "a.q['subject']"),
    column("reason", "text", "Why the policy holds it.", "a.q['reason']"),
    column("image", "text", "Program of the process that waits; null for a tool call.", "a.q['actor']['image']"),
    column(
        "tool_call_id",
        "text",
        "The tool call that waits or that the process descends from.",
        "a.q['tool_call_id']",
    ),
    column("path", "text", "Path, for a file or a program.", "a.q['path']"),
    column("address", "text", "IP address, for a connection.", "a.q['address']"),
    column("port", "int", "Port, for a connection.", "a.q['port']"),
    column("host_name", "text", "Host name, for a connection.", "a.q['host_name']"),
    column("deadline", "timestamp", "When the hold ends in a denial.", "a.q['deadline']"),
    column("decided", "timestamp", "When a person decided; null when nobody has.", "d.at"),
    column("answered", "timestamp", "When the action went on or was refused; null while it waits.", "r.at"),
    column("by", "text", "Who answered; null when nobody did.", "coalesce(r.by_whom, d.approver)"),
    column("answer", "text", "Why, in a sentence.", "r.reason"),
    column("waited_us", "bigint", "Microseconds the action waited.", "r.waited_us"),
    column("record_id", "text", "The record of the question.", "a.record_id"),
    column("day", "date", "Day the question entered the log, UTC. A filter on it spares whole files.", "a.day"),
];
