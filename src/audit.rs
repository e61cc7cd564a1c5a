//! Questions are records too: every query that this process answers is written to the log, when there is one.

use crate::config::Settings;
use crate::{clock, log};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use wk_query::OnQuery;
use wk_schemas::body::QueryRun;
use wk_schemas::{Chain, Origin, SessionId, Topic};
use wk_wire::Append as _;

/// How many questions may wait for the log before the next one waits too.
const WAITING_MAX: usize = 256;

/// Writes down what is asked, on a thread of its own.
#[derive(Debug)]
pub(crate) struct Audit {
    asked: Option<SyncSender<QueryRun>>,
    thread: Option<JoinHandle<()>>,
}

impl Audit {
    /// Starts the thread. Without a log it says so once, on standard error, and the questions are answered all the same:
    /// the lake on its own can be read by anybody with the files.
    pub(crate) fn start(settings: &Arc<Settings>) -> Self {
        let (asked, runs) = sync_channel::<QueryRun>(WAITING_MAX);
        let settings = Arc::clone(settings);
        let thread = std::thread::spawn(move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
            let mut writer = None;
            let mut said = false;
            for run in runs {
                let written = runtime.block_on(write(&settings, &mut writer, run));
                if let Err(error) = written
                    && !std::mem::replace(&mut said, true)
                {
                    eprintln!("wk: the question is not on record: {error:#}");
                }
            }
        });
        Self { asked: Some(asked), thread: Some(thread) }
    }

    /// What the engine calls for each question.
    pub(crate) fn on_query(&self) -> OnQuery {
        let asked = self.asked.clone();
        Arc::new(move |run| {
            if let Some(asked) = &asked {
                // The thread ends only after the last sender, so this cannot fail while the engine is there.
                drop(asked.send(run));
            }
        })
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        self.asked = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

struct Writer {
    log: log::Log,
    name: String,
    chain: Chain,
}

async fn write(settings: &Settings, writer: &mut Option<Writer>, run: QueryRun) -> anyhow::Result<()> {
    if writer.is_none() {
        let log = log::connect(settings).await?;
        *writer = Some(Writer { log, name: format!("query/{}", clock::new_id()), chain: Chain::default() });
    }
    let writer = writer.as_mut().expect("made above");
    let session = SessionId::parse("queries")?;
    let header = log::header(settings, clock::new_id(), &session, &writer.name, Origin::Lake);
    let (_, datum) = writer.chain.seal(header, run.into());
    let value = wk_wire::frame(writer.log.schema_id, &datum);
    writer.log.producer.append(Topic::Events.name(), session.as_str().as_bytes(), &value).await?;
    Ok(())
}
