//! `wk sql`, `wk sessions`, `wk timeline`: the lake, shown to people.

use crate::audit::Audit;
use crate::config::{Settings, WhichLake};
use crate::{clock, services};
use anyhow::bail;
use clap::Args;
use std::process::ExitCode;
use std::sync::Arc;
use wk_query::shell::{self, Format, ShellOptions, Style};
use wk_query::{Asker, Engine, OnQuery, saved};
use wk_schemas::SessionId;

/// The arguments of `wk sql`.
#[derive(Debug, Args)]
pub(crate) struct SqlOptions {
    /// One statement; without it, a shell (`\?` there says what it knows).
    query: Option<String>,
    /// How the answer is printed: table, csv, json.
    #[arg(long, default_value = "table")]
    format: Format,
    /// Asks a question that is kept with the product; without a name, lists them.
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "", conflicts_with = "query")]
    saved: Option<String>,
    /// What a saved question is to be asked with, as often as needed: `--param since=7d`.
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair, requires = "saved")]
    param: Vec<(String, String)>,
    /// Prints the statement of a saved question instead of asking it.
    #[arg(long, requires = "saved")]
    print: bool,
}

fn pair(text: &str) -> Result<(String, String), String> {
    text.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())).ok_or("it is no KEY=VALUE".to_owned())
}

/// Opens the lake of the data folder for questions.
///
/// # Errors
/// When there is no lake yet, or it cannot be read.
pub(crate) async fn engine(settings: &Settings, on_query: OnQuery) -> anyhow::Result<Arc<Engine>> {
    let which = WhichLake::default();
    if settings.lake(&which)?.is_nowhere() {
        bail!("there is no lake in `{}` yet: run something under `wk run` first", settings.home.dir().display());
    }
    let lake = which.open(settings).await?;
    Ok(Arc::new(Engine::open(Arc::new(lake), settings.query.clone(), on_query)?))
}

/// Asks one question, or starts the shell.
pub(crate) fn sql(settings: Settings, options: SqlOptions) -> anyhow::Result<ExitCode> {
    let query = match options.saved.as_deref() {
        None => options.query,
        Some("") => {
            print!("{}", shell::saved_overview(Style::of_stdout(Format::Table).width));
            return Ok(ExitCode::SUCCESS);
        }
        Some(name) => match saved::find(name).and_then(|saved| saved.sql(&options.param, clock::now())) {
            Ok(sql) => Some(sql),
            Err(error) => {
                eprintln!("error: {error}");
                return Ok(ExitCode::from(1));
            }
        },
    };
    if let Some(query) = query.as_ref().filter(|_| options.print) {
        println!("{query}");
        return Ok(ExitCode::SUCCESS);
    }
    let settings = Arc::new(settings);
    let audit = Audit::start(&settings);
    let engine = services::block_on(engine(&settings, audit.on_query()))?;
    let code = shell::run(ShellOptions {
        engine,
        user: settings.principal.clone(),
        query,
        format: options.format,
        history: Some(settings.home.sql_history()),
        now: clock::now,
    })?;
    Ok(ExitCode::from(code))
}

/// Lists the sessions.
pub(crate) fn sessions(settings: Settings) -> anyhow::Result<ExitCode> {
    print(settings, async |engine, asker| Ok(wk_query::render::sessions(engine, asker).await?))
}

/// Shows one session.
pub(crate) fn timeline(settings: Settings, session: &str) -> anyhow::Result<ExitCode> {
    print(settings, async |engine, asker| {
        let session = complete(engine, asker.clone(), session).await?;
        Ok(wk_query::render::timeline(engine, asker, session.as_str()).await?)
    })
}

fn print(
    settings: Settings,
    render: impl AsyncFnOnce(&Engine, Asker) -> anyhow::Result<String>,
) -> anyhow::Result<ExitCode> {
    let settings = Arc::new(settings);
    let audit = Audit::start(&settings);
    let asker = Asker { user: settings.principal.clone(), door: "shell".into() };
    let text = services::block_on(async {
        let engine = engine(&settings, audit.on_query()).await?;
        render(&engine, asker).await
    })?;
    print!("{text}");
    Ok(ExitCode::SUCCESS)
}

/// The session whose id begins so: one that runs here now, or one of the lake.
///
/// # Errors
/// When none or more than one fits.
pub(crate) async fn find_session(settings: &Settings, beginning: &str) -> anyhow::Result<SessionId> {
    let mut fitting: Vec<String> = std::fs::read_dir(settings.home.sessions())
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with(beginning))
        .collect();
    if fitting.is_empty() && !settings.lake(&WhichLake::default())?.is_nowhere() {
        let asker = Asker { user: settings.principal.clone(), door: "shell".into() };
        let engine = engine(settings, Arc::new(|_| ())).await?;
        return complete(&engine, asker, beginning).await;
    }
    one(beginning, &mut fitting)
}

async fn complete(engine: &Engine, asker: Asker, beginning: &str) -> anyhow::Result<SessionId> {
    // The text stands in the statement, so it must be what a session id may be.
    SessionId::parse(beginning)?;
    let sql = format!("SELECT session_id FROM sessions WHERE starts_with(session_id, '{beginning}')");
    let mut fitting = Vec::new();
    for batch in engine.query(&sql, asker).await?.all().await? {
        fitting.extend(shell::cells(&batch).into_iter().filter_map(|row| row.into_iter().next()));
    }
    one(beginning, &mut fitting)
}

fn one(beginning: &str, fitting: &mut Vec<String>) -> anyhow::Result<SessionId> {
    match fitting.len() {
        0 => bail!("no session begins with `{beginning}`; see `wk sessions`"),
        1 => Ok(SessionId::parse(&fitting.remove(0))?),
        n => bail!("`{beginning}` fits {n} sessions; give more of the id"),
    }
}

/// A span of time for people: 950 µs, 3.2 ms, 4.1 s, 5 min.
pub(crate) fn micros(micros: i64) -> String {
    let tenths = |n: i64, unit: i64| format!("{}.{}", n / unit, n % unit * 10 / unit);
    match micros {
        ..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{} ms", tenths(micros, 1_000)),
        1_000_000..120_000_000 => format!("{} s", tenths(micros, 1_000_000)),
        _ => format!("{} min", micros / 60_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_said_in_the_unit_that_fits() {
        for (us, said) in
            [(0, "0 µs"), (999, "999 µs"), (3_249, "3.2 ms"), (4_100_000, "4.1 s"), (300_000_000, "5 min")]
        {
            assert_eq!(micros(us), said);
        }
    }
}
