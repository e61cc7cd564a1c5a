//! `watcher.toml`: rules, thresholds, and how often state is saved.

use crate::alerts::AlertConfig;
use crate::approvals;
use crate::decide::Settings;
use crate::judge::{Gate, JudgeConfig, Verified};
use crate::ladder::{self, Ladder};
use ed25519_dalek::VerifyingKey;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

/// `watcher.toml`. Unknown keys are refused.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Folders and files with more Sigma rules, beside those that the program carries. Default: none.
    pub rules: Vec<PathBuf>,
    /// A command is void so long after the record that led to it. Default: 10 minutes.
    #[serde(with = "humantime_serde")]
    pub command_ttl: Duration,
    /// Which step follows from which score, by who noticed, tenant and class of action. Default: what `ladder.rs` has built in.
    pub ladder: Vec<ladder::Entry>,
    /// A person's answer stands for the same question so long; zero for not at all. Default: 1 hour.
    #[serde(with = "humantime_serde")]
    pub answers_stand: Duration,
    /// What only two people together, with keys of their own, let go on: reach, read, write, execute, call, resume. Default: none.
    pub two_person: BTreeSet<String>,
    /// PEM files of public keys whose owners may answer, beside the key of the data folder. Default: none.
    pub approver_keys: Vec<PathBuf>,
    /// Ids or titles of rules that find, but never command. Default: none.
    pub shadow_rules: BTreeSet<String>,
    /// Finds, but never commands; people's approvals still do. Default: false.
    pub shadow: bool,
    /// Session state is saved this often. A crash repeats the work since then, not its outcome. Default: 1 second.
    #[serde(with = "humantime_serde")]
    pub checkpoint_interval: Duration,
    /// Sessions kept in memory; others wait on disk. Default: 10000.
    pub sessions_in_memory: usize,
    /// What the sessions kept in memory may weigh together as saved, in MiB; those that were touched longest ago wait on disk. In
    /// memory a session weighs about four times as much (`tests/bench/README.md`, 7). Default: 256.
    pub session_memory_mib: usize,
    /// The consumer group under which lag displays find how far the watcher has come. Nothing is read from it. Default: `watchkeeper-watcher`.
    pub group: String,
    /// The model that is asked about what rules and score leave open. Default: none.
    pub judge: Option<JudgeConfig>,
    /// Who is told of findings. Default: nobody.
    pub alerts: Vec<AlertConfig>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            rules: Vec::new(),
            command_ttl: Duration::from_secs(600),
            ladder: Vec::new(),
            answers_stand: Duration::from_secs(3600),
            two_person: BTreeSet::new(),
            approver_keys: Vec::new(),
            shadow_rules: BTreeSet::new(),
            shadow: false,
            checkpoint_interval: Duration::from_secs(1),
            sessions_in_memory: 10_000,
            session_memory_mib: 256,
            group: "watchkeeper-watcher".to_owned(),
            judge: None,
            alerts: Vec::new(),
        }
    }
}

impl Config {
    /// What the pure core needs of it. `key` is the watcher's own: only verdicts signed by it count.
    #[must_use]
    pub fn settings(&self, key: &VerifyingKey) -> Settings {
        Settings {
            command_ttl_us: i64::try_from(self.command_ttl.as_micros()).unwrap_or(i64::MAX / 4).min(i64::MAX / 4),
            ladder: Ladder::new(self.ladder.clone()),
            approvals: approvals::Rules {
                two_person: self.two_person.clone(),
                standing_us: i64::try_from(self.answers_stand.as_micros()).unwrap_or(i64::MAX / 4).min(i64::MAX / 4),
            },
            shadow_rules: self.shadow_rules.clone(),
            is_shadow: self.shadow,
            judge: self.judge.as_ref().map(|judge| Verified {
                gate: Gate { score: judge.ask_from_score, sample: judge.sample },
                key: *key,
                holds: judge.holds,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = include_str!("../../deploy/config/watcher.toml");

    #[test]
    fn the_shipped_file_names_every_key_with_its_default() {
        assert_eq!(toml::from_str::<Config>(SHIPPED).unwrap(), Config::default());
        for key in [
            "rules",
            "command_ttl",
            "ladder",
            "answers_stand",
            "two_person",
            "approver_keys",
            "shadow_rules",
            "shadow",
            "checkpoint_interval",
            "sessions_in_memory",
            "session_memory_mib",
            "group",
        ] {
            let named = |line: &str| line.starts_with(&format!("{key} = "));
            assert_eq!(SHIPPED.lines().filter(|line| named(line)).count(), 1, "{key}");
        }
    }

    /// The examples in the comments, taken out of them.
    fn examples(section: &str) -> String {
        let lines = SHIPPED.lines().skip_while(|l| *l != format!("#{section}"));
        let lines = lines.take_while(|l| l.starts_with('#')).filter(|l| !l.starts_with("# "));
        lines.map(|l| l.trim_start_matches('#')).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_shipped_examples_are_configurations() {
        let judged = toml::from_str::<Config>(&examples("[judge]")).unwrap().judge.unwrap();
        let url = "https://api.example.org/v1/chat/completions".to_owned();
        let model = "small-model".to_owned();
        let told = JudgeConfig { url, model, key_file: judged.key_file.clone(), ..JudgeConfig::default() };
        assert_eq!(judged, told, "what is not the reader's own shows the default");
        assert_eq!(toml::from_str::<Config>(&examples("[[ladder]]")).unwrap().ladder.len(), 2);
        assert_eq!(toml::from_str::<Config>(&examples("[[alerts]]")).unwrap().alerts.len(), 4);
    }

    #[test]
    fn an_unknown_key_is_refused_by_name_and_line() {
        let error = toml::from_str::<Config>("shadow = true\nshadows = true\n").unwrap_err().to_string();
        assert!(error.contains("shadows") && error.contains("line 2"), "{error}");
        assert!(toml::from_str::<Config>("[[ladder]]\nmost = \"shout\"").is_err());
    }
}
