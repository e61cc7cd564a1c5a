//! `wk timeline`: the task, the plan, then everything that happened in order, each effect under the tool call that it descends
//! from. What a tool call explains is counted; what none explains, what was held, refused or found stands on a line of its own.
//!
//! ```text
//! +0.120              Bash: cargo test
//! +0.131                  /usr/bin/cargo: cargo test
//! +0.960                  14 files read, 2 files written (target/x, target/y)
//! +0.961                  Bash succeeded ok
//! +1.200  UNMEDIATED  /usr/bin/curl: read /home/agent/.ssh/id_rsa
//! +1.204  HELD        /usr/bin/curl: connect to 198.51.100.9:443 - unknown host
//! ```

use super::fold::Fold;
use super::marks::{Margin, Mark};
use super::{literal, rows};
use crate::context::{Asker, Engine};
use crate::error::QueryError;
use crate::shell::{Format, Style, table, visible};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Processes and connections of one tool call that get a line each; more are counted.
const LINES_EACH: u64 = 6;

/// Characters of a line where the output is no terminal.
const WIDTH_PLAIN: usize = 200;

/// Tells one session's story, in colours when standard output is a terminal.
///
/// # Errors
/// [`QueryError`] when the lake does not answer.
pub async fn timeline(engine: &Engine, asker: Asker, session: &str) -> Result<String, QueryError> {
    let width = Style::of_stdout(Format::Table).width;
    let only = literal(session);
    let about = rows(
        engine,
        asker.clone(),
        &format!(
            "SELECT session_id, agent, agent_version, principal, host, workspace, state, to_char(started, '%Y-%m-%d %H:%M:%S'), \
             task, records, tool_calls, processes, files, connections, findings, records_lost FROM sessions \
             WHERE session_id = {only}"
        ),
    )
    .await?;
    let Some(about) = about.first() else {
        return Ok(format!("There is no session {} in the lake.\n", visible(session)));
    };
    let plan = rows(
        engine,
        asker.clone(),
        &format!("SELECT revision, text, status, source FROM plans WHERE session_id = {only} ORDER BY revision, step"),
    )
    .await?;
    let evidence = rows(
        engine,
        asker.clone(),
        &format!("SELECT DISTINCT unnest(evidence) FROM findings WHERE session_id = {only}"),
    )
    .await?;
    let events = rows(
        engine,
        asker,
        &format!(
            "SELECT CAST(time AS BIGINT) AS at, kind, who, what, outcome, mediation, tool_call_id, record_id FROM timeline \
             WHERE session_id = {only} ORDER BY time, topic, seq"
        ),
    )
    .await?;

    let mut story = Story {
        text: String::new(),
        width: width.unwrap_or(WIDTH_PLAIN),
        colours: width.is_some(),
        start: events.first().and_then(|event| event[0].parse().ok()).unwrap_or(0),
        evidence: evidence.into_iter().filter_map(|row| row.into_iter().next()).collect(),
        folds: BTreeMap::new(),
        lines: BTreeMap::new(),
    };
    story.head(about);
    story.plan(&plan);
    for event in &events {
        story.event(&Event::of(event));
    }
    story.rest();
    Ok(story.text)
}

struct Event<'a> {
    at: i64,
    kind: &'a str,
    who: &'a str,
    what: &'a str,
    outcome: &'a str,
    mediation: &'a str,
    call: &'a str,
    id: &'a str,
}

impl<'a> Event<'a> {
    fn of(row: &'a [String]) -> Self {
        let [at, kind, who, what, outcome, mediation, call, id] = row else {
            unreachable!("the question names eight columns")
        };
        Self { at: at.parse().unwrap_or(0), kind, who, what, outcome, mediation, call, id }
    }

    fn is_effect(&self) -> bool {
        matches!(
            self.kind,
            "process_started"
                | "process_exited"
                | "file_accessed"
                | "connection_attempted"
                | "name_resolved"
                | "call_attempted"
        )
    }
}

