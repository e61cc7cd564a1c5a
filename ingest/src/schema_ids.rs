//! Asks the registry which schema ids are ours.
//!
//! An id is ours when its schema is the audit record's, whatever white space and documentation it comes with. What is known of an id is
//! kept for ever, because a schema never changes under its id. That an id is unknown is not kept: it may be registered later.

use crate::walk::SchemaIds;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;
use std::sync::Arc;
use wk_schemas::SCHEMA;
use wk_wire::registry::{self, RegistryError};

/// Questions to the registry at once.
const QUESTIONS: usize = 16;

/// What is known so far.
#[derive(Debug)]
pub(crate) struct Known {
    registry: registry::Client,
    ids: Arc<SchemaIds>,
    ours: Value,
}

impl Known {
    pub(crate) fn new(registry: registry::Client) -> Self {
        let mut ours = serde_json::from_str(SCHEMA).expect("our schema is JSON");
        without_docs(&mut ours);
        Self { registry, ids: Arc::default(), ours }
    }

    /// What is known now.
    pub(crate) fn ids(&self) -> Arc<SchemaIds> {
        Arc::clone(&self.ids)
    }

    /// Learns about these ids; those that the registry does not know stay unknown.
    ///
    /// # Errors
    /// [`RegistryError`] when the registry gives no answer.
    pub(crate) async fn learn(&mut self, ids: impl Iterator<Item = i32>) -> Result<(), RegistryError> {
        let mut new: Vec<i32> = ids.filter(|id| !self.ids.contains_key(id)).collect();
        new.sort_unstable();
        new.dedup();
        if new.is_empty() {
            return Ok(());
        }
        let answers: Vec<(i32, bool)> = stream::iter(new)
            .map(|id| {
                let registry = self.registry.clone();
                async move {
                    match registry.by_id(id).await {
                        Ok(schema) => Ok(Some((id, schema))),
                        Err(RegistryError::UnknownSchema { .. }) => Ok(None),
                        Err(error) => Err(error),
                    }
                }
            })
            .buffer_unordered(QUESTIONS)
            .try_filter_map(async |found| Ok(found.map(|(id, schema)| (id, self.is_ours(&schema)))))
            .try_collect()
            .await?;
        Arc::make_mut(&mut self.ids).extend(answers);
        Ok(())
    }

    fn is_ours(&self, schema: &str) -> bool {
        serde_json::from_str::<Value>(schema).is_ok_and(|mut schema| {
            without_docs(&mut schema);
            schema == self.ours
        })
    }
}

fn without_docs(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            members.remove("doc");
            members.values_mut().for_each(without_docs);
        }
        Value::Array(items) => items.iter_mut().for_each(without_docs),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Known {
        Known::new(registry::Client::new("http://127.0.0.1:1").unwrap())
    }

    #[test]
    fn our_schema_is_ours_in_any_dress() {
        let mut naked: Value = serde_json::from_str(SCHEMA).unwrap();
        without_docs(&mut naked);
        assert!(known().is_ours(SCHEMA));
        assert!(known().is_ours(&naked.to_string()));
    }

    #[test]
    fn another_schema_is_not_ours() {
        assert!(!known().is_ours(r#""string""#));
        assert!(!known().is_ours("not json"));
        assert!(!known().is_ours(&SCHEMA.replacen("\"seq\"", "\"sequence\"", 1)));
    }

    #[tokio::test]
    async fn a_registry_that_is_away_is_an_error_and_not_an_unknown_schema() {
        let mut known = known();
        let error = known.learn([7].into_iter()).await.unwrap_err();
        assert!(matches!(error, RegistryError::Unreachable { .. }), "{error}");
        assert!(known.ids().is_empty());
    }
}
