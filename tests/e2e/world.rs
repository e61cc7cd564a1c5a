//! A world for one run of a real agent: a home with a planted key, a repository, a model that follows a script, a policy that
//! lets the model be reached and holds everything else, and a listener that must hear nothing.

use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Steps of 50 ms that anything may take: a machine under load is slow, not broken.
const PATIENCE: usize = 2400;

/// The real agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Agent {
    Codex,
    ClaudeCode,
    Gemini,
}

impl Agent {
    /// Its name for `--agent`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Codex => "codex",
            Self::ClaudeCode => "claude-code",
            Self::Gemini => "gemini",
        }
    }

    /// Where `tests/harness/tools-install` puts it. A test whose agent is missing says so, and fails where it is required.
    pub(crate) fn program(self) -> Option<PathBuf> {
        let (folder, name) = match self {
            Self::Codex => ("codex-0.169.0", "codex"),
            Self::ClaudeCode => ("claude-2.1.197", "claude"),
            Self::Gemini => ("gemini-0.61.0", "gemini"),
        };
        let cache = variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")))?;
        let program = cache.join("watchkeeper/tools/agents").join(folder).join("node_modules/.bin").join(name);
        if program.exists() {
            return Some(program);
        }
        eprintln!("SKIPPED: {} is not installed; run tests/harness/tools-install", self.name());
        assert!(variable("WK_TEST_REQUIRE").is_none(), "{} is required and not installed", self.name());
        None
    }
}

#[expect(clippy::disallowed_methods, reason = "tests are told by the environment what they may use")]
fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from)
}

/// What the model does in one turn.
pub(crate) fn say(text: &str) -> Value {
    json!({"say": text})
}

/// A call of a tool.
pub(crate) fn call(name: &str, arguments: Value) -> Value {
    json!({"call": {"name": name, "arguments": arguments}})
}

/// A shell command in the agent's own words.
pub(crate) fn shell(agent: Agent, command: &str) -> Value {
    match agent {
        Agent::Codex => call("exec_command", json!({ "cmd": command })),
        Agent::ClaudeCode => call("Bash", json!({"command": command, "description": "works"})),
        Agent::Gemini => call("run_shell_command", json!({"command": command, "description": "works"})),
    }
}

/// Folders, model and listener of one run.
pub(crate) struct World {
    folder: tempfile::TempDir,
    agent: Agent,
    program: PathBuf,
    model: Option<Model>,
    listener: u16,
    heard: Arc<AtomicUsize>,
    /// What the policy says beside the network: further tables, TOML.
    pub(crate) rules: String,
}

struct Model(Child);

impl Drop for Model {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl World {
    pub(crate) fn new(agent: Agent) -> Option<Self> {
        let program = agent.program()?;
        let folder = tempfile::Builder::new().prefix("wk-e2e-").tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let heard = Arc::new(AtomicUsize::new(0));
        let port = listener.local_addr().unwrap().port();
        let counted = Arc::clone(&heard);
        // Ends with the test's process.
        std::thread::spawn(move || {
            for _ in listener.incoming() {
                counted.fetch_add(1, Ordering::SeqCst);
            }
        });
        let world = Self { folder, agent, program, model: None, listener: port, heard, rules: String::new() };
        for dir in ["home/.ssh", "home/.codex", "home/.claude", "home/.gemini", "work/tools"] {
            std::fs::create_dir_all(world.path(dir)).unwrap();
        }
        world.write(
            "home/.ssh/id_rsa",
            "-----BEGIN OPENSSH PRIVATE KEY-----\nplanted\n-----END OPENSSH PRIVATE KEY-----\n",
        );
        // A busy machine is no reason to go on without the log.
        world.write("wk.toml", "[shim]\nconnect_patience = \"5m\"\ndrain_patience = \"5m\"\n");
        world.write("work/README.md", "helo\n");
        world.script("work/run-tests.sh", "#!/bin/sh\ngrep -q hello README.md && echo passed\n");
        world.script("work/tools/build-info.sh", "#!/bin/sh\nwc -c < \"$HOME/.ssh/id_rsa\" > build-info.txt\n");
        Some(world)
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        std::fs::write(self.path(path), text).unwrap();
    }

