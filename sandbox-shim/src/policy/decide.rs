//! Asks a policy: about a file, a program, an address, or something that leaves.

use super::egress::{Destination, Egress};
use super::network::{Host, plain};
use super::rules::{PathRule, Policy};
use super::verdict::{Action, On, Verdict, rank};
use std::net::IpAddr;
use std::path::Path;

impl Policy {
    /// Decides about a file: by the names it was reached by, of which the last is the object itself, without links.
    #[must_use]
    pub fn file<'a>(&self, names: impl IntoIterator<Item = &'a Path, IntoIter: Clone>, write: bool) -> Verdict {
        let on = if write { On::Write } else { On::Read };
        let default = if write { self.files_write } else { self.files_default };
        let names = names.into_iter();
        let own = decide(names.clone().map(|name| ask_path(&self.files, default, name, on, None)));
        self.with_the_other(own, |other| other.file(names, write))
    }

    /// Decides about executing a program, by its names as [`Policy::file`] does, with these arguments, of which the first is its name.
    ///
    /// The kernel reads the arguments again when it executes: what they say is what the caller wanted to be seen.
    #[must_use]
    pub fn program<'a>(
        &self,
        names: impl IntoIterator<Item = &'a Path, IntoIter: Clone>,
        arguments: &[String],
    ) -> Verdict {
        let line = arguments.get(1..).unwrap_or_default().join(" ");
        let default = self.process_default;
        let names = names.into_iter();
        let own = decide(names.clone().map(|name| ask_path(&self.process, default, name, On::Any, Some(&line))));
        self.with_the_other(own, |other| other.program(names, arguments))
    }

    /// Decides about an address, which is known to belong to the host names in `names`. Port 0 fits every port. Rules about what
    /// leaves take the place of those about the network, whether or not there is a proxy: all but loopback is outside.
    #[must_use]
    pub fn address(&self, address: IpAddr, port: u16, names: &[String]) -> Verdict {
        let address = plain(address);
        if !address.is_loopback()
            && let Some(verdict) = self.outside(address, port, names)
        {
            return verdict;
        }
        let hit = self
            .network
            .iter()
            .find(|rule| rule.port.is_none_or(|p| p == port || port == 0) && rule.host.covers(address, names));
        let own = match hit {
            Some(rule) => Verdict { action: rule.action, reason: Some(format!("{}: {}", rule.text, rule.reason)) },
            None => Verdict { action: self.network_default, reason: None },
        };
        self.with_the_other(own, |other| other.address(address, port, names))
    }

    fn outside(&self, address: IpAddr, port: u16, names: &[String]) -> Option<Verdict> {
        let by_address = self.leaving(&Destination::Address(address), port, None)?;
        if by_address.action == Action::Deny && by_address.reason.is_some() {
            return Some(by_address);
        }
        let mut by_name = names.iter().filter_map(|name| self.leaving(&Destination::parse(name), port, None));
        Some(by_name.find(|verdict| verdict.action == Action::Allow).unwrap_or(by_address))
    }

    /// Decides about something that leaves through the proxy; `None` when there are no rules about that.
    #[must_use]
    pub fn leaving(&self, to: &Destination, port: u16, method: Option<&str>) -> Option<Verdict> {
        let own = self.egress.as_ref()?.decide(to, port, method);
        let outside = |other: &Self| match other.leaving(to, port, method) {
            Some(verdict) => verdict,
            None => match to {
                Destination::Name(name) => other.host(name, port),
                Destination::Address(address) => other.address(*address, port, &[]),
            },
        };
        Some(self.with_the_other(own, outside))
    }

    /// The rules about what leaves, if what leaves goes through the proxy.
    #[must_use]
    pub fn egress(&self) -> Option<&Egress> {
        self.egress.as_ref()
    }

    /// Whether the system's resolvers may be asked.
    #[must_use]
    pub fn dns(&self) -> Action {
        self.also
            .as_ref()
            .map_or(self.dns, |also| if rank(also.dns()) > rank(self.dns) { also.dns() } else { self.dns })
    }

    /// The host names that rules name in full: what the shim itself looks up, to know an address by its name.
    #[must_use]
    pub fn host_names(&self) -> Vec<&str> {
        let names = self.network.iter().filter_map(|rule| match &rule.host {
            Host::Name(name) => Some(name.as_str()),
            Host::Any | Host::Loopback | Host::Net(..) | Host::Below(_) => None,
        });
        names.chain(self.egress.iter().flat_map(Egress::names)).collect()
    }
}

/// The last verdict is about the object itself; one about a name that led to it counts when a rule speaks of that name, and is
/// stricter. A default does not: every link to an allowed folder would be refused because nobody listed the link.
fn decide(verdicts: impl Iterator<Item = Verdict>) -> Verdict {
    let all: Vec<Verdict> = verdicts.collect();
    let stricter = |worst: Verdict, next: Verdict| {
        if next.reason.is_some() && rank(next.action) > rank(worst.action) { next } else { worst }
    };
    match all.split_last() {
        // Nothing was named, so nothing can be allowed.
        None => Verdict { action: Action::Deny, reason: None },
        Some((object, names)) => names.iter().cloned().fold(object.clone(), stricter),
    }
}

