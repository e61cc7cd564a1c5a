//! What may leave the machine when it leaves through the shim's proxy: by name, port and, where the proxy can see it, method.

use super::network::Host;
use super::{Action, Verdict, plain};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Where somebody wants to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// A host by its name, in lower case without the last dot.
    Name(String),
    /// A host by its address alone.
    Address(IpAddr),
}

impl Destination {
    /// Reads a host as it stands in a request: an address, with brackets or without, or a name.
    #[must_use]
    pub fn parse(host: &str) -> Self {
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        match bare.parse::<IpAddr>() {
            Ok(address) => Self::Address(plain(address)),
            Err(_) => Self::Name(host.trim_end_matches('.').to_ascii_lowercase()),
        }
    }

    /// The name, if it is known by one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Name(name) => Some(name),
            Self::Address(_) => None,
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(address) => write!(f, "{address}"),
        }
    }
}

#[derive(Debug)]
pub(super) struct Rule {
    pub text: String,
    pub host: Host,
    pub port: Option<u16>,
    /// In upper case; `None` speaks of every request, seen or not.
    pub methods: Option<Vec<String>>,
    /// Where the host is, instead of where its name leads.
    pub at: Option<SocketAddr>,
    pub action: Action,
    pub reason: String,
}

impl Rule {
    fn speaks_of(&self, to: &Destination, port: Option<u16>) -> bool {
        self.port.is_none_or(|own| port.is_none_or(|asked| own == asked))
            && match to {
                Destination::Name(name) => self.host.covers_name(name),
                Destination::Address(address) => self.host.covers(*address, &[]),
            }
    }

    fn verdict(&self) -> Verdict {
        Verdict { action: self.action, reason: Some(format!("{}: {}", self.text, self.reason)) }
    }
}

/// The rules about what leaves; a policy that has none knows of no proxy.
#[derive(Debug)]
pub struct Egress {
    pub(super) default: Action,
    pub(super) rules: Vec<Rule>,
}

impl Egress {
    /// Decides. A rule about methods speaks only of requests whose method is seen: `method` is `None` for a tunnel.
    #[must_use]
    pub fn decide(&self, to: &Destination, port: u16, method: Option<&str>) -> Verdict {
        let fits = |rule: &&Rule| {
            rule.speaks_of(to, Some(port))
                && rule.methods.as_ref().is_none_or(|all| method.is_some_and(|one| all.iter().any(|m| m == one)))
        };
        match self.rules.iter().find(fits) {
            Some(rule) => rule.verdict(),
            None => Verdict { action: self.default, reason: None },
        }
    }

    /// Whether what becomes of a connection depends on the method of a request.
    #[must_use]
    pub fn depends_on_method(&self, to: &Destination, port: u16) -> bool {
        self.rules.iter().take_while(|rule| rule.methods.is_some() || !rule.speaks_of(to, Some(port))).any(|rule| {
            // The rules before the first that speaks of everything there.
            rule.methods.is_some() && rule.speaks_of(to, Some(port))
        })
    }

    /// Decides about asking for a name: as freely as about any connection to it.
    #[must_use]
    pub fn decide_name(&self, name: &str) -> Verdict {
        let to = Destination::Name(name.to_owned());
        let mut freest = None::<Verdict>;
        let rank = |action: Action| match action {
            Action::Allow => 2,
            Action::Hold => 1,
            Action::Deny => 0,
        };
        let mut take = |verdict: Verdict| {
            if freest.as_ref().is_none_or(|known| rank(verdict.action) > rank(known.action)) {
                freest = Some(verdict);
            }
        };
        let mut is_whole = false;
        for rule in self.rules.iter().filter(|rule| rule.speaks_of(&to, None)) {
            take(rule.verdict());
            is_whole = rule.port.is_none() && rule.methods.is_none();
            if is_whole {
                break;
            }
        }
        if !is_whole {
            take(Verdict { action: self.default, reason: None });
        }
        freest.unwrap_or(Verdict { action: Action::Deny, reason: None })
    }

    /// Where a rule says that a host is.
    #[must_use]
    pub fn pinned(&self, to: &Destination, port: u16) -> Option<SocketAddr> {
        self.rules.iter().filter(|rule| rule.speaks_of(to, Some(port))).find_map(|rule| rule.at)
    }

