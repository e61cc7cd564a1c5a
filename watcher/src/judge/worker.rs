//! Takes questions and gives verdicts, beside the loop that decides. One question of a session is asked at a time.
//!
//! ```text
//! job ─► cache ─► lane of its session ─► breaker, budget ─► endpoint ─► verdict
//!           └───────────────┴──── full, open, spent: unavailable ─────────┘
//! ```
//! Every job gets exactly one answer. Nothing here is kept across a restart; the session knows which questions are open.

use super::client::Client;
use super::examine::{cache_key, examine};
use super::failure::Failure;
use super::prompt::{Conversation, Policy};
use super::question::Question;
use super::verdict::{Cost, Outcome, Verdict};
use super::{breaker::Breaker, budget::Budget};
use crate::session::Recent;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wk_schemas::{Digest, Header, SessionId};

/// Questions of one session that may wait.
const LANE_MAX: usize = 16;
/// Sessions whose conversation is remembered.
const LANES_MAX: usize = 1000;
/// Questions and answers on their way.
const CHANNEL: usize = 1024;

/// A question, and the header of the record that it is about.
#[derive(Debug, Clone)]
pub struct Job {
    /// The question.
    pub question: Question,
    /// Header of the record: tenant, host and agent of the verdict are the same.
    pub header: Header,
}

/// A question with its verdict.
#[derive(Debug, Clone)]
pub struct Answered {
    /// The question.
    pub question: Question,
    /// Header of the record that it is about.
    pub header: Header,
    /// What came of it.
    pub verdict: Verdict,
}

/// The end of the worker that the loop holds.
#[derive(Debug)]
pub struct Worker {
    jobs: mpsc::Sender<(Job, Instant)>,
    answers: mpsc::Receiver<Answered>,
}

impl Worker {
    /// Starts the worker; it ends with `cancel` or when this is dropped.
    #[must_use]
    pub fn start(client: Client, policy: Policy, cancel: CancellationToken) -> Self {
        let (jobs, taken) = mpsc::channel(CHANNEL);
        let (give, answers) = mpsc::channel(CHANNEL);
        let desk = Desk::new(client, policy, give);
        tokio::spawn(async move {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = desk.run(taken) => {}
            }
        });
        Self { jobs, answers }
    }

    /// Hands a question over without waiting; when too many are on their way it is answered at once.
    ///
    /// # Errors
    /// The job with its verdict `unavailable`, when it was not taken.
    pub fn ask(&self, job: Job) -> Result<(), Box<Answered>> {
        self.jobs.try_send((job, Instant::now())).map_err(|error| {
            let (mpsc::error::TrySendError::Full((job, _)) | mpsc::error::TrySendError::Closed((job, _))) = error;
            let verdict = Verdict::unavailable(&job.question, &Failure::QueueFull);
            Box::new(Answered { question: job.question, header: job.header, verdict })
        })
    }

    /// The next verdict. Nothing is lost when this is cancelled. Waits for ever once the worker has ended.
    pub async fn next(&mut self) -> Answered {
        match self.answers.recv().await {
            Some(answered) => answered,
            None => std::future::pending().await,
        }
    }
}

struct Waiting {
    job: Job,
    since: Instant,
    key: Digest,
}

#[derive(Default)]
struct Lane {
    conversation: Conversation,
    waiting: VecDeque<Waiting>,
    is_busy: bool,
    touched: u64,
}

struct Done {
    waiting: Waiting,
    conversation: Conversation,
    verdict: Verdict,
    failure: Option<Failure>,
}

struct Desk {
    client: Arc<Client>,
    policy: Arc<Policy>,
    give: mpsc::Sender<Answered>,
    lanes: BTreeMap<SessionId, Lane>,
    running: JoinSet<Done>,
    breaker: Breaker,
    budget: Budget,
    cache: Recent<Verdict>,
    started: Instant,
    turns: u64,
}

impl Desk {
    fn new(client: Client, policy: Policy, give: mpsc::Sender<Answered>) -> Self {
        let config = client.config();
        Self {
            lanes: BTreeMap::new(),
            running: JoinSet::new(),
            breaker: Breaker::new(config.breaker_failures, config.breaker_pause),
            budget: Budget::new(config.per_minute, config.burst, config.tokens_per_day),
            cache: Recent::new(config.cache.max(1)),
            started: Instant::now(),
            turns: 0,
            client: Arc::new(client),
            policy: Arc::new(policy),
            give,
        }
    }

    async fn run(mut self, mut jobs: mpsc::Receiver<(Job, Instant)>) {
        loop {
            tokio::select! {
                job = jobs.recv() => match job {
                    Some((job, since)) => self.take(job, since).await,
                    None => return,
                },
                Some(done) = self.running.join_next() => {
                    if let Ok(done) = done {
                        self.finish(done).await;
                    }
                }
            }
            self.start().await;
        }
    }

