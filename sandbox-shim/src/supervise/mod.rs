//! Runs one agent under watch: starts it, sees and decides what its processes ask of the kernel, holds, freezes and ends it.
//!
//! [`launch`] returns a [`Running`]. Dropping it ends the agent: an agent without a shim does not go on.

mod answer;
mod ask;
mod attempts;
mod attributes;
mod core;
mod egress;
mod exits;
mod files;
mod keep;
mod names;
pub(crate) mod network;
mod openings;
mod proc_files;
mod processes;
mod reads;
mod receive;
mod results;
mod sockets;
mod telling;

use self::core::Core;
pub use self::telling::Teller;
use crate::clock;
use crate::confine::Means;
use crate::contract::{Causality, Decision, Observer, Recorder, Sees, Ticket};
use crate::freeze::Brake;
pub use crate::freeze::{FreezeError, Stopped};
pub use crate::launch::inside::Network;
use crate::launch::{self, frame};
pub use crate::launch::{Launch, LaunchError, Stdio};
use crate::lock::lock;
use crate::policy::Policy;
use crate::process::{exit_code, exit_signal};
use crate::sys::{process, seccomp};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What is known when the agent's first program is about to be executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// The agent's first process, in the shim's own numbering.
    pub root_pid: i32,
    /// What confines and observes it, one word each.
    pub confinement: Vec<String>,
}

/// How the agent ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Exit code of its first process.
    pub exit_code: Option<i32>,
    /// Signal that ended it instead.
    pub signal: Option<i32>,
}

/// An agent that runs under watch.
#[derive(Debug)]
pub struct Running {
    core: Arc<Core>,
    brake: Arc<Brake>,
    started: Started,
    stdin: Option<std::fs::File>,
    stdout: Option<std::fs::File>,
    threads: Vec<JoinHandle<()>>,
    urgent: Option<mpsc::SyncSender<Urgent>>,
    serving: Option<egress::serve::Serving>,
    network: Option<Arc<Network>>,
    _names_file: Option<crate::egress::NamesFile>,
}

/// Starts an agent. `started` is called once, before the agent's first program is recorded and executed.
///
/// # Errors
/// [`LaunchError`] says what could not be done; then nothing was started.
pub fn launch(
    spec: Launch,
    recorder: Arc<dyn Recorder>,
    causality: Arc<dyn Causality>,
    started: impl FnOnce(&Started) + Send + 'static,
) -> Result<Running, LaunchError> {
    static MEANS: OnceLock<Means> = OnceLock::new();
    launch_with(MEANS.get_or_init(Means::probe).clone(), spec, recorder, causality, started)
}

