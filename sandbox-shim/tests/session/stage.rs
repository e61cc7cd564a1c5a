//! A log of its own for each test, sessions in folders of their own, and everything that came to lie on the log.

use ed25519_dalek::SigningKey;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;
use wk_schemas::body::{Command, Instruction};
use wk_schemas::command::Signed;
use wk_schemas::{Body, Bytes, Chain, Digest, Header, Kind, Origin, Record, RecordId, SessionId, Topic, codec};
use wk_shim::clock;
use wk_shim::drain::LogAddress;
use wk_shim::session::{SessionConfig, SessionEnd, SessionError, run_session};
use wk_wire::embedded::{Broker, Settings};
use wk_wire::kafka::{Cluster, Producer, Reader};
use wk_wire::registry::RegistryConfig;
use wk_wire::{Append, Read};

/// A policy that lets everything pass: these tests are about records and commands, not about holds.
pub(crate) const OPEN: &str = "name = \"open\"\n[network]\ndefault = \"allow\"\n";

/// The Python with MCP's and OpenTelemetry's packages. A test that lacks it says so, and fails where it is required.
#[expect(clippy::disallowed_methods, reason = "tests are told by the environment what they may use")]
pub(crate) fn protocols() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    let python = cache.join("watchkeeper/tools/protocols/bin/python");
    if python.exists() {
        return Some(python);
    }
    eprintln!("SKIPPED: the packages of MCP and OpenTelemetry are not installed; run tests/harness/tools-install");
    assert!(
        std::env::var_os("WK_TEST_REQUIRE").is_none(),
        "the packages of MCP and OpenTelemetry are required and not installed"
    );
    None
}

