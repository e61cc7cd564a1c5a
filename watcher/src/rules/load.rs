//! Reads rule files and compiles them. What is faulty is named with its file and line, and left out; the rest loads.

use super::correlate::Correlation;
use super::{Rule, Rules, engine};
use rsigma_eval::correlation::compile_correlation;
use rsigma_parser::{CorrelationRule, FilterRule, SigmaRule, parse_sigma_yaml};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use wk_schemas::body::{Level, Step};
use wk_schemas::{Digest, RecordId};

/// Under this key a compiled rule carries its number, so that a match finds its way back.
const NUMBER: &str = "watchkeeper.number";
/// Under this key a rule carries what we add to Sigma.
const EXTENSION: &str = "watchkeeper";

/// Texts of rule files, by name, in order of name.
#[derive(Debug, Clone, Default)]
pub struct Sources(pub Vec<Source>);

/// One rule file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its path, as messages name it.
    pub file: String,
    /// Its text.
    pub text: String,
}

impl Sources {
    /// The rules that the program carries.
    #[must_use]
    pub fn embedded() -> Self {
        Self(super::EMBEDDED.iter().map(|(f, t)| Source { file: (*f).to_owned(), text: (*t).to_owned() }).collect())
    }

    /// Adds a file, or all `.yml` and `.yaml` files below a folder, in order of name.
    ///
    /// # Errors
    /// When something cannot be read.
    pub fn add_path(&mut self, path: &Path) -> Result<(), std::io::Error> {
        if path.is_dir() {
            let mut entries = std::fs::read_dir(path)?.map(|e| e.map(|e| e.path())).collect::<Result<Vec<_>, _>>()?;
            entries.sort();
            for entry in entries {
                let is_rule = entry.extension().is_some_and(|e| e == "yml" || e == "yaml");
                if entry.is_dir() || is_rule {
                    self.add_path(&entry)?;
                }
            }
        } else {
            self.0.push(Source { file: path.display().to_string(), text: std::fs::read_to_string(path)? });
        }
        Ok(())
    }
}

/// A rule that could not be loaded, or a fault in one that could.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {message}")]
pub struct Problem {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong and what was expected.
    pub message: String,
}

/// What a rule says under `watchkeeper:`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Extension {
    pub(super) step: Option<String>,
    pub(super) says: Option<String>,
    #[serde(default)]
    pub(super) subject: Option<Vec<String>>,
    #[serde(default)]
    pub(super) tests: Tests,
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

/// One YAML document of a rule file.
struct Document<'a> {
    file: &'a str,
    /// Line of the file on which it begins, from 1.
    line: usize,
    text: &'a str,
}

impl Document<'_> {
    /// A problem on the line that `what` stands on, or on the first that holds anything.
    fn problem(&self, what: Option<&str>, message: impl Into<String>) -> Problem {
        let find = |needle: &str| self.text.lines().position(|l| l.contains(needle));
        let first = || self.text.lines().position(|l| !l.trim().is_empty() && !l.trim_start().starts_with('#'));
        let offset = what.and_then(find).or_else(first).unwrap_or(0);
        Problem { file: self.file.to_owned(), line: self.line + offset, message: message.into() }
    }

    /// Turns rsigma's message into a problem on the right line.
    fn translate(&self, message: &str) -> Problem {
        // yaml_serde ends its messages with `at line 7 column 3`, counted within the document.
        if let Some((_, place)) = message.rsplit_once(" at line ")
            && let Some(line) = place.split_whitespace().next().and_then(|n| n.parse::<usize>().ok())
        {
            let problem =
                Problem { file: self.file.to_owned(), line: self.line + line - 1, message: message.to_owned() };
            return problem;
        }
        let quoted = message.split(['\'', '`', '"']).nth(1).filter(|q| !q.is_empty());
        let (place, expected) = match message {
            m if m.contains("modifier") => (quoted.map(|q| format!("|{q}")), "expected one of Sigma's modifiers"),
            m if m.contains("Missing required field") => (None, "expected title, logsource and detection"),
            m if m.contains("ondition") => {
                (Some("condition:".to_owned()), "expected names of selections joined with and, or, not")
            }
            m if m.contains("imespan") => (Some("timespan:".to_owned()), "expected a number and one of s, m, h, d"),
            m if m.contains("etection") => (Some("detection:".to_owned()), "expected selections and a condition"),
            m if m.contains("orrelation") => {
                (Some("correlation:".to_owned()), "expected type, rules, timespan and condition")
            }
            _ => (quoted.map(str::to_owned), "expected a Sigma rule"),
        };
        self.problem(place.as_deref(), format!("{message}; {expected}"))
    }
}

