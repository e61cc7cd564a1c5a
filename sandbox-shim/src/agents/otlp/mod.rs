//! The OpenTelemetry receiver: agents without hooks, instrumented by the GenAI conventions, say by OTLP over HTTP what they have done.
//!
//! ```text
//! POST /v1/traces, /v1/logs   application/json or application/x-protobuf   recorded, then 200
//! POST /v1/metrics            taken and passed over                        200
//! ```
//! It listens on a port of loopback, which the agent finds in `OTEL_EXPORTER_OTLP_ENDPOINT`; the policy must let it be reached. What
//! cannot be read is lost evidence, and the exporter is told so (400). Who sends is not checked: this says what the agent *claims*,
//! after the fact, and every process of the agent's may claim it.

mod genai;
mod proto;

use super::callers::Callers;
use super::ear::Ear;
use super::invocation::{Invocation, PrepareError};
use super::{Adapter, Channel, Said};
use crate::contract::RecordError;
use crate::lock::lock;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request, Response, StatusCode};
use serde_json::Value;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// An export longer than this is refused.
const EXPORT_BYTES_MAX: usize = 64 << 20;

/// Names the receiver to every exporter of the agent's.
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// The adapter of agents that speak OpenTelemetry.
#[derive(Debug, Default)]
pub(super) struct Otel;

impl Adapter for Otel {
    fn name(&self) -> &'static str {
        "otel"
    }

    fn has_hooks(&self) -> bool {
        false
    }

    fn prepare(&self, invocation: &mut Invocation) -> Result<(), PrepareError> {
        invocation.receives_otlp = true;
        Ok(())
    }

    fn hook(&mut self, _: &Value) -> Vec<Said> {
        vec![Said::Lost("a hook's input, where no hook is installed".into())]
    }

    fn stream_line(&mut self, request: &Value) -> Vec<Said> {
        genai::said(request)
    }
}

/// Tells the agent's exporters where to send, unless the user has sent them elsewhere already.
pub fn announce(invocation: &mut Invocation, address: std::net::SocketAddr) {
    invocation.set_env(ENDPOINT, format!("http://{address}").as_ref());
    invocation.set_env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf".as_ref());
    // What the user has set may be meant for a collector far away.
    invocation.set_env("OTEL_EXPORTER_OTLP_COMPRESSION", "none".as_ref());
    // The shorter a batch waits, the less is lost when the agent is killed.
    invocation.default_env("OTEL_BSP_SCHEDULE_DELAY", "500");
    invocation.default_env("OTEL_BLRP_SCHEDULE_DELAY", "500");
}

/// Everything that an export needs.
pub struct Receiver {
    /// Translates exports.
    pub adapter: Arc<Mutex<Box<dyn Adapter>>>,
    /// Records what they say.
    pub ear: Arc<Ear>,
    /// Told when something could not be recorded.
    pub on_failure: Box<dyn Fn(&RecordError) + Send + Sync>,
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver").finish_non_exhaustive()
    }
}

impl Receiver {
    /// Takes exports until `stop`.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, stop: CancellationToken) {
        let callers = Callers { who: "an exporter", at_most: Semaphore::MAX_PERMITS };
        let answer = move |request| {
            let receiver = Arc::clone(&self);
            async move { receiver.answer(request).await }
        };
        callers.admit_http(listener, stop, answer).await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let kind = request.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let status = match Limited::new(request.into_body(), EXPORT_BYTES_MAX).collect().await {
            Ok(body) if method == Method::POST => self.take(&path, &kind, &body.to_bytes()),
            Ok(_) => StatusCode::METHOD_NOT_ALLOWED,
            Err(error) => {
                self.lost(format!("an export that could not be read: {error}"), StatusCode::PAYLOAD_TOO_LARGE)
            }
        };
        let is_json = kind.starts_with("application/json");
        // An empty message of either kind says that everything was taken.
        let body = if is_json { Bytes::from_static(b"{}") } else { Bytes::new() };
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = status;
        if let Ok(kind) = kind.parse() {
            response.headers_mut().insert(CONTENT_TYPE, kind);
        }
        response
    }

    /// One export.
    fn take(&self, path: &str, kind: &str, body: &[u8]) -> StatusCode {
        let kind = kind.split(';').next().unwrap_or_default().trim();
        let request = match (path, kind) {
            ("/v1/metrics", _) => return StatusCode::OK,
            ("/v1/traces" | "/v1/logs", "application/json") => {
                serde_json::from_slice(body).map_err(|error| error.to_string())
            }
            ("/v1/traces", "application/x-protobuf") => proto::traces(body).map_err(|error| error.to_string()),
            ("/v1/logs", "application/x-protobuf") => proto::logs(body).map_err(|error| error.to_string()),
            ("/v1/traces" | "/v1/logs", _) => Err(format!("content of type `{kind}`")),
            _ => return StatusCode::NOT_FOUND,
        };
        match request {
            Ok(request) => {
                let said = lock(&self.adapter).stream_line(&request);
                self.recorded(self.ear.hear(said, Channel::Otel), StatusCode::OK)
            }
            Err(why) => {
                let reason = format!("an export of {} bytes that cannot be read: {why}", body.len());
                self.lost(reason, StatusCode::BAD_REQUEST)
            }
        }
    }

    fn lost(&self, reason: String, status: StatusCode) -> StatusCode {
        self.recorded(self.ear.lost(Channel::Otel, reason), status)
    }

    fn recorded(&self, outcome: Result<(), RecordError>, status: StatusCode) -> StatusCode {
        match outcome {
            Ok(()) => status,
            Err(error) => {
                (self.on_failure)(&error);
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }
}