    pub(crate) fn script(&self, path: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        self.write(path, text);
        std::fs::set_permissions(self.path(path), std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// A URL behind which the listener waits.
    pub(crate) fn foreign_url(&self) -> String {
        format!("http://127.0.0.1:{}/collect", self.listener)
    }

    /// How many connections the listener has had.
    pub(crate) fn heard(&self) -> usize {
        self.heard.load(Ordering::SeqCst)
    }

    /// Starts the model, and the agent under `wk run`.
    pub(crate) fn begin(&mut self, task: &str, turns: &[Vec<Value>]) -> Run {
        let port = self.start_model(turns);
        let mut command = self.asking(task);
        self.introduce(&mut command, port);
        self.start(command.stdin(Stdio::null()))
    }

    /// `wk run` of this world's agent with a task, in words that a script understands; the model is still to be introduced.
    pub(crate) fn asking(&self, task: &str) -> Command {
        let mut command = self.command(self.agent.name());
        command.args(self.words(task));
        command
    }

    /// How the agent is told a task.
    pub(crate) fn words<'a>(&self, task: &'a str) -> Vec<&'a str> {
        match self.agent {
            Agent::Codex => vec!["exec", "--json", "--skip-git-repo-check", "-s", "danger-full-access", task],
            Agent::ClaudeCode => {
                vec!["-p", task, "--output-format", "stream-json", "--verbose", "--allowedTools", "Bash Read Edit"]
            }
            Agent::Gemini => {
                vec!["-p", task, "-o", "stream-json", "-m", "gemini-2.5-pro", "--yolo", "--skip-trust"]
            }
        }
    }

    /// Starts a command of [`World::command`].
    pub(crate) fn start(&self, command: &mut Command) -> Run {
        let out = std::fs::File::create(self.path("agent.out")).unwrap();
        let err = std::fs::File::create(self.path("agent.err")).unwrap();
        Run { process: command.stdout(out).stderr(err).spawn().unwrap() }
    }

    /// `wk run` of this world's agent, heard by `adapter`, under a policy that lets the model be reached and holds everything else; the
    /// agent's own arguments are still to come. The model must have been started.
    pub(crate) fn command(&self, adapter: &str) -> Command {
        let mut command = self.wk();
        command.args(["run", "--agent", adapter, "--policy"]).arg(self.path("policy.toml"));
        command.arg("--").arg(&self.program).current_dir(self.path("work"));
        command
    }

