//! One run of an agent, from its first record to its last.
//!
//! ```text
//! 1 outbox, policy      4 launch: session_started,       6 wait for the agent, pass signals on
//! 2 knock at the log      policy_applied                 7 session_ended, close the outbox
//! 3 socket, adapter     5 drain, commands, pressure,     8 wait until the log has everything
//!                         stream
//! ```
//! The log is reached while the agent already runs: its records wait in the outbox, and commands are listened to before the first
//! of them is sent. An agent whose log is not reached within `connect_patience` stands still until it is.
//! Whatever fails before 4 means that nothing is started. Whatever fails after it stops the agent.

mod channels;
mod containers;
mod host;
mod kept;
mod leftovers;
mod parts;
mod terms;

pub use containers::{CONFIG_PLACE, ContainersConfig, observe_containers};
pub use host::host_name;
pub use kept::{Question, question_of};
pub use leftovers::{Leftover, drain_leftovers};
pub use terms::{SessionConfig, SessionEnd, SessionError};

use crate::agents::door::Speakers;
use crate::agents::ear::Ear;
use crate::agents::mcp_http::{Inside, Route};
use crate::agents::refusals::Refusals;
use crate::agents::{self, Adapter, Invocation};
use crate::causality::{CallTable, Calls, program_name};
use crate::clock;
use crate::config::SOCKET_VARIABLE;
use crate::contract::{Event, RecordError, Recorder};
use crate::control::{Brake, Cause, Control};
use crate::ephemeral::Overlay;
use crate::outbox::make_private;
use crate::policy::{Places, Policy};
use crate::recorder::{Identity, Journal};
use crate::supervise::{self, Launch, Running, Stdio};
use anyhow::Context as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use wk_schemas::body::{PolicyApplied, SessionEnded, SessionStarted};
use wk_schemas::{Body, Kind, Origin, SessionId};

