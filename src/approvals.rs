//! `wk approvals`: what is held, and a person's answer.

use crate::config::Settings;
use crate::people::{self, Wish};
use crate::{clock, instruct, log, services, show};
use anyhow::{Context as _, bail};
use clap::Subcommand;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use wk_schemas::body::{ApprovalRequested, Body, Instruction};
use wk_schemas::{Record, RecordId, SessionId};

/// How far back a question may lie that still waits: holds are far shorter.
const LOOK_BACK: Duration = Duration::from_secs(24 * 3600);

/// The subcommands of `wk approvals`.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Lists the actions that wait for an answer.
    List,
    /// Lets a held action go on.
    Grant(Answer),
    /// Refuses a held action.
    Deny(Answer),
}

/// The arguments of an answer.
#[derive(Debug, clap::Args)]
pub(crate) struct Answer {
    /// The ticket, or a beginning or end of it that fits only one.
    ticket: String,
    /// Why; it stands in the record.
    #[arg(long, default_value = "answered on the command line")]
    reason: String,
    /// What the answer stands for from now on: this action, actions like it, or all of its kind in this session.
    #[arg(long, value_enum, default_value_t = Scope::Action)]
    scope: Scope,
    /// For how long: 30s, 20m, 2h. Default: as long as the watcher's configuration says.
    #[arg(long = "for", value_name = "TIME", value_parser = lifetime)]
    lifetime: Option<String>,
    /// Private key (PKCS#8, PEM) of the person who answers. Default: that of the data folder.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// How many seconds to wait for the fact before saying that it has not been seen.
    #[arg(long, default_value_t = 10)]
    wait: u64,
}

/// How far an answer reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Scope {
    Action,
    Pattern,
    Session,
}

impl Answer {
    /// The reason as it is signed: how far it reaches stands at its end.
    fn signed_reason(&self) -> String {
        let scope = match self.scope {
            Scope::Action => "action",
            Scope::Pattern => "pattern",
            Scope::Session => "session",
        };
        match (&self.lifetime, self.scope) {
            (None, Scope::Action) => self.reason.clone(),
            (None, _) => format!("{} [{scope}]", self.reason),
            (Some(time), _) => format!("{} [{scope}, {time}]", self.reason),
        }
    }
}

fn lifetime(text: &str) -> Result<String, String> {
    let number = text.strip_suffix(['s', 'm', 'h']).filter(|n| n.parse::<u32>().is_ok());
    number.map(|_| text.to_owned()).ok_or_else(|| "a number and s, m or h: 30m".to_owned())
}

/// Lists or answers.
pub(crate) fn main(settings: Settings, action: Action) -> anyhow::Result<ExitCode> {
    services::block_on(async {
        match action {
            Action::List => list(&open(&settings).await?),
            Action::Grant(answer) => resolve(&settings, answer, Instruction::Grant).await?,
            Action::Deny(answer) => resolve(&settings, answer, Instruction::Deny).await?,
        }
        Ok(ExitCode::SUCCESS)
    })
}

type Open = BTreeMap<RecordId, (SessionId, ApprovalRequested)>;

/// The questions without an answer whose time has not run out, read from the log itself: the lake lags by a few seconds.
async fn open(settings: &Settings) -> anyhow::Result<Open> {
    let mut open = Open::new();
    for record in log::recent_events(settings, LOOK_BACK).await? {
        let session = record.header.session_id;
        match record.body {
            Body::ApprovalRequested(asked) => {
                open.insert(asked.ticket, (session, asked));
            }
            Body::ApprovalResolved(answered) => {
                open.remove(&answered.ticket);
            }
            Body::SessionEnded(_) | Body::SessionKilled(_) => open.retain(|_, (of, _)| *of != session),
            _ => {}
        }
    }
    let now = clock::now();
    open.retain(|_, (_, asked)| asked.deadline > now);
    Ok(open)
}

fn list(open: &Open) {
    if open.is_empty() {
        println!("nothing is held");
    }
    let now = clock::now();
    for (ticket, (session, asked)) in open {
        let image = asked.actor.as_ref().map_or("the agent", |a| a.image.as_str());
        println!("{ticket}  session {session}");
        println!("  {image} wants to {}", asked.subject);
        println!("  held because {}; refused in {}", asked.reason, show::micros(asked.deadline.micros_since(now)));
    }
}

async fn resolve(settings: &Settings, answer: Answer, decision: Instruction) -> anyhow::Result<()> {
    let open = open(settings).await?;
    let mut fitting = open.into_iter().filter(|(ticket, _)| {
        let text = ticket.to_string();
        text.starts_with(&answer.ticket) || text.ends_with(&answer.ticket)
    });
    let (ticket, (session, asked)) = fitting
        .next()
        .with_context(|| format!("no held action has the ticket `{}`; see `wk approvals list`", answer.ticket))?;
    if fitting.next().is_some() {
        bail!("`{}` fits more than one ticket; see `wk approvals list`", answer.ticket);
    }
    let mut facts = log::Facts::follow(settings, &session).await?;
    let reason = answer.signed_reason();
    let wish = Wish { session: session.clone(), decision, ticket: Some(ticket), reason, key: answer.key };
    let decided = people::decide(settings, wish).await?;
    let says = |record: &Record| instruct::answer(record, ticket).map(Ok).or_else(|| instruct::remark(record, decided));
    match facts.wait_for(Duration::from_secs(answer.wait), says).await? {
        Some(Ok(said)) => println!("{session}: {} — {said}", asked.subject),
        Some(Err(refused)) => bail!("{session}: {} — {refused}", asked.subject),
        None => {
            bail!(
                "the answer is on the log, but its effect has not been seen within {} s; is the watcher running?",
                answer.wait
            )
        }
    }
    Ok(())
}
