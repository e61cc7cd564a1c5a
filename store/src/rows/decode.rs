//! Proven datums to columns, in bulk.
//!
//! Every field of the record is a column that grows while datums are read one after another. A sub-record that a datum does not have costs
//! nothing but the byte that says so: its columns stay dense, with the rows they belong to beside them, and are spread over all rows once, at
//! the end. (A bulk decoder that writes a null into each of some 200 columns for each record takes longer for that than for the record.)
//!
//! Datums come as [`Row`]s, which are proven; what does not parse here all the same, or leaves bytes over, refuses the whole batch.

use super::schema::{columns_of, memory_type};
use super::{KindName, Row, RowsError};
use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, DictionaryArray, Float64Array, Int8Array, Int32Array, Int64Array, ListArray,
    RecordBatch, StringArray, StructArray, TimestampMicrosecondArray, new_null_array,
};
use arrow::buffer::{BooleanBuffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use std::collections::BTreeSet;
use std::sync::Arc;
use wk_schemas::avro::{Avro as _, Input, Shape};
use wk_schemas::{CodecError, Schema as AuditSchema, Topic};

/// Turns rows of one schema into batches of the same columns, piece after piece of one file.
///
/// The sub-records of kinds that no row is of have no columns. A reader of the table takes a column that a file does not have for null, and
/// a file of few records would be mostly a description of nothing.
#[derive(Debug)]
pub struct Decoder {
    /// What the datums are written with.
    of: Arc<AuditSchema>,
    /// For each field of the record whether it becomes a column.
    kept: Vec<bool>,
    schema: SchemaRef,
}

impl Decoder {
    /// For rows of a schema, of these kinds.
    #[must_use]
    pub fn new(of: &Arc<AuditSchema>, kinds: impl IntoIterator<Item = KindName>) -> Self {
        let kinds: BTreeSet<KindName> = kinds.into_iter().collect();
        let has = |name: &str| kinds.iter().any(|kind| kind.as_str() == name);
        let kept: Vec<bool> = of.fields().iter().map(|(name, ..)| !of.is_body(name) || has(name)).collect();
        let own = of
            .fields()
            .iter()
            .zip(&kept)
            .filter(|(_, kept)| **kept)
            .map(|((name, _, shape), _)| Field::new(name, memory_type(shape), matches!(shape, Shape::Optional(_))));
        let table = columns_of(of);
        let place = table.fields().iter().skip(of.fields().len()).map(|field| {
            let data_type = if field.name() == "topic" { topic_type() } else { field.data_type().clone() };
            Field::new(field.name(), data_type, false)
        });
        let schema = Arc::new(Schema::new(own.chain(place).collect::<Vec<_>>()));
        Self { of: Arc::clone(of), schema, kept }
    }

    /// The columns of every batch.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// Turns rows into one batch, in the order given.
    ///
    /// Enum columns and `topic` are dictionaries in memory; in the file they are plain strings.
    ///
    /// # Errors
    /// [`RowsError::Decode`] when a datum is not what the strict walk has proven, a row is of another kind than was said, or the texts of one
    /// column are more than 2 GiB.
    pub fn decode(&self, rows: &[Row]) -> Result<RecordBatch, RowsError> {
        let mut columns: Vec<Column> = self.of.fields().iter().map(|(_, _, shape)| Column::new(shape)).collect();
        for (index, row) in rows.iter().enumerate() {
            debug_assert!(row.schema == self.of, "rows of one file are of one schema");
            let mut input = Input::new(&row.datum);
            let failed = |reason: String| RowsError::Decode {
                reason: format!("record at {} {} {}: {reason}", row.topic, row.partition, row.offset),
            };
            for column in &mut columns {
                column.take(&mut input, index).map_err(|e| failed(e.to_string()))?;
            }
            if input.remaining() > 0 {
                return Err(failed(format!("{} bytes are left over", input.remaining())));
            }
        }
        let mut arrays = Vec::with_capacity(self.schema.fields().len());
        for ((column, (name, _, shape)), kept) in columns.into_iter().zip(self.of.fields()).zip(&self.kept) {
            if *kept {
                arrays.push(column.finish(shape, Rows::All(rows.len()))?);
            } else if !column.is_nothing() {
                return Err(RowsError::Column { name: name.clone(), found: "a record of that kind".into() });
            }
        }
        arrays.extend(place(rows));
        Ok(RecordBatch::try_new(self.schema(), arrays)?)
    }
}

/// Turns rows of one schema into one batch with all the columns of that schema; see [`Decoder::decode`].
///
/// # Errors
/// As [`Decoder::decode`].
pub fn decode(rows: &[Row]) -> Result<RecordBatch, RowsError> {
    let of = rows.first().map_or_else(AuditSchema::ours, |row| Arc::clone(&row.schema));
    let kinds: Vec<KindName> = of.kinds().iter().map(|kind| KindName::new(kind)).collect();
    Decoder::new(&of, kinds).decode(rows)
}

fn topic_type() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8))
}

