//! A watcher at work whose rules change on disk: a whole pack is taken, or the last good one stays, and findings say which it was.

#![cfg(test)]

mod common;

use common::{AGENT, Script, approver_key, by, command_key};
use std::path::Path;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use wk_schemas::body::{Finding, Mediation};
use wk_schemas::{Body, Digest, SCHEMA, Topic, codec};
use wk_watcher::rules::{Rules, Sources};
use wk_watcher::run::{Points, Setup};
use wk_watcher::{Config, Watcher};
use wk_wire::embedded::Broker;
use wk_wire::kafka::{Cluster, Producer, Reader};
use wk_wire::{Append as _, Read as _, frame, registry, unframe};

/// What has to happen within this time, else something hangs.
const PATIENCE: Duration = Duration::from_secs(600);

fn rule(title: &str, file: &str) -> String {
    format!(
        "title: {title}\nlogsource:\n    category: file_event\n    product: linux\ndetection:\n    s:\n        TargetFilename|endswith: {file}\n    condition: s\n"
    )
}

/// The digest of the program's rules with those of `folder`.
fn digest(folder: &Path) -> Digest {
    let mut sources = Sources::embedded();
    sources.add_path(folder).unwrap();
    Rules::compile(&sources).pack_digest
}

struct Log {
    broker: Broker,
    producer: Producer,
    schema: i32,
    findings: Reader,
    sessions: u32,
}

impl Log {
    async fn start(folder: &Path) -> Self {
        let broker = Broker::start(folder, 0).await.unwrap();
        let client = registry::Client::new(broker.registry_url()).unwrap();
        let schema = client.register(Topic::Events.name(), SCHEMA).await.unwrap();
        let partitions = Cluster::connect(&broker.brokers()).unwrap().partitions(Topic::Findings.name()).await.unwrap();
        let starts: Vec<_> = partitions.into_iter().map(|p| (Topic::Findings.name(), p, 0)).collect();
        let findings = Reader::assign(&broker.brokers(), &starts).await.unwrap();
        let producer = Producer::connect(&broker.brokers()).unwrap();
        Self { broker, producer, schema, findings, sessions: 0 }
    }

    /// A session that reads `first.txt` and `second.txt`, and the finding that a rule of the folder raises about it.
    async fn session(&mut self) -> Finding {
        self.sessions += 1;
        let mut script = Script::new(&format!("s{}", self.sessions));
        script.start();
        script.prompt("Look at first.txt and second.txt");
        script.shell("c1", "cat first.txt second.txt");
        let cat = by(3, "/usr/bin/cat", "c1", Mediation::Declared);
        script.exec(cat, AGENT, "cat first.txt second.txt");
        script.read(cat, "/home/alice/shop/first.txt");
        script.read(cat, "/home/alice/shop/second.txt");
        for record in &script.records {
            let key = record.header.session_id.as_str().as_bytes();
            let value = frame(self.schema, &codec::encode(record));
            self.producer.append(Topic::Events.name(), key, &value).await.unwrap();
        }
        loop {
            let message = self.findings.next().await.unwrap();
            let record = codec::decode(unframe(&message.value).unwrap().1).unwrap();
            if let Body::Finding(finding) = record.body
                && finding.title.starts_with("Changed")
                && record.header.session_id == script.session
            {
                return finding;
            }
        }
    }

    /// Sessions, until one is judged by a rule of this title.
    async fn until(&mut self, title: &str) -> Finding {
        let search = async {
            loop {
                let finding = self.session().await;
                if finding.title == title {
                    return finding;
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        };
        tokio::time::timeout(PATIENCE, search).await.expect("the changed rules come into force")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changed_rules_come_into_force_as_a_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules");
    std::fs::create_dir(&rules).unwrap();
    std::fs::write(rules.join("a.yml"), rule("Changed 1", "/first.txt")).unwrap();
    let before = digest(&rules);
    let mut log = Log::start(&folder.path().join("log")).await;
    let setup = Setup {
        brokers: log.broker.brokers(),
        registry: registry::Client::new(log.broker.registry_url()).unwrap(),
        state: folder.path().join("state"),
        command_key: command_key(),
        approvers: vec![approver_key().verifying_key()],
        tenant: "default".into(),
        host: "build-7".into(),
        points: Points::default(),
    };
    let config =
        Config { checkpoint_interval: Duration::from_millis(50), rules: vec![rules.clone()], ..Config::default() };
    let cancel = CancellationToken::new();
    let running = tokio::spawn(Watcher::open(config, setup).unwrap().run(cancel.clone()));
    assert_eq!(log.until("Changed 1").await.pack_digest, before);

    // Half of this pack would load: a good rule, and one that is cut off. Nothing of it is taken.
    std::fs::write(rules.join("b.yml"), format!("{}---\n{}", rule("Changed 2", "/second.txt"), "title: Cut\nlog"))
        .unwrap();
    std::fs::write(rules.join("a.yml"), "title: Cut off\nlogsource:").unwrap();
    for _ in 0..6 {
        let finding = log.session().await;
        assert_eq!((finding.title.as_str(), finding.pack_digest), ("Changed 1", before));
        tokio::time::sleep(Duration::from_millis(500)).await;
    }

    std::fs::remove_file(rules.join("a.yml")).unwrap();
    std::fs::write(rules.join("b.yml"), rule("Changed 2", "/second.txt")).unwrap();
    let finding = log.until("Changed 2").await;
    assert_eq!(finding.pack_digest, digest(&rules));
    assert_ne!(finding.pack_digest, before);
    cancel.cancel();
    running.await.unwrap().unwrap();
}
