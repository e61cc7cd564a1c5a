//! The columns of `records` as questions see them: those of the data files, and the day they are partitioned by.
//!
//! Text at the top level is read as views, which spares a copy of session and record ids. Inside the nested columns types
//! are as they stand in the files: a cast of a nested column would make the scan read all of it.

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use std::sync::{Arc, LazyLock};
use wk_store::rows;

static FILE: LazyLock<SchemaRef> = LazyLock::new(|| viewed(&rows::schema()));

/// The columns of files as questions see them.
pub(crate) fn viewed(schema: &Schema) -> SchemaRef {
    let view = |field: &Arc<Field>| match field.data_type() {
        DataType::Utf8 => Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8View)),
        _ => Arc::clone(field),
    };
    Arc::new(Schema::new(schema.fields().iter().map(view).collect::<Vec<_>>()))
}

/// The columns that the files hold of this program's own records.
pub(crate) fn file_schema() -> SchemaRef {
    Arc::clone(&FILE)
}

/// The column that the files are partitioned by; it stands in their paths.
pub(crate) fn day() -> Field {
    Field::new(rows::DAY, DataType::Date32, false)
}

/// A column and what it means.
#[derive(Debug, Clone)]
pub(crate) struct Documented {
    /// Name, or path into a nested column as a question writes it: `process_started['actor']['image']`.
    pub(crate) name: String,
    /// Its type.
    pub(crate) data_type: DataType,
    /// What it means.
    pub(crate) doc: String,
}

/// Every column of `records` with its documentation, nested ones included.
pub(crate) fn documented() -> Vec<Documented> {
    let mut columns = Vec::new();
    for field in file_schema().fields() {
        document(field, field.name(), field.name(), &mut columns);
    }
    document(&day(), rows::DAY, rows::DAY, &mut columns);
    columns
}

fn document(field: &Field, name: &str, path: &str, columns: &mut Vec<Documented>) {
    let doc = rows::doc(path).unwrap_or_default();
    columns.push(Documented { name: name.to_owned(), data_type: field.data_type().clone(), doc });
    if let DataType::Struct(fields) = field.data_type() {
        for field in fields {
            document(field, &format!("{name}['{}']", field.name()), &format!("{path}.{}", field.name()), columns);
        }
    }
}

/// A type as SQL says it.
pub(crate) fn sql_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => "text".into(),
        DataType::Int64 | DataType::UInt64 => "bigint".into(),
        DataType::Int32 => "int".into(),
        DataType::Float64 => "double".into(),
        DataType::Boolean => "boolean".into(),
        DataType::Binary | DataType::BinaryView => "bytes".into(),
        DataType::Timestamp(..) => "timestamp".into(),
        DataType::Date32 => "date".into(),
        DataType::List(item) => format!("{}[]", sql_name(item.data_type())),
        DataType::Struct(_) => "struct".into(),
        other => other.to_string().to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_is_documented() {
        for column in documented() {
            assert!(!column.doc.is_empty(), "{}", column.name);
        }
        assert!(documented().iter().any(|c| c.name == "file_accessed['actor']['image']"));
    }
}