/// The four columns that say where the rows were in the log.
fn place(rows: &[Row]) -> [ArrayRef; 4] {
    let topics = Int8Array::from_iter_values(rows.iter().map(|r| topic_index(r.topic)));
    let names = StringArray::from_iter_values(Topic::ALL.iter().map(|t| t.name()));
    [
        Arc::new(DictionaryArray::new(topics, Arc::new(names))),
        Arc::new(Int32Array::from_iter_values(rows.iter().map(|r| r.partition))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.offset))),
        Arc::new(
            TimestampMicrosecondArray::from_iter_values(rows.iter().map(|r| r.recorded_at.0)).with_timezone("UTC"),
        ),
    ]
}

fn topic_index(topic: Topic) -> i8 {
    let index = Topic::ALL.iter().position(|t| *t == topic).expect("every topic is in ALL");
    i8::try_from(index).expect("there are fewer than 128 topics")
}

impl From<ArrowError> for RowsError {
    fn from(error: ArrowError) -> Self {
        Self::Decode { reason: error.to_string() }
    }
}

/// A field of the record while it grows. It holds a value for each row of its parent that has one.
enum Column {
    Text(Runs),
    Blob(Runs),
    Long(Vec<i64>),
    Micros(Vec<i64>),
    Int(Vec<i32>),
    Double(Vec<f64>),
    Boolean(Vec<bool>),
    /// Name of the enum, how many symbols it has, and the index of each row's symbol.
    Symbol(String, usize, Vec<i32>),
    /// Which of the parent's rows have a value, ascending.
    Optional(Vec<usize>, Box<Column>),
    /// How many items there are up to the end of each row.
    Array(Vec<usize>, Box<Column>),
    Record(Vec<Column>),
}

/// Texts or bytes one behind another, and where each ends.
#[derive(Default)]
struct Runs {
    ends: Vec<usize>,
    bytes: Vec<u8>,
}

impl Runs {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.ends.push(self.bytes.len());
    }
}

impl Column {
    fn new(shape: &Shape) -> Self {
        match shape {
            Shape::Primitive("string", _) => Self::Text(Runs::default()),
            Shape::Primitive("bytes", _) => Self::Blob(Runs::default()),
            Shape::Primitive("long", Some("timestamp-micros")) => Self::Micros(Vec::new()),
            Shape::Primitive("long", _) => Self::Long(Vec::new()),
            Shape::Primitive("int", _) => Self::Int(Vec::new()),
            Shape::Primitive("double", _) => Self::Double(Vec::new()),
            Shape::Primitive("boolean", _) => Self::Boolean(Vec::new()),
            Shape::Primitive(other, _) => unreachable!("the schema has no `{other}`"),
            Shape::Enum(name, symbols) => Self::Symbol(name.clone(), symbols.len(), Vec::new()),
            Shape::Optional(inner) => Self::Optional(Vec::new(), Box::new(Self::new(inner))),
            Shape::Array(item) => Self::Array(Vec::new(), Box::new(Self::new(item))),
            Shape::Record(_, _, fields) => Self::Record(fields.iter().map(|(_, _, shape)| Self::new(shape)).collect()),
        }
    }

