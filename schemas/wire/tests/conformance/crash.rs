//! What only the embedded log can be asked: one process at a time, killed, on a full disk, in a folder with any name.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use wk_schemas::Topic;
use wk_wire::embedded::{Broker, EmbeddedError, Settings};
use wk_wire::kafka::{Producer, Reader};
use wk_wire::{Append as _, Brokers, Disposition, Read as _};

use crate::logs::skip;

const FOLDER: &str = "WK_TEST_LOG_FOLDER";
const PORT: &str = "WK_TEST_LOG_PORT";
const TOPIC: &str = Topic::Events.name();

/// Not a test of its own: the process that the others start and kill.
#[tokio::test(flavor = "multi_thread")]
async fn log_process() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let folder = Path::new(&folder);
    let port = std::env::var(PORT).unwrap().parse().unwrap();
    let broker = Broker::start(folder, port).await.unwrap();
    std::fs::write(folder.join("starting"), broker.bootstrap()).unwrap();
    std::fs::rename(folder.join("starting"), folder.join("bootstrap")).unwrap();
    std::future::pending::<()>().await;
}

struct Process {
    child: Child,
    bootstrap: String,
}

impl Process {
    async fn start(folder: &Path, port: &str) -> Self {
        let ready = folder.join("bootstrap");
        if ready.exists() {
            std::fs::remove_file(&ready).unwrap();
        }
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["crash::log_process", "--exact", "--nocapture"]).env(FOLDER, folder).env(PORT, port);
        let mut child = command.stdout(Stdio::null()).spawn().unwrap();
        loop {
            if let Ok(bootstrap) = std::fs::read_to_string(&ready) {
                return Self { child, bootstrap };
            }
            assert!(child.try_wait().unwrap().is_none(), "the log did not start");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_log_has_every_acknowledged_message_once() {
    const ROUNDS: usize = 3;
    let dir = tempfile::tempdir().unwrap();
    let mut process = Process::start(dir.path(), "0").await;
    let bootstrap = process.bootstrap.clone();
    let port = bootstrap.rsplit(':').next().unwrap();
    let producer = Producer::connect(&Brokers::plain(&bootstrap)).unwrap();
    let mut sent: u32 = 0;
    let mut deliveries = Vec::new();
    for round in 1..=ROUNDS {
        for _ in 0..400 {
            let value = sent.to_string();
            deliveries.push(producer.submit(TOPIC, b"session", value.as_bytes()).await.unwrap());
            sent += 1;
            if sent.is_multiple_of(50) {
                // Some are acknowledged, some in flight, some only in the buffer.
                tokio::time::sleep(Duration::from_millis(4)).await;
            }
        }
        process.kill();
        process = Process::start(dir.path(), port).await;
        println!("round {round}: {sent} sent");
    }
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    assert_eq!(read(&bootstrap, sent as usize).await, numbers(sent));
    process.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_is_told_who_has_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(dir.path(), "0").await;
    let error = Broker::start(dir.path(), 0).await.unwrap_err();
    assert!(matches!(error, EmbeddedError::InUse { .. }));
    let folder = dir.path().canonicalize().unwrap();
    let holder = process.child.id();
    assert_eq!(error.to_string(), format!("the log in `{}` is in use by process {holder}", folder.display()));
    process.kill();
    // The lock goes with the process, however it ended.
    Broker::start(dir.path(), 0).await.unwrap().shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_named_and_the_folder_is_free_again() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let dir = tempfile::tempdir().unwrap();
    let error = Broker::start(dir.path(), port).await.unwrap_err();
    assert_eq!(error.to_string(), format!("failed to listen on 127.0.0.1:{port}"));
    loop {
        // The thread that failed lets go of the folder a moment after it has said so.
        match Broker::start(dir.path(), 0).await {
            Ok(broker) => break broker.shutdown().await,
            Err(EmbeddedError::InUse { .. }) => tokio::time::sleep(Duration::from_millis(5)).await,
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_an_error_and_not_an_empty_log() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("log.db"), "this is no database, and long enough to be taken for one").unwrap();
    let error = Broker::start(dir.path(), 0).await.unwrap_err();
    assert!(matches!(error, EmbeddedError::Storage { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_may_have_any_name() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("Söhne & Töchter 100% #1?");
    for start in 0..2 {
        let broker = Broker::start(&folder, 0).await.unwrap();
        let producer = Producer::connect(&broker.brokers()).unwrap();
        producer.append(TOPIC, b"session", start.to_string().as_bytes()).await.unwrap();
        assert_eq!(read(broker.bootstrap(), start + 1).await, numbers(u32::try_from(start).unwrap() + 1));
        broker.shutdown().await;
    }
    assert!(folder.join("log.db").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_messages_and_keeps_those_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::mount(dir.path(), "24m") else { return };
    let ballast = disk.0.join("ballast");
    let broker = Broker::start_with(&disk.0.join("log"), Settings::default()).await.unwrap();
    std::fs::write(&ballast, vec![0; 16 << 20]).unwrap();
    let producer = Producer::connect(&broker.brokers()).unwrap();
    let mut acknowledged = 0_u32;
    let padding = "x".repeat(100_000);
    let error = loop {
        let value = format!("{acknowledged} {padding}");
        match producer.append(TOPIC, b"session", value.as_bytes()).await {
            Ok(_) => acknowledged += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.disposition(), Disposition::Stop, "{error}");
    assert!(acknowledged > 0);

    // With room again, a new producer goes on with the message that was refused.
    std::fs::remove_file(&ballast).unwrap();
    let producer = Producer::connect(&broker.brokers()).unwrap();
    producer.append(TOPIC, b"session", acknowledged.to_string().as_bytes()).await.unwrap();
    let read = read(broker.bootstrap(), acknowledged as usize + 1).await;
    let read: Vec<&str> = read.iter().filter_map(|value| value.split(' ').next()).collect();
    assert_eq!(read, numbers(acknowledged + 1));
    broker.shutdown().await;
}

/// A small file system in memory; only root can make one.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: &Path, size: &str) -> Option<Self> {
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(at).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(at.to_owned())),
            _ => skip("a small file system cannot be mounted here (only root may)"),
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()));
    }
}

async fn read(bootstrap: &str, count: usize) -> Vec<String> {
    let mut reader = Reader::assign(&Brokers::plain(bootstrap), &[(TOPIC, 0, 0)]).await.unwrap();
    let mut values = Vec::new();
    while values.len() < count {
        let batch = reader.next_batch(1000, Duration::from_secs(30)).await.unwrap();
        assert!(!batch.is_empty(), "only {} of {count} are there", values.len());
        values.extend(batch.into_iter().map(|message| String::from_utf8(message.value.to_vec()).unwrap()));
    }
    // And not one more.
    let more = reader.next_batch(1, Duration::from_millis(200)).await.unwrap();
    values.extend(more.into_iter().map(|message| String::from_utf8(message.value.to_vec()).unwrap()));
    values
}

fn numbers(count: u32) -> Vec<String> {
    (0..count).map(|n| n.to_string()).collect()
}
