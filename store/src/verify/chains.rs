//! Every writer's chain, followed record by record in the order of the log.
//!
//! A record may come late: it was a dead letter, and was replayed once it could be read. So a gap is remembered with the digests on both
//! sides of it, a late record has to fit between them and a note has to say that it was replayed, and what is still open at the end is
//! reported.

use super::file::Offset;
use super::notebook::Noted;
use super::removed::place;
use super::report::{Class, Finding, Report};
use super::scope::Scope;
use super::seen::{InOrder, Seen};
use crate::lake::Version;
use crate::offsets::Source;
use crate::retention::{Span, Standing};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::RangeInclusive;
use std::sync::Arc;
use wk_schemas::{Digest, Kind, RecordId, Timestamp, Topic};

/// How far back a record that comes again is compared with the first.
const REMEMBERED: usize = 65_536;

/// A writer's clock that goes back further than this between two records has been moved. Records of one writer need not be in the order of
/// their times: folds and transcripts carry earlier ones.
const CLOCK_BACK_US: i64 = 3_600_000_000;

/// A session that has said nothing for so long, while the lake went on, has no end that will still come.
const SILENT_US: i64 = 24 * 3_600_000_000;

/// The chains seen so far.
#[derive(Debug, Default)]
pub(super) struct Chains {
    sessions: HashMap<Arc<str>, Session>,
    /// Chains may begin anywhere: what was before them is not in the scope.
    anywhere: bool,
    /// Only one session is looked at, and all of it.
    one_session: bool,
    newest: Timestamp,
    /// Records that came after their successor: their place, in words too, their chain and their seq.
    late: Vec<(Source, i64, String, i64)>,
    /// From the commit that has a record to the one in which it comes again.
    repeated: Vec<RangeInclusive<Version>>,
    /// Places that notes of replays name.
    replayed: BTreeSet<(Source, i64)>,
    /// Sessions of which removals have taken records.
    partly: BTreeSet<String>,
    /// Ids seen, and ids given as evidence with the place of the finding; only for one session.
    ids: BTreeSet<RecordId>,
    evidence: BTreeMap<RecordId, String>,
}

/// What is known of a session.
#[derive(Debug, Default)]
struct Session {
    chains: Vec<Chain>,
    started: bool,
    ended: bool,
    /// The newest record of the shim, by [`Seen::newest`].
    last: Option<(Timestamp, Offset, i64)>,
}

#[derive(Debug)]
struct Chain {
    topic: Topic,
    writer: Arc<str>,
    next_seq: i64,
    last: Digest,
    occurred_at: Timestamp,
    clock_moved: bool,
    recent: VecDeque<Digest>,
    /// With which seq it goes on in which commit.
    commits: Vec<(i64, Version)>,
    /// What has not come yet, by the first seq.
    gaps: BTreeMap<i64, Gap>,
}

/// Records that are missing between two that are there.
#[derive(Debug)]
struct Gap {
    /// The seq of the record behind it.
    next_seq: i64,
    /// The digest of the record before it.
    before: Digest,
    /// What the record behind it says of the one before itself.
    after: Digest,
    /// Where the record behind it is.
    place: String,
}

impl Chains {
    pub(super) fn new(scope: &Scope) -> Self {
        Self {
            anywhere: matches!(scope, Scope::Day(_) | Scope::Record { .. }),
            one_session: matches!(scope, Scope::Session(_)),
            newest: Timestamp(i64::MIN),
            ..Self::default()
        }
    }

