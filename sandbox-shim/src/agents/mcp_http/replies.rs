//! What a client is answered: a whole message, or a stream that comes piece by piece.

use http_body_util::{Either, Full};
use hyper::body::{Body, Bytes, Frame};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::json;
use std::pin::Pin;
use std::task::{self, Poll};
use tokio::sync::mpsc;

/// A message longer than this is refused.
pub(super) const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// An answer to a client.
pub(super) type Answer = Response<Either<Full<Bytes>, Flow>>;

/// The whole body of an answer that is no stream.
pub(super) async fn whole(mut response: reqwest::Response) -> Result<Bytes, String> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(piece)) => body.extend_from_slice(&piece),
            Ok(None) => return Ok(body.into()),
            Err(error) => return Err(format!("the MCP server's answer was cut: {}", error.without_url())),
        }
        if body.len() > MESSAGE_BYTES_MAX {
            return Err(format!("the MCP server's answer is longer than {MESSAGE_BYTES_MAX} bytes"));
        }
    }
}

/// An answer of these parts.
pub(super) fn answer(status: StatusCode, headers: HeaderMap, body: Either<Full<Bytes>, Flow>) -> Answer {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// An answer of the proxy's own, as the protocol has errors that belong to no request.
pub(super) fn failed(status: StatusCode, why: &str) -> Answer {
    let error = json!({"code": -32000, "message": format!("watchkeeper: {why}")});
    let body = json!({"jsonrpc": "2.0", "id": null, "error": error}).to_string();
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer(status, headers, Either::Left(Full::new(body.into())))
}

/// What cannot be recorded is not done.
pub(super) fn not_recorded() -> Answer {
    failed(StatusCode::SERVICE_UNAVAILABLE, "it could not be recorded, so it was not done")
}

/// A stream that ended before its end.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Cut(pub(super) String);

/// The body of an answer that comes piece by piece.
#[derive(Debug)]
pub(super) struct Flow(pub(super) mpsc::Receiver<Result<Bytes, Cut>>);

impl Body for Flow {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}
