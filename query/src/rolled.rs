//! The tables behind `sessions`, `daily_sessions` and `daily_first_seen`: what compacted files keep of their records in sum.
//!
//! ```text
//! rollups.sessions  hosts  paths  images        the roll-ups of the files that keep one, a row as it stands there, and the file's day
//! rollups.beside_sessions  beside_hosts  …      the records of every other file, as `records` has them
//! ```
//! The two of a part are all of the table together, each file once: which of them a file is in follows from the one version of the table that the
//! question reads. So a view over both is complete, whatever was compacted and by which version of the program.

use crate::prune::prune;
use crate::records::{Pinned, Records, physical};
use crate::schema::day;
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::memory::MemorySchemaProvider;
use datafusion::catalog::{SchemaProvider, Session, TableProvider};
use datafusion::common::{DataFusionError, Result};
use datafusion::datasource::TableType;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use object_store::ObjectStore;
use object_store::ObjectStoreExt as _;
use object_store::path::Path;
use std::ops::Range;
use std::sync::Arc;
use wk_store::DataFile;
use wk_store::rollup::{self, Part};

/// The schema that the tables live in.
pub(crate) const SCHEMA: &str = "rollups";

/// How many files each thread reads ahead: a roll-up is small, and a store far away.
const AHEAD: usize = 4;

/// Every table, over a lake whose files have these columns.
pub(crate) fn tables(store: &Arc<dyn ObjectStore>, of_files: &SchemaRef) -> Result<Arc<dyn SchemaProvider>> {
    let schema = MemorySchemaProvider::new();
    for part in Part::ALL {
        let rolled = Rolled { part, columns: columns(part), store: Arc::clone(store) };
        schema.register_table(part.name().to_owned(), Arc::new(rolled))?;
        let beside = Records::new(Arc::clone(store), Arc::clone(of_files)).beside(part);
        schema.register_table(beside_name(part), Arc::new(beside))?;
    }
    Ok(Arc::new(schema))
}

/// The name of the table of those records whose files do not keep a part.
pub(crate) fn beside_name(part: Part) -> String {
    format!("beside_{}", part.name())
}

/// The columns of the table of a part: its own, and the day of the file.
pub(crate) fn columns(part: Part) -> SchemaRef {
    let mut fields: Vec<_> = part.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(day()));
    Arc::new(Schema::new(fields))
}

/// Where a file keeps a part, if it does.
pub(crate) fn place(file: &DataFile, part: Part) -> Option<&Range<u64>> {
    file.rollups.as_ref()?.of(part)
}

/// One part of every file that keeps it.
#[derive(Debug)]
struct Rolled {
    part: Part,
    columns: SchemaRef,
    store: Arc<dyn ObjectStore>,
}

#[async_trait]
impl TableProvider for Rolled {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.columns)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// A filter leaves files out by their day and their sessions. The engine checks each row.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let pinned = Pinned::of(state)?;
        let filter = physical(state, &self.columns, filters)?;
        let files: Vec<_> =
            pinned.snapshot.files.iter().filter(|file| place(file, self.part).is_some()).map(Arc::clone).collect();
        // Of the columns that the table's log says something about, a roll-up has `session_id` and `day`, and both mean the same.
        let files = prune(&files, &self.columns, filter.as_ref())?;
        let pieces: Vec<_> = files
            .iter()
            .filter_map(|file| Some(Piece { file: Arc::clone(file), place: place(file, self.part)?.clone() }))
            .filter(|piece| !piece.place.is_empty())
            .collect();
        let bytes = pieces.iter().map(|piece| piece.place.end - piece.place.start).sum();
        pinned.allows(pieces.len(), bytes)?;
        let all: Vec<usize> = (0..self.columns.fields().len()).collect();
        let asked = projection.unwrap_or(&all);
        let columns = Arc::new(self.columns.project(asked)?);
        if pieces.is_empty() {
            return Ok(Arc::new(EmptyExec::new(columns)));
        }
        let each = pieces.len().div_ceil(state.config().target_partitions());
        let partitions = pieces.chunks(each).map(|pieces| {
            Arc::new(Pieces {
                part: self.part,
                pieces: pieces.to_vec(),
                asked: asked.clone(),
                columns: Arc::clone(&columns),
                store: Arc::clone(&self.store),
            }) as Arc<dyn PartitionStream>
        });
        let partitions = partitions.collect();
        Ok(Arc::new(StreamingTableExec::try_new(columns, partitions, None, [], false, limit)?))
    }
}

/// A part of one file.
#[derive(Debug, Clone)]
struct Piece {
    file: Arc<DataFile>,
    place: Range<u64>,
}

/// What one thread reads.
#[derive(Debug)]
struct Pieces {
    part: Part,
    pieces: Vec<Piece>,
    /// The columns that are wanted, by their place among those of the table.
    asked: Vec<usize>,
    columns: SchemaRef,
    store: Arc<dyn ObjectStore>,
}

impl PartitionStream for Pieces {
    fn schema(&self) -> &SchemaRef {
        &self.columns
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (part, asked) = (self.part, self.asked.clone());
        let (columns, store) = (Arc::clone(&self.columns), Arc::clone(&self.store));
        let read = stream::iter(self.pieces.clone())
            .map(move |piece| {
                let store = Arc::clone(&store);
                async move {
                    let path = Path::parse(&piece.file.path).map_err(|e| DataFusionError::External(Box::new(e)))?;
                    let bytes = store.get_range(&path, piece.place.clone()).await?;
                    Ok::<_, DataFusionError>((piece, bytes))
                }
            })
            .buffered(AHEAD);
        let shown = Arc::clone(&columns);
        let rows = read
            .and_then(move |(piece, bytes)| {
                let batches = decode(part, &bytes, &asked, &columns, &piece.file.day);
                std::future::ready(
                    batches.map(|batches| stream::iter(batches.into_iter().map(Ok::<_, DataFusionError>))),
                )
            })
            .try_flatten();
        Box::pin(RecordBatchStreamAdapter::new(shown, rows))
    }
}

/// The rows of a part with those columns that are wanted, the day among them if it is.
fn decode(
    part: Part,
    bytes: &bytes::Bytes,
    asked: &[usize],
    columns: &SchemaRef,
    day: &str,
) -> Result<Vec<RecordBatch>> {
    let own = part.schema().fields().len();
    let mut kept: Vec<usize> = asked.iter().copied().filter(|column| *column < own).collect();
    kept.sort_unstable();
    let day = crate::prune::day(day)?;
    let batches = rollup::read(part, bytes, Some(&kept))?;
    let shown = batches.into_iter().map(|batch| {
        let column = |column: &usize| -> Result<ArrayRef> {
            match kept.binary_search(column) {
                Ok(place) => Ok(Arc::clone(batch.column(place))),
                Err(_) => day.to_array_of_size(batch.num_rows()),
            }
        };
        let arrays = asked.iter().map(column).collect::<Result<Vec<_>>>()?;
        // A question that only counts asks for no column.
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(columns), arrays, &options)?)
    });
    shown.collect()
}