/// As [`launch`], with no more than the given means: what a machine lacks can be tried on one that has it.
///
/// # Errors
/// As [`launch`].
pub fn launch_with(
    means: Means,
    spec: Launch,
    recorder: Arc<dyn Recorder>,
    causality: Arc<dyn Causality>,
    started: impl FnOnce(&Started) + Send + 'static,
) -> Result<Running, LaunchError> {
    let io = |step| move |source| LaunchError::Step { step, source };
    let copies = means.copies_descriptors;
    let mut prepared = launch::prepare(&spec, means)?;
    let (stdin, stdout) = (prepared.stdin.take(), prepared.stdout.take());
    let mut words = prepared.words.clone();
    let (wall, names_file) = (prepared.wall.take(), prepared.names.take());
    let (services, outside) = wall.map_or((None, None), |(services, listeners)| (Some(services), listeners));
    let walled = outside.is_none();
    let (floor, protected, line) = (prepared.floor.clone(), prepared.protected.clone(), prepared.line());
    let exits = exits::Exits::new().map_err(io("watching for exits"))?;
    let wake = process::event().map_err(io("making the supervision's wake-up"))?;
    let stop = process::event().map_err(io("watching what is executed"))?;
    let (tell, told) = mpsc::sync_channel(1);
    let (tell_root, root_told) = mpsc::sync_channel(1);
    let mut confinement = words.clone();
    let receiver = std::thread::Builder::new().name("wk-supervise".to_owned()).spawn(move || {
        let begun = match prepared.begin() {
            Ok(begun) => begun,
            Err(error) => {
                tell.send(Err(error)).ok();
                return;
            }
        };
        seccomp::wake_synchronously(begun.listener.as_fd()).ok();
        // After the fork, so that the agent does not inherit it. A thaw must not leave the shim behind the tree it has to watch.
        // Only root may; others do without.
        process::set_priority(-10).ok();
        let brake = Arc::new(begun.brake);
        let reads = begun.reads.map(|reads| reads::Reads::new(reads, Arc::clone(&brake))).transpose();
        let reads = match reads {
            Ok(reads) => reads,
            Err(source) => {
                brake.kill().ok();
                tell.send(Err(LaunchError::Step { step: "watching what is read", source })).ok();
                return;
            }
        };
        let failing = Arc::clone(&brake);
        let core = Arc::new_cyclic(|me| Core {
            me: me.clone(),
            listener: begun.listener,
            recorder,
            causality,
            policy: RwLock::new(Arc::clone(&spec.policy)),
            floor: RwLock::new(floor),
            protected,
            protected_endpoints: spec.protected_endpoints.clone(),
            table: Mutex::default(),
            resolver: Mutex::default(),
            fold: Mutex::default(),
            calls: Mutex::default(),
            holds: crate::hold::Holds::default(),
            names: names::Names::default(),
            out: services.map(|services| egress::Out::new(walled, services, spec.reachable.clone())),
            sockets: (!copies).then(sockets::Sockets::default),
            telling: spec.teller.clone().map(telling::Telling::new),
            gate: crate::gate::Gate::default(),
            workers: crate::workers::Workers::default(),
            exits,
            openings: begun.watch.map(|watch| openings::Openings::new(watch, stop)),
            results: begun.results.map(results::Results::new),
            reads,
            telling_another: Mutex::default(),
            wake,
            looked_for_abandoned: AtomicI64::new(0),
            failed: AtomicBool::new(false),
            on_failure: Box::new(move || {
                let brake = Arc::clone(&failing);
                // On a thread of its own, because the one that failed has a call to answer.
                std::thread::spawn(move || {
                    brake.stop(clock::instant()).ok();
                    brake.kill().ok();
                });
            }),
        });
        tell.send(Ok((Arc::clone(&core), Arc::clone(&brake), begun.inside))).ok();
        confinement.extend(core.observed_by());
        core.run(move |root_pid| {
            let facts = Started { root_pid, confinement };
            started(&facts);
            tell_root.send(root_pid).ok();
        });
        // The init dies with the thread that started it, and it still has to say how the agent ended.
        brake.line.wait_closed(Duration::from_secs(60));
    });
    let receiver = receiver.map_err(io("starting the supervision"))?;
    let (core, brake, inside) = told.recv().map_err(|_| LaunchError::Step {
        step: "starting the supervision",
        source: std::io::ErrorKind::BrokenPipe.into(),
    })??;
    words.extend(core.observed_by());
    let network = inside.is_some().then(|| Arc::new(Network::new(Arc::clone(&line))));
    let serving = inside.or(outside);
    let serving = serving.zip(core.out.as_ref());
    let serving = serving.map(|(listeners, out)| egress::serve::Serving::begin(&core, out, listeners));
    let serving = serving.transpose().map_err(io("serving the proxy"))?;
    let listening = (Arc::clone(&line), Arc::clone(&core));
    let listener = std::thread::Builder::new()
        .name("wk-init-line".to_owned())
        .spawn(move || {
            process::go_first().ok();
            listening.0.listen();
            listening.1.exits.no_more();
        })
        .map_err(io("listening to the init"))?;
    let watching = Arc::clone(&core);
    let watcher = std::thread::Builder::new()
        .name("wk-exits".to_owned())
        .spawn(move || watching.exits.run(&watching))
        .map_err(io("watching for exits"))?;
    let telling = core.openings.is_some().then(|| Arc::clone(&core));
    let teller = telling.map(|core| {
        std::thread::Builder::new().name("wk-openings".to_owned()).spawn(move || core.watch_openings_or_fail())
    });
    let teller = teller.transpose().map_err(io("watching what is executed"))?;
    let (urgent, braking) = brake_thread().map_err(io("starting the brake"))?;
    // The exec of the agent's program is itself a watched call, so the first notification names its process.
    let root_pid = root_told.recv().unwrap_or(0);
    let started = Started { root_pid, confinement: words };
    Ok(Running {
        core,
        brake,
        started,
        stdin,
        stdout,
        threads: [receiver, listener, watcher, braking].into_iter().chain(teller).collect(),
        urgent: Some(urgent),
        serving,
        network,
        _names_file: names_file,
    })
}

