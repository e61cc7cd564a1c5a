//! What an asker says, as literals of SQL.

use humantime_serde::re::humantime;
use std::fmt;
use std::time::{Duration, UNIX_EPOCH};
use wk_schemas::Timestamp;

/// What kind of value a parameter takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueKind {
    /// Any text.
    Text,
    /// A whole number.
    Integer,
    /// A point in time: `7d` (so long ago), `2026-11-20`, `2026-11-20T12:00:00Z`.
    Time,
    /// A length of time: `10m`.
    Span,
}

impl ValueKind {
    /// The kind that a head names.
    pub(super) fn read(name: &str) -> Option<Self> {
        [Self::Text, Self::Integer, Self::Time, Self::Span].into_iter().find(|kind| kind.to_string() == name)
    }

    /// What a value of it looks like, for an error.
    pub(super) const fn expected(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Integer => "a whole number",
            Self::Time => "a time: 7d (so long ago), 2026-11-20, 2026-11-20T12:00:00Z",
            Self::Span => "a length of time: 90s, 10m, 2h, 7d",
        }
    }

    /// The literal that stands for `value`; `None` when it is not of this kind.
    pub(super) fn literal(self, value: &str, now: Timestamp) -> Option<String> {
        match self {
            Self::Text => Some(format!("'{}'", value.replace('\'', "''"))),
            Self::Integer => value.parse::<i64>().ok().map(|number| number.to_string()),
            Self::Time => time(value, now).map(|time| format!("TIMESTAMPTZ '{time}'")),
            Self::Span => {
                let span = humantime::parse_duration(value).ok()?;
                Some(format!("INTERVAL '{} seconds {} microseconds'", span.as_secs(), span.subsec_micros()))
            }
        }
    }
}

impl fmt::Display for ValueKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Integer => "integer",
            Self::Time => "time",
            Self::Span => "span",
        })
    }
}

/// A point in time as people say it: `7d` (so long before `now`), `2026-11-20` (its first moment, UTC), `2026-11-20T12:00:00Z`;
/// `None` for anything else.
#[must_use]
pub fn point_in_time(said: &str, now: Timestamp) -> Option<Timestamp> {
    let time = match humantime::parse_duration(said) {
        // So long ago that nobody was there is as good as the beginning.
        Ok(ago) => return Some(Timestamp(now.0.saturating_sub(i64::try_from(ago.as_micros()).ok()?).max(0))),
        Err(_) if said.len() == "2026-11-20".len() => humantime::parse_rfc3339(&format!("{said}T00:00:00Z")).ok()?,
        Err(_) => humantime::parse_rfc3339(said).ok()?,
    };
    Some(Timestamp(i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_micros()).ok()?))
}

/// A point in time as RFC 3339, UTC, microseconds.
fn time(value: &str, now: Timestamp) -> Option<String> {
    let micros = u64::try_from(point_in_time(value, now)?.0).ok()?;
    Some(humantime::format_rfc3339_micros(UNIX_EPOCH + Duration::from_micros(micros)).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_literals_of_their_kind_or_nothing() {
        let now = Timestamp(1_795_176_000_000_000);
        for (kind, value, literal) in [
            (ValueKind::Text, "it's", Some("'it''s'")),
            (ValueKind::Integer, "-12", Some("-12")),
            (ValueKind::Integer, "12.5", None),
            (ValueKind::Time, "24h", Some("TIMESTAMPTZ '2026-11-19T12:00:00.000000Z'")),
            (ValueKind::Time, "200y", Some("TIMESTAMPTZ '1970-01-01T00:00:00.000000Z'")),
            (ValueKind::Time, "2026-11-20", Some("TIMESTAMPTZ '2026-11-20T00:00:00.000000Z'")),
            (ValueKind::Time, "2026-11-20T06:07:08.5Z", Some("TIMESTAMPTZ '2026-11-20T06:07:08.500000Z'")),
            (ValueKind::Time, "2026-02-30", None),
            (ValueKind::Time, "yesterday", None),
            (ValueKind::Span, "10m", Some("INTERVAL '600 seconds 0 microseconds'")),
            (ValueKind::Span, "10", None),
        ] {
            assert_eq!(kind.literal(value, now).as_deref(), literal, "{kind} {value}");
        }
    }
}
