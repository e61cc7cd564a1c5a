//! Webhook, Slack, OTLP.

use crate::endpoint::{Act, Endpoint, status};
use crate::{alert, config};
use serde_json::json;
use wk_watcher::alerts::{AlertConfig, Kind, Receiver, SendError, signature};

fn taken() -> Act {
    Act::Answer(204, Vec::new(), String::new())
}

/// The value of a header.
fn header(head: &str, name: &str) -> Option<String> {
    let prefix = format!("{name}:");
    head.lines().find(|l| l.to_lowercase().starts_with(&prefix)).map(|l| l[prefix.len()..].trim().to_owned())
}

#[tokio::test]
async fn a_webhook_can_check_who_sent_what_and_when() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
    let endpoint = Endpoint::start(vec![taken()]).await;
    let receiver =
        Receiver::new(AlertConfig { key_file: Some(key), ..config(Kind::Webhook, &endpoint.url()) }).unwrap();
    let (alert, level) = alert();
    receiver.send(&alert, level).await.unwrap();
    let request = &endpoint.requests()[0];
    let timestamp = header(&request.head, "webhook-timestamp").unwrap();
    let of =
        |body: &str| signature("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", &alert.id, timestamp.parse().unwrap(), body);
    assert_eq!(header(&request.head, "webhook-id"), Some(alert.id.clone()));
    assert_eq!(header(&request.head, "webhook-signature"), Some(of(&request.text)));
    assert_ne!(of(&request.text), of(&request.text.replace("freeze", "note")));
    assert_eq!(request.body["type"], "watchkeeper.finding");
    assert_eq!(request.body["data"]["title"], "SecretReadThenEgress");
    assert_eq!(request.body["data"]["step"], "freeze");
}

#[tokio::test]
async fn slack_gets_text_and_otlp_gets_a_log_record() {
    let (alert, level) = alert();
    let endpoint = Endpoint::start(vec![taken()]).await;
    Receiver::new(config(Kind::Slack, &endpoint.url())).unwrap().send(&alert, level).await.unwrap();
    Receiver::new(config(Kind::Otlp, &endpoint.url())).unwrap().send(&alert, level).await.unwrap();
    let requests = endpoint.requests();
    assert!(requests[0].body["text"].as_str().unwrap().starts_with("SecretReadThenEgress: "), "{}", requests[0].text);
    let record = &requests[1].body["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0];
    assert_eq!(record["timeUnixNano"], json!((i128::from(alert.occurred_at_us) * 1000).to_string()));
    let has = |key: &str, value: &str| {
        let wanted = json!({"key": key, "value": {"stringValue": value}});
        record["attributes"].as_array().unwrap().contains(&wanted)
    };
    assert!(has("session.id", "s") && has("log.record.uid", &alert.id), "{record}");
}

#[tokio::test]
async fn a_receiver_that_is_away_is_told_from_one_that_refuses() {
    let (alert, level) = alert();
    for (answer, is_final) in [(500, false), (503, false), (429, false), (401, false), (400, true), (410, true)] {
        let endpoint = Endpoint::start(vec![status(answer)]).await;
        let receiver = Receiver::new(config(Kind::Webhook, &endpoint.url())).unwrap();
        let error = receiver.send(&alert, level).await.unwrap_err();
        assert_eq!(matches!(error, SendError::Never(_)), is_final, "{answer}: {error}");
    }
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let receiver = Receiver::new(config(Kind::Webhook, &format!("http://{free}/services/secret"))).unwrap();
    let error = receiver.send(&alert, level).await.unwrap_err().to_string();
    assert!(!error.contains("secret"), "{error}");
}
