//! The same commands against a broker that is not ours: everything in one `wk up`, and each part as a process.

use crate::harness::{self, Installation, Process};
use std::process::Command;

/// The topics are shared by the tests of one Kafka, so each test asks for its own session.
fn topics(installation: &Installation) {
    let created = installation.wk(["topics", "create", "--partitions", "4"]).output().unwrap();
    assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
    let again = installation.wk(["topics", "create", "--partitions", "4"]).output().unwrap();
    assert!(String::from_utf8_lossy(&again.stdout).contains("there already"), "{again:?}");
}

#[test]
fn up_and_run_work_against_a_real_kafka() {
    let Some(kafka) = harness::shared_kafka() else { return harness::skip("no Kafka (WK_TEST_KAFKA)") };
    let dir = tempfile::tempdir().unwrap();
    let installation = Installation::with_options(dir.path(), ["--brokers".to_owned(), kafka]);
    topics(&installation);
    let up = installation.up();
    let marker = format!("marker-{}", std::process::id());
    let done = installation.run(&[], dir.path(), ["sh", "-c", &format!("echo x > {marker}")]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(up.stop().success(), "{}", installation.printed("up"));
    let rows = installation.sql(&format!("SELECT path FROM file_access WHERE path LIKE '%/{marker}'"));
    assert_eq!(rows.len(), 1, "{rows:?}");
}

#[test]
fn the_parts_work_as_processes_of_their_own() {
    let Some(kafka) = harness::shared_kafka() else { return harness::skip("no Kafka (WK_TEST_KAFKA)") };
    let dir = tempfile::tempdir().unwrap();
    // Kafka has no registry, so one comes from an embedded log of another data folder.
    let registry_dir = tempfile::tempdir().unwrap();
    let registry_home = Installation::new(registry_dir.path());
    let _registry = registry_home.up();
    let url =
        registry_home.printed("up").lines().find_map(|l| l.strip_prefix("registry  ").map(str::to_owned)).unwrap();
    let options = ["--brokers".to_owned(), kafka.clone(), "--registry".to_owned(), url.clone()];
    let installation = Installation::with_options(dir.path(), options);
    topics(&installation);
    let ingest = installation.start("ingest", ["ingest"]);
    harness::eventually("the lake", || installation.data().join("lake/records/_delta_log").exists().then_some(()));
    let _watcher = installation.start("watcher", ["watcher"]);
    let _query = installation.start("query", ["query"]);
    harness::eventually("the HTTP door", || installation.data().join("query.url").exists().then_some(()));

    let shim = std::path::Path::new(env!("CARGO_BIN_EXE_wk")).with_file_name("wk-shim");
    assert!(shim.exists(), "`{}` is not built; run the tests of the whole workspace", shim.display());
    let marker = format!("parts-{}", std::process::id());
    let mut run = Command::new(shim);
    run.args(["--brokers", &kafka, "--registry", &url, "--data"]).arg(installation.data());
    run.args(["run", "--", "sh", "-c", &format!("echo x > {marker}")]).current_dir(dir.path());
    let mut session = Process::start(&mut run, &installation.log("shim"));
    assert!(session.wait().success(), "{}", installation.printed("shim"));
    assert!(ingest.stop().success(), "{}", installation.printed("ingest"));
    let rows = installation.sql(&format!("SELECT path FROM file_access WHERE path LIKE '%/{marker}'"));
    assert_eq!(rows.len(), 1, "{rows:?}");
}
