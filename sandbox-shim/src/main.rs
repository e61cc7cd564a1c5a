//! `wk-shim`: the shim as a program of its own, for hosts that bring their own log.
#![forbid(unsafe_code)]

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand};
use ed25519_dalek::VerifyingKey;
use ed25519_dalek::pkcs8::DecodePublicKey as _;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;
use wk_shim::agents::hook;
use wk_shim::arguments::Watched;
use wk_shim::config::{self, File};
use wk_shim::outer;
use wk_shim::policy::Places;
use wk_shim::session::{self, ContainersConfig, SessionConfig};
use wk_wire::Brokers;
use wk_wire::registry::RegistryConfig;

/// Runs an agent under watch: confines it, records what it says and does, holds and freezes it.
#[derive(Debug, Parser)]
#[command(name = "wk-shim", version)]
struct Cli {
    /// Configuration file (TOML); `deploy/config/shim.toml` lists every key.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Kafka bootstrap servers, host:port with commas between.
    #[arg(long, global = true, value_name = "LIST")]
    brokers: Option<String>,
    /// URL of the Confluent-compatible schema registry.
    #[arg(long, global = true, value_name = "URL")]
    registry: Option<String>,
    /// Data folder.
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<PathBuf>,
    /// What goes to standard error of our own traces: error, warn, info, debug.
    #[arg(long, global = true, default_value = "warn", value_name = "LEVEL")]
    log: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs a program under watch: `wk-shim run --agent codex -- codex exec …`.
    Run {
        /// Adapter that hears the agent: acp, claude-code, codex, gemini, jsonl, mcp, otel.
        #[arg(long)]
        agent: Option<String>,
        #[command(flatten)]
        watched: Watched,
    },
    /// Stands between an editor and an agent that speak the Agent Client Protocol, and runs the agent under watch:
    /// `wk-shim acp -- gemini --acp`.
    Acp(Watched),
    /// Stands between an MCP client and a server, and runs the server under watch: `wk-shim mcp -- npx some-server`, or over HTTP
    /// `wk-shim mcp --mcp-http 127.0.0.1:7777=http://127.0.0.1:3001/mcp -- npx some-server`.
    Mcp(Watched),
    /// Records what the containers in gVisor's sandboxes do, each as a session, through the runtime monitoring of runsc:
    /// `wk-shim gvisor -- runsc --pod-init-config={config} do codex exec …`. Without a command it serves until it is told to end, for
    /// containers that others start.
    Gvisor {
        /// The socket that sandboxes connect to. Default: `gvisor.sock` in the data folder.
        #[arg(long, value_name = "PATH")]
        socket: Option<PathBuf>,
        /// A program that stops a container, given its id: run when its record cannot be kept.
        #[arg(long, value_name = "PROGRAM")]
        stop: Option<PathBuf>,
        /// Print what `runsc --pod-init-config` and `runsc trace create --config` are to be given, and do no more.
        #[arg(long)]
        print_config: bool,
        /// A command that starts containers; `{config}` in it is the path of that configuration.
        #[arg(last = true)]
        argv: Vec<OsString>,
    },
    /// Answers an agent's hook; started by agents, not by people.
    #[command(hide = true)]
    Hook {
        /// The agent: claude-code, codex, gemini.
        agent: String,
    },
    /// Says one JSON line to the session that this process belongs to: `wk-shim emit '{"type":"prompt","text":"…"}'`.
    Emit {
        /// The line; `agents/jsonl.rs` documents what may be said.
        line: String,
    },
    /// Sends what earlier sessions left in their outboxes.
    Drain,
    /// Checks configuration and policy, and says what this machine offers.
    Check {
        /// Policy file, or the name of a preset.
        #[arg(long, value_name = "FILE")]
        policy: Option<String>,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter =
        EnvFilter::try_new(format!("{},librdkafka=error,rdkafka=error,wk_wire::kafka::context=error", cli.log))
            .unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match dispatch(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("wk-shim: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    match &cli.command {
        // These two are on the agent's critical path and read no configuration.
        Command::Hook { agent } => return Ok(hook::main(agent)),
        Command::Emit { line } => return emit(line),
        Command::Run { .. }
        | Command::Acp(_)
        | Command::Mcp(_)
        | Command::Gvisor { .. }
        | Command::Drain
        | Command::Check { .. } => {}
    }
    let mut file = match &cli.config {
        Some(path) => File::read(path)?,
        None => File::default(),
    };
    file.data = cli.data.or(file.data);
    file.brokers = cli.brokers.map(Brokers::plain).or(file.brokers);
    file.registry = match cli.registry {
        Some(url) => Some(RegistryConfig { url, username: None, password_file: None, ca_file: None }),
        None => file.registry,
    };
    match cli.command {
        Command::Run { agent, watched } => run(&file, agent, watched),
        Command::Acp(watched) => run(&file, Some("acp".into()), watched),
        Command::Mcp(watched) => run(&file, Some("mcp".into()), watched),
        Command::Gvisor { socket, stop, print_config, argv } => gvisor(&file, socket, stop, print_config, &argv),
        Command::Drain => drain(&file),
        Command::Check { policy } => check(&file, policy.as_deref()),
        Command::Hook { .. } | Command::Emit { .. } => unreachable!("answered above"),
    }
}

fn run(file: &File, agent: Option<String>, watched: Watched) -> anyhow::Result<ExitCode> {
    session::keep_memory_small();
    let data = file.data()?;
    if watched.needs_a_box() {
        return in_a_box(file, &data, watched.policy.as_deref(), watched.workspace.as_deref());
    }
    let Watched { policy, workspace, ephemeral, mcp_http, wrap: _, wrapped, argv } = watched;
    for route in &mcp_http {
        eprintln!("wk-shim: the MCP server is reached at {route}");
    }
    let key = file.command_key.clone().unwrap_or_else(|| data.join("keys/command.pub"));
    let command_key = VerifyingKey::read_public_key_pem_file(&key)
        .map_err(|e| anyhow::anyhow!("{e}"))
        .with_context(|| format!("`{}` is not a public key: commands could not be checked", key.display()))?;
    let workspace = workspace.as_deref().map(session::absolute).transpose()?;
    let cwd = std::env::current_dir().context("the current directory is gone")?;
    let overlay = ephemeral.then(|| session::on_overlay(&data, workspace.as_deref().unwrap_or(&cwd))).transpose()?;
    let program = std::env::current_exe().context("the shim does not know its own path")?;
    let program = program.to_str().context("the shim's own path is not UTF-8")?.to_owned();
    let config = SessionConfig {
        argv,
        env: config::environment(),
        cwd,
        workspace,
        agent,
        policy,
        home: config::home().context("HOME is not set")?,
        tenant: file.tenant.clone(),
        host: session::host_name(),
        principal: file.principal.clone().or_else(config::user_name),
        data,
        protected: vec![key],
        log: file.log()?,
        command_key,
        hook: vec![program, "hook".into()],
        mcp_http,
        overlay,
        inside: wrapped.then(|| outer::WORD.to_owned()),
        config: file.shim.clone(),
    };
    let end = session::run_session(&config, |id| tracing::info!(session_id = %id, "the session has started"))?;
    if let Some(changes) = &end.changes {
        eprintln!("wk-shim: session {}: {}; `wk workspace` shows and applies them", end.session_id, changes.counts());
    }
    if end.waiting > 0 {
        eprintln!(
            "wk-shim: session {}: {} records wait for the log; `wk-shim drain` brings them there",
            end.session_id, end.waiting
        );
    }
    Ok(ExitCode::from(end.code()))
}

/// Runs this program once more, inside bubblewrap.
fn in_a_box(file: &File, data: &Path, policy: Option<&str>, workspace: Option<&Path>) -> anyhow::Result<ExitCode> {
    let cwd = std::env::current_dir().context("the current directory is gone")?;
    let workspace = workspace.map(session::absolute).transpose()?.unwrap_or_else(|| cwd.clone());
    let places = Places { home: config::home().context("HOME is not set")?, workspace };
    let writable = session::written_by(policy.unwrap_or(&file.shim.policy), &places, data)?;
    let code = outer::run_again(&outer::installed()?, &writable, &cwd, &["--wrapped".into()])?;
    Ok(ExitCode::from(code))
}

fn gvisor(
    file: &File,
    socket: Option<PathBuf>,
    stop: Option<PathBuf>,
    print_config: bool,
    argv: &[OsString],
) -> anyhow::Result<ExitCode> {
    let data = file.data()?;
    let socket = socket.unwrap_or_else(|| data.join("gvisor.sock"));
    if print_config {
        let endpoint = socket.to_str().context("the socket's path is not UTF-8")?;
        println!("{:#}", wk_shim::gvisor::trace_session(endpoint));
        return Ok(ExitCode::SUCCESS);
    }
    let config = ContainersConfig {
        socket,
        stop,
        tenant: file.tenant.clone(),
        host: session::host_name(),
        principal: file.principal.clone().or_else(config::user_name),
        data,
        log: file.log()?,
        config: file.shim.clone(),
    };
    let status = session::observe_containers(&config, argv, |path| {
        eprintln!("wk-shim: runsc is to be given --pod-init-config={}", path.display());
    })?;
    Ok(status.map_or(ExitCode::SUCCESS, |status| ExitCode::from(outer::code_of(status))))
}

fn emit(line: &str) -> anyhow::Result<ExitCode> {
    let socket = config::session_socket().context("WATCHKEEPER_SOCKET is not set: this is not a session")?;
    let line = serde_json::from_str(line).context("the line is not JSON")?;
    hook::ask(&socket, &line).map(drop).map_err(|reason| anyhow::anyhow!(reason))?;
    Ok(ExitCode::SUCCESS)
}

fn drain(file: &File) -> anyhow::Result<ExitCode> {
    let left = session::drain_leftovers(&file.data()?.join("outbox"), &file.log()?, file.shim.drain_patience)?;
    for outbox in &left {
        let died = if outbox.had_died { ", whose shim had died" } else { "" };
        match outbox.waiting {
            0 => println!("{}{died}: everything is on the log", outbox.session_id),
            waiting => println!("{}{died}: {waiting} records still wait", outbox.session_id),
        }
    }
    if left.iter().any(|l| l.waiting > 0) {
        bail!("the log did not take everything; try again");
    }
    Ok(ExitCode::SUCCESS)
}

fn check(file: &File, policy: Option<&str>) -> anyhow::Result<ExitCode> {
    let workspace = std::env::current_dir().context("the current directory is gone")?;
    let places = Places { home: config::home().context("HOME is not set")?, workspace };
    let policy = session::read_policy(policy.unwrap_or(&file.shim.policy), &places)?;
    println!("policy {} ({}): well", policy.name, policy.digest);
    println!("this machine offers: {}", wk_shim::confine::Means::probe().words().join(", "));
    Ok(ExitCode::SUCCESS)
}
