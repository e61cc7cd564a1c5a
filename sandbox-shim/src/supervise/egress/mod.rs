//! What leaves through the shim's proxy: decided here, by name; served by threads of its own.

mod decide;
mod http;
mod leave;
pub(super) mod serve;
mod turn;

pub(super) use turn::Way;

use crate::egress::Services;
use crate::egress::fake::FakeNames;
use crate::egress::routes::Routes;
use std::net::SocketAddr;

/// What the supervision knows of the way out.
#[derive(Debug)]
pub(crate) struct Out {
    /// Whether the agent has a network of its own, whose loopback is not the machine's.
    inside: bool,
    services: Services,
    routes: Routes,
    names: FakeNames,
    /// On the machine's loopback, and let through without a rule.
    reachable: Vec<SocketAddr>,
}

impl Out {
    pub(super) fn new(inside: bool, services: Services, reachable: Vec<SocketAddr>) -> Self {
        Self { inside, services, routes: Routes::default(), names: FakeNames::default(), reachable }
    }
}
