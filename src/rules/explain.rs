//! `wk rules explain`: why a rule matches a record, or why not.

use super::recorded::{self, Wanted};
use super::sources::Where;
use super::{backtest, loaded};
use crate::config::Settings;
use crate::services;
use anyhow::bail;
use clap::Args;
use serde_json::json;
use std::process::ExitCode;
use wk_schemas::{Body, Topic};
use wk_watcher::event::Row;
use wk_watcher::replay::Replay;
use wk_watcher::rules::{Explanation, explain};

/// The arguments of `wk rules explain`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The rule: its id, its title, or the name of its file without the ending.
    rule: String,
    /// The record's id, or the session (a beginning of its id that fits only one).
    record_or_session: String,
    #[command(flatten)]
    rules: Where,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

/// Explains. Exit code 0: the rule matches; 1: it does not; 2: it could not be told.
pub(super) fn main(settings: &Settings, options: &Options) -> anyhow::Result<ExitCode> {
    let rules = loaded(&options.rules, settings)?;
    let Some(rule) = rules.find(&options.rule).cloned() else {
        bail!("no rule is called `{}`; `wk rules docs` lists them", options.rule);
    };
    let wanted = options.record_or_session.as_str();
    let mut sessions = services::block_on(recorded::sessions(settings, Wanted::Named(wanted)))?;
    let Some((name, inputs)) = sessions.pop_first() else {
        bail!("no record and no session is called `{wanted}`; see `wk sessions`");
    };
    if !sessions.is_empty() {
        bail!("`{wanted}` fits {} sessions; give more of the id", sessions.len() + 1);
    }
    let judge = backtest::judge(settings, rules)?;
    let mut replay = Replay::default();
    let mut told: Vec<(String, String, Explanation)> = Vec::new();
    let mut raised = Vec::new();
    for (topic, record) in inputs {
        let id = record.header.record_id.to_string();
        if topic == Topic::Events && (name.starts_with(wanted) || id == wanted) {
            let context = replay.context(&record);
            let row = Row::new(&record, &context);
            let kind = record.body.kind().as_str().to_owned();
            told.extend(explain(&judge.rules, &rule, &row).map(|e| (id, kind, e)));
        }
        for finding in replay.step(&judge, topic, record).findings {
            if let Body::Finding(f) = finding.body
                && f.rule_id == rule.id
            {
                raised.push((f.evidence.last().map(ToString::to_string).unwrap_or_default(), f.description));
            }
        }
    }
    let has_matched = told.iter().any(|(.., e)| e.has_matched) || (rule.source.is_none() && !raised.is_empty());
    // Of a session: what matched, or else what came nearest.
    let share = |e: &Explanation| (e.is_asked, e.fields_matched * 1000 / e.fields.max(1));
    let nearest = told.iter().map(|(.., e)| share(e)).max();
    told.retain(|(.., e)| if has_matched { e.has_matched } else { Some(share(e)) == nearest });
    if !has_matched {
        told.truncate(1);
    }
    if options.json {
        let told: Vec<_> =
            told.iter().map(|(id, kind, e)| json!({"record": id, "kind": kind, "explanation": e})).collect();
        let findings: Vec<_> = raised.iter().map(|(id, says)| json!({"record": id, "says": says})).collect();
        let all =
            json!({"rule": rule.title, "session": name, "matched": has_matched, "records": told, "findings": findings});
        println!("{}", serde_json::to_string_pretty(&all)?);
        return Ok(super::code(has_matched));
    }
    println!("{} ({}:{}), session {name}", rule.title, rule.file, rule.line);
    if rule.source.is_none() {
        println!("a correlation: it counts what other rules match, and fired {} times", raised.len());
    }
    for (id, kind, explanation) in &told {
        let verdict = match (explanation.has_matched, has_matched) {
            (true, _) => "matches",
            (false, _) if told.len() == 1 && id != wanted => "comes nearest and does not match",
            (false, _) => "does not match",
        };
        println!("\nrecord {id} ({kind}) {verdict}\n{explanation}");
    }
    for (id, says) in &raised {
        println!("finding at record {id}: {says}");
    }
    if has_matched && raised.is_empty() {
        println!("no finding of its own: it is part of a correlation, or was told before");
    }
    Ok(super::code(has_matched))
}
