//! What one question may cost: time, memory, disk, bytes read, and a place among those that run at once.
//!
//! Time is measured over the whole answer, waiting included, and on the asker's side, so that an operator that does not
//! yield cannot stretch it. Memory counts what sorts, groups and joins hold; the scan's own buffers are bounded by its
//! threads and batch size. Bytes read are those of all files that pruning leaves: known before the first is opened.

use crate::config::Config;
use crate::error::{QueryError, TooMuch, from_planner};
use datafusion::common::DataFusionError;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many of the largest holders of memory an error names.
const NAMED: NonZeroUsize = NonZeroUsize::new(3).expect("three is not zero");

/// The limits of one engine.
#[derive(Debug)]
pub(crate) struct Limits {
    pub(crate) config: Config,
    places: Arc<Semaphore>,
}

impl Limits {
    pub(crate) fn new(config: Config) -> Self {
        let places = Arc::new(Semaphore::new(config.concurrency.get()));
        Self { config, places }
    }

    /// Waits for a place among the questions that run at once.
    pub(crate) async fn place(&self) -> Result<OwnedSemaphorePermit, QueryError> {
        let limit = self.config.time_limit;
        match tokio::time::timeout(limit, Arc::clone(&self.places).acquire_owned()).await {
            Ok(place) => Ok(place.expect("the semaphore is never closed")),
            Err(_) => Err(QueryError::Busy { concurrency: self.config.concurrency.get(), limit }),
        }
    }

    /// Memory and disk of its own for one question; the footer cache and the object store are shared.
    pub(crate) fn runtime(&self, shared: &RuntimeEnv) -> Result<Arc<RuntimeEnv>, DataFusionError> {
        let memory = usize::try_from(self.config.memory_bytes).unwrap_or(usize::MAX);
        let pool = TrackConsumersPool::new(FairSpillPool::new(memory), NAMED);
        let mode = match &self.config.spill_folder {
            Some(folder) => DiskManagerMode::Directories(vec![folder.clone()]),
            None => DiskManagerMode::OsTmpDirectory,
        };
        let disk = DiskManagerBuilder::default().with_mode(mode).with_max_temp_directory_size(self.config.spill_bytes);
        RuntimeEnvBuilder::from_runtime_env(shared)
            .with_memory_pool(Arc::new(pool))
            .with_disk_manager_builder(disk)
            .build_arc()
    }

    pub(crate) fn time(&self) -> QueryError {
        QueryError::Time { limit: self.config.time_limit }
    }

    pub(crate) const fn time_limit(&self) -> Duration {
        self.config.time_limit
    }

    fn resources(&self, message: &str) -> QueryError {
        QueryError::Resources {
            memory_bytes: self.config.memory_bytes,
            spill_bytes: self.config.spill_bytes,
            message: message.lines().next().unwrap_or_default().to_owned(),
        }
    }

    /// An error while a plan is made ready to run: one of these limits, or a question that cannot be planned.
    pub(crate) fn planning(&self, error: &DataFusionError) -> QueryError {
        self.met(error).unwrap_or_else(|| from_planner(error))
    }

    /// An error while rows are made.
    pub(crate) fn running(&self, error: &DataFusionError) -> QueryError {
        if let Some(limit) = self.met(error) {
            return limit;
        }
        match error.find_root() {
            DataFusionError::ObjectStore(source) => QueryError::Lake { message: source.to_string() },
            DataFusionError::ParquetError(source) => QueryError::Lake { message: source.to_string() },
            other => QueryError::Failed { message: other.strip_backtrace() },
        }
    }

    /// The limit that an error comes from.
    fn met(&self, error: &DataFusionError) -> Option<QueryError> {
        match error.find_root() {
            DataFusionError::ResourcesExhausted(message) => Some(self.resources(message)),
            DataFusionError::External(source) => source.downcast_ref::<TooMuch>().map(|much| QueryError::Scan {
                files: much.files,
                bytes: much.bytes,
                limit: much.limit,
            }),
            _ => None,
        }
    }
}
