//! A full disk: a clear error, and nothing lost.

use crate::stage::{Stage, config, samples, to_the_end, verified, writer};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use wk_ingest::{Config, IngestError};

/// A small file system of its own, gone with the value.
struct Disk(PathBuf);

impl Disk {
    /// `None` when this user may not mount.
    fn mount(at: &Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let options = format!("size={size}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(at).output();
        mounted.is_ok_and(|out| out.status.success()).then(|| Self(at.to_owned()))
    }

    fn grow(&self, size: &str) {
        let grown = Command::new("mount").args(["-o", &format!("remount,size={size}")]).arg(&self.0).status().unwrap();
        assert!(grown.success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_ingest_with_its_reason_and_loses_nothing() {
    let stage = Stage::start().await;
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::mount(&folder.path().join("disk"), "400k") else {
        eprintln!("SKIPPED: mounting a small file system takes root");
        return;
    };
    let lake = disk.0.join("lake");
    stage.append(samples(1, 8000)).await;
    let records = 8000;
    let impatient = || Config { commit_time: Duration::ZERO, ..config(500) };
    let error = stage.ingest(impatient(), writer(&lake).await).run(to_the_end()).await.unwrap_err();
    let IngestError::Commit(cause) = &error else { panic!("{error:?}") };
    assert!(error.to_string().contains("nothing is lost"), "{error}");
    let mut text = String::new();
    let mut source: Option<&dyn std::error::Error> = Some(cause);
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    assert!(text.contains("No space left on device"), "{text}");
    assert!(text.contains("failed to write `"), "{text}");

    disk.grow("64m");
    stage.ingest(impatient(), writer(&lake).await).run(to_the_end()).await.unwrap();
    assert_eq!(verified(&lake).await.records, records);
}
