//! llama.cpp's own server with a tiny random model: the protocol is the real thing, the judgement is noise.

#![expect(clippy::disallowed_methods, reason = "a test is told by the environment where its tools are")]

use crate::{JudgeConfig, config, questions, talked_into, verdicts, word};
use std::io::BufRead as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use wk_watcher::judge::{DialectName, Outcome};

const KEY: &str = "key-of-the-test";

/// The server; it ends with this.
struct Model {
    child: Child,
    url: String,
}

impl Drop for Model {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Model {
    /// Starts it on a free port; `None`, loudly, where it is not installed.
    fn start() -> Option<Self> {
        let python = tools().join("model/bin/python");
        if !python.exists() {
            assert!(std::env::var_os("WK_TEST_REQUIRE").is_none(), "no inference server, and WK_TEST_REQUIRE is set");
            eprintln!("SKIPPED: no inference server; tests/harness/tools-install installs one");
            return None;
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/judge/tiny_model.py");
        let mut child = Command::new(python)
            .arg(script)
            .args(["--port", &port.to_string(), "--api-key", KEY])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
        let url = lines.next().expect("the server ends before it listens").unwrap();
        Some(Self { child, url })
    }

    fn config(&self, folder: &Path) -> JudgeConfig {
        let key = folder.join("key");
        std::fs::write(&key, KEY).unwrap();
        let limit = std::time::Duration::from_secs(110);
        JudgeConfig {
            key_file: Some(key),
            answer_tokens: 3000,
            digits: true,
            first_deadline: limit,
            second_deadline: limit,
            ..config(&format!("{}/v1/chat/completions", self.url))
        }
    }
}

fn tools() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    cache.unwrap_or_default().join("watchkeeper/tools")
}

#[tokio::test]
async fn a_real_inference_server_is_understood() {
    let Some(model) = Model::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let asked = || questions(&talked_into("s", ""));
    let good = model.config(folder.path());

    // Strict schema: the random model can say nothing but a verdict.
    let answered = verdicts(good.clone(), asked()).await.remove(0);
    let Outcome::Answered(answer) = &answered.verdict.outcome else { panic!("{:?}", answered.verdict) };
    let shown: Vec<_> = answered.question.window();
    assert!(answer.evidence.iter().all(|id| shown.contains(id)), "{answer:?}");
    assert!(answered.verdict.cost.tokens.0 > 0 && answered.verdict.model.ends_with(".gguf"), "{:?}", answered.verdict);

    let other = folder.path().join("other");
    std::fs::write(&other, "another-key").unwrap();
    let wrong = JudgeConfig { key_file: Some(other), ..good.clone() };
    assert_eq!(word(&verdicts(wrong, asked()).await[0]), "rejected");

    // An answer that the limit on tokens cuts off; and a prompt that is longer than the model's context.
    let short = JudgeConfig { answer_tokens: 4, ..good.clone() };
    let cut = word(&verdicts(short, asked()).await[0]);
    assert!(["truncated", "malformed", "server_error"].contains(&cut.as_str()), "{cut}");
    let mut long = asked();
    long[0].question.task[0].text = format!("Read this: {}", "word ".repeat(9000));
    assert_eq!(word(&verdicts(good.clone(), long).await[0]), "rejected");

    // Anthropic's dialect against the same server. Its model uses no tool, so there is no verdict, and that is said.
    let messages = JudgeConfig {
        dialect: DialectName::AnthropicMessages,
        url: format!("{}/v1/messages", model.url),
        answer_tokens: 8,
        ..good
    };
    assert_eq!(word(&verdicts(messages, asked()).await[0]), "truncated");
}
