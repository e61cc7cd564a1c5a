//! The ways in: the session's socket, the receiver of OpenTelemetry and the proxies of MCP, each served on a thread of its own until it is
//! dropped.

use super::own_cause;
use super::parts::runtime;
use crate::agents::door::{self, Door, Speakers};
use crate::agents::ear::Ear;
use crate::agents::mcp_http::{Inside, Proxy, Route};
use crate::agents::otlp::{self, Receiver};
use crate::agents::refusals::Refusals;
use crate::agents::{Adapter, Invocation};
use crate::contract::RecordError;
use crate::control::Brake;
use anyhow::Context as _;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use tokio_util::sync::CancellationToken;

/// An open door, or another listener of its kind; closes when dropped.
#[derive(Debug)]
pub(super) struct OpenDoor {
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Drop for OpenDoor {
    fn drop(&mut self) {
        self.stop.cancel();
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// Binds the session's socket and serves it.
pub(super) fn open_door(
    socket: &Path,
    speakers: Speakers,
    adapter: &Arc<Mutex<Box<dyn Adapter>>>,
    ear: &Arc<Ear>,
    refusals: &Arc<Refusals>,
    brake: &Arc<OnceLock<Arc<Brake>>>,
) -> anyhow::Result<OpenDoor> {
    let runtime = runtime()?;
    let listener = {
        let _inside = runtime.enter();
        door::bind(socket).with_context(|| format!("failed to bind the session's socket `{}`", socket.display()))?
    };
    let door = Arc::new(Door {
        speakers,
        adapter: Arc::clone(adapter),
        ear: Arc::clone(ear),
        refusals: Arc::clone(refusals),
        on_failure: loses(Arc::clone(brake)),
    });
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    let thread = std::thread::Builder::new()
        .name("wk-door".into())
        .spawn(move || runtime.block_on(door.serve(listener, stopping)))
        .context("failed to start a thread")?;
    Ok(OpenDoor { stop, thread: Some(thread) })
}

/// Binds the OpenTelemetry receiver, and tells the agent where it is.
pub(super) fn bind_otlp(invocation: &mut Invocation) -> anyhow::Result<std::net::TcpListener> {
    let listener =
        std::net::TcpListener::bind(("127.0.0.1", 0)).context("failed to bind the OpenTelemetry receiver")?;
    listener.set_nonblocking(true)?;
    otlp::announce(invocation, listener.local_addr()?);
    Ok(listener)
}

/// Serves the OpenTelemetry receiver.
pub(super) fn receive_otlp(
    listener: std::net::TcpListener,
    adapter: &Arc<Mutex<Box<dyn Adapter>>>,
    ear: &Arc<Ear>,
    brake: &Arc<OnceLock<Arc<Brake>>>,
) -> anyhow::Result<OpenDoor> {
    let receiver =
        Arc::new(Receiver { adapter: Arc::clone(adapter), ear: Arc::clone(ear), on_failure: loses(Arc::clone(brake)) });
    let runtime = runtime()?;
    let listener = {
        let _inside = runtime.enter();
        tokio::net::TcpListener::from_std(listener).context("failed to listen for OpenTelemetry")?
    };
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    let thread = std::thread::Builder::new()
        .name("wk-otlp".into())
        .spawn(move || runtime.block_on(receiver.serve(listener, stopping)))
        .context("failed to start a thread")?;
    Ok(OpenDoor { stop, thread: Some(thread) })
}

/// Serves a proxy for each MCP server behind HTTP. `inside` is where those on loopback are, when it is a server that is under watch.
pub(super) fn pass_mcp(
    routes: &[Route],
    inside: Option<&Inside>,
    ear: &Arc<Ear>,
    refusals: &Arc<Refusals>,
    brake: &Arc<OnceLock<Arc<Brake>>>,
) -> anyhow::Result<Option<OpenDoor>> {
    if routes.is_empty() {
        return Ok(None);
    }
    let runtime = runtime()?;
    let mut serving = Vec::new();
    let stop = CancellationToken::new();
    for (index, route) in routes.iter().enumerate() {
        let listener = {
            let _inside = runtime.enter();
            route.listener().and_then(tokio::net::TcpListener::from_std).context("failed to listen for MCP")?
        };
        let (ear, refusals) = (Arc::clone(ear), Arc::clone(refusals));
        let proxy = Proxy::new(route.clone(), index, inside.cloned(), ear, refusals, loses(Arc::clone(brake)))?;
        serving.push(runtime.spawn(Arc::new(proxy).serve(listener, stop.clone())));
    }
    let thread = std::thread::Builder::new()
        .name("wk-mcp".into())
        .spawn(move || {
            runtime.block_on(async {
                for served in serving {
                    drop(served.await);
                }
            });
        })
        .context("failed to start a thread")?;
    Ok(Some(OpenDoor { stop, thread: Some(thread) }))
}

/// Stops the agent when what it says cannot be recorded.
fn loses(brake: Arc<OnceLock<Arc<Brake>>>) -> Box<dyn Fn(&RecordError) + Send + Sync> {
    Box::new(move |error| {
        if let Some(brake) = brake.get() {
            brake.lose(&own_cause(error.to_string()));
        }
    })
}
