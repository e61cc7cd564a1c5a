//! The one table of context fields, and the document that is made from it.

/// A context field: its name, its type, what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Name, as rules write it.
    pub name: &'static str,
    /// text, number, or flag.
    pub kind: &'static str,
    /// What it means, and on which records it is there.
    pub meaning: &'static str,
}

macro_rules! fields {
    ($($name:literal $kind:ident $meaning:literal,)*) => {
        /// Every context field.
        pub const FIELDS: &[Field] =
            &[$(Field { name: $name, kind: stringify!($kind), meaning: $meaning },)*];
    };
}

fields! {
    "session.age_s" number "Seconds since the session started. On every record.",
    "session.adapter" text "Adapter of the agent: claude-code, codex, jsonl, none. On every record.",
    "session.frozen" flag "Whether the session stands still. On every record.",
    "session.records_lost" number "Records known to be missing so far. On every record.",
    "task.present" flag "Whether a person's task is known. On every record.",
    "task.mentions" flag "The task names the object: its path, its file name, its host, or for a credential its kind. On actions.",
    "plan.present" flag "Whether a plan is in force. On every record.",
    "plan.revision" number "Revision of the plan in force. Absent without a plan.",
    "plan.revised_by" text "What declared this plan: todo_write, update_plan, inferred. On plan.",
    "plan.revised_after" text "What came right before the declaration: prompt, tool_result, approval, refusal. On plan.",
    "plan.steps_added" number "Steps that the plan in force did not have. On plan.",
    "plan.steps_dropped" number "Steps of the plan in force that this one does not have. On plan.",
    "plan.covered" flag "A step of the plan speaks of the object or of what is done. On actions; false without a plan.",
    "plan.step" number "Number of the step that covers the action best, from 0. Absent when none does.",
    "scope.object" text "What is acted on: a path, host:port, or a command.",
    "scope.inside_workspace" flag "The path is the workspace or lies in it. On files, programs, and tool calls with a path.",
    "scope.ordinary" flag "The path is where honest programs read (for a writing operation: write) as a matter of course, or the host is the resolver of this machine.",
    "scope.agents_own" flag "The path is in a folder of the agent's own.",
    "scope.arguments_outside" flag "An argument of the program is a path outside the workspace and outside caches and temporary folders. On process_creation.",
    "effect.mediation" text "declared: a tool call names it; inherited: a tool call is behind it but does not name it; agent: the agent's own process; none: nothing explains it. On what the kernel saw.",
    "effect.unmediated" flag "No tool call names it (mediation none or inherited), and it is outside the workspace and not ordinary. On what the kernel saw.",
    "effect.writes" flag "The operation changes the file. On file_event.",
    "effect.happened" flag "It was not refused and did not fail, as far as was seen. On actions.",
    "effect.ancestry" text "Programs from the acting process up to the agent, joined with ` < `.",
    "secret.is_secret" flag "The path is that of a credential, and the program is not the one it belongs to. On file_event and held files.",
    "secret.by_owner" flag "The path is that of a credential, and its own program or the agent itself has it. On file_event and held files.",
    "secret.kind" text "Kind of the credential that is accessed: ssh_key, env_file. Absent when it is none.",
    "secret.read_ago" number "Seconds since a credential was last read in this session. Absent when none was.",
    "secret.path" text "Path of the credential last read. Absent when none was.",
    "secret.count" number "How many reads of credentials there were. On every record.",
    "host.name" text "Host name if it is known, else the address. On connections.",
    "host.first_seen" flag "Nothing in this session reached for that host or address before. On connections.",
    "host.in_plan" flag "A step of the plan names the host. On connections; false without a plan.",
    "host.in_task" flag "The task names the host. On connections.",
    "host.loopback" flag "The address is this machine's own, or a local socket. On connections.",
    "host.private" flag "The address is of a private or link-local network. On connections.",
    "host.allowed" flag "An entry of the policy lets it through, or did. On connections.",
    "host.agent_endpoint" flag "The agent's own process reached for it before it did any work: where its model is. On connections.",
    "tool.name" text "Tool behind it, as the agent names it. On tool calls and on what descends from one.",
    "tool.class" text "What the tool does: shell, read, edit, write, search, fetch, plan, agent, other.",
    "tool.text" text "Command or arguments of the tool call behind it.",
    "tool.path" text "The path that a tool call's arguments name.",
    "tool.open" number "Tool calls in flight. On every record.",
    "scope.writes_outside" number "Places outside the workspace, and not ordinary, that were written to so far. On every record.",
    "approval.asked" number "Questions to people so far. On every record.",
    "approval.denied" number "Of these, how many were denied or ran out of time. On every record.",
    "claim.kind" text "What the agent says it has done: tests, build, commit, push. The least supported claim of the text. On what the agent said.",
    "claim.supported" flag "Something ran in this session that would show it. Where claim.kind is there.",
    "claim.failed" flag "What ran last of that kind ended as a failure. Where claim.kind is there.",
    "dns.parent" text "The last two labels of the name. On dns_query.",
    "dns.longest_label" number "Characters of the longest label of the name. On dns_query.",
    "denied.before" flag "The same object was refused earlier in this session, and nobody has let it through since. On actions.",
    "granted.before" flag "A person let the same object through. On actions.",
    "taint.from_prose" flag "A value in it came out of running text that a tool returned, and not from the task. On tool_call, process_creation, plan, where a value came out of a tool.",
    "taint.value" text "That value, decoded.",
    "taint.form" text "What that value is: email, url, address, number, token.",
    "taint.encoding" text "How it is written: plain, percent, base64.",
    "taint.secret" flag "A piece of a credential that was shown to the agent stands in it, plain or encoded. On tool_call and process_creation.",
}

/// The table of fields as Markdown: `docs/fields.md`.
#[must_use]
pub fn document() -> String {
    let mut out = String::from(
        "# Context fields\n\nMade from `src/context/fields.rs`; rules use them as plain Sigma fields, beside those of the record itself\n(`schemas/src/sigma.rs`).\n\n| field | type | meaning | example rule |\n|---|---|---|---|\n",
    );
    for field in FIELDS {
        let example = example(field.name).unwrap_or("none of ours");
        out.push_str(&format!("| `{}` | {} | {} | {example} |\n", field.name, field.kind, field.meaning));
    }
    out
}

/// The first rule of the pack that looks at a field, or that says its value.
fn example(field: &str) -> Option<&'static str> {
    let uses = |text: &str| {
        let is_selected = |line: &str| {
            let line = line.trim_start().trim_start_matches("- ");
            line.strip_prefix(field).is_some_and(|rest| rest.starts_with([':', '|']))
        };
        text.lines().any(is_selected) || text.contains(&format!("{{{field}}}"))
    };
    crate::rules::EMBEDDED.iter().find(|(_, text)| uses(text)).map(|(file, _)| *file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_of_the_fields_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/fields.md");
        let there = std::fs::read_to_string(path).unwrap_or_default();
        if there != document() {
            std::fs::write(path, document()).unwrap();
            panic!("docs/fields.md was not up to date; it has been written anew");
        }
    }
}
