//! View `file_access`: one row per file touched, repeats folded.

use super::{AGENT, Column, DAY, HOST, RECORD, SESSION, TIME, View, column};

pub(super) const VIEW: View = View {
    name: "file_access",
    doc: "One row per touch of a file; repeats of one process on one path within a second are folded and counted.",
    columns: COLUMNS,
    with: "",
    from: "records WHERE kind = 'file_accessed'",
};

const COLUMNS: &[Column] = &[
    TIME,
    SESSION,
    HOST,
    AGENT,
    column(
        "operation",
        "text",
        "READ, WRITE, CREATE, RENAME, LINK, SYMLINK, UNLINK, MAKE_DIRECTORY, …",
        "file_accessed['operation']",
    ),
    column("path", "text", "Absolute path.", "file_accessed['path']"),
    column("target_path", "text", "The second path of rename, link and symlink.", "file_accessed['target_path']"),
    column("count", "bigint", "How many times within the fold.", "file_accessed['count']"),
    column("last_at", "timestamp", "When the last of them was, for a count above 1.", "file_accessed['last_at']"),
    column(
        "outcome",
        "text",
        "ALLOWED (whether it succeeded is not seen; with ebpf-results in the session's confinement a FAILED follows where it did not), SUCCEEDED, FAILED or DENIED.",
        "file_accessed['outcome']",
    ),
    column("errno", "int", "Number of the error when it failed or was denied.", "file_accessed['errno']"),
    column("pid", "bigint", "Process id in the shim's own numbering.", "file_accessed['actor']['pid']"),
    column(
        "process_uid",
        "text",
        "Stands for the process as long as the host is up.",
        "file_accessed['actor']['process_uid']",
    ),
    column("image", "text", "Program of the process.", "file_accessed['actor']['image']"),
    column("user", "text", "User it runs as.", "file_accessed['actor']['user']"),
    column(
        "tool_call_id",
        "text",
        "The tool call it descends from; null when there is none.",
        "file_accessed['actor']['tool_call_id']",
    ),
    column(
        "mediation",
        "text",
        "DECLARED: a tool call names it. INHERITED: it descends from a call that does not. AGENT: the agent's own. NONE: no call explains it.",
        "file_accessed['actor']['mediation']",
    ),
    column("flags", "bigint", "Flags or mode bits of the system call.", "file_accessed['flags']"),
    column(
        "reason",
        "text",
        "The rule of the policy that decided; null when the default did.",
        "file_accessed['reason']",
    ),
    RECORD,
    DAY,
];
