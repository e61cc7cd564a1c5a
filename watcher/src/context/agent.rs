//! The context of what the agent says and calls: tool calls, plans, claims, and where the values in them come from.

use super::{Context, Object, mentions_path, task_speaks_of};
use crate::session::Session;
use crate::text;
use crate::{claims, places, taint};
use wk_schemas::body::{PlanDeclared, Thought, ToolCalled};

impl<'a> Context<'a> {
    pub(super) fn call(&mut self, session: &'a Session, b: &'a ToolCalled) {
        self.text("tool.name", b.tool.as_str());
        self.text("tool.class", b.tool_class.as_str());
        self.flag("effect.happened", b.decision != "denied");
        let words = b.command_text.as_deref().unwrap_or(&b.arguments);
        let path = argument_path(&b.arguments).map(|p| {
            places::resolve(&p, b.working_directory.as_deref().or(session.workspace.as_deref()).unwrap_or("/"))
        });
        if let Some(path) = &path {
            let writes = matches!(b.tool_class.as_str(), "edit" | "write");
            let place = places::place(path, session.workspace.as_deref());
            self.inside(place.is_inside);
            self.ordinary(if writes { place.is_ordinary_to_write } else { place.is_ordinary_to_read });
            self.flag("scope.agents_own", place.is_agents);
            self.text("tool.path", path.clone());
        }
        let is_mentioned = task_speaks_of(session, words)
            || path.as_deref().is_some_and(|p| mentions_path(session.task(), p, session.workspace.as_deref()));
        self.flag("task.mentions", is_mentioned);
        self.plan(session, |_| false, words);
        self.taint(session, &b.arguments);
        let words = text::cut(words, 1024);
        self.object(session, Object::Call(words.to_owned()), words);
    }

    /// Where the values come from that stand in the text of an action.
    pub(super) fn taint(&mut self, session: &Session, said: &str) {
        if let Some(traced) = taint::trace(session, said) {
            self.flag("taint.from_prose", traced.seen.is_prose);
            self.text("taint.form", taint::form_of(&traced.value));
            self.text("taint.encoding", traced.encoding.as_str());
            self.text("taint.value", traced.value);
            self.evidence("taint", traced.seen.record);
        }
        let secret = taint::secret_in(session, said);
        self.flag("taint.secret", secret.is_some());
        if let Some((record, _)) = secret {
            self.evidence("taint", record);
        }
    }

    /// What led to a plan, and how it differs from the one in force.
    pub(super) fn declared(&mut self, session: &'a Session, b: &'a PlanDeclared) {
        self.text("plan.revised_by", b.source.as_str());
        if let Some(cause) = &session.cause {
            self.text("plan.revised_after", cause.kind.as_str());
            self.evidence("plan", cause.record);
        }
        let (added, dropped) = session.plan_difference(b);
        self.number("plan.steps_added", i64::from(added));
        self.number("plan.steps_dropped", i64::from(dropped));
        let steps: Vec<&str> = b.steps.iter().map(|s| s.text.as_str()).collect();
        self.taint(session, &steps.join("\n"));
    }

    /// What the agent claims to have done, against what was seen. Reasoning is no claim: it is said to nobody.
    pub(super) fn said(&mut self, session: &'a Session, b: &'a Thought) {
        if b.form == "reasoning" {
            return;
        }
        let support = |kind: &str| session.runs.last(kind);
        // Of several claims the one with the least behind it.
        let worst = claims::claims(&b.text).into_iter().min_by_key(|c| match support(c.kind) {
            None => 0,
            Some(run) if run.has_failed == Some(true) => 1,
            Some(_) => 2,
        });
        let Some(claim) = worst else { return };
        let run = support(claim.kind);
        self.text("claim.kind", claim.kind);
        self.flag("claim.supported", run.is_some());
        self.flag("claim.failed", run.is_some_and(|r| r.has_failed == Some(true)));
        self.text("scope.object", claim.sentence);
        if let Some(run) = run {
            self.evidence("claim", run.record);
        }
    }
}

/// The path that a tool's arguments name.
fn argument_path(arguments: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(arguments).ok()?;
    ["file_path", "path", "notebook_path", "filename", "absolute_path", "target_file"]
        .iter()
        .find_map(|key| value.get(key)?.as_str())
        .map(str::to_owned)
}