fn ask_path(rules: &[PathRule], default: Action, path: &Path, on: On, arguments: Option<&str>) -> Verdict {
    let fits = |rule: &&PathRule| {
        (rule.on == On::Any || on == On::Any || rule.on == on)
            && rule.matcher.is_match(path)
            && rule.arguments.as_ref().is_none_or(|wanted| arguments.is_some_and(|given| wanted.is_match(given)))
    };
    match rules.iter().find(fits) {
        Some(rule) => Verdict { action: rule.action, reason: Some(format!("{}: {}", rule.pattern, rule.reason)) },
        None => Verdict { action: default, reason: None },
    }
}

#[cfg(test)]
mod tests {
    use super::super::Places;
    use super::*;
    use std::path::PathBuf;

    fn places() -> Places {
        Places { home: "/home/ada".into(), workspace: "/home/ada/project".into() }
    }

    fn policy(text: &str) -> Policy {
        Policy::parse(text, "test.toml", &places()).unwrap()
    }

    fn file(policy: &Policy, path: &str, write: bool) -> Action {
        policy.file([Path::new(path)], write).action
    }

    fn net(policy: &Policy, address: &str, port: u16, names: &[&str]) -> Action {
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        policy.address(address.parse().unwrap(), port, &names).action
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let policy = policy(
            r#"
            name = "t"
            [files]
            default = "deny"
            rules = [
              { match = "~/.ssh/config", action = "allow", reason = "no secret" },
              { match = "~/.ssh/**", action = "hold", reason = "keys" },
              { match = "${workspace}/**", on = "read", action = "allow", reason = "work" },
              { match = "**/.env", action = "deny", reason = "tokens" },
            ]
            [network]
            default = "deny"
            "#,
        );
        assert_eq!(file(&policy, "/home/ada/.ssh/config", true), Action::Allow);
        assert_eq!(file(&policy, "/home/ada/.ssh/id_rsa", false), Action::Hold);
        assert_eq!(file(&policy, "/home/ada/.ssh", false), Action::Hold);
        assert_eq!(file(&policy, "/home/ada/.sshx", false), Action::Deny);
        assert_eq!(file(&policy, "/home/ada/project/a/b", false), Action::Allow);
        assert_eq!(file(&policy, "/home/ada/project/a/b", true), Action::Deny);
        let both = [Path::new("/home/ada/project/link"), Path::new("/home/ada/.ssh/id_rsa")];
        assert_eq!(policy.file(both, false).action, Action::Hold);
        let link_to_allowed = [Path::new("/lib"), Path::new("/home/ada/project/lib")];
        assert_eq!(policy.file(link_to_allowed, false).action, Action::Allow);
        let allowed_link_to_other = [Path::new("/home/ada/project/link"), Path::new("/etc/shadow")];
        assert_eq!(policy.file(allowed_link_to_other, false).action, Action::Deny);
        let forbidden_link = [Path::new("/x/.env"), Path::new("/home/ada/project/env")];
        assert_eq!(policy.file(forbidden_link, false).action, Action::Deny);
        assert_eq!(policy.guarded(), (vec![PathBuf::from("/home/ada/.ssh")], vec![]));
        assert!(policy.has_floating_rules());
    }

    #[test]
    fn hosts_addresses_and_ports_are_told_apart() {
        let policy = policy(
            r#"
            name = "t"
            [network]
            default = "hold"
            rules = [
              { match = "loopback:8080", action = "allow", reason = "r" },
              { match = "10.0.0.0/8", action = "deny", reason = "r" },
              { match = "[2001:db8::]:443", action = "deny", reason = "r" },
              { match = "2001:db8::/32", action = "allow", reason = "r" },
              { match = "*.example.org:443", action = "allow", reason = "r" },
              { match = "example.com", action = "allow", reason = "r" },
            ]
            "#,
        );
        assert_eq!(net(&policy, "127.0.0.1", 8080, &[]), Action::Allow);
        assert_eq!(net(&policy, "::ffff:127.0.0.1", 8080, &[]), Action::Allow);
        assert_eq!(net(&policy, "127.0.0.1", 8081, &[]), Action::Hold);
        assert_eq!(net(&policy, "10.200.0.1", 1, &[]), Action::Deny);
        assert_eq!(net(&policy, "11.0.0.1", 1, &[]), Action::Hold);
        assert_eq!(net(&policy, "2001:db8::", 443, &[]), Action::Deny);
        assert_eq!(net(&policy, "2001:db8::1", 443, &[]), Action::Allow);
        assert_eq!(net(&policy, "192.0.2.1", 443, &["a.Example.org"]), Action::Allow);
        assert_eq!(net(&policy, "192.0.2.1", 443, &["example.org"]), Action::Hold);
        assert_eq!(net(&policy, "192.0.2.1", 443, &["badexample.org"]), Action::Hold);
        assert_eq!(net(&policy, "192.0.2.1", 80, &["example.com"]), Action::Allow);
        assert_eq!(policy.host_names(), ["example.com"]);
    }
}
