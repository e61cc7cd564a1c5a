//! What a commit says about each file, so that a reader can leave it closed.

use crate::layout::civil;
use crate::offsets::Source;
use crate::rows::{KindName, Row};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};
use wk_schemas::Timestamp;

/// What is known of a file without opening it. Bounds hold every value; they need not be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    /// Earliest and latest time of the source; widened to whole milliseconds.
    pub occurred_at: (Timestamp, Timestamp),
    /// Earliest and latest time of the log; widened to whole milliseconds.
    pub recorded_at: (Timestamp, Timestamp),
    /// First and last session id.
    pub session_id: (String, String),
    /// How many records of each kind.
    pub kinds: BTreeMap<KindName, u64>,
    /// What the file holds of each partition.
    pub held: Vec<Held>,
}

/// What a file holds of a partition: not every offset between the two need be in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// The partition.
    pub source: Source,
    /// The smallest offset.
    pub first: i64,
    /// The largest offset.
    pub last: i64,
    /// How many records.
    pub rows: u64,
}

const MICROS_PER_SECOND: i64 = 1_000_000;

/// A time as Delta's statistics write it: UTC, milliseconds.
fn iso(time: i64) -> String {
    let seconds = time.div_euclid(MICROS_PER_SECOND);
    let millis = time.rem_euclid(MICROS_PER_SECOND) / 1000;
    let (year, month, day) = civil(seconds.div_euclid(86_400));
    let second = seconds.rem_euclid(86_400);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

fn floor(time: Timestamp) -> i64 {
    time.0.div_euclid(1000).saturating_mul(1000)
}

fn ceil(time: Timestamp) -> i64 {
    floor(Timestamp(time.0.saturating_add(999)))
}

fn bounds<T: Ord + Copy>(values: impl Iterator<Item = T> + Clone) -> (T, T) {
    (values.clone().min().expect("a file has at least one row"), values.max().expect("a file has at least one row"))
}

/// Sums up the rows of a file; also how many sessions they are of.
pub(crate) fn gather(rows: &[Row]) -> (Stats, usize) {
    let occurred = bounds(rows.iter().map(|r| r.occurred_at));
    let recorded = bounds(rows.iter().map(|r| r.recorded_at));
    let mut kinds = BTreeMap::new();
    let mut held: BTreeMap<Source, Held> = BTreeMap::new();
    // Sessions are few and rows are many: each is compared with the one before it, and with all others once.
    let mut sessions = HashSet::new();
    let mut last = None;
    for row in rows {
        *kinds.entry(row.kind_name()).or_default() += 1;
        let source = Source { topic: row.topic, partition: row.partition };
        let entry = held.entry(source).or_insert(Held { source, first: row.offset, last: row.offset, rows: 0 });
        entry.first = entry.first.min(row.offset);
        entry.last = entry.last.max(row.offset);
        entry.rows += 1;
        let session = row.session_bytes();
        if last.replace(session) != Some(session) {
            sessions.insert(session);
        }
    }
    let text = |session: &[u8]| str::from_utf8(session).expect("a proven record's session is a text").to_owned();
    let (first, last) = bounds(sessions.iter().copied());
    let stats = Stats {
        occurred_at: (Timestamp(floor(occurred.0)), Timestamp(ceil(occurred.1))),
        recorded_at: (Timestamp(floor(recorded.0)), Timestamp(ceil(recorded.1))),
        session_id: (text(first), text(last)),
        kinds,
        held: held.into_values().collect(),
    };
    (stats, sessions.len())
}

impl Stats {
    /// What is known of several files together, if there are any.
    pub(crate) fn together<'a>(all: impl IntoIterator<Item = &'a Self>) -> Option<Self> {
        all.into_iter().cloned().reduce(|mut sum, one| {
            let wider = |a: (Timestamp, Timestamp), b: (Timestamp, Timestamp)| (a.0.min(b.0), a.1.max(b.1));
            sum.occurred_at = wider(sum.occurred_at, one.occurred_at);
            sum.recorded_at = wider(sum.recorded_at, one.recorded_at);
            sum.session_id = (sum.session_id.0.min(one.session_id.0), sum.session_id.1.max(one.session_id.1));
            for (kind, rows) in one.kinds {
                *sum.kinds.entry(kind).or_default() += rows;
            }
            for held in one.held {
                match sum.held.iter_mut().find(|known| known.source == held.source) {
                    Some(known) => {
                        known.first = known.first.min(held.first);
                        known.last = known.last.max(held.last);
                        known.rows += held.rows;
                    }
                    None => sum.held.push(held),
                }
            }
            sum.held.sort_by_key(|held| held.source);
            sum
        })
    }

    /// How many records the file has.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.kinds.values().sum()
    }

    /// The kind of every record, if there is but one.
    #[must_use]
    pub fn only_kind(&self) -> Option<&KindName> {
        let mut kinds = self.kinds.keys();
        kinds.next().filter(|_| kinds.next().is_none())
    }

    /// The JSON of Delta's `stats`.
    pub(crate) fn to_delta(&self) -> String {
        let kind = bounds(self.kinds.keys().map(KindName::as_str));
        let topic = bounds(self.held.iter().map(|h| h.source.topic.name()));
        let partition = bounds(self.held.iter().map(|h| h.source.partition));
        let offset = (bounds(self.held.iter().map(|h| h.first)).0, bounds(self.held.iter().map(|h| h.last)).1);
        let columns = ["session_id", "occurred_at", "recorded_at", "kind", "topic", "partition", "offset"];
        let side = |first: bool| {
            let pick = |(min, max): (Value, Value)| if first { min } else { max };
            let values = [
                pick((json!(self.session_id.0), json!(self.session_id.1))),
                pick((json!(iso(self.occurred_at.0.0)), json!(iso(self.occurred_at.1.0)))),
                pick((json!(iso(self.recorded_at.0.0)), json!(iso(self.recorded_at.1.0)))),
                pick((json!(kind.0), json!(kind.1))),
                pick((json!(topic.0), json!(topic.1))),
                pick((json!(partition.0), json!(partition.1))),
                pick((json!(offset.0), json!(offset.1))),
            ];
            columns.iter().zip(values).map(|(c, v)| ((*c).to_owned(), v)).collect::<serde_json::Map<_, _>>()
        };
        let nulls: serde_json::Map<_, _> = columns.iter().map(|c| ((*c).to_owned(), json!(0))).collect();
        json!({
            "numRecords": self.rows(), "minValues": side(true), "maxValues": side(false), "nullCount": nulls,
            "tightBounds": false,
        })
        .to_string()
    }

    /// Text for [`crate::delta::tag::KINDS`].
    pub(crate) fn kinds_tag(&self) -> String {
        self.kinds.iter().map(|(kind, rows)| format!("{kind}:{rows}")).collect::<Vec<_>>().join(",")
    }

    /// Text for [`crate::delta::tag::RANGES`].
    pub(crate) fn held_tag(&self) -> String {
        let one = |h: &Held| format!("{}:{}-{}:{}", h.source, h.first, h.last, h.rows);
        self.held.iter().map(one).collect::<Vec<_>>().join(",")
    }

    /// Reads what `to_delta`, `kinds_tag` and `held_tag` write.
    pub(crate) fn read(stats: &str, kinds: &str, held: &str) -> Option<Self> {
        let Known { min_values: min, max_values: max } = serde_json::from_str(stats).ok()?;
        let kinds = kinds.split(',').map(|part| {
            let (kind, rows) = part.split_once(':')?;
            Some((KindName::new(kind), rows.parse().ok()?))
        });
        let held = held.split(',').map(|part| {
            let mut parts = part.rsplitn(3, ':');
            let (rows, offsets, source) = (parts.next()?, parts.next()?, parts.next()?);
            let (first, last) = offsets.split_once('-')?;
            Some(Held {
                source: Source::parse(source)?,
                first: first.parse().ok()?,
                last: last.parse().ok()?,
                rows: rows.parse().ok()?,
            })
        });
        Some(Self {
            occurred_at: (parse_iso(&min.occurred_at)?, parse_iso(&max.occurred_at)?),
            recorded_at: (parse_iso(&min.recorded_at)?, parse_iso(&max.recorded_at)?),
            session_id: (min.session_id, max.session_id),
            kinds: kinds.collect::<Option<_>>()?,
            held: held.collect::<Option<_>>()?,
        })
    }
}

