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
use std::collections::{BTreeMap, HashMap};
use std::time::Instant;
use wk_schemas::{Body, Chain, Digest, Record, SessionId, Topic, codec, sigma};
use wk_watcher::context::Context;
use wk_watcher::decide::Incoming;
use wk_watcher::event::Row;
use wk_watcher::rules::{Rules, Sources, Windows};
use wk_watcher::{Judge, Session, step};

/// Sessions that are replayed for time.
const SESSIONS: usize = 1500;
/// So many of them are under way at once, record by record in turn.
const AT_ONCE: usize = 100;
/// The best of so many rounds counts: the machine may have other work.
const ROUNDS: usize = 5;
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
    weigh(&judge);
    let log = log();
    println!("{} records of {SESSIONS} sessions, {AT_ONCE} at once", log.len());

    // The same rules in one engine, over the record's own fields, routed by logsource: rsigma as it comes.
    let engine = bare(&sources);
    let events: Vec<_> = log.iter().map(|r| plain(&r.incoming.record)).collect();
    let bare = rate(log.len(), || {
        let of = |(event, source): &(serde_json::Value, LogSource)| {
            engine.evaluate_with_logsource(&JsonEvent::borrow(event), source).len()
        };
        events.iter().map(of).sum()
    });
    println!("bare rsigma      {:9.0} records/s, {} matches", bare.0, bare.1);
    drop(events);

    let contexts: Vec<_> = {
        let mut sessions: HashMap<&SessionId, Session> = HashMap::new();
        let context = |r: &'static Logged| {
            let session = sessions.entry(&r.incoming.record.header.session_id).or_default();
            let context = Context::of(session, &r.incoming.record).into_owned();
            step(session, &judge, &r.incoming);
            context
        };
        log.iter().map(context).collect()
    };
    let alone = rate(log.len(), || {
        let row = |(r, c): (&Logged, &Context<'_>)| Row::new(&r.incoming.record, c).names().count();
        log.iter().zip(&contexts).map(row).sum()
    });
    println!("rows alone       {:9.0} records/s", alone.0);
    let alone = rate(log.len(), || {
        let mut windows = Windows::default();
        let hits = |(r, c): (&Logged, &Context<'_>)| {
            judge.rules.judge(&Row::new(&r.incoming.record, c), &mut windows, 0).len()
        };
        log.iter().zip(&contexts).map(hits).sum()
    });
    println!("rows and rules   {:9.0} records/s, {} hits", alone.0, alone.1);
    drop(contexts);

    let core = rate(log.len(), || whole(log, &judge, |r| Digest::of(&r.datum) == r.incoming.digest));
    println!("the whole core   {:9.0} records/s, {:.2} of bare rsigma, {} findings", core.0, core.0 / bare.0, core.1);
    let read = rate(log.len(), || {
        let is_read = |r: &Logged| {
            codec::decode(&r.datum).is_ok_and(|d| d.header.seq == r.incoming.record.header.seq)
                && Digest::of(&r.datum) == r.incoming.digest
        };
        whole(log, &judge, is_read)
    });
    println!("and decoding     {:9.0} records/s", read.0);
}

/// Prints what many sessions in the middle of their work take in memory. Before anything else is in memory: what others have let go of
/// would be taken again, and weigh nothing.
fn weigh(judge: &Judge) {
    let before = resident();
    let mut sessions: BTreeMap<SessionId, Session> = BTreeMap::new();
    let (mut records, mut saved) = (0, 0);
    for number in 0..LIVE {
        // A session in the middle of its work: an ended one has let go of most.
        let live = session(number).into_iter().take_while(|r| !matches!(r.incoming.record.body, Body::SessionEnded(_)));
        for logged in live {
            records += 1;
            let session = sessions.entry(logged.incoming.record.header.session_id.clone()).or_default();
            step(session, judge, &logged.incoming);
        }
    }
    let weight = resident() - before;
    for session in sessions.values().take(100) {
        saved += serde_json::to_vec(session).unwrap().len();
    }
    println!(
        "{LIVE} live sessions of {} records weigh {} MiB: {} KiB each, {} KiB as saved",
        records / LIVE,
        weight >> 20,
        (weight / LIVE) >> 10,
        (saved / 100) >> 10
    );
}

/// A record as it comes from the log.
struct Logged {
    datum: Vec<u8>,
    incoming: Incoming,
}

/// The records of one session, whose home folder no other session has.
fn session(number: usize) -> Vec<Logged> {
    let script = common::honest(&format!("s{number}"));
    let mut chain = Chain::default();
    let log = |record: Record| {
        let (record, datum) = chain.seal(record.header, at_home(record.body, &format!("/home/alice{number}")));
        let digest = Digest::of(&datum);
        Logged { datum, incoming: Incoming { topic: Topic::Events, record, digest } }
    };
    script.records.into_iter().map(log).collect()
}

/// What happened, in another home folder.
fn at_home(body: Body, home: &str) -> Body {
    let moved = |text: &str| text.replace(common::HOME, home);
    match body {
        Body::SessionStarted(mut b) => {
            (b.workspace, b.working_directory) = (moved(&b.workspace), moved(&b.working_directory));
            Body::SessionStarted(b)
        }
        Body::FileAccessed(mut b) => {
            b.path = moved(&b.path);
            Body::FileAccessed(b)
        }
        Body::ProcessStarted(mut b) => {
            b.actor.image = moved(&b.actor.image);
            b.working_directory = moved(&b.working_directory);
            Body::ProcessStarted(b)
        }
        Body::ToolCalled(mut b) => {
            b.arguments = moved(&b.arguments);
            Body::ToolCalled(b)
        }
        other => other,
    }
}

/// The records of all sessions, [`AT_ONCE`] sessions in turn.
fn log() -> &'static [Logged] {
    let mut log = Vec::new();
    for first in (0..SESSIONS).step_by(AT_ONCE) {
        let mut turns: Vec<_> = (first..first + AT_ONCE).map(|n| session(n).into_iter()).collect();
        loop {
            let before = log.len();
            log.extend(turns.iter_mut().filter_map(Iterator::next));
            if log.len() == before {
                break;
            }
        }
    }
    log.leak()
}

/// Reads each record with `is_read`, folds and judges it; how many findings there were.
fn whole(log: &[Logged], judge: &Judge, is_read: impl Fn(&Logged) -> bool) -> usize {
    let mut sessions: BTreeMap<SessionId, Session> = BTreeMap::new();
    let mut findings = 0;
    for logged in log {
        assert!(is_read(logged), "the log is as it was made");
        let id = &logged.incoming.record.header.session_id;
        if !sessions.contains_key(id) {
            sessions.insert(id.clone(), Session::default());
        }
        let Some(session) = sessions.get_mut(id) else { continue };
        findings += step(session, judge, &logged.incoming).findings.len();
        if session.has_ended {
            sessions.remove(id);
        }
    }
    findings
}

/// How often a second `work` on `count` things is done, and what it gives.
fn rate(count: usize, mut work: impl FnMut() -> usize) -> (f64, usize) {
    let mut best = (0.0, 0);
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let given = work();
        let rate = count as f64 / begun.elapsed().as_secs_f64();
        if rate > best.0 {
            best = (rate, given);
        }
    }
    best
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
