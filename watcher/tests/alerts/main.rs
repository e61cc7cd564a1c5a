//! Alerts to real receivers: HTTP servers, a syslog server over TLS, and all of it behind a watcher on a log.

#![cfg(test)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../judge/endpoint.rs"]
#[expect(dead_code, reason = "the endpoint's answers for the judge are not needed here")]
mod endpoint;

mod http;
mod live;
mod syslog;

use std::time::Duration;
use wk_schemas::body::Level;
use wk_schemas::{Body, Record, Topic};
use wk_watcher::alerts::{Alert, AlertConfig, Kind};
use wk_watcher::ladder::StepName;
use wk_watcher::replay::replay;

/// A finding that the watcher raises, as it stands on the log.
fn finding() -> Record {
    let script = common::secret_then_egress("s");
    let out = replay(&common::judge(), &common::command_key(), script.records);
    let found = out.into_iter().find(|(topic, r, _)| *topic == Topic::Findings && is_freeze(r));
    found.expect("the session is frozen").1
}

fn is_freeze(record: &Record) -> bool {
    matches!(&record.body, Body::Finding(f) if f.step == wk_schemas::body::Step::Freeze)
}

fn alert() -> (Alert, Level) {
    let record = finding();
    let (alert, finding) = Alert::of(&record).unwrap();
    let level = finding.level;
    (alert, level)
}

fn config(kind: Kind, url: &str) -> AlertConfig {
    AlertConfig {
        name: "receiver".to_owned(),
        kind,
        url: url.to_owned(),
        key_file: None,
        ca_file: None,
        certificate_file: None,
        certificate_key_file: None,
        proxy: None,
        least: StepName::Warn,
        give_up_after: Duration::from_secs(600),
    }
}
