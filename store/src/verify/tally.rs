//! Offsets against records, over all commits.

use super::commit::Checked;
use super::file::Offset;
use super::removed::place;
use super::report::{Class, Finding, Report};
use crate::offsets::{Range, Source};
use crate::retention::Standing;
use std::collections::{BTreeMap, BTreeSet};

/// Counts offsets against records over all commits.
#[derive(Debug, Default)]
pub(super) struct Tally {
    next: BTreeMap<Source, i64>,
    letters_counted: BTreeMap<Source, i64>,
    letters_seen: BTreeMap<Source, BTreeSet<i64>>,
}

impl Tally {
    /// Takes a commit's ranges and, of the lake as a whole, its records and those of its files that were removed since.
    pub(super) fn take(&mut self, commit: &Checked, whole: bool, report: &mut Report) {
        let rows = whole.then(|| match &commit.noted {
            Some(noted) => {
                noted.letters().for_each(|letter| self.letter(letter));
                noted.rows()
            }
            None => self.rows(commit, report),
        });
        for range in &commit.ranges {
            let rows = rows.as_ref().map(|rows| rows.get(&range.source()).copied().unwrap_or(0));
            self.range(commit.version, range, rows, report);
        }
    }

    /// How many records of each partition a commit has.
    fn rows(&mut self, commit: &Checked, report: &mut Report) -> BTreeMap<Source, i64> {
        let mut rows: BTreeMap<Source, i64> = BTreeMap::new();
        let mut before: Option<Offset> = None;
        for held in commit.gone.iter().flat_map(|file| &file.stats.held) {
            *rows.entry(held.source).or_default() += i64::try_from(held.rows).unwrap_or(i64::MAX);
        }
        for record in commit.seen.iter() {
            let place = (record.source, record.offset);
            *rows.entry(record.source).or_default() += 1;
            let inside = commit.ranges.iter().any(|r| r.source() == place.0 && (r.first..r.next).contains(&place.1));
            if before == Some(place) || !inside {
                let what = if inside { "it is in the commit twice" } else { "it is outside the commit's ranges" };
                report.findings.push(Finding::new(Class::Invalid, what).commit(commit.version).record(record.place()));
            }
            before = Some(place);
            record.letter().into_iter().for_each(|letter| self.letter(letter));
        }
        rows
    }

    fn letter(&mut self, (source, offset): Offset) {
        self.letters_seen.entry(source).or_default().insert(offset);
    }

    fn range(&mut self, version: u64, range: &Range, rows: Option<i64>, report: &mut Report) {
        let source = range.source();
        let mut add = |class, what| report.findings.push(Finding::new(class, what).commit(version));
        if !range.is_complete() {
            add(Class::Invalid, format!("its range of {source} does not add up"));
        }
        if let Some(rows) = rows.filter(|rows| *rows != range.rows) {
            let class = if rows < range.rows { Class::Missing } else { Class::Invalid };
            add(class, format!("it has {rows} records of {source}, and says {}", range.rows));
        }
        // A partition may begin late: what the log had dropped before the lake began was never promised.
        let expected = self.next.get(&source).copied().unwrap_or(range.first);
        if range.first > expected {
            add(Class::Gap, format!("offsets {expected} to {} of {source} are in no commit", range.first - 1));
        } else if range.first < expected {
            add(Class::Invalid, format!("offsets {} to {} of {source} are in two commits", range.first, expected - 1));
        }
        self.next.insert(source, range.next);
        *self.letters_counted.entry(source).or_default() += range.dead_letters;
        report.dead_letters += u64::try_from(range.dead_letters).unwrap_or(0);
        report.absent += u64::try_from(range.absent).unwrap_or(0);
        report.offsets += u64::try_from(range.next - range.first).unwrap_or(0);
    }

    /// Takes what dead letters a removal took.
    pub(super) fn removed(&mut self, one: &Standing) {
        one.ledger.letters.iter().filter_map(|text| place(text)).for_each(|letter| self.letter(letter));
    }

    /// Up to which offset a partition has been committed.
    pub(super) fn next(&self, source: Source) -> i64 {
        self.next.get(&source).copied().unwrap_or(0)
    }

    /// Dead letters that were counted and never came.
    pub(super) fn finish(&self, report: &mut Report) {
        for (source, counted) in &self.letters_counted {
            let seen = self.letters_seen.get(source).map_or(0, BTreeSet::len);
            let missing = counted - i64::try_from(seen).unwrap_or(i64::MAX);
            if missing > 0 {
                report.findings.push(Finding::new(
                    Class::Gap,
                    format!("{missing} dead letters of {source} are counted and not, or not yet, in the table"),
                ));
            }
        }
    }
}
