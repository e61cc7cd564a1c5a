//! Prints how many records a second one core folds and judges, beside rsigma alone on the same records, and what a session weighs:
//! `judging_rate [folder of more rules]...`, for instance a copy of SigmaHQ's Linux rules.
#![forbid(unsafe_code)]
#![expect(
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    clippy::unwrap_used,
    reason = "it measures time, on sessions made for tests"
)]

#[path = "../tests/common/mod.rs"]
mod common;

use rsigma_eval::{Engine, JsonEvent};
use rsigma_parser::LogSource;
use std::time::Instant;
use wk_schemas::{Record, Topic, sigma};
use wk_watcher::Judge;
use wk_watcher::context::Context;
use wk_watcher::event::Row;
use wk_watcher::replay::Replay;
use wk_watcher::rules::{Rules, Sources, Windows};

/// Sessions that are replayed for time.
const SESSIONS: usize = 2000;
/// Sessions that are kept for weight.
const LIVE: usize = 10_000;

fn main() {
    let mut sources = Sources::embedded();
    for folder in std::env::args().skip(1) {
        sources.add_path(folder.as_ref()).unwrap();
    }
    let rules = Rules::compile(&sources);
    let idle = rules.idle().count();
    println!("{} rules, {idle} of them for sources that no record has", rules.all().count());
    let judge = Judge { rules, ..common::judge() };
    let one = common::honest("s");
    let count = (SESSIONS * one.records.len()) as f64;
    let rate = |begun: Instant| count / begun.elapsed().as_secs_f64();

    // The same rules in one engine, over the record's own fields, routed by logsource: rsigma as it comes.
    let engine = bare(&sources);
    let events: Vec<_> = one.records.iter().map(plain).collect();
    let begun = Instant::now();
    let mut matches = 0;
    for _ in 0..SESSIONS {
        for (event, source) in &events {
            matches += engine.evaluate_with_logsource(&JsonEvent::borrow(event), source).len();
        }
    }
    let bare = rate(begun);
    println!("bare rsigma      {bare:9.0} records/s, {} matches a session", matches / SESSIONS);

    let rows: Vec<_> = one.records.iter().map(|r| (r, Context::of(&wk_watcher::Session::default(), r))).collect();
    let begun = Instant::now();
    for _ in 0..SESSIONS {
        for (record, context) in &rows {
            judge.rules.judge(&Row::new(record, context), &mut Windows::default(), 0);
        }
    }
    println!("rules alone      {:9.0} records/s", rate(begun));

    let sessions: Vec<_> = (0..SESSIONS).map(|i| common::honest(&format!("s{i}"))).collect();
    let begun = Instant::now();
    let (mut replay, mut findings) = (Replay::default(), 0);
    for record in sessions.into_iter().flat_map(|s| s.records) {
        findings += replay.step(&judge, Topic::Events, record).findings.len();
    }
    let whole = rate(begun);
    println!("the whole core   {whole:9.0} records/s, {:.2} of bare rsigma, {findings} findings", whole / bare);
    drop(replay);

    let before = resident();
    let mut replay = Replay::default();
    for i in 0..LIVE {
        let live: Vec<Record> = common::honest(&format!("live{i}")).records;
        // A session in the middle of its work: an ended one has let go of most.
        for record in live.into_iter().take_while(|r| !matches!(r.body, wk_schemas::Body::SessionEnded(_))) {
            replay.step(&judge, Topic::Events, record);
        }
    }
    println!("{LIVE} live sessions of {} records weigh {} MiB", one.records.len() - 1, (resident() - before) >> 20);
}

fn bare(sources: &Sources) -> Engine {
    let mut engine = Engine::new();
    let parsed: Vec<_> = sources.0.iter().filter_map(|s| rsigma_parser::parse_sigma_yaml(&s.text).ok()).collect();
    engine.add_rules(parsed.iter().flat_map(|c| &c.rules));
    engine
}

fn plain(record: &Record) -> (serde_json::Value, LogSource) {
    let sigma::LogSource { product, category } = sigma::log_source(&record.body);
    let source = LogSource { product: Some(product.into()), category: Some(category.into()), ..LogSource::default() };
    let value = |v: &sigma::Value<'_>| match v {
        sigma::Value::Text(t) => serde_json::Value::from(t.as_ref()),
        sigma::Value::Number(n) => serde_json::Value::from(*n),
        sigma::Value::Flag(b) => serde_json::Value::from(*b),
    };
    let fields = sigma::fields(record).iter().map(|(n, v)| ((*n).to_owned(), value(v))).collect();
    (serde_json::Value::Object(fields), source)
}

/// Bytes of this process that are in memory.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
}
