//! A lake in the bucket of a real S3-compatible object store.
#![expect(clippy::disallowed_methods, reason = "the environment says whether a test may be skipped")]

use crate::stage::{Stage, config, samples, to_the_end, verified_on, writer_on};
use object_store::path::Path as ObjectPath;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;
use wk_ingest::IngestError;
use wk_schemas::Topic;
use wk_store::files::{Files, FilesError, PutNew};
use wk_store::place::{Config, Environment, Place, Places};

/// An object store of its own with an empty bucket, stopped with the value.
pub(crate) struct Bucket {
    dir: TempDir,
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/harness").join(name)
}

/// A lake in the bucket whose store has its keys in `dir`; it listens there, or where `endpoint` says.
pub(crate) fn place(dir: &Path, endpoint: Option<String>) -> Place {
    let endpoint = endpoint.unwrap_or_else(|| std::fs::read_to_string(dir.join("endpoint")).unwrap().trim().to_owned());
    let config = Config {
        url: Some("s3://lake/watched/records".into()),
        endpoint: Some(endpoint),
        access_key_id_file: Some(dir.join("id")),
        secret_access_key_file: Some(dir.join("secret")),
        ..Config::default()
    };
    Places { config, environment: Environment::default() }.find(None, Path::new("")).unwrap()
}

pub(crate) fn files(dir: &Path, endpoint: Option<String>) -> Files {
    place(dir, endpoint).make().unwrap()
}

impl Bucket {
    /// `None`, said loudly, where no object store is installed.
    pub(crate) fn start() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let started = Command::new(script("s3-start")).arg(dir.path()).stderr(Stdio::inherit()).output().unwrap();
        if started.status.code() == Some(75) {
            assert!(std::env::var_os("WK_TEST_REQUIRE").is_none(), "an object store is required and not installed");
            eprintln!("SKIPPED: no object store");
            return None;
        }
        assert!(started.status.success(), "{started:?}");
        Some(Self { dir })
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn endpoint(&self) -> String {
        std::fs::read_to_string(self.dir().join("endpoint")).unwrap().trim().to_owned()
    }

    pub(crate) fn files(&self) -> Files {
        files(self.dir(), None)
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        let stopped = Command::new(script("s3-stop")).arg(self.dir.path()).status();
        assert!(stopped.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_put_the_same_name_into_a_bucket_one_succeeds() {
    let Some(bucket) = Bucket::start() else { return };
    for round in 0..10 {
        let path = ObjectPath::from(format!("_delta_log/{round}.json"));
        let puts = (0u8..16).map(|n| {
            let (files, path) = (bucket.files(), path.clone());
            // A store may also say that somebody else is writing that name just now, which is an error to be tried again.
            tokio::spawn(async move {
                loop {
                    match files.put_new(&path, vec![n].into()).await {
                        Ok(put) => return put,
                        Err(FilesError::Write { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            })
        });
        let mut created = Vec::new();
        for (n, put) in (0u8..).zip(futures::future::join_all(puts).await) {
            created.extend((put.unwrap() == PutNew::Created).then_some(n));
        }
        assert_eq!(created.len(), 1, "{created:?}");
        assert_eq!(bucket.files().get(&path).await.unwrap().unwrap(), created);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lake_in_a_bucket_is_filled_and_proven_like_one_in_a_folder() {
    let Some(bucket) = Bucket::start() else { return };
    let stage = Stage::start().await;
    stage.append(samples(1, 3000)).await;
    stage.append_raw(Topic::Events, b"s1", b"rubbish").await;
    // Enough commits for a Delta checkpoint, and for a tile of the Merkle log to be replaced many times.
    let ingest = stage.ingest(config(25), writer_on(bucket.files()).await);
    assert_eq!(ingest.run(to_the_end()).await.unwrap().rows, 3000);
    let again = stage.ingest(config(25), writer_on(bucket.files()).await).run(to_the_end()).await.unwrap();
    assert_eq!(again.rows, 1, "the one dead letter");
    let report = verified_on(bucket.files()).await;
    assert_eq!((report.records, report.duplicates, report.dead_letters), (3001, 0, 1));
    // The same records as in a folder, in the same places.
    assert_eq!(stage.catch_up(config(25)).await.unwrap().rows, 3001);
    let at = bucket.dir().join("objects/lake/watched/records/records/_delta_log");
    assert!(at.join("00000000000000000000.json").is_file());
    assert!(
        std::fs::read_dir(&at).unwrap().any(|e| e.unwrap().path().to_string_lossy().ends_with(".checkpoint.parquet"))
    );
    // Somebody with the disk of the store is found out all the same.
    let path = at.join("00000000000000000002.json");
    let bent = std::fs::read_to_string(&path).unwrap().replacen(':', ": ", 1);
    std::fs::write(&path, bent).unwrap();
    let key = crate::stage::key().verifying_key();
    let report = wk_store::verify::verify(&bucket.files(), &key, &wk_store::verify::Options::default(), |_| {}).await;
    let report = report.unwrap();
    assert!(report.to_string().contains("commit 2: its bytes are not the ones that were signed"), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_ingest_on_a_bucket_stops_and_doubles_nothing() {
    let Some(bucket) = Bucket::start() else { return };
    let stage = Stage::start().await;
    stage.append(samples(2, 1500)).await;
    let (one, two) = (writer_on(bucket.files()).await, writer_on(bucket.files()).await);
    let one = tokio::spawn(stage.ingest(config(100), one).run(to_the_end()));
    let two = tokio::spawn(stage.ingest(config(100), two).run(to_the_end()));
    let (one, two) = (one.await.unwrap(), two.await.unwrap());
    let ((Err(error), Ok(_)) | (Ok(_), Err(error))) = (&one, &two) else { panic!("{one:?} {two:?}") };
    assert!(matches!(error, IngestError::Shared(_)), "{error:?}");
    let report = verified_on(bucket.files()).await;
    assert_eq!((report.records, report.duplicates), (1500, 0));
}
