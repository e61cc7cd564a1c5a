//! View `plans`: one row per step of every plan that an agent declared.

use super::{AGENT, Column, DAY, ORIGIN, RECORD, SESSION, TIME, View, column};

pub(super) const VIEW: View = View {
    name: "plans",
    doc: "One row per step of every plan that an agent declared. Each revision replaces the one before; one without steps has no row.",
    columns: COLUMNS,
    with: "",
    from: "(SELECT *, unnest(ordinals(steps)) AS step, unnest(steps) AS item FROM (SELECT occurred_at, session_id, agent_name, origin, record_id, day, \
           plan_declared['revision'] AS revision, plan_declared['source'] AS source, plan_declared['confidence'] AS \
           confidence, plan_declared['explanation'] AS explanation, plan_declared['steps'] AS steps \
           FROM records WHERE kind = 'plan_declared'))",
};

const COLUMNS: &[Column] = &[
    TIME,
    SESSION,
    AGENT,
    column("revision", "int", "0 for the session's first plan, then one more for each declaration.", "revision"),
    column("step", "bigint", "Place of the step in the plan, from 1.", "step"),
    column("text", "text", "What the agent means to do.", "item['text']"),
    column("status", "text", "How far it says it is: PENDING, IN_PROGRESS, COMPLETED, CANCELLED.", "item['status']"),
    column("source", "text", "Where the plan came from: update_plan, todo_write, inferred, …", "source"),
    column("confidence", "double", "1 for a declared plan, less for an inferred one.", "confidence"),
    column("explanation", "text", "Why it is as it is, when the agent says so.", "explanation"),
    ORIGIN,
    RECORD,
    DAY,
];
