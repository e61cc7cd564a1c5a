//! The table `records`: every record of one version of the lake, once.
//!
//! The version is pinned per question (see [`Pinned`]), so that all parts of a question see the same records while ingest
//! goes on committing. Files are left out by what the Delta log says of them before one is opened, row groups by the bloom filters of nested
//! columns once the plan is made ([`crate::needle`]); what is left is pruned by row group statistics, and bloom filters of top-level columns, while
//! it is read.

use crate::error::TooMuch;
use crate::prune::prune;
use crate::rolled::place;
use crate::schema::day;
use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{DFSchema, DataFusionError, Result, ScalarValue, Statistics, internal_err};
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::object_store::ObjectStoreUrl;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use object_store::ObjectStore;
use object_store::path::Path;
use std::sync::Arc;
use wk_store::rollup::Part;
use wk_store::{DataFile, Snapshot};

/// Where the lake's files are registered with the engine; nothing else is.
pub(crate) const STORE: &str = "lake://records/";

/// The version that one question reads, and what it may read of it. Travels as an extension of the engine's configuration.
#[derive(Debug)]
pub(crate) struct Pinned {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) scan_bytes: u64,
}

impl Pinned {
    /// The version that a question reads.
    ///
    /// # Errors
    /// When the question has none, which is a defect of ours.
    pub(crate) fn of(state: &dyn Session) -> Result<Arc<Self>> {
        match state.config().get_extension::<Self>() {
            Some(pinned) => Ok(pinned),
            None => internal_err!("a question was planned without a version of the table"),
        }
    }

    /// Makes sure that the question may read so many bytes, of so many files.
    ///
    /// # Errors
    /// [`TooMuch`].
    pub(crate) fn allows(&self, files: usize, bytes: u64) -> Result<()> {
        if bytes <= self.scan_bytes {
            return Ok(());
        }
        let error = TooMuch { files, bytes, limit: self.scan_bytes };
        Err(DataFusionError::External(Box::new(error)))
    }
}

/// The table.
#[derive(Debug)]
pub(crate) struct Records {
    schema: TableSchema,
    store: Arc<dyn ObjectStore>,
    /// Only the files that do not keep this part of a roll-up.
    beside: Option<Part>,
}

impl Records {
    /// The table with these columns, and its day.
    pub(crate) fn new(store: Arc<dyn ObjectStore>, columns: SchemaRef) -> Self {
        let schema = TableSchema::builder(columns).with_table_partition_cols(vec![Arc::new(day())]).build();
        Self { schema, store, beside: None }
    }

    /// The table without the files that keep this part of a roll-up; see [`crate::rolled`].
    pub(crate) fn beside(self, part: Part) -> Self {
        Self { beside: Some(part), ..self }
    }

    fn columns(&self) -> &SchemaRef {
        self.schema.table_schema()
    }
}

#[async_trait]
impl TableProvider for Records {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.columns())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// Every filter prunes, none is relied upon: the engine still checks each row, in the scan or above it.
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
        let filter = physical(state, self.columns(), filters)?;
        let files = prune(&pinned.snapshot.files, self.columns(), filter.as_ref())?;
        let rolled_up = |file: &DataFile| self.beside.is_some_and(|part| place(file, part).is_some());
        let files: Vec<_> = files.into_iter().filter(|file| !rolled_up(file)).collect();
        let bytes = files.iter().map(|file| file.size).sum();
        pinned.allows(files.len(), bytes)?;

        if files.is_empty() {
            let columns = match projection {
                Some(projection) => Arc::new(self.columns().project(projection)?),
                None => Arc::clone(self.columns()),
            };
            return Ok(Arc::new(EmptyExec::new(columns)));
        }

        let footers = state.runtime_env().cache_manager.get_file_metadata_cache();
        let mut options = state.table_options().parquet.clone();
        options.global = state.config_options().execution.parquet.clone();
        let mut source = ParquetSource::new(self.schema.clone())
            .with_table_parquet_options(options)
            .with_parquet_file_reader_factory(Arc::new(CachedParquetFileReaderFactory::new(
                Arc::clone(&self.store),
                footers,
            )));
        if let Some(filter) = filter {
            source = source.with_predicate(filter);
        }
        let rows: u64 = files.iter().map(|file| file.rows).sum();
        let mut known = Statistics::new_unknown(self.columns());
        known.num_rows = Precision::Exact(usize::try_from(rows).unwrap_or(usize::MAX));
        known.total_byte_size = Precision::Inexact(usize::try_from(bytes).unwrap_or(usize::MAX));
        let files =
            files.iter().map(|file| partitioned(file, self.schema.file_schema())).collect::<Result<Vec<_>>>()?;
        let groups = FileGroup::new(files).split_files(state.config().target_partitions());
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::parse(STORE)?, Arc::new(source))
            .with_file_groups(groups)
            .with_statistics(known)
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}

/// All filters of a scan as one expression over its columns.
pub(crate) fn physical(
    state: &dyn Session,
    columns: &SchemaRef,
    filters: &[Expr],
) -> Result<Option<Arc<dyn PhysicalExpr>>> {
    let filter = conjunction(filters.to_vec()).map(|filter| {
        let schema = DFSchema::try_from(Schema::clone(columns))?;
        state.create_physical_expr(filter, &schema)
    });
    filter.transpose()
}

fn partitioned(file: &DataFile, columns: &SchemaRef) -> Result<PartitionedFile> {
    let mut partitioned = PartitionedFile::new("", file.size);
    partitioned.object_meta.location =
        Path::parse(&file.path).map_err(|error| DataFusionError::External(Box::new(error)))?;
    partitioned.partition_values = vec![crate::prune::day(&file.day)?];
    Ok(match of_one_kind(file, columns)? {
        Some(known) => partitioned.with_statistics(Arc::new(known)),
        None => partitioned,
    })
}

/// What is known of a file that has records of one kind alone: the engine then reads no `kind` of it.
fn of_one_kind(file: &DataFile, columns: &SchemaRef) -> Result<Option<Statistics>> {
    let Some(kind) = file.stats.only_kind() else { return Ok(None) };
    let (at, column) = columns.column_with_name("kind").expect("every version of the table has it");
    let kind = Precision::Exact(ScalarValue::try_from_string(kind.as_str().to_owned(), column.data_type())?);
    let mut known = Statistics::new_unknown(columns);
    known.num_rows = Precision::Exact(usize::try_from(file.rows).unwrap_or(usize::MAX));
    let of = &mut known.column_statistics[at];
    (of.min_value, of.max_value, of.null_count) = (kind.clone(), kind, Precision::Exact(0));
    Ok(Some(known))
}
