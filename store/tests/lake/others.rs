//! Readers and verifiers that are not ours. They are Python packages; `tests/harness/tools-install` installs them.

use crate::common::{START, Session, filled, key, range, records, rows};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use uuid::Uuid;
use wk_schemas::{Kind, Timestamp, Topic};
use wk_store::files::Files;
use wk_store::merkle::proof::prove;
use wk_store::merkle::{Log, verifier_key};
use wk_store::{Commit, Range, Row, Source, compact};

#[tokio::test]
async fn deltalake_polars_duckdb_and_spark_read_the_table() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = filled(dir.path()).await;
    // A file that holds two partitions, of two topics.
    let bodies = || records::bodies().into_iter().filter(|body| body.kind() == Kind::Finding);
    let (mut events, mut findings) = (Session::new(2), Session::new(3));
    let mut rows = rows(25, vec![events.datum(records::bodies().remove(0))]);
    let mut ranges = vec![range(25, &rows)];
    for (offset, body) in (0..).zip(bodies().chain(bodies())) {
        let datum = findings.datum(body).into();
        rows.push(Row::read(Topic::Findings, 2, offset, Timestamp(START), datum).unwrap());
    }
    let topic = Topic::Findings;
    ranges.push(Range { topic, partition: 2, first: 0, next: 2, rows: 2, dead_letters: 0, absent: 0 });
    let commit = Commit::prepare(Uuid::from_u128(9 << 96), Timestamp(START), rows, ranges).unwrap();
    writer.commit(&commit).await.unwrap();
    let last = writer.lake().snapshot().files.last().unwrap().path.clone();
    assert_eq!(last, "records/day=2026-10-26/events-0-25-25-and-1-00000009000000000000000000000000.parquet");
    let arguments = [path(&dir.path().join("records")), "26".into(), "2".into()];
    run("read_table.py", &arguments);
    // The same after a compaction, in the order of sessions.
    let inputs =
        compact::plan(&writer.lake().snapshot(), &BTreeSet::new(), "2026-10-27", &compact::Limits::default()).unwrap();
    let rewrite = compact::prepare(writer.lake().files(), inputs, Uuid::from_u128(10), Timestamp(START)).await.unwrap();
    writer.rearrange(&rewrite).await.unwrap();
    assert_eq!(writer.lake().snapshot().files.len(), 1);
    run("read_table.py", &arguments);
    // It reads every earlier version, too.
    run_on_spark("ReadTable.java", &arguments);
}

#[tokio::test]
async fn another_verifier_finds_every_commit_in_the_log_and_notices_changes() {
    let dir = tempfile::tempdir().unwrap();
    let old = dir.path().join("old");
    let lake = dir.path().join("lake");
    drop(crate::common::writer(&lake).await);
    fs::copy(lake.join("log/checkpoint"), &old).unwrap();
    let writer = filled(&lake).await;
    let commits = lake.join("records/_delta_log");
    let vkey = verifier_key(&writer.lake().origin(), &key().verifying_key());
    run("verify_log.py", &[path(&lake.join("log")), vkey, path(&commits), path(&old)]);
}

#[tokio::test]
async fn another_verifier_reads_a_log_of_many_tiles() {
    let dir = tempfile::tempdir().unwrap();
    let (old, entries) = (dir.path().join("old"), dir.path().join("entries"));
    fs::create_dir(&entries).unwrap();
    let mut log = Log::empty(Files::local(&dir.path().join("lake")).unwrap());
    for (from, to) in [(0, 512), (512, 700)] {
        let piece: Vec<Bytes> = (from..to).map(|n| Bytes::from(format!("{{\"commit\":{n}}}\n"))).collect();
        for (n, entry) in (from..to).zip(&piece) {
            fs::write(entries.join(format!("{n:06}")), entry).unwrap();
        }
        log.append(&piece, "watchkeeper/test", &key()).await.unwrap();
        if from == 0 {
            fs::copy(dir.path().join("lake/log/checkpoint"), &old).unwrap();
        }
    }
    let vkey = verifier_key("watchkeeper/test", &key().verifying_key());
    run("verify_log.py", &[path(&dir.path().join("lake/log")), vkey, path(&entries), path(&old)]);
}

#[tokio::test]
async fn another_verifier_checks_the_proof_of_one_record() {
    let dir = tempfile::tempdir().unwrap();
    let lake = dir.path().join("lake");
    let writer = filled(&lake).await;
    let (proof, record) = prove(writer.lake(), Source { topic: Topic::Events, partition: 0 }, 13).await.unwrap();
    let folder = dir.path().join("proof");
    fs::create_dir(&folder).unwrap();
    for (name, bytes) in proof.files(&record) {
        fs::write(folder.join(name), bytes).unwrap();
    }
    let vkey = verifier_key(&writer.lake().origin(), &key().verifying_key());
    run("check_proof.py", &[path(&folder), vkey]);
}

