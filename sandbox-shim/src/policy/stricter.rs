//! Two policies at once: the one in force and the one that is to come. What either refuses is refused, so a change that narrows
//! holds at once, and one that widens holds when a person has agreed.

use super::egress::Rule;
use super::rules::{NetworkRule, PathRule, Policy};
use super::verdict::{Action, Verdict, rank};
use std::sync::Arc;
use wk_schemas::Digest;

impl Policy {
    /// This policy where it is stricter, and `other` where that is.
    #[must_use]
    pub fn and(mut self, other: Arc<Self>) -> Self {
        self.text = format!("{}\n# And, where it is stricter, the one before:\n\n{}", self.text, other.text);
        self.digest = Digest::of(self.text.as_bytes());
        self.hold_timeout = self.hold_timeout.min(other.hold_timeout);
        self.also = Some(other);
        self
    }

    /// Whether it can be seen from the rules alone that nothing is allowed, or asked about, that `before` would refuse or ask
    /// about: the same rules at the end, only refusals and questions put before them, and defaults no freer.
    ///
    /// A policy may be no wider and not look it; then a person is asked for nothing.
    #[must_use]
    pub fn is_plainly_no_wider_than(&self, before: &Self) -> bool {
        let defaults = [
            (self.files_default, before.files_default),
            (self.files_write, before.files_write),
            (self.process_default, before.process_default),
            (self.network_default, before.network_default),
            (self.dns, before.dns),
        ];
        let egress = match (&self.egress, &before.egress) {
            (None, None) => true,
            (Some(after), Some(before)) => {
                rank(after.default) >= rank(before.default)
                    && narrows(
                        &after.rules,
                        &before.rules,
                        |rule: &Rule| rule.action,
                        |a, b| (&a.text, &a.methods, a.at, a.action) == (&b.text, &b.methods, b.at, b.action),
                    )
            }
            // Rules about what leaves take the place of others: which are freer cannot be seen.
            (Some(_), None) | (None, Some(_)) => false,
        };
        let same_path = |a: &PathRule, b: &PathRule| {
            let arguments = |rule: &PathRule| rule.arguments.as_ref().map(|glob| glob.glob().to_string());
            (&a.pattern, a.on, a.action, arguments(a)) == (&b.pattern, b.on, b.action, arguments(b))
        };
        let same_host = |a: &NetworkRule, b: &NetworkRule| (&a.text, a.action) == (&b.text, b.action);
        before.also.is_none()
            && egress
            && defaults.iter().all(|(after, before)| rank(*after) >= rank(*before))
            && narrows(&self.files, &before.files, |rule| rule.action, same_path)
            && narrows(&self.process, &before.process, |rule| rule.action, same_path)
            && narrows(&self.network, &before.network, |rule| rule.action, same_host)
    }

    /// The stricter of what this policy says by itself and what the other one says.
    pub(super) fn with_the_other(&self, own: Verdict, other: impl FnOnce(&Self) -> Verdict) -> Verdict {
        match &self.also {
            None => own,
            Some(also) => {
                let other = other(also);
                if rank(other.action) > rank(own.action) { other } else { own }
            }
        }
    }
}

/// Whether `after` ends with all of `before`, and what stands before that refuses. A question is no narrowing: it may come before a
/// refusal.
fn narrows<R>(after: &[R], before: &[R], action: impl Fn(&R) -> Action, same: impl Fn(&R, &R) -> bool) -> bool {
    let Some(more) = after.len().checked_sub(before.len()) else { return false };
    let (new, old) = after.split_at(more);
    new.iter().all(|rule| action(rule) == Action::Deny) && old.iter().zip(before).all(|(a, b)| same(a, b))
}

#[cfg(test)]
mod tests {
    use super::super::{Destination, Places};
    use super::*;
    use std::path::Path;

    fn policy(files: &str, network: &str, rules: &str) -> Policy {
        let text = format!(
            "name = \"t\"\n[files]\ndefault = \"{files}\"\nrules = [{rules}]\n[network]\ndefault = \"{network}\"\n[egress]\ndefault = \"{network}\"\n"
        );
        Policy::parse(&text, "t", &Places { home: "/h".into(), workspace: "/w".into() }).unwrap()
    }

    const KEYS: &str = "{ match = \"/keys/**\", action = \"hold\", reason = \"keys\" }";
    const MORE: &str = "{ match = \"/more/**\", action = \"deny\", reason = \"more\" }";

    #[test]
    fn only_refusals_before_the_same_rules_are_plainly_narrower() {
        let before = policy("allow", "hold", KEYS);
        let is_narrower =
            |files: &str, network: &str, rules: &str| policy(files, network, rules).is_plainly_no_wider_than(&before);
        assert!(is_narrower("allow", "hold", KEYS));
        assert!(is_narrower("hold", "deny", KEYS));
        assert!(is_narrower("allow", "hold", &format!("{MORE}, {KEYS}")));
        assert!(!is_narrower("allow", "allow", KEYS));
        assert!(!is_narrower("allow", "hold", ""));
        assert!(!is_narrower("allow", "hold", &format!("{KEYS}, {MORE}")));
        assert!(!is_narrower("allow", "hold", &format!("{}, {KEYS}", MORE.replace("deny", "allow"))));
        assert!(!is_narrower("allow", "hold", &format!("{}, {KEYS}", MORE.replace("deny", "hold"))));
    }

    #[test]
    fn of_two_policies_the_stricter_one_decides() {
        let both = policy("allow", "deny", MORE).and(Arc::new(policy("allow", "hold", KEYS)));
        let file = |path: &str| both.file([Path::new(path)], true).action;
        assert_eq!((file("/keys/a"), file("/more/a"), file("/other")), (Action::Hold, Action::Deny, Action::Allow));
        assert_eq!(both.address("192.0.2.1".parse().unwrap(), 1, &[]).action, Action::Deny);
        assert_eq!(both.leaving(&Destination::parse("a.test"), 1, None).unwrap().action, Action::Deny);
        assert!(both.text.contains("more") && both.text.contains("keys"));
        assert!(!policy("allow", "deny", MORE).is_plainly_no_wider_than(&both), "what two say together is not seen");
    }
}
