//! The parts of a running session, each with a thread of its own and an end of its own.

use super::{own_cause, policy_applied};
use crate::agents::Adapter;
use crate::agents::ear::Ear;
use crate::agents::refusals::Refusals;
use crate::agents::stream::{self, Listener, Way};
use crate::clock;
use crate::contract::{Decision, Ticket};
use crate::control::{Brake, Control, Effect, Hands, Stopper};
use crate::drain::{self, Ends, LogAddress, WhenReached};
use crate::outbox::make_private;
use crate::policy::{Places, Policy};
use crate::recorder::{Journal, Pressure};
use crate::supervise::Running;
use anyhow::Context as _;
use std::fs::{self, File};
use std::io::{IsTerminal as _, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use wk_schemas::body::PolicyApplied;
use wk_wire::Brokers;

pub(super) fn runtime() -> anyhow::Result<Runtime> {
    Builder::new_current_thread().enable_all().build().context("failed to start a runtime")
}

/// How long one look at whether a broker is there may take, and how long until the next.
const KNOCK_FOR: Duration = Duration::from_secs(1);
const KNOCK_AGAIN: Duration = Duration::from_millis(100);

/// Waits until a broker takes a connection, at most `patience`. That is as much as a start waits for; what else has to be asked is
/// asked while the agent runs, and its records wait in the outbox meanwhile.
///
/// # Errors
/// The last answer, when none did.
pub(super) fn knock(brokers: &Brokers, patience: Duration) -> anyhow::Result<()> {
    let until = clock::instant() + patience;
    loop {
        let tried = knock_once(brokers, until);
        if tried.is_ok() || clock::instant() + KNOCK_AGAIN >= until {
            return tried;
        }
        std::thread::sleep(KNOCK_AGAIN);
    }
}

fn knock_once(brokers: &Brokers, until: Instant) -> anyhow::Result<()> {
    let mut last = anyhow::anyhow!("no broker is named");
    for broker in brokers.bootstrap.split(',').map(str::trim).filter(|broker| !broker.is_empty()) {
        // A list of brokers may say by which protocol: `SASL_SSL://host:port`.
        let place = broker.split_once("://").map_or(broker, |(_, place)| place);
        let addresses = match place.to_socket_addrs() {
            Ok(addresses) => addresses,
            Err(error) => {
                last = anyhow::Error::from(error).context(format!("`{broker}` is not a host and a port"));
                continue;
            }
        };
        for address in addresses {
            let left = until.saturating_duration_since(clock::instant()).clamp(Duration::from_millis(1), KNOCK_FOR);
            match TcpStream::connect_timeout(&address, left) {
                Ok(_) => return Ok(()),
                Err(error) => last = anyhow::Error::from(error).context(format!("{address} takes no connection")),
            }
        }
    }
    Err(last)
}

/// A private folder that the agent may read; removed at the end.
#[derive(Debug)]
pub(super) struct RuntimeFolder(PathBuf);

impl RuntimeFolder {
    /// Below `/tmp` and short, because the path of a socket must fit into 108 bytes.
    pub(super) fn make() -> anyhow::Result<Self> {
        let name = clock::new_id().simple().to_string();
        // The last digits are random, the first ones are the time.
        let path = Path::new("/tmp").join(format!("wk-{}", &name[16..]));
        make_private(&path).with_context(|| format!("failed to make `{}`", path.display()))?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for RuntimeFolder {
    fn drop(&mut self) {
        // What is left behind is an empty socket in a folder of the user's own.
        drop(fs::remove_dir_all(&self.0));
    }
}

/// The drain of a running session.
#[derive(Debug)]
pub(super) struct Draining {
    journal: Arc<Journal>,
    give_up: CancellationToken,
    thread: JoinHandle<()>,
}

impl Draining {
    /// `reached` is told from where on there may be commands, once the log has been reached.
    pub(super) fn begin(journal: Arc<Journal>, log: LogAddress, reached: oneshot::Sender<Ends>) -> Self {
        let give_up = CancellationToken::new();
        let (sending, giving_up) = (Arc::clone(&journal), give_up.clone());
        let reached = WhenReached { tell: reached, began_at: clock::now() };
        let thread = std::thread::spawn(move || {
            // The threads of the client that it starts inherit this.
            crate::sys::process::give_way().ok();
            let drained = runtime().map(|r| r.block_on(drain::drain(&sending, &log, &giving_up, Some(reached))));
            match drained {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => tracing::error!(%error, "the outbox cannot be drained"),
                Err(error) => tracing::error!(%error, "the outbox cannot be drained"),
            }
        });
        Self { journal, give_up, thread }
    }

    /// Waits until the log has everything, at most `patience`; returns how many records are left.
    pub(super) fn finish(self, patience: Duration) -> u64 {
        let start = clock::instant();
        while !self.thread.is_finished() && start.elapsed() < patience {
            std::thread::sleep(Duration::from_millis(2));
        }
        self.give_up.cancel();
        drop(self.thread.join());
        self.journal.waiting().0
    }
}

/// Sends what earlier sessions left, beside this one. When this process ends first, the next one goes on with it.
pub(super) fn bring_leftovers(outboxes: PathBuf, log: LogAddress, patience: Duration) {
    std::thread::spawn(move || {
        crate::sys::process::give_way().ok();
        match super::drain_leftovers(&outboxes, &log, patience) {
            Ok(left) => {
                for outbox in left {
                    tracing::info!(session_id = %outbox.session_id, waiting = outbox.waiting, "an earlier session's records were sent");
                }
            }
            Err(error) => tracing::warn!(%error, "what earlier sessions left could not be sent"),
        }
    });
}

/// The reader of the commands of a running session.
#[derive(Debug)]
pub(super) struct Tailing {
    stop: CancellationToken,
    thread: JoinHandle<()>,
}

impl Tailing {
    /// Begins once `reached` says where. Until then no command can arrive: the agent goes on for `patience`, then it stands still
    /// until the log has been reached.
    pub(super) fn begin(
        control: Arc<Control>,
        brake: Arc<Brake>,
        brokers: Brokers,
        reached: oneshot::Receiver<Ends>,
        patience: Duration,
    ) -> Self {
        let stop = CancellationToken::new();
        let stopping = stop.clone();
        let tail = async move {
            let Some(starts) = until_reached(reached, &brake, patience, &stopping).await else { return };
            control.tail(&brokers, starts, stopping).await;
        };
        let thread = std::thread::spawn(move || match runtime() {
            Ok(runtime) => runtime.block_on(tail),
            Err(error) => tracing::error!(%error, "commands cannot be read"),
        });
        Self { stop, thread }
    }

    pub(super) fn end(self) {
        self.stop.cancel();
        drop(self.thread.join());
    }
}

/// Ends the session when its time is over; ends with this value.
#[derive(Debug)]
pub(super) struct TimeLimit {
    end: Option<mpsc::SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl TimeLimit {
    pub(super) fn begin(limit: Duration, brake: Arc<Brake>) -> Self {
        let (end, ended) = mpsc::sync_channel(1);
        let thread = std::thread::spawn(move || {
            if ended.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
                brake.kill(&own_cause("the time that the policy allows is over"));
            }
        });
        Self { end: Some(end), thread: Some(thread) }
    }
}

impl Drop for TimeLimit {
    fn drop(&mut self) {
        self.end = None;
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// Waits until the log has been reached, and stops the agent meanwhile when that takes too long; `None` when there is no log to be
/// reached any more.
async fn until_reached(
    mut reached: oneshot::Receiver<Ends>,
    brake: &Brake,
    patience: Duration,
    stopping: &CancellationToken,
) -> Option<Ends> {
    tokio::select! {
        starts = &mut reached => return starts.ok(),
        () = stopping.cancelled() => return None,
        () = tokio::time::sleep(patience) => {}
    }
    brake.freeze(
        Stopper::Log,
        &own_cause(format!("the log was not reached within {patience:?}, so no command can arrive")),
    );
    let starts = tokio::select! {
        starts = &mut reached => starts.ok(),
        () = stopping.cancelled() => None,
    };
    brake.resume(Stopper::Log, &own_cause("the log has been reached"));
    starts
}

/// Freezes the session while the outbox is nearly full, and ends it when nothing can be taken any more.
pub(super) fn guard_pressure(journal: Arc<Journal>, brake: Arc<Brake>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut known = Pressure::Low;
        while let Some(pressure) = journal.pressure_after(known) {
            match pressure {
                Pressure::High => {
                    let (records, bytes) = journal.waiting();
                    let reason =
                        format!("the outbox is nearly full: {records} records, {bytes} bytes wait for the log");
                    brake.freeze(Stopper::Outbox, &own_cause(reason));
                }
                Pressure::Low => brake.resume(Stopper::Outbox, &own_cause("the outbox has drained")),
                Pressure::Failed => brake.lose(&own_cause("the outbox cannot be written")),
            }
            known = pressure;
        }
    })
}

/// Listens to the agent's standard output, and to its input where the shim converses with it. Gives the thread of the output; that of
/// the input may wait for its next line for ever, and ends with the process.
pub(super) fn listen(
    stdin: Option<File>,
    stdout: Option<File>,
    adapter: &Arc<Mutex<Box<dyn Adapter>>>,
    ear: &Arc<Ear>,
    refusals: &Arc<Refusals>,
    brake: &Arc<Brake>,
) -> Option<JoinHandle<()>> {
    let begin = |way: Way, from: Box<dyn Read + Send>, to: Box<dyn Write + Send>| {
        let (adapter, ear, brake) = (Arc::clone(adapter), Arc::downgrade(ear), Arc::downgrade(brake));
        let refusals = Arc::clone(refusals);
        std::thread::spawn(move || {
            let heard = stream::listen(from, to, Listener { way, adapter: &adapter, ear: &ear, refusals: &refusals });
            if let (Err(error), Some(brake)) = (heard, brake.upgrade()) {
                brake.lose(&own_cause(error.to_string()));
            }
        })
    };
    let is_dialogue = stdin.is_some();
    if let Some(stdin) = stdin {
        begin(Way::Questions, Box::new(std::io::stdin()), Box::new(stdin));
    }
    let way = if is_dialogue { Way::Answers } else { Way::Output };
    stdout.map(|stdout| begin(way, Box::new(stdout), Box::new(std::io::stdout())))
}

/// Passes on signals that are meant for the agent.
#[derive(Debug)]
pub(super) struct Signals {
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Signals {
    /// At a terminal, interrupt and quit reach the agent by themselves: it is in the foreground as the shim is. The shim then only
    /// survives them.
    pub(super) fn forward(running: Arc<Running>) -> Self {
        let stop = CancellationToken::new();
        let stopping = stop.clone();
        let at_terminal = std::io::stdin().is_terminal();
        let forward = async move {
            let mut terminate = signal(SignalKind::terminate())?;
            let mut hang_up = signal(SignalKind::hangup())?;
            let mut interrupt = signal(SignalKind::interrupt())?;
            let mut quit = signal(SignalKind::quit())?;
            loop {
                tokio::select! {
                    _ = terminate.recv() => running.signal(SignalKind::terminate().as_raw_value()),
                    _ = hang_up.recv() => running.signal(SignalKind::hangup().as_raw_value()),
                    _ = interrupt.recv() => if !at_terminal {
                        running.signal(SignalKind::interrupt().as_raw_value());
                    },
                    _ = quit.recv() => if !at_terminal {
                        running.signal(SignalKind::quit().as_raw_value());
                    },
                    () = stopping.cancelled() => return Ok::<(), std::io::Error>(()),
                }
            }
        };
        let thread = std::thread::spawn(move || {
            let done = runtime().and_then(|r| r.block_on(forward).context("failed to catch signals"));
            if let Err(error) = done {
                tracing::warn!(%error, "signals are not passed on");
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.stop.cancel();
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// The running tree of processes, as commands see it.
#[derive(Debug)]
pub(super) struct Tree {
    running: Arc<Running>,
    places: Places,
    journal: Arc<Journal>,
}

impl Tree {
    pub(super) fn new(running: Arc<Running>, places: Places, journal: Arc<Journal>) -> Self {
        Self { running, places, journal }
    }
}

impl Hands for Tree {
    fn freeze(&self) -> Result<Effect, String> {
        let stopped = self.running.freeze().map_err(|e| e.to_string())?;
        if !stopped.complete {
            tracing::warn!("not every process was seen to stand still in time");
        }
        Ok(Effect { processes: stopped.processes, method: stopped.method.into() })
    }

    fn resume(&self) -> Result<Effect, String> {
        let processes = i64::try_from(self.running.processes()).unwrap_or(i64::MAX);
        self.running.resume().map_err(|e| e.to_string())?;
        Ok(Effect { processes, method: String::new() })
    }

    fn kill(&self) -> Result<Effect, String> {
        let stopped = self.running.kill().map_err(|e| e.to_string())?;
        Ok(Effect { processes: stopped.processes, method: stopped.method.into() })
    }

    fn resolve(&self, ticket: Ticket, decision: Decision) -> bool {
        self.running.resolve(ticket, decision)
    }

    fn replace_policy(&self, text: &str) -> Result<PolicyApplied, String> {
        let policy = Policy::parse(text, "command", &self.places).map_err(|e| e.to_string())?;
        let before = self.running.policy();
        if policy.is_plainly_no_wider_than(&before) {
            let applied = policy_applied(&policy);
            self.running.replace_policy(Arc::new(policy));
            self.journal.set_policy(applied.digest.clone());
            return Ok(applied);
        }
        // What it refuses is refused at once. What it allows waits for a person.
        let wider = Arc::new(Policy::parse(text, "command and approval", &self.places).map_err(|e| e.to_string())?);
        let narrower = policy.and(before);
        let applied = policy_applied(&narrower);
        self.running.replace_policy(Arc::new(narrower));
        self.journal.set_policy(applied.digest.clone());
        let journal = Arc::clone(&self.journal);
        let asked = self.running.ask_to_widen(wider, move |policy| {
            let applied = policy_applied(policy);
            journal.set_policy(applied.digest.clone());
            if let Err(error) = super::write(journal.as_ref(), applied) {
                tracing::error!(%error, "a policy that was agreed to could not be recorded");
            }
        });
        if asked.is_none() {
            tracing::warn!("nobody is left to widen the policy for");
        }
        Ok(applied)
    }
}

/// The addresses behind which the log and its registry listen. The agent must not reach them, or it could write its own history.
pub(super) fn endpoints(log: &LogAddress) -> Vec<SocketAddr> {
    let registry = log.registry.url.split_once("//").map_or(log.registry.url.as_str(), |(_, rest)| rest);
    let registry = registry.split('/').next().unwrap_or_default();
    let hosts = log.brokers.bootstrap.split(',').map(str::trim).chain([registry]);
    let mut addresses: Vec<SocketAddr> = hosts.filter_map(|h| h.to_socket_addrs().ok()).flatten().collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}
