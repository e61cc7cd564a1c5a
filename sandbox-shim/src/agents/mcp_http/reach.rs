//! How the server is reached: from where the shim is, or in the network of the program under watch.

use super::route::Route;
use crate::supervise::Network;
use anyhow::Context as _;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use url::{Host, Position, Url};

/// How long a server on another machine may take until it is reached.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);

/// A server on this machine may be the program under watch, which has only just been started: how often it is tried, and how long after.
const LOCAL_TRIES: u32 = 100;
const LOCAL_AGAIN: Duration = Duration::from_millis(100);

/// The network of the program under watch: empty until that has been started, nothing where it has none of its own.
pub(crate) type Inside = Arc<OnceLock<Option<Arc<Network>>>>;

/// The way to one server.
#[derive(Debug)]
pub(super) struct Reach {
    client: reqwest::Client,
    tries: u32,
    /// Where the server may be that is under watch.
    inside: Option<Inside>,
}

/// A request as it goes to a server.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Why there is no answer; without the URL, which may hold a key.
enum Failure {
    /// Nothing has been sent.
    NotThere(anyhow::Error),
    Broken(anyhow::Error),
}

impl Reach {
    /// The way along `route`. With `inside` a server on loopback is the program under watch, or a part of it.
    ///
    /// # Errors
    /// When the machine's certificates cannot be read.
    pub(super) fn new(route: &Route, inside: Option<Inside>) -> anyhow::Result<Self> {
        // Who is sent elsewhere by an answer would go on past this proxy.
        let builder = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        let builder = builder.connect_timeout(CONNECT_PATIENCE);
        let builder = if route.is_local() { builder.no_proxy() } else { builder };
        let client = builder.build().context("failed to make a client for the MCP server")?;
        let tries = if route.is_local() { LOCAL_TRIES } else { 1 };
        Ok(Self { client, tries, inside: inside.filter(|_| route.may_be_inside()) })
    }

    /// Whether the server is in a network that leads nowhere, or nobody knows yet.
    pub(super) fn leads_inside(&self) -> bool {
        self.inside.as_ref().is_some_and(|inside| !matches!(inside.get(), Some(None)))
    }

    /// Asks the server, and waits for one that has only just been started.
    pub(super) async fn send(&self, sent: &Outgoing) -> anyhow::Result<reqwest::Response> {
        let mut tries = self.tries;
        loop {
            tries -= 1;
            match self.send_once(sent.clone()).await {
                Ok(response) => return Ok(response),
                Err(Failure::NotThere(_)) if tries > 0 => tokio::time::sleep(LOCAL_AGAIN).await,
                Err(Failure::NotThere(error) | Failure::Broken(error)) => return Err(error),
            }
        }
    }

    async fn send_once(&self, sent: Outgoing) -> Result<reqwest::Response, Failure> {
        match self.inside.as_ref().map(|inside| inside.get()) {
            None | Some(Some(None)) => self.send_from_here(sent).await,
            Some(Some(Some(network))) => send_inside(network, sent).await,
            Some(None) => Err(Failure::NotThere(anyhow::anyhow!("it has not been started"))),
        }
    }

    async fn send_from_here(&self, sent: Outgoing) -> Result<reqwest::Response, Failure> {
        let has_body = sent.method == Method::POST;
        let request = self.client.request(sent.method, sent.url).headers(sent.headers);
        let request = if has_body { request.body(sent.body) } else { request };
        request.send().await.map_err(|error| match error.is_connect() {
            true => Failure::NotThere(error.without_url().into()),
            false => Failure::Broken(error.without_url().into()),
        })
    }
}

/// Asks a server in the network of the program under watch; each request has a connection of its own.
async fn send_inside(network: &Network, sent: Outgoing) -> Result<reqwest::Response, Failure> {
    let not_there = |error: io::Error| Failure::NotThere(error.into());
    let broken = |error: hyper::Error| Failure::Broken(error.into());
    let mut met = Err(io::ErrorKind::AddrNotAvailable.into());
    for address in addresses(&sent.url) {
        met = network.connect(address).await;
        if met.is_ok() {
            break;
        }
    }
    let stream = met.map_err(not_there)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "the MCP server under watch went away");
        }
    });
    let mut request = Request::new(Full::new(sent.body));
    *request.method_mut() = sent.method;
    *request.headers_mut() = sent.headers;
    let unreadable = |_| Failure::Broken(anyhow::anyhow!("its address cannot be asked for"));
    *request.uri_mut() = sent.url[Position::BeforePath..Position::AfterQuery].parse().map_err(unreadable)?;
    let host = &sent.url[Position::BeforeHost..Position::AfterPort];
    let host = HeaderValue::from_str(host).map_err(|_| Failure::Broken(anyhow::anyhow!("its host has no name")))?;
    request.headers_mut().insert(header::HOST, host);
    let response = sender.send_request(request).await.map_err(broken)?;
    Ok(response.map(reqwest::Body::wrap).into())
}

/// Where a URL of loopback leads. No name is looked up: in there nobody outside is asked.
fn addresses(url: &Url) -> Vec<SocketAddr> {
    let hosts: Vec<IpAddr> = match url.host() {
        Some(Host::Ipv4(address)) => vec![address.into()],
        Some(Host::Ipv6(address)) => vec![address.into()],
        Some(Host::Domain(_)) => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
        None => Vec::new(),
    };
    hosts.into_iter().zip(std::iter::repeat(url.port_or_known_default().unwrap_or(80))).map(SocketAddr::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_of_loopback_leads_to_loopback_without_a_question() {
        let at = |url: &str| addresses(&url.parse().unwrap()).iter().map(SocketAddr::to_string).collect::<Vec<_>>();
        assert_eq!(at("http://127.0.0.1:9/mcp"), ["127.0.0.1:9"]);
        assert_eq!(at("http://[::1]/"), ["[::1]:80"]);
        assert_eq!(at("http://localhost:9/"), ["127.0.0.1:9", "[::1]:9"]);
    }
}
