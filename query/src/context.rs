//! The engine: takes a question, answers it from the newest version of the table, and tells what was asked.

use crate::clock;
use crate::config::Config;
use crate::error::{QueryError, chain, from_planner, internal, panicked};
use crate::filters::Filters;
use crate::guard;
use crate::limits::Limits;
use crate::needle::narrow;
use crate::plans::{Planned, Plans, is_lasting};
use crate::records::{Pinned, Records, STORE};
use crate::rolled;
use crate::schema::{file_schema, viewed};
use crate::seek::{NarrowFirst, seeks, straight};
use crate::stop::{Stop, stoppable};
use crate::views;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::memory::{MemoryCatalogProvider, MemoryCatalogProviderList, MemorySchemaProvider};
use datafusion::catalog::{CatalogProvider as _, CatalogProviderList, SchemaProvider, TableProvider};
use datafusion::common::{DataFusionError, TableReference};
use datafusion::datasource::ViewTable;
use datafusion::execution::object_store::DefaultObjectStoreRegistry;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::optimizer::Optimizer;
use datafusion::physical_plan::execute_stream;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::StreamExt as _;
use object_store::ObjectStore;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use wk_schemas::body::QueryRun;
use wk_store::Lake;
use wk_store::rows::Columns;

/// Catalog and schema that the views live in.
const CATALOG: &str = "lake";
const SCHEMA: &str = "public";

/// Called once for every question, answered or not.
pub type OnQuery = Arc<dyn Fn(QueryRun) + Send + Sync>;

/// Who asks, and through which door; goes into the record of the question.
#[derive(Debug, Clone)]
pub struct Asker {
    /// Name of the person or service.
    pub user: String,
    /// Which door: shell, postgres, flight, http.
    pub door: String,
}

/// Answers questions. Cheap to share; every question sees the newest version of the table as a whole.
pub struct Engine {
    context: SessionContext,
    lake: Arc<Lake>,
    limits: Arc<Limits>,
    filters: Arc<Filters>,
    plans: Arc<Plans>,
    /// The columns of the lake when it was last asked, and the catalog for them if it is not the shared one.
    wider: Mutex<Option<(Arc<Columns>, Option<Catalogs>)>>,
    on_query: OnQuery,
    /// Threads of its own, so that a question can neither stop nor be stopped by what else the process does.
    runtime: Option<Runtime>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("lake", &self.lake).field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Dropping a runtime waits for its threads, which is not allowed inside another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Engine {
    /// Makes an engine over a lake. Nothing is read yet.
    ///
    /// # Errors
    /// When its threads cannot be started.
    pub fn open(lake: impl Into<Arc<Lake>>, config: Config, on_query: OnQuery) -> Result<Self, QueryError> {
        let lake = lake.into();
        let mut builder = Builder::new_multi_thread();
        if let Some(threads) = config.threads {
            builder.worker_threads(threads.get());
        }
        let runtime =
            builder.thread_name("wk-query").enable_all().build().map_err(|error| QueryError::Failed {
                message: format!("failed to start the query threads: {error}"),
            })?;
        let context = context(&lake, &config, runtime.metrics().num_workers()).map_err(|e| internal(&e))?;
        let filters = Arc::new(Filters::new(config.filter_cache_bytes));
        let limits = Arc::new(Limits::new(config));
        let plans = Arc::new(Plans::new());
        Ok(Self { context, lake, limits, filters, plans, wider: Mutex::new(None), on_query, runtime: Some(runtime) })
    }

    /// The limits in force.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.limits.config
    }

    /// Asks one question. Returns once the first rows can be made; they come through [`Answer::next`].
    ///
    /// # Errors
    /// [`QueryError`] says what is wrong with the question, or which limit it met.
    pub async fn query(&self, sql: &str, asker: Asker) -> Result<Answer, QueryError> {
        let mut run = Run::new(sql, asker, Arc::clone(&self.on_query));
        match self.start(sql, &mut run).await {
            Ok((schema, rows, task)) => Ok(Answer { schema, rows, task, limits: Arc::clone(&self.limits), run }),
            Err(error) => {
                run.finish(Some(&error));
                Err(error)
            }
        }
    }

