//! Reads rule files. What is faulty is named with its file and line, and left out; the rest loads.

use super::Rule;
use super::document::{Document, Problem, documents};
use super::sources::Sources;
use rsigma_eval::{Pipeline, parse_pipeline};
use rsigma_parser::{CorrelationRule, FilterRule, SigmaRule, parse_sigma_yaml};
use serde::Deserialize;
use std::collections::BTreeMap;
use wk_schemas::body::{Level, Step};
use wk_schemas::{Digest, RecordId};

/// Under this key a rule carries what we add to Sigma.
const EXTENSION: &str = "watchkeeper";

/// What a rule says under `watchkeeper:`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Extension {
    step: Option<String>,
    says: Option<String>,
    #[serde(default)]
    subject: Option<Vec<String>>,
    #[serde(default)]
    tests: Tests,
}

/// Tests that a rule carries.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tests {
    /// Rows, or for a correlation series of rows, that must match.
    #[serde(default)]
    pub positive: Vec<serde_json::Value>,
    /// Such that must not.
    #[serde(default)]
    pub negative: Vec<serde_json::Value>,
}

/// What was read so far.
#[derive(Default)]
pub(super) struct Loading {
    pub(super) rules: Vec<(SigmaRule, Rule, bool)>,
    pub(super) correlations: Vec<(CorrelationRule, Rule)>,
    pub(super) filters: Vec<(FilterRule, Problem)>,
    pub(super) pipelines: Vec<Pipeline>,
    /// Digests of filters and pipelines: they are part of what is in force.
    pub(super) others: Vec<Digest>,
    ids: BTreeMap<String, String>,
    pub(super) problems: Vec<Problem>,
}

/// The parts that detections and correlations have in common.
struct Fields<'a> {
    id: Option<String>,
    title: &'a str,
    version: Option<String>,
    level: Option<rsigma_parser::Level>,
    tags: &'a [String],
    about: Option<&'a str>,
    false_positives: &'a [String],
    extension: Option<serde_json::Value>,
}

impl Loading {
    /// Everything in these files.
    pub(super) fn of(sources: &Sources) -> Self {
        let mut loading = Self::default();
        for source in &sources.0 {
            for document in documents(&source.file, &source.text) {
                loading.read(&document, source.is_ours);
            }
        }
        loading
    }

    fn read(&mut self, document: &Document<'_>, is_ours: bool) {
        if document.is_pipeline() {
            match parse_pipeline(document.text) {
                Ok(pipeline) => {
                    self.pipelines.push(pipeline);
                    self.others.push(Digest::of(document.text.as_bytes()));
                }
                Err(error) => self.problems.push(document.translate(&error.to_string())),
            }
            return;
        }
        let collection = match parse_sigma_yaml(document.text) {
            Ok(collection) => collection,
            Err(error) => return self.problems.push(document.translate(&error.to_string())),
        };
        self.problems.extend(collection.errors.iter().map(|e| document.translate(e)));
        for rule in collection.rules {
            let fields = Fields {
                id: rule.id.clone(),
                title: &rule.title,
                version: rule.modified.clone().or_else(|| rule.date.clone()),
                level: rule.level,
                tags: &rule.tags,
                about: rule.description.as_deref(),
                false_positives: &rule.falsepositives,
                extension: rule.custom_attributes.get(EXTENSION).and_then(|v| serde_json::to_value(v).ok()),
            };
            if let Some(mut known) = self.rule(document, fields, rule.logsource.category.as_deref()) {
                known.source = Some(rule.logsource.clone());
                if rule.logsource.category.is_none()
                    && rule.logsource.product.is_none()
                    && rule.logsource.service.is_none()
                {
                    let message = "the rule has no logsource and would be asked about every record; expected product and category";
                    self.problems.push(document.problem(Some("logsource"), message));
                    continue;
                }
                self.rules.push((rule, known, is_ours));
            }
        }
        for rule in collection.correlations {
            let fields = Fields {
                id: rule.id.clone(),
                title: &rule.title,
                version: rule.modified.clone().or_else(|| rule.date.clone()),
                level: rule.level,
                tags: &rule.tags,
                about: rule.description.as_deref(),
                false_positives: &rule.falsepositives,
                extension: rule.custom_attributes.get(EXTENSION).and_then(|v| serde_json::to_value(v).ok()),
            };
            if let Some(known) = self.rule(document, fields, None) {
                self.correlations.push((rule, known));
            }
        }
        for filter in collection.filters {
            self.others.push(Digest::of(document.text.as_bytes()));
            self.filters.push((filter, document.problem(Some("filter:"), "")));
        }
    }

    fn rule(&mut self, document: &Document<'_>, fields: Fields<'_>, category: Option<&str>) -> Option<Rule> {
        let extension: Extension = match fields.extension {
            None => Extension::default(),
            Some(value) => match serde_json::from_value(value) {
                Ok(extension) => extension,
                Err(error) => {
                    let message = format!("{error}; expected step, says, subject, tests under `{EXTENSION}:`");
                    self.problems.push(document.problem(Some(EXTENSION), message));
                    return None;
                }
            },
        };
        let level = level(fields.level);
        let step = match extension.step.as_deref() {
            None => default_step(level),
            Some("note") => Step::Note,
            Some("warn") => Step::Warn,
            Some("ask") => Step::Ask,
            Some("freeze") => Step::Freeze,
            Some("kill") => Step::Kill,
            Some(other) => {
                let message = format!("`{other}` is no step; expected note, warn, ask, freeze or kill");
                self.problems.push(document.problem(Some("step:"), message));
                return None;
            }
        };
        let digest = Digest::of(document.text.as_bytes());
        let id =
            fields.id.unwrap_or_else(|| RecordId::derived(&[], &format!("rule {digest} {}", fields.title)).to_string());
        let place = format!("{}:{}", document.file, document.line);
        if let Some(first) = self.ids.get(&id) {
            self.problems.push(
                document
                    .problem(Some("id:"), format!("id {id} is that of the rule at {first}; expected one of its own")),
            );
            return None;
        }
        self.ids.insert(id.clone(), place);
        Some(Rule {
            id,
            title: fields.title.to_owned(),
            version: fields.version.unwrap_or_default(),
            digest,
            level,
            tags: fields.tags.to_vec(),
            about: fields.about.unwrap_or_default().to_owned(),
            false_positives: fields.false_positives.to_vec(),
            step,
            says: extension.says.unwrap_or_else(|| fields.title.to_owned()),
            subject: extension.subject.unwrap_or_else(|| default_subject(category)),
            file: document.file.to_owned(),
            line: document.problem(Some("title:"), "").line,
            is_silent: false,
            tests: extension.tests,
            source: None,
        })
    }

