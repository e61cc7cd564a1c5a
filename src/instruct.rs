//! `wk freeze`, `wk resume`, `wk kill`: what a person wants done to a session, and what came of it.

use crate::config::Settings;
use crate::people::{self, Wish};
use crate::{log, services, show};
use anyhow::bail;
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;
use wk_schemas::body::{Body, Instruction, Level};
use wk_schemas::{Record, RecordId, SessionId};

/// The arguments of `wk freeze`, `wk resume` and `wk kill`, and of every other decision about a session that runs.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The session, or a beginning of its id that fits only one.
    pub(crate) session: String,
    /// Why; it stands in the record.
    #[arg(long, default_value = "asked for on the command line")]
    pub(crate) reason: String,
    /// Private key (PKCS#8, PEM) of the person who decides. Default: that of the data folder.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// How many seconds to wait for the fact before saying that it has not been seen.
    #[arg(long, default_value_t = 10)]
    pub(crate) wait: u64,
}

/// Appends the decision, then waits for the fact that the shim records.
pub(crate) fn main(settings: Settings, options: Options, decision: Instruction) -> anyhow::Result<ExitCode> {
    services::block_on(async {
        let session = show::find_session(&settings, &options.session).await?;
        // The reader starts before the decision is written, so the answer cannot be missed.
        let mut facts = log::Facts::follow(&settings, &session).await?;
        let wish = Wish { session: session.clone(), decision, ticket: None, reason: options.reason, key: options.key };
        let asked = people::decide(&settings, wish).await?;
        let wait = std::time::Duration::from_secs(options.wait);
        let says = |record: &Record| effect(record, decision).map(Ok).or_else(|| remark(record, asked));
        match facts.wait_for(wait, says).await? {
            Some(Ok(said)) => {
                println!("{session}: {said}");
                Ok(ExitCode::SUCCESS)
            }
            Some(Err(refused)) => bail!("{session}: {refused}"),
            None => Ok(unseen(&session, asked, options.wait)),
        }
    })
}

/// Says that a decision has shown no effect in so many seconds.
pub(crate) fn unseen(session: &SessionId, decision: RecordId, wait: u64) -> ExitCode {
    eprintln!(
        "wk: decision {decision} is on the log, but session {session} has not shown its effect within {wait} s; \
         is the watcher running, and the session alive?"
    );
    ExitCode::from(1)
}

/// What the record says of the decision's effect, if it is the one.
fn effect(record: &Record, decision: Instruction) -> Option<String> {
    match (&record.body, decision) {
        (Body::SessionFrozen(b), Instruction::Freeze) => {
            Some(format!("frozen, {} processes in {} ({})", b.processes, show::micros(b.took_us), b.method))
        }
        (Body::SessionResumed(b), Instruction::Resume) => Some(format!("resumed in {}", show::micros(b.took_us))),
        (Body::SessionKilled(b), Instruction::Kill) => {
            Some(format!("killed, {} processes in {}", b.processes, show::micros(b.took_us)))
        }
        (Body::SessionEnded(b), _) => Some(format!("has ended ({})", b.reason)),
        (Body::ApprovalResolved(b), Instruction::Grant | Instruction::Deny) => {
            Some(format!("{}: {}", b.resolution.as_str().to_lowercase(), b.reason))
        }
        _ => None,
    }
}

/// What the watcher says of the decision itself: `Ok` that it counts and another person's is needed as well, `Err` that it does not count.
pub(crate) fn remark(record: &Record, decision: RecordId) -> Option<Result<String, String>> {
    match &record.body {
        Body::Finding(b) if record.header.caused_by.contains(&decision) => {
            let said = format!("{}: {}", b.title, b.description);
            Some(if b.level == Level::High { Err(said) } else { Ok(said) })
        }
        _ => None,
    }
}

/// As [`effect`], for the question with this ticket.
pub(crate) fn answer(record: &Record, ticket: RecordId) -> Option<String> {
    match &record.body {
        Body::ApprovalResolved(b) if b.ticket == ticket => effect(record, Instruction::Grant),
        Body::SessionEnded(_) => effect(record, Instruction::Grant),
        _ => None,
    }
}