impl Running {
    /// What was known when the agent started.
    #[must_use]
    pub fn started(&self) -> &Started {
        &self.started
    }

    /// What confines and observes the agent.
    #[must_use]
    pub fn confinement(&self) -> &[String] {
        &self.started.confinement
    }

    /// The agent's first process.
    #[must_use]
    pub fn root_pid(&self) -> i32 {
        self.started.root_pid
    }

    /// The other end of the agent's standard input, when the shim converses with it. Dropping it ends the input.
    pub fn take_stdin(&mut self) -> Option<std::fs::File> {
        self.stdin.take()
    }

    /// The agent's standard output, when it is captured.
    pub fn take_stdout(&mut self) -> Option<std::fs::File> {
        self.stdout.take()
    }

    /// The agent's network, where it has one of its own.
    #[must_use]
    pub fn network(&self) -> Option<Arc<Network>> {
        self.network.clone()
    }

    /// Stops every process, new forks included, and lets no held call go on. Freezing twice is harmless.
    ///
    /// # Errors
    /// [`FreezeError`] when the kernel refuses; then the gate stays shut and the tree should be killed.
    pub fn freeze(&self) -> Result<Stopped, FreezeError> {
        let start = clock::instant();
        let (core, brake) = (Arc::clone(&self.core), Arc::clone(&self.brake));
        let stopped = self.urgently(move || {
            core.gate.shut();
            brake.stop(start)
        })?;
        self.core.record_all_repeats();
        Ok(stopped)
    }

    /// Lets every process go on, and everything that waited meanwhile; microseconds it took.
    ///
    /// # Errors
    /// [`FreezeError`] when the kernel refuses; then the session stays frozen.
    pub fn resume(&self) -> Result<i64, FreezeError> {
        let start = clock::instant();
        let (core, brake) = (Arc::clone(&self.core), Arc::clone(&self.brake));
        self.urgently(move || {
            // What waited is answered first: once the tree runs it takes the processor away from whoever answers.
            core.reopen();
            brake.resume().map(|()| clock::micros_since(start))
        })
    }

