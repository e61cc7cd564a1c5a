//! What was seen for the first time: one row for each tenant and value.

use crate::rows::micros;
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};
use wk_schemas::{Header, RecordId, Timestamp};

/// The columns, which are those of the view `daily_first_seen`, where they are documented.
static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let text = |name: &str| Field::new(name, DataType::Utf8, false);
    let long = |name: &str| Field::new(name, DataType::Int64, false);
    Arc::new(Schema::new(vec![
        text("tenant"),
        text("value"),
        Field::new("first_at", micros(), false),
        text("record_id"),
        text("session_id"),
        long("seq"),
        text("host"),
        text("agent").with_nullable(true),
        text("principal").with_nullable(true),
        text("image"),
        text("outcome"),
        text("detail"),
        Field::new("last_at", micros(), false),
        long("records"),
        long("times"),
    ]))
});

pub(super) fn schema() -> SchemaRef {
    Arc::clone(&SCHEMA)
}

/// One record that saw a value.
pub(super) struct Sight<'a> {
    pub(super) value: &'a str,
    pub(super) image: &'a str,
    pub(super) outcome: &'static str,
    pub(super) detail: &'a str,
    pub(super) times: i64,
    pub(super) last_at: Option<Timestamp>,
}

/// All records that saw a value, and the first of them.
#[derive(Debug)]
struct Seen {
    first_at: Timestamp,
    record_id: RecordId,
    session_id: String,
    seq: i64,
    host: String,
    agent: Option<String>,
    principal: Option<String>,
    image: String,
    outcome: &'static str,
    detail: String,
    last_at: Timestamp,
    records: i64,
    times: i64,
}

impl Seen {
    /// As its first record says it; the sums are still nothing.
    fn first(header: &Header, sight: &Sight<'_>) -> Self {
        Self {
            first_at: header.occurred_at,
            record_id: header.record_id,
            session_id: header.session_id.as_str().to_owned(),
            seq: header.seq,
            host: header.host.clone(),
            agent: header.agent_name.clone(),
            principal: header.principal.clone(),
            image: sight.image.to_owned(),
            outcome: sight.outcome,
            detail: sight.detail.to_owned(),
            last_at: header.occurred_at,
            records: 0,
            times: 0,
        }
    }
}

/// Values and who saw them first.
#[derive(Debug, Default)]
pub(super) struct FirstSeen(BTreeMap<String, HashMap<String, Seen>>);

impl FirstSeen {
    pub(super) fn take(&mut self, header: &Header, sight: &Sight<'_>) {
        if !self.0.contains_key(&header.tenant) {
            self.0.insert(header.tenant.clone(), HashMap::new());
        }
        let values = self.0.get_mut(&header.tenant).expect("it is there or was put there");
        if !values.contains_key(sight.value) {
            values.insert(sight.value.to_owned(), Seen::first(header, sight));
        }
        let seen = values.get_mut(sight.value).expect("it is there or was put there");
        if (header.occurred_at, header.record_id) < (seen.first_at, seen.record_id) {
            let Seen { last_at, records, times, .. } = *seen;
            *seen = Seen { last_at, records, times, ..Seen::first(header, sight) };
        }
        seen.last_at = seen.last_at.max(sight.last_at.unwrap_or(header.occurred_at)).max(header.occurred_at);
        // Sums wrap around as those of a question do; no lake holds so many.
        seen.records = seen.records.wrapping_add(1);
        seen.times = seen.times.wrapping_add(sight.times);
    }

    /// The rows, in the order of tenant and value.
    pub(super) fn into_batch(self) -> RecordBatch {
        let mut rows: Vec<(String, String, Seen)> = Vec::new();
        for (tenant, values) in self.0 {
            rows.extend(values.into_iter().map(|(value, seen)| (tenant.clone(), value, seen)));
        }
        rows.sort_unstable_by(|(tenant, value, _), (other, other_value, _)| (tenant, value).cmp(&(other, other_value)));
        let text = |of: fn(&Seen) -> &str| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(rows.iter().map(|(.., seen)| of(seen))))
        };
        let optional = |of: fn(&Seen) -> Option<&str>| -> ArrayRef {
            Arc::new(rows.iter().map(|(.., seen)| of(seen)).collect::<StringArray>())
        };
        let long = |of: fn(&Seen) -> i64| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|(.., seen)| of(seen))))
        };
        let time = |of: fn(&Seen) -> Timestamp| -> ArrayRef {
            let times = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|(.., seen)| of(seen).0));
            Arc::new(times.with_timezone("UTC"))
        };
        let columns = vec![
            Arc::new(StringArray::from_iter_values(rows.iter().map(|(tenant, ..)| tenant))) as ArrayRef,
            Arc::new(StringArray::from_iter_values(rows.iter().map(|(_, value, _)| value))),
            time(|seen| seen.first_at),
            Arc::new(StringArray::from_iter_values(rows.iter().map(|(.., seen)| seen.record_id.to_string()))),
            text(|seen| &seen.session_id),
            long(|seen| seen.seq),
            text(|seen| &seen.host),
            optional(|seen| seen.agent.as_deref()),
            optional(|seen| seen.principal.as_deref()),
            text(|seen| &seen.image),
            text(|seen| seen.outcome),
            text(|seen| &seen.detail),
            time(|seen| seen.last_at),
            long(|seen| seen.records),
            long(|seen| seen.times),
        ];
        RecordBatch::try_new(schema(), columns).expect("the columns are those of the schema")
    }
}
