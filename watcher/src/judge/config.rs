//! `[judge]` of `watcher.toml`: which endpoint is asked, about what, how often, and what its answer may do.

use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;

/// The language of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DialectName {
    /// OpenAI's chat completions with a strict JSON schema.
    OpenaiChat,
    /// Anthropic's messages.
    AnthropicMessages,
    /// Plain JSON: see `docs/judge.md`.
    Webhook,
}

/// What an answer may do to an action that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HoldPower {
    /// Nothing: a person answers, with the verdict beside the question.
    None,
    /// Refuse it.
    Deny,
    /// Refuse it or let it go on.
    Decide,
}

/// `[judge]` of `watcher.toml`. Unknown keys are refused.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JudgeConfig {
    /// openai-chat, anthropic-messages or webhook. Default: openai-chat.
    pub dialect: DialectName,
    /// The endpoint's whole URL. No default: without it there is no judge.
    pub url: String,
    /// The model, as the endpoint names it.
    pub model: String,
    /// A stronger one for second looks. Default: the same.
    pub second_model: String,
    /// File that holds the key, alone on its line. Default: no key is sent.
    pub key_file: Option<PathBuf>,
    /// PEM file of authorities that are trusted beside the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM files of a certificate and its key (PKCS #8) that the endpoint knows us by.
    pub certificate_file: Option<PathBuf>,
    /// The key of that certificate.
    pub certificate_key_file: Option<PathBuf>,
    /// URL of a proxy, http or https. Default: none, whatever the environment says.
    pub proxy: Option<String>,
    /// File with the operator's own policy, which stands in the prompt as trusted.
    pub policy_file: Option<PathBuf>,
    /// More fields of the request's body: `reasoning_effort = "low"`.
    pub extra: serde_json::Map<String, serde_json::Value>,
    /// Fields of the request's body that this endpoint does not take: `["temperature"]`.
    pub omit: Vec<String>,
    /// Asked about actions from this deviation score on. Default: 46.
    pub ask_from_score: u8,
    /// Share of other actions that is asked about all the same, 0 to 1. Default: 0.
    pub sample: f64,
    /// Also asks for one digit and takes the mean over its distribution (openai-chat only). Default: false.
    pub digits: bool,
    /// What an answer may do to a held action: none, deny, decide. Default: none.
    pub holds: HoldPower,
    /// Longest wait for a connection. Default: 5 seconds.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// Longest first look, repetitions included. Default: 20 seconds.
    #[serde(with = "humantime_serde")]
    pub first_deadline: Duration,
    /// Longest second look, repetitions included. Default: 90 seconds.
    #[serde(with = "humantime_serde")]
    pub second_deadline: Duration,
    /// How often one question is sent at most. Default: 3.
    pub attempts: u32,
    /// Tokens of an answer at most. Default: 1024.
    pub answer_tokens: u32,
    /// Questions in flight at most; of one session never more than one. Default: 4.
    pub concurrency: usize,
    /// Questions a minute. Default: 60.
    pub per_minute: u32,
    /// Questions at once after a pause. Default: 20.
    pub burst: u32,
    /// Tokens a day, read and written. Default: 5000000.
    pub tokens_per_day: u64,
    /// Answers that are kept for questions that come again. Default: 2048.
    pub cache: usize,
    /// After so many failures in a row the endpoint is left alone. Default: 5.
    pub breaker_failures: u32,
    /// For so long, and twice as long each time it fails again. Default: 30 seconds.
    #[serde(with = "humantime_serde")]
    pub breaker_pause: Duration,
}

impl Default for JudgeConfig {
    fn default() -> Self {
        Self {
            dialect: DialectName::OpenaiChat,
            url: String::new(),
            model: String::new(),
            second_model: String::new(),
            key_file: None,
            ca_file: None,
            certificate_file: None,
            certificate_key_file: None,
            proxy: None,
            policy_file: None,
            extra: serde_json::Map::new(),
            omit: Vec::new(),
            ask_from_score: 46,
            sample: 0.0,
            digits: false,
            holds: HoldPower::None,
            connect_timeout: Duration::from_secs(5),
            first_deadline: Duration::from_secs(20),
            second_deadline: Duration::from_secs(90),
            attempts: 3,
            answer_tokens: 1024,
            concurrency: 4,
            per_minute: 60,
            burst: 20,
            tokens_per_day: 5_000_000,
            cache: 2048,
            breaker_failures: 5,
            breaker_pause: Duration::from_secs(30),
        }
    }
}
