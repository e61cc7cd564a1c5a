//! What is wrong, or looks wrong, in rule files, with its place.
//!
//! Errors keep a rule from being loaded. Warnings are about rules that load and will not do what their author believes: a
//! misspelt field never matches, and a rule without tests is one that nobody has seen matching.

use super::document::{Document, Problem, documents};
use super::{Rule, Rules, Sources};
use rsigma_eval::{CompiledDetection, CompiledRule};
use std::collections::BTreeSet;

/// The names of the fields that records have: those of `wk_schemas::sigma::fields`, over all kinds.
const RECORD_FIELDS: &[&str] = &[
    "Computer",
    "Image",
    "User",
    "ProcessId",
    "CommandLine",
    "CurrentDirectory",
    "ParentProcessId",
    "ParentImage",
    "ParentCommandLine",
    "outcome",
    "exit_code",
    "operation",
    "TargetFilename",
    "target_path",
    "Protocol",
    "DestinationIp",
    "DestinationPort",
    "DestinationHostname",
    "Initiated",
    "QueryName",
    "query",
    "record_type",
    "syscall",
    "detail",
    "action",
    "subject",
    "reason",
    "tool",
    "tool_class",
    "arguments",
    "decision",
    "output",
    "text",
    "source",
    "revision",
    "steps",
    "count",
    "stage",
    "name",
    "resolution",
    "by",
    "rule_id",
    "level",
    "instruction",
    "approver",
    "sql",
    "framework",
];

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Lint {
    /// Rules that were loaded.
    pub rules: usize,
    /// What keeps rules from being loaded.
    pub errors: Vec<Problem>,
    /// What loads and looks wrong.
    pub warnings: Vec<Problem>,
}

/// Looks through rule files.
#[must_use]
pub fn lint(sources: &Sources) -> Lint {
    let rules = Rules::compile(sources);
    let mut warnings = Vec::new();
    for source in &sources.0 {
        let all = documents(&source.file, &source.text);
        for rule in rules.all().filter(|r| r.file == source.file) {
            let Some(document) = all.iter().rfind(|d| d.line <= rule.line) else { continue };
            about(&rules, rule, document, &mut warnings);
        }
    }
    warnings.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    Lint { rules: rules.all().count(), errors: rules.problems, warnings }
}

fn about(rules: &Rules, rule: &Rule, document: &Document<'_>, out: &mut Vec<Problem>) {
    let mut warn = |what: Option<&str>, message: String| out.push(document.problem(what, message));
    let number = rules.detections.iter().position(|r| r.id == rule.id);
    if rules.idle().any(|r| r.id == rule.id) {
        warn(Some("logsource"), "no record has this logsource, so the rule is never asked".to_owned());
        return;
    }
    if rule.tests.positive.is_empty() || rule.tests.negative.is_empty() {
        let message = "the rule carries no positive and negative tests; nobody has seen it match and not match";
        warn(Some("title:"), message.to_owned());
    }
    if !document.text.lines().any(|l| l.starts_with("id:")) {
        warn(Some("title:"), "the rule has no id; one is derived from its text and changes with it".to_owned());
    }
    let mut named = BTreeSet::new();
    if let Some(compiled) = number.and_then(|n| rules.compiled.get(n)) {
        named = fields(compiled);
        for name in named.iter().filter(|n| !is_known(n)) {
            warn(Some(name.as_str()), format!("no record has a field `{name}`{}", nearest(name)));
        }
    }
    for name in rule.subject.iter().filter(|n| !is_known(n) && !named.contains(*n)) {
        warn(Some(name.as_str()), format!("`subject` names `{name}`, which no record has{}", nearest(name)));
    }
    for name in placeholders(&rule.says).filter(|n| !is_known(n)) {
        warn(
            Some(&format!("{{{name}}}")),
            format!("the sentence names `{name}`, which no record has{}", nearest(name)),
        );
    }
    for tag in rule.tags.iter().filter(|t| !is_tag(t)) {
        warn(
            Some(tag.as_str()),
            format!("`{tag}` is no tag that is known; expected attack.t1552.001, attack.exfiltration, atlas.aml.t0051"),
        );
    }
}

