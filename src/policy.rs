//! `wk policy`: whether a policy can be read, what it says about one thing, and whether it still says what its own tests expect.

use crate::config::Settings;
use anyhow::Context as _;
use clap::{Subcommand, ValueEnum};
use std::path::PathBuf;
use std::process::ExitCode;
use wk_shim::policy::{Asked, PRESETS, Places, Policy};
use wk_shim::session::{absolute, read_policy};

/// What is done with a policy.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Reads a policy and says what it holds; a mistake is named with its line and column.
    Check {
        /// Policy file, or the name of a preset; without one, the presets are listed.
        policy: Option<String>,
    },
    /// Says what would become of one thing, and by which rule: `wk policy explain workspace write ~/.bashrc`.
    Explain {
        /// Policy file, or the name of a preset.
        policy: String,
        /// What the agent would do.
        verb: Verb,
        /// The path, the program's whole path with its arguments, or host:port.
        #[arg(required = true, num_args = 1.., allow_hyphen_values = true)]
        object: Vec<String>,
        /// The folder that the agent is meant to work in. Default: the current one.
        #[arg(long, value_name = "DIR")]
        workspace: Option<PathBuf>,
    },
    /// Runs the tests that stand in the policy itself; ends with 1 when one fails.
    Test {
        /// Policy file, or the name of a preset.
        policy: String,
    },
}

/// What an agent may do.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Verb {
    /// Open a file for reading.
    Read,
    /// Write, make, rename or remove a file.
    Write,
    /// Execute a program.
    Run,
    /// Connect to a host.
    Connect,
}

/// Does it.
///
/// # Errors
/// When the policy cannot be read; the message names file, line and column.
pub(crate) fn main(settings: &Settings, action: Action) -> anyhow::Result<ExitCode> {
    let here = std::env::current_dir().context("the current directory is gone")?;
    let home = settings.user_home.clone().context("HOME is not set")?;
    let places = |workspace: Option<PathBuf>| Places { home: home.clone(), workspace: workspace.unwrap_or(here) };
    match action {
        Action::Check { policy: None } => {
            for (name, text) in PRESETS {
                println!("{name:<18} {}", text.lines().next().unwrap_or_default().trim_start_matches("# "));
            }
            Ok(ExitCode::SUCCESS)
        }
        Action::Check { policy: Some(name) } => {
            let policy = read_policy(&name, &places(None))?;
            println!("{name}: {policy}");
            Ok(ExitCode::SUCCESS)
        }
        Action::Explain { policy, verb, object, workspace } => {
            let places = places(workspace.as_deref().map(absolute).transpose()?);
            let policy = read_policy(&policy, &places)?;
            let verb = match verb {
                Verb::Read => "read",
                Verb::Write => "write",
                Verb::Run => "run",
                Verb::Connect => "connect",
            };
            let asked = Asked::parse(verb, &object.join(" "), &places).map_err(anyhow::Error::msg)?;
            println!("{}", policy.ask(&asked));
            Ok(ExitCode::SUCCESS)
        }
        Action::Test { policy } => Ok(test(&read_policy(&policy, &places(None))?)),
    }
}

fn test(policy: &Policy) -> ExitCode {
    let mut failed = 0;
    for (trial, verdict) in policy.run_tests() {
        if verdict.action == trial.expect {
            println!("ok      {}: {verdict}", trial.text);
        } else {
            failed += 1;
            println!("FAILED  {}: {verdict}; expected {}", trial.text, trial.expect);
        }
    }
    println!("{} tests, {failed} failed", policy.run_tests().len());
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) }
}
