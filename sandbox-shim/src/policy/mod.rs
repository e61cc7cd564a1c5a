//! What the sandbox allows: a file of rules, read once, and asked about each action.
//!
//! ```toml
//! name = "workspace"
//! hold_timeout = "5m"            # an unanswered hold is refused after this long
//!
//! [files]
//! default = "allow"              # allow | hold | deny, where no rule speaks
//! write = "hold"                 # the same for all but reading; default: the same as `default`
//! [[files.rules]]
//! match = "~/.ssh/**"            # a glob; ~ is the user's home, ${workspace} the agent's folder
//! on = "any"                     # any | read | write
//! action = "hold"
//! reason = "keys for other machines"
//!
//! [process]
//! default = "allow"
//! [[process.rules]]
//! match = "**/git"               # the program
//! arguments = "push*"            # optional: its arguments without the first, with spaces between
//! action = "hold"
//! reason = "leaves this machine"
//!
//! [network]
//! default = "hold"
//! dns = "allow"                  # may the system's own resolvers be asked
//! [[network.rules]]
//! match = "*.example.org:443"    # host, *.host, address, address/bits, loopback, * - each with or without :port
//! action = "allow"
//! reason = "the package registry"
//!
//! [egress]                       # optional; with it, all that leaves goes through the shim's proxy, and by these rules alone.
//! default = "hold"               # [network] then decides about loopback only, and may be left out
//! [[egress.rules]]
//! match = "*.example.org:80"     # as above; `loopback` is this machine's own, seen from inside the agent's network
//! methods = ["GET", "HEAD"]      # optional; speaks only of requests that the proxy can read: plain HTTP
//! at = "192.0.2.7:80"            # optional: where the host is, whatever its name leads to
//! action = "allow"
//! reason = "reading packages"
//!
//! [limits]                       # all optional
//! memory = "8GiB"
//! processes = 4096
//! time = "8h"
//!
//! [[tests]]                      # what `wk policy test` asks; one of read, write, run, connect
//! connect = "evil.example:443"
//! expect = "hold"
//! ```
//! The first rule that matches decides, then the default. Reading touches no file and no clock, and never panics. `file.rs` has the
//! keys, `parse.rs` reads them, this file decides.

mod egress;
mod explain;
mod file;
mod network;
mod parse;
mod stricter;

pub use egress::{Destination, Egress};
pub use explain::{Asked, Trial};
pub use network::plain;

use globset::GlobMatcher;
use network::Host;
use serde::Deserialize;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use wk_schemas::Digest;

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

/// The two folders that patterns may name.
#[derive(Debug, Clone)]
pub struct Places {
    /// What `~` means.
    pub home: PathBuf,
    /// What `${workspace}` means.
    pub workspace: PathBuf,
}

#[derive(Debug)]
struct PathRule {
    pattern: String,
    matcher: GlobMatcher,
    /// Of a process rule: what the arguments must look like.
    arguments: Option<GlobMatcher>,
    on: On,
    action: Action,
    reason: String,
}

#[derive(Debug)]
struct NetworkRule {
    text: String,
    host: Host,
    port: Option<u16>,
    action: Action,
    reason: String,
}

/// How much a session may use; `None` is as much as there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Memory of all its processes together, in bytes.
    pub memory_bytes: Option<u64>,
    /// Processes and threads at one time.
    pub processes: Option<u64>,
    /// How long it may run.
    pub time: Option<Duration>,
}

/// A policy, ready to be asked.
#[derive(Debug)]
pub struct Policy {
    /// The policy's name.
    pub name: String,
    /// SHA-256 of its text.
    pub digest: Digest,
    /// Its whole text.
    pub text: String,
    /// Where it came from: a file's path, a preset's name, or command.
    pub source: String,
    /// An unanswered hold is refused after this long.
    pub hold_timeout: Duration,
    /// How much the session may use.
    pub limits: Limits,
    files: Vec<PathRule>,
    files_default: Action,
    files_write: Action,
    process: Vec<PathRule>,
    process_default: Action,
    network: Vec<NetworkRule>,
    network_default: Action,
    dns: Action,
    egress: Option<Egress>,
    /// Decides as well; the stricter verdict counts.
    also: Option<std::sync::Arc<Policy>>,
    trials: Vec<Trial>,
}

