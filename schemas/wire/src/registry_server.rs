//! A schema registry for one machine: what stock clients ask of Confluent's, over one small file.
//!
//! ```text
//! GET  /subjects                               ["…-value", …]
//! GET  /subjects/{subject}/versions            [1, …]
//! GET  /subjects/{subject}/versions/{n|latest} {"subject", "id", "version", "schema"}
//! GET  /schemas/ids/{id}                       {"schema"}
//! POST /subjects/{subject}/versions            {"schema"} → {"id"}: registers
//! POST /subjects/{subject}                     {"schema"} → {"subject", "id", "version", "schema"}: looks up
//! ```
//!
//! Two schemas are the same when they are the same JSON, whatever its white space. It does not compare versions for
//! compatibility; `wk-schemas` does, before a schema is released. It listens on loopback only and asks nobody's name: what
//! it hands out is public, and who may write to the folder may as well write to the file.

mod store;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, Path as Segment, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::registry::{MEDIA_TYPE, SCHEMA_NOT_FOUND, SUBJECT_NOT_FOUND, VERSION_NOT_FOUND};
pub use store::StoreError;
use store::{Entry, Store};

const INVALID_SCHEMA: u32 = 42201;
const INVALID_VERSION: u32 = 42202;
const STORE_FAILED: u32 = 50001;

/// A registry that is running.
#[derive(Debug)]
pub struct RegistryServer {
    url: String,
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

/// Why the registry did not start.
#[derive(Debug, thiserror::Error)]
pub enum RegistryServerError {
    /// The file.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The port.
    #[error("failed to listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
}

impl RegistryServer {
    /// Serves the registry kept in `file` on 127.0.0.1; port 0 takes any.
    ///
    /// # Errors
    /// [`RegistryServerError`].
    pub async fn start(file: &Path, port: u16) -> Result<Self, RegistryServerError> {
        let store = Arc::new(Store::open(file)?);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let failed = |source| RegistryServerError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let url = format!("http://{}", listener.local_addr().map_err(failed)?);
        let cancel = CancellationToken::new();
        let cancelled = cancel.clone().cancelled_owned();
        let task = tokio::spawn(async move {
            let served = axum::serve(listener, router(store)).with_graceful_shutdown(cancelled);
            if let Err(error) = served.await {
                tracing::error!(%error, "schema registry stopped");
            }
        });
        Ok(Self { url, cancel, task })
    }

    /// Where clients find it.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Stops it and waits until the requests under way are answered.
    pub async fn shutdown(self) {
        self.cancel.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "schema registry ended badly");
        }
    }
}

fn router(store: Arc<Store>) -> Router {
    Router::new()
        .route("/", get(async || ok(&json!({}))))
        .route("/subjects", get(subjects))
        .route("/subjects/{subject}", post(look_up))
        .route("/subjects/{subject}/versions", get(versions).post(register))
        .route("/subjects/{subject}/versions/{version}", get(version))
        .route("/schemas/ids/{id}", get(schema))
        .fallback(async || refuse(StatusCode::NOT_FOUND, 404, "HTTP 404 Not Found"))
        .with_state(store)
}

async fn subjects(State(store): State<Arc<Store>>) -> Response {
    ok(&json!(store.subjects()))
}

async fn versions(State(store): State<Arc<Store>>, Segment(subject): Segment<String>) -> Response {
    let entries = store.versions(&subject);
    if entries.is_empty() {
        return no_subject(&subject);
    }
    let versions: Vec<i32> = entries.iter().map(|entry| entry.version).collect();
    ok(&json!(versions))
}

async fn version(State(store): State<Arc<Store>>, Segment((subject, version)): Segment<(String, String)>) -> Response {
    let entries = store.versions(&subject);
    if entries.is_empty() {
        return no_subject(&subject);
    }
    let found = match (version.as_str(), version.parse::<i32>()) {
        ("latest", _) | (_, Ok(-1)) => entries.last(),
        (_, Ok(number)) if number > 0 => entries.iter().find(|entry| entry.version == number),
        _ => {
            let text = format!("The specified version '{version}' is not a valid version id.");
            return refuse(StatusCode::UNPROCESSABLE_ENTITY, INVALID_VERSION, &text);
        }
    };
    match found {
        Some(entry) => ok(&whole(&subject, entry)),
        None => {
            let text = format!("Version {version} not found.");
            refuse(StatusCode::NOT_FOUND, VERSION_NOT_FOUND, &text)
        }
    }
}