/// Runs an agent under watch and returns when it has ended. `started` is told the session's id once the agent runs.
///
/// # Errors
/// [`SessionError`]; nothing runs any more then.
pub fn run_session(config: &SessionConfig, started: impl FnOnce(&SessionId)) -> Result<SessionEnd, SessionError> {
    let session_id = config.overlay.as_ref().map_or_else(new_session, |(session, _)| session.clone());
    let adapter = match &config.agent {
        Some(name) => Some(agents::adapter(name).ok_or_else(|| SessionError::UnknownAgent { name: name.clone() })?),
        None => None,
    };
    let workspace = config.workspace.clone().unwrap_or_else(|| config.cwd.clone());
    let places = Places { home: config.home.clone(), workspace: workspace.clone() };
    let policy = Arc::new(read_policy(config.policy.as_deref().unwrap_or(&config.config.policy), &places)?);
    keep_policy(config, &session_id, &policy)?;
    let outboxes = config.data.join("outbox");
    let opening = leftovers::opening(&outboxes)?;
    let journal = Journal::open(
        &outboxes.join(session_id.as_str()),
        identity(config, &session_id, &policy),
        config.config.limits(),
    )?;
    drop(opening);
    parts::knock(&config.log.brokers, config.config.connect_patience)
        .map_err(|source| SessionError::NoLog { brokers: config.log.brokers.bootstrap.clone(), source })?;

    let folder = parts::RuntimeFolder::make()?;
    let mut invocation = Invocation {
        argv: config.argv.clone(),
        env: config.env.clone(),
        folder: folder.path().to_owned(),
        socket: folder.path().join("agent.sock"),
        hook: config.hook.clone(),
        reads_stdout: false,
        is_dialogue: false,
        receives_otlp: false,
        cwd: config.cwd.clone(),
        own_sandbox: None,
    };
    invocation.set_env(SOCKET_VARIABLE, invocation.socket.clone().as_os_str());
    let calls = Calls::new(call_table(config, adapter.as_deref(), &invocation)?);
    if let Some(adapter) = &adapter {
        adapter.prepare(&mut invocation)?;
        // An MCP server that is spoken to over HTTP has standard streams of its own.
        invocation.is_dialogue &= adapter.name() != "mcp" || config.mcp_http.is_empty();
    }
    let otlp = invocation.receives_otlp.then(|| channels::bind_otlp(&mut invocation)).transpose()?;
    let otlp_address = otlp.as_ref().and_then(|listener| listener.local_addr().ok());
    if let Some(own) = &invocation.own_sandbox {
        own.check(&policy, &places)?;
    }
    let ear = {
        let journal = Arc::clone(&journal);
        let told = Arc::clone(&journal);
        let agent_seen = Box::new(move |name, version, model| told.set_agent(name, version, model));
        Arc::new(Ear::new(journal as _, Arc::clone(&calls), agent_seen))
    };
    // A server under watch may have a network of its own; where an agent is under watch, its servers are elsewhere.
    let inside = adapter.as_ref().is_some_and(|adapter| adapter.name() == "mcp").then(Inside::default);
    let expects_hooks = adapter.as_ref().is_some_and(|a| a.has_hooks());
    // A program without an adapter may speak for itself, as one whose adapter is jsonl does. For the others only their hooks may.
    let speakers = match &adapter {
        Some(adapter) if adapter.name() != "jsonl" => Speakers::Hooks(Arc::clone(&calls)),
        Some(_) | None => Speakers::Anyone,
    };
    let adapter = Arc::new(Mutex::new(adapter.unwrap_or_else(|| Box::new(agents::jsonl::Jsonl))));

    let brake_slot: Arc<OnceLock<Arc<Brake>>> = Arc::default();
    let refusals = Arc::new(Refusals::default());
    let door = channels::open_door(&invocation.socket, speakers, &adapter, &ear, &refusals, &brake_slot)?;
    let receiver = otlp.map(|otlp| channels::receive_otlp(otlp, &adapter, &ear, &brake_slot)).transpose()?;
    let proxies = channels::pass_mcp(&config.mcp_http, inside.as_ref(), &ear, &refusals, &brake_slot)?;
    let (reached, when_reached) = tokio::sync::oneshot::channel();
    let began = clock::instant();
    let spec = Launch {
        argv: invocation.argv.clone(),
        env: invocation.env.clone(),
        cwd: config.cwd.clone(),
        workspace,
        policy: Arc::clone(&policy),
        protected: protected(config),
        protected_endpoints: parts::endpoints(&config.log),
        reachable: otlp_address.into_iter().chain(proxies_for_the_agent(config, inside.is_some())).collect(),
        teller: teller(config, expects_hooks, &invocation, &calls, &refusals),
        stdio: match (invocation.is_dialogue, invocation.reads_stdout) {
            (true, _) => Stdio::Converse,
            (false, true) => Stdio::Capture,
            (false, false) => Stdio::Inherit,
        },
        fanotify: config.config.fanotify,
        ebpf: config.config.ebpf,
        ebpf_reads: config.config.ebpf_reads,
    };
    let first = first_records(config, &invocation, &policy, &spec);
    let recorder: Arc<dyn Recorder> = Arc::clone(&journal) as _;
    let mut running = supervise::launch(spec, Arc::clone(&recorder), calls, {
        let recorder = Arc::clone(&recorder);
        move |facts| first(recorder.as_ref(), facts)
    })?;
    // The agent runs by now: what reaching the log costs would have been taken from its start.
    let drain = parts::Draining::begin(Arc::clone(&journal), config.log.clone(), reached);
    parts::bring_leftovers(outboxes, config.log.clone(), config.config.drain_patience);
    let (stdin, stdout) = (running.take_stdin(), running.take_stdout());
    if let Some(inside) = &inside {
        inside.set(running.network()).expect("set once");
    }
    let running = Arc::new(running);
    let brake = Arc::new(Brake::new(
        Arc::new(parts::Tree::new(Arc::clone(&running), places, Arc::clone(&journal))),
        Arc::clone(&recorder),
    ));
    brake_slot.set(Arc::clone(&brake)).expect("set once");
    started(&session_id);

    let control = Arc::new({
        let journal = Arc::clone(&journal);
        Control::new(session_id.clone(), config.command_key, Arc::clone(&brake), move |id| {
            journal.outbox().first_time(id).map_err(|e| e.to_string())
        })
    });
    let tailing = parts::Tailing::begin(
        Arc::clone(&control),
        Arc::clone(&brake),
        config.log.brokers.clone(),
        when_reached,
        config.config.connect_patience,
    );
    let guard = parts::guard_pressure(Arc::clone(&journal), Arc::clone(&brake));
    let listening = parts::listen(stdin, stdout, &adapter, &ear, &refusals, &brake);
    let signals = parts::Signals::forward(Arc::clone(&running));

    let time_limit = policy.limits.time.map(|limit| parts::TimeLimit::begin(limit, Arc::clone(&brake)));

    let ended = running.wait();
    drop(time_limit);
    drop(signals);
    if let Some(listening) = listening {
        // The stream ends with the last process that holds it.
        drop(listening.join());
    }
    drop((door, receiver, proxies));
    tailing.end();
    // An end without the agent's last words is still an end; what failed has been traced.
    drop(ear.end(expects_hooks));
    tracing::debug!(?ended, "the agent has ended");
    let reason = reason(&running, &journal, &brake);
    let body = SessionEnded {
        exit_code: ended.exit_code,
        signal: ended.signal,
        reason: reason.into(),
        wall_time_us: clock::micros_since(began),
    };
    let changes = config.overlay.as_ref().and_then(|(_, overlay)| kept::ask(&session_id, overlay, recorder.as_ref()));
    let written = write(recorder.as_ref(), body);
    if let Err(error) = written.and_then(|()| journal.close()) {
        tracing::error!(%error, "the end of the session could not be recorded in order");
    }
    drop(guard.join());
    let waiting = drain.finish(config.config.drain_patience);
    drop((running, brake, brake_slot, ear));
    let refused_commands = control.refused();
    drop(control);
    drop(recorder);
    leftovers::remove_when_empty(journal, waiting);
    Ok(SessionEnd {
        session_id,
        exit_code: ended.exit_code,
        signal: ended.signal,
        reason,
        waiting,
        refused_commands,
        changes,
    })
}