/// A policy that cannot be read; says where and what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {what}")]
pub struct PolicyError {
    /// The policy's source.
    pub file: String,
    /// The line, counted from 1.
    pub line: usize,
    /// The column, counted in characters from 1.
    pub column: usize,
    /// What is wrong and what was expected.
    pub what: String,
}

/// The policies that come with the shim: name and text.
pub const PRESETS: &[(&str, &str)] = &[
    ("workspace", include_str!("../../policies/workspace.toml")),
    ("read-only", include_str!("../../policies/read-only.toml")),
    ("workspace+network", include_str!("../../policies/workspace+network.toml")),
    ("walled", include_str!("../../policies/walled.toml")),
    ("build", include_str!("../../policies/build.toml")),
    ("strict", include_str!("../../policies/strict.toml")),
    ("observe", include_str!("../../policies/observe.toml")),
];

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

    /// Whether every file may be touched: then the kernel needs no help with files.
    #[must_use]
    pub fn files_are_free(&self) -> bool {
        let defaults = [self.files_default, self.files_write];
        defaults.iter().all(|action| *action == Action::Allow)
            && self.files.iter().all(|rule| rule.action == Action::Allow)
            && self.also.as_ref().is_none_or(|also| also.files_are_free())
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

/// How strict an action is.
const fn rank(action: Action) -> u8 {
    match action {
        Action::Allow => 0,
        Action::Hold => 1,
        Action::Deny => 2,
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
    use super::*;
    use proptest::prelude::*;

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
    fn every_preset_can_be_read_and_has_its_own_name() {
        for (name, _) in PRESETS {
            assert_eq!(Policy::preset(name, &places()).unwrap().name, *name);
        }
        let error = Policy::preset("lax", &places()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "lax:1:1: there is no such preset; expected one of workspace, read-only, workspace+network, walled, build, strict, observe"
        );
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

    #[test]
    fn a_mistake_is_named_with_its_file_and_line() {
        let error = |text: &str| Policy::parse(text, "p.toml", &places()).unwrap_err().to_string();
        let head = "name = \"t\"\n[network]\ndefault = \"hold\"\n[[network.rules]]\n";
        assert_eq!(
            error(&format!("{head}match = \"a:99999\"\naction = \"allow\"\nreason = \"r\"\n")),
            "p.toml:5:9: `99999` is not a port: expected a number from 1 to 65535"
        );
        assert_eq!(
            error(&format!("{head}match = \"a\"\naction = \"permit\"\nreason = \"r\"\n")),
            "p.toml:6:10: unknown variant `permit`, expected one of `allow`, `hold`, `deny`"
        );
        assert!(error("name = \"t\"\nnetwrk = 1\n").starts_with("p.toml:2:1: unknown field `netwrk`, expected"));
        assert_eq!(
            error(
                "name = \"t\"\n[files]\ndefault = \"allow\"\n[[files.rules]]\nmatch = \"secrets\"\naction = \"deny\"\nreason = \"r\"\n[network]\ndefault = \"hold\"\n"
            ),
            "p.toml:5:9: `secrets` is not a pattern for a whole path: expected it to begin with /, ~/, ${workspace}/ or **/"
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_reading_panic(text in ".{0,200}") {
            drop(Policy::parse(&text, "f", &places()));
        }

        #[test]
        fn no_pattern_makes_reading_or_asking_panic(pattern in ".{0,40}", host in "[-a-z0-9.:*/\\[\\]]{0,30}", path in "(/.{0,20}){0,4}") {
            let quote = |text: &str| toml::Value::String(text.to_owned()).to_string();
            let text = format!(
                "name = \"t\"\n[files]\ndefault = \"allow\"\nrules = [{{ match = {}, action = \"deny\", reason = \"r\" }}]\n[network]\ndefault = \"hold\"\nrules = [{{ match = {}, action = \"deny\", reason = \"r\" }}]\n",
                quote(&pattern), quote(&host)
            );
            if let Ok(policy) = Policy::parse(&text, "f", &places()) {
                drop(policy.file([Path::new(&path)], true));
                drop(policy.address("192.0.2.1".parse().unwrap(), 1, std::slice::from_ref(&host)));
                drop((policy.guarded(), policy.writable(), policy.readable()));
            }
        }
    }
}
