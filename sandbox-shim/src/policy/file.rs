//! A policy as it stands in its file. What each key means is said in [`super`].

use super::explain::TrialText;
use super::{Action, On};
use serde::Deserialize;
use std::time::Duration;
use toml::Spanned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub name: String,
    #[serde(default = "hold_timeout", with = "humantime_serde")]
    pub hold_timeout: Duration,
    #[serde(default)]
    pub files: FileSection,
    #[serde(default)]
    pub process: ProcessSection,
    pub network: Option<NetworkSection>,
    pub egress: Option<EgressSection>,
    #[serde(default)]
    pub limits: LimitSection,
    #[serde(default)]
    pub tests: Vec<TrialText>,
}

const fn hold_timeout() -> Duration {
    Duration::from_secs(300)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileSection {
    pub default: Action,
    pub write: Option<Action>,
    #[serde(default)]
    pub rules: Vec<FileRuleText>,
}

impl Default for FileSection {
    fn default() -> Self {
        Self { default: Action::Allow, write: None, rules: Vec::new() }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileRuleText {
    pub r#match: Spanned<String>,
    #[serde(default)]
    pub on: On,
    pub action: Action,
    pub reason: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProcessSection {
    pub default: Action,
    #[serde(default)]
    pub rules: Vec<ProcessRuleText>,
}

impl Default for ProcessSection {
    fn default() -> Self {
        Self { default: Action::Allow, rules: Vec::new() }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProcessRuleText {
    pub r#match: Spanned<String>,
    pub arguments: Option<Spanned<String>>,
    pub action: Action,
    pub reason: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NetworkSection {
    pub default: Action,
    #[serde(default = "allow")]
    pub dns: Action,
    #[serde(default)]
    pub rules: Vec<NetworkRuleText>,
}

const fn allow() -> Action {
    Action::Allow
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NetworkRuleText {
    pub r#match: Spanned<String>,
    pub action: Action,
    pub reason: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EgressSection {
    pub default: Action,
    #[serde(default)]
    pub rules: Vec<EgressRuleText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EgressRuleText {
    pub r#match: Spanned<String>,
    pub methods: Option<Spanned<Vec<String>>>,
    pub at: Option<Spanned<String>>,
    pub action: Action,
    pub reason: Spanned<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitSection {
    pub memory: Option<Spanned<String>>,
    pub processes: Option<Spanned<u64>>,
    #[serde(default, with = "humantime_serde::option")]
    pub time: Option<Duration>,
}
