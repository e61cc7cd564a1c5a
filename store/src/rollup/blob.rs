//! A part of a roll-up as bytes: a Parquet file of its own, or nothing at all for no rows.

use super::place::Part;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};

/// How many rows are read at once.
const BATCH_ROWS: usize = 8192;

pub(super) fn write(batch: &RecordBatch) -> Result<Vec<u8>, ParquetError> {
    if batch.num_rows() == 0 {
        return Ok(Vec::new());
    }
    let properties = WriterProperties::builder()
        .set_created_by(concat!("watchkeeper ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).expect("zstd has a level 1")))
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(true)
        .build();
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(Vec::new(), batch.schema(), options)?;
    writer.write(batch)?;
    writer.into_inner()
}

/// Reads the rows of a part, or only some of its columns: `columns` are their places in [`Part::schema`], in ascending order.
///
/// # Errors
/// When the bytes are no such part.
pub fn read(part: Part, bytes: &Bytes, columns: Option<&[usize]>) -> Result<Vec<RecordBatch>, ParquetError> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let schema: SchemaRef = part.schema();
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true).with_schema(schema);
    let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(bytes.clone(), options)?;
    let mask = match columns {
        Some(columns) => ProjectionMask::roots(builder.parquet_schema(), columns.iter().copied()),
        None => ProjectionMask::all(),
    };
    let rows = builder.with_projection(mask).with_batch_size(BATCH_ROWS).build()?;
    rows.map(|batch| batch.map_err(ParquetError::from)).collect()
}
