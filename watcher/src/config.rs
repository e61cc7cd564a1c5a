//! `watcher.toml`: rules, thresholds, and how often state is saved.

use crate::decide::Settings;
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;
use wk_schemas::body::Step;

/// `watcher.toml`. Unknown keys are refused.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Folders and files with more Sigma rules, beside those that the program carries. Default: none.
    pub rules: Vec<PathBuf>,
    /// A command is void so long after the record that led to it. Default: 10 minutes.
    #[serde(with = "humantime_serde")]
    pub command_ttl: Duration,
    /// From this deviation score on, 0 to 100, a finding is raised. Default: 80.
    pub deviation_threshold: u8,
    /// What is done about such a finding: note, warn, ask, freeze, kill. Default: warn.
    pub deviation_step: StepName,
    /// Finds, but never commands; people's approvals still do. Default: false.
    pub shadow: bool,
    /// Session state is saved this often. A crash repeats the work since then, not its outcome. Default: 1 second.
    #[serde(with = "humantime_serde")]
    pub checkpoint_interval: Duration,
    /// Sessions kept in memory; others wait on disk. Default: 10000.
    pub sessions_in_memory: usize,
    /// The consumer group under which lag displays find how far the watcher has come. Nothing is read from it. Default: `watchkeeper-watcher`.
    pub group: String,
}

/// A step of the ladder, as the configuration writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepName {
    /// Writes it down.
    Note,
    /// Tells people.
    Warn,
    /// Asks a person.
    Ask,
    /// Freezes the session.
    Freeze,
    /// Kills the session.
    Kill,
}

impl From<StepName> for Step {
    fn from(name: StepName) -> Self {
        match name {
            StepName::Note => Self::Note,
            StepName::Warn => Self::Warn,
            StepName::Ask => Self::Ask,
            StepName::Freeze => Self::Freeze,
            StepName::Kill => Self::Kill,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            rules: Vec::new(),
            command_ttl: Duration::from_secs(600),
            deviation_threshold: crate::deviation::THRESHOLD,
            deviation_step: StepName::Warn,
            shadow: false,
            checkpoint_interval: Duration::from_secs(1),
            sessions_in_memory: 10_000,
            group: "watchkeeper-watcher".to_owned(),
        }
    }
}

impl Config {
    /// What the pure core needs of it.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings {
            command_ttl_us: i64::try_from(self.command_ttl.as_micros()).unwrap_or(i64::MAX / 4).min(i64::MAX / 4),
            deviation_threshold: self.deviation_threshold,
            deviation_step: self.deviation_step.into(),
            is_shadow: self.shadow,
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
            "deviation_threshold",
            "deviation_step",
            "shadow",
            "checkpoint_interval",
            "sessions_in_memory",
            "group",
        ] {
            let named = |line: &str| line.starts_with(&format!("{key} = "));
            assert_eq!(SHIPPED.lines().filter(|line| named(line)).count(), 1, "{key}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused_by_name_and_line() {
        let error = toml::from_str::<Config>("shadow = true\nshadows = true\n").unwrap_err().to_string();
        assert!(error.contains("shadows") && error.contains("line 2"), "{error}");
        assert!(toml::from_str::<Config>("deviation_step = \"shout\"").is_err());
    }
}
