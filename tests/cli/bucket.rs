//! The lake in a bucket of a real S3-compatible store: written, killed in the middle, asked and verified by `wk`.

use crate::harness::{Installation, eventually, scripts, skip};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// An object store for one test, stopped with the value.
struct Store(PathBuf);

impl Store {
    fn start(dir: &Path) -> Option<Self> {
        let started = Command::new(scripts().join("s3-start")).arg(dir).stderr(Stdio::inherit()).output().unwrap();
        if started.status.code() == Some(75) {
            skip("no object store is installed");
            return None;
        }
        assert!(started.status.success(), "s3-start: {}", started.status);
        Some(Self(dir.to_owned()))
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).unwrap().trim().to_owned()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        Command::new(scripts().join("s3-stop")).arg(&self.0).status().ok();
    }
}

/// An installation in a folder of its own whose configuration says what `lake` says.
fn installation(dir: &Path, lake: &str) -> Installation {
    std::fs::create_dir_all(dir).unwrap();
    let config = dir.join("wk.toml");
    // Many small commits, so that a kill meets one.
    std::fs::write(&config, format!("[lake]\n{lake}\n[ingest]\nseal_records = 20\nseal_interval = \"50ms\"\n"))
        .unwrap();
    Installation::with_options(dir, ["--config", config.to_str().unwrap()])
}

#[test]
fn a_lake_in_a_bucket_survives_kill_9_and_is_asked_and_verified_like_any_other() {
    let dir = tempfile::tempdir().unwrap();
    let Some(store) = Store::start(&dir.path().join("store")) else { return };
    let (endpoint, keys) = (store.read("endpoint"), store.0.display());
    let lake = format!(
        "url = \"s3://lake/eu/records\"\nendpoint = \"{endpoint}\"\naccess_key_id_file = \"{keys}/id\"\nsecret_access_key_file = \"{keys}/secret\""
    );
    let installation = installation(&dir.path().join("one"), &lake);
    let workspace = dir.path().join("workspace");
    std::fs::create_dir(&workspace).unwrap();
    let workspace = workspace.canonicalize().unwrap();
    let mut up = installation.up();
    let agent = "for i in $(seq 150); do echo $i > made-$i; done";
    let mut command = installation.wk(["run", "--", "sh", "-c", agent]);
    let mut run = crate::harness::Process::start(command.current_dir(&workspace), &installation.log("run"));
    let session = installation.session_in(&workspace);
    let count = format!("SELECT count(*) AS n FROM records WHERE session_id = '{session}'");
    eventually("some records in the lake", || {
        (installation.try_sql(&count).ok()?.first()?["n"].as_i64()? > 40).then_some(())
    });
    up.kill();
    let up = installation.up();
    assert!(run.wait().success(), "{}", installation.printed("run"));
    installation.wait_for_end_of(&session);
    assert!(up.stop().success());

    assert!(!installation.data().join("lake").exists(), "nothing of the lake is on this disk");
    let chain = installation.sql(&format!(
        "SELECT count(*) AS records, count(DISTINCT seq) AS numbers, max(seq) + 1 AS last FROM records \
         WHERE session_id = '{session}' AND topic = 'agent.session.events.v1'"
    ));
    assert_eq!((&chain[0]["records"], &chain[0]["records"]), (&chain[0]["numbers"], &chain[0]["last"]), "{chain:?}");
    let made = installation.sql(&format!(
        "SELECT sum(count) AS n FROM file_access WHERE session_id = '{session}' AND operation = 'CREATE' AND path LIKE '%/made-%'"
    ));
    assert_eq!(made[0]["n"], json!(150));
    let timeline = installation.wk(["timeline", &session]).output().unwrap();
    assert!(timeline.status.success(), "{timeline:?}");

    let verify = |installation: &Installation, arguments: &[&str], environment: &[(&str, &str)]| {
        let done =
            installation.wk(["verify"].iter().chain(arguments)).envs(environment.iter().copied()).output().unwrap();
        let said = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
        (done.status.code(), said)
    };
    let (code, said) = verify(&installation, &[], &[]);
    assert_eq!(code, Some(0), "{said}");

    // An auditor elsewhere, with the public key and keys to the bucket in the environment.
    let auditor = Installation::new(&{
        let folder = dir.path().join("two");
        std::fs::create_dir(&folder).unwrap();
        folder
    });
    let key = installation.data().join("keys/lake.pub");
    let arguments = ["--lake", "s3://lake/eu/records", "--key", key.to_str().unwrap()];
    let (id, secret) = (store.read("id"), store.read("secret"));
    let mut environment =
        vec![("AWS_ENDPOINT_URL", endpoint.as_str()), ("AWS_ACCESS_KEY_ID", &id), ("AWS_SECRET_ACCESS_KEY", &secret)];
    let (code, said) = verify(&auditor, &arguments, &environment);
    assert_eq!(code, Some(0), "{said}");
    environment[2].1 = "another secret";
    let (code, said) = verify(&auditor, &arguments, &environment);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("SignatureDoesNotMatch") && !said.contains("another secret"), "{said}");
}

#[test]
fn a_place_that_cannot_be_used_is_said_before_anything_is_read() {
    let dir = tempfile::tempdir().unwrap();
    for (lake, part) in [
        ("url = \"gs://bucket/records\"", "`gs://bucket/records` is no place for a lake"),
        (
            "url = \"s3://b\"\nendpoint = \"http://minio:9000\"",
            "`http://minio:9000` is not encrypted and not on this machine",
        ),
        ("url = \"s3://b\"\naccess_key_id_file = \"/nowhere/id\"", "go together; only one is given"),
        (
            "url = \"s3://b\"\naccess_key_id_file = \"/nowhere/id\"\nsecret_access_key_file = \"/nowhere/secret\"",
            "failed to read `/nowhere/id`, which `access_key_id_file` of [lake] names",
        ),
        ("bucket = \"b\"", "unknown field `bucket`"),
    ] {
        let done = installation(dir.path(), lake).wk(["verify"]).output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(2), "{said}");
        assert!(said.contains(part), "{part}: {said}");
    }
}