    /// Takes the records of one commit, in the order of their offsets. Whether there is nothing about them: each follows the one before it.
    pub(super) fn follow(&mut self, version: Version, seen: &InOrder, report: &mut Report) -> bool {
        let mut plain = true;
        for record in seen.iter() {
            self.newest = self.newest.max(record.recorded_at);
            self.replayed.extend(record.replayed());
            if let Some((id, evidence)) = record.rare.as_ref().and_then(|rare| rare.names.as_ref()) {
                self.ids.insert(*id);
                self.evidence.extend(evidence.iter().map(|id| (*id, record.place())));
            }
            let session = self.sessions.entry(Arc::clone(&record.session)).or_default();
            session.note(record.kind == Kind::SessionStarted, record.kind == Kind::SessionEnded, record.newest());
            let begin = || Chain::begin(record, self.anywhere);
            let chain = session.chain(record.source.topic, &record.writer, begin, report);
            chain.reach(version);
            let mut add = |class, what| {
                let chain = format!("session {} writer {}", record.session, record.writer);
                report.findings.push(Finding::new(class, what).record(record.place()).chain(chain));
            };
            if let Some(what) = chain.clock(record) {
                add(Class::Notice, what);
            }
            let gaps = chain.gaps.len();
            let late = chain.gap_of(record.seq).is_some();
            if late {
                let chain = format!("session {} writer {}", record.session, record.writer);
                self.late.push((record.source, record.offset, chain, record.seq));
            }
            match chain.take(record) {
                Taken::Follows => {
                    report.chained_records += 1;
                    plain &= !late && chain.gaps.len() == gaps;
                }
                Taken::Again => {
                    report.duplicates += 1;
                    plain = false;
                    self.repeated.push(chain.commit_of(record.seq)..=version);
                }
                Taken::Breaks(class, what) => {
                    report.chained_records += 1;
                    add(class, what);
                }
            }
        }
        plain
    }

    /// Takes what was noted of a commit. Whether it fits; where it does not, everything has to be read.
    pub(super) fn join(&mut self, version: Version, noted: &Noted, report: &mut Report) -> bool {
        self.newest = self.newest.max(noted.newest().unwrap_or(self.newest));
        self.replayed.extend(noted.replayed());
        noted.runs().iter().all(|run| {
            let span = &run.span;
            let (Some(before), Some(last)) = (Digest::from_hex(&span.before), Digest::from_hex(&span.last)) else {
                return false;
            };
            let session = self.sessions.entry(span.session.as_str().into()).or_default();
            session.note(run.begins, run.ends, run.newest());
            let begin = || Chain::new(span.topic, span.writer.as_str().into(), run.occurred_at());
            let chain = session.chain(span.topic, &span.writer, begin, report);
            chain.reach(version);
            let fits = (chain.next_seq, chain.last) == (span.first, before);
            (chain.next_seq, chain.last, chain.occurred_at) = (span.next, last, run.occurred_at());
            chain.recent.clear();
            report.chained_records += u64::try_from(span.next - span.first).unwrap_or(0);
            fits
        })
    }

    /// Commits in which there are records that came again, up to those in which they did.
    pub(super) fn repeated(&mut self) -> Vec<RangeInclusive<Version>> {
        std::mem::take(&mut self.repeated)
    }

    /// Takes what a removal took: it closes the gaps that it has left.
    pub(super) fn removed(&mut self, one: &Standing, report: &mut Report) {
        self.replayed.extend(one.ledger.replayed.iter().filter_map(|text| place(text)));
        for span in &one.ledger.chains {
            self.partly.insert(span.session.clone());
            let Some(session) = self.sessions.get_mut(span.session.as_str()) else { continue };
            let of = |chain: &&mut Chain| chain.topic == span.topic && *chain.writer == *span.writer;
            let (Some(chain), Some(run)) = (session.chains.iter_mut().find(of), Run::removed(span)) else { continue };
            if let Taken::Breaks(class, what) = chain.fill(&run) {
                let chain = format!("session {} writer {}", span.session, span.writer);
                report.findings.push(Finding::new(class, what).commit(one.version).chain(chain));
            }
        }
    }

