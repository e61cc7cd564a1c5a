//! Every writer's chain, followed record by record in the order of the log.

use super::file::Seen;
use super::report::{Class, Finding, Report};
use std::collections::{BTreeMap, HashMap, VecDeque};
use wk_schemas::{Digest, Topic};

/// How far back a record that comes again is compared with the first.
const REMEMBERED: usize = 65_536;

/// The chains seen so far.
#[derive(Debug, Default)]
pub(super) struct Chains(HashMap<Topic, BTreeMap<String, BTreeMap<String, Chain>>>);

#[derive(Debug, Default)]
struct Chain {
    next_seq: i64,
    last: Digest,
    recent: VecDeque<Digest>,
}

impl Chains {
    /// Takes the records of one commit, in the order of their offsets.
    pub(super) fn follow(&mut self, seen: &[Seen], report: &mut Report) {
        for record in seen {
            let sessions = self.0.entry(record.source.topic).or_default();
            if !sessions.contains_key(&record.session) {
                sessions.insert(record.session.clone(), BTreeMap::new());
            }
            let writers = sessions.get_mut(&record.session).expect("it was put there just now");
            if !writers.contains_key(&record.writer) {
                writers.insert(record.writer.clone(), Chain::default());
                report.chains += 1;
            }
            let chain = writers.get_mut(&record.writer).expect("it was put there just now");
            match chain.take(record) {
                Taken::Follows => report.chained_records += 1,
                Taken::Again => report.duplicates += 1,
                Taken::Breaks(class, what) => {
                    report.chained_records += 1;
                    report.findings.push(
                        Finding::new(class, what)
                            .record(format!("{}@{}", record.source, record.offset))
                            .chain(format!("session {} writer {}", record.session, record.writer)),
                    );
                }
            }
        }
    }
}

enum Taken {
    Follows,
    Again,
    Breaks(Class, String),
}

impl Chain {
    fn take(&mut self, record: &Seen) -> Taken {
        let (seq, next) = (record.seq, self.next_seq);
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
            Taken::Breaks(
                Class::Gap,
                match seq - next {
                    1 => format!("the record with seq {next} is missing"),
                    _ => format!("the records with seq {next} to {} are missing", seq - 1),
                },
            )
        } else if record.prev_digest != self.last {
            Taken::Breaks(
                Class::Invalid,
                match seq {
                    0 => "the first record names one before it".to_owned(),
                    _ => format!(
                        "the record with seq {} was altered: its digest is {}, its successor says {}",
                        seq - 1,
                        self.last,
                        record.prev_digest
                    ),
                },
            )
        } else {
            Taken::Follows
        };
        self.next_seq = seq.saturating_add(1);
        self.last = record.digest;
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(record.digest);
        taken
    }
}
