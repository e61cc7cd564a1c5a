//! `wk rules backtest`: what rules give on recorded sessions, and what a change to them would catch or lose.

use super::recorded::{self, Inputs, Wanted};
use super::report::{self, Case};
use super::sources::Where;
use super::{Format, loaded};
use crate::clock;
use crate::config::Settings;
use crate::home::Key;
use crate::parts;
use crate::services;
use anyhow::Context as _;
use clap::Args;
use ed25519_dalek::SigningKey;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use wk_schemas::{Timestamp, Topic};
use wk_watcher::Judge;
use wk_watcher::backtest::{ACTIONS_PER_FREEZE, ACTIONS_PER_QUESTION, Change, Tally, difference};
use wk_watcher::rules::{Problem, Rules};

/// The arguments of `wk rules backtest`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    rules: Where,
    /// From when on findings count: `7d`, `12h`, `30m`, or a UTC day, `2026-11-01`. Sessions are replayed whole.
    #[arg(long, value_name = "WHEN", default_value = "7d")]
    since: String,
    /// Compares with the rules as they were in this git reference; needs --rules.
    #[arg(long, value_name = "GIT REF")]
    diff: Option<String>,
    /// Replays the sessions of these files (JSON lines, also .xz) instead of the lake; only those labelled benign.
    #[arg(long, value_name = "FILE")]
    sessions: Vec<PathBuf>,
    /// The sessions are known to be benign: fails at more than 1 question in 200 actions, or 1 freeze in 2,000.
    #[arg(long)]
    benign: bool,
    /// How it is printed.
    #[arg(long, default_value = "text")]
    format: Format,
}

/// Replays and reports. Exit code 1: with --benign, too many questions or freezes.
pub(super) fn main(settings: &Settings, options: &Options) -> anyhow::Result<ExitCode> {
    let since = wk_query::saved::point_in_time(&options.since, clock::now()).with_context(|| {
        format!(
            "`--since {}` is no time; expected a span back from now (7d, 12h, 30m) or a UTC day (2026-11-01)",
            options.since
        )
    })?;
    let old = match &options.diff {
        Some(reference) => Some(Rules::compile(&options.rules.read_at(reference)?)),
        None => None,
    };
    if let Some(old) = &old {
        eprint!("{}", old.problems.iter().map(Problem::rendered).collect::<String>());
    }
    let new = loaded(&options.rules, settings)?;
    let (inputs, since) = if options.sessions.is_empty() {
        let sessions = services::block_on(recorded::sessions(settings, Wanted::Since(since)))?;
        (sessions.into_values().collect(), since)
    } else {
        (samples(&options.sessions)?, Timestamp(i64::MIN))
    };
    let judge = |rules| {
        if options.sessions.is_empty() { judge(settings, rules) } else { Ok(judge_of_samples(settings, rules)) }
    };
    let tally = replay(&judge(new)?, &inputs, since);
    let changes = match old {
        Some(old) => {
            let before = replay(&judge(old)?, &inputs, since);
            Some((difference(&before, &tally), before.questions_per_day()))
        }
        None => None,
    };
    print(&tally, changes.as_ref(), options)?;
    Ok(super::code(!options.benign || tally.is_quiet()))
}

/// Decides as the watcher of this data folder does, by the rules given.
pub(super) fn judge(settings: &Settings, rules: Rules) -> anyhow::Result<Judge> {
    let key = settings.home.verifying_key(Key::Command)?;
    Ok(Judge { rules, approvers: parts::approvers(settings)?, settings: settings.watcher.settings(&key) })
}

/// Decides about samples, which no person and no model had a hand in: nobody's keys are needed.
fn judge_of_samples(settings: &Settings, rules: Rules) -> Judge {
    let key = SigningKey::from_bytes(&[0; 32]).verifying_key();
    Judge { rules, approvers: Vec::new(), settings: settings.watcher.settings(&key) }
}

