//! Questions and answers in files, in the form of sqllogictest as far as it is needed.
//!
//! ```text
//! query <types> [rowsort]     the question, `----`, and one line per row with a space between cells
//! statement error <words>     a statement that must fail with an error that has these words
//! ```
//! NULL and the empty text are written `NULL`.

use crate::lake::Fixture;
use std::path::Path;

pub(crate) struct Case {
    pub(crate) line: usize,
    pub(crate) sql: String,
    pub(crate) expected: Expected,
}

pub(crate) enum Expected {
    Rows { sorted: bool, rows: Vec<String> },
    Error(String),
}

pub(crate) fn parse(text: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut block = Vec::new();
        while let Some((_, next)) = lines.next_if(|(_, next)| !next.trim().is_empty()) {
            block.push(next.trim_end().to_owned());
        }
        let expected = if let Some(words) = line.strip_prefix("statement error") {
            Expected::Error(words.trim().to_owned())
        } else {
            assert!(line.starts_with("query "), "line {}: `{line}` is not understood", number + 1);
            let at =
                block.iter().position(|line| line == "----").unwrap_or_else(|| panic!("line {}: no ----", number + 1));
            let rows = block.split_off(at).into_iter().skip(1).collect();
            Expected::Rows { sorted: line.ends_with("rowsort"), rows }
        };
        cases.push(Case { line: number + 1, sql: block.join("\n"), expected });
    }
    cases
}

pub(crate) async fn differences(lake: &Fixture, file: &Path, cases: Vec<Case>) -> Vec<String> {
    let mut wrong = Vec::new();
    for Case { line, sql, expected } in cases {
        let found = lake.rows(&sql).await;
        let at = format!("{}:{line}", file.file_name().unwrap().to_string_lossy());
        match (expected, found) {
            (Expected::Error(words), Err(error)) if error.to_string().contains(&words) => {}
            (Expected::Error(words), found) => {
                wrong.push(format!("{at}\n{sql}\nexpected an error with `{words}`, found {found:?}"));
            }
            (Expected::Rows { .. }, Err(error)) => wrong.push(format!("{at}\n{sql}\nerror: {error}")),
            (Expected::Rows { sorted, mut rows }, Ok(found)) => {
                let cell = |cell: String| if cell.is_empty() { "NULL".to_owned() } else { cell };
                let mut found: Vec<String> =
                    found.into_iter().map(|row| row.into_iter().map(cell).collect::<Vec<_>>().join(" ")).collect();
                if sorted {
                    rows.sort();
                    found.sort();
                }
                if rows != found {
                    wrong.push(format!("{at}\n{sql}\n---- found\n{}", found.join("\n")));
                }
            }
        }
    }
    wrong
}
