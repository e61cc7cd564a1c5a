//! Listens to librdkafka: sends what it says to our traces, and keeps the last thing that went wrong.
//!
//! A call that fails says only that nobody answered. Why (a wrong password, an unknown authority, a refused connection) the
//! library writes into its log, whichever kind of client it is, so the two are put together here.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;

/// What the client library says about a failure, and what it said before about the connection.
#[derive(Debug)]
pub struct ClientError {
    error: KafkaError,
    reason: Option<String>,
}

impl ClientError {
    /// The library's own error.
    #[must_use]
    pub fn kafka(&self) -> &KafkaError {
        &self.error
    }
}

impl From<KafkaError> for ClientError {
    fn from(error: KafkaError) -> Self {
        Self { error, reason: None }
    }
}

impl std::fmt::Display for ClientError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.reason {
            Some(reason) => write!(f, "{reason} ({})", self.error),
            None => write!(f, "{}", self.error),
        }
    }
}

impl std::error::Error for ClientError {}

/// A client context that traces, and remembers the last failure of a connection. Clones share the memory.
///
/// Nothing it says is above `warn`: what matters comes back to the caller as an error of the call.
#[derive(Debug, Clone, Default)]
pub(crate) struct Traced {
    last: Arc<Mutex<Option<String>>>,
}

impl Traced {
    /// Puts the last failure of a connection beside `error`.
    pub(crate) fn explain(&self, error: KafkaError) -> ClientError {
        ClientError { error, reason: self.last().clone() }
    }

    /// Whether the brokers, or we, have refused the other side, so that waiting does not help.
    pub(crate) fn is_refused(&self) -> bool {
        let refusals = ["authentication", "SSL handshake failed"];
        self.last().as_ref().is_some_and(|last| refusals.iter().any(|refusal| last.contains(refusal)))
    }

    fn last(&self) -> MutexGuard<'_, Option<String>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConsumerContext for Traced {}

impl ClientContext for Traced {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if facility == CONNECTION_FAILED {
            // It begins with the name of a thread of the library.
            let reason = message.split_once("]: ").map_or(message, |(_, reason)| reason);
            *self.last() = Some(reason.to_owned());
        }
        if facility == CONFIGURATION_WARNING {
            // It warns of options that are experimental; ours are chosen, with the reason beside each.
            tracing::debug!(message, "kafka client configuration");
            return;
        }
        trace(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka client error");
    }
}

const CONNECTION_FAILED: &str = "FAIL";
const CONFIGURATION_WARNING: &str = "CONFWARN";

fn trace(level: RDKafkaLogLevel, facility: &str, message: &str) {
    // Both tell of one connection that failed, again at each attempt.
    if matches!(facility, CONNECTION_FAILED | "ERROR") {
        tracing::debug!(facility, message, "kafka client");
        return;
    }
    match level {
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error
        | RDKafkaLogLevel::Warning => tracing::warn!(facility, message, "kafka client"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
            tracing::info!(facility, message, "kafka client");
        }
        RDKafkaLogLevel::Debug => tracing::debug!(facility, message, "kafka client"),
    }
}