fn replay(judge: &Judge, inputs: &[Inputs], since: Timestamp) -> Tally {
    let bar = report::bar("sessions");
    // Commands are not looked at, so nobody's key is needed to sign them.
    let key = SigningKey::from_bytes(&[0; 32]);
    let mut tally = Tally::default();
    for (done, records) in inputs.iter().enumerate() {
        tally.session(judge, &key, records.iter().cloned(), since);
        report::advance(&bar, done + 1, inputs.len());
    }
    bar.finish_and_clear();
    tally
}

fn samples(paths: &[PathBuf]) -> anyhow::Result<Vec<Inputs>> {
    let mut out = Vec::new();
    for path in paths {
        let samples = wk_watcher::deviation::samples(path)?;
        let benign = samples.into_iter().filter(|s| s.label.starts_with("benign"));
        out.extend(benign.map(|s| s.records.into_iter().map(|r| (Topic::Events, r)).collect()));
    }
    Ok(out)
}

fn print(tally: &Tally, changes: Option<&(Vec<Change>, f64)>, options: &Options) -> anyhow::Result<()> {
    let per = |count: u64, actions: u64| {
        #[expect(clippy::cast_precision_loss, reason = "counts, for people")]
        let rate = (count * actions) as f64 / tally.actions.max(1) as f64;
        rate
    };
    let questions = per(tally.questions, ACTIONS_PER_QUESTION);
    let freezes = per(tally.freezes, ACTIONS_PER_FREEZE);
    match options.format {
        Format::Json => {
            let changes = changes.map(|(c, before)| json!({"rules": c, "questions_per_day_before": before}));
            let all = json!({
                "tally": tally,
                "questions_per_200_actions": questions,
                "freezes_per_2000_actions": freezes,
                "questions_per_day": tally.questions_per_day(),
                "changes": changes,
            });
            println!("{}", serde_json::to_string_pretty(&all)?);
        }
        Format::Junit => {
            let is_much = |count: u64, actions: u64| options.benign && count * actions > tally.actions;
            let budget = |name: &str, count: u64, actions: u64| Case {
                class: "budget",
                name: format!("at most 1 {name} in {actions} actions"),
                failure: is_much(count, actions).then(|| format!("{count} in {} actions", tally.actions)),
            };
            let rules = tally.rules.iter().map(|(title, rule)| Case {
                class: title,
                name: format!("{} findings in {} sessions", rule.findings, rule.sessions.len()),
                failure: None,
            });
            let budgets = [
                budget("question", tally.questions, ACTIONS_PER_QUESTION),
                budget("freeze", tally.freezes, ACTIONS_PER_FREEZE),
            ];
            print!("{}", report::junit("backtest", budgets.into_iter().chain(rules)));
        }
        Format::Text => {
            println!("{} sessions, {} records, {} actions", tally.sessions, tally.records, tally.actions);
            println!("questions {:5}  {questions:.2} in {ACTIONS_PER_QUESTION} actions", tally.questions);
            println!("freezes   {:5}  {freezes:.2} in {ACTIONS_PER_FREEZE} actions", tally.freezes);
            println!("expected questions a day: {:.1}", tally.questions_per_day());
            for (title, rule) in &tally.rules {
                println!("{:6} {title}: {} findings in {} sessions", rule.step, rule.findings, rule.sessions.len());
                rule.examples.iter().for_each(|e| println!("         {e}"));
            }
            if let Some((changes, before)) = changes {
                let reference = options.diff.as_deref().unwrap_or_default();
                println!("against {reference}: {} rules catch other sessions", changes.len());
                println!("questions a day: {before:.1} before, {:.1} now", tally.questions_per_day());
                for change in changes {
                    println!("{}: {} sessions more, {} less", change.rule, change.newly.len(), change.no_longer.len());
                    change.newly.iter().take(10).for_each(|s| println!("  + {s}"));
                    change.no_longer.iter().take(10).for_each(|s| println!("  - {s}"));
                    change.examples.iter().for_each(|e| println!("    {e}"));
                }
            }
        }
    }
    Ok(())
}
