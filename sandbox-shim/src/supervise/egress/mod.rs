//! What leaves through the shim's proxy: decided here, by name; served by threads of its own.

mod decide;
mod http;
mod leave;
pub(super) mod serve;
mod turn;

pub(super) use turn::Way;

use super::core::Core;
use crate::egress::Services;
use crate::egress::fake::FakeNames;
use crate::egress::routes::Routes;
use std::net::SocketAddr;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

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
    /// What is being heard and carried.
    conversations: TaskTracker,
    /// Whether the agent has ended: what it has said is still heard, and nobody waits for an answer any more.
    ended: CancellationToken,
}

impl Out {
    pub(super) fn new(inside: bool, services: Services, reachable: Vec<SocketAddr>) -> Self {
        Self {
            inside,
            services,
            routes: Routes::default(),
            names: FakeNames::default(),
            reachable,
            conversations: TaskTracker::default(),
            ended: CancellationToken::default(),
        }
    }
}

impl Core {
    /// Waits until the agent has ended; for ever where it has no proxy.
    async fn agent_ended(&self) {
        match &self.out {
            Some(out) => out.ended.cancelled().await,
            None => std::future::pending().await,
        }
    }
}
