//! Rows back to the bytes they came from.
//!
//! The digest chain and the Merkle leaves are over a record's datum, and the table keeps columns. Because the encoding is
//! canonical the datum follows from the columns: this module walks the record's shape over the arrays and writes what
//! `wk_schemas::codec::encode` would write. A test holds the two together for every kind.

use super::RowsError;
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Float64Array, Int32Array, ListArray, RecordBatch, StringArray,
    StructArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use wk_schemas::Schema;
use wk_schemas::avro::{Shape, write_blob, write_long};

/// Writes the datums of a batch's rows.
#[derive(Debug)]
pub struct Encoder<'a> {
    columns: Vec<Column<'a>>,
    rows: usize,
}

impl<'a> Encoder<'a> {
    /// Looks up the columns of the schema that the records were written with in `batch` by name; other columns may be there as well. A nullable
    /// column that is not there is null in every row: the file has no record of that kind.
    ///
    /// # Errors
    /// [`RowsError::Column`] when one is missing or has another type, [`RowsError::Symbol`] when an enum column holds
    /// text that is no symbol.
    pub fn new(schema: &Schema, batch: &'a RecordBatch) -> Result<Self, RowsError> {
        let columns = schema
            .fields()
            .iter()
            .map(|(name, _, shape)| match (batch.column_by_name(name), shape) {
                (Some(array), _) => Column::new(name, shape, array),
                (None, Shape::Optional(_)) => Ok(Column::Nothing(1)),
                (None, _) => Err(RowsError::Column { name: name.clone(), found: "nothing".into() }),
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { columns: joined(columns), rows: batch.num_rows() })
    }

    /// Appends the datum of one row to `out`.
    ///
    /// # Panics
    /// When the batch has no such row.
    pub fn write(&self, row: usize, out: &mut Vec<u8>) {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        for column in &self.columns {
            column.write(row, out);
        }
    }
}

/// One field of the record over the array that holds it.
#[derive(Debug)]
enum Column<'a> {
    Text(&'a StringArray),
    Blob(&'a BinaryArray),
    Long(&'a [i64]),
    Int(&'a Int32Array),
    Double(&'a Float64Array),
    Boolean(&'a BooleanArray),
    /// The index of each row's symbol.
    Symbols(Vec<u8>),
    /// Keys into a dictionary, and the symbol index of each entry of the dictionary.
    Dictionary(&'a Int32Array, Vec<u8>),
    Optional(Option<&'a NullBuffer>, Box<Column<'a>>),
    Array(&'a ListArray, Box<Column<'a>>),
    Record(Vec<Column<'a>>),
    /// So many columns one after another of which every row is null.
    Nothing(usize),
}

impl<'a> Column<'a> {
    fn new(name: &str, shape: &Shape, array: &'a ArrayRef) -> Result<Self, RowsError> {
        let wrong = || RowsError::Column { name: name.to_owned(), found: array.data_type().to_string() };
        Ok(match (shape, array.data_type()) {
            (Shape::Optional(_), _) if array.null_count() == array.len() => Self::Nothing(1),
            (Shape::Optional(inner), _) => Self::Optional(array.nulls(), Box::new(Self::new(name, inner, array)?)),
            (Shape::Primitive("string", _), DataType::Utf8) => Self::Text(array.as_string()),
            (Shape::Primitive("bytes", _), DataType::Binary) => Self::Blob(array.as_binary()),
            (Shape::Primitive("long", Some("timestamp-micros")), DataType::Timestamp(TimeUnit::Microsecond, _)) => {
                Self::Long(array.as_primitive::<TimestampMicrosecondType>().values())
            }
            (Shape::Primitive("long", None), DataType::Int64) => Self::Long(array.as_primitive::<Int64Type>().values()),
            (Shape::Primitive("int", _), DataType::Int32) => Self::Int(array.as_primitive::<Int32Type>()),
            (Shape::Primitive("double", _), DataType::Float64) => Self::Double(array.as_primitive::<Float64Type>()),
            (Shape::Primitive("boolean", _), DataType::Boolean) => Self::Boolean(array.as_boolean()),
            (Shape::Enum(_, symbols), DataType::Utf8) => {
                Self::Symbols(symbol_indexes(name, symbols, array.as_string())?)
            }
            (Shape::Enum(_, symbols), DataType::Dictionary(..)) => {
                let dictionary = array.as_dictionary_opt::<Int32Type>().ok_or_else(wrong)?;
                let entries = dictionary.values().as_string_opt::<i32>().ok_or_else(wrong)?;
                Self::Dictionary(dictionary.keys(), symbol_indexes(name, symbols, entries)?)
            }
            (Shape::Array(item), DataType::List(_)) => {
                let list: &ListArray = array.as_list();
                Self::Array(list, Box::new(Self::new(name, item, list.values())?))
            }
            (Shape::Record(_, _, fields), DataType::Struct(_)) => {
                let record: &StructArray = array.as_struct();
                let members = fields.iter().map(|(member, _, shape)| {
                    let path = format!("{name}.{member}");
                    let array = record
                        .column_by_name(member)
                        .ok_or_else(|| RowsError::Column { name: path.clone(), found: "nothing".into() })?;
                    Self::new(&path, shape, array)
                });
                Self::Record(joined(members.collect::<Result<_, _>>()?))
            }
            _ => return Err(wrong()),
        })
    }

    fn write(&self, row: usize, out: &mut Vec<u8>) {
        match self {
            Self::Text(array) => write_blob(array.value(row).as_bytes(), out),
            Self::Blob(array) => write_blob(array.value(row), out),
            Self::Long(values) => write_long(values[row], out),
            Self::Int(array) => write_long(i64::from(array.value(row)), out),
            Self::Double(array) => out.extend_from_slice(&array.value(row).to_le_bytes()),
            Self::Boolean(array) => out.push(u8::from(array.value(row))),
            Self::Symbols(indexes) => write_long(i64::from(indexes[row]), out),
            Self::Dictionary(keys, indexes) => {
                let entry = usize::try_from(keys.value(row)).expect("a dictionary's key is an index");
                write_long(i64::from(indexes[entry]), out);
            }
            Self::Optional(nulls, inner) => {
                if nulls.is_some_and(|n| n.is_null(row)) {
                    out.push(0);
                } else {
                    out.push(2);
                    inner.write(row, out);
                }
            }
            Self::Array(list, item) => {
                let (from, to) = (list.value_offsets()[row], list.value_offsets()[row + 1]);
                if from < to {
                    write_long(i64::from(to - from), out);
                    for index in from..to {
                        item.write(usize::try_from(index).expect("a list's offsets are indexes"), out);
                    }
                }
                out.push(0);
            }
            Self::Record(members) => {
                for member in members {
                    member.write(row, out);
                }
            }
            Self::Nothing(columns) => out.resize(out.len() + columns, 0),
        }
    }
}

/// Columns that are null throughout are most of them, in runs: a run is written at once.
fn joined(columns: Vec<Column<'_>>) -> Vec<Column<'_>> {
    let mut joined: Vec<Column<'_>> = Vec::with_capacity(columns.len());
    for column in columns {
        match (joined.last_mut(), &column) {
            (Some(Column::Nothing(run)), Column::Nothing(more)) => *run += more,
            _ => joined.push(column),
        }
    }
    joined
}

fn symbol_indexes(name: &str, symbols: &[String], values: &StringArray) -> Result<Vec<u8>, RowsError> {
    let mut last = ("", 0);
    (0..values.len())
        .map(|row| {
            // Behind a null stands an empty text that nobody reads.
            if values.is_null(row) || values.value(row).is_empty() {
                return Ok(0);
            }
            let text = values.value(row);
            if text != last.0 {
                let index = symbols
                    .iter()
                    .position(|s| s == text)
                    .and_then(|index| u8::try_from(index).ok())
                    .ok_or_else(|| RowsError::Symbol { column: name.to_owned(), found: text.to_owned() })?;
                last = (text, index);
            }
            Ok(last.1)
        })
        .collect()
}
