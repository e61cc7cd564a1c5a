//! What the tests of the whole product share: the tools they need, `wk up` in a data folder of its own, sessions, questions.
//!
//! Every process that is started here is ended by its pid when its owner is dropped, also when a test fails.
#![allow(dead_code, reason = "each test target uses its own part of this")]
#![expect(
    clippy::disallowed_methods,
    reason = "tests are told by the environment where their tools are, and wait by the clock"
)]

use serde_json::Value;
use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

/// The longest anything may take before a test gives up on it. No test is about time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);

/// The binary under test.
pub(crate) fn wk() -> Command {
    Command::new(env!("CARGO_BIN_EXE_wk"))
}

/// The folder of the harness's scripts.
pub(crate) fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/harness")
}

/// A program along PATH.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// The bootstrap address of the real Kafka that `tests/run` started; every test may use it.
pub(crate) fn shared_kafka() -> Option<String> {
    std::env::var("WK_TEST_KAFKA").ok().filter(|address| !address.is_empty())
}

/// A real Kafka for one test alone, which may stop and start it.
#[derive(Debug)]
pub(crate) struct Kafka {
    dir: PathBuf,
    pub(crate) bootstrap: String,
}

impl Kafka {
    /// Starts it with its data in `dir`; `None` where it cannot be installed.
    pub(crate) fn start(dir: &Path) -> Option<Self> {
        let output = Command::new(scripts().join("kafka-start")).arg(dir).stderr(Stdio::inherit()).output().unwrap();
        if output.status.code() == Some(75) {
            return None;
        }
        assert!(output.status.success(), "kafka-start: {}", output.status);
        let text = String::from_utf8(output.stdout).unwrap();
        let bootstrap = text.lines().find_map(|line| line.strip_prefix("bootstrap=")).unwrap().to_owned();
        Some(Self { dir: dir.to_owned(), bootstrap })
    }

    /// Stops it; its data and its port stay.
    pub(crate) fn stop(&self) {
        assert!(Command::new(scripts().join("kafka-stop")).arg(&self.dir).status().unwrap().success());
    }

    /// Starts it again where it was.
    pub(crate) fn start_again(&self) {
        let again = Self::start(&self.dir).expect("it was installed a moment ago");
        assert_eq!(again.bootstrap, self.bootstrap);
        std::mem::forget(again);
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        Command::new(scripts().join("kafka-stop")).arg(&self.dir).status().ok();
    }
}

/// Whether the caller says that nothing else runs beside this test.
pub(crate) fn runs_alone() -> bool {
    std::env::var_os("WK_TEST_ALONE").is_some()
}

/// Says loudly that a test did not run; where everything is required, that is a failure.
pub(crate) fn skip(why: &str) {
    assert!(std::env::var_os("WK_TEST_REQUIRE").is_none(), "{why}, and WK_TEST_REQUIRE is set");
    eprintln!("SKIPPED: {why}");
}

/// Calls `attempt` until it gives something.
///
/// # Panics
/// When patience runs out; `what` says what was waited for.
pub(crate) fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(Instant::now() < until, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A process that ends with its owner.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    name: String,
}

impl Process {
    /// Starts `command`; what it prints goes to `<log>.out` and `<log>.err`.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Self {
        let file =
            |extension: &str| File::options().create(true).append(true).open(log.with_extension(extension)).unwrap();
        let name = format!("{command:?}");
        let child = command
            .stdin(Stdio::null())
            .stdout(file("out"))
            .stderr(file("err"))
            .spawn()
            .unwrap_or_else(|error| panic!("failed to start {name}: {error}"));
        Self { child, name }
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// `Some` when it has ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let name = self.name.clone();
        eventually(&format!("the end of {name}"), || self.ended())
    }

    /// Ends it as a loss of power would end it: nothing of it runs any more.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end and waits until it has.
    pub(crate) fn stop(mut self) -> ExitStatus {
        signal(self.pid(), "TERM");
        self.wait()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            signal(self.pid(), "TERM");
            let until = Instant::now() + Duration::from_secs(10);
            while Instant::now() < until && self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
                std::thread::sleep(Duration::from_millis(20));
            }
            self.child.kill().ok();
            self.child.wait().ok();
        }
    }
}

/// Sends a signal to one process.
pub(crate) fn signal(pid: i32, name: &str) {
    let sent = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).stderr(Stdio::null()).status();
    sent.expect("`kill` is part of every system");
}

/// Where a test keeps the data of one installation, and how `wk` is told to use it.
#[derive(Debug, Clone)]
pub(crate) struct Installation {
    dir: PathBuf,
    options: Vec<String>,
}

