//! What can go wrong with a question, and where in its text.

use datafusion::common::DataFusionError;
use std::time::Duration;

/// A place in a question's text: line and column, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The line.
    pub line: u64,
    /// The character in that line.
    pub column: u64,
}

/// A question that got no answer, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The text is not a question that can be asked of these tables.
    #[error("{message}")]
    Invalid {
        /// What is wrong.
        message: String,
        /// Where, when that is known.
        place: Option<Place>,
    },
    /// The statement would change something, or reach for something outside the lake.
    #[error("{what} is not allowed: the lake is read only")]
    Refused {
        /// What was asked for.
        what: String,
    },
    /// It took too long.
    #[error("stopped after {}: the time limit; ask for less (a session, a day), or raise `time_limit` in query.toml", humantime(*.limit))]
    Time {
        /// The limit.
        limit: Duration,
    },
    /// Others kept it waiting for its whole time.
    #[error("{concurrency} other questions kept this one waiting for {}; raise `concurrency` or `time_limit` in query.toml", humantime(*.limit))]
    Busy {
        /// How many ran.
        concurrency: usize,
        /// How long it waited.
        limit: Duration,
    },
    /// It would read too much.
    #[error(
        "it would look into {files} files of {bytes} bytes together, the limit is {limit}; narrow it by `day`, `session_id` or \
         `kind`, or raise `scan_bytes` in query.toml"
    )]
    Scan {
        /// How many files are left after pruning.
        files: usize,
        /// How large they are together.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// It needs more memory or more disk than it may have.
    #[error(
        "out of the memory ({memory_bytes} bytes) or disk ({spill_bytes} bytes) that one question may hold; ask for less, or raise `memory_bytes` or `spill_bytes` in query.toml: {message}"
    )]
    Resources {
        /// The limit on memory.
        memory_bytes: u64,
        /// The limit on disk.
        spill_bytes: u64,
        /// What the engine says.
        message: String,
    },
    /// The asker gave up.
    #[error("cancelled")]
    Cancelled,
    /// The lake could not be read.
    #[error("failed to read the lake: {message}")]
    Lake {
        /// What failed.
        message: String,
    },
    /// Something failed while rows were being made: a division by zero, a cast that does not fit.
    #[error("{message}")]
    Failed {
        /// What failed.
        message: String,
    },
}

impl QueryError {
    /// Where in the question's text, when that is known.
    #[must_use]
    pub const fn place(&self) -> Option<Place> {
        match self {
            Self::Invalid { place, .. } => *place,
            Self::Refused { .. }
            | Self::Time { .. }
            | Self::Busy { .. }
            | Self::Scan { .. }
            | Self::Resources { .. }
            | Self::Cancelled
            | Self::Lake { .. }
            | Self::Failed { .. } => None,
        }
    }

    /// What a process that asked this one question exits with: 1 for a question that has no answer, 2 for a limit or a failure.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Invalid { .. } | Self::Refused { .. } | Self::Failed { .. } => 1,
            Self::Time { .. } | Self::Busy { .. } | Self::Scan { .. } | Self::Resources { .. } | Self::Lake { .. } => 2,
            Self::Cancelled => 130,
        }
    }
}

/// An error that crosses the query engine and has to come out as it went in.
#[derive(Debug, thiserror::Error)]
#[error("it would look into too much")]
pub(crate) struct TooMuch {
    pub(crate) files: usize,
    pub(crate) bytes: u64,
    pub(crate) limit: u64,
}

/// Sorts out an error of the planner.
pub(crate) fn from_planner(error: &DataFusionError) -> QueryError {
    let place = error
        .diagnostic()
        .and_then(|diagnostic| diagnostic.span)
        .map(|span| Place { line: span.start.line, column: span.start.column });
    let root = error.find_root();
    let message = match root {
        DataFusionError::SQL(error, _) => error.to_string().trim_start_matches("sql parser error: ").to_owned(),
        DataFusionError::Plan(text) | DataFusionError::NotImplemented(text) | DataFusionError::Execution(text) => {
            text.clone()
        }
        DataFusionError::SchemaError(error, _) => error.to_string(),
        other => other.strip_backtrace(),
    };
    let message = message.lines().next().unwrap_or_default().trim_end_matches('.').to_owned();
    let (message, found) = split_place(&message);
    QueryError::Invalid { message, place: place.or(found) }
}

/// An error that the question has no part in.
pub(crate) fn internal(error: &DataFusionError) -> QueryError {
    QueryError::Failed { message: error.strip_backtrace() }
}

pub(crate) fn panicked() -> QueryError {
    QueryError::Failed { message: "the query engine failed on this question; this is a defect of ours".to_owned() }
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// The parser says where in words: "Expected: an expression, found: FROM at Line: 1, Column: 8".
fn split_place(message: &str) -> (String, Option<Place>) {
    let Some((text, place)) = message.rsplit_once(" at Line: ") else { return (message.to_owned(), None) };
    let numbers = place.split_once(", Column: ").and_then(|(line, column)| {
        let column: String = column.chars().take_while(char::is_ascii_digit).collect();
        Some(Place { line: line.parse().ok()?, column: column.parse().ok()? })
    });
    match numbers {
        Some(place) => (text.to_owned(), Some(place)),
        None => (message.to_owned(), None),
    }
}

fn humantime(duration: Duration) -> String {
    humantime_serde::re::humantime::format_duration(duration).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_words_becomes_a_place() {
        let (text, place) = split_place("Expected: an expression, found: FROM at Line: 1, Column: 8");
        assert_eq!(text, "Expected: an expression, found: FROM");
        assert_eq!(place, Some(Place { line: 1, column: 8 }));
        assert_eq!(split_place("no place"), ("no place".to_owned(), None));
    }
}
