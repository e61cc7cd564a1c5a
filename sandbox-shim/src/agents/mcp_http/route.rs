//! From where to where a proxy leads.

use super::admit::is_loopback;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::str::FromStr;
use std::sync::Arc;
use url::Url;

/// A proxy's address on this machine, bound already, and the server behind it.
#[derive(Debug, Clone)]
pub struct Route {
    listener: Arc<TcpListener>,
    address: SocketAddr,
    server: Url,
}

/// Why there is no way from here to there.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// Not a URL.
    #[error("`{url}` is not a URL")]
    NotAUrl {
        /// As given; without what may be a key.
        url: String,
        /// Why not.
        #[source]
        source: url::ParseError,
    },
    /// Not a URL of a server behind HTTP.
    #[error("an MCP server behind HTTP has a URL that begins with http:// or https:// and names a host")]
    NotHttp,
    /// Not an address.
    #[error("`{address}` is not an address and port, such as 127.0.0.1:7777")]
    NotAnAddress {
        /// As given.
        address: String,
    },
    /// Other machines would reach it.
    #[error("`{address}` is reached by other machines: this proxy listens on loopback only")]
    NotLoopback {
        /// As given.
        address: SocketAddr,
    },
    /// Somebody else listens there.
    #[error("`{address}` cannot be listened on")]
    Bind {
        /// As given.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl FromStr for Route {
    type Err = RouteError;

    /// `http://…`, at any free port, or `127.0.0.1:7777=http://…`. Binds the address.
    fn from_str(text: &str) -> Result<Self, RouteError> {
        let (address, url) = match text.split_once('=') {
            // A URL may have an equals sign too, but not ahead of its scheme.
            Some((address, url)) if !address.contains("://") => {
                let parsed = address.parse().map_err(|_| RouteError::NotAnAddress { address: address.to_owned() })?;
                (parsed, url)
            }
            Some(_) | None => (SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), text),
        };
        let without_query = || url.split(['?', '@']).next().unwrap_or_default().to_owned();
        let server = Url::parse(url).map_err(|source| RouteError::NotAUrl { url: without_query(), source })?;
        if !matches!(server.scheme(), "http" | "https") || server.host_str().is_none() {
            return Err(RouteError::NotHttp);
        }
        if !address.ip().is_loopback() {
            return Err(RouteError::NotLoopback { address });
        }
        let listener = TcpListener::bind(address).and_then(|listener| {
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            Ok((listener, address))
        });
        let (listener, address) = listener.map_err(|source| RouteError::Bind { address, source })?;
        Ok(Self { listener: Arc::new(listener), address, server })
    }
}

impl fmt::Display for Route {
    /// The URL that clients are to be given in place of the server's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.address, self.server.path())
    }
}

impl Route {
    /// Where the proxy listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The server.
    pub(super) const fn server(&self) -> &Url {
        &self.server
    }

    /// Whether the server is on this machine.
    pub(super) fn is_local(&self) -> bool {
        self.server.host_str().is_some_and(is_loopback)
    }

    /// Whether the server is on loopback and speaks without TLS: where a program that is started with the proxy is.
    pub(crate) fn may_be_inside(&self) -> bool {
        self.is_local() && self.server.scheme() == "http"
    }

    /// The bound listener.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub fn listener(&self) -> io::Result<TcpListener> {
        self.listener.try_clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_leads_from_loopback_to_a_server_behind_http() {
        let route: Route = "https://mcp.example/v1/mcp?key=a=b".parse().unwrap();
        assert!(route.address().ip().is_loopback() && route.address().port() != 0);
        assert_eq!(route.to_string(), format!("http://{}/v1/mcp", route.address()));
        let at = format!("{}=http://127.0.0.1:9/mcp", route.address());
        assert!(matches!(at.parse::<Route>(), Err(RouteError::Bind { .. })), "somebody listens there");
        assert!(matches!("0.0.0.0:0=http://a/".parse::<Route>(), Err(RouteError::NotLoopback { .. })));
        assert!(matches!("here=http://a/".parse::<Route>(), Err(RouteError::NotAnAddress { .. })));
        assert!(matches!("ftp://a/".parse::<Route>(), Err(RouteError::NotHttp)));
        assert!(matches!("mcp.example".parse::<Route>(), Err(RouteError::NotAUrl { .. })));
    }
}
