//! `wk demo`: the whole path on this machine, told as it happens.
//!
//! A scripted agent is given a task, declares a plan, does what it planned, then reads a planted credential and reaches for a
//! host that no plan named. The connection is held, the watcher freezes the session, and the record of it all is queried and proven.

mod agent;
mod stage;
mod story;

use crate::config::Settings;
use crate::people::{self, Wish};
use crate::services::{self, Services};
use crate::{clock, run, show, verify};
use anyhow::{Context as _, bail};
use clap::Args;
use stage::Stage;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use wk_query::shell::{Format, Style};
use wk_query::{Asker, Engine};
use wk_schemas::SessionId;
use wk_schemas::body::Instruction;
use wk_shim::session::{self, SessionConfig};

/// How long any one thing may take before the demo says that it has not come.
const PATIENCE: Duration = Duration::from_secs(60);

/// The questions that the demo asks, as an analyst would.
const QUESTIONS: [(&str, &str); 3] = [
    (
        "Which credentials were read, by what, and had a tool call named them?",
        "SELECT time, image, path, mediation FROM file_access \
         WHERE path LIKE '%/.aws/%' AND operation = 'READ' ORDER BY time LIMIT 5",
    ),
    (
        "Who reached for the network, and what became of it?",
        "SELECT time, image, address, port, outcome FROM connections WHERE port IS NOT NULL ORDER BY time LIMIT 5",
    ),
    (
        "What did the watcher find, and how bad is it?",
        "SELECT time, level, title, step FROM findings ORDER BY time LIMIT 10",
    ),
];

/// The arguments of `wk demo`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The folder for everything that the demo makes.
    #[arg(long, default_value = "watchkeeper-demo", value_name = "DIR")]
    dir: PathBuf,
    /// Is the scripted agent; started by the demo itself.
    #[arg(long, hide = true)]
    pub(crate) act: bool,
}

impl Options {
    /// Where the demo keeps its data.
    pub(crate) fn data(&self) -> PathBuf {
        self.dir.join("data")
    }
}

/// Plays the scripted agent's part.
pub(crate) fn act() -> anyhow::Result<ExitCode> {
    agent::main()
}

/// Shows the whole path.
pub(crate) fn main(settings: Settings, options: Options) -> anyhow::Result<ExitCode> {
    let began = clock::start();
    let stage = Stage::set(&options.dir)?;
    say("starting log, ingest, watcher and query in this process");
    let runtime = services::runtime()?;
    let services = runtime.block_on(Services::start(&settings))?;
    let told = runtime.block_on(tell(&settings, &services, &stage));
    let stopped = runtime.block_on(services.stop(&settings));
    told?;
    stopped?;
    let exe = std::env::current_exe()?;
    println!(
        "\nThe demo took {}. Everything is in `{}`. Go on from there:",
        show::micros(micros(began)),
        options.dir.display()
    );
    for next in ["sessions", "timeline <session>", "sql", "verify"] {
        println!("  {} --data {} {next}", exe.display(), options.data().display());
    }
    println!(
        "or put a program of your own under watch:\n  {} --data {} run -- make test",
        exe.display(),
        options.data().display()
    );
    Ok(ExitCode::SUCCESS)
}

