//! The table of a running session, behind a lock.

use super::table::{CallFacts, CallTable};
use crate::contract::{Causality, ProcessFacts, Tie};
use crate::lock::lock;
use std::sync::{Arc, Mutex};
use wk_schemas::body::Mediation;

/// The table of a running session.
#[derive(Debug)]
pub struct Calls(Mutex<CallTable>);

impl Calls {
    /// Puts a table behind a lock.
    #[must_use]
    pub fn new(table: CallTable) -> Arc<Self> {
        Arc::new(Self(Mutex::new(table)))
    }

    /// See [`CallTable::open`].
    pub fn open(&self, facts: CallFacts) {
        self.with(|t| t.open(facts));
    }

    /// See [`CallTable::close`].
    pub fn close(&self, id: &str) {
        self.with(|t| t.close(id));
    }

    /// See [`CallTable::only_open`].
    #[must_use]
    pub fn only_open(&self) -> Option<String> {
        self.with(|t| t.only_open().map(str::to_owned))
    }

    /// See [`CallTable::admit_hook`].
    #[must_use]
    pub fn admit_hook(&self, process_uid: &str) -> bool {
        self.with(|t| t.admit_hook(process_uid))
    }

    fn with<T>(&self, f: impl FnOnce(&mut CallTable) -> T) -> T {
        f(&mut lock(&self.0))
    }
}

impl Causality for Calls {
    fn process_started(&self, process: &ProcessFacts, parent: Option<&Tie>) -> Tie {
        self.with(|t| t.process_started(process, parent))
    }

    fn mediation(&self, tie: &Tie, object: &str) -> (Option<String>, Mediation) {
        self.with(|t| t.mediation(tie, object))
    }
}