    async fn start(&self, sql: &str, run: &mut Run) -> Result<(SchemaRef, Rows, Task), QueryError> {
        let place = self.limits.place().await?;
        let snapshot = self.lake.refresh().await.map_err(|error| QueryError::Lake { message: chain(&error) })?;
        run.body.table_version = i64::try_from(snapshot.version).unwrap_or(i64::MAX);
        let columns = Arc::clone(&snapshot.columns);
        let pinned = Pinned { snapshot, scan_bytes: self.limits.config.scan_bytes };
        let mut state = self.pin(pinned).map_err(|e| internal(&e))?;
        let runtime = self.limits.runtime(state.runtime_env()).map_err(|e| internal(&e))?;

        let (limits, filters, plans) = (Arc::clone(&self.limits), Arc::clone(&self.filters), Arc::clone(&self.plans));
        let (send, receive) = mpsc::channel(2);
        let (tell, told) = tokio::sync::oneshot::channel();
        let sql = sql.to_owned();
        let stop = Stop::default();
        let heeded = stop.clone();
        // Planning too happens on the engine's threads: it reads footers, and some plans take long to make.
        let task = self.handle().spawn(async move {
            let _place = place;
            let kept = plans.of(&sql, &columns);
            let begun = async {
                let planned = match kept {
                    Some(planned) => planned,
                    None => plan(&mut state, &sql, &columns, &plans, &limits).await?,
                };
                begin(state, runtime, &planned, &limits, &filters, &heeded).await
            };
            let stream = match begun.await {
                Ok(stream) => stream,
                Err(error) => {
                    // The asker may be gone; then nobody wants to know.
                    drop(tell.send(Err(error)));
                    return;
                }
            };
            drop(tell.send(Ok(stream.schema())));
            let mut stream = stream;
            while let Some(batch) = stream.next().await {
                let batch = batch.map_err(|error| limits.running(&error));
                let stop = batch.is_err();
                if send.send(batch).await.is_err() || stop {
                    return;
                }
            }
        });
        let task = Task { abort: task.abort_handle(), stop };
        let limit = self.limits.time_limit().saturating_sub(run.started.elapsed());
        match tokio::time::timeout(limit, told).await {
            Ok(Ok(schema)) => Ok((schema?, receive, task)),
            Ok(Err(_)) => Err(panicked()),
            Err(_) => Err(self.limits.time()),
        }
    }

    fn handle(&self) -> &tokio::runtime::Handle {
        self.runtime.as_ref().expect("the runtime is there until the engine is dropped").handle()
    }

    /// What one question is planned with: the shared catalog, and one version of the table.
    fn pin(&self, pinned: Pinned) -> Result<SessionState, DataFusionError> {
        let mut state = self.context.state();
        if let Some(catalogs) = self.wider(&pinned.snapshot.columns)? {
            state.register_catalog_list(catalogs);
        }
        state.config_mut().set_extension(Arc::new(pinned));
        Ok(state)
    }

    /// The catalog for a lake with these columns, if it is not the shared one; kept for as long as the lake has them.
    fn wider(&self, columns: &Arc<Columns>) -> Result<Option<Catalogs>, DataFusionError> {
        let mut kept = self.wider.lock().expect("no code panics while it holds this lock");
        match &*kept {
            Some((of, catalogs)) if Arc::ptr_eq(of, columns) => Ok(catalogs.clone()),
            _ => {
                let catalogs = wider(columns, self.lake.files().store())?;
                *kept = Some((Arc::clone(columns), catalogs.clone()));
                Ok(catalogs)
            }
        }
    }
}

type Catalogs = Arc<dyn CatalogProviderList>;
type Rows = mpsc::Receiver<Result<RecordBatch, QueryError>>;

/// The rows of an answer, as they are made. Dropping it ends the question.
#[derive(Debug)]
pub struct Answer {
    schema: SchemaRef,
    rows: Rows,
    task: Task,
    limits: Arc<Limits>,
    run: Run,
}

/// What makes the rows. Ends when it is dropped.
#[derive(Debug)]
struct Task {
    abort: AbortHandle,
    stop: Stop,
}

impl Task {
    fn end(&self) {
        self.stop.now();
        self.abort.abort();
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.end();
    }
}

impl Answer {
    /// The columns.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// Version of the table that answers.
    #[must_use]
    pub fn version(&self) -> i64 {
        self.run.body.table_version
    }

