//! Prints how good the deviation score is on files of labelled sessions: `evaluate <file.jsonl[.xz]>...`
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    match wk_watcher::deviation::evaluate(&paths) {
        Ok(evaluation) => {
            println!("{evaluation}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
