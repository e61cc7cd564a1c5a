//! Finds one record in a data file, and reads it with the block of rows around it and nothing else.
//!
//! ```text
//! footer, index of pages     where every page of every column lies
//! `offset` of every row      which rows may be it; then topic and partition of those
//! `kind` of the block        which sub-records the block has, so that no other column is read
//! columns of the block       its records, encoded again
//! roots of the blocks        the rest of the tree
//! ```
//! What is read proves itself: the roots of the blocks have the root that stands in the commit, and the leaves of the block that of the block.

use crate::files::Files;
use crate::lake::DataFile;
use crate::layout::{self, schema_of};
use crate::merkle::blocks::{BLOCK_ROWS, path_in_block};
use crate::merkle::proof::Placed;
use crate::merkle::records::record_leaf;
use crate::merkle::tree::root;
use crate::offsets::Source;
use crate::rows::{Encoder, PLACE};
use crate::verify::{Offset, PlaceColumns};
use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::Int64Type;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};
use object_store::ObjectStore;
use object_store::path::Path as ObjectPath;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, RowSelection};
use parquet::arrow::async_reader::{AsyncFileReader, ParquetRecordBatchStreamBuilder};
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use wk_schemas::Digest;

/// How many rows of one column are read at once.
const BATCH_ROWS: usize = 32 * 1024;

/// How much of a file's end is read at first: it holds the footer of most.
const FOOTER_BYTES: usize = 128 * 1024;

/// What a file has to say of a place of the log.
pub(crate) enum Answer {
    /// The file has no record of that place.
    Absent,
    /// It does not keep the roots of its blocks: an older version wrote it. It can be read as a whole.
    Whole,
    /// The record.
    Found(Box<Found>),
}

/// A record and what proves it within its file.
pub(crate) struct Found {
    pub(crate) record: Placed,
    /// Its place among the file's rows.
    pub(crate) row: u64,
    /// The hashes from its leaf to the file's root.
    pub(crate) path: Vec<Digest>,
}

/// Looks for the record of a place.
///
/// # Errors
/// What is wrong with the file, in words.
pub(crate) async fn find(files: &Files, file: &DataFile, wanted: Offset) -> Result<Answer, String> {
    let mut object = Object { store: files.store(), path: ObjectPath::from(file.path.as_str()), size: file.size };
    let options = ArrowReaderOptions::new();
    let metadata = ArrowReaderMetadata::load_async(&mut object, options).await.map_err(|e| e.to_string())?;
    let rows = u64::try_from(metadata.metadata().file_metadata().num_rows()).unwrap_or_default();
    if rows != file.rows {
        return Err(format!("it has {rows} records, the commit says {}", file.rows));
    }
    let Some(roots) = roots(&object, &metadata, file).await? else { return Ok(Answer::Whole) };
    let reader = Reader { object, metadata };
    let Some(row) = reader.row_of(wanted).await? else { return Ok(Answer::Absent) };
    let (block, record) = reader.block(row).await?;
    let at = |n: u64| usize::try_from(n).expect("a block is in memory");
    if roots.get(at(row / BLOCK_ROWS)) != Some(&root(&block)) {
        let first = row / BLOCK_ROWS * BLOCK_ROWS;
        return Err(format!("its records from row {first} are not those that were committed"));
    }
    let path = path_in_block(row, &block, &roots);
    Ok(Answer::Found(Box::new(Found { record, row, path })))
}

/// The root over each block, held against the commit; `None` when the file does not keep them.
async fn roots(
    object: &Object,
    metadata: &ArrowReaderMetadata,
    file: &DataFile,
) -> Result<Option<Vec<Digest>>, String> {
    if file.rows <= BLOCK_ROWS {
        return Ok(Some(vec![file.merkle_root]));
    }
    let Some(range) = layout::blocks_of(metadata.metadata().file_metadata(), file.size)? else { return Ok(None) };
    let bytes = object.ranges(&[range]).await.map_err(|e| e.to_string())?;
    let roots = layout::read_blocks(&bytes.concat());
    if root(&roots) == file.merkle_root { Ok(Some(roots)) } else { Err(layout::FALSE_BLOCKS.to_owned()) }
}

struct Reader {
    object: Object,
    metadata: ArrowReaderMetadata,
}

