//! The messages of gVisor's runtime monitoring that are read here, with the fields that are read of them.
//!
//! Numbers and types are those of `pkg/sentry/seccheck/points/{common,container,sentry,syscall}.proto` of google/gvisor; what is not
//! listed is passed over, as its README demands of whoever listens. Both sides are written, so that tests can play the sentry.

/// The first message of either side.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Handshake {
    /// The version that the writer speaks.
    #[prost(uint32, tag = "1")]
    pub version: u32,
}

/// On whose behalf.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Credentials {
    /// The user that counts.
    #[prost(uint32, tag = "2")]
    pub effective_uid: u32,
}

/// Who did it, and when. Only what the trace session asks for is there.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Context {
    /// Nanoseconds since the epoch.
    #[prost(int64, tag = "1")]
    pub time_ns: i64,
    /// The thread, in the sandbox's own numbering.
    #[prost(int32, tag = "2")]
    pub thread_id: i32,
    /// The process, in the sandbox's own numbering.
    #[prost(int32, tag = "4")]
    pub thread_group_id: i32,
    /// When the process started, nanoseconds since the epoch.
    #[prost(int64, tag = "5")]
    pub thread_group_start_time_ns: i64,
    /// The container.
    #[prost(string, tag = "6")]
    pub container_id: String,
    /// The user.
    #[prost(message, optional, tag = "7")]
    pub credentials: Option<Credentials>,
    /// The working directory.
    #[prost(string, tag = "8")]
    pub cwd: String,
    /// What the kernel calls the process; fifteen characters at most.
    #[prost(string, tag = "9")]
    pub process_name: String,
}

/// How a call ended.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Exit {
    /// What it returned.
    #[prost(int64, tag = "1")]
    pub result: i64,
    /// The error's number; 0 when there was none.
    #[prost(int64, tag = "2")]
    pub errorno: i64,
}

/// A container is about to run its first process.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Start {
    /// Who.
    #[prost(message, optional, tag = "1")]
    pub context: Option<Context>,
    /// The container.
    #[prost(string, tag = "2")]
    pub id: String,
    /// The working directory.
    #[prost(string, tag = "3")]
    pub cwd: String,
    /// The program's arguments.
    #[prost(string, repeated, tag = "4")]
    pub args: Vec<String>,
}

/// A process or thread was made.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Cloned {
    /// Who made it.
    #[prost(message, optional, tag = "1")]
    pub context: Option<Context>,
    /// The new thread.
    #[prost(int32, tag = "3")]
    pub created_thread_id: i32,
    /// The process that it belongs to.
    #[prost(int32, tag = "4")]
    pub created_thread_group_id: i32,
    /// When it started, nanoseconds since the epoch.
    #[prost(int64, tag = "5")]
    pub created_thread_start_time_ns: i64,
}

/// A program was executed.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Execve {
    /// Who.
    #[prost(message, optional, tag = "1")]
    pub context: Option<Context>,
    /// The program, links and interpreters resolved.
    #[prost(string, tag = "2")]
    pub binary_path: String,
    /// Its arguments.
    #[prost(string, repeated, tag = "3")]
    pub argv: Vec<String>,
}

/// A thread has ended, or the parent of a process is told that it has.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Ended {
    /// Who.
    #[prost(message, optional, tag = "1")]
    pub context: Option<Context>,
    /// As `wait` gives it.
    #[prost(int32, tag = "2")]
    pub exit_status: i32,
}

/// A call of which only the registers are known.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Raw {
    /// Who.
    #[prost(message, optional, tag = "1")]
    pub context: Option<Context>,
    /// The call's number.
    #[prost(uint64, tag = "4")]
    pub sysno: u64,
    /// Its arguments.
    #[prost(uint64, tag = "5")]
    pub arg1: u64,
    /// See `arg1`.
    #[prost(uint64, tag = "6")]
    pub arg2: u64,
    /// See `arg1`.
    #[prost(uint64, tag = "7")]
    pub arg3: u64,
    /// See `arg1`.
    #[prost(uint64, tag = "8")]
    pub arg4: u64,
    /// See `arg1`.
    #[prost(uint64, tag = "9")]
    pub arg5: u64,
}

/// `open`, `openat`, `creat`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Open {
    /// Who.
    #[prost(message, optional, tag = "1")]
    pub context: Option<Context>,
    /// How it ended.
    #[prost(message, optional, tag = "2")]
    pub exit: Option<Exit>,
    /// The folder that the path starts from.
    #[prost(int64, tag = "4")]
    pub fd: i64,
    /// Its path.
    #[prost(string, tag = "5")]
    pub fd_path: String,
    /// The path as asked for.
    #[prost(string, tag = "6")]
    pub pathname: String,
    /// The flags of the call.
    #[prost(uint32, tag = "7")]
    pub flags: u32,
}

