//! View `tool_calls`: one row per call of a tool, with its return.

use super::{AGENT, Column, View, column};

pub(super) const VIEW: View = View {
    name: "tool_calls",
    doc: "One row per call of a tool, together with what it returned.",
    columns: COLUMNS,
    with: "WITH returned AS (SELECT session_id, tool_returned['tool_call_id'] AS call, min(occurred_at) AS at, \
           bool_and(tool_returned['success']) AS success, max(tool_returned['output']) AS output, \
           max(tool_returned['output_bytes']) AS output_bytes, max(tool_returned['duration_us']) AS duration_us \
           FROM records WHERE kind = 'tool_returned' GROUP BY session_id, tool_returned['tool_call_id'])",
    from: "(SELECT occurred_at, session_id, agent_name, origin, record_id, day, tool_called FROM records \
           WHERE kind = 'tool_called') c LEFT JOIN returned r \
           ON c.session_id = r.session_id AND c.tool_called['tool_call_id'] = r.call",
};

const COLUMNS: &[Column] = &[
    column("time", "timestamp", "When the tool was asked for.", "c.occurred_at"),
    column("session_id", "text", "The run of the agent that it belongs to.", "c.session_id"),
    AGENT,
    column("tool_call_id", "text", "The agent's own id of the call.", "tool_called['tool_call_id']"),
    column("tool", "text", "The tool's name as the agent says it: Bash, Read, apply_patch.", "tool_called['tool']"),
    column(
        "tool_class",
        "text",
        "What it does: shell, read, edit, write, search, fetch, plan, agent, other.",
        "tool_called['tool_class']",
    ),
    column("command", "text", "The shell command, when the tool is a shell.", "tool_called['command_text']"),
    column("arguments", "text", "The arguments as JSON, cut when long.", "tool_called['arguments']"),
    column("working_directory", "text", "Working directory at the call.", "tool_called['working_directory']"),
    column(
        "subagent_id",
        "text",
        "The sub-agent that called; null for the agent itself.",
        "tool_called['subagent_id']",
    ),
    column(
        "decision",
        "text",
        "What the shim answered: allowed, denied, observed (seen after the fact).",
        "tool_called['decision']",
    ),
    column("reason", "text", "The reason given to the agent when it was denied.", "tool_called['reason']"),
    column("returned", "timestamp", "When the answer was seen; null while there is none.", "r.at"),
    column("success", "boolean", "Whether the agent takes it for a success; null when it does not say.", "r.success"),
    column("output", "text", "The answer, cut when long.", "r.output"),
    column("output_bytes", "bigint", "Bytes of the whole answer.", "r.output_bytes"),
    column("duration_us", "bigint", "Microseconds the call took, as the agent says.", "r.duration_us"),
    column("channel", "text", "Where the call was seen: hook, stream, transcript, jsonl.", "tool_called['channel']"),
    column("origin", "text", "Where the content comes from, and so how far it can be trusted.", "c.origin"),
    column("record_id", "text", "The record of the call.", "c.record_id"),
    column("day", "date", "Day the call entered the log, UTC. A filter on it spares whole files.", "c.day"),
];
