//! Reads rule files and compiles them. What is faulty is named with its file and line, and left out; the rest loads.

use super::correlate::Correlation;
use super::document::{Document, Problem, documents};
use super::{Feed, Rule, Rules, SOURCES, engine, fits};
use rsigma_eval::correlation::compile_correlation;
use rsigma_eval::{CompiledCorrelation, CompiledRule, Engine, Pipeline, apply_pipelines, parse_pipeline};
use rsigma_parser::{CorrelationRule, FilterRule, FilterRuleTarget, SigmaRule, parse_sigma_yaml};
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
    /// Whether the program carries it. Pipelines are for the rules of others and leave these alone.
    pub is_ours: bool,
}

impl Sources {
    /// The rules that the program carries.
    #[must_use]
    pub fn embedded() -> Self {
        Self(
            super::EMBEDDED
                .iter()
                .map(|(f, t)| Source { file: (*f).to_owned(), text: (*t).to_owned(), is_ours: true })
                .collect(),
        )
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
            let (file, text) = (path.display().to_string(), std::fs::read_to_string(path)?);
            self.0.push(Source { file, text, is_ours: false });
        }
        Ok(())
    }
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

/// What was read so far.
#[derive(Default)]
struct Loading {
    rules: Vec<(SigmaRule, Rule, bool)>,
    correlations: Vec<(CorrelationRule, Rule)>,
    filters: Vec<(FilterRule, Problem)>,
    pipelines: Vec<Pipeline>,
    /// Digests of filters and pipelines: they are part of what is in force.
    others: Vec<Digest>,
    ids: BTreeMap<String, String>,
    problems: Vec<Problem>,
}

pub(super) fn compile(sources: &Sources) -> Rules {
    let mut loading = Loading::default();
    for source in &sources.0 {
        for document in documents(&source.file, &source.text) {
            loading.read(&document, source.is_ours);
        }
    }
    loading.finish()
}

impl Loading {
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

    fn finish(mut self) -> Rules {
        self.pipelines.sort_by_key(|p| p.priority);
        let mut engine = engine();
        let mut detections = Vec::new();
        let mut compiled = Vec::new();
        for (mut rule, mut known, is_ours) in std::mem::take(&mut self.rules) {
            if !is_ours && let Err(error) = apply_pipelines(&self.pipelines, &mut rule) {
                self.fault(&known, &format!("{error}; a pipeline does not fit it"));
                continue;
            }
            known.source = Some(rule.logsource.clone());
            // Compiled alone first, so that the numbers of those that stay are without a gap.
            if let Err(error) = rsigma_eval::compile_rule(&rule) {
                self.fault(&known, &error.to_string());
                continue;
            }
            let Ok(number) = serde_json::from_value(serde_json::json!(detections.len())) else { continue };
            rule.custom_attributes.insert(NUMBER.to_owned(), number);
            rule.id.get_or_insert_with(|| known.id.clone());
            detections.push((rule.name.clone(), known));
            compiled.push(rule);
        }
        for (index, error) in engine.add_rules(compiled.iter()) {
            if let Some((_, known)) = detections.get(index) {
                let known = known.clone();
                self.fault(&known, &error.to_string());
            }
        }
        self.filter(&mut engine, &detections);
        let compiled = engine.rules().to_vec();
        let Correlated { correlations, feeds, silent } = self.correlate(&detections);
        let detections: Vec<Arc<Rule>> = detections
            .into_iter()
            .enumerate()
            .map(|(i, (_, rule))| Arc::new(Rule { is_silent: silent.contains(&Feed::Detection(i)), ..rule }))
            .collect();
        let mut digests: Vec<Digest> =
            detections.iter().chain(correlations.iter().map(|c| &c.rule)).map(|r| r.digest).collect();
        digests.extend(&self.others);
        digests.sort_unstable();
        let pack_digest = Digest::of(&digests.iter().flat_map(|d| d.0).collect::<Vec<u8>>());
        self.problems.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
        let engines = SOURCES.iter().map(|k| routed(&compiled, *k)).collect();
        Rules { engines, compiled, detections, correlations, feeds, pack_digest, problems: self.problems }
    }

    /// Compiles the correlations: those of detections first, then those of correlations that are there already. What is left
    /// over refers to nothing, or in a circle.
    fn correlate(&mut self, detections: &[(Option<String>, Rule)]) -> Correlated {
        let mut out = Correlated::default();
        let mut waiting = std::mem::take(&mut self.correlations);
        loop {
            let before = waiting.len();
            for (correlation, known) in std::mem::take(&mut waiting) {
                match resolve(&correlation, detections, &out.correlations) {
                    Err(_) => waiting.push((correlation, known)),
                    Ok(references) => match compile_correlation(&correlation) {
                        Err(error) => self.fault(&known, &error.to_string()),
                        Ok(compiled) => out.add(compiled, known, correlation.name, references),
                    },
                }
            }
            if waiting.len() == before {
                break;
            }
        }
        for (correlation, known) in waiting {
            if let Err(message) = resolve(&correlation, detections, &out.correlations) {
                self.fault(&known, &message);
            }
        }
        for (index, correlation) in out.correlations.iter_mut().enumerate() {
            if out.silent.contains(&Feed::Correlation(index)) {
                let rule = Rule::clone(&correlation.rule);
                correlation.rule = Arc::new(Rule { is_silent: true, ..rule });
            }
        }
        out
    }

