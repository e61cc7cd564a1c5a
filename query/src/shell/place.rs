//! Where one question ends, and where in it something is wrong.

use super::text::visible;
use crate::error::{Place, QueryError};

/// Splits a text at the semicolons that stand outside of quotes and comments; leaves out what is empty.
pub(crate) fn split(text: &str) -> Vec<&str> {
    let mut questions = Vec::new();
    let mut from = 0;
    for at in semicolons(text).0 {
        questions.push(&text[from..at]);
        from = at + 1;
    }
    questions.push(&text[from..]);
    questions.into_iter().map(str::trim).filter(|question| !is_blank(question)).collect()
}

/// Whether a text that a person is typing is a whole question.
pub(crate) fn is_complete(text: &str) -> bool {
    let (semicolons, open) = semicolons(text);
    !open && semicolons.last().is_some_and(|at| is_blank(&text[at + 1..]))
}

/// Nothing but spaces and comments.
fn is_blank(text: &str) -> bool {
    text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with("--"))
}

/// Where semicolons stand outside of quotes and comments, and whether a quote or a comment is still open at the end.
fn semicolons(text: &str) -> (Vec<usize>, bool) {
    let mut found = Vec::new();
    let mut open: Option<&str> = None;
    let mut rest = text.char_indices().peekable();
    while let Some((at, character)) = rest.next() {
        match open {
            Some(end) => {
                if text[at..].starts_with(end) {
                    if end.len() > 1 {
                        rest.next();
                    }
                    open = None;
                }
            }
            None => match character {
                '\'' => open = Some("'"),
                '"' => open = Some("\""),
                '-' if text[at..].starts_with("--") => open = Some("\n"),
                '/' if text[at..].starts_with("/*") => open = Some("*/"),
                ';' => found.push(at),
                _ => {}
            },
        }
    }
    (found, open.is_some_and(|end| end != "\n"))
}

/// An error with the line it is about and a caret under the place.
pub(crate) fn explain(sql: &str, error: &QueryError) -> String {
    let pointed = error.place().map(|place| point(sql, place)).unwrap_or_default();
    format!("error: {}\n{pointed}", visible(&error.to_string()))
}

/// The line of a place and, under it, a caret; nothing when the place is not in the text.
#[must_use]
pub fn point(sql: &str, place: Place) -> String {
    let line = usize::try_from(place.line).ok().and_then(|line| sql.lines().nth(line.checked_sub(1)?));
    let Some(line) = line else { return String::new() };
    let before: String = line.chars().take(usize::try_from(place.column).unwrap_or(1).saturating_sub(1)).collect();
    let number = place.line.to_string();
    format!(
        "{number} | {}\n{} | {}^\n",
        visible(line),
        " ".repeat(number.len()),
        " ".repeat(visible(&before).chars().count())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_end_at_semicolons_that_are_not_quoted() {
        let text = "select ';' as \"a;b\" -- no; not here\n; /* ; */ select 2 ; -- the end;\n";
        assert_eq!(split(text), ["select ';' as \"a;b\" -- no; not here", "/* ; */ select 2"]);
    }

    #[test]
    fn typing_goes_on_until_the_semicolon() {
        for (text, complete) in [
            ("select 1", false),
            ("select 1;", true),
            ("select 1; -- done", true),
            ("select ';", false),
            ("select 1 /* ;", false),
            ("select 1;\nselect 2", false),
        ] {
            assert_eq!(is_complete(text), complete, "{text}");
        }
    }

    #[test]
    fn the_caret_stands_under_the_place() {
        let shown = point("select a,\n\tb frm x", Place { line: 2, column: 4 });
        assert_eq!(shown, "2 | \\tb frm x\n  |     ^\n");
        assert_eq!(point("x", Place { line: 9, column: 1 }), "");
    }
}