/// Splits a file at its document marks. A file that uses collection actions stays whole, because its parts depend on one another.
fn documents(source: &Source) -> Vec<Document<'_>> {
    let file = source.file.as_str();
    if source.text.lines().any(|l| l.starts_with("action:")) {
        return vec![Document { file, line: 1, text: &source.text }];
    }
    let mut out = Vec::new();
    let (mut start, mut first_line, mut at) = (0, 1, 0);
    for (number, line) in source.text.split_inclusive('\n').enumerate() {
        if line.trim_end() == "---" {
            out.push(Document { file, line: first_line, text: &source.text[start..at] });
            start = at + line.len();
            first_line = number + 2;
        }
        at += line.len();
    }
    out.push(Document { file, line: first_line, text: &source.text[start..] });
    out.retain(|d| d.text.lines().any(|l| !l.trim().is_empty() && !l.trim_start().starts_with('#')));
    out
}

/// What was read so far.
#[derive(Default)]
struct Loading {
    rules: Vec<(SigmaRule, Rule)>,
    correlations: Vec<(CorrelationRule, Rule)>,
    filters: Vec<(FilterRule, Problem)>,
    ids: BTreeMap<String, String>,
    problems: Vec<Problem>,
}

pub(super) fn compile(sources: &Sources) -> Rules {
    let mut loading = Loading::default();
    for source in &sources.0 {
        for document in documents(source) {
            loading.read(&document);
        }
    }
    loading.finish()
}

impl Loading {
    fn read(&mut self, document: &Document<'_>) {
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
                self.rules.push((rule, known));
            }
        }
        for rule in collection.correlations {
            let fields = Fields {
                id: rule.id.clone(),
                title: &rule.title,
                version: rule.modified.clone().or_else(|| rule.date.clone()),
                level: rule.level,
                tags: &rule.tags,
                extension: rule.custom_attributes.get(EXTENSION).and_then(|v| serde_json::to_value(v).ok()),
            };
            if let Some(known) = self.rule(document, fields, None) {
                self.correlations.push((rule, known));
            }
        }
        for filter in collection.filters {
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

    fn finish(mut self) -> Rules {
        let mut engine = engine();
        let mut detections = Vec::new();
        let mut compiled = Vec::new();
        for (mut rule, known) in std::mem::take(&mut self.rules) {
            // Compiled alone first, so that the numbers of those that stay are without a gap.
            if let Err(error) = rsigma_eval::compile_rule(&rule) {
                self.fault(&known, &error.to_string());
                continue;
            }
            let Ok(number) = serde_json::from_value(serde_json::json!(detections.len())) else { continue };
            rule.custom_attributes.insert(NUMBER.to_owned(), number);
            detections.push((rule.name.clone(), known));
            compiled.push(rule);
        }
        for (index, error) in engine.add_rules(compiled.iter()) {
            if let Some((_, known)) = detections.get(index) {
                let known = known.clone();
                self.fault(&known, &error.to_string());
            }
        }
        for (filter, place) in std::mem::take(&mut self.filters) {
            if let Err(error) = engine.apply_filter(&filter) {
                self.problems.push(Problem { message: format!("{error}; expected a filter"), ..place });
            }
        }
        let mut correlations = Vec::new();
        let mut feeds: BTreeMap<usize, Vec<(usize, String)>> = BTreeMap::new();
        let mut silent = BTreeSet::new();
        for (correlation, known) in std::mem::take(&mut self.correlations) {
            match resolve(&correlation, &detections) {
                Err(message) => self.fault(&known, &message),
                Ok(references) => match compile_correlation(&correlation) {
                    Err(error) => self.fault(&known, &error.to_string()),
                    Ok(mut compiled) => {
                        compiled.timespan_secs = compiled.timespan_secs.saturating_mul(1_000_000);
                        compiled.gap_secs = compiled.gap_secs.map(|g| g.saturating_mul(1_000_000));
                        if !compiled.generate {
                            silent.extend(references.iter().map(|(i, _)| *i));
                        }
                        for (detection, name) in references {
                            feeds.entry(detection).or_default().push((correlations.len(), name));
                        }
                        correlations.push(Correlation { rule: Arc::new(known), compiled });
                    }
                },
            }
        }
        let detections: Vec<Arc<Rule>> = detections
            .into_iter()
            .enumerate()
            .map(|(i, (_, rule))| Arc::new(Rule { is_silent: silent.contains(&i), ..rule }))
            .collect();
        let mut digests: Vec<Digest> =
            detections.iter().chain(correlations.iter().map(|c| &c.rule)).map(|r| r.digest).collect();
        digests.sort_unstable();
        let pack_digest = Digest::of(&digests.iter().flat_map(|d| d.0).collect::<Vec<u8>>());
        self.problems.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
        Rules { engine, detections, correlations, feeds, pack_digest, problems: self.problems }
    }

    fn fault(&mut self, rule: &Rule, message: &str) {
        self.problems.push(Problem {
            file: rule.file.clone(),
            line: rule.line,
            message: format!("{}: {message}", rule.title),
        });
    }
}