#[tokio::test]
async fn sha256sum_checks_the_files_against_the_tables_own_log() {
    let dir = tempfile::tempdir().unwrap();
    let writer = filled(dir.path()).await;
    let sums = |folder: &Path| {
        let mut text = String::new();
        for version in 0..4 {
            let commit = fs::read_to_string(folder.join(format!("_delta_log/{version:020}.json"))).unwrap();
            for line in commit.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()) {
                if let Some(add) = line.get("add") {
                    let (sum, path) = (&add["tags"]["watchkeeper.sha256"], &add["path"]);
                    text += &format!("{}  {}\n", sum.as_str().unwrap(), path.as_str().unwrap());
                }
            }
        }
        text
    };
    let table = dir.path().join("records");
    fs::write(dir.path().join("SHA256SUMS"), sums(&table)).unwrap();
    let check = || {
        let done = Command::new("sha256sum").args(["--quiet", "-c", "../SHA256SUMS"]).current_dir(&table).output();
        done.map(|done| (done.status.success(), String::from_utf8_lossy(&done.stdout).into_owned()))
    };
    match check() {
        Err(e) => skip(&format!("SKIPPED: sha256sum: {e}")),
        Ok(first) => {
            assert_eq!(first, (true, String::new()));
            let file = dir.path().join(&writer.lake().snapshot().files[1].path);
            let mut bytes = fs::read(&file).unwrap();
            bytes[100] ^= 1;
            fs::write(&file, bytes).unwrap();
            let (holds, said) = check().unwrap();
            assert!(!holds && said.contains(file.file_name().unwrap().to_str().unwrap()), "{said}");
        }
    }
}

pub(crate) fn path(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// Where `tests/harness/tools-install` puts things.
#[expect(clippy::disallowed_methods, reason = "tests find their tools by the environment")]
fn tools() -> PathBuf {
    let cache = std::env::var("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .unwrap_or_else(|_| PathBuf::from(std::env::var("HOME").unwrap_or_default()).join(".cache"));
    cache.join("watchkeeper/tools")
}

/// Runs a Python script of `store/tests`.
pub(crate) fn run(script: &str, arguments: &[String]) {
    carry_out(Command::new(tools().join("python/bin/python")), script, arguments);
}

/// Runs a Java program of `store/tests` with Apache Spark and Delta Lake.
fn run_on_spark(program: &str, arguments: &[String]) {
    let home = tools().join("spark");
    if !home.exists() {
        return skip(&format!("SKIPPED: Apache Spark is not installed ({program})"));
    }
    let scratch = tempfile::tempdir().unwrap();
    let mut java = Command::new("java");
    java.arg("-cp").arg(home.join("libs/*")).arg(format!("-Djava.io.tmpdir={}", scratch.path().display()));
    // A short test on a machine with two processors.
    java.args(["-Xmx1g", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]);
    // What Spark's own launcher gives Java 17 and later; `org.apache.spark.launcher.JavaModuleOptions` lists it.
    for module in ["lang", "lang.invoke", "net", "nio", "util", "util.concurrent", "util.concurrent.atomic"] {
        java.arg(format!("--add-opens=java.base/java.{module}=ALL-UNNAMED"));
    }
    java.args(["--add-opens=java.base/sun.nio.ch=ALL-UNNAMED", "--add-opens=java.base/sun.util.calendar=ALL-UNNAMED"]);
    carry_out(java, program, arguments);
}

/// Runs a script or program of `store/tests`; what is missing is said loudly, and is a failure when `WK_TEST_REQUIRE` is 1.
fn carry_out(mut command: Command, script: &str, arguments: &[String]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(script);
    let skipped = match command.arg(&script).args(arguments).output() {
        Ok(done) => {
            let said = String::from_utf8_lossy(&done.stdout);
            match done.status.code() {
                Some(0) => None,
                Some(77) => Some(said.trim().to_owned()),
                _ => panic!("{}\n{said}{}", script.display(), String::from_utf8_lossy(&done.stderr)),
            }
        }
        Err(e) => Some(format!("SKIPPED: {}: {e}", command.get_program().display())),
    };
    if let Some(why) = skipped {
        skip(&format!("{why} ({})", script.display()));
    }
}

/// Says loudly what is missing.
#[expect(clippy::disallowed_methods, reason = "tests find their tools by the environment")]
fn skip(why: &str) {
    eprintln!("{why}");
    assert!(!std::env::var("WK_TEST_REQUIRE").is_ok_and(|v| v == "1"), "{why}");
}
