//! What the lake knows, told to people: the list of sessions, and one session as a timeline of plan against action.

mod fold;
mod marks;
mod sessions;
mod timeline;

pub use sessions::sessions;
pub use timeline::timeline;

use crate::context::{Asker, Engine};
use crate::error::QueryError;
use crate::shell::cells;

/// All rows of an answer, each cell as text.
async fn rows(engine: &Engine, asker: Asker, sql: &str) -> Result<Vec<Vec<String>>, QueryError> {
    Ok(engine.query(sql, asker).await?.all().await?.iter().flat_map(cells).collect())
}

/// A text as a literal of SQL.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
