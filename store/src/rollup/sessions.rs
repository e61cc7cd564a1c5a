//! Sessions in a row each: what a list of them shows, as far as the records of one file say it.

use crate::rows::micros;
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use wk_schemas::body::Level;
use wk_schemas::{Header, Kind, Timestamp};

/// The columns. What they mean stands with those of the view `daily_sessions`; `state` is the kind of the newest record that says how a session
/// stands, `worst` the highest level of a finding from 1 to 5, and `state_at` and `task_at` decide between two files.
static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let time = |name: &str| Field::new(name, micros(), true);
    let long = |name: &str| Field::new(name, DataType::Int64, true);
    let count = |name: &str| Field::new(name, DataType::Int64, false);
    Arc::new(Schema::new(vec![
        text("tenant").with_nullable(false),
        text("session_id").with_nullable(false),
        time("first_at").with_nullable(false),
        time("last_at").with_nullable(false),
        long("first_seq"),
        long("last_seq"),
        time("ended"),
        time("state_at"),
        text("state"),
        text("agent"),
        text("agent_version"),
        text("model"),
        text("principal"),
        text("user"),
        text("host"),
        text("workspace"),
        time("task_at"),
        text("task"),
        count("records"),
        count("prompts"),
        count("tool_calls"),
        count("processes"),
        count("files"),
        count("connections"),
        count("denied"),
        count("findings"),
        long("worst"),
        count("approvals_asked"),
        count("freezes"),
        count("kills"),
        count("records_lost"),
    ]))
});

pub(super) fn schema() -> SchemaRef {
    Arc::clone(&SCHEMA)
}

/// The writer whose seqs and host are a session's: a watcher may run elsewhere.
const SHIM: &str = "shim";

/// What the records of one file say of a session.
#[derive(Debug)]
pub(super) struct Summary {
    first_at: Timestamp,
    last_at: Timestamp,
    seqs: Option<(i64, i64)>,
    ended: Option<Timestamp>,
    state: Option<(Timestamp, &'static str)>,
    agent: Option<String>,
    agent_version: Option<String>,
    model: Option<String>,
    principal: Option<String>,
    pub(super) user: Option<String>,
    host: Option<String>,
    pub(super) workspace: Option<String>,
    task: Option<(Timestamp, String)>,
    records: i64,
    pub(super) prompts: i64,
    pub(super) tool_calls: i64,
    pub(super) processes: i64,
    pub(super) files: i64,
    pub(super) connections: i64,
    pub(super) denied: i64,
    pub(super) findings: i64,
    worst: Option<i64>,
    pub(super) approvals_asked: i64,
    pub(super) freezes: i64,
    pub(super) kills: i64,
    pub(super) records_lost: i64,
}

/// Keeps the greater of two texts.
pub(super) fn greatest(known: &mut Option<String>, text: &str) {
    if known.as_deref().is_none_or(|known| known < text) {
        *known = Some(text.to_owned());
    }
}

impl Summary {
    fn new(at: Timestamp) -> Self {
        Self {
            first_at: at,
            last_at: at,
            seqs: None,
            ended: None,
            state: None,
            agent: None,
            agent_version: None,
            model: None,
            principal: None,
            user: None,
            host: None,
            workspace: None,
            task: None,
            records: 0,
            prompts: 0,
            tool_calls: 0,
            processes: 0,
            files: 0,
            connections: 0,
            denied: 0,
            findings: 0,
            worst: None,
            approvals_asked: 0,
            freezes: 0,
            kills: 0,
            records_lost: 0,
        }
    }

    fn take(&mut self, header: &Header) {
        let at = header.occurred_at;
        (self.first_at, self.last_at) = (self.first_at.min(at), self.last_at.max(at));
        if header.writer == SHIM {
            let (first, last) = self.seqs.unwrap_or((header.seq, header.seq));
            self.seqs = Some((first.min(header.seq), last.max(header.seq)));
            greatest(&mut self.host, &header.host);
        }
        for (known, said) in [
            (&mut self.agent, &header.agent_name),
            (&mut self.agent_version, &header.agent_version),
            (&mut self.model, &header.agent_model),
            (&mut self.principal, &header.principal),
        ] {
            if let Some(said) = said {
                greatest(known, said);
            }
        }
        self.records += 1;
    }

