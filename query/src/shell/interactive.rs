//! The shell that keeps asking.

use super::complete::Assistant;
use super::saved::{saved_help, saved_overview, typed};
use super::{Format, Session, Style, help, place};
use crate::{clock, saved};
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Config, Editor};
use std::io;
use std::path::Path;
use tokio::runtime::Runtime;

/// Questions that the history file keeps.
const HISTORY_LINES: usize = 1000;

/// Asks and answers until the person leaves. Returns 0: that a question had no answer was said when it was asked.
pub(super) fn run(mut session: Session, history: Option<&Path>, runtime: &Runtime) -> io::Result<u8> {
    let config =
        Config::builder().max_history_size(HISTORY_LINES).map_err(io::Error::other)?.auto_add_history(true).build();
    let mut editor: Editor<Assistant, FileHistory> = Editor::with_config(config).map_err(io::Error::other)?;
    editor.set_helper(Some(Assistant::new()));
    if let Some(file) = history {
        // A history that is not there yet, or cannot be read, is an empty one.
        drop(editor.load_history(file));
    }
    println!("The lake, read only. `\\?` for help, `\\d` for what there is, `\\q` to leave.");
    loop {
        match editor.readline("wk> ") {
            Ok(line) if line.trim().is_empty() => {}
            Ok(line) => {
                keep(&mut editor, history);
                if !answer(&mut session, line.trim(), runtime)? {
                    return Ok(0);
                }
            }
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => return Ok(0),
            Err(error) => return Err(io::Error::other(error)),
        }
    }
}

/// Keeps the history at once, so that a shell that is killed has not forgotten it.
fn keep(editor: &mut Editor<Assistant, FileHistory>, history: Option<&Path>) {
    if let Some(Err(error)) = history.map(|file| editor.append_history(file)) {
        tracing::warn!(%error, "failed to keep the shell's history");
    }
}

/// Answers one input; `false` when the person leaves.
fn answer(session: &mut Session, line: &str, runtime: &Runtime) -> io::Result<bool> {
    let mut words = line.trim_end_matches(';').split_whitespace();
    match (words.next().unwrap_or_default(), words.next()) {
        ("\\q" | "exit" | "quit", None) => return Ok(false),
        ("\\?" | "help", None) => print!("{}", help::answer("", session.style.width)),
        ("\\d", None) => print!("{}", help::overview(session.style.width)),
        ("\\d" | "help", Some(name)) => print!("{}", help::answer(name, session.style.width)),
        ("\\x", None) => {
            session.style.vertical = !session.style.vertical;
            println!("one line per column: {}", if session.style.vertical { "on" } else { "off" });
        }
        ("\\format", None) => println!("format: {}", format!("{:?}", session.style.format).to_lowercase()),
        ("\\format", Some(name)) => match name.parse::<Format>() {
            Ok(format) => session.style.format = format,
            Err(error) => eprintln!("error: {error}"),
        },
        ("\\saved", None) => print!("{}", saved_overview(session.style.width)),
        ("\\saved", Some(name)) => {
            let found =
                saved::find(name).map(|saved| (saved, typed(line.trim_end_matches(';').trim_start_matches("\\saved"))));
            match found {
                Ok((saved, Some((_, given)))) => match saved.sql(&given, (session.now)()) {
                    Ok(sql) => ask(session, &sql, runtime)?,
                    Err(error) => eprintln!("error: {error}"),
                },
                Ok((saved, None)) => print!("{}", saved_help(saved)),
                Err(error) => eprintln!("error: {error}"),
            }
        }
        (word, _) if word.starts_with('\\') => eprintln!("error: there is no `{word}`; `\\?` lists what there is"),
        _ => ask(session, line, runtime)?,
    }
    Ok(true)
}

/// Asks what stands in a text, up to the first question that has no answer.
fn ask(session: &mut Session, text: &str, runtime: &Runtime) -> io::Result<()> {
    // The terminal may have changed its size since the last question.
    session.style = Style { vertical: session.style.vertical, ..Style::of_stdout(session.style.format) };
    for question in place::split(text) {
        let started = clock::start();
        if runtime.block_on(session.question(question))? != 0 {
            break;
        }
        println!("({} ms)", started.elapsed().as_millis());
    }
    Ok(())
}
