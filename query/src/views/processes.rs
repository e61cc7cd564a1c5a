//! View `processes`: one row per program executed.

use super::{AGENT, Column, DAY, HOST, RECORD, SESSION, TIME, View, column};

pub(super) const VIEW: View = View {
    name: "processes",
    doc: "One row per program executed, attempts that failed or were denied included.",
    columns: COLUMNS,
    with: "",
    from: "records WHERE kind = 'process_started'",
};

const COLUMNS: &[Column] = &[
    TIME,
    SESSION,
    HOST,
    AGENT,
    column("pid", "bigint", "Process id in the shim's own numbering.", "process_started['actor']['pid']"),
    column(
        "process_uid",
        "text",
        "Stands for the process as long as the host is up.",
        "process_started['actor']['process_uid']",
    ),
    column("image", "text", "Absolute path of the program.", "process_started['actor']['image']"),
    column("command_line", "text", "Its arguments, joined with spaces.", "process_started['command_line']"),
    column("working_directory", "text", "Its working directory.", "process_started['working_directory']"),
    column("user", "text", "User it runs as.", "process_started['actor']['user']"),
    column("parent_pid", "bigint", "Process id of its parent.", "process_started['parent_pid']"),
    column("parent_process_uid", "text", "Stands for the parent.", "process_started['parent_process_uid']"),
    column("parent_image", "text", "Program of its parent.", "process_started['parent_image']"),
    column("parent_command_line", "text", "Arguments of its parent.", "process_started['parent_command_line']"),
    column(
        "tool_call_id",
        "text",
        "The tool call it descends from; null when there is none.",
        "process_started['actor']['tool_call_id']",
    ),
    column(
        "mediation",
        "text",
        "DECLARED: a tool call names it. INHERITED: it descends from a call that does not. AGENT: the agent's own. NONE: no call explains it.",
        "process_started['actor']['mediation']",
    ),
    column("outcome", "text", "ALLOWED, SUCCEEDED, FAILED or DENIED.", "process_started['outcome']"),
    column("errno", "int", "Number of the error when it failed or was denied.", "process_started['errno']"),
    column(
        "reason",
        "text",
        "The rule of the policy that decided; null when the default did.",
        "process_started['reason']",
    ),
    RECORD,
    DAY,
];