async fn schema(State(store): State<Arc<Store>>, Segment(id): Segment<String>) -> Response {
    match id.parse().ok().and_then(|id| store.schema(id)) {
        Some(schema) => ok(&json!({ "schema": schema })),
        None => {
            let text = format!("Schema {id} not found");
            refuse(StatusCode::NOT_FOUND, SCHEMA_NOT_FOUND, &text)
        }
    }
}

async fn register(State(store): State<Arc<Store>>, Segment(subject): Segment<String>, Body(schema): Body) -> Response {
    // The file is written and synced here; that is for a thread that may block.
    let registered = tokio::task::spawn_blocking(move || store.register(&subject, &schema)).await;
    match registered {
        Ok(Ok(id)) => ok(&json!({ "id": id })),
        Ok(Err(error)) => failed(&error),
        Err(error) => failed(&error),
    }
}

async fn look_up(State(store): State<Arc<Store>>, Segment(subject): Segment<String>, Body(schema): Body) -> Response {
    let entries = store.versions(&subject);
    if entries.is_empty() {
        return no_subject(&subject);
    }
    match entries.iter().find(|entry| store::same(&entry.schema, &schema)) {
        Some(entry) => ok(&whole(&subject, entry)),
        None => refuse(StatusCode::NOT_FOUND, SCHEMA_NOT_FOUND, "Schema not found"),
    }
}

/// The schema out of the body of a POST. Clients send their own media type, so the body is read as JSON whatever it is called.
struct Body(String);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Response;

    async fn from_request(mut request: axum::extract::Request, state: &S) -> Result<Self, Self::Rejection> {
        let json = header::HeaderValue::from_static("application/json");
        request.headers_mut().insert(header::CONTENT_TYPE, json);
        let body: Result<Json<Value>, JsonRejection> = Json::from_request(request, state).await;
        let invalid = |text: &str| refuse(StatusCode::UNPROCESSABLE_ENTITY, INVALID_SCHEMA, text);
        let Json(body) = body.map_err(|error| invalid(&error.body_text()))?;
        if body.get("schemaType").is_some_and(|kind| kind != "AVRO") {
            return Err(invalid("only schemaType AVRO is served here"));
        }
        let schema = body.get("schema").and_then(Value::as_str);
        let schema = schema.ok_or_else(|| invalid("the body has no text `schema`"))?;
        if let Err(error) = serde_json::from_str::<Value>(schema) {
            return Err(invalid(&format!("the schema is not JSON: {error}")));
        }
        Ok(Self(schema.to_owned()))
    }
}

fn whole(subject: &str, entry: &Entry) -> Value {
    json!({
        "subject": subject,
        "id": entry.id,
        "version": entry.version,
        "schemaType": "AVRO",
        "schema": entry.schema,
    })
}

fn no_subject(subject: &str) -> Response {
    let text = format!("Subject '{subject}' not found.");
    refuse(StatusCode::NOT_FOUND, SUBJECT_NOT_FOUND, &text)
}

fn failed(error: &dyn std::error::Error) -> Response {
    tracing::error!(%error, "schema registry failed to write");
    let text = format!("Error in the backend data store: {error}");
    refuse(StatusCode::INTERNAL_SERVER_ERROR, STORE_FAILED, &text)
}

fn refuse(status: StatusCode, code: u32, message: &str) -> Response {
    let body = json!({"error_code": code, "message": message});
    (status, ok(&body)).into_response()
}

fn ok(body: &Value) -> Response {
    ([(header::CONTENT_TYPE, MEDIA_TYPE)], body.to_string()).into_response()
}
