//! Reading the lake back as the datums that were on the log, for whoever runs the live code over them again.

use crate::files::{Files, FilesError};
use crate::lake::DataFile;
use crate::layout::schema_of;
use crate::rows::{Encoder, RowsError};
use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};
use object_store::path::Path as ObjectPath;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use wk_schemas::{Schema, Topic};

/// How many rows are read at once.
const BATCH_ROWS: usize = 8192;

/// A file of the lake that cannot be read back.
#[derive(Debug, thiserror::Error)]
pub enum ReadBackError {
    /// It cannot be had.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The log of the table names it and it is not there.
    #[error("`{path}` is part of the lake and is not there; `wk verify` says what else is")]
    Missing {
        /// The file.
        path: String,
    },
    /// It is no Parquet file, or a damaged one.
    #[error("`{path}` cannot be read; `wk verify` says whether it was changed")]
    Parquet {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Its columns are not those of records.
    #[error("`{path}` does not hold records")]
    Rows {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: RowsError,
    },
}

/// Where a record was in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The topic.
    pub topic: Topic,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

/// Hands every record of a file to `take`, in the order of its rows: its place, and its datum, encoded again from the columns.
///
/// The datum is as this program's own schema says it. What a record of another version has beside that is left out, and records of kinds
/// that this program does not know are passed by.
///
/// # Errors
/// [`ReadBackError`] names the file. What was handed over by then is right.
pub async fn each(files: &Files, file: &DataFile, mut take: impl FnMut(Place, &[u8])) -> Result<(), ReadBackError> {
    let path = || file.path.clone();
    let bytes = files.get(&ObjectPath::from(file.path.as_str())).await?;
    let bytes = bytes.ok_or_else(|| ReadBackError::Missing { path: path() })?;
    let unreadable = |source| ReadBackError::Parquet { path: path(), source };
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(|source| unreadable(source.into()))?;
    let schema = schema_of(builder.metadata().file_metadata()).map_err(|reason| unreadable(reason.into()))?;
    let is_ours = schema == Schema::ours();
    let reader = builder.with_batch_size(BATCH_ROWS).build().map_err(|source| unreadable(source.into()))?;
    let mut datum = Vec::new();
    for batch in reader {
        let batch = batch.map_err(|source| ReadBackError::Parquet { path: path(), source: source.into() })?;
        let encoder = Encoder::new(&schema, &batch).map_err(|source| ReadBackError::Rows { path: path(), source })?;
        let places = places(&batch).map_err(|source| ReadBackError::Rows { path: path(), source })?;
        for (row, place) in places.into_iter().enumerate() {
            datum.clear();
            encoder.write(row, &mut datum);
            if is_ours {
                take(place, &datum);
            } else if let Some(known) = schema.to_ours(&datum).map_err(|source| unreadable(source.into()))? {
                take(place, &known);
            }
        }
    }
    Ok(())
}

fn places(batch: &RecordBatch) -> Result<Vec<Place>, RowsError> {
    let absent = |name: &str, found: &str| RowsError::Column { name: name.to_owned(), found: found.to_owned() };
    let column = |name| batch.column_by_name(name).ok_or_else(|| absent(name, "nothing"));
    let topics = column("topic")?.as_string_opt::<i32>().ok_or_else(|| absent("topic", "no text"))?;
    let partitions =
        column("partition")?.as_primitive_opt::<Int32Type>().ok_or_else(|| absent("partition", "no whole number"))?;
    let offsets =
        column("offset")?.as_primitive_opt::<Int64Type>().ok_or_else(|| absent("offset", "no whole number"))?;
    let place = |row| {
        let topic = Topic::from_name(topics.value(row)).ok_or_else(|| absent("topic", topics.value(row)))?;
        Ok(Place { topic, partition: partitions.value(row), offset: offsets.value(row) })
    };
    (0..batch.num_rows()).map(place).collect()
}
