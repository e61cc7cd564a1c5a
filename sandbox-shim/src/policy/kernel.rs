//! What of a policy the kernel can enforce by itself: whole folders, and the fixed part of a pattern.

use super::rules::{PathRule, Policy};
use super::verdict::{Action, On};
use std::path::PathBuf;

impl Policy {
    /// Whether every file may be touched: then the kernel needs no help with files.
    #[must_use]
    pub fn files_are_free(&self) -> bool {
        let defaults = [self.files_default, self.files_write];
        defaults.iter().all(|action| *action == Action::Allow)
            && self.files.iter().all(|rule| rule.action == Action::Allow)
            && self.also.as_ref().is_none_or(|also| also.files_are_free())
    }

    /// Whether every file may be read: then nobody needs to decide about that.
    #[must_use]
    pub fn reads_are_free(&self) -> bool {
        self.files_default == Action::Allow
            && self.files.iter().all(|rule| rule.action == Action::Allow || rule.on == On::Write)
            && self.also.as_ref().is_none_or(|also| also.reads_are_free())
    }

    /// Whether every program may be executed.
    #[must_use]
    pub fn programs_are_free(&self) -> bool {
        self.process_default == Action::Allow
            && self.process.iter().all(|rule| rule.action == Action::Allow)
            && self.also.as_ref().is_none_or(|also| also.programs_are_free())
    }

    /// The folders and files that rules single out with hold or deny: the fixed part of each pattern, which the kernel can guard.
    /// Those that only writing is held or denied for come second.
    #[must_use]
    pub fn guarded(&self) -> (Vec<PathBuf>, Vec<PathBuf>) {
        let fixed = |only_writing: bool| {
            let rules = self
                .files
                .iter()
                .filter(move |rule| rule.action != Action::Allow && (rule.on == On::Write) == only_writing);
            rules.filter_map(|rule| fixed_part(&rule.pattern)).collect()
        };
        (fixed(false), fixed(true))
    }

    /// Whether some hold or deny rule has no fixed part (`**/.env`), so that every open must be carried out by the shim.
    #[must_use]
    pub fn has_floating_rules(&self) -> bool {
        self.files.iter().any(|rule| rule.action != Action::Allow && fixed_part(&rule.pattern).is_none())
    }

    /// The folders and files that may be read as a whole: everything, or, with a default other than allow, what rules allow.
    #[must_use]
    pub fn readable(&self) -> Vec<PathBuf> {
        self.allowed(self.files_default, On::Read)
    }

    /// The folders and files that may be both read and written as a whole.
    #[must_use]
    pub fn writable(&self) -> Vec<PathBuf> {
        let may_read = self.readable();
        let mut may_write = self.allowed(self.files_write, On::Write);
        may_write.retain(|path| may_read.iter().any(|readable| path.starts_with(readable)));
        may_write
    }

    /// What rules allow as a whole, or everything when that is the default.
    fn allowed(&self, default: Action, on: On) -> Vec<PathBuf> {
        if default == Action::Allow {
            return vec![PathBuf::from("/")];
        }
        let speaks = |rule: &&PathRule| rule.action == Action::Allow && (rule.on == On::Any || rule.on == on);
        let whole = self.files.iter().filter(speaks).filter_map(|rule| {
            let path = rule.pattern.strip_suffix("/**").unwrap_or(&rule.pattern);
            (!path.contains(['*', '?', '[', '{', '\\'])).then(|| PathBuf::from(path))
        });
        whole.filter(|path| path.is_absolute()).collect()
    }
}

/// The part of a pattern before its first wildcard, as a path; `None` when that is the root.
fn fixed_part(pattern: &str) -> Option<PathBuf> {
    let fixed = match pattern.find(['*', '?', '[', '{', '\\']) {
        None => pattern,
        Some(at) => &pattern[..pattern[..at].rfind('/').unwrap_or(0)],
    };
    let fixed = fixed.trim_end_matches('/');
    (!fixed.is_empty()).then(|| PathBuf::from(fixed))
}
