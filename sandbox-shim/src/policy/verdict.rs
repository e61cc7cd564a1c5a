//! What is done about an action, and which of two answers is the stricter.

use serde::Deserialize;

/// What is done about an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It goes on.
    Allow,
    /// It waits for a person's answer.
    Hold,
    /// It fails.
    Deny,
}

/// Which accesses to a file a rule speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum On {
    /// All.
    #[default]
    Any,
    /// Opening for reading only.
    Read,
    /// Everything else: writing, making, removing, renaming.
    Write,
}

/// What was decided, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What is done.
    pub action: Action,
    /// The rule and its reason; `None` when the default decided.
    pub reason: Option<String>,
}

/// How strict an action is.
pub(super) const fn rank(action: Action) -> u8 {
    match action {
        Action::Allow => 0,
        Action::Hold => 1,
        Action::Deny => 2,
    }
}