    async fn take(&mut self, job: Job, since: Instant) {
        let key = cache_key(&self.client, &self.policy, &job.question);
        if let Some(known) = self.cache.get(&key.to_hex()) {
            let question = &job.question;
            let mut verdict = Verdict {
                question: question.id,
                about: question.about,
                ticket: question.ticket,
                gate: question.gate.to_owned(),
                cost: Cost::default(),
                ..known.clone()
            };
            // The records that were named then are of another moment, perhaps of another session.
            if let Outcome::Answered(answer) = &mut verdict.outcome {
                answer.evidence.clear();
            }
            verdict.window = (1, question.about);
            return self.answer(Waiting { job, since, key }, verdict).await;
        }
        self.turns += 1;
        let turn = self.turns;
        let lane = self.lanes.entry(job.header.session_id.clone()).or_default();
        lane.touched = turn;
        if lane.waiting.len() >= LANE_MAX {
            let verdict = Verdict::unavailable(&job.question, &Failure::QueueFull);
            return self.answer(Waiting { job, since, key }, verdict).await;
        }
        lane.waiting.push_back(Waiting { job, since, key });
        self.forget();
    }

    /// Starts what may be asked now: sessions in order of who waits longest.
    async fn start(&mut self) {
        while self.running.len() < self.client.config().concurrency.max(1) {
            let next = self
                .lanes
                .iter()
                .filter(|(_, lane)| !lane.is_busy)
                .filter_map(|(id, lane)| Some((lane.waiting.front()?.since, id.clone())))
                .min();
            let Some((_, id)) = next else { return };
            let Some(lane) = self.lanes.get_mut(&id) else { return };
            let Some(waiting) = lane.waiting.pop_front() else { return };
            let left = left(&waiting);
            let now = self.started.elapsed();
            let refused = if left == Some(Duration::ZERO) {
                Some(Failure::Late)
            } else if !self.budget.take(now) {
                Some(Failure::Budget)
            } else if !self.breaker.admits(now) {
                Some(Failure::BreakerOpen)
            } else {
                None
            };
            if let Some(failure) = refused {
                let verdict = Verdict::unavailable(&waiting.job.question, &failure);
                self.answer(waiting, verdict).await;
                continue;
            }
            lane.is_busy = true;
            let mut conversation = std::mem::take(&mut lane.conversation);
            let (client, policy) = (Arc::clone(&self.client), Arc::clone(&self.policy));
            self.running.spawn(async move {
                let Job { question, header } = &waiting.job;
                let done = examine(&client, &policy, &mut conversation, question, &header.session_id, left).await;
                Done { waiting, conversation, verdict: done.verdict, failure: done.failure }
            });
        }
    }

    async fn finish(&mut self, done: Done) {
        let now = self.started.elapsed();
        match &done.failure {
            Some(failure) if failure.is_endpoints() => {
                if self.breaker.failed(now, matches!(failure, Failure::Quota(_))) {
                    tracing::warn!(failure = failure.name(), "the judge is left alone for a while");
                }
            }
            _ => self.breaker.succeeded(),
        }
        let (read, written) = done.verdict.cost.tokens;
        self.budget.spend(read + written);
        if done.failure.is_none() {
            self.cache.insert(&done.waiting.key.to_hex(), done.verdict.clone());
        }
        if let Some(lane) = self.lanes.get_mut(&done.waiting.job.header.session_id) {
            lane.is_busy = false;
            lane.conversation = done.conversation;
        }
        self.answer(done.waiting, done.verdict).await;
    }

    async fn answer(&mut self, waiting: Waiting, mut verdict: Verdict) {
        verdict.cost.latency_us = i64::try_from(waiting.since.elapsed().as_micros()).unwrap_or(i64::MAX);
        let Job { question, header } = waiting.job;
        let answered = Answered { question, header, verdict };
        if self.give.send(answered).await.is_err() {
            tracing::debug!("nobody waits for the judge's answer any more");
        }
    }

    /// Drops the conversations that were touched longest ago.
    fn forget(&mut self) {
        if self.lanes.len() <= LANES_MAX {
            return;
        }
        let idle = self.lanes.iter().filter(|(_, lane)| !lane.is_busy && lane.waiting.is_empty());
        let oldest = idle.min_by_key(|(_, lane)| lane.touched).map(|(id, _)| id.clone());
        if let Some(id) = oldest {
            self.lanes.remove(&id);
        }
    }
}

/// How long an answer is still of use to a hold: to its deadline, by the time that has passed since it was asked.
fn left(waiting: &Waiting) -> Option<Duration> {
    let question = &waiting.job.question;
    let whole = question.deadline?.0.saturating_sub(question.asked_at.0).max(0);
    let whole = Duration::from_micros(u64::try_from(whole).unwrap_or_default());
    Some(whole.saturating_sub(waiting.since.elapsed()))
}
