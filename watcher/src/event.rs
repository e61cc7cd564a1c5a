//! A record and its context as rsigma sees them: one flat row of fields.
//!
//! Field names hold dots (`secret.read_ago`), so a name is looked up as a whole and never taken apart.

use crate::context::Context;
use rsigma_eval::{Event, EventValue};
use std::borrow::Cow;
use wk_schemas::Record;
use wk_schemas::sigma::{self, LogSource, Value};

/// Places of a row's table; more fields than three quarters of them are looked through one by one.
const SLOTS: usize = 256;
const SLOTTED_MAX: usize = SLOTS / 4 * 3;

/// One row of fields.
#[derive(Debug, Clone)]
pub struct Row<'a> {
    fields: Vec<(Cow<'a, str>, Value<'a>)>,
    /// Where a name is among the fields, plus one; 0 is an empty place. Rules ask for many names of each record, and building
    /// this is cheaper than sorting.
    slots: [u8; SLOTS],
    /// The record it is of.
    pub record: Option<uuid::Uuid>,
    /// Which rules it is for.
    pub source: LogSource,
}

impl<'a> Row<'a> {
    /// The row of a record in its context.
    #[must_use]
    pub fn new(record: &'a Record, context: &'a Context<'_>) -> Self {
        let (own, more) = (sigma::fields(record), context.fields());
        let mut fields = Vec::with_capacity(own.len() + more.len());
        fields.extend(own.into_iter().map(|(n, v)| (Cow::Borrowed(n), v)));
        fields.extend(more.iter().map(|(n, v)| (Cow::Borrowed(*n), borrowed(v))));
        let row = Self::from_fields(fields, sigma::log_source(&record.body));
        Self { record: Some(record.header.record_id.0), ..row }
    }

    /// A row of given fields. Of two with the same name the first counts.
    #[must_use]
    pub fn from_fields(fields: Vec<(Cow<'a, str>, Value<'a>)>, source: LogSource) -> Self {
        let mut row = Self { fields, slots: [0; SLOTS], record: None, source };
        if row.fields.len() <= SLOTTED_MAX {
            for (number, (name, _)) in (1_u8..).zip(&row.fields) {
                let mut at = slot(name);
                while let Some(place) = row.slots.get_mut(at) {
                    if *place == 0 {
                        *place = number;
                        break;
                    }
                    at = (at + 1) % SLOTS;
                }
            }
        }
        row
    }

    /// The field as text, for messages.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        self.find(name).map(|v| match v {
            Value::Text(t) => Cow::Borrowed(t.as_ref()),
            Value::Number(n) => Cow::Owned(n.to_string()),
            Value::Flag(b) => Cow::Borrowed(if *b { "true" } else { "false" }),
        })
    }

    /// The names of its fields.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|(n, _)| n.as_ref())
    }

    fn find(&self, name: &str) -> Option<&Value<'a>> {
        if self.fields.len() > SLOTTED_MAX {
            return self.fields.iter().find(|(n, _)| n == name).map(|(_, v)| v);
        }
        let mut at = slot(name);
        loop {
            let number = usize::from(self.slots[at]).checked_sub(1)?;
            let (known, value) = &self.fields[number];
            if known == name {
                return Some(value);
            }
            at = (at + 1) % SLOTS;
        }
    }

    fn texts(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().filter_map(|(_, v)| match v {
            Value::Text(t) => Some(t.as_ref()),
            Value::Number(_) | Value::Flag(_) => None,
        })
    }
}

/// The same value, not copied.
fn borrowed<'a>(value: &'a Value<'_>) -> Value<'a> {
    match value {
        Value::Text(text) => Value::Text(Cow::Borrowed(text.as_ref())),
        Value::Number(number) => Value::Number(*number),
        Value::Flag(flag) => Value::Flag(*flag),
    }
}

/// Where a name is looked for first: its length and three of its bytes tell our names apart well enough.
fn slot(name: &str) -> usize {
    let bytes = name.as_bytes();
    let at = |i: usize| bytes.get(i).copied().map_or(0, usize::from);
    let length = bytes.len();
    (length * 37 + at(0) * 5 + at(length / 2) * 11 + at(length.saturating_sub(1)) * 17) % SLOTS
}

impl Event for Row<'_> {
    fn get_field(&self, path: &str) -> Option<EventValue<'_>> {
        self.find(path).map(|v| match v {
            Value::Text(t) => EventValue::Str(Cow::Borrowed(t.as_ref())),
            Value::Number(n) => EventValue::Int(*n),
            Value::Flag(b) => EventValue::Bool(*b),
        })
    }

    fn any_string_value(&self, pred: &dyn Fn(&str) -> bool) -> bool {
        self.texts().any(pred)
    }

    fn all_string_values(&self) -> Vec<Cow<'_, str>> {
        self.texts().map(Cow::Borrowed).collect()
    }

    fn visit_string_values(&self, visit: &mut dyn FnMut(&str)) {
        self.texts().for_each(visit);
    }

    fn to_json(&self) -> serde_json::Value {
        let entry = |(n, v): &(Cow<'_, str>, Value<'_>)| {
            let value = match v {
                Value::Text(t) => serde_json::Value::from(t.as_ref()),
                Value::Number(n) => serde_json::Value::from(*n),
                Value::Flag(b) => serde_json::Value::from(*b),
            };
            (n.to_string(), value)
        };
        serde_json::Value::Object(self.fields.iter().map(entry).collect())
    }

    fn field_keys(&self) -> Vec<Cow<'_, str>> {
        self.fields.iter().map(|(n, _)| Cow::Borrowed(n.as_ref())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_found_and_of_two_the_first_counts() {
        let source = LogSource { product: "linux", category: "file_event" };
        for count in [0_i64, 1, 50, 150, 400] {
            let names = (0..count).map(|i| (format!("field.{i}").into(), Value::Number(i)));
            let row = Row::from_fields(names.chain([("field.0".into(), Value::Number(-1))]).collect(), source);
            for i in 0..count {
                assert_eq!(row.find(&format!("field.{i}")), Some(&Value::Number(i)), "{i} of {count}");
            }
            assert_eq!(row.find("field.x"), None);
            assert_eq!(row.find(""), None);
        }
    }
}
