//! The columns of the table: what a record's fields are called and how they are stored.
//!
//! ```text
//! Avro                     in the file                      in the Delta schema
//! string, enum             UTF-8 string                     string
//! bytes                    binary                           binary
//! int, long, double        32 or 64 bits                    integer, long, double
//! boolean                  boolean                          boolean
//! timestamp-micros         microseconds UTC                 timestamp
//! array, record            list, struct                     array, struct
//! ```
//! After the record's own columns come four that say where it was in the log: `topic`, `partition`, `offset` and
//! `recorded_at`. The partition column `day` is in the path, not in the file.

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use std::sync::{Arc, LazyLock};
use wk_schemas::Schema as AuditSchema;
use wk_schemas::avro::Shape;

/// The table's partition column: the UTC day of `recorded_at`.
pub const DAY: &str = "day";

/// The columns that say where a record was in the log, after the record's own.
pub const PLACE: [&str; 4] = ["topic", "partition", "offset", "recorded_at"];

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| columns_of(&AuditSchema::ours()));

/// The Arrow schema of every data file that is written with this program's own schema, without the partition column.
#[must_use]
pub fn schema() -> SchemaRef {
    Arc::clone(&SCHEMA)
}

/// The columns of records of one schema, those of their place behind them.
pub(crate) fn columns_of(schema: &AuditSchema) -> SchemaRef {
    let mut fields: Vec<Field> = schema.fields().iter().map(|(name, _, shape)| field(name, shape)).collect();
    fields.push(Field::new("topic", DataType::Utf8, false));
    fields.push(Field::new("partition", DataType::Int32, false));
    fields.push(Field::new("offset", DataType::Int64, false));
    fields.push(Field::new("recorded_at", micros(), false));
    Arc::new(Schema::new(fields))
}

/// What a column means, from the schema's own words; `None` for a column that is not there.
///
/// `path` is the column's name, or the names of a nested field joined with dots.
#[must_use]
pub fn doc(path: &str) -> Option<String> {
    match path {
        "topic" => return Some("The log's topic that the record was read from.".into()),
        "partition" => return Some("The partition of the topic.".into()),
        "offset" => return Some("The place in the partition.".into()),
        "recorded_at" => return Some("When the log took the record, by the log's clock.".into()),
        DAY => return Some("UTC day of recorded_at; the table is partitioned by it.".into()),
        _ => {}
    }
    let ours = AuditSchema::ours();
    let mut fields = ours.fields();
    let mut found = None;
    for part in path.split('.') {
        let (_, doc, shape) = fields.iter().find(|(name, ..)| name == part)?;
        found = Some(doc.clone());
        fields = inner(shape);
    }
    found
}

fn inner(shape: &Shape) -> &[wk_schemas::avro::Field] {
    match shape {
        Shape::Record(_, _, fields) => fields,
        Shape::Optional(inner_shape) | Shape::Array(inner_shape) => inner(inner_shape),
        Shape::Primitive(..) | Shape::Enum(..) => &[],
    }
}

pub(crate) fn micros() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

fn field(name: &str, shape: &Shape) -> Field {
    Field::new(name, data_type(shape), matches!(shape, Shape::Optional(_)))
}

/// A field's type in the file.
fn data_type(shape: &Shape) -> DataType {
    type_with(shape, &DataType::Utf8)
}

/// A field's type in memory, where an enum is a dictionary of its symbols.
pub(super) fn memory_type(shape: &Shape) -> DataType {
    type_with(shape, &DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)))
}

fn type_with(shape: &Shape, symbol: &DataType) -> DataType {
    let field =
        |name: &str, shape: &Shape| Field::new(name, type_with(shape, symbol), matches!(shape, Shape::Optional(_)));
    match shape {
        Shape::Enum(..) => symbol.clone(),
        Shape::Primitive("long", Some("timestamp-micros")) => micros(),
        Shape::Primitive("long", _) => DataType::Int64,
        Shape::Primitive("int", _) => DataType::Int32,
        Shape::Primitive("double", _) => DataType::Float64,
        Shape::Primitive("boolean", _) => DataType::Boolean,
        Shape::Primitive("bytes", _) => DataType::Binary,
        Shape::Primitive("string", _) => DataType::Utf8,
        Shape::Primitive(other, _) => unreachable!("the schema has no `{other}`"),
        // The Parquet and Delta formats call an array's member `element`.
        Shape::Array(item) => DataType::List(Arc::new(field("element", item))),
        Shape::Record(_, _, fields) => {
            // Members are nullable in the file even where the record says they are always there: the Parquet reader keeps no
            // nulls for a required member, so in rows without this sub-record a query would find leftovers in its place.
            DataType::Struct(fields.iter().map(|(name, _, shape)| field(name, shape).with_nullable(true)).collect())
        }
        Shape::Optional(inner) => type_with(inner, symbol),
    }
}
