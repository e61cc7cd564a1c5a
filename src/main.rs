//! `wk`: the watch over AI coding agents, in one binary. This file parses and dispatches; each subcommand has its file.
#![forbid(unsafe_code)]

mod approvals;
mod audit;
mod clock;
mod config;
mod demo;
mod endpoints;
mod home;
mod ingest;
mod instruct;
mod lake;
mod log;
mod parts;
mod people;
mod pipe;
mod policy;
mod publish;
mod retention;
mod rules;
mod run;
mod services;
mod show;
mod topics;
mod up;
mod verify;
mod watcher;
mod workspace;

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// Batches of records come and go; the C library's allocator keeps a third more memory for them, and takes longer (`tests/bench/README.md`).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Records what AI coding agents say and do, compares the two, freezes the agent or asks a person, and proves the record.
#[derive(Debug, Parser)]
#[command(name = "wk", version, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every subcommand takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Configuration file (TOML); `deploy/config/wk.toml` lists every key.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data folder. Default: the configuration's, else ~/.local/share/watchkeeper.
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Kafka bootstrap servers, host:port with commas between; without them the log is the embedded one.
    #[arg(long, global = true, value_name = "LIST")]
    brokers: Option<String>,
    /// URL of the Confluent-compatible schema registry that goes with --brokers.
    #[arg(long, global = true, value_name = "URL")]
    registry: Option<String>,
    /// What goes to standard error of our own traces: error, warn, info, debug.
    #[arg(long, global = true, default_value = "warn", value_name = "LEVEL")]
    log: String,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows the whole path on this machine: a scripted agent is recorded, judged, frozen, queried and proven.
    Demo(demo::Options),
    /// Runs a program under watch: `wk run -- make test`, `wk run --agent codex -- codex exec …`.
    Run(run::Options),
    /// Keeps log, ingest, watcher and query running until it is interrupted.
    Up(up::Options),
    /// Carries the log into the lake (a service of its own), and replays what it had to set aside.
    Ingest(ingest::Options),
    /// Judges what agents do (a service of its own), and measures how well.
    Watcher(watcher::Options),
    /// Answers SQL over HTTP (a service of its own).
    Query,
    /// Stops every process of a session.
    Freeze(instruct::Options),
    /// Lets a frozen session go on.
    Resume(instruct::Options),
    /// Ends every process of a session.
    Kill(instruct::Options),
    /// Shows, grants and denies held actions.
    #[command(subcommand)]
    Approvals(approvals::Action),
    /// Checks, explains and tests policies.
    #[command(subcommand)]
    Policy(policy::Action),
    /// What agents changed on ephemeral workspaces: shows, applies, discards it.
    #[command(subcommand)]
    Workspace(workspace::Action),
    /// Lists the sessions, newest first.
    Sessions,
    /// Shows one session as a timeline of plan against action.
    Timeline {
        /// The session, or a beginning of its id that fits only one.
        session: String,
    },
    /// Asks the lake in SQL; an interactive shell when no query is given.
    Sql(show::SqlOptions),
    /// For rule authors: lint, test, explain, backtest, coverage, docs.
    #[command(subcommand)]
    Rules(rules::Action),
    /// Verifies the lake: files, Merkle log, checkpoint, chains, completeness.
    Verify(verify::Options),
    /// Looks after the lake: compacts it.
    #[command(subcommand)]
    Lake(lake::Action),
    /// Removes days from the lake by a signed act, and says what was removed.
    #[command(subcommand)]
    Retention(retention::Action),
    /// Places, releases and lists legal holds: what they cover cannot be removed.
    #[command(subcommand)]
    Hold(retention::HoldAction),
    /// Tells others what the lake holds: witnesses, time stamp authorities, webhooks get the newest signed checkpoint.
    Publish(publish::Options),
    /// Creates or checks the log's topics.
    #[command(subcommand)]
    Topics(topics::Action),
    /// Answers an agent's hook; started by agents, not by people.
    #[command(hide = true)]
    Hook {
        /// The agent: claude-code, codex, gemini.
        agent: String,
    },
}

fn main() -> ExitCode {
    pipe::end_when_nobody_reads();
    let cli = Cli::parse();
    // The level is for our own crates; others speak up only about errors. An unknown level is `warn`.
    let ours = ["wk", "wk_ingest", "wk_query", "wk_shim", "wk_store", "wk_watcher", "wk_wire"];
    let directives = ours.map(|name| format!("{name}={}", cli.global.log)).join(",");
    let filter = EnvFilter::try_new(format!("error,{directives}")).unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match dispatch(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("wk: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    if let Command::Hook { agent } = &cli.command {
        // A hook answers in the agent's own way, reads no configuration, and is on the agent's critical path.
        return Ok(wk_shim::agents::hook::main(agent));
    }
    let mut global = cli.global;
    if let Command::Demo(options) = &cli.command {
        if options.act {
            return demo::act();
        }
        global.data.get_or_insert_with(|| options.data());
    }
    let settings = config::load(&global)?;
    match cli.command {
        Command::Demo(options) => demo::main(settings, options),
        Command::Run(options) => run::main(settings, options),
        Command::Up(options) => up::main(settings, options),
        Command::Ingest(options) => ingest::main(settings, options),
        Command::Watcher(options) => watcher::main(settings, options),
        Command::Query => services::only(settings, services::Part::Query),
        Command::Freeze(options) => instruct::main(settings, options, wk_schemas::body::Instruction::Freeze),
        Command::Resume(options) => instruct::main(settings, options, wk_schemas::body::Instruction::Resume),
        Command::Kill(options) => instruct::main(settings, options, wk_schemas::body::Instruction::Kill),
        Command::Approvals(action) => approvals::main(settings, action),
        Command::Policy(action) => policy::main(settings, action),
        Command::Workspace(action) => workspace::main(&settings, action),
        Command::Sessions => show::sessions(settings),
        Command::Timeline { session } => show::timeline(settings, &session),
        Command::Sql(options) => show::sql(settings, options),
        Command::Rules(action) => rules::main(&settings, action),
        Command::Verify(options) => verify::main(settings, options),
        Command::Lake(action) => lake::main(&settings, action),
        Command::Retention(action) => retention::main(&settings, action),
        Command::Hold(action) => retention::hold(&settings, action),
        Command::Publish(options) => publish::main(settings, options),
        Command::Topics(action) => topics::main(settings, action),
        Command::Hook { .. } => unreachable!("answered above"),
    }
}