pub(crate) struct Stage {
    pub(crate) runtime: tokio::runtime::Runtime,
    pub(crate) folder: tempfile::TempDir,
    broker: Option<Broker>,
    settings: Settings,
    pub(crate) key: SigningKey,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("open.toml"), OPEN).unwrap();
        let key = SigningKey::from_bytes(&[7; 32]);
        let mut stage = Self { runtime, folder, broker: None, settings: Settings::default(), key };
        stage.start_log();
        // Later starts listen where the first one did.
        let port = |url: &str| url.rsplit_once(':').unwrap().1.trim_end_matches('/').parse().unwrap();
        stage.settings.port = port(stage.broker().bootstrap());
        stage.settings.registry_port = port(stage.broker().registry_url());
        std::fs::create_dir(stage.workspace()).unwrap();
        std::fs::create_dir_all(stage.data().join("keys")).unwrap();
        stage
    }

    pub(crate) fn start_log(&mut self) {
        let dir = self.folder.path().join("log");
        let broker = self.runtime.block_on(Broker::start_with(&dir, self.settings)).unwrap();
        self.broker = Some(broker);
    }

    pub(crate) fn stop_log(&mut self) {
        let broker = self.broker.take().unwrap();
        self.runtime.block_on(broker.shutdown());
    }

    fn broker(&self) -> &Broker {
        self.broker.as_ref().unwrap()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn workspace(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    pub(crate) fn log(&self) -> LogAddress {
        let url = self.broker().registry_url().to_owned();
        let registry = RegistryConfig { url, username: None, password_file: None, ca_file: None };
        LogAddress { brokers: self.broker().brokers(), registry }
    }

    pub(crate) fn config(&self, argv: &[&str]) -> SessionConfig {
        SessionConfig {
            argv: argv.iter().map(OsString::from).collect(),
            env: wk_shim::config::environment(),
            cwd: self.workspace(),
            workspace: None,
            agent: None,
            policy: Some(self.folder.path().join("open.toml").display().to_string()),
            home: self.folder.path().join("home"),
            tenant: "default".into(),
            host: "here".into(),
            principal: Some("ada".into()),
            data: self.data(),
            protected: Vec::new(),
            log: self.log(),
            command_key: self.key.verifying_key(),
            hook: vec![env!("CARGO_BIN_EXE_wk-shim").into(), "hook".into()],
            mcp_http: Vec::new(),
            overlay: None,
            inside: None,
            // A session that ends sooner leaves records behind, and here they are counted.
            config: wk_shim::Config { drain_patience: Duration::from_secs(600), ..wk_shim::Config::default() },
        }
    }

    /// Runs a session on a thread of its own.
    pub(crate) fn begin(&self, config: SessionConfig) -> Session {
        let (tell, told) = mpsc::sync_channel(1);
        let thread = std::thread::spawn(move || run_session(&config, |id| tell.send(id.clone()).unwrap()));
        match told.recv() {
            Ok(id) => Session { id, thread },
            Err(_) => panic!("{:?}", thread.join().unwrap().unwrap_err()),
        }
    }

    /// Everything on the events topic, as it lies there.
    pub(crate) fn records(&self) -> Vec<Record> {
        let brokers = self.log().brokers;
        let topic = Topic::Events.name();
        self.runtime.block_on(async {
            let high = Cluster::connect(&brokers).unwrap().watermarks(topic, 0).await.unwrap().high;
            let mut reader = Reader::assign(&brokers, &[(topic, 0, 0)]).await.unwrap();
            let mut records = Vec::new();
            let mut reached = 0;
            while reached < high {
                for message in reader.next_batch(1000, Duration::from_secs(5)).await.unwrap() {
                    reached = message.offset + 1;
                    records.push(codec::decode(wk_wire::unframe(&message.value).unwrap().1).unwrap());
                }
            }
            records
        })
    }

    /// The records of one session, whose chain must be whole.
    pub(crate) fn chain(&self, session: &SessionId) -> Vec<Record> {
        let mut chain = Chain::default();
        let records: Vec<Record> = self.records().into_iter().filter(|r| r.header.session_id == *session).collect();
        for record in &records {
            let (seq, before) = (record.header.seq, record.header.prev_digest);
            chain.follow(seq, before, &codec::encode(record)).unwrap();
        }
        records
    }

    /// Waits until a record of this kind is on the log for the `nth` time (from 0).
    pub(crate) fn await_record(&self, session: &SessionId, kind: Kind, nth: usize) -> Record {
        for _ in 0..12_000 {
            if let Some(found) = self.chain(session).into_iter().filter(|r| r.kind() == kind).nth(nth) {
                return found;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("no {kind} number {nth} came to the log");
    }

    /// Puts a signed command on the log and returns its id.
    pub(crate) fn command(&self, session: &SessionId, instruction: Instruction, ticket: Option<RecordId>) -> RecordId {
        self.order(session, instruction, ticket, None)
    }

    /// Puts a signed command on the log that puts another policy in force.
    pub(crate) fn apply_policy(&self, session: &SessionId, text: &str) -> RecordId {
        self.order(session, Instruction::ApplyPolicy, None, Some(text.to_owned()))
    }

    fn order(
        &self,
        session: &SessionId,
        instruction: Instruction,
        ticket: Option<RecordId>,
        policy: Option<String>,
    ) -> RecordId {
        let now = clock::now();
        let record_id = RecordId(clock::new_id());
        let mut command = Command {
            instruction,
            ticket,
            policy,
            reason: "the test says so".into(),
            by: "watcher".into(),
            issued_at: now,
            expires_at: now.plus_micros(60_000_000),
            key_id: String::new(),
            signature: Bytes::default(),
        };
        command.sign(session, record_id, &self.key);
        let header = Header {
            record_id,
            session_id: session.clone(),
            writer: "watcher".into(),
            seq: 0,
            prev_digest: Digest::ZERO,
            occurred_at: now,
            origin: Origin::Watcher,
            caused_by: Vec::new(),
            tenant: "default".into(),
            host: "here".into(),
            agent_name: None,
            agent_version: None,
            agent_model: None,
            principal: None,
            policy_digest: None,
        };
        let (_, datum) = Chain::default().seal(header, command.into());
        let brokers = self.log().brokers;
        self.runtime.block_on(async {
            let producer = Producer::connect(&brokers).unwrap();
            let key = session.as_str().as_bytes();
            producer.append(Topic::Commands.name(), key, &wk_wire::frame(1, &datum)).await.unwrap();
        });
        record_id
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(broker) = self.broker.take() {
            self.runtime.block_on(broker.shutdown());
        }
    }
}

/// A session that runs.
pub(crate) struct Session {
    pub(crate) id: SessionId,
    thread: std::thread::JoinHandle<Result<SessionEnd, SessionError>>,
}

impl Session {
    pub(crate) fn end(self) -> SessionEnd {
        self.thread.join().unwrap().unwrap()
    }
}

/// Waits until a file says this.
pub(crate) fn await_text(path: &Path, text: &str) {
    let mut now = String::new();
    for _ in 0..12_000 {
        now = std::fs::read_to_string(path).unwrap_or_default();
        if now.trim() == text {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("`{}` says `{now}`, not `{text}`", path.display());
}

/// Waits until a file says something else than `before`.
pub(crate) fn await_change(path: &Path, before: &str) -> String {
    for _ in 0..12_000 {
        let now = std::fs::read_to_string(path).unwrap_or_default();
        if now != before && !now.is_empty() {
            return now;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("`{}` still says `{before}`", path.display());
}

pub(crate) fn count(records: &[Record], kind: Kind) -> usize {
    records.iter().filter(|r| r.kind() == kind).count()
}

pub(crate) fn started_programs(records: &[Record]) -> Vec<String> {
    let line = |r: &Record| match &r.body {
        Body::ProcessStarted(p) => Some(p.command_line.clone()),
        _ => None,
    };
    records.iter().filter_map(line).collect()
}
