//! What the agent does, as the kernel sees it: processes, files, connections.

use crate::avro::{Bytes, avro_enum, avro_record};
use crate::time::Timestamp;

avro_enum! {
    /// Whether a tool call explains an effect.
    pub enum Mediation {
        /// A tool call is behind it, and its arguments name this object.
        Declared = "DECLARED",
        /// A tool call is behind it (the process descends from the call), but its arguments do not name this object.
        Inherited = "INHERITED",
        /// The agent's own root process did it, outside every tool call that names it.
        Agent = "AGENT",
        /// A process did it that no tool call explains.
        None = "NONE",
    }
}

avro_enum! {
    /// What became of an action.
    pub enum Outcome {
        /// Let through. For calls that the kernel carries out itself this is an attempt: whether it succeeded is not seen, unless
        /// an observer tells results; then a second record says that it failed.
        Allowed = "ALLOWED",
        /// Carried out by the shim, and it succeeded.
        Succeeded = "SUCCEEDED",
        /// Let through or carried out, and it failed; `errno` says how.
        Failed = "FAILED",
        /// Refused by policy, by a person, or because a hold ran out.
        Denied = "DENIED",
    }
}

avro_record! {
    /// The process that did something.
    pub struct Actor {
        /// Process id in the shim's own numbering. Sigma: ProcessId. OCSF: actor.process.pid.
        pub pid: i64,
        /// Stands for the process as long as the host is up: `<pid>-<start time in clock ticks>`. OCSF: actor.process.uid.
        pub process_uid: String,
        /// Absolute path of the program. Sigma: Image. OCSF: actor.process.file.path.
        pub image: String,
        /// User name or number. Sigma: User. OCSF: actor.user.name.
        pub user: String,
        /// The tool call that the process descends from; null when there is none.
        pub tool_call_id: Option<String>,
        /// Whether that tool call explains this very effect.
        pub mediation: Mediation,
    }
}

avro_record! {
    /// A process executed a program. Attempts that fail are recorded too: a search along PATH gives several.
    pub struct ProcessStarted {
        /// The process, with the program it now runs. Sigma: Image, User, ProcessId. OCSF: process.
        pub actor: Actor,
        /// The program's arguments, the name first, each cut when long.
        pub arguments: Vec<String>,
        /// The arguments joined with spaces. Sigma: CommandLine. OCSF: process.cmd_line.
        pub command_line: String,
        /// Working directory. Sigma: CurrentDirectory. OCSF: process.working_directory.
        pub working_directory: String,
        /// Process id of the parent. Sigma: ParentProcessId. OCSF: process.parent_process.pid.
        pub parent_pid: i64,
        /// Stands for the parent as `process_uid` does for the process. OCSF: process.parent_process.uid.
        pub parent_process_uid: String,
        /// Program of the parent (for an exec without a fork: the program before). Sigma: ParentImage.
        pub parent_image: String,
        /// Arguments of the parent, joined. Sigma: ParentCommandLine. OCSF: process.parent_process.cmd_line.
        pub parent_command_line: String,
        /// What became of it. OCSF: disposition.
        pub outcome: Outcome,
        /// Number of the error when it failed or was denied.
        pub errno: Option<i32>,
        /// The rule of the policy that decided, and its reason; null when the default did.
        pub reason: Option<String>,
    }
}

avro_record! {
    /// A process that executed a program has ended.
    pub struct ProcessExited {
        /// The process. OCSF: process.
        pub actor: Actor,
        /// Exit code; null when a signal ended it or it could not be had. OCSF: exit_code.
        pub exit_code: Option<i32>,
        /// Signal that ended it; null when it exited or it could not be had.
        pub signal: Option<i32>,
        /// Microseconds from its first record to its end. OCSF: duration.
        pub wall_time_us: i64,
    }
}

avro_enum! {
    /// What was done to a file.
    pub enum FileOperation {
        /// Opened for reading. OCSF: Read.
        Read = "READ",
        /// Opened for writing, or for both. OCSF: Update.
        Write = "WRITE",
        /// Opened so that it is made when it is not there. OCSF: Create.
        Create = "CREATE",
        /// Name or place changed; `target_path` is the new one. OCSF: Rename.
        Rename = "RENAME",
        /// A hard link `target_path` was made to it. OCSF: Create.
        Link = "LINK",
        /// A symbolic link `target_path` was made to it. OCSF: Create.
        Symlink = "SYMLINK",
        /// Name removed. OCSF: Delete.
        Unlink = "UNLINK",
        /// A directory was made. OCSF: Create.
        MakeDirectory = "MAKE_DIRECTORY",
        /// A directory was removed. OCSF: Delete.
        RemoveDirectory = "REMOVE_DIRECTORY",
        /// A device, socket or pipe was made. OCSF: Create.
        MakeNode = "MAKE_NODE",
        /// Cut or stretched by path. OCSF: Update.
        Truncate = "TRUNCATE",
        /// Mode bits changed. OCSF: Set Security.
        ChangeMode = "CHANGE_MODE",
        /// Owner changed. OCSF: Set Security.
        ChangeOwner = "CHANGE_OWNER",
        /// Extended attributes changed. OCSF: Set Attributes.
        ChangeAttributes = "CHANGE_ATTRIBUTES",
    }
}

