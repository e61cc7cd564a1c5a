//! View `ocsf_process_activity`: OCSF class 1007.

use super::ocsf::{AI_AGENT, DAY, DEVICE, METADATA, SEVERITY, TIME, TIME_DT};
use super::{Column, View, column};

pub(super) const VIEW: View = View {
    name: "ocsf_process_activity",
    doc: "OCSF 1.9 Process Activity (1007): programs executed and processes ended.",
    columns: COLUMNS,
    with: "",
    from: "records WHERE kind IN ('process_started', 'process_exited')",
};

const COLUMNS: &[Column] = &[
    TIME,
    TIME_DT,
    column("category_uid", "bigint", "OCSF category_uid: 1, System Activity.", "1"),
    column("class_uid", "bigint", "OCSF class_uid: 1007.", "1007"),
    column(
        "activity_id",
        "bigint",
        "OCSF activity_id: 1 Launch, 2 Terminate.",
        "CASE kind WHEN 'process_started' THEN 1 ELSE 2 END",
    ),
    column(
        "type_uid",
        "bigint",
        "OCSF type_uid: class_uid * 100 + activity_id.",
        "CASE kind WHEN 'process_started' THEN 100701 ELSE 100702 END",
    ),
    SEVERITY,
    column(
        "status_id",
        "bigint",
        "OCSF status_id: 0 Unknown, 1 Success, 2 Failure.",
        "CASE WHEN kind = 'process_exited' OR process_started['outcome'] = 'SUCCEEDED' THEN 1 \
         WHEN process_started['outcome'] = 'ALLOWED' THEN 0 ELSE 2 END",
    ),
    column("status_detail", "text", "OCSF status_detail: the rule that decided.", "process_started['reason']"),
    column(
        "disposition_id",
        "bigint",
        "OCSF disposition_id: 1 Allowed, 2 Blocked.",
        "CASE WHEN kind = 'process_started' AND process_started['outcome'] = 'DENIED' THEN 2 ELSE 1 END",
    ),
    column("exit_code", "int", "OCSF exit_code.", "process_exited['exit_code']"),
    column("duration", "bigint", "OCSF duration, in milliseconds.", "process_exited['wall_time_us'] / 1000"),
    column(
        "process",
        "struct",
        "OCSF process, with its parent_process.",
        "CASE kind WHEN 'process_started' THEN named_struct('pid', process_started['actor']['pid'], 'uid', \
         process_started['actor']['process_uid'], 'cmd_line', process_started['command_line'], 'working_directory', \
         process_started['working_directory'], 'file', named_struct('path', process_started['actor']['image'], 'type_id', 1), \
         'user', named_struct('name', process_started['actor']['user']), 'parent_process', named_struct('pid', \
         process_started['parent_pid'], 'uid', process_started['parent_process_uid'], 'cmd_line', \
         process_started['parent_command_line'], 'file', named_struct('path', process_started['parent_image'], 'type_id', 1))) \
         ELSE named_struct('pid', process_exited['actor']['pid'], 'uid', process_exited['actor']['process_uid'], 'cmd_line', \
         NULL, 'working_directory', NULL, 'file', named_struct('path', process_exited['actor']['image'], 'type_id', 1), 'user', \
         named_struct('name', process_exited['actor']['user']), 'parent_process', NULL) END",
    ),
    DEVICE,
    AI_AGENT,
    METADATA,
    DAY,
];
