//! Runs rules over recorded sessions and counts what follows: how loud they are, and which sessions a change catches or loses.
//!
//! The engine is the live one ([`crate::replay`]), so a backtest gives the findings that the watcher gave or would give, byte for
//! byte. Whoever holds the records (the lake, a file of samples) hands them over session by session; nothing is read here.

use crate::decide::Judge;
use crate::replay::Replay;
use ed25519_dalek::SigningKey;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use wk_schemas::body::Step;
use wk_schemas::{Body, Record, Timestamp, Topic};

/// At most so many questions to a person for each 200 actions of benign sessions.
pub const ACTIONS_PER_QUESTION: u64 = 200;
/// At most so many freezes for each 2,000 actions of benign sessions.
pub const ACTIONS_PER_FREEZE: u64 = 2000;
/// Examples that are kept for each rule.
const EXAMPLES_MAX: usize = 3;

/// What a rule gave.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RuleTally {
    /// What is done about its findings.
    pub step: String,
    /// Its findings.
    pub findings: u64,
    /// Sessions in which it raised one.
    pub sessions: BTreeSet<String>,
    /// The sentences of the first few.
    pub examples: Vec<String>,
}

/// What a backtest gives.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Sessions replayed.
    pub sessions: u64,
    /// Records replayed.
    pub records: u64,
    /// Tool calls that were carried out; where a session has none, programs started.
    pub actions: u64,
    /// Findings that ask a person.
    pub questions: u64,
    /// Findings that freeze or kill.
    pub freezes: u64,
    /// By the rule's title.
    pub rules: BTreeMap<String, RuleTally>,
    /// Time of the first and the last record that counts, in microseconds UTC.
    pub span: Option<(i64, i64)>,
}

/// A finding or a command, as it would stand on the log.
pub type Output = (Topic, Record, Vec<u8>);

impl Tally {
    /// Replays one session. What it raises before `since` is context and does not count.
    ///
    /// Returns the outputs that count, sealed as the watcher would have sealed them with `key`.
    pub fn session(
        &mut self,
        judge: &Judge,
        key: &SigningKey,
        records: impl IntoIterator<Item = (Topic, Record)>,
        since: Timestamp,
    ) -> Vec<Output> {
        let mut replay = Replay::default();
        let (mut calls, mut programs, mut out) = (0, 0, Vec::new());
        for (topic, record) in records {
            let at = record.header.occurred_at;
            let counts = at >= since;
            let name = record.header.session_id.to_string();
            if counts {
                self.records += 1;
                let (first, last) = self.span.unwrap_or((at.0, at.0));
                self.span = Some((first.min(at.0), last.max(at.0)));
                calls += u64::from(matches!(&record.body, Body::ToolCalled(b) if b.decision != "denied"));
                programs += u64::from(matches!(&record.body, Body::ProcessStarted(_)));
            }
            for output in replay.sealed(judge, key, topic, record) {
                if counts {
                    self.count(&name, &output.1);
                    out.push(output);
                }
            }
        }
        self.sessions += 1;
        self.actions += if calls > 0 { calls } else { programs };
        out
    }

    fn count(&mut self, session: &str, output: &Record) {
        let Body::Finding(finding) = &output.body else { return };
        match finding.step {
            Step::Ask => self.questions += 1,
            Step::Freeze | Step::Kill => self.freezes += 1,
            Step::Note | Step::Warn | Step::Unspecified => {}
        }
        let rule = self.rules.entry(finding.title.clone()).or_default();
        rule.step = finding.step.as_str().to_lowercase();
        rule.findings += 1;
        rule.sessions.insert(session.to_owned());
        if rule.examples.len() < EXAMPLES_MAX {
            rule.examples.push(finding.description.clone());
        }
    }

    /// Whether benign sessions would be asked about and frozen no more often than is allowed.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.questions * ACTIONS_PER_QUESTION <= self.actions && self.freezes * ACTIONS_PER_FREEZE <= self.actions
    }

    /// Questions for each day of the span; a span shorter than a day counts as one.
    #[must_use]
    pub fn questions_per_day(&self) -> f64 {
        const DAY_US: i64 = 86_400_000_000;
        let (first, last) = self.span.unwrap_or_default();
        #[expect(clippy::cast_precision_loss, reason = "counts and days, for people")]
        let days = (last.saturating_sub(first).max(DAY_US)) as f64 / DAY_US as f64;
        #[expect(clippy::cast_precision_loss, reason = "counts and days, for people")]
        let questions = self.questions as f64;
        questions / days
    }
}

/// How a rule's catch differs between two packs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The rule's title.
    pub rule: String,
    /// Sessions that only the new pack catches with it.
    pub newly: Vec<String>,
    /// Sessions that only the old pack caught with it.
    pub no_longer: Vec<String>,
    /// What it says of the first few that are new, or else said of those that were lost.
    pub examples: Vec<String>,
}

/// The rules whose catch differs, by title.
#[must_use]
pub fn difference(old: &Tally, new: &Tally) -> Vec<Change> {
    let titles: BTreeSet<&String> = old.rules.keys().chain(new.rules.keys()).collect();
    let nothing = RuleTally::default();
    let change = |title: &String| {
        let (before, after) = (old.rules.get(title).unwrap_or(&nothing), new.rules.get(title).unwrap_or(&nothing));
        let newly: Vec<String> = after.sessions.difference(&before.sessions).cloned().collect();
        let no_longer: Vec<String> = before.sessions.difference(&after.sessions).cloned().collect();
        let examples = if newly.is_empty() { before.examples.clone() } else { after.examples.clone() };
        (!newly.is_empty() || !no_longer.is_empty()).then(|| Change { rule: title.clone(), newly, no_longer, examples })
    };
    titles.into_iter().filter_map(change).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(rule: &str, sessions: &[&str]) -> Tally {
        let mut tally = Tally::default();
        let sessions = sessions.iter().map(|s| (*s).to_owned()).collect();
        tally
            .rules
            .insert(rule.to_owned(), RuleTally { sessions, examples: vec![rule.to_owned()], ..RuleTally::default() });
        tally
    }

    #[test]
    fn a_difference_names_the_sessions_on_either_side() {
        let changes = difference(&tally("A", &["s1", "s2"]), &tally("A", &["s2", "s3"]));
        assert_eq!(
            (changes[0].newly.as_slice(), changes[0].no_longer.as_slice()),
            (&["s3".to_owned()][..], &["s1".to_owned()][..])
        );
        assert_eq!(difference(&tally("A", &["s1"]), &tally("A", &["s1"])), []);
        assert_eq!(difference(&tally("A", &["s1"]), &tally("B", &["s1"])).len(), 2);
    }

    #[test]
    fn quiet_is_one_question_in_two_hundred_actions_and_one_freeze_in_two_thousand() {
        let tally = |questions, freezes| Tally { actions: 2000, questions, freezes, ..Tally::default() };
        assert!(tally(10, 1).is_quiet() && !tally(11, 0).is_quiet() && !tally(0, 2).is_quiet());
        assert!(!Tally { questions: 1, ..Tally::default() }.is_quiet());
    }
}