async fn tell(settings: &Settings, services: &Services, stage: &Stage) -> anyhow::Result<()> {
    println!("\nThe task: “{}”", agent::TASK);
    println!("The host that no plan names listens at {}.\n", stage.stranger.address);
    let mut narrator = story::Narrator::follow(&services.endpoints.brokers).await?;
    let config = session_of(settings, services, stage)?;
    let (tell_id, id) = tokio::sync::oneshot::channel();
    let session =
        tokio::task::spawn_blocking(move || session::run_session(&config, |id| drop(tell_id.send(id.clone()))));
    let Ok(id) = id.await else {
        session.await?.context("the session did not start")?;
        bail!("the session ended before it began");
    };
    let freeze = narrator.until_frozen(&id, PATIENCE).await?;
    let (connections, bytes) = stage.stranger.received();
    println!();
    println!("Frozen: {} processes stand still ({}).", freeze.processes, freeze.method);
    println!("  from the command's arrival at the shim to the frozen tree: {}", show::micros(freeze.took_us));
    println!("  from the held system call to the frozen tree:              {}", show::micros(freeze.since_call_us));
    println!("The host that no plan named has seen {connections} connections and {bytes} bytes.");

    say("you look at it and decide: kill");
    let wish = Wish {
        session: id.clone(),
        decision: Instruction::Kill,
        ticket: None,
        reason: "it read a credential and dialled a host that nobody planned".into(),
        key: None,
    };
    people::decide(settings, wish).await?;
    let end = tokio::time::timeout(PATIENCE, session).await.context("the session was not killed in time")???;
    println!("the session is over: {}", end.reason);
    let (connections, bytes) = stage.stranger.received();
    anyhow::ensure!((connections, bytes) == (0, 0), "the host received {connections} connections and {bytes} bytes");

    say("waiting for ingest to commit it all to the lake");
    let engine = show::engine(settings, Arc::new(|_| ())).await?;
    committed(&engine, settings, &id).await?;
    let asker = Asker { user: settings.principal.clone(), door: "shell".into() };
    heading("The timeline: plan against action");
    print!("{}", wk_query::render::timeline(&engine, asker.clone(), id.as_str()).await?);
    heading("The finding, and its evidence");
    print!("{}", story::evidence(&engine, asker.clone(), &id).await?);
    heading("Three questions to the lake, in SQL");
    for (question, sql) in QUESTIONS {
        println!("\n{question}\n  {sql}");
        let mut out = Vec::new();
        wk_query::shell::ask(&engine, sql, asker.clone(), Style::of_stdout(Format::Table), &mut out).await?;
        print!("{}", String::from_utf8_lossy(&out));
    }
    heading("Verifying the lake");
    let report = verify::lake(settings).await?;
    print!("{report}");
    anyhow::ensure!(report.is_valid(), "the lake does not verify");
    Ok(())
}

fn session_of(settings: &Settings, services: &Services, stage: &Stage) -> anyhow::Result<SessionConfig> {
    let me = std::env::current_exe()?.into_os_string();
    let argv = [me, "demo".into(), "--act".into()].into_iter().collect::<Vec<OsString>>();
    let base = run::session_config(settings, &services.endpoints, argv)?;
    let mut env: Vec<_> = base.env.iter().filter(|(name, _)| name != "HOME").cloned().collect();
    env.push(("HOME".into(), stage.home.clone().into_os_string()));
    Ok(SessionConfig {
        env,
        cwd: stage.workspace.clone(),
        home: stage.home.clone(),
        agent: Some("jsonl".into()),
        policy: Some(path_text(&stage.policy)?),
        ..base
    })
}

fn path_text(path: &Path) -> anyhow::Result<String> {
    Ok(path.to_str().context("the demo's folder is not UTF-8")?.to_owned())
}

/// Waits until the session's last record and the finding that froze it are in the lake.
async fn committed(engine: &Engine, settings: &Settings, id: &SessionId) -> anyhow::Result<()> {
    let sql = format!(
        "SELECT kind FROM records WHERE session_id = '{id}' AND kind IN ('session_ended', 'session_killed') \
         UNION ALL SELECT 'finding' FROM findings WHERE session_id = '{id}' AND step = 'FREEZE'"
    );
    let search = async {
        loop {
            let asker = Asker { user: settings.principal.clone(), door: "shell".into() };
            let mut kinds = std::collections::BTreeSet::new();
            for batch in engine.query(&sql, asker).await?.all().await? {
                kinds.extend(wk_query::shell::cells(&batch).into_iter().flatten());
            }
            if kinds.len() == 3 {
                return anyhow::Ok(());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(PATIENCE, search).await.context("the lake did not get the session's end in time")?
}

fn say(what: &str) {
    println!("… {what}");
}

fn heading(text: &str) {
    println!("\n── {text} {}", "─".repeat(90_usize.saturating_sub(text.chars().count())));
}

fn micros(since: std::time::Instant) -> i64 {
    i64::try_from(since.elapsed().as_micros()).unwrap_or(i64::MAX)
}