/// Keeps the memory of this process small, for a program that is nothing but the shim. To be called before threads are started.
pub fn keep_memory_small() {
    crate::sys::heap::keep_small();
}

/// A name for a session that is about to begin.
#[must_use]
pub fn new_session() -> SessionId {
    SessionId::parse(&clock::new_id().to_string()).expect("a uuid is a session id")
}

/// Moves this process, which must not have started threads yet, onto an overlay of `workspace`, for a session that is about to begin.
///
/// # Errors
/// [`EphemeralError`](crate::ephemeral::EphemeralError) says what this machine lacks.
pub fn on_overlay(
    data: &Path,
    workspace: &Path,
) -> Result<(SessionId, Arc<Overlay>), crate::ephemeral::EphemeralError> {
    let session = new_session();
    let overlay = Overlay::enter(&folder_of(data, &session), workspace)?;
    Ok((session, Arc::new(overlay)))
}

/// Where a session keeps what is not on the log.
#[must_use]
pub fn folder_of(data: &Path, session: &SessionId) -> PathBuf {
    data.join("sessions").join(session.as_str())
}

/// The proxies that what is under watch may reach whatever its policy says: those to servers elsewhere. One that leads to a server under
/// watch is for clients outside.
fn proxies_for_the_agent(config: &SessionConfig, is_a_server: bool) -> impl Iterator<Item = SocketAddr> {
    let elsewhere = config.mcp_http.iter().filter(move |route| !is_a_server || !route.may_be_inside());
    elsewhere.map(Route::address)
}

/// Who is told why something was refused: an agent with hooks in the result of its tool call, because its terminal is its own; who makes
/// the call, where a proxy of ours passes its result on; whoever sits at the terminal where there is no adapter.
fn teller(
    config: &SessionConfig,
    has_hooks: bool,
    invocation: &Invocation,
    calls: &Arc<Calls>,
    refusals: &Arc<Refusals>,
) -> Option<supervise::Teller> {
    let is_passed_on = invocation.is_dialogue || !config.mcp_http.is_empty();
    let (calls, refusals) = (Arc::clone(calls), Arc::clone(refusals));
    let tell = move |call: Option<&str>, line: &str| match call {
        Some(call) => refusals.note(call, line),
        // A server says nothing of the programs that it starts for a call. With one call under way it can be for no other.
        None if is_passed_on && !has_hooks => {
            calls.only_open().into_iter().for_each(|call| refusals.note(&call, line));
        }
        None => {}
    };
    if has_hooks || is_passed_on {
        return Some(supervise::Teller::new(tell));
    }
    config.agent.is_none().then(|| supervise::Teller::new(|_, line| eprintln!("{line}")))
}

/// The data folder and what else is out of reach; what lies inside another one is covered with it.
fn protected(config: &SessionConfig) -> Vec<PathBuf> {
    let mut paths = vec![config.data.clone()];
    for path in &config.protected {
        if !paths.iter().any(|p| path.starts_with(p)) {
            paths.push(path.clone());
        }
    }
    paths
}

/// The folders that a session writes to: what its policy lets be written, its workspace and the data folder, all of which must be there.
///
/// # Errors
/// When the policy cannot be read, or the data folder cannot be made.
pub fn written_by(policy: &str, places: &Places, data: &Path) -> Result<Vec<PathBuf>, SessionError> {
    let data = make_private(data).and_then(|()| data.canonicalize());
    let data = data.context("failed to make the data folder")?;
    let mut writable = read_policy(policy, places)?.writable();
    writable.extend([places.workspace.clone(), data]);
    Ok(writable)
}

/// Reads a policy file, or a preset when there is no file of that name.
///
/// # Errors
/// [`PolicyError`](crate::policy::PolicyError) names file and line, and what was expected.
pub fn read_policy(name: &str, places: &Places) -> Result<Policy, SessionError> {
    if !name.contains(['/', '.']) {
        return Ok(Policy::preset(name, places)?);
    }
    let text = fs::read_to_string(name).with_context(|| format!("failed to read the policy `{name}`"))?;
    Ok(Policy::parse(&text, name, places)?)
}

