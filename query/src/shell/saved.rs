//! The saved questions, as the shell lists them.

use super::{Format, Style, table};
use crate::saved::{self, Saved};
use arrow::datatypes::{DataType, Field, Schema};
use std::sync::Arc;

/// Every saved question with its title and what it takes.
#[must_use]
pub fn saved_overview(width: Option<usize>) -> String {
    let schema = Arc::new(Schema::new(
        ["name", "question", "parameters"].map(|name| Field::new(name, DataType::Utf8, false)).to_vec(),
    ));
    let rows: Vec<Vec<String>> = saved::all()
        .iter()
        .map(|saved| vec![saved.name.to_owned(), saved.title.to_owned(), signature(saved)])
        .collect();
    let table = table::render(&schema, &rows, Style { format: Format::Table, width, vertical: false });
    format!("{table}Asked with `wk sql --saved NAME --param KEY=VALUE`; `--print` shows the statement instead.\n")
}

/// What a saved question says and takes, one parameter a line.
#[must_use]
pub fn saved_help(saved: &Saved) -> String {
    let mut text = format!("{}: {}\n{}\n", saved.name, saved.title, saved.about);
    for parameter in &saved.parameters {
        let default = parameter.default.map(|default| format!(" = {default}")).unwrap_or_default();
        text.push_str(&format!("  {} ({}){default}  {}\n", parameter.name, parameter.kind, parameter.doc));
    }
    text
}

/// `session=<text> since=24h`: what must be said, and what need not be.
fn signature(saved: &Saved) -> String {
    let one = |parameter: &saved::Parameter| match parameter.default {
        Some(default) => format!("{}={default}", parameter.name),
        None => format!("{}=<{}>", parameter.name, parameter.kind),
    };
    saved.parameters.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// Splits `name key=value key=value` as it is typed in the shell; `None` for a word that is no `key=value`.
pub(super) fn typed(words: &str) -> Option<(&str, Vec<(String, String)>)> {
    let mut words = words.split_whitespace();
    let name = words.next()?;
    let given = words.map(|word| word.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())));
    Some((name, given.collect::<Option<_>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_says_what_must_be_given() {
        let text = saved_overview(None);
        assert!(text.contains("| session-timeline"), "{text}");
        assert!(text.contains("session=<text>") && text.contains("since=24h limit=20"), "{text}");
        let help = saved_help(saved::find("top-talkers").unwrap());
        assert!(help.contains("\n  limit (integer) = 20  How many hosts.\n"), "{help}");
    }

    #[test]
    fn a_typed_line_is_a_name_and_pairs() {
        let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
        assert_eq!(
            typed("top-talkers since=2d limit=3"),
            Some(("top-talkers", vec![pair("since", "2d"), pair("limit", "3")]))
        );
        assert_eq!(typed("top-talkers 3"), None);
        assert_eq!(typed(""), None);
    }
}
