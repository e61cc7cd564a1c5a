//! The sandbox that an agent brings along, and whether ours can stand in for it.
//!
//! Bubblewrap and its like need namespaces and mounts of their own, which nothing inside a session gets. A sandbox that cannot start makes a
//! broken agent, so an adapter switches it off and says what it was; the session starts only when its policy refuses, or asks about,
//! everything that the agent's own would have refused. What was switched off stands in `session_started`.

use crate::policy::{Action, Places, Policy};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

/// A sandbox of the agent's own that was switched off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnSandbox {
    /// What its owner calls it: `codex workspace-write`.
    pub name: String,
    /// How the user has the agent do without it.
    pub without: &'static str,
    /// Whether files may be written in the workspace.
    pub writes_workspace: bool,
    /// Whether any host may be reached.
    pub reaches_network: bool,
}

/// The policy lets through what the agent's own sandbox would not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the agent's own sandbox ({name}) cannot start under the shim, and the policy `{policy}` is weaker: it allows {gap}. \
     Choose a policy at least as strong, such as `--policy {preset}`, or {without}"
)]
pub struct Weaker {
    name: String,
    policy: String,
    gap: String,
    preset: &'static str,
    without: &'static str,
}

impl OwnSandbox {
    /// Checks that `policy` is at least as strong. It is asked about places that stand for all others of their kind.
    ///
    /// # Errors
    /// [`Weaker`] names the first that it allows.
    pub fn check(&self, policy: &Policy, places: &Places) -> Result<(), Weaker> {
        let weaker = |gap| Weaker {
            name: self.name.clone(),
            policy: policy.name.clone(),
            gap,
            preset: if self.writes_workspace { "workspace" } else { "read-only" },
            without: self.without,
        };
        let mut guarded: Vec<PathBuf> = vec![
            "/etc/passwd".into(),
            "/usr/local/bin/anything".into(),
            places.home.join(".bashrc"),
            places.home.join("elsewhere/anything"),
        ];
        if !self.writes_workspace {
            guarded.push(places.workspace.join("anything"));
        }
        let is_workspace = |path: &Path| self.writes_workspace && path.starts_with(&places.workspace);
        let allowed = |path: &Path| policy.file([path], true).action == Action::Allow;
        if let Some(open) = guarded.iter().find(|path| !is_workspace(path) && allowed(path)) {
            return Err(weaker(format!("writing `{}`", open.display())));
        }
        // An address that belongs to nobody (RFC 5737), so no rule names it.
        let nobody = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        if !self.reaches_network && policy.address(nobody, 443, &[]).action == Action::Allow {
            return Err(weaker("connections to any host".into()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str) -> (Policy, Places) {
        let places = Places { home: "/home/ada".into(), workspace: "/home/ada/work".into() };
        (Policy::parse(text, "test", &places).unwrap(), places)
    }

    const CLOSED: &str = "name = \"closed\"\n[files]\ndefault = \"allow\"\n\
        [[files.rules]]\nmatch = \"${workspace}/**\"\naction = \"allow\"\nreason = \"the work\"\n\
        [[files.rules]]\nmatch = \"/**\"\non = \"write\"\naction = \"hold\"\nreason = \"elsewhere\"\n\
        [network]\ndefault = \"hold\"\n";

    fn own(writes_workspace: bool, reaches_network: bool) -> OwnSandbox {
        OwnSandbox { name: "codex x".into(), without: "give y", writes_workspace, reaches_network }
    }

    #[test]
    fn a_policy_as_strong_is_taken_and_a_weaker_one_is_refused_with_its_gap() {
        let (closed, places) = policy(CLOSED);
        let free = "name = \"free\"\n[files]\ndefault = \"allow\"\n[network]\ndefault = \"allow\"\n";
        let (free, _) = policy(free);
        let (no_files, _) = policy(&CLOSED.replace("default = \"hold\"", "default = \"allow\""));
        let gap = |own: &OwnSandbox, policy| own.check(policy, &places).map_err(|weaker| weaker.gap);
        assert_eq!(gap(&own(true, false), &closed), Ok(()));
        assert_eq!(gap(&own(false, false), &closed), Err("writing `/home/ada/work/anything`".into()));
        assert_eq!(gap(&own(true, true), &free), Err("writing `/etc/passwd`".into()));
        assert_eq!(gap(&own(true, false), &no_files), Err("connections to any host".into()));
        assert_eq!(gap(&own(true, true), &no_files), Ok(()));
        let (walled, _) = policy(&CLOSED.replace("[network]", "[egress]"));
        assert_eq!(gap(&own(true, false), &walled), Ok(()));
        let said = own(true, false).check(&free, &places).unwrap_err().to_string();
        assert!(said.contains("--policy workspace") && said.contains("give y"), "{said}");
    }
}
