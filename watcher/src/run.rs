//! The loop around the core: reads records, decides, writes what follows, saves how far it has come.
//!
//! ```text
//! 1  a message is read                                   a crash here, or at
//! 2  it is decided; nothing is written                   any point before 5,
//! 3  an output is handed to the log                      repeats the work since
//! 4  every output so far is acknowledged                 the last checkpoint;
//! 5  sessions, chains and offsets are saved at once      outputs on the log are
//! 6  and survive a loss of power                         known by their ids
//! ```
//! The saved state is always one that the log can bring forward: it never speaks of an output that is not acknowledged.

use crate::alerts::{Receiver, Undelivered};
use crate::config::Config;
use crate::decide::Judge;
use crate::judge::{self, Answered, Client, Policy};
use crate::rules::{Reload, Rules};
pub use crate::setup::{Points, Setup, WatchError};
use crate::state::{Progress, State};
use crate::work::Work;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use wk_wire::{Disposition, Message, Read as _};

/// Messages taken at once. Nothing waits for a batch to fill.
const BATCH_MAX: usize = 256;
/// How long to wait before trying again what failed because something was away.
const BACKOFF: Duration = Duration::from_millis(500);
/// How often the rules on disk are looked at.
const LOOK_AT_RULES: Duration = Duration::from_secs(2);

/// The watcher, its rules loaded and its state open.
#[derive(Debug)]
pub struct Watcher {
    pub(crate) config: Config,
    pub(crate) setup: Setup,
    /// What is decided by; replaced as a whole when rules on disk change.
    judge: RwLock<Arc<Judge>>,
    reload: Arc<Mutex<Reload>>,
    /// Who is asked, by which policy.
    pub(crate) model: Option<(Client, Policy)>,
    pub(crate) receivers: Vec<Arc<Receiver>>,
    pub(crate) state: State,
}

impl Watcher {
    /// Loads the rules and opens the state. A faulty rule is traced and left out.
    ///
    /// # Errors
    /// [`WatchError::Rules`] when a folder cannot be read, [`WatchError::State`] when the state is in use or damaged,
    /// [`WatchError::Endpoint`] when a judge or a receiver is configured that cannot be used.
    pub fn open(config: Config, setup: Setup) -> Result<Self, WatchError> {
        let mut sources = crate::rules::Sources::embedded();
        for path in &config.rules {
            sources.add_path(path).map_err(|source| WatchError::Rules { path: path.clone(), source })?;
        }
        let rules = Rules::compile(&sources);
        for problem in &rules.problems {
            warn!(file = %problem.file, line = problem.line, problem = %problem.message, "rule left out");
        }
        info!(rules = rules.all().count(), pack_digest = %rules.pack_digest, "rules in force");
        let reload = Arc::new(Mutex::new(Reload::new(config.rules.clone(), &sources)));
        let state = State::open(&setup.state)?;
        let settings = config.settings(&setup.command_key.verifying_key());
        let judge = RwLock::new(Arc::new(Judge { rules, approvers: setup.approvers.clone(), settings }));
        let model = config.judge.clone().map(judge::open).transpose()?;
        let receivers = config.alerts.iter().map(|c| Receiver::new(c.clone()).map(Arc::new));
        let receivers = receivers.collect::<Result<Vec<_>, _>>()?;
        Ok(Self { config, setup, judge, reload, model, receivers, state })
    }

    /// Lets others see how far it has come, also while it runs.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.state.progress()
    }

    /// What is decided by now.
    pub(crate) fn judge(&self) -> Arc<Judge> {
        Arc::clone(&self.judge.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Decides by these rules from now on.
    pub(crate) fn put_in_force(&self, rules: Rules) -> Arc<Judge> {
        let mut judge = self.judge.write().unwrap_or_else(PoisonError::into_inner);
        *judge = Arc::new(Judge { rules, approvers: judge.approvers.clone(), settings: judge.settings.clone() });
        Arc::clone(&judge)
    }

    /// Completes when there are new rules on disk that may be taken.
    async fn new_rules(&self) -> Rules {
        if self.config.rules.is_empty() {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(LOOK_AT_RULES).await;
            let (reload, in_force) = (Arc::clone(&self.reload), self.judge().rules.pack_digest);
            let look = move || reload.lock().unwrap_or_else(PoisonError::into_inner).look_and_tell(in_force);
            // Compiling takes a moment of a processor, and a panic in there is a fault of a rule: the pack in force stays.
            if let Ok(Some(rules)) = tokio::task::spawn_blocking(look).await {
                return rules;
            }
        }
    }

    /// Watches until `cancel` is cancelled. While brokers or registry are away it waits for them and then goes on.
    ///
    /// # Errors
    /// [`WatchError`] when going on would lose or invent something; the next start recovers.
    pub async fn run(self, cancel: CancellationToken) -> Result<(), WatchError> {
        loop {
            match Box::pin(self.watch(&cancel)).await {
                Ok(()) => return Ok(()),
                Err(error) if error.disposition() == Disposition::Retry => {
                    warn!(error = &error as &dyn std::error::Error, "watching is interrupted; trying again");
                }
                Err(error) => return Err(error),
            }
            tokio::select! {
                () = cancel.cancelled() => return Ok(()),
                () = tokio::time::sleep(BACKOFF) => {}
            }
        }
    }

    /// Watches from the saved state on, until it is cancelled or something fails.
    async fn watch(&self, cancel: &CancellationToken) -> Result<(), WatchError> {
        let Some((mut work, mut reader)) = cancelled(cancel, Work::begin(self)).await.transpose()? else {
            return Ok(());
        };
        let mut look = std::pin::pin!(self.new_rules());
        let mut tick = tokio::time::interval(self.config.checkpoint_interval);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let input = tokio::select! {
                biased;
                () = cancel.cancelled() => Input::Shutdown,
                _ = tick.tick() => Input::Tick,
                input = work.outside() => input,
                rules = &mut look => {
                    look.set(self.new_rules());
                    Input::Rules(Box::new(rules))
                }
                batch = reader.next_batch(BATCH_MAX, self.config.checkpoint_interval) => Input::Messages(batch?),
            };
            let done = match input {
                Input::Messages(messages) => cancelled(cancel, work.take(messages)).await,
                Input::Verdict(verdict) => cancelled(cancel, work.answer(*verdict)).await,
                Input::Undelivered(alert) => cancelled(cancel, work.give_up(alert)).await,
                Input::Rules(rules) => cancelled(cancel, work.replace_rules(*rules)).await,
                Input::Tick => cancelled(cancel, work.checkpoint()).await,
                Input::Shutdown => {
                    // What is not acknowledged by then is found, or written again, by the next start.
                    let last = tokio::time::timeout(Duration::from_secs(5), work.checkpoint()).await;
                    last.unwrap_or(Ok(()))?;
                    self.state.flush()?;
                    return Ok(());
                }
            };
            // Cut off in the middle: what is in memory is ahead of what was read, so it is not saved; the next start repeats it.
            let Some(done) = done else { return Ok(()) };
            done?;
        }
    }
}

/// Everything that the loop reacts to.
pub(crate) enum Input {
    Messages(Vec<Message>),
    Verdict(Box<Answered>),
    Undelivered(Undelivered),
    Rules(Box<Rules>),
    Tick,
    Shutdown,
}

/// The outcome of `future`, or `None` when it was cancelled first; state in memory is then not used any more.
async fn cancelled<T>(cancel: &CancellationToken, future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => None,
        done = future => Some(done),
    }
}
