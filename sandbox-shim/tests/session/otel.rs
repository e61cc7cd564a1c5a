//! OpenTelemetry's own Python SDK and exporter, and the shim that receives what they send.

use crate::stage::{Stage, protocols};
use wk_schemas::Body;

#[test]
fn what_a_real_exporter_sends_is_on_record() {
    let Some(python) = protocols() else { return };
    let stage = Stage::new();
    std::fs::write(stage.workspace().join("README.md"), "one two three\n").unwrap();
    let exporter = format!("{}/tests/session/exporter.py", env!("CARGO_MANIFEST_DIR"));
    let mut config = stage.config(&[python.to_str().unwrap(), &exporter]);
    config.agent = Some("otel".into());
    // What the user has set for a collector elsewhere must not make the shim deaf.
    config.env.push(("OTEL_EXPORTER_OTLP_COMPRESSION".into(), "gzip".into()));
    let session = stage.begin(config);
    let id = session.id.clone();
    assert_eq!(session.end().exit_code, Some(0));
    let records = stage.chain(&id);
    let mut told: Vec<String> = records
        .iter()
        .filter_map(|record| match &record.body {
            Body::PromptSubmitted(p) => Some(format!("prompt by {}: {}", p.channel, p.text)),
            Body::Thought(t) => Some(format!("{}: {}", t.form, t.text)),
            Body::ToolCalled(c) => Some(format!("{} {} {} {:?}", c.tool_call_id, c.tool, c.decision, c.command_text)),
            Body::ToolReturned(r) => Some(format!("{} {:?} {:?}", r.tool_call_id, r.success, r.output)),
            Body::RecordsLost(lost) => Some(format!("lost: {}", lost.reason)),
            _ => None,
        })
        .collect();
    // Spans and log records come in batches of their own, in no order between them.
    told.sort();
    assert_eq!(
        told,
        [
            "call_1 Some(true) \"3 README.md\\n\"",
            "call_1 shell observed Some(\"wc -w README.md\")",
            "call_2 Some(false) \"LookupError\"",
            "call_2 lookup observed None",
            "message: I count them.",
            "prompt by otel: count the words",
        ]
    );
    assert_eq!(records.last().unwrap().header.agent_name.as_deref(), Some("tester"));
}
