//! The table's columns: read from its log, written into it, and joined with those that more records need.
//!
//! A table's columns only ever become more. New ones are nullable, so a file that does not have them holds nulls; none is taken away, renamed
//! or given another type, so no file that is there has to be written again.

use super::schema::{columns_of, micros};
use super::{DAY, schema};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use serde_json::{Value, json};
use std::sync::Arc;
use wk_schemas::Schema as AuditSchema;

/// The columns of the table, without the one that it is partitioned by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    schema: SchemaRef,
    /// Columns of types that this program does not know, by name.
    unknown: Vec<String>,
}

impl Columns {
    /// Those of this program's own records.
    #[must_use]
    pub fn ours() -> Self {
        Self { schema: schema(), unknown: Vec::new() }
    }

    /// Those of the records of a schema.
    #[must_use]
    pub fn of(schema: &AuditSchema) -> Self {
        Self { schema: columns_of(schema), unknown: Vec::new() }
    }

    /// Reads the schema of a Delta table. A column of a type that this program does not know is left out, and remembered by its name.
    ///
    /// # Errors
    /// What cannot be read, in words.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let json: Value = serde_json::from_str(text).map_err(|e| format!("its schema is no JSON: {e}"))?;
        let mut unknown = Vec::new();
        let fields = read_fields("", &json, &mut unknown).ok_or("its schema is none of a Delta table")?;
        let fields: Fields = fields.iter().filter(|field| field.name() != DAY).cloned().collect();
        unknown.retain(|name| name != DAY);
        Ok(Self { schema: Arc::new(Schema::new(fields)), unknown })
    }

    /// The table's schema in the JSON form of the Delta protocol, the partition column last.
    #[must_use]
    pub fn to_delta(&self) -> String {
        let mut fields: Vec<Value> = self.schema.fields().iter().map(|f| delta_field(f, f.is_nullable())).collect();
        fields.push(json!({"name": DAY, "type": "date", "nullable": false, "metadata": {}}));
        json!({"type": "struct", "fields": fields}).to_string()
    }

    /// As the query engine wants them.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// Columns that are in the table and that this program cannot read.
    #[must_use]
    pub fn unknown(&self) -> &[String] {
        &self.unknown
    }

    /// These columns and, behind them, those of `other` that are not among them.
    ///
    /// # Errors
    /// One sentence for each column that keeps rows of the other from lying in this table.
    pub fn join(&self, other: &Self) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let fields = join_fields("", self.schema.fields(), other.schema.fields(), &mut problems);
        if problems.is_empty() {
            Ok(Self { schema: Arc::new(Schema::new(fields)), unknown: self.unknown.clone() })
        } else {
            Err(problems)
        }
    }
}