    /// The next rows; `None` after the last. Cancel safe.
    ///
    /// # Errors
    /// [`QueryError`]; nothing follows it.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>, QueryError> {
        let limit = self.limits.time_limit().saturating_sub(self.run.started.elapsed());
        let next =
            tokio::time::timeout(limit, self.rows.recv()).await.unwrap_or_else(|_| Some(Err(self.limits.time())));
        match next {
            Some(Ok(batch)) => {
                self.run.body.rows += i64::try_from(batch.num_rows()).unwrap_or(i64::MAX);
                Ok(Some(batch))
            }
            Some(Err(error)) => {
                self.task.end();
                self.run.finish(Some(&error));
                Err(error)
            }
            None => {
                self.run.finish(None);
                Ok(None)
            }
        }
    }

    /// All rows that are left.
    ///
    /// # Errors
    /// As [`Answer::next`].
    pub async fn all(mut self) -> Result<Vec<RecordBatch>, QueryError> {
        let mut all = Vec::new();
        while let Some(batch) = self.next().await? {
            all.push(batch);
        }
        Ok(all)
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.run.finish(Some(&QueryError::Cancelled));
    }
}

/// The record of a question in the making; handed over once.
struct Run {
    body: QueryRun,
    started: Instant,
    on_query: Option<OnQuery>,
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run").field("body", &self.body).finish_non_exhaustive()
    }
}

impl Run {
    fn new(sql: &str, asker: Asker, on_query: OnQuery) -> Self {
        let body = QueryRun {
            sql: sql.to_owned(),
            user: asker.user,
            door: asker.door,
            table_version: -1,
            rows: 0,
            duration_us: 0,
            error: None,
        };
        Self { body, started: clock::start(), on_query: Some(on_query) }
    }

    fn finish(&mut self, error: Option<&QueryError>) {
        let Some(on_query) = self.on_query.take() else { return };
        self.body.duration_us = clock::micros(self.started.elapsed());
        self.body.error = error.map(ToString::to_string);
        on_query(self.body.clone());
    }
}

/// The shared context: the table, the views, and nothing that reaches beyond them.
fn context(lake: &Lake, config: &Config, threads: usize) -> Result<SessionContext, DataFusionError> {
    let mut settings = SessionConfig::new()
        .with_default_catalog_and_schema(CATALOG, SCHEMA)
        .with_create_default_catalog_and_schema(true)
        .with_information_schema(true)
        .with_target_partitions(threads);
    let options = settings.options_mut();
    options.sql_parser.collect_spans = true;
    options.execution.parquet.pushdown_filters = config.filter_while_reading;
    options.execution.time_zone = Some("UTC".into());
    let footers = usize::try_from(config.footer_cache_bytes).unwrap_or(usize::MAX);
    let runtime = RuntimeEnvBuilder::new()
        .with_object_store_registry(Arc::new(DefaultObjectStoreRegistry::new()))
        .with_metadata_cache_limit(footers)
        .build_arc()?;
    // The engine knows the local disk from the start; here it shall know the table's store alone.
    runtime.deregister_object_store(&"file:///".parse().map_err(|e| DataFusionError::External(Box::new(e)))?)?;
    let store = lake.files().store();
    runtime
        .register_object_store(&STORE.parse().map_err(|e| DataFusionError::External(Box::new(e)))?, Arc::clone(&store));

    let mut rules = Optimizer::new().rules;
    rules.insert(0, Arc::new(NarrowFirst::default()));
    let state = SessionStateBuilder::new_with_default_features()
        .with_config(settings)
        .with_runtime_env(runtime)
        .with_optimizer_rules(rules)
        .build();
    let context = SessionContext::new_with_state(state);
    guard::disarm(&context)?;
    context.register_udf(views::ordinals());
    let catalog = context.catalog(CATALOG).expect("made with the context");
    catalog.register_schema(rolled::SCHEMA, rolled::tables(&store, &file_schema())?)?;
    context.register_table(TableReference::bare("records"), Arc::new(Records::new(store, file_schema())))?;
    Ok(context)
}