struct Story {
    text: String,
    width: usize,
    colours: bool,
    start: i64,
    /// Records that a finding rests on: each gets its line.
    evidence: BTreeSet<String>,
    /// What is counted so far, by tool call; the empty call is the agent's own doing, and what nothing explains has `!` before it.
    folds: BTreeMap<String, (i64, Fold)>,
    /// Lines given to processes and connections, by tool call and kind.
    lines: BTreeMap<(String, String), u64>,
}

impl Story {
    fn head(&mut self, about: &[String]) {
        let [id, agent, version, principal, host, workspace, state, started, task, counts @ ..] = about else { return };
        let [records, calls, processes, files, connections, findings, lost] = counts else { return };
        let agent = if agent.is_empty() { "no agent adapter" } else { agent };
        self.plain(&format!("session {id}: {agent} {version} for {principal} on {host}, {state}"));
        self.plain(&format!("started {started} UTC in {workspace}"));
        self.plain(&format!(
            "{records} records: {calls} tool calls, {processes} processes, {files} file accesses, {connections} connections, {findings} findings"
        ));
        if lost != "0" {
            self.plain(&format!("{lost} records are known to be missing"));
        }
        self.plain("");
        self.plain("TASK");
        self.plain(&format!("  {}", if task.is_empty() { "none was seen" } else { task }));
        self.plain("");
    }

    /// The newest plan; how often it was changed is said, how it read before stands in the view `plans`.
    fn plan(&mut self, steps: &[Vec<String>]) {
        let newest = steps.iter().filter_map(|row| row[0].parse::<i64>().ok()).max();
        match newest {
            None => self.plain("PLAN\n  none was declared"),
            Some(newest) => {
                let of_it: Vec<&Vec<String>> = steps.iter().filter(|row| row[0] == newest.to_string()).collect();
                let source = of_it.first().map_or("", |row| row[3].as_str());
                let changes = if newest == 0 { String::new() } else { format!(", changed {newest} times") };
                self.plain(&format!("PLAN ({source}{changes})"));
                for (n, row) in of_it.iter().enumerate() {
                    let tick = match row[2].as_str() {
                        "COMPLETED" => "x",
                        "IN_PROGRESS" => ">",
                        "CANCELLED" => "-",
                        _ => " ",
                    };
                    self.plain(&format!("  {}. [{tick}] {}", n + 1, row[1]));
                }
            }
        }
        self.plain("");
        self.plain("WHAT HAPPENED");
    }

    fn event(&mut self, event: &Event<'_>) {
        if event.is_effect() && !self.stands_out(event) && !self.has_line_left(event) {
            self.count(event);
            return;
        }
        let who_and_what = || format!("{}: {}", event.who, event.what);
        match event.kind {
            "tool_returned" => {
                self.flush(event.call, event.at);
                self.line(event.at, Mark::None, 2, event.what);
            }
            "tool_called" => {
                let mark = if event.outcome == "DENIED" { Mark::Denied } else { Mark::None };
                self.line(event.at, mark, 0, event.what);
            }
            "process_started" | "connection_attempted" | "file_accessed" | "name_resolved" | "call_attempted" => {
                let mark = match (event.outcome, event.mediation) {
                    ("DENIED", _) => Mark::Denied,
                    (_, "NONE") => Mark::Unmediated,
                    _ => Mark::None,
                };
                self.line(event.at, mark, if event.call.is_empty() { 0 } else { 2 }, &who_and_what());
            }
            "approval_requested" => {
                let text = event.what.strip_prefix("held: ").unwrap_or(event.what);
                let who = if event.who.is_empty() { "the agent" } else { event.who };
                let nobody = if event.mediation == "NONE" { " (no tool call explains it)" } else { "" };
                self.line(event.at, Mark::Held, 0, &format!("{who}: {text}{nobody}"));
            }
            "approval_resolved" => {
                let mark = if event.outcome == "GRANTED" { Mark::Granted } else { Mark::Denied };
                let who = if event.who.is_empty() { "nobody" } else { event.who };
                self.line(event.at, mark, 0, &format!("the hold, by {who}: {}", event.what));
            }
            "finding" => self.line(event.at, Mark::Finding, 0, event.what),
            "session_frozen" => self.line(event.at, Mark::Frozen, 0, event.what),
            "session_resumed" => self.line(event.at, Mark::Resumed, 0, event.what),
            "session_killed" => self.line(event.at, Mark::Killed, 0, event.what),
            "records_lost" => self.line(event.at, Mark::Gap, 0, event.what),
            "command" | "approval" => {
                self.line(event.at, Mark::None, 0, &format!("{} by {}: {}", event.kind, event.who, event.what))
            }
            // The plan and the task stand at the top; here it is seen when they came.
            _ => self.line(event.at, Mark::None, 0, event.what),
        }
    }