    /// Reads the value of row `index`, counted among the rows of the parent that have this field.
    fn take(&mut self, input: &mut Input<'_>, index: usize) -> Result<(), CodecError> {
        match self {
            // That texts are UTF-8 is checked once for all of them, when the column is finished.
            Self::Text(runs) | Self::Blob(runs) => runs.push(input.blob()?),
            Self::Long(values) | Self::Micros(values) => values.push(input.long()?),
            Self::Int(values) => values.push(i32::read(input)?),
            Self::Double(values) => values.push(f64::read(input)?),
            Self::Boolean(values) => values.push(bool::read(input)?),
            Self::Symbol(name, symbols, indexes) => {
                let symbol = input.symbol(name, *symbols)?;
                indexes.push(i32::try_from(symbol).expect("an enum has few symbols"));
            }
            Self::Optional(present, inner) => {
                if input.is_some()? {
                    inner.take(input, present.len())?;
                    present.push(index);
                }
            }
            Self::Array(ends, item) => {
                let mut items = ends.last().copied().unwrap_or(0);
                // One block, then the end: the walk has proven that it is so.
                let mut more = input.long()?;
                while more != 0 {
                    for _ in 0..more {
                        item.take(input, items)?;
                        items += 1;
                    }
                    more = input.long()?;
                }
                ends.push(items);
            }
            Self::Record(members) => {
                for member in members {
                    member.take(input, index)?;
                }
            }
        }
        Ok(())
    }

    /// Whether no row has a value.
    fn is_nothing(&self) -> bool {
        matches!(self, Self::Optional(present, _) if present.is_empty())
    }

    /// Makes an array out of it, spread over all rows.
    fn finish(self, shape: &Shape, rows: Rows<'_>) -> Result<ArrayRef, RowsError> {
        self.array(shape, rows, None)
    }

    fn array(self, shape: &Shape, rows: Rows<'_>, nulls: Option<NullBuffer>) -> Result<ArrayRef, RowsError> {
        Ok(match (self, shape) {
            (Self::Text(runs), _) => {
                let offsets = rows.offsets(&runs.ends)?;
                Arc::new(StringArray::try_new(offsets, runs.bytes.into(), nulls)?)
            }
            (Self::Blob(runs), _) => {
                let offsets = rows.offsets(&runs.ends)?;
                Arc::new(BinaryArray::try_new(offsets, runs.bytes.into(), nulls)?)
            }
            (Self::Long(values), _) => Arc::new(Int64Array::try_new(rows.spread(values).into(), nulls)?),
            (Self::Micros(values), _) => {
                let array = TimestampMicrosecondArray::try_new(rows.spread(values).into(), nulls)?;
                Arc::new(array.with_timezone("UTC"))
            }
            (Self::Int(values), _) => Arc::new(Int32Array::try_new(rows.spread(values).into(), nulls)?),
            (Self::Double(values), _) => Arc::new(Float64Array::try_new(rows.spread(values).into(), nulls)?),
            (Self::Boolean(values), _) => Arc::new(BooleanArray::new(BooleanBuffer::from(rows.spread(values)), nulls)),
            (Self::Symbol(_, _, indexes), Shape::Enum(_, symbols)) => {
                let keys = Int32Array::try_new(rows.spread(indexes).into(), nulls)?;
                let names = StringArray::from_iter_values(symbols.iter());
                Arc::new(DictionaryArray::try_new(keys, Arc::new(names))?)
            }
            (Self::Optional(present, inner), Shape::Optional(shape)) => {
                if present.is_empty() {
                    return Ok(new_null_array(&memory_type(shape), rows.len()));
                }
                let places = rows.places(present);
                inner.array(shape, Rows::Some(&places, rows.len()), Some(Rows::Some(&places, rows.len()).nulls()))?
            }
            (Self::Array(ends, item), Shape::Array(shape)) => {
                let items = ends.last().copied().unwrap_or(0);
                let field = Field::new("element", memory_type(shape), matches!(**shape, Shape::Optional(_)));
                let values = item.finish(shape, Rows::All(items))?;
                Arc::new(ListArray::try_new(Arc::new(field), rows.offsets(&ends)?, values, nulls)?)
            }
            (Self::Record(members), Shape::Record(_, _, fields)) => {
                let DataType::Struct(types) = memory_type(shape) else { unreachable!("a record is a struct") };
                let members = members.into_iter().zip(fields).map(|(member, (_, _, shape))| member.finish(shape, rows));
                Arc::new(StructArray::try_new_with_length(
                    types,
                    members.collect::<Result<_, _>>()?,
                    nulls,
                    rows.len(),
                )?)
            }
            _ => unreachable!("a column is made from its shape"),
        })
    }
}