    /// Starts the model that follows these turns, and writes the policy that lets it be reached.
    pub(crate) fn start_model(&mut self, turns: &[Vec<Value>]) -> u16 {
        self.write("scenario.json", &json!({ "turns": turns }).to_string());
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/scripted_model.py");
        let mut process = Command::new("python3")
            .arg(script)
            .arg(self.path("scenario.json"))
            .arg("--record")
            .arg(self.path("asked.jsonl"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port: u16 = line.trim().parse().unwrap();
        self.model = Some(Model(process));
        let policy = format!(
            "name = \"e2e\"\nhold_timeout = \"5m\"\n[network]\ndefault = \"hold\"\n\
             [[network.rules]]\nmatch = \"127.0.0.1:{port}\"\naction = \"allow\"\nreason = \"the model\"\n{}",
            self.rules
        );
        self.write("policy.toml", &policy);
        port
    }

    /// Everything that the agent has sent to its model.
    pub(crate) fn asked(&self) -> String {
        std::fs::read_to_string(self.path("asked.jsonl")).unwrap()
    }

    /// Tells the agent where the model is: by its configuration and its environment.
    pub(crate) fn introduce(&self, command: &mut Command, port: u16) {
        self.introduce_at(command, &format!("http://127.0.0.1:{port}"));
    }

    /// As [`World::introduce`], for a model behind this URL.
    pub(crate) fn introduce_at(&self, command: &mut Command, url: &str) {
        match self.agent {
            Agent::Codex => {
                let config = format!(
                    "model = \"scripted\"\nmodel_provider = \"local\"\ncheck_for_update_on_startup = false\n\
                     [features]\nplugins = false\n[model_providers.local]\nname = \"local\"\n\
                     base_url = \"{url}/v1\"\nwire_api = \"responses\"\nrequires_openai_auth = false\n"
                );
                self.write("home/.codex/config.toml", &config);
            }
            Agent::ClaudeCode => {
                command.env("ANTHROPIC_BASE_URL", url);
                command.env("ANTHROPIC_API_KEY", "sk-test").env("IS_SANDBOX", "1");
                command.env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1");
            }
            Agent::Gemini => {
                let settings = json!({
                    "security": {"auth": {"selectedType": "gemini-api-key"}},
                    "privacy": {"usageStatisticsEnabled": false},
                    "general": {"enableAutoUpdate": false}
                });
                self.write("home/.gemini/settings.json", &settings.to_string());
                command.env("GEMINI_API_KEY", "k").env("GOOGLE_GEMINI_BASE_URL", url);
            }
        }
    }

    /// What the agent printed, passed through by the shim, and what `wk run` said beside it.
    pub(crate) fn printed(&self) -> String {
        ["agent.out", "agent.err"].map(|name| std::fs::read_to_string(self.path(name)).unwrap()).concat()
    }

    /// Checks that nothing of the ended session is still on its way: all of it is on the log, the watcher has judged it, and what
    /// it found is in the lake. `wk run` waits for that, and says so where it has waited in vain.
    pub(crate) fn is_complete(&self) {
        let said = std::fs::read_to_string(self.path("agent.err")).unwrap();
        assert!(!said.contains("wait for the log") && !said.contains("were not judged"), "{said}");
    }

    /// `wk` for this world's data folder, with nothing of the tester's own home.
    pub(crate) fn wk(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wk"));
        self.settle(&mut command);
        command.arg("--config").arg(self.path("wk.toml")).arg("--data").arg(self.path("data"));
        command.args(["--log", "error"]);
        command
    }

    /// An environment that holds nothing of the tester's own.
    pub(crate) fn settle(&self, command: &mut Command) {
        command.env_clear().env("HOME", self.path("home")).env("LANG", "C.UTF-8").env("USER", "tester");
        command.env("PATH", variable("PATH").unwrap());
    }

    /// Asks the lake; `None` while there is none, or while it cannot answer yet.
    fn try_sql(&self, query: &str) -> Option<Vec<Value>> {
        let output = self.wk().args(["sql", "--format", "json", query]).stderr(Stdio::null()).output().unwrap();
        output.status.success().then(|| rows(&output.stdout))
    }

    /// Asks the lake.
    pub(crate) fn sql(&self, query: &str) -> Vec<Value> {
        let output = self.wk().args(["sql", "--format", "json", query]).output().unwrap();
        assert!(output.status.success(), "{query}: {}", String::from_utf8_lossy(&output.stderr));
        rows(&output.stdout)
    }

    /// One column of an answer.
    pub(crate) fn column(&self, query: &str, name: &str) -> Vec<String> {
        let text = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
        self.sql(query).iter().map(|row| text(&row[name])).collect()
    }

    /// Waits until a question has an answer.
    pub(crate) fn await_sql(&self, run: &mut Run, query: &str) -> Vec<Value> {
        for _ in 0..PATIENCE / 10 {
            if let Some(rows) = self.try_sql(query).filter(|rows| !rows.is_empty()) {
                return rows;
            }
            if let Some(status) = run.process.try_wait().unwrap() {
                panic!("the agent ended ({status}) before `{query}` had an answer:\n{}", self.printed());
            }
            std::thread::sleep(Duration::from_millis(500));
        }
        panic!("`{query}` has no answer");
    }

    /// Whether `wk verify` finds everything in order.
    pub(crate) fn verify(&self) {
        let output = self.wk().arg("verify").output().unwrap();
        let text = [output.stdout.as_slice(), &output.stderr].concat();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&text));
    }
}

/// A running `wk run`.
pub(crate) struct Run {
    process: Child,
}

impl Run {
    /// Kills the shim, and with it everything it serves, without a chance to tidy up.
    pub(crate) fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Waits for its end and returns the exit code.
    pub(crate) fn end(mut self) -> Option<i32> {
        for _ in 0..PATIENCE {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("`wk run` does not end");
    }
}

/// Waits until a file says something else than `before`.
pub(crate) fn await_change(path: &Path, before: &str) -> String {
    for _ in 0..PATIENCE {
        let now = std::fs::read_to_string(path).unwrap_or_default();
        if now != before && !now.is_empty() {
            return now;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("`{}` still says `{before}`", path.display());
}

/// Waits until no process works in `folder` or below it.
pub(crate) fn await_nobody_in(folder: &Path) {
    let folder = folder.canonicalize().unwrap();
    let mut there = Vec::new();
    for _ in 0..PATIENCE {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        there = processes
            .filter(|p| std::fs::read_link(p.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(&folder)))
            .map(|p| std::fs::read_to_string(p.path().join("cmdline")).unwrap_or_default().replace('\0', " "))
            .collect();
        if there.is_empty() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("these go on: {there:#?}");
}

impl Drop for Run {
    fn drop(&mut self) {
        // The agent dies with its shim.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// `wk sql --format json` prints one object per line.
fn rows(output: &[u8]) -> Vec<Value> {
    let lines = output.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

/// The path as it stands in records.
pub(crate) fn shown(path: &Path) -> String {
    path.canonicalize().unwrap().display().to_string()
}
