//! What is decided about a session: holds, approvals, findings, commands.

use crate::avro::{Bytes, avro_enum, avro_record};
use crate::body::kernel::Actor;
use crate::digest::Digest;
use crate::ids::RecordId;
use crate::time::Timestamp;

avro_record! {
    /// The shim holds an action and asks whether it may go on.
    pub struct ApprovalRequested {
        /// Names the question; a person reads it in the agent's error and in `wk approvals list`.
        pub ticket: RecordId,
        /// What is asked for: connect, send, bind, execute, read, write, create, rename, link, unlink, tool_call.
        pub action: String,
        /// The action in one line that a person can read: `connect to 203.0.113.7:443`.
        pub subject: String,
        /// The process that waits; null for a tool call. Sigma: Image, User.
        pub actor: Option<Actor>,
        /// The tool call that waits or that the process descends from.
        pub tool_call_id: Option<String>,
        /// Path, for a file or a program. Sigma: TargetFilename.
        pub path: Option<String>,
        /// IP address, for a connection. Sigma: DestinationIp. OCSF: dst_endpoint.ip.
        pub address: Option<String>,
        /// Port, for a connection. Sigma: DestinationPort. OCSF: dst_endpoint.port.
        pub port: Option<i32>,
        /// Host name, for a connection. Sigma: DestinationHostname. OCSF: dst_endpoint.hostname.
        pub host_name: Option<String>,
        /// Why the policy holds it.
        pub reason: String,
        /// When the hold ends in a denial.
        pub deadline: Timestamp,
    }
}

avro_enum! {
    /// How a question was answered.
    pub enum Resolution {
        /// It may go on.
        Granted = "GRANTED",
        /// It may not.
        Denied = "DENIED",
        /// Nobody answered in time; it may not.
        Expired = "EXPIRED",
        /// The process that waited is gone.
        Abandoned = "ABANDONED",
    }
}

avro_record! {
    /// A held action goes on or is refused.
    pub struct ApprovalResolved {
        /// The question.
        pub ticket: RecordId,
        /// The answer as carried out.
        pub resolution: Resolution,
        /// Who answered; null when nobody did.
        pub by: Option<String>,
        /// Why, in a sentence.
        pub reason: String,
        /// The command that carried the answer; null when the deadline did.
        pub command_id: Option<RecordId>,
        /// Microseconds the action waited. OCSF: duration.
        pub waited_us: i64,
    }
}

avro_enum! {
    /// How bad a finding is, in Sigma's words. OCSF: severity_id.
    pub enum Level {
        /// For the record.
        Informational = "INFORMATIONAL",
        /// Worth knowing.
        Low = "LOW",
        /// Worth a look.
        Medium = "MEDIUM",
        /// To be looked at soon.
        High = "HIGH",
        /// To be looked at now.
        Critical = "CRITICAL",
    }
}

avro_enum! {
    /// What the watcher does about a finding: the ladder, lowest first.
    pub enum Step {
        /// Writes it down.
        Note = "NOTE",
        /// Tells people.
        Warn = "WARN",
        /// Asks a person.
        Ask = "ASK",
        /// Freezes the session.
        Freeze = "FREEZE",
        /// Kills the session.
        Kill = "KILL",
    }
}

avro_record! {
    /// A value that a rule matched.
    pub struct Match {
        /// The field: Image, TargetFilename, secret.read_ago.
        pub field: String,
        /// Its value, cut when long.
        pub value: String,
        /// The part of the rule that it matched.
        pub selection: String,
    }
}

avro_record! {
    /// A rule, the deviation score, or a judge noticed something. OCSF: Detection Finding 2004.
    pub struct Finding {
        /// What noticed it: rule, deviation, judge, integrity.
        pub source: String,
        /// The rule's id. Sigma: id. OCSF: finding_info.analytic.uid.
        pub rule_id: String,
        /// The rule's title. Sigma: title. OCSF: finding_info.title.
        pub title: String,
        /// The rule's version: its `modified` or `date`. Sigma: modified. OCSF: finding_info.analytic.version.
        pub rule_version: String,
        /// SHA-256 of the rule's text.
        pub rule_digest: Digest,
        /// SHA-256 over the digests of all rules that were in force.
        pub pack_digest: Digest,
        /// How bad it is. Sigma: level. OCSF: severity_id.
        pub level: Level,
        /// ATT&CK, ATLAS and other tags: attack.exfiltration. Sigma: tags. OCSF: attacks.
        pub tags: Vec<String>,
        /// One sentence that names what happened. OCSF: message.
        pub description: String,
        /// The records that show it, oldest first; the last one is the one that raised it. OCSF: evidences.
        pub evidence: Vec<RecordId>,
        /// What matched.
        pub matches: Vec<Match>,
        /// Deviation of the plan from the task, 0 to 100; null when it was not scored.
        pub task_plan_score: Option<i32>,
        /// Deviation of the action from the plan, 0 to 100; null when it was not scored.
        pub plan_action_score: Option<i32>,
        /// Deviation of the effect from the action, 0 to 100; null when it was not scored.
        pub action_effect_score: Option<i32>,
        /// What the watcher does about it.
        pub step: Step,
    }
}

avro_enum! {
    /// What a command tells the shim to do.
    pub enum Instruction {
        /// Stop every process.
        Freeze = "FREEZE",
        /// Let them go on.
        Resume = "RESUME",
        /// End them.
        Kill = "KILL",
        /// Let a held action go on.
        Grant = "GRANT",
        /// Refuse a held action.
        Deny = "DENY",
        /// Put another policy in force.
        ApplyPolicy = "APPLY_POLICY",
    }
}

avro_record! {
    /// An instruction to the shim of one session; a wish, may be refused, safe to deliver twice.
    pub struct Command {
        /// What to do.
        pub instruction: Instruction,
        /// The question that a grant or a denial answers.
        pub ticket: Option<RecordId>,
        /// The policy's text, for apply_policy.
        pub policy: Option<String>,
        /// Why, in a sentence.
        pub reason: String,
        /// On whose behalf: watcher, or the person who decided.
        pub by: String,
        /// The command is void before this time.
        pub issued_at: Timestamp,
        /// The command is void after this time.
        pub expires_at: Timestamp,
        /// First 16 hex digits of the SHA-256 of the public key that signed.
        pub key_id: String,
        /// Ed25519 signature; what it covers: see `command.rs`.
        pub signature: Bytes,
    }
}

avro_record! {
    /// A person's decision, written by the console or the CLI; the watcher turns it into a command.
    pub struct Approval {
        /// What the person wants: grant, deny, freeze, resume, kill.
        pub decision: Instruction,
        /// The question it answers; null for freeze, resume and kill.
        pub ticket: Option<RecordId>,
        /// Who decided. OCSF: actor.user.name.
        pub approver: String,
        /// Why, in the person's words.
        pub reason: String,
        /// First 16 hex digits of the SHA-256 of the public key that signed.
        pub key_id: String,
        /// Ed25519 signature; what it covers: see `command.rs`.
        pub signature: Bytes,
    }
}