avro_record! {
    /// A process touched a file.
    pub struct FileAccessed {
        /// The process. Sigma: Image, User. OCSF: actor.process.
        pub actor: Actor,
        /// What was done. OCSF: activity_id.
        pub operation: FileOperation,
        /// Absolute path, dots and the working directory resolved, links not; text that is not UTF-8 is replaced. Sigma: TargetFilename. OCSF: file.path.
        pub path: String,
        /// The path's bytes; only there when they are not UTF-8.
        pub path_bytes: Option<Bytes>,
        /// The second path of rename, link and symlink. OCSF: file_result.path.
        pub target_path: Option<String>,
        /// Flags or mode bits of the system call.
        pub flags: i64,
        /// What became of it. OCSF: disposition.
        pub outcome: Outcome,
        /// Number of the error when it failed or was denied.
        pub errno: Option<i32>,
        /// How many times within the fold; 1 for the first, which is always written at once. OCSF: count.
        pub count: i64,
        /// When the last of them was, for a count above 1. OCSF: end_time.
        pub last_at: Option<Timestamp>,
        /// The rule of the policy that decided, and its reason; null when the default did.
        pub reason: Option<String>,
    }
}

avro_enum! {
    /// What was done with the network.
    pub enum NetworkOperation {
        /// A connection out, or the default address of a datagram socket. OCSF: Open.
        Connect = "CONNECT",
        /// A datagram to an address. OCSF: Traffic.
        Send = "SEND",
        /// An address taken for a socket. OCSF: Listen.
        Bind = "BIND",
        /// Connections awaited. OCSF: Listen.
        Listen = "LISTEN",
    }
}

avro_record! {
    /// A process reached for the network, or for a local socket.
    pub struct ConnectionAttempted {
        /// The process. Sigma: Image, User. OCSF: actor.process.
        pub actor: Actor,
        /// What was done. OCSF: activity_id.
        pub operation: NetworkOperation,
        /// tcp, udp, unix, netlink, or the number of the family. Sigma: Protocol. OCSF: connection_info.protocol_name.
        pub protocol: String,
        /// IP address as text, or the path of a local socket (`@` first for an abstract one). Sigma: DestinationIp. OCSF: dst_endpoint.ip.
        pub address: String,
        /// Port; null where there is none. Sigma: DestinationPort. OCSF: dst_endpoint.port.
        pub port: Option<i32>,
        /// Host name, when it is known. Sigma: DestinationHostname. OCSF: dst_endpoint.hostname.
        pub host_name: Option<String>,
        /// What became of it. OCSF: disposition.
        pub outcome: Outcome,
        /// Number of the error when it failed or was denied.
        pub errno: Option<i32>,
        /// How many times within the fold; 1 for the first. OCSF: count.
        pub count: i64,
        /// When the last of them was, for a count above 1. OCSF: end_time.
        pub last_at: Option<Timestamp>,
        /// The rule of the policy that decided, and its reason; null when the default did.
        pub reason: Option<String>,
    }
}

avro_record! {
    /// A process asked for the address of a name.
    pub struct NameResolved {
        /// The process. Sigma: Image. OCSF: actor.process.
        pub actor: Actor,
        /// The name. Sigma: QueryName, query. OCSF: query.hostname.
        pub name: String,
        /// Type of the question: A, AAAA, TXT, or its number. Sigma: record_type. OCSF: query.type.
        pub record_type: String,
        /// Addresses in the answer, where it was seen. Sigma: answer. OCSF: answers.rdata.
        pub addresses: Vec<String>,
        /// What became of it. OCSF: disposition.
        pub outcome: Outcome,
    }
}

avro_record! {
    /// A process made a system call that is about no file, process or connection, but about the sandbox itself: it looks for a way around it, reaches into another process, or brings its own.
    pub struct CallAttempted {
        /// The process. Sigma: Image, User. OCSF: actor.process.
        pub actor: Actor,
        /// Name of the system call. Sigma: syscall. OCSF: api.operation.
        pub call: String,
        /// What its arguments say, as far as they were read. OCSF: message.
        pub detail: String,
        /// What became of it. OCSF: disposition.
        pub outcome: Outcome,
        /// Number of the error when it was denied.
        pub errno: Option<i32>,
        /// How many times within the fold; 1 for the first, which is always written at once. OCSF: count.
        pub count: i64,
        /// When the last of them was, for a count above 1. OCSF: end_time.
        pub last_at: Option<Timestamp>,
        /// Why it is refused, or watched.
        pub reason: String,
    }
}
