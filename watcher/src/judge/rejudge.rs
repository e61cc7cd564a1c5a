//! Asks the questions of stored sessions again and shows what differs.
//!
//! The events are folded anew, which gives the questions as they were asked; the verdicts of then are read from the findings.

use super::client::Client;
use super::examine::examine;
use super::prompt::{Conversation, Policy};
use super::question::Question;
use super::verdict::{Outcome, Verdict};
use crate::decide::Judge;
use crate::replay::Replay;
use serde::Serialize;
use std::collections::BTreeMap;
use wk_schemas::{Body, Record, RecordId, SessionId, Topic};

/// A session cannot be judged again.
#[derive(Debug, thiserror::Error)]
pub enum RejudgeError {
    /// The settings name no judge.
    #[error("no judge is configured: `[judge]` in the watcher's configuration names none")]
    NoJudge,
}

/// One question, then and now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The session.
    pub session: String,
    /// The record that was asked about.
    pub about: String,
    /// The action.
    pub action: String,
    /// The verdict on the log; `None` when the question was not asked then.
    pub was: Option<Said>,
    /// The verdict now.
    pub is: Said,
    /// Whether the model was shown the same words. Different words come from other rules, another policy, or a failure between.
    pub is_same_prompt: Option<bool>,
    /// Whether both come to the same words of risk, authorization and deviation, or are both unavailable.
    pub agrees: Option<bool>,
}

/// A verdict in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Said {
    /// `risk/authorization/deviation`, or `unavailable: <failure>`.
    pub words: String,
    /// 0 to 100.
    pub score: Option<u8>,
    /// The model.
    pub model: String,
}

impl Said {
    fn of(verdict: &Verdict) -> Self {
        let words = match &verdict.outcome {
            Outcome::Answered(a) => format!("{:?}/{:?}/{:?}", a.risk, a.authorization, a.deviation).to_lowercase(),
            Outcome::Unavailable { failure, .. } => format!("unavailable: {failure}"),
        };
        Self { words, score: verdict.score(), model: verdict.model.clone() }
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let said = |s: &Said| match s.score {
            Some(score) => format!("{} {score} ({})", s.words, s.model),
            None => s.words.clone(),
        };
        let mark = match self.agrees {
            Some(true) => "same   ",
            Some(false) => "DIFFERS",
            None => "new    ",
        };
        write!(f, "{mark} {}  {}\n        now {}", self.about, crate::text::cut(&self.action, 100), said(&self.is))?;
        if let Some(was) = &self.was {
            write!(f, "\n        was {}", said(was))?;
        }
        if self.is_same_prompt == Some(false) {
            write!(f, "\n        the model was shown other words than then")?;
        }
        Ok(())
    }
}

/// Asks every question of the recorded sessions again, in order. `records` are those of events and findings, each session's
/// events in order.
///
/// # Errors
/// [`RejudgeError`]. A question that finds no answer is `unavailable`, as it would be live.
pub async fn rejudge(
    judge: &Judge,
    client: &Client,
    policy: &Policy,
    records: Vec<(Topic, Record)>,
) -> Result<Vec<Difference>, RejudgeError> {
    if judge.settings.judge.is_none() {
        return Err(RejudgeError::NoJudge);
    }
    let mut then: BTreeMap<RecordId, Verdict> = BTreeMap::new();
    let mut questions: Vec<(SessionId, Question)> = Vec::new();
    let mut replay = Replay::default();
    for (topic, record) in records {
        if let (Topic::Findings, Body::Finding(finding)) = (topic, &record.body)
            && let Some(verdict) = Verdict::of(finding)
        {
            then.insert(verdict.question, verdict);
        }
        if topic == Topic::Events {
            let session = record.header.session_id.clone();
            let asked = replay.step(judge, topic, record).questions;
            questions.extend(asked.into_iter().map(|q| (session.clone(), q)));
        }
    }
    let mut conversations: BTreeMap<SessionId, Conversation> = BTreeMap::new();
    let mut out = Vec::new();
    for (session, question) in questions {
        let conversation = conversations.entry(session.clone()).or_default();
        let now = examine(client, policy, conversation, &question, &session, None).await.verdict;
        let was = then.get(&question.id);
        out.push(Difference {
            session: session.to_string(),
            about: question.about.to_string(),
            action: question.subject().to_owned(),
            is: Said::of(&now),
            was: was.map(Said::of),
            is_same_prompt: was.map(|w| w.prompt == now.prompt),
            agrees: was.map(|w| Said::of(w).words == Said::of(&now).words),
        });
    }
    Ok(out)
}
