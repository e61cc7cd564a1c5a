//! View `ocsf_network_activity`: OCSF class 4001.

use super::ocsf::{AI_AGENT, DAY, DEVICE, METADATA, SEVERITY, TIME, TIME_DT};
use super::{Column, View, column};

pub(super) const VIEW: View = View {
    name: "ocsf_network_activity",
    doc: "OCSF 1.9 Network Activity (4001): reaches for the network.",
    columns: COLUMNS,
    with: "",
    from: "records WHERE kind = 'connection_attempted'",
};

const COLUMNS: &[Column] = &[
    TIME,
    TIME_DT,
    column("category_uid", "bigint", "OCSF category_uid: 4, Network Activity.", "4"),
    column("class_uid", "bigint", "OCSF class_uid: 4001.", "4001"),
    column(
        "activity_id",
        "bigint",
        "OCSF activity_id: 1 Open, 6 Traffic, 7 Listen, 99 Other.",
        "CASE connection_attempted['operation'] WHEN 'CONNECT' THEN 1 WHEN 'SEND' THEN 6 WHEN 'BIND' THEN 7 WHEN 'LISTEN' THEN 7 ELSE 99 END",
    ),
    column(
        "type_uid",
        "bigint",
        "OCSF type_uid: class_uid * 100 + activity_id.",
        "400100 + CASE connection_attempted['operation'] WHEN 'CONNECT' THEN 1 WHEN 'SEND' THEN 6 WHEN 'BIND' THEN 7 WHEN 'LISTEN' THEN 7 ELSE 99 END",
    ),
    SEVERITY,
    column(
        "status_id",
        "bigint",
        "OCSF status_id: 0 Unknown, 1 Success, 2 Failure.",
        "CASE connection_attempted['outcome'] WHEN 'SUCCEEDED' THEN 1 WHEN 'ALLOWED' THEN 0 ELSE 2 END",
    ),
    column("status_detail", "text", "OCSF status_detail: the rule that decided.", "connection_attempted['reason']"),
    column(
        "disposition_id",
        "bigint",
        "OCSF disposition_id: 1 Allowed, 2 Blocked.",
        "CASE connection_attempted['outcome'] WHEN 'DENIED' THEN 2 ELSE 1 END",
    ),
    column("count", "bigint", "OCSF count: times within the fold.", "connection_attempted['count']"),
    column(
        "dst_endpoint",
        "struct",
        "OCSF dst_endpoint.",
        "named_struct('ip', connection_attempted['address'], 'port', connection_attempted['port'], 'hostname', \
         connection_attempted['host_name'])",
    ),
    column(
        "connection_info",
        "struct",
        "OCSF connection_info.",
        "named_struct('protocol_name', connection_attempted['protocol'], 'direction_id', CASE connection_attempted['operation'] \
         WHEN 'CONNECT' THEN 2 WHEN 'SEND' THEN 2 ELSE 1 END)",
    ),
    column(
        "actor",
        "struct",
        "OCSF actor: the process and its user.",
        "named_struct('process', named_struct('pid', connection_attempted['actor']['pid'], 'uid', \
         connection_attempted['actor']['process_uid'], 'file', named_struct('path', connection_attempted['actor']['image'], \
         'type_id', 1)), 'user', named_struct('name', connection_attempted['actor']['user']))",
    ),
    DEVICE,
    AI_AGENT,
    METADATA,
    DAY,
];
