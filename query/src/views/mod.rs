//! The views: one file each, every column with its type and its meaning. What `wk sql "help"` and the table `columns` say
//! is what stands here.
//!
//! A view is a `SELECT` over `records`, whose filter on `kind` comes first: with it a scan leaves out what belongs to other
//! kinds, and reads only those leaves of the nested columns that the question names.

mod approvals;
mod columns;
mod commands;
mod connections;
mod daily_first_seen;
mod daily_sessions;
mod dead_letters;
mod file_access;
mod findings;
mod ocsf;
mod ocsf_api_activity;
mod ocsf_detection_finding;
mod ocsf_file_activity;
mod ocsf_network_activity;
mod ocsf_process_activity;
mod ordinals;
mod plans;
mod processes;
mod rollups;
mod sessions;
mod timeline;
mod tool_calls;

pub(crate) use columns::{NAME as COLUMNS, table as columns_table};
pub(crate) use ordinals::ordinals;
pub(crate) use rollups::rollups;

/// Every view, in the order in which a person would want to hear of them.
pub const ALL: &[View] = &[
    sessions::VIEW,
    daily_sessions::VIEW,
    daily_first_seen::VIEW,
    timeline::VIEW,
    plans::VIEW,
    tool_calls::VIEW,
    processes::VIEW,
    file_access::VIEW,
    connections::VIEW,
    findings::VIEW,
    commands::VIEW,
    approvals::VIEW,
    dead_letters::VIEW,
    ocsf_process_activity::VIEW,
    ocsf_file_activity::VIEW,
    ocsf_network_activity::VIEW,
    ocsf_api_activity::VIEW,
    ocsf_detection_finding::VIEW,
];

/// A view.
#[derive(Debug, Clone, Copy)]
pub struct View {
    /// Its name.
    pub name: &'static str,
    /// What one row of it is.
    pub doc: &'static str,
    /// Its columns, in order.
    pub columns: &'static [Column],
    /// What stands before the `SELECT`: a `WITH`, or nothing.
    with: &'static str,
    /// What stands behind `FROM`.
    from: &'static str,
}

/// A column of a view.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// Its type as SQL says it.
    pub data_type: &'static str,
    /// What it means.
    pub doc: &'static str,
    /// How it is made from the records.
    sql: &'static str,
}

const fn column(name: &'static str, data_type: &'static str, doc: &'static str, sql: &'static str) -> Column {
    Column { name, data_type, doc, sql }
}

impl View {
    /// The `SELECT` that the view stands for.
    #[must_use]
    pub fn sql(&self) -> String {
        let columns: Vec<String> = self.columns.iter().map(|c| format!("{} AS \"{}\"", c.sql, c.name)).collect();
        let with = if self.with.is_empty() { String::new() } else { format!("{}\n", self.with) };
        format!("{with}SELECT\n  {}\nFROM {}", columns.join(",\n  "), self.from)
    }
}

// Columns that stand in most views, with one meaning in all of them.
const TIME: Column = column("time", "timestamp", "When it happened, by the clock of the source.", "occurred_at");
const SESSION: Column = column("session_id", "text", "The run of the agent that it belongs to.", "session_id");
const HOST: Column = column("host", "text", "Name of the host it happened on.", "host");
const AGENT: Column = column("agent", "text", "Name of the agent.", "agent_name");
const ORIGIN: Column =
    column("origin", "text", "Where the content comes from, and so how far it can be trusted.", "origin");
const RECORD: Column = column("record_id", "text", "The record that says so.", "record_id");
const DAY: Column = column("day", "date", "Day it entered the log, UTC. A filter on it spares whole files.", "day");
