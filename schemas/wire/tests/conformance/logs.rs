//! The brokers that the suite runs on.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use wk_wire::Brokers;
use wk_wire::embedded::{Broker, Settings};

/// A broker that can be stopped and started again over the same data.
pub(crate) trait Restart {
    fn brokers(&self) -> Brokers;
    async fn restart(&mut self);
}

pub(crate) struct Embedded {
    dir: TempDir,
    broker: Option<Broker>,
}

impl Embedded {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let broker = Broker::start(dir.path(), 0).await.unwrap();
        Self { dir, broker: Some(broker) }
    }

    pub(crate) fn brokers(&self) -> Brokers {
        self.broker.as_ref().unwrap().brokers()
    }

    pub(crate) async fn stop(mut self) {
        self.broker.take().unwrap().shutdown().await;
    }
}

impl Restart for Embedded {
    fn brokers(&self) -> Brokers {
        Self::brokers(self)
    }

    async fn restart(&mut self) {
        let broker = self.broker.take().unwrap();
        let port = broker.bootstrap().rsplit(':').next().unwrap().parse();
        broker.shutdown().await;
        let settings = Settings { port: port.unwrap(), ..Settings::default() };
        let broker = Broker::start_with(self.dir.path(), settings).await;
        self.broker = Some(broker.unwrap());
    }
}

/// A Kafka of its own, started by the harness.
pub(crate) struct Kafka {
    dir: TempDir,
    bootstrap: String,
}

impl Kafka {
    /// The Kafka that all tests share; `None`, said loudly, when there is none.
    pub(crate) fn shared() -> Option<Brokers> {
        match std::env::var("WK_TEST_KAFKA") {
            Ok(bootstrap) if !bootstrap.is_empty() => Some(Brokers::plain(bootstrap)),
            _ => skip("WK_TEST_KAFKA does not name a Kafka; start one with tests/harness/kafka-start"),
        }
    }

    pub(crate) fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// With a second listener that wants TLS and a password; see `tests/harness/kafka-start`.
    pub(crate) fn start_secure() -> Option<Self> {
        Self::start_with(&[("WK_KAFKA_SECURE", "1")])
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn start_with(environment: &[(&str, &str)]) -> Option<Self> {
        Self::shared()?;
        let dir = tempfile::tempdir().unwrap();
        let Some(bootstrap) = start(dir.path(), environment) else {
            return skip("tests/harness/kafka-start could not install Kafka");
        };
        Some(Self { dir, bootstrap })
    }
}

impl Restart for Kafka {
    fn brokers(&self) -> Brokers {
        Brokers::plain(&self.bootstrap)
    }

    async fn restart(&mut self) {
        let dir = self.dir.path().to_owned();
        let restarted = tokio::task::spawn_blocking(move || {
            stop(&dir);
            start(&dir, &[])
        });
        assert_eq!(restarted.await.unwrap().as_deref(), Some(self.bootstrap.as_str()));
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        stop(self.dir.path());
    }
}

fn start(dir: &Path, environment: &[(&str, &str)]) -> Option<String> {
    let output = Command::new(harness("kafka-start")).arg(dir).envs(environment.iter().copied()).output().unwrap();
    if output.status.code() == Some(75) {
        return None;
    }
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "kafka-start: {errors}");
    let bootstrap = text.lines().find_map(|line| line.strip_prefix("bootstrap="));
    Some(bootstrap.unwrap().to_owned())
}

fn stop(dir: &Path) {
    let status = Command::new(harness("kafka-stop")).arg(dir).status();
    assert!(status.unwrap().success());
}

pub(crate) fn harness(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/harness").join(name)
}

/// Says loudly that a test did not run, and fails where that is not allowed.
pub(crate) fn skip<T>(reason: &str) -> Option<T> {
    let required = std::env::var("WK_TEST_REQUIRE").is_ok_and(|value| value == "1");
    assert!(!required, "required by WK_TEST_REQUIRE, but: {reason}");
    #[expect(
        clippy::explicit_write,
        reason = "past the capture of the test runner, which shows nothing of a test that passes"
    )]
    writeln!(std::io::stderr(), "SKIPPED: {reason}").unwrap();
    None
}