/// The policy as applied stays with the session, for whoever wants to see it without asking the lake.
fn keep_policy(config: &SessionConfig, session: &SessionId, policy: &Policy) -> anyhow::Result<()> {
    let folder = folder_of(&config.data, session);
    make_private(&folder)
        .and_then(|()| fs::write(folder.join("policy.toml"), &policy.text))
        .with_context(|| format!("failed to write into `{}`", folder.display()))
}

fn identity(config: &SessionConfig, session: &SessionId, policy: &Policy) -> Identity {
    Identity {
        session_id: session.clone(),
        tenant: config.tenant.clone(),
        host: config.host.clone(),
        agent_name: config.agent.clone(),
        agent_version: None,
        agent_model: None,
        principal: config.principal.clone(),
        policy_digest: Some(policy.digest.to_hex()),
    }
}

fn call_table(
    config: &SessionConfig,
    adapter: Option<&dyn Adapter>,
    invocation: &Invocation,
) -> Result<CallTable, agents::PrepareError> {
    let argv: Vec<String> = config.argv.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let own = || program_name(&argv).map(str::to_owned).into_iter().collect();
    let programs = match adapter {
        Some(adapter) if !adapter.programs().is_empty() => adapter.programs().iter().map(|p| (*p).to_owned()).collect(),
        // Who speaks for the program that was started; a part of it that it starts again is still that program.
        Some(adapter) if adapter.name() != "jsonl" => own(),
        Some(_) | None => Vec::new(),
    };
    let hooks = match adapter {
        Some(adapter) if adapter.has_hooks() => vec![invocation.hook_command(adapter.name())?],
        Some(_) | None => Vec::new(),
    };
    Ok(CallTable::new(Some(config.home.clone()), programs, hooks))
}

/// The first two records of a session; written by the supervision right before the agent's program is executed.
fn first_records(
    config: &SessionConfig,
    invocation: &Invocation,
    policy: &Policy,
    spec: &Launch,
) -> impl FnOnce(&dyn Recorder, &supervise::Started) + Send + use<> {
    let user = host::user();
    let mut session = SessionStarted {
        arguments: crate::redact::arguments(
            &invocation.argv.iter().map(|a| a.to_string_lossy().into_owned()).collect::<Vec<_>>(),
        ),
        working_directory: config.cwd.display().to_string(),
        workspace: spec.workspace.display().to_string(),
        pid: 0,
        user: user.name,
        uid: user.id,
        adapter: config.agent.clone().unwrap_or_else(|| "none".into()),
        confinement: Vec::new(),
        shim_version: env!("CARGO_PKG_VERSION").into(),
        kernel: host::kernel(),
    };
    let policy = policy_applied(policy);
    let off = invocation.own_sandbox.as_ref().map(|own| format!("instead of {}", own.name));
    let overlay = config.overlay.as_ref().map(|_| "ephemeral-workspace".to_owned());
    let inside = config.inside.clone();
    move |recorder, facts| {
        session.pid = facts.root_pid.into();
        session.confinement.clone_from(&facts.confinement);
        session.confinement.extend(off.into_iter().chain(overlay).chain(inside));
        // When this fails the record of the exec fails as well, and the supervision refuses to start the program.
        for body in [Body::from(session), policy.into()] {
            if let Err(error) = write(recorder, body) {
                tracing::error!(%error, "the start of the session could not be recorded");
            }
        }
    }
}

fn policy_applied(policy: &Policy) -> PolicyApplied {
    PolicyApplied {
        name: policy.name.clone(),
        digest: policy.digest.to_hex(),
        text: policy.text.clone(),
        source: policy.source.clone(),
    }
}

fn write(recorder: &dyn Recorder, body: impl Into<Body>) -> Result<(), RecordError> {
    let event = Event { origin: Origin::Shim, caused_by: Vec::new(), occurred_at: clock::now(), body: body.into() };
    recorder.record(event).map(drop)
}

fn reason(running: &Running, journal: &Journal, brake: &Brake) -> &'static str {
    if running.recording_failed() || brake.is_lost() {
        return if journal.is_full() { "outbox_full" } else { "shim_failed" };
    }
    if brake.has_killed() { "killed" } else { "exited" }
}

/// Whether a chain that ends with a record of this kind is complete.
fn is_end(kind: Option<Kind>) -> bool {
    kind == Some(Kind::SessionEnded)
}

/// For causes that the shim has by itself.
fn own_cause(reason: impl Into<String>) -> Cause {
    Cause { command_id: None, reason: reason.into(), since: clock::instant() }
}

/// Makes the path of a folder that is given on a command line absolute.
///
/// # Errors
/// When it does not exist.
pub fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    path.canonicalize().with_context(|| format!("`{}` cannot be found", path.display()))
}