/// Which rows of the batch the values of a dense column belong to.
#[derive(Clone, Copy)]
enum Rows<'a> {
    /// To all of so many, one each.
    All(usize),
    /// To these, ascending, of so many.
    Some(&'a [usize], usize),
}

impl Rows<'_> {
    const fn len(&self) -> usize {
        match self {
            Self::All(len) | Self::Some(_, len) => *len,
        }
    }

    /// The rows of the batch behind indexes among the values of this column.
    fn places(&self, mut indexes: Vec<usize>) -> Vec<usize> {
        if let Self::Some(places, _) = self {
            for index in &mut indexes {
                *index = places[*index];
            }
        }
        indexes
    }

    fn nulls(&self) -> NullBuffer {
        match self {
            Self::All(len) => NullBuffer::new_valid(*len),
            Self::Some(places, len) => {
                let mut valid = vec![false; *len];
                for place in *places {
                    valid[*place] = true;
                }
                NullBuffer::from(valid)
            }
        }
    }

    /// Values at their rows; what stands at the others is not looked at.
    fn spread<T: Copy + Default>(&self, values: Vec<T>) -> Vec<T> {
        match self {
            Self::All(len) => {
                assert_eq!(values.len(), *len, "a column has a value for each row");
                values
            }
            Self::Some(places, len) => {
                assert_eq!(values.len(), places.len(), "a column has a value for each row that is not null");
                let mut all = vec![T::default(); *len];
                for (place, value) in places.iter().zip(values) {
                    all[*place] = value;
                }
                all
            }
        }
    }

    /// Where the value of each row begins and ends; rows without one are empty.
    fn offsets(&self, ends: &[usize]) -> Result<OffsetBuffer<i32>, RowsError> {
        let last = ends.last().copied().unwrap_or(0);
        let end = |end: usize| {
            i32::try_from(end)
                .map_err(|_| RowsError::Decode { reason: format!("a column of {last} bytes is too long") })
        };
        // The last is the largest: where it fits, all do.
        end(last)?;
        let mut offsets = Vec::with_capacity(self.len() + 1);
        offsets.push(0);
        match self {
            Self::All(_) => {
                for e in ends {
                    offsets.push(end(*e)?);
                }
            }
            Self::Some(places, len) => {
                let mut open = 0;
                for (place, e) in places.iter().zip(ends) {
                    offsets.resize(place + 1, open);
                    open = end(*e)?;
                    offsets.push(open);
                }
                offsets.resize(len + 1, open);
            }
        }
        assert_eq!(offsets.len(), self.len() + 1, "a column has a value for each row that is not null");
        Ok(OffsetBuffer::new(ScalarBuffer::from(offsets)))
    }
}
