//! Every write fails once, before it happens and after it happened: the lake comes out whole.

use crate::common::{START, Session, commit, key, lake_id, records};
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path as ObjectPath;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use uuid::Uuid;
use wk_schemas::Timestamp;
use wk_store::compact::{self, Limits};
use wk_store::files::Files;
use wk_store::verify::{Options, verify};
use wk_store::{CommitError, Lake, OpenError, Writer};

/// A store of which one write fails.
#[derive(Debug)]
struct Faulty {
    inner: Arc<InMemory>,
    /// Writes until the one that fails; below zero none does any more.
    until: AtomicI64,
    /// Whether the write that fails has happened all the same.
    happened: bool,
    /// Whether it takes an object although the condition says no.
    careless: bool,
}

impl std::fmt::Display for Faulty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a store with a fault")
    }
}

fn fault() -> object_store::Error {
    object_store::Error::Generic { store: "faulty", source: "the connection was lost".into() }
}

#[async_trait::async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, at: &ObjectPath, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let now = self.until.fetch_sub(1, Ordering::SeqCst) == 0;
        if now && !self.happened {
            return Err(fault());
        }
        let options = if self.careless { PutOptions::default() } else { options };
        let put = self.inner.put_opts(at, payload, options).await;
        if now { put.and(Err(fault())) } else { put }
    }

    async fn put_multipart_opts(
        &self,
        at: &ObjectPath,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, options).await
    }

    async fn get_opts(&self, at: &ObjectPath, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(at, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<ObjectPath>>,
    ) -> BoxStream<'static, Result<ObjectPath>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&ObjectPath>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&ObjectPath>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &ObjectPath, to: &ObjectPath, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// Makes a lake of four commits; a failed step is tried again, by the same process or, with `restart`, by a new one.
async fn fill(files: &Files, restart: bool) {
    let open = || async {
        let lake = match Lake::create_on(files.clone(), lake_id(), Timestamp(START)).await {
            Err(OpenError::Exists) => Lake::open_on(files.clone()).await.unwrap(),
            // A lost answer: the lake may be there or not.
            Err(_) => return None,
            Ok(lake) => lake,
        };
        Writer::open(lake, key()).await.ok()
    };
    let mut writer = None;
    let mut session = Session::new(1);
    for number in 0u32..4 {
        let datums = records::bodies().into_iter().take(3).map(|body| session.datum(body)).collect();
        let commit = commit(u128::from(number) + 1, i64::from(number) * 3, datums);
        let mut tries = 0;
        loop {
            if writer.is_none() {
                writer = open().await;
            }
            let version = match writer.as_mut() {
                Some(w) => w.commit(&commit).await.ok(),
                None => None,
            };
            if let Some(version) = version {
                assert_eq!(version, u64::from(number) + 1);
                break;
            }
            tries += 1;
            assert!(tries < 4, "one fault needs no more than a few tries");
            if restart {
                writer = None;
            }
        }
    }
}

#[tokio::test]
async fn one_failed_write_anywhere_loses_and_doubles_nothing() {
    // A run without a fault does 26 writes: two that show whether the store heeds conditions, the lake, three for the first leaf, and five for each of four commits (file, commit, tile,
    // entry bundle, checkpoint). The loop goes on a little further to be sure of the end.
    for happened in [false, true] {
        for restart in [false, true] {
            for fails in 0..30 {
                let inner = Arc::new(InMemory::new());
                let store =
                    Faulty { inner: Arc::clone(&inner), until: AtomicI64::new(fails), happened, careless: false };
                fill(&Files::on(Arc::new(store)), restart).await;
                let healthy = Files::on(inner);
                let report = verify(&healthy, &key().verifying_key(), &Options::default(), |_| {}).await.unwrap();
                let case = format!("write {fails}, happened {happened}, restart {restart}\n{report}");
                assert!(report.is_valid(), "{case}");
                assert_eq!((report.records, report.signed_commits, report.duplicates), (12, 5, 0), "{case}");
            }
        }
    }
}

#[tokio::test]
async fn a_store_that_replaces_what_it_must_not_is_refused_before_anything_is_written() {
    let inner = Arc::new(InMemory::new());
    let store = Faulty { inner: Arc::clone(&inner), until: AtomicI64::new(-1), happened: false, careless: true };
    let opened = Lake::open_or_create_on(Files::on(Arc::new(store)), lake_id(), Timestamp(START)).await;
    let error = opened.unwrap_err().to_string();
    assert!(error.contains("`a store with a fault`") && error.contains("`If-None-Match: *`"), "{error}");
    assert!(Files::on(inner).list(&"records".into()).await.unwrap().is_empty());
}

/// Compacts the four files into one; a failed step is tried again, by the same process or, with `restart`, by a new one.
async fn compact(files: &Files, healthy: &Files, restart: bool) {
    let open = async || Writer::open(Lake::open_on(files.clone()).await.unwrap(), key()).await.ok();
    let (mut writer, mut rewrite) = (None, None);
    for tries in 0.. {
        assert!(tries < 4, "one fault needs no more than a few tries");
        if writer.is_none() {
            writer = open().await;
        }
        let Some(open) = writer.as_mut() else { continue };
        let limits = Limits { files_min: 2, ..Limits::default() };
        if rewrite.is_none() {
            // A new process knows nothing of what the one before it was about to do.
            let Some(inputs) = compact::plan(&open.lake().snapshot(), &BTreeSet::new(), "2026-10-26", &limits) else {
                break;
            };
            let id = Uuid::from_u128((tries + 600) << 64);
            rewrite = Some(compact::prepare(files, inputs, id, Timestamp(START)).await.unwrap());
        }
        let done = open.rearrange(rewrite.as_ref().unwrap()).await;
        // Whatever happened: who reads now sees each record once.
        assert_eq!(Lake::open_on(healthy.clone()).await.unwrap().snapshot().records(), 12);
        match done {
            Ok(version) => {
                assert_eq!(version, 5);
                break;
            }
            Err(_) if restart => (writer, rewrite) = (None, None),
            Err(_) => {}
        }
    }
}

#[tokio::test]
async fn one_failed_write_anywhere_in_a_compaction_loses_and_doubles_nothing() {
    // The file, the commit, the tile, the entry bundle, the checkpoint; and one write more, which is not met.
    for happened in [false, true] {
        for restart in [false, true] {
            for fails in 0..6 {
                let inner = Arc::new(InMemory::new());
                let healthy = Files::on(Arc::clone(&inner) as Arc<dyn ObjectStore>);
                fill(&healthy, false).await;
                let store = Faulty { inner, until: AtomicI64::new(fails), happened, careless: false };
                compact(&Files::on(Arc::new(store)), &healthy, restart).await;
                let report = verify(&healthy, &key().verifying_key(), &Options::default(), |_| {}).await.unwrap();
                let case = format!("write {fails}, happened {happened}, restart {restart}\n{report}");
                assert!(report.is_valid(), "{case}");
                let found = (report.records, report.rearranged, report.signed_commits, report.duplicates);
                assert_eq!(found, (12, 12, 6, 0), "{case}");
                assert_eq!(Lake::open_on(healthy).await.unwrap().snapshot().files.len(), 1, "{case}");
            }
        }
    }
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_the_commit_goes_in_once_there_is_room() {
    use std::process::Command;
    let dir = tempfile::tempdir().unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
        .arg(dir.path())
        .output()
        .is_ok_and(|done| done.status.success());
    if !mounted {
        eprintln!("SKIPPED: only root can mount the small disk that is to run full");
        return;
    }
    let done = std::panic::AssertUnwindSafe(full_disk(dir.path()));
    let done = futures::FutureExt::catch_unwind(done).await;
    assert!(Command::new("umount").arg("-l").arg(dir.path()).status().unwrap().success());
    done.unwrap();
}

/// Leaves less and less room, so that every write of a commit meets the full disk once.
async fn full_disk(disk: &std::path::Path) {
    let mut outcomes = std::collections::BTreeMap::new();
    for room in (0..20).map(|step| step * 8 * 1024) {
        let folder = disk.join(format!("lake-{room}"));
        let mut writer = crate::common::writer(&folder).await;
        let mut session = Session::new(1);
        let mut make = |number: u32| {
            let datums = vec![session.datum(records::bodies().remove(0))];
            commit(u128::from(number) + 1, i64::from(number), datums)
        };
        writer.commit(&make(0)).await.unwrap();
        let (ballast, spare) = (disk.join("ballast"), disk.join("spare"));
        std::fs::write(&spare, vec![1; room]).unwrap();
        // Takes what is left, however little.
        let _full = std::io::copy(&mut std::io::repeat(1), &mut std::fs::File::create(&ballast).unwrap());
        std::fs::remove_file(&spare).unwrap();
        let second = make(1);
        let (outcome, records) = match writer.commit(&second).await {
            Ok(_) => ("went in", 2),
            Err(error) => {
                assert!(format!("{error:?}").contains("StorageFull"), "{error:?}");
                match error {
                    CommitError::Write(_) => ("nothing changed", 1),
                    CommitError::Log(_) => ("the merkle log is behind", 2),
                    other => panic!("{other}"),
                }
            }
        };
        *outcomes.entry(outcome).or_insert(0) += 1;
        assert_eq!(writer.lake().refresh().await.unwrap().records(), records, "{outcome}");
        std::fs::remove_file(&ballast).unwrap();
        writer.commit(&second).await.unwrap();
        let files = Files::local(&folder).unwrap();
        let report = verify(&files, &key().verifying_key(), &Options::default(), |_| {}).await.unwrap();
        assert!(report.is_valid(), "{report}");
        assert_eq!(report.records, 2);
        std::fs::remove_dir_all(folder).unwrap();
    }
    let met: Vec<_> = outcomes.keys().copied().collect();
    assert_eq!(met, ["nothing changed", "the merkle log is behind", "went in"]);
}
