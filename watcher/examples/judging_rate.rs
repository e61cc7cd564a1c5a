//! Prints how many records a second one core folds and judges, beside rsigma alone on the same rows.
#![forbid(unsafe_code)]
#![expect(
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    clippy::unwrap_used,
    reason = "it measures time, on sessions made for tests"
)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::time::Instant;
use wk_schemas::Topic;
use wk_watcher::context::Context;
use wk_watcher::event::Row;
use wk_watcher::replay::Replay;
use wk_watcher::rules::Windows;

fn main() {
    let judge = common::judge();
    let sessions: Vec<_> = (0..2000).map(|i| common::honest(&format!("s{i}"))).collect();
    let records: usize = sessions.iter().map(|s| s.records.len()).sum();

    let rows: Vec<_> =
        sessions[0].records.iter().map(|r| (r.clone(), Context::of(&wk_watcher::Session::default(), r))).collect();
    let begun = Instant::now();
    for _ in &sessions {
        for (record, context) in &rows {
            judge.rules.judge(&Row::new(record, context), &mut Windows::default(), 0);
        }
    }
    println!("rules alone      {:9.0} records/s", records as f64 / begun.elapsed().as_secs_f64());

    let begun = Instant::now();
    let mut replay = Replay::default();
    let mut findings = 0;
    for session in sessions {
        for record in session.records {
            findings += replay.step(&judge, Topic::Events, record).findings.len();
        }
    }
    let rate = records as f64 / begun.elapsed().as_secs_f64();
    println!("the whole core   {rate:9.0} records/s, {records} records, {findings} findings");
}