/// The parts that detections and correlations have in common.
struct Fields<'a> {
    id: Option<String>,
    title: &'a str,
    version: Option<String>,
    level: Option<rsigma_parser::Level>,
    tags: &'a [String],
    extension: Option<serde_json::Value>,
}

/// The number that a match carries.
pub(super) fn number(attributes: &std::collections::HashMap<String, serde_json::Value>) -> Option<usize> {
    usize::try_from(attributes.get(NUMBER)?.as_u64()?).ok()
}

/// The detections that a correlation refers to, by id or name.
fn resolve(
    correlation: &CorrelationRule,
    detections: &[(Option<String>, Rule)],
) -> Result<Vec<(usize, String)>, String> {
    let find = |reference: &String| {
        let fits = |(name, rule): &(Option<String>, Rule)| {
            rule.id == *reference || name.as_deref() == Some(reference.as_str())
        };
        let index = detections.iter().position(fits).ok_or_else(|| {
            format!("refers to `{reference}`, which is no detection rule that was loaded; expected a rule's id or name")
        })?;
        Ok((index, reference.clone()))
    };
    correlation.rules.iter().map(find).collect()
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
mod tests {
    use super::*;

    const GOOD: &str = "title: Good\nlogsource:\n    category: file_event\n    product: linux\ndetection:\n    s:\n        TargetFilename: /x\n    condition: s\n";

    fn load(text: &str) -> Rules {
        compile(&Sources(vec![Source { file: "my.yml".into(), text: text.into() }]))
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
    fn the_pack_digest_follows_the_text_of_each_rule_and_not_the_files_names() {
        let a = load(GOOD);
        let b = compile(&Sources(vec![Source { file: "other.yml".into(), text: GOOD.into() }]));
        assert_eq!(a.pack_digest, b.pack_digest);
        assert_ne!(a.pack_digest, load(&GOOD.replace("/x", "/y")).pack_digest);
    }

    #[test]
    fn a_rule_that_does_not_say_what_to_do_never_stops_anybody() {
        let rules = load(&format!("{GOOD}level: critical\n"));
        assert_eq!(rules.all().next().map(|r| r.step), Some(Step::Warn));
    }
}
