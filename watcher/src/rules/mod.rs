//! Sigma rules over records and their context: loading, matching, correlating, testing.
//!
//! Detection is rsigma's engine, shared by all sessions and stateless. Correlation windows live in each session, so that
//! sessions cannot influence one another and state is saved with the session; time there is the session's logical clock, so
//! order holds inside a second and replay gives the same. Logsource routing is mandatory: a rule whose category or product
//! the record does not have is not asked.

mod check;
mod compile;
mod correlate;
mod coverage;
mod document;
mod explain;
mod handbook;
mod link;
mod lint;
mod load;
mod pack;
mod reload;
mod sources;

pub use check::{Case, Report, TestFailure, check, check_sources};
pub use correlate::Windows;
pub use coverage::{Coverage, coverage};
pub use document::Problem;
pub use explain::{Explanation, explain};
pub use handbook::handbook;
pub use lint::{Lint, lint};
pub use load::Tests;
pub use pack::EMBEDDED;
pub use reload::{Look, Reload};
pub use sources::{Source, Sources};

use crate::event::Row;
use correlate::Correlation;
use rsigma_eval::{CompiledRule, Engine, EvaluationResult, MatchDetailLevel};
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use wk_schemas::body::{Level, Match, Step};
use wk_schemas::{Digest, RecordId, sigma};

/// What is known of a rule beside its detection.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Sigma: id; derived from the text when the rule has none.
    pub id: String,
    /// Sigma: title.
    pub title: String,
    /// Sigma: modified, or date.
    pub version: String,
    /// SHA-256 of the rule's text.
    pub digest: Digest,
    /// Sigma: level.
    pub level: Level,
    /// Sigma: tags.
    pub tags: Vec<String>,
    /// Sigma: description.
    pub about: String,
    /// Sigma: falsepositives.
    pub false_positives: Vec<String>,
    /// What the watcher does.
    pub step: Step,
    /// The sentence of the finding; `{field}` stands for a field's value.
    pub says: String,
    /// Fields that tell one object from another: a finding is raised once per session for each.
    pub subject: Vec<String>,
    /// Where the rule stands.
    pub file: String,
    /// Line of the file on which it begins, from 1.
    pub line: usize,
    /// Whether a correlation uses it and it raises no finding by itself.
    pub is_silent: bool,
    /// Tests that the rule carries.
    pub tests: Tests,
    /// Sigma: logsource; `None` for a correlation.
    pub source: Option<rsigma_parser::LogSource>,
}

/// A rule that matched.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// The rule.
    pub rule: Arc<Rule>,
    /// What matched, sorted.
    pub matches: Vec<Match>,
    /// What the rule's subject fields were: the key of re-fire suppression.
    pub subject: String,
    /// The finding's sentence.
    pub description: String,
    /// Records of a correlation, beside the one that completed it.
    pub evidence: Vec<RecordId>,
}

/// The logsources that records have: product and category.
pub const SOURCES: &[(&str, &str)] = &[
    ("linux", "process_creation"),
    ("linux", "process_termination"),
    ("linux", "file_event"),
    ("linux", "network_connection"),
    ("linux", "dns_query"),
    ("linux", "system_call"),
    ("ai_agent", "session"),
    ("ai_agent", "prompt"),
    ("ai_agent", "plan"),
    ("ai_agent", "thought"),
    ("ai_agent", "tool_call"),
    ("ai_agent", "tool_result"),
    ("ai_agent", "records_lost"),
    ("ai_agent", "policy"),
    ("ai_agent", "held_action"),
    ("ai_agent", "approval"),
    ("ai_agent", "command"),
    ("ai_agent", "finding"),
    ("ai_agent", "lake"),
];

/// A rule that feeds correlations, by its number. Ordered, so that what follows from a match has one order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Feed {
    Detection(usize),
    Correlation(usize),
}

/// All rules in force.
pub struct Rules {
    /// An engine for each of [`SOURCES`], in their order, with the rules that may be asked about such records and no others.
    engines: Vec<Option<Engine>>,
    /// Compiled with filters applied, by number.
    compiled: Vec<CompiledRule>,
    /// By the number that stands in the compiled rule's attributes.
    detections: Vec<Arc<Rule>>,
    correlations: Vec<Correlation>,
    /// By what a correlation refers to: which correlation, and by which name.
    feeds: BTreeMap<Feed, Vec<(usize, String)>>,
    /// SHA-256 over the digests of all rules, in order of digest.
    pub pack_digest: Digest,
    /// What could not be loaded.
    pub problems: Vec<Problem>,
}

impl std::fmt::Debug for Rules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rules")
            .field("detections", &self.detections.len())
            .field("engines", &self.engines.len())
            .field("compiled", &self.compiled.len())
            .field("correlations", &self.correlations.len())
            .field("pack_digest", &self.pack_digest)
            .field("problems", &self.problems)
            .finish_non_exhaustive()
    }
}

impl Rules {
    /// The rules that the program carries, and those in `folders`.
    ///
    /// # Errors
    /// When a folder cannot be read. A faulty rule is no error: it is left out and named in [`Rules::problems`].
    pub fn load(folders: &[impl AsRef<Path>]) -> Result<Self, std::io::Error> {
        let mut sources = Sources::embedded();
        for folder in folders {
            sources.add_path(folder.as_ref())?;
        }
        Ok(Self::compile(&sources))
    }

    /// Compiles rules; what is faulty is left out and named in [`Rules::problems`].
    #[must_use]
    pub fn compile(sources: &Sources) -> Self {
        load::Loading::of(sources).finish()
    }