    /// Names what is wrong with a rule that was read.
    pub(super) fn fault(&mut self, rule: &Rule, message: &str) {
        let message = format!("{}: {message}", rule.title);
        self.problems.push(Problem::at(&rule.file, rule.line, &format!("title: {}", rule.title), message));
    }
}

fn level(level: Option<rsigma_parser::Level>) -> Level {
    match level {
        Some(rsigma_parser::Level::Informational) => Level::Informational,
        Some(rsigma_parser::Level::Low) => Level::Low,
        Some(rsigma_parser::Level::Medium) | None => Level::Medium,
        Some(rsigma_parser::Level::High) => Level::High,
        Some(rsigma_parser::Level::Critical) => Level::Critical,
    }
}

/// A rule that does not say what to do never stops anybody: packs written for servers are noisy on agents.
fn default_step(level: Level) -> Step {
    match level {
        Level::High | Level::Critical => Step::Warn,
        Level::Unspecified | Level::Informational | Level::Low | Level::Medium => Step::Note,
    }
}

/// What makes two matches of a rule different when the rule does not say.
fn default_subject(category: Option<&str>) -> Vec<String> {
    let fields: &[&str] = match category {
        Some("process_creation") => &["Image", "CommandLine"],
        Some("file_event") => &["TargetFilename"],
        Some("network_connection" | "held_action") => &["scope.object"],
        Some("dns_query") => &["QueryName"],
        Some("tool_call") => &["tool", "CommandLine"],
        _ => &[],
    };
    fields.iter().map(|f| (*f).to_owned()).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::{Rules, Source};
    use super::*;

    pub(in crate::rules) const GOOD: &str = "title: Good\nlogsource:\n    category: file_event\n    product: linux\ndetection:\n    s:\n        TargetFilename: /x\n    condition: s\n";

    /// One file of somebody else's with this text.
    pub(in crate::rules) fn load(text: &str) -> Rules {
        Rules::compile(&Sources(vec![Source { file: "my.yml".into(), text: text.into(), is_ours: false }]))
    }

    #[test]
    fn a_faulty_rule_is_named_with_its_line_and_takes_no_other_down() {
        for (fault, line, expected) in [
            (
                "title: Bad\nlogsource:\n    category: file_event\n    product: linux\ndetection:\n    s:\n        TargetFilename|bogus: /x\n    condition: s\n",
                17,
                "modifier",
            ),
            (
                "title: Bad\nlogsource:\n    category: file_event\n    product: linux\ndetection:\n    s:\n        TargetFilename: /x\n    condition: s and (\n",
                18,
                "ondition",
            ),
            (
                "title: Bad\nlogsource:\n    category: file_event\n    product: linux\nwatchkeeper:\n    step: shout\ndetection:\n    s:\n        TargetFilename: /x\n    condition: s\n",
                16,
                "expected note",
            ),
            (
                "title: Bad\nlogsource:\n    category: file_event\n    product: linux\nwatchkeeper:\n    stepp: note\ndetection:\n    s:\n        TargetFilename: /x\n    condition: s\n",
                15,
                "expected step",
            ),
            ("title: Bad\ndetection:\n    s:\n        TargetFilename: /x\n    condition: s\n", 11, "logsource"),
            ("title: Bad\n  logsource: x: y\n", 12, "line 2"),
            (
                "title: Bad\ncorrelation:\n    type: event_count\n    rules:\n        - nobody\n    timespan: 1m\n    condition:\n        gte: 2\n",
                11,
                "nobody",
            ),
        ] {
            let rules = load(&format!("{GOOD}\n---\n{fault}"));
            assert_eq!(rules.all().count(), 1, "{fault}");
            let problem = &rules.problems[0];
            assert_eq!((problem.file.as_str(), problem.line), ("my.yml", line), "{problem}");
            assert!(problem.message.contains(expected), "{problem}");
        }
    }

    #[test]
    fn an_id_is_used_once() {
        let with_id = |title: &str| {
            GOOD.replace("title: Good", &format!("title: {title}\nid: 5d1d0b3e-0000-4000-8000-000000000001"))
        };
        let rules = load(&format!("{}---\n{}", with_id("A"), with_id("B")));
        assert_eq!(rules.all().map(|r| r.title.as_str()).collect::<Vec<_>>(), ["A"]);
        assert!(rules.problems[0].message.contains("my.yml:1"), "{}", rules.problems[0]);
    }

    #[test]
    fn a_rule_that_does_not_say_what_to_do_never_stops_anybody() {
        let rules = load(&format!("{GOOD}level: critical\n"));
        assert_eq!(rules.all().next().map(|r| r.step), Some(Step::Warn));
    }
}