/// A catalog of its own for a lake that has more columns than this program writes: records of a newer version gave it those.
///
/// A column that a program of this version knows and the lake does not have yet is there all the same, and null.
fn wider(columns: &Columns, store: Arc<dyn ObjectStore>) -> Result<Option<Catalogs>, DataFusionError> {
    let ours = Columns::ours();
    let all = columns.join(&ours).map_err(|problems| DataFusionError::Plan(problems.join("; ")))?;
    // A lake's log may have them in another order than this program.
    if ours.join(columns).is_ok_and(|all| all == ours) {
        return Ok(None);
    }
    let schema = MemorySchemaProvider::new();
    let all = viewed(&all.schema());
    let catalog = MemoryCatalogProvider::new();
    catalog.register_schema(rolled::SCHEMA, rolled::tables(&store, &all)?)?;
    schema.register_table("records".into(), Arc::new(Records::new(store, all)))?;
    catalog.register_schema(SCHEMA, Arc::new(schema))?;
    let catalogs = MemoryCatalogProviderList::new();
    catalogs.register_catalog(CATALOG.into(), Arc::new(catalog));
    Ok(Some(Arc::new(catalogs)))
}

/// Plans a question, and keeps the plan if it is one that may come again.
async fn plan(
    state: &mut SessionState,
    sql: &str,
    columns: &Arc<Columns>,
    plans: &Plans,
    limits: &Limits,
) -> Result<Arc<Planned>, QueryError> {
    let dialect = state.config_options().sql_parser.dialect;
    let statement = state.sql_to_statement(sql, &dialect).map_err(|e| from_planner(&e))?;
    let asked = state.resolve_table_references(&statement).map_err(|e| from_planner(&e))?;
    register(state, &asked).await.map_err(|e| internal(&e))?;
    let plan = state.statement_to_plan(statement).await.map_err(|e| from_planner(&e))?;
    guard::check(&plan)?;
    let lasting = is_lasting(&plan).map_err(|e| internal(&e))?;
    let seeks = seeks(&plan).map_err(|e| internal(&e))?;
    if seeks && straight(&plan).map_err(|e| internal(&e))? {
        state.config_mut().options_mut().optimizer.max_passes = 1;
    }
    let plan = state.optimize(&plan).map_err(|e| limits.planning(&e))?;
    let planned = Arc::new(Planned { plan, seeks });
    if lasting {
        plans.keep(sql, columns, &planned);
    }
    Ok(planned)
}

/// Makes a plan ready to run and starts it, with memory and disk of its own.
async fn begin(
    mut state: SessionState,
    runtime: Arc<RuntimeEnv>,
    planned: &Planned,
    limits: &Limits,
    filters: &Filters,
    stop: &Stop,
) -> Result<SendableRecordBatchStream, QueryError> {
    if planned.seeks {
        state.config_mut().options_mut().execution.parquet.pushdown_filters = true;
    }
    let plan = state.query_planner().create_physical_plan(&planned.plan, &state).await;
    let task = Arc::new(TaskContext::from(&state).with_runtime(runtime));
    let plan = narrow(plan.map_err(|e| limits.planning(&e))?, task.runtime_env().as_ref(), filters).await;
    let plan = plan.map_err(|e| limits.planning(&e))?;
    stoppable(plan, stop).and_then(|plan| execute_stream(plan, task)).map_err(|e| limits.planning(&e))
}

/// Registers the views that a question names, or all when it asks what there is. Planning one view takes a moment, and most
/// questions name one or two.
async fn register(state: &SessionState, asked: &[TableReference]) -> Result<(), DataFusionError> {
    let everything = asked.iter().any(|table| table.schema() == Some("information_schema"));
    let catalog = state.catalog_list().catalog(CATALOG).expect("made with the context");
    let shared = catalog.schema(SCHEMA).expect("made with the context");
    let named = |name| everything || asked.iter().any(|table| table.table() == name);
    if named(views::COLUMNS) {
        register_once(&shared, views::COLUMNS, views::columns_table()?)?;
    }
    for view in views::ALL {
        if named(view.name) && !shared.table_exist(view.name) {
            let sql = view.sql();
            let plan = state.create_logical_plan(&sql).await?;
            register_once(&shared, view.name, Arc::new(ViewTable::new(plan, Some(sql))))?;
        }
    }
    Ok(())
}

/// Two questions may plan the same view at once; either plan will do.
fn register_once(
    schema: &Arc<dyn SchemaProvider>,
    name: &str,
    table: Arc<dyn TableProvider>,
) -> Result<(), DataFusionError> {
    match schema.register_table(name.to_owned(), table) {
        Err(error) if !schema.table_exist(name) => Err(error),
        _ => Ok(()),
    }
}
