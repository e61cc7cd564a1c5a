//! Questions that a SOC asks every day, kept with the product: `wk sql --saved first-seen-hosts --param since=7d`.
//!
//! ```text
//! query/saved/<name>.sql     -- title: one line
//!                            -- about: what the answer is, and how to read it
//!                            -- param: since time = 24h | What it means.      (without `= …` it must be given)
//!                            SELECT … WHERE time >= $since
//! ```
//! A parameter is replaced by a literal of its type before the question is asked (`value.rs`). So what runs, what is put on record, and
//! what `--print` shows is one plain statement that gives the same answer again: a time that was said as `7d` stands in it as a date.

mod fill;
mod parse;
mod value;

use std::sync::LazyLock;
pub use value::{ValueKind, point_in_time};
use wk_schemas::Timestamp;

/// A saved question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// Its name, which is that of its file.
    pub name: &'static str,
    /// The question in a line.
    pub title: &'static str,
    /// What the answer is, and how to read it.
    pub about: &'static str,
    /// What the asker may say, in the order in which the file names it.
    pub parameters: Vec<Parameter>,
    text: &'static str,
}

/// Something that the asker says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Its name; in the statement it stands behind a `$`.
    pub name: &'static str,
    /// What kind of value it takes.
    pub kind: ValueKind,
    /// What it is when nothing is said; without a default it must be said.
    pub default: Option<&'static str>,
    /// What it means.
    pub doc: &'static str,
}

/// Why a saved question cannot be asked so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SavedError {
    /// No file of that name.
    #[error("there is no saved question `{name}`; `wk sql --saved` lists them")]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// A parameter that the question does not have.
    #[error("`{name}` has no parameter `{parameter}`; it takes {known}")]
    NoParameter {
        /// The question.
        name: &'static str,
        /// What was said.
        parameter: String,
        /// What it has.
        known: String,
    },
    /// A parameter without a default was not said.
    #[error("`{name}` wants {parameter}=<{kind}>: {doc}")]
    Missing {
        /// The question.
        name: &'static str,
        /// The parameter.
        parameter: &'static str,
        /// What it takes.
        kind: ValueKind,
        /// What it means.
        doc: &'static str,
    },
    /// A parameter was said twice.
    #[error("{parameter} is said twice")]
    Twice {
        /// The parameter.
        parameter: String,
    },
    /// A value that is not of the parameter's kind.
    #[error("{parameter}={value} is not {}", kind.expected())]
    Value {
        /// The parameter.
        parameter: &'static str,
        /// What was said.
        value: String,
        /// What it takes.
        kind: ValueKind,
    },
}

macro_rules! questions {
    ($($name:literal),* $(,)?) => {
        /// Every file of `query/saved`, in the order in which a person would want to hear of them.
        const FILES: &[(&str, &str)] = &[$(($name, include_str!(concat!("../../saved/", $name, ".sql")))),*];
    };
}

questions![
    "session-timeline",
    "session-changes",
    "session-processes",
    "plan-changes",
    "finding-evidence",
    "who-touched-file",
    "who-reached-host",
    "top-talkers",
    "first-seen-hosts",
    "first-seen-programs",
    "first-seen-paths",
    "sessions-by-day",
    "rare-programs",
    "new-software",
    "names-resolved",
    "unexplained-effects",
    "outside-workspace",
    "secrets-read",
    "secret-then-egress",
    "denied-then-done",
    "open-holds",
    "approvals-by-person",
    "time-to-decide",
    "frozen-now",
    "freeze-latency",
    "findings-by-rule",
    "failed-tool-calls",
    "usage-by-person",
    "activity-by-hour",
    "policies-in-force",
    "records-lost",
    "dead-letters-by-reason",
    "who-asked-the-lake",
];

static ALL: LazyLock<Vec<Saved>> = LazyLock::new(|| {
    FILES
        .iter()
        .map(|(name, text)| {
            // The files are compiled in, and a test reads each: a mistake in one never leaves the repository.
            parse::parse(name, text).unwrap_or_else(|what| panic!("query/saved/{name}.sql: {what}"))
        })
        .collect()
});

/// Every saved question.
#[must_use]
pub fn all() -> &'static [Saved] {
    &ALL
}

