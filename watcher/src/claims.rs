//! What the agent says it has done, and whether anything shows that it did: "all tests pass" where no test ran.
//!
//! The kinds of claims are data (`data/claims.toml`): how they are said, and which programs are their evidence. A claim is looked
//! for in one sentence at a time, and a sentence that plans, asks or doubts is none, because an honest session must raise nothing.

use regex::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::LazyLock;
use uuid::Uuid;

/// What is looked at of a text: claims stand in short messages.
const TEXT_BYTES_MAX: usize = 16 * 1024;
/// What is looked at of a command line.
const COMMAND_BYTES_MAX: usize = 4 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Data {
    doubt: String,
    claim: Vec<Kind>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Kind {
    kind: String,
    said: String,
    shown_by: String,
}

struct Claims {
    kinds: Vec<String>,
    doubt: Regex,
    said: RegexSet,
    shown_by: RegexSet,
}

static CLAIMS: LazyLock<Claims> =
    LazyLock::new(|| load().expect("the data file is part of the program and a test loads it"));

fn load() -> Result<Claims, Box<dyn std::error::Error>> {
    let data: Data = toml::from_str(include_str!("../data/claims.toml"))?;
    let set = |patterns: Vec<&str>| RegexSetBuilder::new(patterns).case_insensitive(true).build();
    Ok(Claims {
        doubt: RegexBuilder::new(&data.doubt).case_insensitive(true).build()?,
        said: set(data.claim.iter().map(|c| c.said.as_str()).collect())?,
        shown_by: set(data.claim.iter().map(|c| c.shown_by.as_str()).collect())?,
        kinds: data.claim.into_iter().map(|c| c.kind).collect(),
    })
}

/// The last time something ran that would show a claim of one kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The record that shows its start.
    pub record: Uuid,
    /// The process, or the tool call, by the name under which its end will be known.
    pub who: String,
    /// Whether it ended as a failure; `None` while that is not known.
    pub has_failed: Option<bool>,
}

/// What ran, by kind of claim.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Runs(BTreeMap<String, Run>);

impl Runs {
    /// Notes that a command was started: by a process, or by a tool call where the kernel's evidence is not at hand.
    pub fn started(&mut self, command: &str, who: &str, record: Uuid) {
        for index in CLAIMS.shown_by.matches(crate::text::cut(command, COMMAND_BYTES_MAX)) {
            let run = Run { record, who: who.to_owned(), has_failed: None };
            self.0.insert(CLAIMS.kinds[index].clone(), run);
        }
    }

    /// Notes that a process or a tool call has ended.
    pub fn ended(&mut self, who: &str, has_failed: bool) {
        for run in self.0.values_mut().filter(|r| r.who == who) {
            run.has_failed = Some(has_failed);
        }
    }

    /// The last run that would show a claim of this kind.
    #[must_use]
    pub fn last(&self, kind: &str) -> Option<&Run> {
        self.0.get(kind)
    }
}

/// A claim that stands in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim<'a> {
    /// Its kind: tests, build, commit, push.
    pub kind: &'static str,
    /// The sentence.
    pub sentence: &'a str,
}

/// The claims in `text`, in order; each kind once.
#[must_use]
pub fn claims(text: &str) -> Vec<Claim<'_>> {
    let text = crate::text::cut(text, TEXT_BYTES_MAX);
    let mut out: Vec<Claim<'_>> = Vec::new();
    if !CLAIMS.said.is_match(text) {
        return out;
    }
    for sentence in sentences(text) {
        let said = CLAIMS.said.matches(sentence);
        if !said.matched_any() || CLAIMS.doubt.is_match(sentence) {
            continue;
        }
        for index in said {
            let kind = CLAIMS.kinds[index].as_str();
            if !out.iter().any(|c| c.kind == kind) {
                out.push(Claim { kind, sentence });
            }
        }
    }
    out
}

/// The sentences of `text`: they end at a line's end, or at a mark with a blank behind it.
fn sentences(text: &str) -> impl Iterator<Item = &str> {
    text.lines().flat_map(|line| line.split_inclusive(['.', '!', '?', ';'])).map(str::trim).filter(|s| !s.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<&'static str> {
        claims(text).into_iter().map(|c| c.kind).collect()
    }

    #[test]
    fn a_claim_is_told_from_a_plan_a_doubt_and_a_question() {
        for text in
            ["All tests pass.", "Done! The test suite now passes", "I ran them: 12 tests passed.", "Tests are green"]
        {
            assert_eq!(kinds(text), ["tests"], "{text}");
        }
        for text in [
            "Let me make sure the tests pass.",
            "The tests should pass now.",
            "Two tests do not pass.",
            "Once the tests pass I will commit.",
            "Do the tests pass?",
            "I will run the tests.",
            "I read the tests.",
        ] {
            assert_eq!(kinds(text), [""; 0], "{text}");
        }
        assert_eq!(
            kinds("The build succeeded. All tests pass. I committed the change and pushed it."),
            ["build", "tests", "commit", "push"]
        );
    }

    #[test]
    fn what_shows_a_claim_is_known_by_its_command_line() {
        for (command, kind) in [
            ("cargo test -p shop", "tests"),
            ("python3 -m pytest -q", "tests"),
            ("npm test", "tests"),
            ("npm run test:unit", "tests"),
            ("go test ./...", "tests"),
            ("bash -c make check", "tests"),
            ("./run_tests.sh", "tests"),
            ("cargo build --release", "build"),
            ("npm run build", "build"),
            ("git -C /w commit -m x", "commit"),
            ("git push origin main", "push"),
        ] {
            let mut runs = Runs::default();
            runs.started(command, "1", Uuid::nil());
            assert!(runs.last(kind).is_some(), "{command}");
        }
        let mut runs = Runs::default();
        runs.started("cat latest.txt", "1", Uuid::nil());
        runs.started("ls src", "1", Uuid::nil());
        assert_eq!(runs, Runs::default());
    }

    #[test]
    fn the_last_run_counts() {
        let mut runs = Runs::default();
        runs.started("cargo test", "1", Uuid::nil());
        runs.ended("1", true);
        assert_eq!(runs.last("tests").unwrap().has_failed, Some(true));
        runs.started("cargo test", "2", Uuid::nil());
        runs.ended("2", false);
        assert_eq!(runs.last("tests").unwrap().has_failed, Some(false));
    }
}