fn path_of(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn join_fields(path: &str, these: &Fields, others: &Fields, problems: &mut Vec<String>) -> Fields {
    let mut all: Vec<Arc<Field>> = Vec::with_capacity(these.len());
    for this in these {
        let inner = path_of(path, this.name());
        let other = others.iter().find(|other| other.name() == this.name());
        let joined = match other {
            None if this.is_nullable() => Arc::clone(this),
            None => {
                problems.push(format!("`{inner}` is missing, and the table has it in every row"));
                continue;
            }
            Some(other) if other.is_nullable() && !this.is_nullable() => {
                problems.push(format!("`{inner}` may be null, and the table has it in every row"));
                continue;
            }
            Some(other) => {
                let joined = join_types(&inner, this.data_type(), other.data_type(), problems);
                Arc::new(this.as_ref().clone().with_data_type(joined))
            }
        };
        all.push(joined);
    }
    for other in others.iter().filter(|other| !these.iter().any(|this| this.name() == other.name())) {
        if !other.is_nullable() {
            problems.push(format!("`{}` is new to the table and not nullable", path_of(path, other.name())));
        }
        all.push(Arc::clone(other));
    }
    all.into()
}

fn join_types(path: &str, this: &DataType, other: &DataType, problems: &mut Vec<String>) -> DataType {
    match (this, other) {
        (DataType::Struct(these), DataType::Struct(others)) => {
            DataType::Struct(join_fields(path, these, others, problems))
        }
        (DataType::List(this), DataType::List(other)) if this.is_nullable() == other.is_nullable() => {
            let inner = join_types(&format!("{path}[]"), this.data_type(), other.data_type(), problems);
            DataType::List(Arc::new(this.as_ref().clone().with_data_type(inner)))
        }
        _ if this == other => this.clone(),
        _ => {
            problems.push(format!("`{path}` is {}, and {} in the table", delta_type(other), delta_type(this)));
            this.clone()
        }
    }
}

fn delta_field(field: &Field, nullable: bool) -> Value {
    json!({"name": field.name(), "type": delta_type(field.data_type()), "nullable": nullable, "metadata": {}})
}

fn delta_type(data_type: &DataType) -> Value {
    match data_type {
        DataType::Utf8 => json!("string"),
        DataType::Binary => json!("binary"),
        DataType::Int32 => json!("integer"),
        DataType::Int64 => json!("long"),
        DataType::Float64 => json!("double"),
        DataType::Boolean => json!("boolean"),
        DataType::Timestamp(..) => json!("timestamp"),
        DataType::List(item) => {
            json!({"type": "array", "elementType": delta_type(item.data_type()), "containsNull": item.is_nullable()})
        }
        // A field inside of a sub-record is null wherever the sub-record is: readers that flatten want to hear that.
        DataType::Struct(fields) => {
            json!({"type": "struct", "fields": fields.iter().map(|f| delta_field(f, true)).collect::<Vec<_>>()})
        }
        other => unreachable!("the table has no column of type {other}"),
    }
}

fn read_fields(path: &str, json: &Value, unknown: &mut Vec<String>) -> Option<Fields> {
    let mut fields = Vec::new();
    for field in json["fields"].as_array()? {
        let name = field["name"].as_str()?;
        let inner = path_of(path, name);
        match read_type(&inner, &field["type"], unknown) {
            Some(data_type) => fields.push(Field::new(name, data_type, field["nullable"].as_bool()?)),
            None => unknown.push(inner),
        }
    }
    Some(fields.into())
}

fn read_type(path: &str, json: &Value, unknown: &mut Vec<String>) -> Option<DataType> {
    if let Some(name) = json.as_str() {
        return Some(match name {
            "string" => DataType::Utf8,
            "binary" => DataType::Binary,
            "integer" => DataType::Int32,
            "long" => DataType::Int64,
            "double" => DataType::Float64,
            "boolean" => DataType::Boolean,
            "timestamp" => micros(),
            _ => return None,
        });
    }
    match json["type"].as_str()? {
        "struct" => Some(DataType::Struct(read_fields(path, json, unknown)?)),
        "array" => {
            let item = read_type(&format!("{path}[]"), &json["elementType"], unknown)?;
            Some(DataType::List(Arc::new(Field::new("element", item, json["containsNull"].as_bool()?))))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(more: &[(&str, DataType, bool)]) -> Columns {
        let more = more.iter().map(|(name, data_type, nullable)| Field::new(*name, data_type.clone(), *nullable));
        let ours = schema();
        let fields: Vec<Field> = ours.fields().iter().map(|field| field.as_ref().clone()).chain(more).collect();
        Columns { schema: Arc::new(Schema::new(fields)), unknown: Vec::new() }
    }

    #[test]
    fn what_is_written_into_the_log_is_read_back_the_same() {
        assert_eq!(Columns::read(&Columns::ours().to_delta()).unwrap(), Columns::ours());
    }

    #[test]
    fn columns_only_become_more() {
        let (ours, wider) = (Columns::ours(), with(&[("region", DataType::Utf8, true)]));
        assert_eq!(ours.join(&wider).unwrap(), wider);
        assert_eq!(wider.join(&ours).unwrap(), wider);
        assert_eq!(ours.join(&ours).unwrap(), ours);
        let both = wider.join(&with(&[("zone", DataType::Int32, true)])).unwrap();
        assert_eq!(both, with(&[("region", DataType::Utf8, true), ("zone", DataType::Int32, true)]));
    }

    #[test]
    fn what_does_not_fit_is_said_by_name() {
        let wider = with(&[("region", DataType::Utf8, true)]);
        let other = with(&[("region", DataType::Int64, true)]);
        assert_eq!(wider.join(&other).unwrap_err(), ["`region` is \"long\", and \"string\" in the table"]);
        let always = with(&[("region", DataType::Utf8, false)]);
        assert_eq!(Columns::ours().join(&always).unwrap_err(), ["`region` is new to the table and not nullable"]);
        assert_eq!(always.join(&wider).unwrap_err(), ["`region` may be null, and the table has it in every row"]);
    }

    #[test]
    fn a_column_of_a_type_from_the_future_is_remembered_and_hides_no_other() {
        let mut table: Value = serde_json::from_str(&Columns::ours().to_delta()).unwrap();
        let variant = json!({"name": "extra", "type": "variant", "nullable": true, "metadata": {}});
        table["fields"].as_array_mut().unwrap().insert(3, variant);
        let read = Columns::read(&table.to_string()).unwrap();
        assert_eq!(read.unknown(), ["extra"]);
        assert_eq!(read.schema(), Columns::ours().schema());
    }
}
