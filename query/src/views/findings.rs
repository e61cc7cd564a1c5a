//! View `findings`: one row per finding.

use super::{AGENT, Column, DAY, HOST, RECORD, SESSION, TIME, View, column};

pub(super) const VIEW: View = View {
    name: "findings",
    doc: "One row per finding: what a rule, the deviation score or a judge noticed, with its evidence.",
    columns: COLUMNS,
    with: "",
    from: "records WHERE kind = 'finding'",
};

const COLUMNS: &[Column] = &[
    TIME,
    SESSION,
    HOST,
    AGENT,
    column("level", "text", "INFORMATIONAL, LOW, MEDIUM, HIGH or CRITICAL.", "finding['level']"),
    column("title", "text", "The rule's title.", "finding['title']"),
    column("description", "text", "One sentence that names what happened.", "finding['description']"),
    column("step", "text", "What the watcher does about it: NOTE, WARN, ASK, FREEZE or KILL.", "finding['step']"),
    column("source", "text", "What noticed it: rule, deviation, judge, integrity.", "finding['source']"),
    column("rule_id", "text", "The rule's id.", "finding['rule_id']"),
    column("rule_version", "text", "The rule's version.", "finding['rule_version']"),
    column("tags", "text[]", "ATT&CK, ATLAS and other tags.", "finding['tags']"),
    column("evidence", "text[]", "The records that show it, oldest first.", "finding['evidence']"),
    column("matches", "struct[]", "What matched: field, value, selection.", "finding['matches']"),
    column("task_plan_score", "int", "Deviation of the plan from the task, 0 to 100.", "finding['task_plan_score']"),
    column(
        "plan_action_score",
        "int",
        "Deviation of the action from the plan, 0 to 100.",
        "finding['plan_action_score']",
    ),
    column(
        "action_effect_score",
        "int",
        "Deviation of the effect from the action, 0 to 100.",
        "finding['action_effect_score']",
    ),
    RECORD,
    DAY,
];
