//! Checks rule files: do they load, and do the tests that they carry hold?
//!
//! A test of a detection is one row of fields, read under the rule's own logsource. A test of a correlation is a series of
//! rows; in each `_category` says which kind of record it is, and `_after` how many seconds after the row before it came.

use super::{Problem, Rule, Rules, Sources, Windows, source_of};
use crate::event::Row;
use std::borrow::Cow;
use std::path::PathBuf;
use wk_schemas::sigma::Value;

/// What a check found.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Report {
    /// Rules that were loaded.
    pub rules: usize,
    /// Every test that was run, in order of rule.
    pub cases: Vec<Case>,
    /// What could not be loaded.
    pub problems: Vec<Problem>,
    /// Titles of rules that lack a positive or a negative test.
    pub untested: Vec<String>,
    /// Digest of the pack, in hex.
    pub pack_digest: String,
}

impl Report {
    /// Whether everything loaded and every test held.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty() && self.failures().next().is_none()
    }

    /// The tests that did not hold.
    pub fn failures(&self) -> impl Iterator<Item = TestFailure> {
        self.cases.iter().filter_map(|c| {
            let message = format!("{}: {}", c.name, c.failure.as_ref()?);
            Some(TestFailure { file: c.file.clone(), line: c.line, rule: c.rule.clone(), message })
        })
    }
}

/// One test of a rule.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Case {
    /// The file.
    pub file: String,
    /// Line on which the rule begins, from 1.
    pub line: usize,
    /// The rule's title.
    pub rule: String,
    /// `positive test 0`: its place in the rule's list, from 0.
    pub name: String,
    /// Why it did not hold; `None` when it did.
    pub failure: Option<String>,
}

/// A test of a rule that did not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {rule}: {message}")]
pub struct TestFailure {
    /// The file.
    pub file: String,
    /// Line on which the rule begins, from 1.
    pub line: usize,
    /// The rule's title.
    pub rule: String,
    /// Which test, and what happened.
    pub message: String,
}

/// Checks the files and folders given, or the rules that the program carries when none are given.
///
/// # Errors
/// When a file cannot be read.
pub fn check(paths: &[PathBuf]) -> Result<Report, std::io::Error> {
    let mut sources = if paths.is_empty() { Sources::embedded() } else { Sources::default() };
    for path in paths {
        sources.add_path(path)?;
    }
    Ok(check_sources(&sources, |_, _| ()))
}

/// Checks rules. `progress` is told after each rule how many are done, and of how many.
#[must_use]
pub fn check_sources(sources: &Sources, mut progress: impl FnMut(usize, usize)) -> Report {
    let rules = Rules::compile(sources);
    let count = rules.all().count();
    let (mut cases, mut untested) = (Vec::new(), Vec::new());
    for (done, rule) in rules.all().enumerate() {
        if rule.tests.positive.is_empty() || rule.tests.negative.is_empty() {
            untested.push(rule.title.clone());
        }
        for (kind, tests, expected) in
            [("positive", &rule.tests.positive, true), ("negative", &rule.tests.negative, false)]
        {
            for (number, case) in tests.iter().enumerate() {
                let failure = match matches(&rules, rule, case) {
                    Err(message) => Some(message),
                    Ok(found) if found == expected => None,
                    Ok(true) => Some("matched, expected no match".to_owned()),
                    Ok(false) => Some("did not match, expected a match".to_owned()),
                };
                let name = format!("{kind} test {number}");
                cases.push(Case { file: rule.file.clone(), line: rule.line, rule: rule.title.clone(), name, failure });
            }
        }
        progress(done + 1, count);
    }
    Report { rules: count, cases, pack_digest: rules.pack_digest.to_hex(), problems: rules.problems, untested }
}

fn matches(rules: &Rules, rule: &Rule, case: &serde_json::Value) -> Result<bool, String> {
    if let Some(source) = &rule.source {
        let row = row(case, source)?;
        return Ok(rules.detect(&row).iter().any(|(n, _)| rules.detections[*n].id == rule.id));
    }
    let series = case.as_array().ok_or("a correlation is tested with a list of rows")?;
    let (mut windows, mut clock, mut found) = (Windows::default(), 1_000_000_000, false);
    for step in series {
        let category = step.get("_category").and_then(serde_json::Value::as_str).ok_or("each row needs `_category`")?;
        let after = step.get("_after").and_then(serde_json::Value::as_f64).unwrap_or(0.0);
        #[expect(clippy::cast_possible_truncation, reason = "seconds of a test, small")]
        let micros = (after * 1e6) as i64;
        clock += micros.max(1);
        let source =
            rsigma_parser::LogSource { category: Some(category.to_owned()), ..rsigma_parser::LogSource::default() };
        let row = row(step, &source)?;
        found |= rules.judge(&row, &mut windows, clock).iter().any(|h| h.rule.id == rule.id);
    }
    Ok(found)
}

fn row<'a>(case: &'a serde_json::Value, source: &rsigma_parser::LogSource) -> Result<Row<'a>, String> {
    let fields = case.as_object().ok_or("a test is a mapping of fields to values")?;
    let mut out: Vec<(Cow<'a, str>, Value<'a>)> = Vec::new();
    for (name, value) in fields.iter().filter(|(n, _)| !n.starts_with('_')) {
        let value = match value {
            serde_json::Value::String(s) => Value::Text(s.as_str().into()),
            serde_json::Value::Bool(b) => Value::Flag(*b),
            serde_json::Value::Number(n) => {
                Value::Number(n.as_i64().ok_or_else(|| format!("`{name}` is no whole number"))?)
            }
            other => return Err(format!("`{name}` is {other}; expected text, a whole number, true or false")),
        };
        // A misspelt context field would make a negative test hold for ever.
        let is_context = name.contains('.');
        if is_context && !crate::context::FIELDS.iter().any(|f| f.name == name) {
            return Err(format!("`{name}` is no context field"));
        }
        out.push((name.as_str().into(), value));
    }
    Ok(Row::from_fields(out, source_of(source)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_of_the_pack_loads_and_its_tests_hold() {
        let report = check(&[]).unwrap();
        assert_eq!(report.problems, []);
        let failures: Vec<String> = report.failures().map(|f| f.to_string()).collect();
        assert!(failures.is_empty(), "{failures:#?}");
        assert!(report.untested.is_empty(), "rules without tests: {:?}", report.untested);
        assert!(report.rules >= 60, "{}", report.rules);
    }

    #[test]
    fn a_test_that_does_not_hold_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.yml");
        let text = "title: T\nlogsource: {category: file_event, product: linux}\ndetection:\n  s: {TargetFilename: /x}\n  condition: s\nwatchkeeper:\n  tests:\n    positive: [{TargetFilename: /y}]\n    negative: [{scope.insid_workspace: true}]\n";
        std::fs::write(&path, text).unwrap();
        let report = check(&[path]).unwrap();
        let messages: Vec<String> = report.failures().map(|f| f.message).collect();
        assert_eq!(
            messages,
            [
                "positive test 0: did not match, expected a match",
                "negative test 0: `scope.insid_workspace` is no context field"
            ]
        );
    }
}
