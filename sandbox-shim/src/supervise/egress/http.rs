//! HTTP at the door, CONNECT and plain; and at the relay, where methods decide.

use super::super::core::Core;
use super::leave::{Refusal, Traveller, carry, leave, refuse};
use crate::policy::Destination;
use crate::process::Process;
use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use tokio::net::TcpStream;

/// Either what a host outside answers, or what the shim says.
type Body = Either<Incoming, Full<Bytes>>;

/// What is meant for the next hop alone.
const HOP_BY_HOP: [HeaderName; 6] = [
    CONNECTION,
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("proxy-authorization"),
    HeaderName::from_static("keep-alive"),
    TE,
    UPGRADE,
];

/// Serves one connection. `fixed` is where all of it goes when the shim turned the connect; else each request says it.
pub(super) async fn serve(
    core: &Arc<Core>,
    process: Arc<Process>,
    fixed: Option<Traveller>,
    stream: TcpStream,
) -> io::Result<()> {
    let service = service_fn(|request| {
        let (core, process, fixed) = (Arc::clone(core), Arc::clone(&process), fixed.clone());
        async move { Ok::<_, Infallible>(answer(&core, process, fixed, request).await) }
    });
    let served = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    served.with_upgrades().await.map_err(io::Error::other)
}

async fn answer(
    core: &Arc<Core>,
    process: Arc<Process>,
    fixed: Option<Traveller>,
    request: Request<Incoming>,
) -> Response<Body> {
    let is_tunnel = request.method() == Method::CONNECT;
    let who = match (fixed, destination(request.uri(), is_tunnel)) {
        (Some(fixed), None) => match host_of(&request) {
            Some(host) if fixed.to.name().is_none_or(|name| name == host) => fixed,
            other => {
                let wrong = format!(
                    "the request is for `{}`, and the connection is to `{}`",
                    other.unwrap_or_default(),
                    fixed.to
                );
                return refused(refuse(core, &fixed, Some(wrong), None));
            }
        },
        (None, Some((to, port))) => Traveller { process, to: core.meant(to), port },
        (Some(_), Some(_)) | (None, None) => {
            return said(
                StatusCode::BAD_REQUEST,
                "a proxy is asked for a whole address, such as http://host/\n".into(),
            );
        }
    };
    if is_tunnel { tunnel(core, who, request).await } else { forward(core, &who, request).await }
}

/// Where a request goes that says so in its first line. Only plain HTTP is carried; what is encrypted goes through a tunnel.
fn destination(uri: &Uri, is_tunnel: bool) -> Option<(Destination, u16)> {
    let authority = uri.authority()?;
    let port = match (is_tunnel, uri.scheme_str()) {
        (true, _) => authority.port_u16()?,
        (false, Some("http")) => authority.port_u16().unwrap_or(80),
        (false, _) => return None,
    };
    Some((Destination::parse(authority.host()), port))
}

fn host_of(request: &Request<Incoming>) -> Option<String> {
    let host = request.headers().get(HOST)?.to_str().ok()?;
    let host = host.parse::<hyper::http::uri::Authority>().ok()?;
    Some(Destination::parse(host.host()).to_string())
}

async fn tunnel(core: &Arc<Core>, who: Traveller, request: Request<Incoming>) -> Response<Body> {
    match leave(core, &who, None).await {
        Ok(outside) => {
            let Some(out) = &core.out else { return said(StatusCode::BAD_GATEWAY, String::new()) };
            let core = Arc::clone(core);
            out.conversations.spawn(async move {
                let carried = match hyper::upgrade::on(request).await {
                    Ok(inside) => carry(&core, &who, TokioIo::new(inside), outside).await,
                    Err(error) => Err(io::Error::other(error)),
                };
                if let Err(error) = carried {
                    tracing::debug!(%error, "a tunnel through the proxy has ended");
                }
            });
            said(StatusCode::OK, String::new())
        }
        Err(refusal) => refused(refusal),
    }
}

async fn forward(core: &Arc<Core>, who: &Traveller, mut request: Request<Incoming>) -> Response<Body> {
    let outside = match leave(core, who, Some(request.method().as_str())).await {
        Ok(outside) => outside,
        Err(refusal) => return refused(refusal),
    };
    let broken = |error: hyper::Error| {
        said(StatusCode::BAD_GATEWAY, format!("Watchkeeper's proxy: {}:{}: {error}\n", who.to, who.port))
    };
    let (mut sender, connection) = match hyper::client::conn::http1::handshake(TokioIo::new(outside)).await {
        Ok(made) => made,
        Err(error) => return broken(error),
    };
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a host outside went away");
        }
    });
    for name in HOP_BY_HOP {
        request.headers_mut().remove(name);
    }
    // What the first line says is what was decided about.
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let host = if who.port == 80 { who.to.to_string() } else { format!("{}:{}", who.to, who.port) };
    let (Ok(uri), Ok(host)) = (path.parse(), HeaderValue::from_str(&host)) else {
        return said(StatusCode::BAD_REQUEST, "the address cannot be read\n".into());
    };
    *request.uri_mut() = uri;
    request.headers_mut().insert(HOST, host);
    match sender.send_request(request).await {
        Ok(mut response) => {
            for name in HOP_BY_HOP.into_iter().chain([TRANSFER_ENCODING]) {
                response.headers_mut().remove(name);
            }
            response.map(Either::Left)
        }
        Err(error) => broken(error),
    }
}

fn refused(refusal: Refusal) -> Response<Body> {
    match refusal {
        Refusal::NotAllowed { reason, ticket } => {
            let text = format!("blocked by Watchkeeper: {reason} (ticket {ticket})\n");
            let mut response = said(StatusCode::FORBIDDEN, text);
            if let Ok(ticket) = HeaderValue::from_str(&ticket.to_string()) {
                response.headers_mut().insert("x-watchkeeper-ticket", ticket);
            }
            response
        }
        Refusal::Unreachable(what) => said(StatusCode::BAD_GATEWAY, format!("Watchkeeper's proxy: {what}\n")),
    }
}

fn said(status: StatusCode, text: String) -> Response<Body> {
    let is_empty = text.is_empty();
    let mut response = Response::new(Either::Right(Full::new(Bytes::from(text))));
    *response.status_mut() = status;
    if !is_empty {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    }
    response
}
