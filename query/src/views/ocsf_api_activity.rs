//! View `ocsf_api_activity`: OCSF class 6003.

use super::ocsf::{AI_AGENT, DAY, DEVICE, METADATA, SEVERITY, TIME, TIME_DT};
use super::{Column, View, column};

pub(super) const VIEW: View = View {
    name: "ocsf_api_activity",
    doc: "OCSF 1.9 API Activity (6003): tools that agents called. OCSF has no class of its own for them yet.",
    columns: COLUMNS,
    with: "",
    from: "records WHERE kind = 'tool_called'",
};

const COLUMNS: &[Column] = &[
    TIME,
    TIME_DT,
    column("category_uid", "bigint", "OCSF category_uid: 6, Application Activity.", "6"),
    column("class_uid", "bigint", "OCSF class_uid: 6003.", "6003"),
    column(
        "activity_id",
        "bigint",
        "OCSF activity_id: 1 Create, 2 Read, 3 Update, 99 Other; by what the tool does.",
        "CASE tool_called['tool_class'] WHEN 'write' THEN 1 WHEN 'read' THEN 2 WHEN 'search' THEN 2 WHEN 'fetch' THEN 2 WHEN 'edit' THEN 3 ELSE 99 END",
    ),
    column(
        "type_uid",
        "bigint",
        "OCSF type_uid: class_uid * 100 + activity_id.",
        "600300 + CASE tool_called['tool_class'] WHEN 'write' THEN 1 WHEN 'read' THEN 2 WHEN 'search' THEN 2 WHEN 'fetch' THEN 2 WHEN 'edit' THEN 3 ELSE 99 END",
    ),
    SEVERITY,
    column(
        "status_id",
        "bigint",
        "OCSF status_id: 0 Unknown, 2 Failure; whether it succeeded stands in the view tool_calls.",
        "CASE tool_called['decision'] WHEN 'denied' THEN 2 ELSE 0 END",
    ),
    column("status_detail", "text", "OCSF status_detail: why it was denied.", "tool_called['reason']"),
    column(
        "disposition_id",
        "bigint",
        "OCSF disposition_id: 1 Allowed, 2 Blocked.",
        "CASE tool_called['decision'] WHEN 'denied' THEN 2 ELSE 1 END",
    ),
    column(
        "api",
        "struct",
        "OCSF api: the tool and its request.",
        "named_struct('operation', tool_called['tool'], 'request', named_struct('uid', tool_called['tool_call_id'], 'data', \
         tool_called['arguments']))",
    ),
    column("actor", "struct", "OCSF actor: on whose behalf.", "named_struct('user', named_struct('name', principal))"),
    column("src_endpoint", "struct", "OCSF src_endpoint.", "named_struct('hostname', host)"),
    DEVICE,
    AI_AGENT,
    METADATA,
    DAY,
];