    /// What can be said once everything was seen: sessions that have no end, and evidence that is not there.
    pub(super) fn finish(mut self, report: &mut Report) {
        let partly = self.sessions.keys().any(|name| self.partly.contains(&**name));
        let open = |(name, session): (&Arc<str>, &mut Session)| {
            let of = |chain: &mut Chain| {
                let of = format!("session {name} writer {}", chain.writer);
                let gaps = std::mem::take(&mut chain.gaps).into_iter();
                gaps.map(|(seq, gap)| (of.clone(), seq, gap)).collect::<Vec<_>>()
            };
            session.chains.iter_mut().flat_map(of).collect::<Vec<_>>()
        };
        let mut gaps: Vec<(String, i64, Gap)> = self.sessions.iter_mut().flat_map(open).collect();
        gaps.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
        for (chain, seq, gap) in gaps {
            let what = match gap.next_seq - seq {
                1 => format!("the record with seq {seq} is missing"),
                _ => format!("the records with seq {seq} to {} are missing", gap.next_seq - 1),
            };
            report.findings.push(Finding::new(Class::Gap, what).record(gap.place).chain(chain));
        }
        for (source, offset, chain, seq) in self.late {
            if self.anywhere || self.replayed.contains(&(source, offset)) {
                continue;
            }
            let what =
                format!("the record with seq {seq} comes after its successor, and no note says that it was replayed");
            let place = format!("{source}@{offset}");
            report.findings.push(Finding::new(Class::Invalid, what).record(place).chain(chain));
        }
        let mut open: Vec<(Arc<str>, Session)> = self
            .sessions
            .into_iter()
            .filter(|(name, s)| s.started && !s.ended && !self.partly.contains(&**name))
            .collect();
        open.sort_by(|a, b| a.0.cmp(&b.0));
        if !self.anywhere {
            report.open_sessions = open.len() as u64;
            for (name, session) in open {
                let Some((at, (source, offset), seq)) = session.last else { continue };
                if self.one_session || self.newest.micros_since(at) > SILENT_US {
                    let what =
                        format!("it has no end: its last record has seq {seq}; it runs, or its tail was withheld");
                    report.findings.push(
                        Finding::new(Class::Notice, what)
                            .record(format!("{source}@{offset}"))
                            .chain(format!("session {name}")),
                    );
                }
            }
        }
        for (id, finding) in self.evidence.into_iter().filter(|(id, _)| !self.ids.contains(id)) {
            let (class, why) = if partly { (Class::Notice, "; it may have been removed") } else { (Class::Gap, "") };
            let what = format!("it gives the record {id} as evidence, which is not in the lake{why}");
            report.findings.push(Finding::new(class, what).record(finding));
        }
    }
}

impl Session {
    /// Takes what there is to say of it, and the newest of some records of one chain.
    fn note(&mut self, started: bool, ended: bool, newest: Option<(Timestamp, Offset, i64)>) {
        self.started |= started;
        self.ended |= ended;
        self.last = self.last.max(newest.filter(|(_, (source, _), _)| source.topic == Topic::Events));
    }

    /// The chain of a writer, begun if there is none.
    fn chain(&mut self, topic: Topic, writer: &str, begin: impl FnOnce() -> Chain, report: &mut Report) -> &mut Chain {
        let at = self.chains.iter().position(|chain| chain.topic == topic && *chain.writer == *writer);
        let at = at.unwrap_or_else(|| {
            report.chains += 1;
            self.chains.push(begin());
            self.chains.len() - 1
        });
        &mut self.chains[at]
    }
}

enum Taken {
    Follows,
    Again,
    Breaks(Class, String),
}

impl Chain {
    /// A chain from its first record on.
    fn new(topic: Topic, writer: Arc<str>, occurred_at: Timestamp) -> Self {
        Self {
            topic,
            writer,
            next_seq: 0,
            last: Digest::ZERO,
            occurred_at,
            clock_moved: false,
            recent: VecDeque::new(),
            commits: Vec::new(),
            gaps: BTreeMap::new(),
        }
    }

    fn begin(record: &Seen, anywhere: bool) -> Self {
        let chain = Self::new(record.source.topic, Arc::clone(&record.writer), record.occurred_at);
        if anywhere { Self { next_seq: record.seq, last: record.prev_digest, ..chain } } else { chain }
    }

    /// Goes on in a commit.
    fn reach(&mut self, version: Version) {
        if self.commits.last().is_none_or(|(_, last)| *last != version) {
            self.commits.push((self.next_seq, version));
        }
    }

    /// The commit that has a seq, of those before the next.
    fn commit_of(&self, seq: i64) -> Version {
        let after = self.commits.partition_point(|(first, _)| *first <= seq);
        self.commits[after.saturating_sub(1)].1
    }

    /// Whether the writer's clock was moved, said once for each chain.
    fn clock(&mut self, record: &Seen) -> Option<String> {
        let back = self.occurred_at.micros_since(record.occurred_at);
        let ahead = record.occurred_at.micros_since(record.recorded_at);
        self.occurred_at = record.occurred_at;
        let what = if back > CLOCK_BACK_US {
            format!("the writer's clock went back by {} s before the record with seq {}", back / 1_000_000, record.seq)
        } else if ahead > CLOCK_BACK_US {
            format!("the record with seq {} is dated {} s after the log took it", record.seq, ahead / 1_000_000)
        } else {
            return None;
        };
        (!std::mem::replace(&mut self.clock_moved, true)).then_some(what)
    }