impl Installation {
    /// Everything under `dir`, which must exist; the log is the embedded one.
    pub(crate) fn new(dir: &Path) -> Self {
        Self { dir: dir.canonicalize().unwrap(), options: Vec::new() }
    }

    /// As [`Installation::new`], with options that every call of `wk` is given (`--brokers …`, `--config …`).
    pub(crate) fn with_options<S: Into<String>>(dir: &Path, options: impl IntoIterator<Item = S>) -> Self {
        Self { options: options.into_iter().map(Into::into).collect(), ..Self::new(dir) }
    }

    /// The data folder.
    pub(crate) fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Where output of processes goes.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// What a process printed so far.
    pub(crate) fn printed(&self, name: &str) -> String {
        let read =
            |extension: &str| std::fs::read_to_string(self.log(name).with_extension(extension)).unwrap_or_default();
        [read("out"), read("err")].concat()
    }

    /// `wk --data … <arguments>`.
    pub(crate) fn wk<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = wk();
        command.arg("--data").arg(self.data()).args(&self.options).args(arguments);
        command
    }

    /// Starts `wk <part>` as a process.
    pub(crate) fn start<S: AsRef<OsStr>>(&self, name: &str, arguments: impl IntoIterator<Item = S>) -> Process {
        Process::start(&mut self.wk(arguments), &self.log(name))
    }

    /// Starts `wk up` and waits until it says that it is ready.
    ///
    /// # Panics
    /// When it ends instead; what it printed is shown.
    pub(crate) fn up(&self) -> Process {
        let before = self.printed("up").matches("ready;").count();
        let mut up = self.start("up", ["up"]);
        eventually("`wk up` to be ready", || {
            if let Some(status) = up.ended() {
                panic!("`wk up` ended with {status}:\n{}", self.printed("up"));
            }
            (self.printed("up").matches("ready;").count() > before).then_some(())
        });
        up
    }

    /// Asks the lake in SQL.
    ///
    /// # Errors
    /// What `wk sql` printed, when it refused.
    pub(crate) fn try_sql(&self, query: &str) -> Result<Vec<Value>, String> {
        let output = self.wk(["sql", "--format", "json", query]).stdin(Stdio::null()).output().unwrap();
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let text = String::from_utf8(output.stdout).unwrap();
        Ok(rows(&text).unwrap_or_else(|error| panic!("not JSON ({error}): {text}")))
    }

    /// As [`Installation::try_sql`], for a question that has an answer.
    ///
    /// # Panics
    /// When it was refused.
    pub(crate) fn sql(&self, query: &str) -> Vec<Value> {
        self.try_sql(query).unwrap_or_else(|error| panic!("{query}\n{error}"))
    }

    /// Runs a program under watch and waits for its end.
    ///
    /// # Panics
    /// When `wk run` cannot be started.
    pub(crate) fn run<S: AsRef<OsStr>>(
        &self,
        options: &[&str],
        cwd: &Path,
        argv: impl IntoIterator<Item = S>,
    ) -> Output {
        let mut command = self.wk(["run"]);
        command.args(options).arg("--").args(argv).current_dir(cwd).stdin(Stdio::null());
        command.output().unwrap()
    }

    /// Waits until the session that works in `workspace` is in the lake; its id.
    pub(crate) fn session_in(&self, workspace: &Path) -> String {
        let query = format!(
            "SELECT session_id FROM records WHERE kind = 'session_started' AND session_started['workspace'] = '{}'",
            workspace.display()
        );
        eventually("the session's first record in the lake", || {
            self.try_sql(&query).ok()?.first()?["session_id"].as_str().map(str::to_owned)
        })
    }

    /// Waits until everything that the ended session wrote is in the lake.
    pub(crate) fn wait_for_end_of(&self, session: &str) {
        let query =
            format!("SELECT count(*) AS n FROM records WHERE kind = 'session_ended' AND session_id = '{session}'");
        eventually(&format!("the end of session {session} in the lake"), || {
            let rows = self.try_sql(&query).ok()?;
            (rows[0]["n"].as_i64()? == 1).then_some(())
        });
    }
}

/// Reads what `--format json` prints: one array, or one object a line.
fn rows(text: &str) -> serde_json::Result<Vec<Value>> {
    if text.trim_start().starts_with('[') {
        return serde_json::from_str(text);
    }
    text.lines().filter(|line| !line.trim().is_empty()).map(serde_json::from_str).collect()
}