/// `connect`, `bind`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Address {
    /// Who.
    #[prost(message, optional, tag = "1")]
    pub context: Option<Context>,
    /// How it ended.
    #[prost(message, optional, tag = "2")]
    pub exit: Option<Exit>,
    /// The socket.
    #[prost(int64, tag = "4")]
    pub fd: i64,
    /// The address, a `sockaddr`.
    #[prost(bytes = "vec", tag = "6")]
    pub address: Vec<u8>,
}

/// `socket`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Socket {
    /// Who.
    #[prost(message, optional, tag = "1")]
    pub context: Option<Context>,
    /// How it ended; the result is the descriptor.
    #[prost(message, optional, tag = "2")]
    pub exit: Option<Exit>,
    /// The family.
    #[prost(int32, tag = "4")]
    pub domain: i32,
    /// The type, with flags.
    #[prost(int32, tag = "5")]
    pub kind: i32,
}

/// `execve`, `execveat`, of which those that failed are of interest.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ExecveCall {
    /// Who.
    #[prost(message, optional, tag = "1")]
    pub context: Option<Context>,
    /// How it ended.
    #[prost(message, optional, tag = "2")]
    pub exit: Option<Exit>,
    /// The folder that the path starts from.
    #[prost(int64, tag = "4")]
    pub fd: i64,
    /// Its path.
    #[prost(string, tag = "5")]
    pub fd_path: String,
    /// The path as asked for.
    #[prost(string, tag = "6")]
    pub pathname: String,
    /// The arguments as asked for.
    #[prost(string, repeated, tag = "7")]
    pub argv: Vec<String>,
}

/// One message of a sandbox.
#[derive(Debug, Clone, PartialEq)]
pub enum Point {
    /// A container is about to run.
    Start(Start),
    /// A process was made.
    Cloned(Cloned),
    /// A program was executed.
    Execve(Execve),
    /// A parent is told that a process has ended.
    Exited(Ended),
    /// A thread has ended.
    TaskExit(Ended),
    /// A call of which only the registers are known.
    Raw(Raw),
    /// A file was opened, or not.
    Open(Open),
    /// A connection was made, or not.
    Connect(Address),
    /// A socket was made.
    Socket(Socket),
    /// A program was asked for.
    ExecveCall(ExecveCall),
    /// An address was taken, or not.
    Bind(Address),
}

impl Point {
    /// Reads a message of this type; `None` for a type that is not recorded.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn decode(kind: u16, payload: &[u8]) -> Result<Option<Self>, prost::DecodeError> {
        use prost::Message as _;
        Ok(Some(match kind {
            1 => Self::Start(Start::decode(payload)?),
            2 => Self::Cloned(Cloned::decode(payload)?),
            3 => Self::Execve(Execve::decode(payload)?),
            4 => Self::Exited(Ended::decode(payload)?),
            5 => Self::TaskExit(Ended::decode(payload)?),
            6 => Self::Raw(Raw::decode(payload)?),
            7 => Self::Open(Open::decode(payload)?),
            10 => Self::Connect(Address::decode(payload)?),
            11 => Self::ExecveCall(ExecveCall::decode(payload)?),
            12 => Self::Socket(Socket::decode(payload)?),
            24 => Self::Bind(Address::decode(payload)?),
            _ => return Ok(None),
        }))
    }

    /// The message's type and bytes.
    #[must_use]
    pub fn encode(&self) -> (u16, Vec<u8>) {
        use prost::Message as _;
        match self {
            Self::Start(point) => (1, point.encode_to_vec()),
            Self::Cloned(point) => (2, point.encode_to_vec()),
            Self::Execve(point) => (3, point.encode_to_vec()),
            Self::Exited(point) => (4, point.encode_to_vec()),
            Self::TaskExit(point) => (5, point.encode_to_vec()),
            Self::Raw(point) => (6, point.encode_to_vec()),
            Self::Open(point) => (7, point.encode_to_vec()),
            Self::Connect(point) => (10, point.encode_to_vec()),
            Self::ExecveCall(point) => (11, point.encode_to_vec()),
            Self::Socket(point) => (12, point.encode_to_vec()),
            Self::Bind(point) => (24, point.encode_to_vec()),
        }
    }

    /// Who did it, as far as the trace session told.
    #[must_use]
    pub const fn context(&self) -> Option<&Context> {
        match self {
            Self::Start(point) => point.context.as_ref(),
            Self::Cloned(point) => point.context.as_ref(),
            Self::Execve(point) => point.context.as_ref(),
            Self::Exited(point) | Self::TaskExit(point) => point.context.as_ref(),
            Self::Raw(point) => point.context.as_ref(),
            Self::Open(point) => point.context.as_ref(),
            Self::Connect(point) | Self::Bind(point) => point.context.as_ref(),
            Self::Socket(point) => point.context.as_ref(),
            Self::ExecveCall(point) => point.context.as_ref(),
        }
    }
}
