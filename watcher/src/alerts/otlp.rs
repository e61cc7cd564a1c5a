//! OpenTelemetry logs: `ExportLogsServiceRequest` in its JSON form.

use super::alert::Alert;
use serde_json::{Value, json};

/// The body. `severity` is syslog's.
pub(super) fn body(alert: &Alert, severity: u8) -> Value {
    // OpenTelemetry's numbers: FATAL 21, ERROR 17, WARN 13, INFO 10 and 9.
    let (number, text) = match severity {
        0..=2 => (21, "FATAL"),
        3 => (17, "ERROR"),
        4 => (13, "WARN"),
        5 => (10, "INFO2"),
        _ => (9, "INFO"),
    };
    let nanos = (i128::from(alert.occurred_at_us) * 1000).to_string();
    let score = alert.score.map(|s| s.to_string());
    let attributes = attributes(&[
        ("event.name", Some("watchkeeper.finding")),
        ("log.record.uid", Some(&alert.id)),
        ("session.id", Some(&alert.session_id)),
        ("watchkeeper.tenant", Some(&alert.tenant)),
        ("watchkeeper.source", Some(&alert.source)),
        ("watchkeeper.rule.id", Some(&alert.rule_id)),
        ("watchkeeper.rule.title", Some(&alert.title)),
        ("watchkeeper.level", Some(&alert.level)),
        ("watchkeeper.step", Some(&alert.step)),
        ("watchkeeper.score", score.as_deref()),
        ("watchkeeper.tags", Some(&alert.tags.join(" "))),
        ("gen_ai.agent.name", alert.agent.as_deref()),
        ("enduser.id", alert.principal.as_deref()),
    ]);
    json!({"resourceLogs": [{
        "resource": {"attributes": self::attributes(&[("service.name", Some("watchkeeper")), ("host.name", Some(&alert.host))])},
        "scopeLogs": [{
            "scope": {"name": "watchkeeper.watcher", "version": env!("CARGO_PKG_VERSION")},
            "logRecords": [{
                "timeUnixNano": nanos,
                "observedTimeUnixNano": nanos,
                "severityNumber": number,
                "severityText": text,
                "body": {"stringValue": format!("{}: {}", alert.title, alert.description)},
                "attributes": attributes,
            }],
        }],
    }]})
}

fn attributes(of: &[(&str, Option<&str>)]) -> Vec<Value> {
    of.iter().filter_map(|(key, value)| Some(json!({"key": key, "value": {"stringValue": (*value)?}}))).collect()
}