    fn take(&mut self, record: &Seen) -> Taken {
        let (seq, next) = (record.seq, self.next_seq);
        if self.gap_of(seq).is_some() {
            return self.fill(&Run::of(record));
        }
        if seq < next {
            let back = usize::try_from(next - 1 - seq).unwrap_or(usize::MAX);
            let first = self.recent.len().checked_sub(1 + back).and_then(|index| self.recent.get(index));
            return match first {
                Some(first) if *first == record.digest => Taken::Again,
                Some(_) => Taken::Breaks(Class::Invalid, format!("two different records claim seq {seq}")),
                None => {
                    Taken::Breaks(Class::Invalid, format!("seq {seq} comes again after {next}, too late to compare"))
                }
            };
        }
        let taken = if seq > next {
            self.recent.clear();
            let (before, after) = (self.last, record.prev_digest);
            self.gaps.insert(next, Gap { next_seq: seq, before, after, place: record.place() });
            Taken::Follows
        } else {
            joined(seq, self.last, record.prev_digest)
        };
        self.next_seq = seq.saturating_add(1);
        self.last = record.digest;
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(record.digest);
        taken
    }

    /// Where the gap begins that a seq belongs into.
    fn gap_of(&self, seq: i64) -> Option<i64> {
        self.gaps.range(..=seq).next_back().filter(|(_, gap)| seq < gap.next_seq).map(|(first, _)| *first)
    }

    /// Takes records that belong into gaps. What of them was seen already, because it was sent twice, closes nothing.
    fn fill(&mut self, run: &Run) -> Taken {
        let reached = self.gaps.range(..run.next).filter(|(_, gap)| run.first < gap.next_seq);
        let reached: Vec<i64> = reached.map(|(first, _)| *first).collect();
        let mut taken = Taken::Follows;
        for first in reached {
            let Gap { next_seq, before, after, place } = self.gaps.remove(&first).expect("it was found just now");
            if first < run.first {
                let below = run.place.clone().unwrap_or_else(|| place.clone());
                self.gaps.insert(first, Gap { next_seq: run.first, before, after: run.prev_digest, place: below });
            } else if first == run.first {
                taken = taken.and(|| joined(first, before, run.prev_digest));
            }
            if run.next < next_seq {
                self.gaps.insert(run.next, Gap { next_seq, before: run.digest, after, place });
            } else if run.next == next_seq {
                taken = taken.and(|| joined(next_seq, run.digest, after));
            }
        }
        taken
    }
}

/// Records of one chain, one after another.
struct Run {
    /// The first seq.
    first: i64,
    /// One past the last seq.
    next: i64,
    /// What the first says of the one before it.
    prev_digest: Digest,
    /// The digest of the last.
    digest: Digest,
    /// Where the first is, if it is anywhere.
    place: Option<String>,
}

impl Run {
    fn of(record: &Seen) -> Self {
        Self {
            first: record.seq,
            next: record.seq.saturating_add(1),
            prev_digest: record.prev_digest,
            digest: record.digest,
            place: Some(record.place()),
        }
    }

    fn removed(span: &Span) -> Option<Self> {
        let (prev_digest, digest) = (Digest::from_hex(&span.before)?, Digest::from_hex(&span.last)?);
        Some(Self { first: span.first, next: span.next, prev_digest, digest, place: None })
    }
}

impl Taken {
    /// What comes next, unless something was wrong before.
    fn and(self, next: impl FnOnce() -> Self) -> Self {
        if matches!(self, Self::Follows) { next() } else { self }
    }
}

/// Whether the record with `seq` names the one before it.
fn joined(seq: i64, before: Digest, named: Digest) -> Taken {
    if before == named {
        return Taken::Follows;
    }
    let what = match seq {
        0 => "the first record names one before it".to_owned(),
        _ => format!("the record with seq {} was altered: its digest is {before}, its successor says {named}", seq - 1),
    };
    Taken::Breaks(Class::Invalid, what)
}
