//! `wk sessions`: newest first.

use super::rows;
use crate::context::{Asker, Engine};
use crate::error::QueryError;
use crate::shell::{Format, Style, table};
use arrow::datatypes::{DataType, Field, Schema};
use std::sync::Arc;

/// The most that are listed; a question can ask for the others.
const LISTED: usize = 200;

const COLUMNS: [&str; 9] = ["session", "started (UTC)", "state", "agent", "for", "calls", "findings", "worst", "task"];

/// Lists the sessions as a table that fits the terminal.
///
/// # Errors
/// [`QueryError`] when the lake does not answer.
pub async fn sessions(engine: &Engine, asker: Asker) -> Result<String, QueryError> {
    let sql = format!(
        "SELECT session_id, to_char(started, '%Y-%m-%d %H:%M:%S'), state, agent, principal, tool_calls, findings, worst, task \
         FROM sessions ORDER BY started DESC, session_id LIMIT {}",
        LISTED + 1
    );
    let mut found = rows(engine, asker, &sql).await?;
    if found.is_empty() {
        return Ok("There is no session in the lake yet.\n".to_owned());
    }
    let more = found.len() > LISTED;
    found.truncate(LISTED);
    let schema = Arc::new(Schema::new(COLUMNS.map(|name| Field::new(name, DataType::Utf8, true)).to_vec()));
    let mut text = table::render(&schema, &found, Style::of_stdout(Format::Table));
    if more {
        text.push_str("… older ones are not listed: `wk sql \"SELECT * FROM sessions\"`\n");
    }
    Ok(text)
}