    /// Takes a record that says how the session stands.
    pub(super) fn stands(&mut self, at: Timestamp, kind: Kind) {
        self.state = self.state.max(Some((at, kind.as_str())));
        if kind == Kind::SessionEnded {
            self.ended = self.ended.max(Some(at));
        }
    }

    /// Takes a task; the earliest stays.
    pub(super) fn task(&mut self, at: Timestamp, text: &str) {
        self.prompts += 1;
        if self.task.as_ref().is_none_or(|(known, task)| (at, text) < (*known, task.as_str())) {
            self.task = Some((at, text.to_owned()));
        }
    }

    /// Takes a finding of this level.
    pub(super) fn found(&mut self, level: Level) {
        self.findings += 1;
        let rank = match level {
            Level::Unspecified => None,
            Level::Informational => Some(1),
            Level::Low => Some(2),
            Level::Medium => Some(3),
            Level::High => Some(4),
            Level::Critical => Some(5),
        };
        self.worst = self.worst.max(rank);
    }
}

/// Sessions by tenant and id.
#[derive(Debug, Default)]
pub(super) struct Sessions(BTreeMap<String, BTreeMap<String, Summary>>);

impl Sessions {
    /// Takes what a record's header says, and returns the summary for what else it says.
    pub(super) fn take(&mut self, header: &Header) -> &mut Summary {
        if !self.0.contains_key(&header.tenant) {
            self.0.insert(header.tenant.clone(), BTreeMap::new());
        }
        let sessions = self.0.get_mut(&header.tenant).expect("it is there or was put there");
        let id = header.session_id.as_str();
        if !sessions.contains_key(id) {
            sessions.insert(id.to_owned(), Summary::new(header.occurred_at));
        }
        let summary = sessions.get_mut(id).expect("it is there or was put there");
        summary.take(header);
        summary
    }

    /// The rows, in the order of tenant and session.
    pub(super) fn into_batch(self) -> RecordBatch {
        let rows: Vec<(&String, &String, &Summary)> = self
            .0
            .iter()
            .flat_map(|(tenant, sessions)| sessions.iter().map(move |(id, summary)| (tenant, id, summary)))
            .collect();
        let text = |of: fn(&Summary) -> Option<&str>| -> ArrayRef {
            Arc::new(rows.iter().map(|(.., summary)| of(summary)).collect::<StringArray>())
        };
        let long = |of: fn(&Summary) -> Option<i64>| -> ArrayRef {
            Arc::new(rows.iter().map(|(.., summary)| of(summary)).collect::<Int64Array>())
        };
        let count = |of: fn(&Summary) -> i64| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|(.., summary)| of(summary))))
        };
        let time = |of: fn(&Summary) -> Option<Timestamp>| -> ArrayRef {
            let times = rows.iter().map(|(.., summary)| of(summary).map(|time| time.0));
            Arc::new(times.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
        };
        let columns = vec![
            Arc::new(StringArray::from_iter_values(rows.iter().map(|(tenant, ..)| tenant))) as ArrayRef,
            Arc::new(StringArray::from_iter_values(rows.iter().map(|(_, id, _)| id))),
            time(|s| Some(s.first_at)),
            time(|s| Some(s.last_at)),
            long(|s| Some(s.seqs?.0)),
            long(|s| Some(s.seqs?.1)),
            time(|s| s.ended),
            time(|s| Some(s.state?.0)),
            text(|s| Some(s.state?.1)),
            text(|s| s.agent.as_deref()),
            text(|s| s.agent_version.as_deref()),
            text(|s| s.model.as_deref()),
            text(|s| s.principal.as_deref()),
            text(|s| s.user.as_deref()),
            text(|s| s.host.as_deref()),
            text(|s| s.workspace.as_deref()),
            time(|s| Some(s.task.as_ref()?.0)),
            text(|s| Some(&s.task.as_ref()?.1)),
            count(|s| s.records),
            count(|s| s.prompts),
            count(|s| s.tool_calls),
            count(|s| s.processes),
            count(|s| s.files),
            count(|s| s.connections),
            count(|s| s.denied),
            count(|s| s.findings),
            long(|s| s.worst),
            count(|s| s.approvals_asked),
            count(|s| s.freezes),
            count(|s| s.kills),
            count(|s| s.records_lost),
        ];
        RecordBatch::try_new(schema(), columns).expect("the columns are those of the schema")
    }
}