    /// The rule about addresses that shuts one, whatever name led to it.
    #[must_use]
    pub fn shuts(&self, address: IpAddr, port: u16) -> Option<Verdict> {
        let to = Destination::Address(plain(address));
        let hit = self.rules.iter().find(|rule| rule.methods.is_none() && rule.speaks_of(&to, Some(port)))?;
        (hit.action == Action::Deny && hit.host != Host::Any).then(|| hit.verdict())
    }

    /// The names that rules spell out.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().filter_map(|rule| match &rule.host {
            Host::Name(name) => Some(name.as_str()),
            Host::Any | Host::Loopback | Host::Net(..) | Host::Below(_) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Places, Policy};
    use super::*;

    const TEXT: &str = r#"
        name = "t"
        [egress]
        default = "hold"
        rules = [
          { match = "169.254.0.0/16", action = "deny", reason = "credentials" },
          { match = "api.example.org:443", action = "allow", reason = "model" },
          { match = "*.packages.test:80", methods = ["get", "HEAD"], action = "allow", reason = "reading" },
          { match = "*.packages.test", action = "deny", reason = "publishing" },
          { match = "pinned.test", at = "127.0.0.1:8080", action = "allow", reason = "here" },
        ]
    "#;

    fn policy() -> Policy {
        Policy::parse(TEXT, "t", &Places { home: "/h".into(), workspace: "/w".into() }).unwrap()
    }

    fn ask(host: &str, port: u16, method: Option<&str>) -> Action {
        policy().egress().unwrap().decide(&Destination::parse(host), port, method).action
    }

    #[test]
    fn names_ports_and_methods_are_told_apart() {
        assert_eq!(ask("API.example.org.", 443, None), Action::Allow);
        assert_eq!(ask("api.example.org", 80, None), Action::Hold);
        assert_eq!(ask("169.254.169.254", 80, Some("GET")), Action::Deny);
        assert_eq!(ask("a.packages.test", 80, Some("GET")), Action::Allow);
        assert_eq!(ask("a.packages.test", 80, Some("POST")), Action::Deny);
        assert_eq!(ask("a.packages.test", 80, None), Action::Deny);
        assert_eq!(ask("[2001:db8::1]", 80, None), Action::Hold);
        let policy = policy();
        let egress = policy.egress().unwrap();
        assert!(egress.depends_on_method(&Destination::parse("a.packages.test"), 80));
        assert!(!egress.depends_on_method(&Destination::parse("a.packages.test"), 443));
        assert_eq!(egress.pinned(&Destination::parse("pinned.test"), 1), Some("127.0.0.1:8080".parse().unwrap()));
        assert!(egress.shuts("169.254.1.1".parse().unwrap(), 443).is_some());
        assert!(egress.shuts("192.0.2.1".parse().unwrap(), 443).is_none());
    }

    #[test]
    fn a_name_may_be_asked_for_as_freely_as_it_may_be_reached() {
        let policy = policy();
        let ask = |name: &str| policy.egress().unwrap().decide_name(name).action;
        assert_eq!(ask("api.example.org"), Action::Allow);
        assert_eq!(ask("a.packages.test"), Action::Allow);
        assert_eq!(ask("elsewhere.test"), Action::Hold);
    }

    #[test]
    fn a_policy_about_egress_alone_leaves_the_inside_free_and_is_asked_for_the_outside() {
        let policy = policy();
        assert_eq!(policy.address("127.0.0.1".parse().unwrap(), 3000, &[]).action, Action::Allow);
        assert_eq!(policy.address("192.0.2.1".parse().unwrap(), 443, &[]).action, Action::Hold);
        let known = ["api.example.org".to_owned()];
        assert_eq!(policy.address("192.0.2.1".parse().unwrap(), 443, &known).action, Action::Allow);
        assert_eq!(policy.address("169.254.1.1".parse().unwrap(), 443, &known).action, Action::Deny);
        assert_eq!(policy.host("api.example.org", 443).action, Action::Allow);
        assert_eq!(policy.host("a.packages.test", 443).action, Action::Deny);
    }
}