    /// What nobody may overlook: refused, without a tool call and more than a read, or what a finding rests on.
    fn stands_out(&self, event: &Event<'_>) -> bool {
        if self.evidence.contains(event.id) || event.outcome == "DENIED" {
            return true;
        }
        let quiet = event.kind == "process_exited" || event.kind == "name_resolved" || event.what.starts_with("read ");
        event.mediation == "NONE" && !quiet
    }

    /// Processes and connections get a line each, as long as there are few.
    fn has_line_left(&mut self, event: &Event<'_>) -> bool {
        if !matches!(event.kind, "process_started" | "connection_attempted") || event.mediation == "NONE" {
            return false;
        }
        let lines = self.lines.entry((event.call.to_owned(), event.kind.to_owned())).or_default();
        *lines += 1;
        *lines <= LINES_EACH
    }

    fn count(&mut self, event: &Event<'_>) {
        let key = if event.mediation == "NONE" { format!("!{}", event.who) } else { event.call.to_owned() };
        let (at, fold) = self.folds.entry(key).or_default();
        *at = event.at;
        match event.kind {
            "process_started" => fold.processes += 1,
            "process_exited" if !event.what.starts_with("exit code 0,") => fold.exits_bad += 1,
            "file_accessed" => {
                let (operation, path) = event.what.split_once(' ').unwrap_or((event.what, ""));
                fold.file(operation, path);
            }
            "connection_attempted" => fold.connections += 1,
            "name_resolved" => fold.names += 1,
            _ => {}
        }
    }

    /// Says what was counted under a tool call.
    fn flush(&mut self, call: &str, at: i64) {
        if let Some(words) = self.folds.remove(call).and_then(|(_, fold)| fold.words()) {
            self.line(at, Mark::None, 2, &words);
        }
    }

    /// Says what was counted under calls that never returned, under no call, and under nothing that explains it.
    fn rest(&mut self) {
        for (key, (at, fold)) in std::mem::take(&mut self.folds) {
            let Some(words) = fold.words() else { continue };
            match key.strip_prefix('!') {
                Some(who) => self.line(at, Mark::Unmediated, 0, &format!("{who}, in all: {words}")),
                None if key.is_empty() => self.line(at, Mark::None, 0, &format!("the agent itself, in all: {words}")),
                None => self.line(at, Mark::None, 0, &format!("tool call {key}, which has not returned: {words}")),
            }
        }
    }

    fn line(&mut self, at: i64, mark: Mark, indent: usize, what: &str) {
        let since = at - self.start;
        let time = format!("+{}.{:03}", since.div_euclid(1_000_000), since.rem_euclid(1_000_000) / 1000);
        let margin = Margin { mark, colours: self.colours };
        let room = self.width.saturating_sub(24 + 2 * indent).max(20);
        let what = table::cut(&visible(what.trim()), room);
        writeln!(self.text, "{time:>10}  {margin}  {:indent$}{what}", "", indent = 2 * indent)
            .expect("writing to a String does not fail");
    }

    fn plain(&mut self, text: &str) {
        for line in text.split('\n') {
            let line = table::cut(&visible(line), self.width);
            writeln!(self.text, "{}", line.trim_end()).expect("writing to a String does not fail");
        }
    }
}