fn is_known(name: &str) -> bool {
    RECORD_FIELDS.contains(&name) || crate::context::FIELDS.iter().any(|f| f.name == name)
}

fn is_tag(tag: &str) -> bool {
    ["attack.", "atlas.", "cve.", "car.", "tlp.", "detection.", "stp.", "d3fend."].iter().any(|p| tag.starts_with(p))
}

/// The fields that a rule's selections look at.
fn fields(rule: &CompiledRule) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    // The order of a hash map goes into a set and is lost there.
    rule.detections.iter().for_each(|(_, detection)| collect(detection, &mut out));
    out
}

fn collect(detection: &CompiledDetection, out: &mut BTreeSet<String>) {
    match detection {
        CompiledDetection::AllOf(items) => out.extend(items.iter().filter_map(|i| i.field.clone())),
        CompiledDetection::AnyOf(inner) | CompiledDetection::And(inner) => inner.iter().for_each(|d| collect(d, out)),
        CompiledDetection::Keywords(_) => {}
        CompiledDetection::ArrayMatch { field, .. } => {
            out.insert(field.clone());
        }
        CompiledDetection::Conditional { named, .. } => named.iter().for_each(|(_, d)| collect(d, out)),
    }
}

fn placeholders(sentence: &str) -> impl Iterator<Item = &str> {
    sentence.split('{').skip(1).filter_map(|rest| Some(rest.split_once('}')?.0))
}

/// `; did you mean …?` when a known name is two letters away or less.
fn nearest(name: &str) -> String {
    let known = RECORD_FIELDS.iter().copied().chain(crate::context::FIELDS.iter().map(|f| f.name));
    let best = known.map(|k| (distance(name, k), k)).min();
    best.filter(|(d, _)| *d <= 2).map_or_else(String::new, |(_, k)| format!("; did you mean `{k}`?"))
}

/// Edits that turn one name into the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.to_lowercase().chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::super::Source;
    use super::*;

    #[test]
    fn the_fields_and_logsources_of_every_kind_of_record_are_known() {
        let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../schemas/golden/v1");
        let (mut fields, mut sources) = (BTreeSet::new(), BTreeSet::new());
        for entry in std::fs::read_dir(golden).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "avro") {
                let record = wk_schemas::codec::decode(&std::fs::read(&path).unwrap()).unwrap();
                fields.extend(wk_schemas::sigma::fields(&record).into_iter().map(|(name, _)| name));
                let source = wk_schemas::sigma::log_source(&record.body);
                sources.insert((source.product, source.category));
            }
        }
        // The samples leave these two out, which are optional.
        fields.extend(["by", "exit_code"]);
        assert_eq!(fields, RECORD_FIELDS.iter().copied().collect());
        assert_eq!(sources, super::super::SOURCES.iter().copied().collect());
    }

    #[test]
    fn the_pack_is_clean() {
        let lint = lint(&Sources::embedded());
        let told: Vec<String> = lint.errors.iter().chain(&lint.warnings).map(Problem::rendered).collect();
        assert!(told.is_empty(), "{}", told.join("\n"));
    }

    #[test]
    fn a_misspelt_field_is_shown_with_what_was_meant() {
        let text = "title: T\nid: 5d1d0b3e-0000-4000-8000-000000000001\ntags: [attak.t1]\nlogsource: {category: file_event, product: linux}\ndetection:\n  s:\n    TargetFileName: /x\n    secret.is_secrt: true\n  condition: s\n";
        let lint = lint(&Sources(vec![Source { file: "r.yml".into(), text: text.into(), is_ours: false }]));
        let told: Vec<(usize, usize, &str)> =
            lint.warnings.iter().map(|w| (w.line, w.column, w.message.as_str())).collect();
        assert_eq!(lint.errors, []);
        assert!(
            told.contains(&(7, 5, "no record has a field `TargetFileName`; did you mean `TargetFilename`?")),
            "{told:?}"
        );
        assert!(told.contains(&(8, 5, "no record has a field `secret.is_secrt`; did you mean `secret.is_secret`?")));
        assert!(told.iter().any(|(line, column, m)| (*line, *column) == (3, 8) && m.contains("no tag")));
        assert!(told.iter().any(|(line, _, m)| *line == 1 && m.contains("tests")));
    }
}
