//! Sigma's names for what a record says.
//!
//! Field names follow SigmaHQ's Linux rules (process_creation, file_event, network_connection, dns), so those rules load
//! without an edit. Where Sigma has no name, the schema's own name is used.

use crate::body::Body;
use crate::record::Record;

/// A value under a Sigma field name.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// Text.
    Text(std::borrow::Cow<'a, str>),
    /// A whole number.
    Number(i64),
    /// Yes or no.
    Flag(bool),
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text.into())
    }
}

/// Which rules a record is for: Sigma's `logsource`. Without it, rules of one category fire on records of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSource {
    /// Sigma: logsource.product.
    pub product: &'static str,
    /// Sigma: logsource.category.
    pub category: &'static str,
}

/// The logsource of a record: `linux` for what the kernel saw, `ai_agent` for what the agent said and what we decided.
#[must_use]
pub const fn log_source(body: &Body) -> LogSource {
    const fn linux(category: &'static str) -> LogSource {
        LogSource { product: "linux", category }
    }
    const fn agent(category: &'static str) -> LogSource {
        LogSource { product: "ai_agent", category }
    }
    match body {
        Body::ProcessStarted(_) => linux("process_creation"),
        Body::ProcessExited(_) => linux("process_termination"),
        Body::FileAccessed(_) => linux("file_event"),
        Body::ConnectionAttempted(_) => linux("network_connection"),
        Body::NameResolved(_) => linux("dns_query"),
        Body::CallAttempted(_) => linux("system_call"),
        Body::SessionStarted(_) | Body::SessionEnded(_) => agent("session"),
        Body::PromptSubmitted(_) => agent("prompt"),
        Body::PlanDeclared(_) => agent("plan"),
        Body::Thought(_) => agent("thought"),
        Body::ToolCalled(_) => agent("tool_call"),
        Body::ToolReturned(_) => agent("tool_result"),
        Body::RecordsLost(_) => agent("records_lost"),
        Body::PolicyApplied(_) => agent("policy"),
        Body::ApprovalRequested(_) => agent("held_action"),
        Body::ApprovalResolved(_) | Body::Approval(_) => agent("approval"),
        Body::SessionFrozen(_) | Body::SessionResumed(_) | Body::SessionKilled(_) | Body::Command(_) => {
            agent("command")
        }
        Body::Finding(_) => agent("finding"),
        Body::QueryRun(_) | Body::EvidenceExported(_) | Body::DeadLetter(_) => agent("lake"),
    }
}

