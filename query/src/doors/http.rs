//! The HTTP door, for small questions from scripts, and for health checks.
//!
//! ```text
//! GET  /health                       200 {"status":"ok"}; asks for no token
//! POST /sql?format=json|csv          body: one SQL statement; answer: rows as JSON objects, or CSV with a header
//!      Authorization: Bearer <token>
//! ```
//! It listens where it is told to (the services listen on loopback) and lets in whoever holds the token. An answer is made whole
//! before it is sent, so it is limited in rows; for more there are other doors.

use crate::context::{Asker, Engine};
use crate::error::QueryError;
use crate::shell::{self, Style};
use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::json;
use std::future::Future;
use std::sync::Arc;
use tokio::net::TcpListener;

/// The most rows that one answer may have.
const ROWS_MAX: usize = 100_000;
/// The longest statement, in bytes.
const STATEMENT_MAX: usize = 1 << 20;

/// What the door needs to know.
#[derive(Debug, Clone)]
pub struct Door {
    /// Answers.
    pub engine: Arc<Engine>,
    /// Who holds it may ask.
    pub token: Arc<str>,
    /// In whose name the token was given; stands in the record of each question.
    pub user: Arc<str>,
}

#[derive(Debug, Deserialize)]
struct Asked {
    #[serde(default)]
    format: Format,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Json,
    Csv,
}

/// Answers on `listener` until `stop` ends; questions under way are finished first.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    door: Door,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/health", get(|| async { axum::Json(json!({"status": "ok"})) }))
        .route("/sql", post(sql))
        .layer(axum::extract::DefaultBodyLimit::max(STATEMENT_MAX))
        .with_state(door);
    axum::serve(listener, router).with_graceful_shutdown(stop).await
}

async fn sql(State(door): State<Door>, Query(asked): Query<Asked>, headers: HeaderMap, statement: String) -> Response {
    if !may_enter(&headers, &door.token) {
        let said = "a token is needed: `Authorization: Bearer <token>`";
        return (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")], complaint(said)).into_response();
    }
    match answer(&door, &statement, asked.format).await {
        Ok((kind, body)) => ([(header::CONTENT_TYPE, kind)], body).into_response(),
        Err((status, said)) => (status, complaint(&said)).into_response(),
    }
}

fn complaint(said: &str) -> axum::Json<serde_json::Value> {
    axum::Json(json!({"error": said}))
}

/// Compares digests, so that the time it takes says nothing about the token.
fn may_enter(headers: &HeaderMap, token: &str) -> bool {
    let shown =
        headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).and_then(|v| v.strip_prefix("Bearer "));
    shown.is_some_and(|shown| wk_schemas::Digest::of(shown.as_bytes()) == wk_schemas::Digest::of(token.as_bytes()))
}

async fn answer(door: &Door, statement: &str, format: Format) -> Result<(&'static str, Vec<u8>), (StatusCode, String)> {
    let asker = Asker { user: door.user.to_string(), door: "http".into() };
    let mut rows = door.engine.query(statement, asker).await.map_err(refusal)?;
    let schema = rows.schema();
    let mut batches = Vec::new();
    let mut count = 0;
    while let Some(batch) = rows.next().await.map_err(refusal)? {
        count += batch.num_rows();
        if count > ROWS_MAX {
            let said = format!("the answer has more than {ROWS_MAX} rows; add a LIMIT, or use another door");
            return Err((StatusCode::PAYLOAD_TOO_LARGE, said));
        }
        batches.push(batch);
    }
    let mut body = Vec::new();
    let broken = |error: arrow::error::ArrowError| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string());
    match format {
        Format::Json => {
            let mut writer = arrow::json::ArrayWriter::new(&mut body);
            for batch in &batches {
                writer.write(batch).map_err(broken)?;
            }
            writer.finish().map_err(broken)?;
            drop(writer);
            if body.is_empty() {
                body.extend_from_slice(b"[]");
            }
            Ok(("application/json", body))
        }
        Format::Csv => {
            let style = Style { format: shell::Format::Csv, width: None, vertical: false };
            let mut printer = shell::Printer::new(style, schema, usize::MAX);
            let broken = |error: std::io::Error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string());
            for batch in &batches {
                printer.rows(batch, &mut body).map_err(broken)?;
            }
            printer.finish(&mut body).map_err(broken)?;
            Ok(("text/csv; charset=utf-8", body))
        }
    }
}

/// Whose fault it is, in HTTP's words.
fn refusal(error: QueryError) -> (StatusCode, String) {
    let status = match &error {
        QueryError::Lake { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    };
    (status, error.to_string())
}
