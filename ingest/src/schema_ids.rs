//! Asks the registry which schema ids are those of audit records.
//!
//! An id is one when its schema is the audit record's: this program's own, whatever white space and documentation it comes with, or another
//! version that is compatible with it and with the columns that the lake has. So records of a program that is newer or older than this one are
//! taken whole, with every field that they have, and nobody has to upgrade in a certain order. What is known of an id is kept for ever, because
//! a schema never changes under its id. That an id is unknown is not kept: it may be registered later.

use crate::walk::{SchemaIds, Standing};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use std::sync::Arc;
use wk_schemas::Schema;
use wk_store::rows::Columns;
use wk_wire::registry::{self, RegistryError};

/// Questions to the registry at once.
const QUESTIONS: usize = 16;

/// What is known so far.
#[derive(Debug)]
pub(crate) struct Known {
    registry: registry::Client,
    ids: Arc<SchemaIds>,
    /// What the lake's columns will be once it holds records of every schema that was taken.
    columns: Columns,
}

impl Known {
    /// Knows nothing yet, of a lake with these columns.
    pub(crate) fn new(registry: registry::Client, columns: Columns) -> Self {
        Self { registry, ids: Arc::default(), columns }
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
        let mut answers: Vec<(i32, Arc<str>)> = stream::iter(new)
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
            .try_filter_map(async |found| Ok(found))
            .try_collect()
            .await?;
        // Whichever was registered first has its columns first.
        answers.sort_unstable_by_key(|(id, _)| *id);
        for (id, text) in answers {
            let standing = self.judge(&text).map_or_else(Standing::Other, Standing::Record);
            if let Standing::Other(reason) = &standing {
                tracing::warn!(id, reason, "records of this schema are set aside");
            }
            Arc::make_mut(&mut self.ids).insert(id, standing);
        }
        Ok(())
    }

    /// Takes a schema, or says why not.
    fn judge(&mut self, text: &str) -> Result<Arc<Schema>, String> {
        let schema = Schema::parse(text).map_err(|error| error.to_string())?;
        let ours = Schema::ours();
        if schema == *ours {
            return Ok(ours);
        }
        let differences = schema.differences(&ours);
        if !differences.is_empty() {
            return Err(differences.join("; "));
        }
        self.columns = self.columns.join(&Columns::of(&schema)).map_err(|problems| problems.join("; "))?;
        Ok(Arc::new(schema))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use wk_schemas::SCHEMA;

    fn known() -> Known {
        Known::new(registry::Client::new("http://127.0.0.1:1").unwrap(), Columns::ours())
    }

    fn with(change: impl FnOnce(&mut Vec<Value>)) -> String {
        let mut schema: Value = serde_json::from_str(SCHEMA).unwrap();
        change(schema["fields"].as_array_mut().unwrap());
        schema.to_string()
    }

    #[test]
    fn our_schema_is_ours_in_any_dress() {
        assert_eq!(known().judge(SCHEMA), Ok(Schema::ours()));
        assert_eq!(known().judge(Schema::ours().text()), Ok(Schema::ours()));
    }

    #[test]
    fn a_version_with_more_is_taken_and_one_that_contradicts_it_is_not() {
        let mut known = known();
        let region =
            |shape: Value| with(|f| f.push(json!({"name": "region", "type": ["null", shape], "default": null})));
        assert_eq!(known.judge(&region(json!("string"))).unwrap().fields().last().unwrap().0, "region");
        // Both are compatible with ours, and not with each other: the first has given the lake a column.
        let refused = known.judge(&region(json!("long"))).unwrap_err();
        assert_eq!(refused, "`region` is \"long\", and \"string\" in the table");
    }

    #[test]
    fn another_schema_is_not_ours_and_the_difference_is_said() {
        assert!(known().judge(r#""string""#).unwrap_err().starts_with("it is not a record"));
        assert!(known().judge("not json").unwrap_err().starts_with("it is not JSON"));
        let renamed = with(|fields| {
            fields.iter_mut().find(|f| f["name"] == "host").unwrap()["name"] = json!("machine");
        });
        assert_eq!(known().judge(&renamed).unwrap_err(), "`machine` is new and not nullable; `host` is missing");
    }

    #[tokio::test]
    async fn a_registry_that_is_away_is_an_error_and_not_an_unknown_schema() {
        let mut known = known();
        let error = known.learn([7].into_iter()).await.unwrap_err();
        assert!(matches!(error, RegistryError::Unreachable { .. }), "{error}");
        assert!(known.ids().is_empty());
    }
}