/// The record's fields under Sigma's names, in a fixed order. Absent values are left out.
#[must_use]
pub fn fields(record: &Record) -> Vec<(&'static str, Value<'_>)> {
    let mut out = Fields(vec![("Computer", record.header.host.as_str().into())]);
    match &record.body {
        Body::ProcessStarted(b) => {
            out.actor(&b.actor);
            out.text("CommandLine", &b.command_line);
            out.text("CurrentDirectory", &b.working_directory);
            out.number("ParentProcessId", b.parent_pid);
            out.text("ParentImage", &b.parent_image);
            out.text("ParentCommandLine", &b.parent_command_line);
            out.text("outcome", b.outcome.as_str());
        }
        Body::ProcessExited(b) => {
            out.actor(&b.actor);
            out.optional_number("exit_code", b.exit_code.map(i64::from));
        }
        Body::FileAccessed(b) => {
            out.actor(&b.actor);
            out.text("operation", b.operation.as_str());
            out.text("TargetFilename", &b.path);
            out.optional_text("target_path", b.target_path.as_deref());
            out.text("outcome", b.outcome.as_str());
        }
        Body::ConnectionAttempted(b) => {
            out.actor(&b.actor);
            out.text("operation", b.operation.as_str());
            out.text("Protocol", &b.protocol);
            out.text("DestinationIp", &b.address);
            out.optional_number("DestinationPort", b.port.map(i64::from));
            out.optional_text("DestinationHostname", b.host_name.as_deref());
            out.0.push(("Initiated", Value::Text(if is_outgoing(b.operation) { "true" } else { "false" }.into())));
            out.text("outcome", b.outcome.as_str());
        }
        Body::NameResolved(b) => {
            out.actor(&b.actor);
            out.text("QueryName", &b.name);
            out.text("query", &b.name);
            out.text("record_type", &b.record_type);
            out.text("outcome", b.outcome.as_str());
        }
        Body::CallAttempted(b) => {
            out.actor(&b.actor);
            out.text("syscall", &b.call);
            out.text("detail", &b.detail);
            out.text("outcome", b.outcome.as_str());
        }
        Body::ApprovalRequested(b) => {
            if let Some(actor) = &b.actor {
                out.actor(actor);
            }
            out.text("action", &b.action);
            out.text("subject", &b.subject);
            out.optional_text("TargetFilename", b.path.as_deref());
            out.optional_text("DestinationIp", b.address.as_deref());
            out.optional_number("DestinationPort", b.port.map(i64::from));
            out.optional_text("DestinationHostname", b.host_name.as_deref());
            out.text("reason", &b.reason);
        }
        Body::ToolCalled(b) => {
            out.text("tool", &b.tool);
            out.text("tool_class", &b.tool_class);
            out.text("arguments", &b.arguments);
            out.optional_text("CommandLine", b.command_text.as_deref());
            out.optional_text("CurrentDirectory", b.working_directory.as_deref());
            out.text("decision", &b.decision);
        }
        Body::ToolReturned(b) => {
            out.text("tool", &b.tool);
            out.text("output", &b.output);
        }
        Body::PromptSubmitted(b) => out.text("text", &b.text),
        Body::Thought(b) => out.text("text", &b.text),
        Body::PlanDeclared(b) => {
            out.text("source", &b.source);
            out.number("revision", i64::from(b.revision));
            let steps: Vec<&str> = b.steps.iter().map(|s| s.text.as_str()).collect();
            out.0.push(("steps", Value::Text(steps.join("\n").into())));
        }
        Body::SessionStarted(b) => {
            out.text("User", &b.user);
            out.text("CurrentDirectory", &b.working_directory);
            out.0.push(("CommandLine", Value::Text(b.arguments.join(" ").into())));
        }
        Body::SessionEnded(b) => out.text("reason", &b.reason),
        Body::RecordsLost(b) => {
            out.number("count", b.count);
            out.text("stage", &b.stage);
        }
        Body::PolicyApplied(b) => out.text("name", &b.name),
        Body::ApprovalResolved(b) => {
            out.text("resolution", b.resolution.as_str());
            out.optional_text("by", b.by.as_deref());
        }
        Body::SessionFrozen(b) => out.text("reason", &b.reason),
        Body::SessionResumed(b) => out.text("reason", &b.reason),
        Body::SessionKilled(b) => out.text("reason", &b.reason),
        Body::Finding(b) => {
            out.text("rule_id", &b.rule_id);
            out.text("level", b.level.as_str());
        }
        Body::Command(b) => out.text("instruction", b.instruction.as_str()),
        Body::Approval(b) => {
            out.text("decision", b.decision.as_str());
            out.text("approver", &b.approver);
        }
        Body::QueryRun(b) => out.text("sql", &b.sql),
        Body::EvidenceExported(b) => out.text("framework", &b.framework),
        Body::DeadLetter(b) => out.text("reason", &b.reason),
    }
    out.0
}

fn is_outgoing(operation: crate::body::NetworkOperation) -> bool {
    use crate::body::NetworkOperation as N;
    match operation {
        N::Connect | N::Send => true,
        N::Bind | N::Listen | N::Unspecified => false,
    }
}

struct Fields<'a>(Vec<(&'static str, Value<'a>)>);

impl<'a> Fields<'a> {
    fn text(&mut self, name: &'static str, text: &'a str) {
        self.0.push((name, text.into()));
    }
    fn optional_text(&mut self, name: &'static str, text: Option<&'a str>) {
        if let Some(text) = text {
            self.text(name, text);
        }
    }
    fn number(&mut self, name: &'static str, number: i64) {
        self.0.push((name, Value::Number(number)));
    }
    fn optional_number(&mut self, name: &'static str, number: Option<i64>) {
        if let Some(number) = number {
            self.number(name, number);
        }
    }
    fn actor(&mut self, actor: &'a crate::body::Actor) {
        self.text("Image", &actor.image);
        self.text("User", &actor.user);
        self.number("ProcessId", actor.pid);
    }
}