/// The saved question of a name.
///
/// # Errors
/// [`SavedError::Unknown`].
pub fn find(name: &str) -> Result<&'static Saved, SavedError> {
    ALL.iter().find(|saved| saved.name == name).ok_or_else(|| SavedError::Unknown { name: name.to_owned() })
}

impl Saved {
    /// The statement to ask, with `given` (name, value) in it and defaults for the rest. `now` is what spans of time are counted back from.
    ///
    /// # Errors
    /// Any [`SavedError`] but [`SavedError::Unknown`].
    pub fn sql(&self, given: &[(String, String)], now: Timestamp) -> Result<String, SavedError> {
        for (at, (name, _)) in given.iter().enumerate() {
            if !self.parameters.iter().any(|parameter| parameter.name == name) {
                let known = self.parameters.iter().map(|p| p.name).collect::<Vec<_>>().join(", ");
                return Err(SavedError::NoParameter { name: self.name, parameter: name.clone(), known });
            }
            if given[..at].iter().any(|(before, _)| before == name) {
                return Err(SavedError::Twice { parameter: name.clone() });
            }
        }
        let mut literals = Vec::new();
        for parameter in &self.parameters {
            let Parameter { name, kind, default, doc } = *parameter;
            let said = given.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str());
            let Some(value) = said.or(default) else {
                return Err(SavedError::Missing { name: self.name, parameter: name, kind, doc });
            };
            let literal = kind.literal(value, now).ok_or_else(|| SavedError::Value {
                parameter: name,
                value: value.to_owned(),
                kind,
            })?;
            literals.push((name, literal));
        }
        Ok(fill::fill(self.text, &literals))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const NOW: Timestamp = Timestamp(1_795_176_000_000_000);

    fn given(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn every_file_is_compiled_in_and_explains_itself() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("saved");
        let there: BTreeSet<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap().strip_suffix(".sql").unwrap().to_owned())
            .collect();
        let known: BTreeSet<String> = all().iter().map(|saved| saved.name.to_owned()).collect();
        assert_eq!(there, known);
        assert!(known.len() >= 20);
        for saved in all() {
            assert!(!saved.title.is_empty() && saved.about.len() > 40, "{}", saved.name);
            for parameter in &saved.parameters {
                assert!(saved.text.contains(&format!("${}", parameter.name)), "{}: {}", saved.name, parameter.name);
                assert!(parameter.doc.ends_with('.'), "{}: {}", saved.name, parameter.name);
            }
        }
    }

    #[test]
    fn defaults_fill_in_and_what_is_said_goes_before_them() {
        let saved = find("top-talkers").unwrap();
        let sql = saved.sql(&[], NOW).unwrap();
        assert!(sql.contains("'2026-11-19T12:00:00.000000Z'") && sql.ends_with("LIMIT 20"), "{sql}");
        let sql = saved.sql(&given(&[("limit", "3"), ("since", "2026-01-02")]), NOW).unwrap();
        assert!(sql.contains("'2026-01-02T00:00:00.000000Z'") && sql.ends_with("LIMIT 3"), "{sql}");
    }

    #[test]
    fn what_is_wrong_with_a_parameter_is_said() {
        let saved = find("session-timeline").unwrap();
        let said = |pairs: &[(&str, &str)]| saved.sql(&given(pairs), NOW).unwrap_err().to_string();
        assert_eq!(said(&[]), "`session-timeline` wants session=<text>: The session's id.");
        assert_eq!(said(&[("sesion", "x")]), "`session-timeline` has no parameter `sesion`; it takes session");
        assert_eq!(said(&[("session", "x"), ("session", "y")]), "session is said twice");
        let talkers = find("top-talkers").unwrap();
        assert_eq!(
            talkers.sql(&given(&[("limit", "3; DROP")]), NOW).unwrap_err().to_string(),
            "limit=3; DROP is not a whole number"
        );
        assert_eq!(find("nothing").unwrap_err(), SavedError::Unknown { name: "nothing".into() });
    }

    #[test]
    fn a_value_cannot_leave_its_quotes() {
        let sql = find("session-timeline").unwrap().sql(&given(&[("session", "a' OR ''='$session")]), NOW).unwrap();
        assert!(sql.contains("session_id = 'a'' OR ''''=''$session'"), "{sql}");
    }
}