    /// Applies the filters. One that names a rule which is not there does not do what its author believes, so it is a problem.
    fn filter(&mut self, engine: &mut Engine, detections: &[(Option<String>, Rule)]) {
        for (mut filter, place) in std::mem::take(&mut self.filters) {
            if let FilterRuleTarget::Specific(references) = &mut filter.rules {
                for reference in references {
                    // The engine knows ids and titles; Sigma allows names as well.
                    let named = detections.iter().find(|(name, _)| name.as_deref() == Some(reference.as_str()));
                    if let Some((_, rule)) = named {
                        reference.clone_from(&rule.id);
                    } else if !detections.iter().any(|(_, r)| r.id == *reference || r.title == *reference) {
                        let message = format!(
                            "refers to `{reference}`, which is no rule that was loaded; expected a rule's id, name or title"
                        );
                        self.problems.push(Problem { message, ..place.clone() });
                    }
                }
            }
            if let Err(error) = engine.apply_filter(&filter) {
                self.problems.push(Problem { message: format!("{error}; expected a filter"), ..place });
            }
        }
    }

    fn fault(&mut self, rule: &Rule, message: &str) {
        let message = format!("{}: {message}", rule.title);
        self.problems.push(Problem::at(&rule.file, rule.line, &format!("title: {}", rule.title), message));
    }
}

