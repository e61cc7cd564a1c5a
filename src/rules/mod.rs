//! `wk rules`: what rule authors use, on a laptop and in CI.
//!
//! Exit codes: 0 nothing to complain about; 1 something is wrong with the rules; 2 it could not be looked at.

mod backtest;
mod explain;
mod recorded;
mod report;
mod sources;

use crate::config::Settings;
use clap::{Subcommand, ValueEnum};
use sources::Where;
use std::path::PathBuf;
use std::process::ExitCode;
use wk_watcher::rules::{Problem, Rules, check_sources, coverage, handbook, lint};

/// What may be done with rules.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Looks for what is wrong: rules that do not load, fields that no record has, rules without tests.
    Lint {
        #[command(flatten)]
        rules: Where,
        /// Warnings fail too.
        #[arg(long)]
        strict: bool,
        /// How it is printed.
        #[arg(long, default_value = "text")]
        format: Format,
    },
    /// Runs the tests that rules carry.
    Test {
        #[command(flatten)]
        rules: Where,
        /// How it is printed.
        #[arg(long, default_value = "text")]
        format: Format,
    },
    /// Says why a rule matches a record, or why not, field by field.
    Explain(explain::Options),
    /// Replays recorded sessions and counts what the rules give.
    Backtest(backtest::Options),
    /// Shows which techniques the rules speak of.
    Coverage {
        #[command(flatten)]
        rules: Where,
        /// MITRE ATT&CK only.
        #[arg(long)]
        attack: bool,
        /// MITRE ATLAS only.
        #[arg(long)]
        atlas: bool,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
        /// Writes a layer for the ATT&CK Navigator.
        #[arg(long, value_name = "FILE")]
        navigator: Option<PathBuf>,
    },
    /// Prints the rules as a document (Markdown).
    Docs {
        #[command(flatten)]
        rules: Where,
    },
}

/// How a report is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// For CI servers.
    Junit,
}

/// Does it.
pub(crate) fn main(settings: &Settings, action: Action) -> anyhow::Result<ExitCode> {
    match action {
        Action::Lint { rules, strict, format } => {
            let lint = lint(&rules.read(settings)?);
            report::lint(&lint, format)?;
            Ok(code(lint.errors.is_empty() && (!strict || lint.warnings.is_empty())))
        }
        Action::Test { rules, format } => {
            let sources = rules.read(settings)?;
            let bar = report::bar("rules");
            let report = check_sources(&sources, |done, of| report::advance(&bar, done, of));
            bar.finish_and_clear();
            report::tests(&report, format)?;
            Ok(code(report.is_clean()))
        }
        Action::Explain(options) => explain::main(settings, &options),
        Action::Backtest(options) => backtest::main(settings, &options),
        Action::Coverage { rules, attack, atlas, json, navigator } => {
            let coverage = coverage(&loaded(&rules, settings)?);
            if let Some(path) = navigator {
                std::fs::write(&path, serde_json::to_string_pretty(&coverage.navigator())?)?;
            }
            report::coverage(&coverage, attack || !atlas, atlas || !attack, json)?;
            Ok(ExitCode::SUCCESS)
        }
        Action::Docs { rules } => {
            print!("{}", handbook(&loaded(&rules, settings)?));
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn code(is_clean: bool) -> ExitCode {
    ExitCode::from(u8::from(!is_clean))
}

/// The rules, compiled. What does not load is shown on standard error and left out, as the watcher leaves it out.
fn loaded(place: &Where, settings: &Settings) -> anyhow::Result<Rules> {
    let rules = Rules::compile(&place.read(settings)?);
    eprint!("{}", rules.problems.iter().map(Problem::rendered).collect::<String>());
    Ok(rules)
}
