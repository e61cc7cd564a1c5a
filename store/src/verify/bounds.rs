//! Whether what a commit says about a file would keep a question from seeing a record of it.
//!
//! Bounds may be wider than the records, never narrower; counts must be exact.

use crate::lake::DataFile;
use crate::layout;
use crate::offsets::Source;
use crate::rows::KindName;
use crate::stats::Held;
use std::collections::BTreeMap;
use wk_schemas::codec::HeaderView;
use wk_schemas::{Schema, Timestamp};

/// What the records of a file say themselves.
#[derive(Debug, Default)]
pub(super) struct Bounds {
    occurred_at: Option<(Timestamp, Timestamp)>,
    recorded_at: Option<(Timestamp, Timestamp)>,
    session_id: Option<(String, String)>,
    /// How many there are of each kind, by its place among those of their schema.
    kinds: Vec<u64>,
    held: BTreeMap<Source, Held>,
}

impl Bounds {
    pub(super) fn take(
        &mut self,
        source: Source,
        offset: i64,
        recorded_at: Timestamp,
        header: &HeaderView<'_>,
        kind: usize,
    ) {
        widen(&mut self.occurred_at, header.occurred_at);
        widen(&mut self.recorded_at, recorded_at);
        let session = header.session_id;
        match &mut self.session_id {
            None => self.session_id = Some((session.to_owned(), session.to_owned())),
            Some((first, _)) if session < first.as_str() => session.clone_into(first),
            Some((_, last)) if session > last.as_str() => session.clone_into(last),
            Some(_) => {}
        }
        if self.kinds.len() <= kind {
            self.kinds.resize(kind + 1, 0);
        }
        self.kinds[kind] += 1;
        let held = self.held.entry(source).or_insert(Held { source, first: offset, last: offset, rows: 0 });
        held.first = held.first.min(offset);
        held.last = held.last.max(offset);
        held.rows += 1;
    }

    /// What the commit says of the file and the records, which are of `schema`, do not; one sentence each.
    pub(super) fn lies(&self, file: &DataFile, schema: &Schema) -> Vec<String> {
        let mut lies = Vec::new();
        let stats = &file.stats;
        for (name, found, said) in
            [("occurred_at", self.occurred_at, stats.occurred_at), ("recorded_at", self.recorded_at, stats.recorded_at)]
        {
            if let Some((first, last)) = found.filter(|(first, last)| *first < said.0 || *last > said.1) {
                lies.push(format!(
                    "`{name}` of its records goes from {} to {} (microseconds since 1970)",
                    first.0, last.0
                ));
            }
        }
        if let Some((first, last)) = &self.session_id
            && (*first < stats.session_id.0 || *last > stats.session_id.1)
        {
            lies.push(format!("its sessions go from {first} to {last}"));
        }
        let kinds = schema.kinds().iter().zip(&self.kinds).filter(|(_, rows)| **rows > 0);
        let kinds: BTreeMap<KindName, u64> = kinds.map(|(kind, rows)| (KindName::new(kind), *rows)).collect();
        if kinds != stats.kinds {
            let kinds: Vec<String> = kinds.iter().map(|(kind, rows)| format!("{rows} {kind}")).collect();
            lies.push(format!("its records are {}", kinds.join(", ")));
        }
        if !self.held.values().eq(stats.held.iter()) {
            let held = self.held.values().map(|h| format!("{} of {} from {} to {}", h.rows, h.source, h.first, h.last));
            lies.push(format!("it holds {}", held.collect::<Vec<_>>().join(", ")));
        }
        if let Some((first, last)) = self.recorded_at {
            let (first, last) = (layout::day(first), layout::day(last));
            if first != file.day || last != file.day {
                lies.push(format!("its records are of {first} to {last}, and it lies under {}", file.day));
            }
        }
        lies
    }
}

fn widen(bounds: &mut Option<(Timestamp, Timestamp)>, time: Timestamp) {
    *bounds = Some(match *bounds {
        None => (time, time),
        Some((first, last)) => (first.min(time), last.max(time)),
    });
}