/// What is read back of Delta's `stats`. The rest of it is in the tags, exactly.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Known {
    min_values: Side,
    max_values: Side,
}

#[derive(Deserialize)]
struct Side {
    session_id: String,
    occurred_at: String,
    recorded_at: String,
}

/// Reads what `iso` writes.
fn parse_iso(text: &str) -> Option<Timestamp> {
    let (date, time) = text.strip_suffix('Z')?.rsplit_once('T')?;
    let mut date = date.rsplitn(3, '-').map(str::parse::<i64>);
    let (day, month, year) = (date.next()?.ok()?, date.next()?.ok()?, date.next()?.ok()?);
    let (time, millis) = time.split_once('.')?;
    let mut time = time.splitn(3, ':').map(str::parse::<i64>);
    let (hour, minute, second) = (time.next()?.ok()?, time.next()?.ok()?, time.next()?.ok()?);
    let seconds = ((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    Some(Timestamp(seconds * MICROS_PER_SECOND + millis.parse::<i64>().ok()? * 1000))
}

/// Days from 1970-01-01 to a day of the calendar; the other way round of [`civil`].
pub(crate) fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_are_written_as_other_readers_expect_them() {
        assert_eq!(iso(1_793_000_000_123_456), "2026-10-26T07:33:20.123Z");
        assert_eq!(iso(-1), "1969-12-31T23:59:59.999Z");
    }

    proptest! {
        #[test]
        fn bounds_hold_every_time_and_are_read_back(time in -60_000_000_000_000_000i64..200_000_000_000_000_000) {
            let (low, high) = (floor(Timestamp(time)), ceil(Timestamp(time)));
            prop_assert!(low <= time && time <= high && high - low <= 1000);
            prop_assert_eq!(parse_iso(&iso(low)), Some(Timestamp(low)));
            prop_assert_eq!(parse_iso(&iso(high)), Some(Timestamp(high)));
        }
    }
}