/// An engine with the rules that may be asked about records of one logsource; `None` when there are none.
fn routed(compiled: &[CompiledRule], source: (&str, &str)) -> Option<Engine> {
    let rules: Vec<CompiledRule> = compiled.iter().filter(|r| fits(&r.logsource, source)).cloned().collect();
    if rules.is_empty() {
        return None;
    }
    let mut engine = engine();
    engine.extend_compiled_rules(rules);
    Some(engine)
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

/// The number that a match carries.
pub(super) fn number(attributes: &std::collections::HashMap<String, serde_json::Value>) -> Option<usize> {
    usize::try_from(attributes.get(NUMBER)?.as_u64()?).ok()
}

/// Correlations in force, and what feeds them.
#[derive(Default)]
struct Correlated {
    correlations: Vec<Correlation>,
    feeds: BTreeMap<Feed, Vec<(usize, String)>>,
    /// What raises no finding by itself, because a correlation speaks for it.
    silent: BTreeSet<Feed>,
}

impl Correlated {
    fn add(&mut self, mut compiled: CompiledCorrelation, known: Rule, name: Option<String>, of: Vec<(Feed, String)>) {
        compiled.timespan_secs = compiled.timespan_secs.saturating_mul(1_000_000);
        compiled.gap_secs = compiled.gap_secs.map(|g| g.saturating_mul(1_000_000));
        if !compiled.generate {
            self.silent.extend(of.iter().map(|(feed, _)| *feed));
        }
        for (feed, reference) in of {
            self.feeds.entry(feed).or_default().push((self.correlations.len(), reference));
        }
        self.correlations.push(Correlation { rule: Arc::new(known), name, compiled });
    }
}

/// What a correlation refers to, by id or name: detections, or correlations.
fn resolve(
    correlation: &CorrelationRule,
    detections: &[(Option<String>, Rule)],
    correlations: &[Correlation],
) -> Result<Vec<(Feed, String)>, String> {
    let find = |reference: &String| {
        let fits =
            |name: &Option<String>, rule: &Rule| rule.id == *reference || name.as_deref() == Some(reference.as_str());
        let detection = detections.iter().position(|(name, rule)| fits(name, rule)).map(Feed::Detection);
        let found = detection
            .or_else(|| correlations.iter().position(|c| fits(&c.name, &c.rule)).map(Feed::Correlation))
            .ok_or_else(|| {
                format!("refers to `{reference}`, which is no rule that was loaded before it; expected a rule's id or name, and no circle")
            })?;
        Ok((found, reference.clone()))
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
        compile(&Sources(vec![Source { file: "my.yml".into(), text: text.into(), is_ours: false }]))
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
        let b = compile(&Sources(vec![Source { file: "other.yml".into(), text: GOOD.into(), is_ours: false }]));
        assert_eq!(a.pack_digest, b.pack_digest);
        assert_ne!(a.pack_digest, load(&GOOD.replace("/x", "/y")).pack_digest);
    }

    #[test]
    fn a_rule_that_does_not_say_what_to_do_never_stops_anybody() {
        let rules = load(&format!("{GOOD}level: critical\n"));
        assert_eq!(rules.all().next().map(|r| r.step), Some(Step::Warn));
    }

    #[test]
    fn a_filter_takes_matches_out_and_one_for_nobody_is_a_problem() {
        const FILTER: &str = "title: Not x\nlogsource:\n    category: file_event\n    product: linux\nfilter:\n    rules:\n        - Good\n    by_cat:\n        Image|endswith: /cat\n    condition: not by_cat\n";
        let row = |image: &'static str| {
            let fields = [("TargetFilename", "/x"), ("Image", image)];
            let source = wk_schemas::sigma::LogSource { product: "linux", category: "file_event" };
            crate::event::Row::from_fields(fields.into_iter().map(|(n, v)| (n.into(), v.into())).collect(), source)
        };
        let rules = load(&format!("{GOOD}---\n{FILTER}"));
        assert_eq!(rules.problems, []);
        assert_eq!((rules.detect(&row("/bin/cat")).len(), rules.detect(&row("/bin/sh")).len()), (0, 1));
        assert_ne!(rules.pack_digest, load(GOOD).pack_digest, "a filter is part of what is in force");
        let rules = load(&format!("{GOOD}---\n{}", FILTER.replace("- Good", "- Bad")));
        assert!(rules.problems[0].message.contains("`Bad`, which is no rule"), "{}", rules.problems[0]);
        assert_eq!(rules.detect(&row("/bin/cat")).len(), 1);
    }

    #[test]
    fn a_pipeline_maps_the_fields_of_others_rules_and_leaves_ours_alone() {
        const PIPELINE: &str = "name: ECS\npriority: 10\ntransformations:\n    - id: names\n      type: field_name_mapping\n      mapping:\n          file.path: TargetFilename\n";
        let rule = GOOD.replace("TargetFilename", "file.path");
        let rules = load(&format!("{rule}---\n{PIPELINE}"));
        assert_eq!(rules.problems, []);
        let source = wk_schemas::sigma::LogSource { product: "linux", category: "file_event" };
        let row = crate::event::Row::from_fields(vec![("TargetFilename".into(), "/x".into())], source);
        assert_eq!((rules.detect(&row).len(), load(&rule).detect(&row).len()), (1, 0));
        let ours = Source { file: "ours.yml".into(), text: rule, is_ours: true };
        let theirs = Source { file: "p.yml".into(), text: PIPELINE.into(), is_ours: false };
        assert_eq!(compile(&Sources(vec![ours, theirs])).detect(&row).len(), 0);
    }

    #[test]
    fn a_correlation_may_be_of_correlations_and_not_of_itself() {
        let counted = |title: &str, name: &str, of: &str, span: &str| {
            format!(
                "title: {title}\nname: {name}\ncorrelation:\n    type: event_count\n    rules:\n        - {of}\n    timespan: {span}\n    condition:\n        gte: 2\n"
            )
        };
        let good = GOOD.replace("title: Good", "title: Good\nname: good");
        // The outer one stands before the inner one.
        let (outer, inner) = (counted("Outer", "outer", "inner", "1h"), counted("Inner", "inner", "good", "1s"));
        let rules = load(&format!("{outer}---\n{good}---\n{inner}"));
        assert_eq!(rules.problems, []);
        let source = wk_schemas::sigma::LogSource { product: "linux", category: "file_event" };
        let row = crate::event::Row::from_fields(vec![("TargetFilename".into(), "/x".into())], source);
        let mut windows = crate::rules::Windows::default();
        let mut at = |seconds: i64| -> Vec<String> {
            let hits = rules.judge(&row, &mut windows, seconds * 1_000_000);
            hits.iter().map(|h| h.rule.title.clone()).collect()
        };
        let told: Vec<Vec<String>> = [10, 10, 20, 20].into_iter().map(&mut at).collect();
        // The outer one speaks for the inner one, as that does for the detection.
        let expected: [Vec<&str>; 4] = [vec![], vec![], vec![], vec!["Outer"]];
        assert_eq!(told, expected);

        let circle = [counted("A", "a", "b", "1m"), counted("B", "b", "a", "1m")].join("---\n");
        let rules = load(&format!("{good}---\n{circle}"));
        assert_eq!((rules.all().count(), rules.problems.len()), (1, 2));
        assert!(rules.problems[0].message.contains("circle"), "{}", rules.problems[0]);
    }

    #[test]
    fn rules_for_other_systems_load_and_stay_idle() {
        let windows = GOOD.replace("product: linux", "product: windows");
        let auditd = GOOD.replace("category: file_event", "service: auditd").replace("Good", "Audit");
        let rules = load(&format!("{windows}---\n{auditd}---\n{}", GOOD.replace("Good", "Third")));
        assert_eq!(rules.problems, []);
        assert_eq!(rules.idle().map(|r| r.title.as_str()).collect::<Vec<_>>(), ["Good", "Audit"]);
    }
}
