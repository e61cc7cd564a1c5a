//! A record and its context as rsigma sees them: one flat row of fields.
//!
//! Field names hold dots (`secret.read_ago`), so a name is looked up as a whole and never taken apart.

use crate::context::Context;
use rsigma_eval::{Event, EventValue};
use std::borrow::Cow;
use wk_schemas::Record;
use wk_schemas::sigma::{self, LogSource, Value};

/// One row of fields.
#[derive(Debug, Clone)]
pub struct Row<'a> {
    /// Sorted by name.
    fields: Vec<(Cow<'a, str>, Value<'a>)>,
    /// The record it is of.
    pub record: Option<uuid::Uuid>,
    /// Which rules it is for.
    pub source: rsigma_parser::LogSource,
}

impl<'a> Row<'a> {
    /// The row of a record in its context.
    #[must_use]
    pub fn new(record: &'a Record, context: &'a Context) -> Self {
        let own = sigma::fields(record).into_iter().map(|(n, v)| (Cow::Borrowed(n), v));
        let more = context.fields().iter().map(|(n, v)| (Cow::Borrowed(*n), v.clone()));
        let row = Self::from_fields(own.chain(more).collect(), sigma::log_source(&record.body));
        Self { record: Some(record.header.record_id.0), ..row }
    }

    /// A row of given fields.
    #[must_use]
    pub fn from_fields(mut fields: Vec<(Cow<'a, str>, Value<'a>)>, source: LogSource) -> Self {
        fields.sort_by(|a, b| a.0.cmp(&b.0));
        let source = rsigma_parser::LogSource {
            product: Some(source.product.to_owned()),
            category: Some(source.category.to_owned()),
            ..rsigma_parser::LogSource::default()
        };
        Self { fields, record: None, source }
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

    fn find(&self, name: &str) -> Option<&Value<'a>> {
        self.fields.binary_search_by(|(n, _)| n.as_ref().cmp(name)).ok().map(|i| &self.fields[i].1)
    }

    fn texts(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().filter_map(|(_, v)| match v {
            Value::Text(t) => Some(t.as_ref()),
            Value::Number(_) | Value::Flag(_) => None,
        })
    }
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
