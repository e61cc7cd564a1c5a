//! View `ocsf_file_activity`: OCSF class 1001.

use super::ocsf::{AI_AGENT, DAY, DEVICE, METADATA, SEVERITY, TIME, TIME_DT};
use super::{Column, View, column};

pub(super) const VIEW: View = View {
    name: "ocsf_file_activity",
    doc: "OCSF 1.9 File System Activity (1001): files touched.",
    columns: COLUMNS,
    with: "",
    from: "records WHERE kind = 'file_accessed'",
};

const COLUMNS: &[Column] = &[
    TIME,
    TIME_DT,
    column("category_uid", "bigint", "OCSF category_uid: 1, System Activity.", "1"),
    column("class_uid", "bigint", "OCSF class_uid: 1001.", "1001"),
    column(
        "activity_id",
        "bigint",
        "OCSF activity_id: 1 Create, 2 Read, 3 Update, 4 Delete, 5 Rename, 6 Set Attributes, 7 Set Security, 99 Other.",
        ACTIVITY,
    ),
    column("type_uid", "bigint", "OCSF type_uid: class_uid * 100 + activity_id.", TYPE),
    SEVERITY,
    column(
        "status_id",
        "bigint",
        "OCSF status_id: 0 Unknown, 1 Success, 2 Failure.",
        "CASE file_accessed['outcome'] WHEN 'SUCCEEDED' THEN 1 WHEN 'ALLOWED' THEN 0 ELSE 2 END",
    ),
    column("status_detail", "text", "OCSF status_detail: the rule that decided.", "file_accessed['reason']"),
    column(
        "disposition_id",
        "bigint",
        "OCSF disposition_id: 1 Allowed, 2 Blocked.",
        "CASE file_accessed['outcome'] WHEN 'DENIED' THEN 2 ELSE 1 END",
    ),
    column("count", "bigint", "OCSF count: times within the fold.", "file_accessed['count']"),
    column("file", "struct", "OCSF file.", "named_struct('path', file_accessed['path'], 'type_id', 0)"),
    column(
        "file_result",
        "struct",
        "OCSF file_result: the second path of rename, link and symlink.",
        "named_struct('path', file_accessed['target_path'], 'type_id', 0)",
    ),
    column(
        "actor",
        "struct",
        "OCSF actor: the process and its user.",
        "named_struct('process', named_struct('pid', file_accessed['actor']['pid'], 'uid', file_accessed['actor']['process_uid'], \
         'file', named_struct('path', file_accessed['actor']['image'], 'type_id', 1)), 'user', named_struct('name', \
         file_accessed['actor']['user']))",
    ),
    DEVICE,
    AI_AGENT,
    METADATA,
    DAY,
];

const ACTIVITY: &str = "CASE file_accessed['operation'] WHEN 'CREATE' THEN 1 WHEN 'LINK' THEN 1 WHEN 'SYMLINK' THEN 1 \
    WHEN 'MAKE_DIRECTORY' THEN 1 WHEN 'MAKE_NODE' THEN 1 WHEN 'READ' THEN 2 WHEN 'WRITE' THEN 3 WHEN 'TRUNCATE' THEN 3 \
    WHEN 'UNLINK' THEN 4 WHEN 'REMOVE_DIRECTORY' THEN 4 WHEN 'RENAME' THEN 5 WHEN 'CHANGE_ATTRIBUTES' THEN 6 \
    WHEN 'CHANGE_MODE' THEN 7 WHEN 'CHANGE_OWNER' THEN 7 ELSE 99 END";
const TYPE: &str = "100100 + CASE file_accessed['operation'] WHEN 'CREATE' THEN 1 WHEN 'LINK' THEN 1 WHEN 'SYMLINK' THEN 1 \
    WHEN 'MAKE_DIRECTORY' THEN 1 WHEN 'MAKE_NODE' THEN 1 WHEN 'READ' THEN 2 WHEN 'WRITE' THEN 3 WHEN 'TRUNCATE' THEN 3 \
    WHEN 'UNLINK' THEN 4 WHEN 'REMOVE_DIRECTORY' THEN 4 WHEN 'RENAME' THEN 5 WHEN 'CHANGE_ATTRIBUTES' THEN 6 \
    WHEN 'CHANGE_MODE' THEN 7 WHEN 'CHANGE_OWNER' THEN 7 ELSE 99 END";
