//! The threads of an embedded log: opens the storage, listens, serves, and closes it all in order.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nisshi_broker::Error;
use nisshi_broker::coordinator::group::administrator::{Controller, GroupCoordinatorConfig};
use nisshi_broker::service::{coordinator, storage};
use nisshi_service::{BytesFrameLayer, FrameRouteService, TcpBytesLayer, TcpContext, TcpContextLayer};
use nisshi_storage::{ArcDynStorage, BrokerRegistrationRequest, Storage as _, StorageContainer};
use nisshi_storage_sql::LiteEngineFactory;
use rama::extensions::Extensions;
use rama::tcp::TcpStream as ServedStream;
use rama::{Layer as _, Service as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use url::Url;
use uuid::Uuid;

use super::durable::Durable;
use super::folder::Folder;
use super::service::LogService;
use super::tails::Tails;
use super::{EmbeddedError, loopback};

/// Part of the storage's keys: another value would find an empty log in a full file.
const CLUSTER: &str = "watchkeeper";
const NODE: i32 = 1;

/// The storage answers one request at a time; a second thread keeps connections and waiting readers going meanwhile.
const THREADS: usize = 2;

type Ready = oneshot::Sender<Result<SocketAddr, EmbeddedError>>;

/// Runs the log until it is cancelled; `ready` is told how the start went.
pub(super) fn run(folder: Folder, port: u16, cancel: CancellationToken, ready: Ready) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).thread_name("wk-log").enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return drop(ready.send(Err(EmbeddedError::Threads(error)))),
    };
    runtime.block_on(async {
        let durable = Durable::new(folder.path("log.db-wal"));
        match open(&folder, port, durable.clone()).await {
            Err(error) => drop(ready.send(Err(error))),
            Ok((service, listener, address)) => {
                if ready.send(Ok(address)).is_ok() {
                    serve(service, listener, durable, cancel).await;
                }
            }
        }
    });
    // 1. The last connection of the storage closes with the runtime, which moves the write-ahead log into the database.
    drop(runtime);
    // 2. Only now may another process have the folder.
    drop(folder);
}

async fn open(
    folder: &Folder,
    port: u16,
    durable: Durable,
) -> Result<(LogService, TcpListener, SocketAddr), EmbeddedError> {
    let asked = loopback(port);
    let refused = |source| EmbeddedError::Listen { address: asked, source };
    let listener = TcpListener::bind(asked).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    let damaged = |error: Error| EmbeddedError::Storage { dir: folder.dir().to_owned(), reason: error.to_string() };
    let storage = open_storage(folder, address).await.map_err(damaged)?;
    let routes = routes(&storage).map_err(damaged)?;
    let service = LogService { routes, storage, tails: Arc::new(Tails::default()), durable };
    Ok((service, listener, address))
}

#[expect(clippy::disallowed_methods, reason = "the broker wants a new id at each start, and nobody ever compares it")]
async fn open_storage(folder: &Folder, address: SocketAddr) -> Result<ArcDynStorage, Error> {
    let mut builder = StorageContainer::builder();
    builder.with_factory(Arc::new(LiteEngineFactory));
    let storage = builder
        .cluster_id(CLUSTER)
        .node_id(NODE)
        .advertised_listener(Url::parse(&format!("tcp://{address}"))?)
        .storage(storage_url(folder, "log.db")?)
        .silent(true)
        .build()
        .await?;
    storage
        .register_broker(BrokerRegistrationRequest {
            broker_id: NODE,
            cluster_id: CLUSTER.to_owned(),
            incarnation_id: Uuid::new_v4(),
            rack: None,
        })
        .await?;
    Ok(storage)
}

/// nisshi takes the URL's path, less one slash, from the working directory: two slashes make it absolute. It does not undo
/// the URL's own spelling of spaces and umlauts, so for such a folder the path goes through our open handle on it.
fn storage_url(folder: &Folder, name: &str) -> Result<Url, Error> {
    let spelled = |path: &Path| Url::parse(&format!("sqlite:///{}", path.display()));
    let path = folder.path(name);
    let url = spelled(&path)?;
    if url.path() == format!("/{}", path.display()) {
        return Ok(url);
    }
    Ok(spelled(&folder.plain_path(name))?)
}

fn routes(log: &ArcDynStorage) -> Result<FrameRouteService<Error>, Error> {
    // A group of one machine has all its members at once: waiting three seconds for more would only delay the first.
    let groups = Controller::new(
        Arc::clone(log),
        GroupCoordinatorConfig { initial_rebalance_delay: Duration::ZERO, ..GroupCoordinatorConfig::default() },
    );
    let builder = storage::services(FrameRouteService::<Error>::builder(), Arc::clone(log))?;
    let builder = coordinator::services(builder, groups)?;
    Ok(builder.build()?)
}

async fn serve(service: LogService, listener: TcpListener, durable: Durable, cancel: CancellationToken) {
    let mut connections = JoinSet::new();
    let syncing = durable.run();
    tokio::pin!(syncing);
    loop {
        tokio::select! {
            () = cancel.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    connections.spawn(converse(service.clone(), stream, peer));
                }
                Err(error) => {
                    // Out of descriptors, most likely: it passes, or the next start tells.
                    tracing::error!(%error, "log failed to accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            error = &mut syncing => {
                // What the disk holds is unknown: acknowledge nothing any more, and let the operator see why.
                tracing::error!(%error, "log failed to sync its file and has stopped");
                break;
            }
            Some(_) = connections.join_next() => {}
        }
    }
    // A request that is cut off was not acknowledged; the client sends it again, and its sequence number tells if it was stored.
    connections.shutdown().await;
}

async fn converse(service: LogService, stream: TcpStream, peer: SocketAddr) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, %peer, "connection lost");
        return;
    }
    let conversation = (
        TcpContextLayer::new(TcpContext::default().cluster_id(Some(CLUSTER.to_owned()))),
        TcpBytesLayer,
        BytesFrameLayer::default(),
    )
        .into_layer(service);
    let stream = ServedStream::from_tokio_tcp_stream(stream, Extensions::default());
    if let Err(error) = conversation.serve(stream).await {
        tracing::debug!(%error, %peer, "connection ended");
    }
}