impl Reader {
    /// The columns of those names, of the rows in a range.
    async fn read<'n>(
        &self,
        names: impl Iterator<Item = &'n str>,
        rows: &[Range<usize>],
        mut take: impl FnMut(RecordBatch) -> Result<(), String>,
    ) -> Result<(), String> {
        let total = usize::try_from(self.metadata.metadata().file_metadata().num_rows()).unwrap_or_default();
        let selection = RowSelection::from_consecutive_ranges(rows.iter().cloned(), total);
        let mask = ProjectionMask::columns(self.metadata.parquet_schema(), names);
        let mut stream = ParquetRecordBatchStreamBuilder::new_with_metadata(self.object.clone(), self.metadata.clone())
            .with_projection(mask)
            .with_row_selection(selection)
            .with_batch_size(BATCH_ROWS)
            .build()
            .map_err(|e| e.to_string())?;
        while let Some(batch) = stream.next().await {
            take(batch.map_err(|e| e.to_string())?)?;
        }
        Ok(())
    }

    /// The row of a place.
    async fn row_of(&self, (source, offset): Offset) -> Result<Option<u64>, String> {
        let total = usize::try_from(self.metadata.metadata().file_metadata().num_rows()).unwrap_or_default();
        let (mut at, mut candidates) = (0, Vec::new());
        let all = 0..total;
        self.read(["offset"].into_iter(), std::slice::from_ref(&all), |batch| {
            let offsets =
                batch.column(0).as_primitive_opt::<Int64Type>().ok_or("column `offset` is of another type")?;
            let here = offsets.values().iter().enumerate().filter(|(_, found)| **found == offset);
            candidates.extend(here.map(|(row, _)| at + row..at + row + 1));
            at += batch.num_rows();
            Ok(())
        })
        .await?;
        let (mut rows, mut found) = (candidates.iter(), None);
        self.read(PLACE.into_iter(), &candidates, |batch| {
            let places = PlaceColumns::of(&batch)?;
            for (row, candidate) in (0..batch.num_rows()).zip(&mut rows) {
                if places.at(row)?.0 == source {
                    found = Some(candidate.start as u64);
                }
            }
            Ok(())
        })
        .await?;
        Ok(found)
    }

    /// The leaves of the block that a row is in, and the record of the row.
    async fn block(&self, row: u64) -> Result<(Vec<Digest>, Placed), String> {
        let file = self.metadata.metadata().file_metadata();
        let total = u64::try_from(file.num_rows()).unwrap_or_default();
        let first = row / BLOCK_ROWS * BLOCK_ROWS;
        let at = |n: u64| usize::try_from(n).map_err(|e| e.to_string());
        let rows = at(first)?..at(total.min(first + BLOCK_ROWS))?;
        let rows = std::slice::from_ref(&rows);
        let schema = schema_of(file)?;
        let mut kinds = BTreeSet::new();
        self.read(["kind"].into_iter(), rows, |batch| {
            let kind = batch.column(0).as_string_opt::<i32>().ok_or("column `kind` is of another type")?;
            kinds.extend(kind.iter().flatten().map(str::to_owned));
            Ok(())
        })
        .await?;
        let fields = schema.fields().iter().map(|(name, ..)| name.as_str());
        let wanted = fields.filter(|name| !schema.is_body(name) || kinds.contains(*name)).chain(PLACE);
        let (mut leaves, mut record) = (Vec::new(), None);
        self.read(wanted, rows, |batch| {
            let encoder = Encoder::new(&schema, &batch).map_err(|e| e.to_string())?;
            let places = PlaceColumns::of(&batch)?;
            for index in 0..batch.num_rows() {
                let mut datum = Vec::new();
                encoder.write(index, &mut datum);
                let (Source { topic, partition }, offset, recorded_at) = places.at(index)?;
                if first + leaves.len() as u64 == row {
                    let datum = Bytes::copy_from_slice(&datum);
                    record = Some(Placed { topic, partition, offset, recorded_at, datum });
                }
                leaves.push(record_leaf(topic, partition, offset, recorded_at, &datum));
            }
            Ok(())
        })
        .await?;
        Ok((leaves, record.ok_or("it ends before it should")?))
    }
}

/// A data file in its store, of which ranges are read.
#[derive(Debug, Clone)]
struct Object {
    store: Arc<dyn ObjectStore>,
    path: ObjectPath,
    size: u64,
}

impl Object {
    async fn ranges(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, ParquetError> {
        self.store.get_ranges(&self.path, ranges).await.map_err(|e| ParquetError::External(e.into()))
    }
}

impl AsyncFileReader for Object {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        async move { Ok(self.ranges(&[range]).await?.pop().unwrap_or_default()) }.boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        async move { self.ranges(&ranges).await }.boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        async move {
            let reader = ParquetMetaDataReader::new()
                .with_prefetch_hint(Some(FOOTER_BYTES))
                .with_column_index_policy(PageIndexPolicy::Skip)
                .with_offset_index_policy(PageIndexPolicy::Optional);
            let size = self.size;
            Ok(Arc::new(reader.load_and_finish(self, size).await?))
        }
        .boxed()
    }
}
