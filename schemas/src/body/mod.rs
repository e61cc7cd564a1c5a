//! What a record says: one kind, one struct, one nullable field of the schema.

mod agent;
mod decision;
mod kernel;
mod lake;
mod session;

pub use agent::{PlanDeclared, PlanStep, PromptSubmitted, StepStatus, Thought, ToolCalled, ToolReturned};
pub use decision::{
    Approval, ApprovalRequested, ApprovalResolved, Command, Finding, Instruction, Level, Match, Resolution, Step,
};
pub use kernel::{
    Actor, CallAttempted, ConnectionAttempted, FileAccessed, FileOperation, Mediation, NameResolved, NetworkOperation,
    Outcome, ProcessExited, ProcessStarted,
};
pub use lake::{DeadLetter, EvidenceExported, QueryRun};
pub use session::{
    PolicyApplied, RecordsLost, SessionEnded, SessionFrozen, SessionKilled, SessionResumed, SessionStarted,
};

use crate::avro::{Avro, Field, Input, avro_enum};
use crate::codec::CodecError;

macro_rules! bodies {
    ($($variant:ident $field:ident $symbol:literal $doc:literal,)*) => {
        /// The one sub-record that is set.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Body { $(#[doc = $doc] $variant($variant),)* }

        avro_enum! {
            /// Which sub-record is set.
            pub enum Kind { $(#[doc = $doc] $variant = $symbol,)* }
        }

        impl Body {
            /// Which kind it is.
            #[must_use]
            pub const fn kind(&self) -> Kind {
                match self { $(Self::$variant(_) => Kind::$variant,)* }
            }

            /// Writes one union per kind, of which one is set.
            pub(crate) fn write(&self, out: &mut Vec<u8>) {
                $(match self {
                    Self::$variant(body) => { out.push(2); body.write(out); }
                    _ => out.push(0),
                })*
            }

            /// Reads the unions and finds the one that is set.
            pub(crate) fn read(input: &mut Input<'_>, kind: Kind) -> Result<Self, CodecError> {
                let mut found = None;
                $(if input.is_some()? {
                    only_one(&found, input)?;
                    found = Some(Self::$variant($variant::read(input)?));
                })*
                let body = found.ok_or(CodecError::NoBody)?;
                if body.kind() == kind { Ok(body) } else { Err(CodecError::WrongKind { said: kind, found: body.kind() }) }
            }

            /// Walks the unions without allocating.
            pub(crate) fn skip(input: &mut Input<'_>, kind: Kind) -> Result<(), CodecError> {
                let mut found = None;
                $(if input.is_some()? {
                    only_one(&found, input)?;
                    found = Some(Kind::$variant);
                    $variant::skip(input)?;
                })*
                let found = found.ok_or(CodecError::NoBody)?;
                if found == kind { Ok(()) } else { Err(CodecError::WrongKind { said: kind, found }) }
            }

            /// The nullable fields as they stand in the schema.
            pub(crate) fn shapes() -> Vec<Field> {
                vec![$((stringify!($field).to_owned(), crate::avro::doc(&[$doc]), <Option<$variant> as Avro>::shape()),)*]
            }

            /// Names of the schema's nullable fields, one per kind, in order.
            pub const FIELDS: &'static [&'static str] = &[$(stringify!($field),)*];
        }

        $(impl From<$variant> for Body {
            fn from(body: $variant) -> Self { Self::$variant(body) }
        })*
    };
}

fn only_one<T>(found: &Option<T>, input: &Input<'_>) -> Result<(), CodecError> {
    match found {
        None => Ok(()),
        Some(_) => Err(CodecError::NotCanonical { at: input.position(), what: "a record with two bodies" }),
    }
}

bodies! {
    SessionStarted session_started "session_started" "An agent was started under the shim.",
    SessionEnded session_ended "session_ended" "The agent and all it started are gone.",
    PromptSubmitted prompt_submitted "prompt_submitted" "A person gave the agent a task.",
    PlanDeclared plan_declared "plan_declared" "The agent declared what it means to do.",
    Thought thought "thought" "The agent showed a thought.",
    ToolCalled tool_called "tool_called" "The agent asked for a tool.",
    ToolReturned tool_returned "tool_returned" "A tool gave its answer.",
    ProcessStarted process_started "process_started" "A process executed a program.",
    ProcessExited process_exited "process_exited" "A process has ended.",
    FileAccessed file_accessed "file_accessed" "A process touched a file.",
    ConnectionAttempted connection_attempted "connection_attempted" "A process reached for the network.",
    NameResolved name_resolved "name_resolved" "A process asked for the address of a name.",
    RecordsLost records_lost "records_lost" "So many records are missing, and why.",
    PolicyApplied policy_applied "policy_applied" "A policy is in force from here on.",
    ApprovalRequested approval_requested "approval_requested" "The shim holds an action and asks.",
    ApprovalResolved approval_resolved "approval_resolved" "A held action goes on or is refused.",
    SessionFrozen session_frozen "session_frozen" "Every process of the session stands still.",
    SessionResumed session_resumed "session_resumed" "The session goes on after a freeze.",
    SessionKilled session_killed "session_killed" "Every process of the session was killed.",
    Finding finding "finding" "A rule, a score or a judge noticed something.",
    Command command "command" "An instruction to the shim.",
    Approval approval "approval" "A person's decision.",
    QueryRun query_run "query_run" "Somebody asked the lake a question.",
    EvidenceExported evidence_exported "evidence_exported" "Somebody took evidence out of the lake.",
    DeadLetter dead_letter "dead_letter" "Bytes that are not a record.",
    CallAttempted call_attempted "call_attempted" "A process made a system call that is about no file, process or connection, but about the sandbox itself.",
}
