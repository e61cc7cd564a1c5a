//! The ladder note, warn, ask, freeze, kill: which step follows from a score, by who noticed, action class and tenant. Pure.
//!
//! Scores are those of the first entry that fits and gives any, `most` is that of the first that fits and says it; behind the
//! configured entries stand the built-in ones. A rule carries its own step, so for rules only `most` counts.

use serde::{Deserialize, Serialize};
use wk_schemas::body::Step;

/// Who noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// A Sigma rule.
    Rule,
    /// The deviation score.
    Deviation,
    /// The judge.
    Judge,
}

/// A step of the ladder, as the configuration writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StepName {
    /// Writes it down.
    Note,
    /// Tells people.
    Warn,
    /// Asks a person.
    Ask,
    /// Freezes the session.
    Freeze,
    /// Kills the session.
    Kill,
}

impl From<StepName> for Step {
    fn from(name: StepName) -> Self {
        match name {
            StepName::Note => Self::Note,
            StepName::Warn => Self::Warn,
            StepName::Ask => Self::Ask,
            StepName::Freeze => Self::Freeze,
            StepName::Kill => Self::Kill,
        }
    }
}

/// One entry: whom it is for, and from which score on, 0 to 100, which step is taken. A step without a score is not taken.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Entry {
    /// rule, deviation, judge. Default: all.
    pub by: Option<By>,
    /// The tenant. Default: all.
    pub tenant: Option<String>,
    /// Class of the action: shell, edit, write, fetch, other, process, file, connection, held, plan. Default: all.
    pub class: Option<String>,
    /// From here on it is written down.
    pub note: Option<u8>,
    /// From here on people are told.
    pub warn: Option<u8>,
    /// From here on a person is asked.
    pub ask: Option<u8>,
    /// From here on the session is frozen.
    pub freeze: Option<u8>,
    /// From here on it is killed.
    pub kill: Option<u8>,
    /// No step above this one is taken, rules included. Default: kill.
    pub most: Option<StepName>,
}

/// Whom a step is about.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// Who noticed.
    pub by: By,
    /// The tenant.
    pub tenant: &'a str,
    /// Class of the action.
    pub class: &'a str,
}

/// All entries, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ladder(Vec<Entry>);

impl Default for Ladder {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl Ladder {
    /// The configured entries, and behind them the built-in ones.
    #[must_use]
    pub fn new(mut entries: Vec<Entry>) -> Self {
        let warn = Some(crate::deviation::THRESHOLD);
        entries.push(Entry { by: Some(By::Deviation), warn, ..Entry::default() });
        // A model's word alone stops nobody: from 71 on it wants a person's answer, and only near certainty freezes.
        let judge = Entry { note: Some(0), warn: Some(56), ask: Some(71), freeze: Some(96), ..Entry::default() };
        entries.push(Entry { by: Some(By::Judge), ..judge });
        Self(entries)
    }

    fn fitting<'a>(&'a self, about: About<'a>) -> impl Iterator<Item = &'a Entry> {
        self.0.iter().filter(move |e| {
            e.by.is_none_or(|by| by == about.by)
                && e.tenant.as_deref().is_none_or(|t| t == about.tenant)
                && e.class.as_deref().is_none_or(|c| c == about.class)
        })
    }

    /// The step that a score leads to; `None` when it leads to none.
    #[must_use]
    pub fn of_score(&self, about: About<'_>, score: u8) -> Option<Step> {
        let rungs = self.fitting(about).map(Entry::rungs).find(|r| r.iter().any(|(from, _)| from.is_some()))?;
        let step = rungs.into_iter().find(|(from, _)| from.is_some_and(|from| score >= from))?.1;
        Some(self.of_rule(about, step))
    }

    /// A rule's own step, no higher than the first entry for it that says `most` allows.
    #[must_use]
    pub fn of_rule(&self, about: About<'_>, step: Step) -> Step {
        match self.fitting(about).find_map(|e| e.most).map(Step::from) {
            Some(most) if rank(step) > rank(most) => most,
            _ => step,
        }
    }
}

impl Entry {
    /// From which score on which step is taken, the highest first.
    const fn rungs(&self) -> [(Option<u8>, Step); 5] {
        [
            (self.kill, Step::Kill),
            (self.freeze, Step::Freeze),
            (self.ask, Step::Ask),
            (self.warn, Step::Warn),
            (self.note, Step::Note),
        ]
    }
}

/// Steps in order of how much they do.
#[must_use]
pub const fn rank(step: Step) -> u8 {
    match step {
        Step::Unspecified | Step::Note => 0,
        Step::Warn => 1,
        Step::Ask => 2,
        Step::Freeze => 3,
        Step::Kill => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(by: By) -> About<'static> {
        About { by, tenant: "acme", class: "shell" }
    }

    #[test]
    fn the_first_entry_that_fits_decides() {
        let entries = vec![
            Entry {
                tenant: Some("acme".into()),
                class: Some("shell".into()),
                freeze: Some(60),
                most: Some(StepName::Kill),
                ..Entry::default()
            },
            Entry {
                tenant: Some("acme".into()),
                most: Some(StepName::Ask),
                warn: Some(10),
                kill: Some(90),
                ..Entry::default()
            },
        ];
        let ladder = Ladder::new(entries);
        assert_eq!(ladder.of_score(about(By::Deviation), 60), Some(Step::Freeze));
        assert_eq!(ladder.of_score(about(By::Deviation), 59), None);
        let edit = About { class: "edit", ..about(By::Judge) };
        assert_eq!(ladder.of_score(edit, 95), Some(Step::Ask));
        assert_eq!(ladder.of_score(edit, 12), Some(Step::Warn));
        assert_eq!(ladder.of_rule(About { class: "edit", ..about(By::Rule) }, Step::Kill), Step::Ask);
        assert_eq!(ladder.of_rule(about(By::Rule), Step::Kill), Step::Kill);
        let other = About { tenant: "other", ..about(By::Deviation) };
        assert_eq!((ladder.of_score(other, 79), ladder.of_score(other, 80)), (None, Some(Step::Warn)));
    }

    #[test]
    fn a_higher_score_never_leads_to_a_lower_step() {
        let ladder = Ladder::default();
        for by in [By::Deviation, By::Judge] {
            let ranks: Vec<u8> = (0..=100).map(|s| ladder.of_score(about(by), s).map_or(0, rank)).collect();
            assert!(ranks.is_sorted(), "{by:?}");
        }
    }
}
