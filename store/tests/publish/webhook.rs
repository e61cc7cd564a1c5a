//! A webhook gets the checkpoint; who does not take it is named, and the others are told all the same.

use crate::common::filled;
use crate::published;
use crate::server::Server;
use wk_schemas::Digest;
use wk_store::merkle::Checkpoint;
use wk_store::publish::Targets;

#[tokio::test]
async fn a_webhook_gets_the_signed_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path()).await);
    let (hook, broken) = (Server::start(|_| (204, Vec::new())), Server::start(|_| (500, b"no room\nreally".to_vec())));
    let webhooks = vec![format!("{}/sink", broken.url), format!("{}/hook", hook.url)];
    let published = published(dir.path(), &Targets { webhooks: webhooks.clone(), ..Targets::default() }).await;
    let asked = hook.asked.lock().unwrap();
    let [(path, media, body)] = &asked[..] else { panic!("asked {} times", asked.len()) };
    assert_eq!((path.as_str(), media.as_str()), ("/hook", "application/json"));
    let told: serde_json::Value = serde_json::from_slice(body).unwrap();
    let note = told["checkpoint"].as_str().unwrap();
    let checkpoint = Checkpoint::open(note, &crate::common::key().verifying_key()).unwrap();
    assert_eq!(told["size"], checkpoint.size);
    assert_eq!(Digest::from_hex(told["root"].as_str().unwrap()), Some(checkpoint.root));
    assert_eq!(note, std::fs::read_to_string(dir.path().join("log/checkpoint")).unwrap());
    let said = "answered 500 Internal Server Error: no room".to_owned();
    assert_eq!(published.failed, [(webhooks[0].clone(), said)]);
}
