//! Why ingest stops. Whatever passes by itself has been tried again before it comes to one of these, and the next start goes on from what
//! the lake has committed.

use crate::dead_letter::LetterError;
use crate::plan::PlanError;
use wk_store::{CommitError, PrepareError};
use wk_wire::ReadError;
use wk_wire::kafka::{AssignError, BrokersError};
use wk_wire::registry::RegistryError;

/// Why ingest stops.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// Log and lake do not fit.
    #[error("the log does not fit the lake")]
    Plan(#[from] PlanError),
    /// The log cannot be read.
    #[error("failed to read the log")]
    Read(#[source] Box<ReadError>),
    /// The configuration is wrong.
    #[error("the configuration of the brokers is wrong")]
    Brokers(#[from] BrokersError),
    /// The registry refuses to say what schema ids mean.
    #[error("failed to ask the schema registry")]
    Registry(#[from] RegistryError),
    /// Messages could not be turned into a commit, for another reason than a broken record.
    #[error("failed to turn messages into a commit")]
    Seal(#[from] PrepareError),
    /// Dead letters could not be written.
    #[error("failed to set messages aside")]
    Letters(#[source] Box<LetterError>),
    /// Somebody else has committed what this process was about to commit. Nothing is in the lake twice.
    #[error("another ingest process writes to this lake; this one has committed nothing and stops")]
    Shared(#[source] CommitError),
    /// A file of the lake cannot be read.
    #[error("failed to read `{path}` of the lake: {reason}")]
    Lake {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// The lake cannot be written. What was acknowledged by the log is still there.
    #[error("failed to commit to the lake; nothing is lost, the next start goes on from the last commit")]
    Commit(#[from] CommitError),
}

impl From<AssignError> for IngestError {
    fn from(error: AssignError) -> Self {
        match error {
            AssignError::Brokers(error) => Self::Brokers(error),
            AssignError::Read(error) => error.into(),
        }
    }
}

impl From<ReadError> for IngestError {
    fn from(error: ReadError) -> Self {
        Self::Read(Box::new(error))
    }
}

impl From<LetterError> for IngestError {
    fn from(error: LetterError) -> Self {
        Self::Letters(Box::new(error))
    }
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
