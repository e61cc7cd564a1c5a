//! View `ocsf_detection_finding`: OCSF class 2004.

use super::ocsf::{AI_AGENT, DAY, DEVICE, METADATA, TIME, TIME_DT};
use super::{Column, View, column};

pub(super) const VIEW: View = View {
    name: "ocsf_detection_finding",
    doc: "OCSF 1.9 Detection Finding (2004): what the watcher noticed.",
    columns: COLUMNS,
    with: "",
    from: "records WHERE kind = 'finding'",
};

const COLUMNS: &[Column] = &[
    TIME,
    TIME_DT,
    column("category_uid", "bigint", "OCSF category_uid: 2, Findings.", "2"),
    column("class_uid", "bigint", "OCSF class_uid: 2004.", "2004"),
    column("activity_id", "bigint", "OCSF activity_id: 1 Create.", "1"),
    column("type_uid", "bigint", "OCSF type_uid: 200401.", "200401"),
    column(
        "severity_id",
        "bigint",
        "OCSF severity_id: 1 Informational to 5 Critical.",
        "CASE finding['level'] WHEN 'INFORMATIONAL' THEN 1 WHEN 'LOW' THEN 2 WHEN 'MEDIUM' THEN 3 WHEN 'HIGH' THEN 4 \
         WHEN 'CRITICAL' THEN 5 ELSE 0 END",
    ),
    column("status_id", "bigint", "OCSF status_id: 1 New.", "1"),
    column("message", "text", "OCSF message: one sentence that names what happened.", "finding['description']"),
    column(
        "finding_info",
        "struct",
        "OCSF finding_info, with the rule as its analytic.",
        "named_struct('uid', record_id, 'title', finding['title'], 'desc', finding['description'], 'created_time', \
         CAST(occurred_at AS BIGINT) / 1000, 'analytic', named_struct('uid', finding['rule_id'], 'name', finding['title'], 'type_id', \
         CASE finding['source'] WHEN 'rule' THEN 1 WHEN 'deviation' THEN 2 WHEN 'judge' THEN 4 ELSE 0 END, 'version', \
         finding['rule_version']))",
    ),
    column(
        "unmapped",
        "struct",
        "OCSF unmapped: the evidence as record ids, tags, deviation scores and the watcher's step.",
        "named_struct('evidence', finding['evidence'], 'tags', finding['tags'], 'task_plan_score', finding['task_plan_score'], \
         'plan_action_score', finding['plan_action_score'], 'action_effect_score', finding['action_effect_score'], 'step', \
         finding['step'])",
    ),
    DEVICE,
    AI_AGENT,
    METADATA,
    DAY,
];
