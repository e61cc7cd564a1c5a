//! Which part of a lake is checked.
//!
//! ```text
//! lake                            everything
//! day=2026-11-21                  the files of one UTC day; chains are followed from where the day begins
//! session=<id>                    one session, from its first record; every file that may hold one of its records
//! agent.session.events.v1/0@17    one record: its file, its commit, and the proof that it is in both
//! ```
//! The signed part (checkpoint, tiles, commits, offsets from commit to commit) is checked whole in every scope: it is small, and what is
//! cut out of a part shows in it.

use crate::lake::DataFile;
use crate::layout;
use crate::offsets::Source;
use std::fmt;
use std::str::FromStr;

/// Which part of a lake is checked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Scope {
    /// All of it.
    #[default]
    Lake,
    /// The records that the log took on one UTC day, `YYYY-MM-DD`.
    Day(String),
    /// The records of one session.
    Session(String),
    /// One record.
    Record {
        /// Its partition.
        source: Source,
        /// Its offset.
        offset: i64,
    },
}

impl Scope {
    /// Whether a file may hold a record of this part.
    pub(super) fn has_file(&self, file: &DataFile) -> bool {
        match self {
            Self::Lake => true,
            Self::Day(day) => file.day == *day,
            Self::Session(session) => {
                let (first, last) = &file.stats.session_id;
                first <= session && session <= last
            }
            Self::Record { source, offset } => {
                file.stats.held.iter().any(|h| h.source == *source && h.first <= *offset && *offset <= h.last)
            }
        }
    }

    /// Whether every record of the lake is looked at, so that what is not seen is missing.
    pub(super) const fn is_whole(&self) -> bool {
        matches!(self, Self::Lake)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lake => f.write_str("the whole lake"),
            Self::Day(day) => write!(f, "day {day}"),
            Self::Session(session) => write!(f, "session {session}"),
            Self::Record { source, offset } => write!(f, "record {source}@{offset}"),
        }
    }
}

/// Neither a day nor a record's place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// Not a day of the calendar.
    #[error("`{text}` is no day; one looks like 2026-11-21")]
    Day {
        /// What was said.
        text: String,
    },
    /// Not a place in the log.
    #[error("`{text}` is no record; one looks like agent.session.events.v1/0@17")]
    Record {
        /// What was said.
        text: String,
    },
}

impl Scope {
    /// A day from its text.
    ///
    /// # Errors
    /// [`ScopeError::Day`].
    pub fn day(text: &str) -> Result<Self, ScopeError> {
        let bad = || ScopeError::Day { text: text.to_owned() };
        let parts: Vec<&str> = text.split('-').collect();
        let [year, month, day] = parts[..] else { return Err(bad()) };
        let number = |part: &str| i64::from_str(part).map_err(|_| bad());
        let (year, month, day) = (number(year)?, number(month)?, number(day)?);
        // A day that the calendar does not have comes back as another one.
        let (y, m, d) = layout::civil(crate::stats::days(year, month, day));
        if (y, m, d) != (year, month, day) || parts.iter().map(|part| part.len()).ne([4, 2, 2]) {
            return Err(bad());
        }
        Ok(Self::Day(text.to_owned()))
    }

    /// A record's place from its text, `topic/partition@offset`.
    ///
    /// # Errors
    /// [`ScopeError::Record`].
    pub fn record(text: &str) -> Result<Self, ScopeError> {
        let read = || {
            let (source, offset) = text.rsplit_once('@')?;
            Some(Self::Record { source: Source::parse(source)?, offset: offset.parse().ok().filter(|o| *o >= 0)? })
        };
        read().ok_or_else(|| ScopeError::Record { text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wk_schemas::Topic;

    #[test]
    fn days_and_places_are_read_and_nothing_else_is() {
        assert_eq!(Scope::day("2026-11-21"), Ok(Scope::Day("2026-11-21".into())));
        for bad in ["2026-02-30", "2026-1-2", "yesterday", "", "2026-11-21-", "20261-1-01"] {
            assert_eq!(Scope::day(bad), Err(ScopeError::Day { text: bad.into() }));
        }
        let place = Scope::Record { source: Source { topic: Topic::Findings, partition: 3 }, offset: 17 };
        assert_eq!(Scope::record("agent.session.findings.v1/3@17"), Ok(place.clone()));
        assert_eq!(place.to_string(), "record agent.session.findings.v1/3@17");
        for bad in ["agent.session.findings.v1/3", "agent.session.findings.v1/3@-1", "other/3@1", "@"] {
            assert_eq!(Scope::record(bad), Err(ScopeError::Record { text: bad.into() }));
        }
    }
}
