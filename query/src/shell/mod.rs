//! `wk sql`: one question and out, or a shell that keeps asking.
//!
//! On a terminal, tables fit its width and texts are cut with `…`; anywhere else output is plain and whole. What agents wrote never
//! reaches a terminal raw: control characters are shown, not sent. `csv` and `json` are never cut.
//!
//! Exit codes: 0 answered, 1 the question has no answer (a mistake in it, or it would change something), 2 a limit or a failure of
//! the lake, 130 cancelled.

mod complete;
mod format;
mod help;
mod interactive;
mod place;
mod saved;
pub(crate) mod table;
mod text;

pub use format::Format;
pub(crate) use format::Printer;
pub use help::{describe, overview};
pub use place::point;
pub use saved::{saved_help, saved_overview};
pub use text::{cells, visible};

use crate::context::{Asker, Engine};
use crate::error::QueryError;
use std::io::{self, IsTerminal as _, Write};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use wk_schemas::Timestamp;

/// How the shell is started.
#[derive(Debug)]
pub struct ShellOptions {
    /// Answers the questions.
    pub engine: Arc<Engine>,
    /// Who asks.
    pub user: String,
    /// The one question; without it the shell is interactive, or reads questions from standard input when that is no terminal.
    pub query: Option<String>,
    /// How answers are printed.
    pub format: Format,
    /// File that keeps what was asked; nothing is kept without one.
    pub history: Option<PathBuf>,
    /// The time of day, from which the spans of saved questions are counted back.
    pub now: fn() -> Timestamp,
}

/// Runs the shell on standard input and output; returns the exit code. Not to be called inside an async runtime.
///
/// # Errors
/// When the terminal or the runtime cannot be had.
pub fn run(options: ShellOptions) -> io::Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // From here on Ctrl-C gives a question up and never the shell, also in the moment before a question listens for it.
    let _interrupts = runtime.block_on(async { signal(SignalKind::interrupt()) })?;
    let style = Style::of_stdout(options.format);
    let asker = Asker { user: options.user, door: "shell".into() };
    let session = Session { engine: options.engine, asker, style, now: options.now };
    match options.query {
        Some(query) => runtime.block_on(session.one(&query)),
        None if io::stdin().is_terminal() => interactive::run(session, options.history.as_deref(), &runtime),
        None => runtime.block_on(session.one(&io::read_to_string(io::stdin())?)),
    }
}

/// Asks one question and prints the answer; for callers with an output of their own. Returns the number of rows.
///
/// # Errors
/// [`AskError::Query`] when there is no answer, [`AskError::Output`] when it cannot be written.
pub async fn ask(
    engine: &Engine,
    sql: &str,
    asker: Asker,
    style: Style,
    out: &mut (dyn Write + Send),
) -> Result<u64, AskError> {
    let mut answer = engine.query(sql, asker).await?;
    let mut printer = Printer::new(style, answer.schema(), engine.config().table_rows);
    while let Some(batch) = answer.next().await? {
        printer.rows(&batch, out)?;
    }
    Ok(printer.finish(out)?)
}

/// Why a question was not answered on the output.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// There is no answer.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// It cannot be written.
    #[error("failed to write the answer")]
    Output(#[from] io::Error),
}

/// How answers look.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    /// The format.
    pub format: Format,
    /// Columns of the terminal; `None` when the output is none.
    pub width: Option<usize>,
    /// One line per column instead of one per row, whatever the width.
    pub vertical: bool,
}

impl Style {
    /// As standard output is.
    #[must_use]
    pub fn of_stdout(format: Format) -> Self {
        let width = io::stdout().is_terminal().then(|| comfy_table::Table::new().width().map_or(80, usize::from));
        Self { format, width, vertical: false }
    }
}

#[derive(Debug)]
pub(crate) struct Session {
    engine: Arc<Engine>,
    asker: Asker,
    style: Style,
    now: fn() -> Timestamp,
}

impl Session {
    /// Answers the questions in a text, one after the other; stops at the first that has no answer.
    async fn one(&self, text: &str) -> io::Result<u8> {
        let text = text.trim();
        if let Some(about) = text.trim_end_matches(';').strip_prefix("help")
            && (about.is_empty() || about.starts_with(' '))
        {
            return Ok(print(&help::answer(about.trim(), self.style.width)));
        }
        for question in place::split(text) {
            let code = self.question(question).await?;
            if code != 0 {
                return Ok(code);
            }
        }
        Ok(0)
    }

    /// Answers one question on standard output; Ctrl-C gives it up.
    async fn question(&self, sql: &str) -> io::Result<u8> {
        let mut out = io::BufWriter::new(io::stdout());
        let asked = tokio::select! {
            asked = ask(&self.engine, sql, self.asker.clone(), self.style, &mut out) => asked,
            _ = tokio::signal::ctrl_c() => Err(QueryError::Cancelled.into()),
        };
        let flushed = out.flush();
        match asked {
            Ok(_) => broken_pipe_is_fine(flushed).map(|()| 0),
            Err(AskError::Output(error)) => broken_pipe_is_fine(Err(error)).map(|()| 0),
            Err(AskError::Query(error)) => {
                eprint!("{}", place::explain(sql, &error));
                Ok(error.exit_code())
            }
        }
    }
}

fn print(text: &str) -> u8 {
    print!("{text}");
    0
}

/// Whoever reads our output may have had enough of it: `wk sql … | head`.
fn broken_pipe_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
