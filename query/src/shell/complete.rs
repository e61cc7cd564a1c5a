//! Tab completion, and the rule that a question goes on until its semicolon.

use super::place::is_complete;
use crate::views::{self, ALL};
use rustyline::completion::{Completer, Pair};
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Helper, Result};
use std::collections::BTreeSet;

const KEYWORDS: [&str; 24] = [
    "select",
    "from",
    "where",
    "group by",
    "order by",
    "limit",
    "having",
    "join",
    "left join",
    "on",
    "and",
    "or",
    "not",
    "in",
    "like",
    "between",
    "is null",
    "is not null",
    "count(*)",
    "distinct",
    "desc",
    "as",
    "case when",
    "explain",
];

/// What the line editor asks us.
pub(super) struct Assistant {
    words: BTreeSet<String>,
}

impl Assistant {
    pub(super) fn new() -> Self {
        let columns = ALL.iter().flat_map(|view| view.columns.iter().map(|column| column.name));
        let tables = ALL.iter().map(|view| view.name).chain(["records", views::COLUMNS]);
        Self { words: columns.chain(tables).chain(KEYWORDS).map(str::to_owned).collect() }
    }
}

impl Completer for Assistant {
    type Candidate = Pair;

    fn complete(&self, line: &str, at: usize, _context: &Context<'_>) -> Result<(usize, Vec<Pair>)> {
        let typed = &line[..at];
        let start = typed.rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |i| i + 1);
        let word = typed[start..].to_lowercase();
        if word.is_empty() {
            return Ok((start, Vec::new()));
        }
        let fits = self.words.iter().filter(|candidate| candidate.starts_with(&word));
        Ok((start, fits.map(|word| Pair { display: word.clone(), replacement: word.clone() }).collect()))
    }
}

impl Validator for Assistant {
    fn validate(&self, context: &mut ValidationContext<'_>) -> Result<ValidationResult> {
        let typed = context.input().trim();
        let word = typed.split_whitespace().next().unwrap_or_default();
        let at_once = typed.is_empty() || typed.starts_with('\\') || ["help", "exit", "quit"].contains(&word);
        let done = at_once || is_complete(typed);
        Ok(if done { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

impl Highlighter for Assistant {}

impl Hinter for Assistant {
    type Hint = String;
}

impl Helper for Assistant {}
