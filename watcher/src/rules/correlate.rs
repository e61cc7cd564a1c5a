//! Correlations: windows over the matches of other rules, kept in the session.

use super::Rule;
use crate::event::Row;
use crate::text::bounded;
use rsigma_eval::correlation::apply_window_open;
use rsigma_eval::{CompiledCorrelation, Event, GroupKey, WindowState};
use rsigma_parser::{CorrelationType, WindowMode};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use uuid::Uuid;
use wk_schemas::RecordId;
use wk_schemas::body::Match;

/// Groups a session keeps over all correlations.
const GROUPS_MAX: usize = 256;
/// Matches a group keeps.
const GROUP_ENTRIES_MAX: usize = 1000;
/// Matches that all groups of a session keep together, beside those of the group that is growing.
const ENTRIES_MAX: usize = 8192;
/// The longest value that a group keeps or is told apart by; a longer one counts as its beginning and its digest.
const VALUE_BYTES_MAX: usize = 256;
/// Records that a group remembers as evidence: the newest of them.
const GROUP_RECORDS_MAX: usize = 16;

/// A correlation in force. Its times are in microseconds: rsigma's windows compare whole numbers and do not ask their unit.
pub(super) struct Correlation {
    pub(super) rule: Arc<Rule>,
    /// Sigma: name, by which other correlations refer to it.
    pub(super) name: Option<String>,
    pub(super) compiled: CompiledCorrelation,
}

/// The windows of one session.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Windows {
    /// By correlation and group.
    groups: BTreeMap<String, Group>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Group {
    state: WindowState,
    /// Until when the correlation has said what it has to say for this group.
    quiet_until: i64,
    last: i64,
    /// The records behind the matches, with their times.
    records: VecDeque<(i64, Uuid)>,
}

/// What a correlation says when it is complete.
pub(super) struct Complete {
    pub(super) matches: Vec<Match>,
    /// The records that led to it, oldest first, without the last one.
    pub(super) evidence: Vec<RecordId>,
}

impl PartialEq for Windows {
    /// Windows hold floats and hash maps, so they are compared by what they are saved as.
    fn eq(&self, other: &Self) -> bool {
        serde_json::to_value(self).ok() == serde_json::to_value(other).ok()
    }
}

impl Windows {
    /// Takes a match of the rule `name` in, and tells what the correlation says when that completes it.
    ///
    /// A correlation that has fired begins anew and is quiet for the group until its timespan is over.
    pub(super) fn feed(
        &mut self,
        correlation: &Correlation,
        name: &str,
        row: &Row<'_>,
        clock: i64,
    ) -> Option<Complete> {
        let compiled = &correlation.compiled;
        let group = GroupKey::extract(row, &compiled.group_by, &[name]);
        let part = |value: &Option<String>| bounded(value.as_deref().unwrap_or(""), VALUE_BYTES_MAX).into_owned();
        let parts: Vec<String> = group.0.iter().map(part).collect();
        let key = format!("{}|{}", correlation.rule.id, parts.join("|"));
        self.make_room(&key);
        let group = self.groups.entry(key).or_insert_with(|| Group {
            state: WindowState::new_for(compiled.correlation_type),
            quiet_until: i64::MIN,
            last: clock,
            records: VecDeque::new(),
        });
        group.last = clock;
        let span = i64::try_from(compiled.timespan_secs).unwrap_or(i64::MAX);
        group.records.retain(|(at, _)| clock.saturating_sub(*at) <= span);
        let evidence: Vec<RecordId> = group.records.iter().map(|(_, id)| RecordId(*id)).collect();
        if let Some(record) = row.record {
            group.records.push_back((clock, record));
        }
        if group.records.len() > GROUP_RECORDS_MAX {
            group.records.pop_front();
        }
        apply_window_open(&mut group.state, clock, compiled.timespan_secs, compiled.window_mode, compiled.gap_secs);
        push(&mut group.state, compiled, name, row, clock);
        group.state.truncate_oldest(GROUP_ENTRIES_MAX, compiled.window_mode == WindowMode::Session);
        let value = group.state.check_condition(
            &compiled.condition,
            compiled.correlation_type,
            &compiled.rule_refs,
            compiled.extended_expr.as_ref(),
        )?;
        group.state.clear();
        group.records.clear();
        if clock < group.quiet_until {
            return None;
        }
        group.quiet_until = clock.saturating_add(span);
        let mut matches = vec![Match {
            field: compiled.correlation_type.as_str().to_owned(),
            value: value.to_string(),
            selection: "correlation".to_owned(),
        }];
        for (field, value) in compiled.group_by.iter().zip(&parts) {
            matches.push(Match {
                field: field.name().to_owned(),
                value: value.clone(),
                selection: "group-by".to_owned(),
            });
        }
        Some(Complete { matches, evidence })
    }

    /// Lets the groups go that were fed longest ago, until `key` may grow.
    fn make_room(&mut self, key: &str) {
        let is_new = !self.groups.contains_key(key);
        let mut entries: usize = self.groups.values().map(|g| held(&g.state)).sum();
        while (is_new && self.groups.len() >= GROUPS_MAX) || entries >= ENTRIES_MAX {
            let others = self.groups.iter().filter(|(k, _)| *k != key);
            let Some(stalest) = others.min_by_key(|(k, g)| (g.last, *k)).map(|(k, _)| k.clone()) else { return };
            entries -= self.groups.remove(&stalest).map_or(0, |g| held(&g.state));
        }
    }
}

/// How many matches a window holds.
fn held(state: &WindowState) -> usize {
    match state {
        WindowState::EventCount { timestamps } => timestamps.len(),
        WindowState::ValueCount { entries } => entries.len(),
        WindowState::NumericAgg { entries } => entries.len(),
        WindowState::Temporal { rule_hits } => {
            // A sum does not depend on the order.
            rule_hits.values().map(VecDeque::len).sum()
        }
    }
}

fn push(state: &mut WindowState, compiled: &CompiledCorrelation, name: &str, row: &Row<'_>, clock: i64) {
    let field = compiled.condition.field.as_ref().and_then(|f| f.first());
    match compiled.correlation_type {
        CorrelationType::EventCount => state.push_event_count(clock),
        CorrelationType::Temporal | CorrelationType::TemporalOrdered => state.push_temporal(clock, name),
        CorrelationType::ValueCount => {
            if let Some(value) = field.and_then(|f| row.text(f)) {
                state.push_value_count(clock, bounded(&value, VALUE_BYTES_MAX).into_owned());
            }
        }
        CorrelationType::ValueSum
        | CorrelationType::ValueAvg
        | CorrelationType::ValuePercentile
        | CorrelationType::ValueMedian => {
            if let Some(number) = field.and_then(|f| row.get_field(f)).and_then(|v| v.as_f64()) {
                state.push_numeric(clock, number);
            }
        }
    }
}
