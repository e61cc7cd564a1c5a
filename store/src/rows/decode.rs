//! Proven datums to columns, in bulk.
//!
//! arrow-avro appends field by field and does not take back what a broken record left behind, so it is fed nothing but
//! datums that [`wk_schemas::codec::walk`] has proven to be one canonical record each; after every datum the number of rows
//! must have grown by exactly one, or the whole batch is refused.

use super::schema::schema;
use super::{Row, RowsError};
use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, Int8Array, Int32Array, Int64Array, ListArray, RecordBatch, StringArray,
    StructArray, TimestampMicrosecondArray, new_null_array,
};
use arrow::datatypes::{DataType, Field, Schema};
use arrow_avro::codec::Tz;
use arrow_avro::reader::{Decoder as Bulk, ReaderBuilder};
use arrow_avro::schema::{AvroSchema, Fingerprint, FingerprintAlgorithm, SchemaStore};
use std::sync::Arc;
use wk_schemas::{SCHEMA, Topic};

/// arrow-avro wants each datum in a frame; within this module every frame has the same number.
const FRAME: [u8; 5] = [0, 0, 0, 0, 1];

/// Turns rows into one batch with the table's columns, in the order given.
///
/// Enum columns and `topic` are dictionaries in memory; in the file they are plain strings.
///
/// # Errors
/// [`RowsError::Decode`] when arrow-avro does not take a datum that the strict walk has proven.
pub fn decode(rows: &[Row]) -> Result<RecordBatch, RowsError> {
    let mut bulk = decoder(rows.len())?;
    let mut framed = Vec::with_capacity(4096);
    for row in rows {
        framed.clear();
        framed.extend_from_slice(&FRAME);
        framed.extend_from_slice(&row.datum);
        let free = bulk.capacity();
        let taken = bulk.decode(&framed).map_err(|e| RowsError::Decode { reason: e.to_string() })?;
        if taken != framed.len() || free - bulk.capacity() != 1 {
            return Err(RowsError::Decode {
                reason: format!(
                    "record at {} {} {} gave {} rows out of {taken} of {} bytes",
                    row.topic,
                    row.partition,
                    row.offset,
                    free - bulk.capacity(),
                    framed.len()
                ),
            });
        }
    }
    let flushed = bulk.flush().map_err(|e| RowsError::Decode { reason: e.to_string() })?;
    let batch = match flushed {
        Some(batch) => batch,
        None => RecordBatch::new_empty(bulk.schema()),
    };
    with_place(&batch, rows)
}

fn decoder(rows: usize) -> Result<Bulk, RowsError> {
    let decode = |e: arrow::error::ArrowError| RowsError::Decode { reason: e.to_string() };
    let mut store = SchemaStore::new_with_type(FingerprintAlgorithm::Id);
    store
        .set(Fingerprint::Id(1), AvroSchema::new(SCHEMA.to_owned()))
        .map_err(|e| RowsError::Decode { reason: e.to_string() })?;
    ReaderBuilder::new()
        .with_batch_size(rows.max(1))
        .with_tz(Tz::Utc)
        .with_writer_schema_store(store)
        .with_active_fingerprint(Fingerprint::Id(1))
        .build_decoder()
        .map_err(decode)
}

/// Gives the record's columns the table's types and adds the four that say where it was in the log.
fn with_place(batch: &RecordBatch, rows: &[Row]) -> Result<RecordBatch, RowsError> {
    let table = schema();
    let mut fields = Vec::with_capacity(table.fields().len());
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(table.fields().len());
    for (field, column) in table.fields().iter().zip(batch.columns()) {
        let column = conform(column, field)?;
        fields.push(Field::new(field.name(), column.data_type().clone(), field.is_nullable()));
        columns.push(column);
    }
    let topics: Int8Array = rows.iter().map(|r| Some(topic_index(r.topic))).collect();
    let names = StringArray::from_iter_values(Topic::ALL.iter().map(|t| t.name()));
    let place: [ArrayRef; 4] = [
        Arc::new(DictionaryArray::new(topics, Arc::new(names))),
        Arc::new(Int32Array::from_iter_values(rows.iter().map(|r| r.partition))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.offset))),
        Arc::new(
            TimestampMicrosecondArray::from_iter_values(rows.iter().map(|r| r.recorded_at.0)).with_timezone("UTC"),
        ),
    ];
    for (name, column) in super::PLACE.iter().zip(place) {
        fields.push(Field::new(*name, column.data_type().clone(), false));
        columns.push(column);
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
        .map_err(|e| RowsError::Decode { reason: e.to_string() })
}

fn topic_index(topic: Topic) -> i8 {
    let index = Topic::ALL.iter().position(|t| *t == topic).expect("every topic is in ALL");
    i8::try_from(index).expect("there are fewer than 128 topics")
}

/// Rebuilds an array under the table's field names, without arrow-avro's metadata. Values are shared, not copied.
fn conform(array: &ArrayRef, field: &Field) -> Result<ArrayRef, RowsError> {
    let wrong = || RowsError::Column { name: field.name().clone(), found: array.data_type().to_string() };
    match (field.data_type(), array.data_type()) {
        (DataType::Struct(want), DataType::Struct(have)) if want.len() == have.len() => {
            let record: &StructArray = array.as_struct();
            let members: Vec<ArrayRef> =
                want.iter().zip(record.columns()).map(|(f, c)| conform(c, f)).collect::<Result<_, _>>()?;
            let fields = want
                .iter()
                .zip(&members)
                .map(|(f, c)| Field::new(f.name(), c.data_type().clone(), f.is_nullable()))
                .collect();
            if record.null_count() == record.len() {
                return Ok(new_null_array(&DataType::Struct(fields), record.len()));
            }
            Ok(Arc::new(StructArray::try_new(fields, members, record.nulls().cloned()).map_err(|_| wrong())?))
        }
        (DataType::List(want), DataType::List(_)) => {
            let list: &ListArray = array.as_list();
            let values = conform(list.values(), want)?;
            let item = Field::new(want.name(), values.data_type().clone(), want.is_nullable());
            Ok(Arc::new(
                ListArray::try_new(Arc::new(item), list.offsets().clone(), values, list.nulls().cloned())
                    .map_err(|_| wrong())?,
            ))
        }
        (DataType::Utf8, DataType::Dictionary(..)) => Ok(Arc::clone(array)),
        (want, have) if want == have => Ok(Arc::clone(array)),
        _ => Err(wrong()),
    }
}