    /// Whether the session is frozen.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.core.gate.is_shut()
    }

    /// Kills every process and waits until none is left.
    ///
    /// # Errors
    /// [`FreezeError`] when the kernel refuses.
    pub fn kill(&self) -> Result<Stopped, FreezeError> {
        let start: Instant = clock::instant();
        let brake = Arc::clone(&self.brake);
        let killed = self.urgently(move || brake.kill())?;
        Ok(self.brake.wait_dead(&killed, start))
    }

    /// Has something done by the thread that goes first; one thing at a time.
    fn urgently<T: Send + 'static>(&self, act: impl FnOnce() -> T + Send + 'static) -> T {
        let (tell, told) = mpsc::sync_channel(1);
        let act: Urgent = Box::new(move || {
            tell.send(act()).ok();
        });
        if let Some(urgent) = &self.urgent {
            urgent.send(act).expect("the thread lives as long as its sender");
        }
        told.recv().expect("the thread answers everything it is given")
    }

    /// Answers a held action; whether one waited under this ticket. Written down as `approval_resolved`. While the session is
    /// frozen the answer is taken, and carried out when it is resumed.
    pub fn resolve(&self, ticket: Ticket, decision: Decision) -> bool {
        self.core.answer_ticket(ticket, decision)
    }

    /// The policy in force.
    #[must_use]
    pub fn policy(&self) -> Arc<Policy> {
        self.core.policy()
    }

    /// Asks a person whether `policy` may take the place of the one in force; `then` is done when it has.
    pub fn ask_to_widen(&self, policy: Arc<Policy>, then: impl FnOnce(&Policy) + Send + 'static) -> Option<Ticket> {
        let process = lock(&self.core.table).get(self.started.root_pid)?;
        let verdict = crate::policy::Verdict {
            action: crate::policy::Action::Hold,
            reason: Some("the policy that is to come allows more than the one in force".to_owned()),
        };
        let question = ask::Question {
            action: "apply_policy",
            subject: format!("put the policy `{}` ({}) in force", policy.name, policy.digest.to_hex()),
            ..ask::Question::default()
        };
        Some(self.core.ask(None, &process, &verdict, question, move |core, granted, _| {
            if granted {
                then(&policy);
                core.replace_policy(policy);
            }
        }))
    }

    /// Puts another policy in force for what happens from now on. What the kernel enforces by itself was fixed at the start: a rule
    /// that singles out further files is kept by the shim alone.
    pub fn replace_policy(&self, policy: Arc<Policy>) {
        self.core.replace_policy(policy);
    }

    /// Sends a signal to the agent's first process.
    pub fn signal(&self, signal: i32) {
        if self.brake.line.order(frame::SIGNAL, signal).is_err() {
            self.core.signal(self.started.root_pid, signal);
        }
    }

    /// How many processes are known to be alive.
    #[must_use]
    pub fn processes(&self) -> usize {
        lock(&self.core.table).len()
    }

    /// How many calls wait for a person.
    #[must_use]
    pub fn held(&self) -> usize {
        self.core.holds.len()
    }

    /// Waits until the agent's first process has ended and, with it, all it started; every record is written when this returns.
    pub fn wait(&self) -> Ended {
        let (status, _) = self.brake.line.wait();
        self.brake.line.wait_closed(Duration::from_secs(10));
        while !self.threads[..3].iter().all(JoinHandle::is_finished) && !lock(&self.core.table).is_empty() {
            std::thread::sleep(Duration::from_millis(1));
        }
        for held in self.core.holds.take_if(|_| true) {
            self.core.end_hold(held, crate::hold::Ending::Abandoned);
        }
        // After the holds: who waits for an answer at the proxy has it now.
        if let Some(serving) = &self.serving {
            serving.finish();
        }
        self.core.tell_openings();
        self.core.record_all_repeats();
        Ended {
            exit_code: status.and_then(exit_code),
            // A kill of the whole cgroup takes the init along, which then says nothing.
            signal: status.map_or(Some(libc::SIGKILL), exit_signal),
        }
    }

    /// Everyone who watches this session; the supervision itself first.
    #[must_use]
    pub fn observers(&self) -> Vec<&dyn Observer> {
        std::iter::once(self as &dyn Observer).chain(self.core.observers()).collect()
    }

    /// Whether an event could not be recorded, so that the agent was ended.
    #[must_use]
    pub fn recording_failed(&self) -> bool {
        self.core.failed.load(Ordering::SeqCst)
    }
}

impl Observer for Running {
    fn word(&self) -> &'static str {
        "seccomp-unotify"
    }

    fn sees(&self) -> Sees {
        Sees {
            programs: true,
            loaders: false,
            ends: true,
            opens: true,
            names: true,
            connections: true,
            results: false,
            holds: true,
        }
    }
}

type Urgent = Box<dyn FnOnce() + Send>;

/// A thread that goes before the tree it stops and lets go on, where the shim may have one: a thawed tree would otherwise keep the
/// shim from the processor for seconds.
fn brake_thread() -> std::io::Result<(mpsc::SyncSender<Urgent>, JoinHandle<()>)> {
    let (give, given) = mpsc::sync_channel::<Urgent>(1);
    let thread = std::thread::Builder::new().name("wk-brake".to_owned()).spawn(move || {
        if process::go_first().is_err() {
            process::set_priority(-15).ok();
        }
        for act in given {
            act();
        }
    })?;
    Ok((give, thread))
}

impl Drop for Running {
    fn drop(&mut self) {
        self.brake.kill().ok();
        self.serving = None;
        self.brake.line.hang_up();
        self.urgent = None;
        self.core.stop_telling_openings();
        for thread in self.threads.drain(..) {
            thread.join().ok();
        }
        process::wait_for(self.brake.init).ok();
        self.brake.clean_up();
    }
}
