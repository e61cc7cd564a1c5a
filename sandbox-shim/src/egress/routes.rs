//! Who is behind a connection that comes to the shim's services, and where it was meant to go. The shim itself makes each of them
//! on the agent's socket, and writes it down here under the port it comes from before it does.

use crate::lock::lock;
use crate::policy::Destination;
use crate::process::Process;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Where a connect was meant to go, and why it may.
#[derive(Debug, Clone)]
pub(crate) struct Meant {
    /// Whither.
    pub to: Destination,
    /// The port there.
    pub port: u16,
    /// What let it through: the rule, or the person; `None` for the default.
    pub reason: Option<String>,
    /// Whether each request has to be decided by its method.
    pub by_request: bool,
}

/// One connection, or the socket of one who asks for names.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    /// Who.
    pub process: Arc<Process>,
    /// Whither, when the shim turned a connect; `None` for one to the door or to the names.
    pub meant: Option<Meant>,
}

/// All that were made and not yet met; sockets that ask for names stay.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    streams: Mutex<BTreeMap<u16, Route>>,
    asking: Mutex<BTreeMap<u16, Arc<Process>>>,
}

impl Routes {
    /// A stream is about to come from this port.
    pub(crate) fn expect(&self, port: u16, route: Route) {
        lock(&self.streams).insert(port, route);
    }

    /// The stream that came from this port; each is met once.
    pub(crate) fn meet(&self, port: u16) -> Option<Route> {
        lock(&self.streams).remove(&port)
    }

    /// Questions may come from this port.
    pub(crate) fn asks(&self, port: u16, process: &Arc<Process>) {
        lock(&self.asking).insert(port, Arc::clone(process));
    }

    /// Who asks from this port.
    pub(crate) fn who_asks(&self, port: u16) -> Option<Arc<Process>> {
        lock(&self.asking).get(&port).cloned()
    }
}
