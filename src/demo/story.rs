//! Tells what happens while it happens, from the log itself.

use crate::log;
use anyhow::{Context as _, bail};
use std::fmt::Write as _;
use std::time::Duration;
use wk_query::{Asker, Engine, shell};
use wk_schemas::body::{Body, StepStatus};
use wk_schemas::{Record, SessionId, Timestamp, Topic};
use wk_wire::{Brokers, Read as _};

/// How the freeze went.
#[derive(Debug)]
pub(crate) struct Freeze {
    pub(crate) processes: i64,
    pub(crate) method: String,
    pub(crate) took_us: i64,
    /// From the record of the held call to the record of the frozen tree, by the shim's clock.
    pub(crate) since_call_us: i64,
}

/// Reads the log from its end on and says what it sees.
#[derive(Debug)]
pub(crate) struct Narrator {
    reader: wk_wire::kafka::Reader,
    held_at: Option<Timestamp>,
}

impl Narrator {
    /// Starts at the end of events, findings and commands.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(crate) async fn follow(brokers: &Brokers) -> anyhow::Result<Self> {
        let reader = log::tail(brokers, &[Topic::Events, Topic::Findings, Topic::Commands]).await?;
        Ok(Self { reader, held_at: None })
    }

    /// Tells of the session until it is frozen.
    ///
    /// # Errors
    /// When it ends without a freeze, or nothing comes in time.
    pub(crate) async fn until_frozen(&mut self, session: &SessionId, patience: Duration) -> anyhow::Result<Freeze> {
        loop {
            let message = tokio::time::timeout(patience, self.reader.next())
                .await
                .context("nothing has happened for too long; the session was not frozen")??;
            let Some(record) = log::decode(&message) else { continue };
            if record.header.session_id != *session {
                continue;
            }
            if let Some(line) = line(&record) {
                println!("  {line}");
            }
            match &record.body {
                Body::ApprovalRequested(_) => self.held_at = Some(record.header.occurred_at),
                Body::SessionFrozen(frozen) => {
                    let held_at = self.held_at.context("frozen, but nothing was held")?;
                    return Ok(Freeze {
                        processes: frozen.processes,
                        method: frozen.method.clone(),
                        took_us: frozen.took_us,
                        since_call_us: record.header.occurred_at.micros_since(held_at),
                    });
                }
                Body::SessionEnded(ended) => bail!("the session ended ({}) and was not frozen", ended.reason),
                _ => {}
            }
        }
    }
}

/// The record in a line, if it is one that a person wants to hear of while it happens.
fn line(record: &Record) -> Option<String> {
    let line = match &record.body {
        Body::SessionStarted(b) => {
            format!("session {} starts, confined by {}", record.header.session_id, b.confinement.join(", "))
        }
        Body::PromptSubmitted(b) => format!("task      {}", b.text),
        Body::PlanDeclared(b) => {
            let done = b.steps.iter().filter(|s| s.status == StepStatus::Completed).count();
            format!(
                "plan      {} of {} steps done: {}",
                done,
                b.steps.len(),
                b.steps.iter().map(|s| s.text.as_str()).collect::<Vec<_>>().join(" · ")
            )
        }
        Body::ToolCalled(b) => format!("tool      {} {}", b.tool, b.command_text.as_deref().unwrap_or(&b.arguments)),
        Body::ApprovalRequested(b) => format!("HELD      {} ({})", b.subject, b.reason),
        Body::Finding(b) => format!("FINDING   {} [{}] → {}", b.title, b.level, b.step),
        Body::Command(b) => format!("COMMAND   {} by {}, signed {}", b.instruction, b.by, b.key_id),
        Body::SessionFrozen(b) => format!("FROZEN    {}", b.reason),
        _ => return None,
    };
    Some(line)
}

/// The findings of the session and, for each, the records that show it.
///
/// # Errors
/// When the lake cannot be asked.
pub(crate) async fn evidence(engine: &Engine, asker: Asker, session: &SessionId) -> anyhow::Result<String> {
    let sql = format!(
        "SELECT f.level, f.title, f.description, t.time, t.kind, t.what FROM \
         (SELECT level, title, description, unnest(evidence) AS record_id FROM findings WHERE session_id = '{session}') f \
         JOIN timeline t ON t.record_id = f.record_id ORDER BY f.title, t.time"
    );
    let mut text = String::new();
    let mut title = String::new();
    for batch in engine.query(&sql, asker).await?.all().await? {
        for row in shell::cells(&batch) {
            let [level, name, description, time, kind, what] = row.as_slice() else {
                bail!("six columns were asked for")
            };
            if *name != title {
                writeln!(text, "{name} [{level}]\n  {description}")?;
                title.clone_from(name);
            }
            writeln!(text, "    {time}  {kind:<20} {what}")?;
        }
    }
    anyhow::ensure!(!text.is_empty(), "the lake holds no finding with evidence for session {session}");
    Ok(text)
}
