//! The life of a session, and what the shim does to it.

use crate::avro::avro_record;
use crate::ids::RecordId;

avro_record! {
    /// An agent was started under the shim. The first record of every session.
    pub struct SessionStarted {
        /// The agent's program and its arguments, as started.
        pub arguments: Vec<String>,
        /// Absolute directory the agent was started in. Sigma: CurrentDirectory.
        pub working_directory: String,
        /// Absolute directory the agent is meant to work in; what `scope.inside_workspace` refers to.
        pub workspace: String,
        /// Process id of the agent's root process, in the shim's own numbering. OCSF: process.pid.
        pub pid: i64,
        /// User the agent runs as. Sigma: User. OCSF: actor.user.name.
        pub user: String,
        /// Numeric id of that user. OCSF: actor.user.uid.
        pub uid: i64,
        /// Adapter that reads the agent's own evidence: claude-code, codex, jsonl, or none.
        pub adapter: String,
        /// What confines and observes the agent, one word each: seccomp-unotify, landlock-7, pid-namespace, cgroup-freezer.
        pub confinement: Vec<String>,
        /// Version of the shim. OCSF: metadata.product.version.
        pub shim_version: String,
        /// Kernel release of the host. OCSF: device.os.kernel_release.
        pub kernel: String,
    }
}

avro_record! {
    /// The agent and every process it started are gone. The last record of every session that ended in order.
    pub struct SessionEnded {
        /// Exit code of the agent's root process; null when a signal ended it. OCSF: exit_code.
        pub exit_code: Option<i32>,
        /// Signal that ended the agent's root process; null when it exited.
        pub signal: Option<i32>,
        /// Why the session ended: exited, killed, shim_failed, outbox_full.
        pub reason: String,
        /// Microseconds from start to end. OCSF: duration.
        pub wall_time_us: i64,
    }
}

avro_record! {
    /// A gap: so many records that should be here are not, and why. The chain itself has no gap.
    pub struct RecordsLost {
        /// How many records are missing; -1 when that is unknown. OCSF: count.
        pub count: i64,
        /// Where they were lost: kernel, hook, stream, outbox.
        pub stage: String,
        /// Why, in a sentence. OCSF: status_detail.
        pub reason: String,
    }
}

avro_record! {
    /// A policy is in force from here on.
    pub struct PolicyApplied {
        /// Name of the policy. OCSF: policy.name.
        pub name: String,
        /// SHA-256 of its text, in hex. OCSF: policy.uid.
        pub digest: String,
        /// The policy's whole text, so that a decision can be understood years later.
        pub text: String,
        /// Where it came from: a file's path, a preset's name, or command.
        pub source: String,
    }
}

avro_record! {
    /// Every process of the session has stopped and no held call goes on. The fact that follows a freeze command.
    pub struct SessionFrozen {
        /// The command that asked for it; null when the shim froze by itself (outbox full, no recorder).
        pub command_id: Option<RecordId>,
        /// How: cgroup_freezer, namespace_sigstop, tree_sigstop.
        pub method: String,
        /// How many processes stand still. OCSF: count.
        pub processes: i64,
        /// Microseconds from the command's arrival at the shim until nothing ran any more. OCSF: duration.
        pub took_us: i64,
        /// Why, in a sentence. OCSF: status_detail.
        pub reason: String,
    }
}

avro_record! {
    /// The session goes on after a freeze.
    pub struct SessionResumed {
        /// The command that asked for it; null when the shim resumed by itself.
        pub command_id: Option<RecordId>,
        /// Microseconds from the command's arrival at the shim until the processes ran again.
        pub took_us: i64,
        /// Why, in a sentence. OCSF: status_detail.
        pub reason: String,
    }
}

avro_record! {
    /// Every process of the session was killed.
    pub struct SessionKilled {
        /// The command that asked for it; null when the shim killed by itself.
        pub command_id: Option<RecordId>,
        /// How many processes were there when it began.
        pub processes: i64,
        /// Microseconds from the command's arrival at the shim until none was left.
        pub took_us: i64,
        /// Why, in a sentence. OCSF: status_detail.
        pub reason: String,
    }
}
