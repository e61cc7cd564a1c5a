//! `wk run`: a program under watch. Uses the services that run for the data folder, and brings its own where none do.

use crate::config::Settings;
use crate::endpoints::Endpoints;
use crate::home::Key;
use crate::services::{self, Services};
use crate::workspace;
use anyhow::Context as _;
use clap::Args;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use wk_shim::arguments::Watched;
use wk_shim::drain::LogAddress;
use wk_shim::outer;
use wk_shim::policy::Places;
use wk_shim::session::{self, SessionConfig, SessionEnd};
use wk_wire::registry::RegistryConfig;

/// How long the end of a session waits for the watcher, which is a second behind as a rule.
const VERDICT_PATIENCE: Duration = Duration::from_secs(60);

/// The arguments of `wk run`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Adapter that hears the agent: acp, claude-code, codex, gemini, jsonl, mcp, otel.
    #[arg(long)]
    agent: Option<String>,
    #[command(flatten)]
    watched: Watched,
}

/// Runs the program and ends with its exit code.
pub(crate) fn main(settings: Settings, options: Options) -> anyhow::Result<ExitCode> {
    let Options { agent, watched } = options;
    let workspace = watched.workspace.as_deref().map(session::absolute).transpose()?;
    if watched.needs_a_box() {
        return in_a_box(&settings, watched.policy.as_deref(), workspace);
    }
    let overlay = if watched.ephemeral {
        let here = std::env::current_dir().context("the current directory is gone")?;
        // Before anything else is started: the whole process moves onto the overlay.
        Some(session::on_overlay(settings.home.dir(), workspace.as_deref().unwrap_or(&here))?)
    } else {
        None
    };
    let own = OwnServices::where_none_run(&settings)?;
    let endpoints = match &own {
        Some(own) => own.endpoints.clone(),
        None => Endpoints::find(&settings)?,
    };
    for route in &watched.mcp_http {
        eprintln!("wk: the MCP server is reached at {route}");
    }
    let config = SessionConfig {
        mcp_http: watched.mcp_http,
        agent,
        policy: watched.policy,
        workspace,
        overlay,
        inside: watched.wrapped.then(|| outer::WORD.to_owned()),
        ..session_config(&settings, &endpoints, watched.argv)?
    };
    let end = session::run_session(&config, |id| tracing::info!(session_id = %id, "the session has started"));
    if let Some(own) = own {
        if let Ok(end) = &end {
            own.await_verdict(end.session_id.as_str());
        }
        own.stop(&settings)?;
    }
    let end = end?;
    say_what_waits(&end);
    if let Some(changes) = &end.changes {
        workspace::say_what_changed(&end.session_id, changes);
    }
    Ok(ExitCode::from(end.code()))
}

/// Runs this program once more, inside bubblewrap. The services stay outside, out of the agent's reach.
fn in_a_box(settings: &Settings, policy: Option<&str>, workspace: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let cwd = std::env::current_dir().context("the current directory is gone")?;
    let home = settings.user_home.clone().context("HOME is not set")?;
    let places = Places { home, workspace: workspace.unwrap_or_else(|| cwd.clone()) };
    let data = settings.home.dir();
    let writable = session::written_by(policy.unwrap_or(&settings.shim.policy), &places, data)?;
    let bubblewrap = outer::installed()?;
    let own = OwnServices::where_none_run(settings)?;
    let mut more = vec![OsString::from("--wrapped")];
    if settings.brokers.is_none() {
        // In the box the services cannot be recognised by their process.
        let endpoints = match &own {
            Some(own) => own.endpoints.clone(),
            None => Endpoints::find(settings)?,
        };
        let words = ["--brokers", &endpoints.brokers.bootstrap, "--registry", &endpoints.registry];
        more.extend(words.map(OsString::from));
    }
    let ended = outer::run_again(&bubblewrap, &writable, &cwd, &more);
    if let Some(own) = own {
        own.await_verdict("in the box");
        own.stop(settings)?;
    }
    Ok(ExitCode::from(ended?))
}

/// A session in the current folder and environment, with everything that the settings say.
///
/// # Errors
/// When the data folder has no key for commands, or this process has no folder or no home.
pub(crate) fn session_config(
    settings: &Settings,
    endpoints: &Endpoints,
    argv: Vec<OsString>,
) -> anyhow::Result<SessionConfig> {
    let program = std::env::current_exe().context("wk does not know its own path")?;
    let program = program.to_str().context("the path of wk is not UTF-8")?.to_owned();
    Ok(SessionConfig {
        argv,
        env: wk_shim::config::environment(),
        cwd: std::env::current_dir().context("the current directory is gone")?,
        workspace: None,
        agent: None,
        policy: None,
        home: settings.user_home.clone().context("HOME is not set")?,
        tenant: settings.tenant.clone(),
        host: settings.host.clone(),
        principal: Some(settings.principal.clone()),
        data: settings.home.dir().to_owned(),
        protected: Vec::new(),
        log: LogAddress {
            brokers: endpoints.brokers.clone(),
            registry: RegistryConfig {
                url: endpoints.registry.clone(),
                username: None,
                password_file: None,
                ca_file: None,
            },
        },
        command_key: settings.home.verifying_key(Key::Command)?,
        hook: vec![program, "hook".into()],
        mcp_http: Vec::new(),
        overlay: None,
        inside: None,
        config: settings.shim.clone(),
    })
}

fn say_what_waits(end: &SessionEnd) {
    if end.waiting > 0 {
        eprintln!(
            "wk: session {}: {} records wait for the log; the next `wk run` brings them there",
            end.session_id, end.waiting
        );
    }
}

/// Services for as long as one session lasts, on a runtime of their own: the session itself is threads, not tasks.
#[derive(Debug)]
pub(crate) struct OwnServices {
    runtime: tokio::runtime::Runtime,
    services: Services,
    endpoints: Endpoints,
}

impl OwnServices {
    /// Starts them where nothing runs for the data folder and no log is named.
    ///
    /// # Errors
    /// When a log is named and cannot be found, or they cannot be started.
    pub(crate) fn where_none_run(settings: &Settings) -> anyhow::Result<Option<Self>> {
        match Endpoints::find(settings) {
            Ok(_) => Ok(None),
            Err(_) if settings.brokers.is_none() => Self::start(settings).map(Some),
            Err(error) => Err(error),
        }
    }

    fn start(settings: &Settings) -> anyhow::Result<Self> {
        let runtime = services::runtime()?;
        let mut settings = settings.clone();
        // Nobody else brings to the lake what is on the log when they stop, until the next run.
        settings.ingest.drain_time = settings.ingest.drain_time.max(VERDICT_PATIENCE);
        let services = runtime.block_on(Services::start(&settings))?;
        let endpoints = services.endpoints.clone();
        Ok(Self { runtime, services, endpoints })
    }

    /// Waits for what the watcher has to say of the session's last records: there is nobody to find it once these services stop.
    pub(crate) fn await_verdict(&self, session: &str) {
        let why = match self.runtime.block_on(self.services.judged(VERDICT_PATIENCE)) {
            Ok(true) => return,
            Ok(false) => format!("within {} s", VERDICT_PATIENCE.as_secs()),
            Err(error) => format!("({error:#})"),
        };
        eprintln!(
            "wk: session {session}: its last records were not judged {why}; the next `wk run` or `wk up` judges them"
        );
    }

    pub(crate) fn stop(self, settings: &Settings) -> anyhow::Result<()> {
        self.runtime.block_on(self.services.stop(settings))
    }
}
