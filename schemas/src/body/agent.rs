//! What the agent says: prompts, plans, thoughts, tool calls. Evidence of intent, never of fact.

use crate::avro::{avro_enum, avro_record};
use crate::digest::Digest;

avro_record! {
    /// A person gave the agent a task.
    pub struct PromptSubmitted {
        /// The prompt's text, cut when long; `text_bytes` and `text_digest` speak of the whole. OCSF: message_context.
        pub text: String,
        /// Bytes of the whole text.
        pub text_bytes: i64,
        /// SHA-256 of the whole text.
        pub text_digest: Digest,
        /// Where it was seen: hook, stream, arguments, transcript.
        pub channel: String,
    }
}

avro_enum! {
    /// How far a step of a plan has come.
    pub enum StepStatus {
        /// Not begun.
        Pending = "PENDING",
        /// Begun.
        InProgress = "IN_PROGRESS",
        /// Done, as the agent says.
        Completed = "COMPLETED",
        /// Given up.
        Cancelled = "CANCELLED",
    }
}

avro_record! {
    /// One step of a plan.
    pub struct PlanStep {
        /// What the agent means to do.
        pub text: String,
        /// How far it has come.
        pub status: StepStatus,
    }
}

avro_record! {
    /// The agent declared what it means to do. Each declaration replaces the one before.
    pub struct PlanDeclared {
        /// 0 for the session's first plan, then one more for each declaration.
        pub revision: i32,
        /// The steps, in order.
        pub steps: Vec<PlanStep>,
        /// Where the plan came from: update_plan, todo_write, task_create, exit_plan_mode, todo_list, jsonl, inferred.
        pub source: String,
        /// How sure it is that this is the agent's plan: 1 for a declared one, less for an inferred one.
        pub confidence: f64,
        /// Why the plan is as it is or was changed, when the agent says so.
        pub explanation: Option<String>,
    }
}

avro_record! {
    /// The agent showed a thought, or said something to its user.
    pub struct Thought {
        /// The text, cut when long.
        pub text: String,
        /// Bytes of the whole text.
        pub text_bytes: i64,
        /// SHA-256 of the whole text.
        pub text_digest: Digest,
        /// reasoning, summary, message, or result.
        pub form: String,
        /// Where it was seen: stream, transcript, hook.
        pub channel: String,
    }
}

avro_record! {
    /// The agent asked for a tool.
    pub struct ToolCalled {
        /// The agent's own id of the call: tool_use_id, call_id. OCSF: api.request.uid.
        pub tool_call_id: String,
        /// The tool's name as the agent says it: Bash, Read, apply_patch, mcp__server__tool. OCSF: api.operation.
        pub tool: String,
        /// What it does, in words that are the same for all agents: shell, read, edit, write, search, fetch, plan, agent, other.
        pub tool_class: String,
        /// The arguments as JSON, cut when long. OCSF: api.request.data.
        pub arguments: String,
        /// Bytes of the whole arguments.
        pub arguments_bytes: i64,
        /// SHA-256 of the whole arguments as received.
        pub arguments_digest: Digest,
        /// The shell command, when the tool is a shell. Sigma: CommandLine.
        pub command_text: Option<String>,
        /// Working directory at the call. Sigma: CurrentDirectory.
        pub working_directory: Option<String>,
        /// Id of the sub-agent that made the call; null for the agent itself.
        pub subagent_id: Option<String>,
        /// Where it was seen: hook, stream, transcript, jsonl.
        pub channel: String,
        /// What the shim answered: allowed, denied, observed (seen after the fact). OCSF: disposition.
        pub decision: String,
        /// The reason given to the agent when it was denied.
        pub reason: Option<String>,
    }
}

avro_record! {
    /// A tool gave its answer.
    pub struct ToolReturned {
        /// The agent's own id of the call. OCSF: api.response.uid.
        pub tool_call_id: String,
        /// The tool's name as the agent says it. OCSF: api.operation.
        pub tool: String,
        /// Whether the agent takes it for a success; null when it does not say. OCSF: status_id.
        pub success: Option<bool>,
        /// The answer, cut when long. OCSF: api.response.data.
        pub output: String,
        /// Bytes of the whole answer.
        pub output_bytes: i64,
        /// SHA-256 of the whole answer as received.
        pub output_digest: Digest,
        /// Microseconds the call took, as the agent says; null when it does not. OCSF: duration.
        pub duration_us: Option<i64>,
        /// Where it was seen: hook, stream, transcript, jsonl.
        pub channel: String,
    }
}