    /// Every rule in force: detections, then correlations.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.detections.iter().chain(self.correlations.iter().map(|c| &c.rule))
    }

    /// The rules that match the row, detections first, in the order in which they were loaded; then the correlations that
    /// these complete. `clock` is the session's logical clock in microseconds.
    pub fn judge(&self, row: &Row<'_>, windows: &mut Windows, clock: i64) -> Vec<Hit> {
        let found = self.detect(row);
        let mut hits = Vec::new();
        for (index, result) in &found {
            let Some(rule) = self.detections.get(*index) else { continue };
            if !rule.is_silent {
                hits.push(hit(rule, row, matches(result)));
            }
        }
        // Correlations refer to one another without a circle, so this ends.
        let mut matched: VecDeque<Feed> = found.iter().map(|(index, _)| Feed::Detection(*index)).collect();
        while let Some(feed) = matched.pop_front() {
            for (index, name) in self.feeds.get(&feed).into_iter().flatten() {
                let Some(correlation) = self.correlations.get(*index) else { continue };
                let Some(complete) = windows.feed(correlation, name, row, clock) else { continue };
                matched.push_back(Feed::Correlation(*index));
                if !correlation.rule.is_silent {
                    hits.push(Hit { evidence: complete.evidence, ..hit(&correlation.rule, row, complete.matches) });
                }
            }
        }
        hits
    }

    /// The rules whose logsource no record has, so that they are never asked: packs for other systems have many.
    pub fn idle(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.detections.iter().filter(|r| r.source.as_ref().is_some_and(|s| !SOURCES.iter().any(|k| fits(s, *k))))
    }

    /// The detections that match, by number.
    fn detect(&self, row: &Row<'_>) -> Vec<(usize, EvaluationResult)> {
        let place = SOURCES.iter().position(|k| *k == (row.source.product, row.source.category));
        let Some(engine) = place.and_then(|p| self.engines.get(p)?.as_ref()) else { return Vec::new() };
        let mut found: Vec<(usize, EvaluationResult)> = engine
            .evaluate(row)
            .into_iter()
            .filter_map(|r| Some((compile::number(&r.header.custom_attributes)?, r)))
            .collect();
        // The engine promises no order of candidates; the order of loading is ours.
        found.sort_by_key(|(number, _)| *number);
        found
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self::compile(&Sources::embedded())
    }
}

/// A new engine with the detail that findings need.
fn engine() -> Engine {
    let mut engine = Engine::new();
    engine.set_match_detail(MatchDetailLevel::Summary);
    engine
}

fn hit(rule: &Arc<Rule>, row: &Row<'_>, matches: Vec<Match>) -> Hit {
    let subject: Vec<_> = rule.subject.iter().map(|f| row.text(f).unwrap_or_default()).collect();
    let description = fill(&rule.says, row);
    Hit { rule: Arc::clone(rule), matches, subject: subject.join("|"), description, evidence: Vec::new() }
}

fn matches(result: &EvaluationResult) -> Vec<Match> {
    let mut out: Vec<Match> = result
        .as_detection()
        .into_iter()
        .flat_map(|d| &d.matched_fields)
        .map(|m| {
            let value = match &m.value {
                serde_json::Value::String(s) => s.clone(),
                other => other.to_string(),
            };
            let value = crate::text::cut(&value, 512).to_owned();
            Match { field: m.field.clone(), value, selection: m.selection.clone().unwrap_or_default() }
        })
        .collect();
    out.sort_by(|a, b| (&a.selection, &a.field, &a.value).cmp(&(&b.selection, &b.field, &b.value)));
    out.dedup();
    out
}

/// Puts the values of fields into a sentence.
fn fill(sentence: &str, row: &Row<'_>) -> String {
    let mut out = String::new();
    let mut rest = sentence;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let Some((name, behind)) = after.split_once('}') else {
            out.push('{');
            rest = after;
            continue;
        };
        let value = row.text(name).unwrap_or(std::borrow::Cow::Borrowed("?"));
        out.push_str(crate::text::cut(&value, 300));
        rest = behind;
    }
    out.push_str(rest);
    out
}

/// Whether a rule of this logsource is asked about records of that product and category. What the rule does not name fits all; a
/// service fits none, because records have none.
fn fits(source: &rsigma_parser::LogSource, (product, category): (&str, &str)) -> bool {
    source.service.is_none()
        && source.custom.is_empty()
        && source.product.as_deref().is_none_or(|p| p.eq_ignore_ascii_case(product))
        && source.category.as_deref().is_none_or(|c| c.eq_ignore_ascii_case(category))
}

/// The logsource under which a test's row is judged.
fn source_of(source: &rsigma_parser::LogSource) -> sigma::LogSource {
    let (product, category) = SOURCES.iter().find(|k| fits(source, **k)).copied().unwrap_or(("none", "none"));
    sigma::LogSource { product, category }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_asked_about_records_that_have_what_its_logsource_names() {
        let routed = |source| fits(&source, ("linux", "network_connection"));
        let linux = rsigma_parser::LogSource { product: Some("linux".into()), ..Default::default() };
        let processes = rsigma_parser::LogSource { category: Some("process_creation".into()), ..linux.clone() };
        let auditd = rsigma_parser::LogSource { service: Some("auditd".into()), ..linux.clone() };
        assert!(routed(linux) && !routed(processes) && !routed(auditd));
    }
}
