//! What the sandbox allows: a file of rules, read once, and asked about each action.
//!
//! ```toml
//! name = "workspace"
//! hold_timeout = "5m"            # an unanswered hold is refused after this long
//!
//! [files]                        # likewise [process], whose paths are programs
//! default = "allow"              # allow | hold | deny
//! [[files.rules]]
//! match = "~/.ssh/**"            # a glob; ~ is the user's home, ${workspace} the agent's folder
//! on = "any"                     # any | read | write
//! action = "hold"
//! reason = "keys for other machines"
//!
//! [network]
//! default = "hold"
//! dns = "allow"                  # may the system's own resolvers be asked
//! [[network.rules]]
//! match = "*.example.org:443"    # host, *.host, address, address/bits, loopback, * - each with or without :port
//! action = "allow"
//! reason = "the package registry"
//! ```
//! The first rule that matches decides, then the default. Reading touches no file and no clock, and never panics.

use globset::{GlobBuilder, GlobMatcher};
use serde::Deserialize;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::Spanned;
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    #[serde(default = "hold_timeout", with = "humantime_serde")]
    hold_timeout: Duration,
    #[serde(default)]
    files: PathSection,
    #[serde(default)]
    process: PathSection,
    network: NetworkSection,
}

const fn hold_timeout() -> Duration {
    Duration::from_secs(300)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PathSection {
    default: Action,
    #[serde(default)]
    rules: Vec<PathRuleText>,
}

impl Default for PathSection {
    fn default() -> Self {
        Self { default: Action::Allow, rules: Vec::new() }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PathRuleText {
    r#match: Spanned<String>,
    #[serde(default)]
    on: On,
    action: Action,
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NetworkSection {
    default: Action,
    #[serde(default = "allow")]
    dns: Action,
    #[serde(default)]
    rules: Vec<NetworkRuleText>,
}

const fn allow() -> Action {
    Action::Allow
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NetworkRuleText {
    r#match: Spanned<String>,
    action: Action,
    reason: String,
}

#[derive(Debug)]
struct PathRule {
    pattern: String,
    matcher: GlobMatcher,
    on: On,
    action: Action,
    reason: String,
}

/// Which hosts a network rule speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    Any,
    Loopback,
    Net(IpAddr, u8),
    Name(String),
    Below(String),
}

#[derive(Debug)]
struct NetworkRule {
    text: String,
    host: Host,
    port: Option<u16>,
    action: Action,
    reason: String,
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
    files: Vec<PathRule>,
    files_default: Action,
    process: Vec<PathRule>,
    process_default: Action,
    network: Vec<NetworkRule>,
    network_default: Action,
    dns: Action,
}

/// A policy that cannot be read; says where and what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {what}")]
pub struct PolicyError {
    /// The policy's source.
    pub file: String,
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong and what was expected.
    pub what: String,
}

/// The policies that come with the shim: name and text.
pub const PRESETS: &[(&str, &str)] = &[
    ("workspace", include_str!("../policies/workspace.toml")),
    ("strict", include_str!("../policies/strict.toml")),
    ("observe", include_str!("../policies/observe.toml")),
];

impl Policy {
    /// Reads a policy that came from `source`.
    ///
    /// # Errors
    /// [`PolicyError`] names the line and what was expected there.
    pub fn parse(text: &str, source: &str, places: &Places) -> Result<Self, PolicyError> {
        let at = |offset: usize, what: String| PolicyError {
            file: source.to_owned(),
            line: 1 + text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count(),
            what,
        };
        let file: File = toml::from_str(text)
            .map_err(|error| at(error.span().map_or(0, |span| span.start), error.message().to_owned()))?;
        let path_rules = |section: Vec<PathRuleText>| {
            section
                .into_iter()
                .map(|rule| {
                    let start = rule.r#match.span().start;
                    path_rule(rule, places).map_err(|what| at(start, what))
                })
                .collect::<Result<Vec<_>, _>>()
        };
        let files = path_rules(file.files.rules)?;
        let process = path_rules(file.process.rules)?;
        let network = (file.network.rules.into_iter())
            .map(|rule| {
                let start = rule.r#match.span().start;
                network_rule(rule).map_err(|what| at(start, what))
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            name: file.name,
            digest: Digest::of(text.as_bytes()),
            text: text.to_owned(),
            source: source.to_owned(),
            hold_timeout: file.hold_timeout,
            files,
            files_default: file.files.default,
            process,
            process_default: file.process.default,
            network,
            network_default: file.network.default,
            dns: file.network.dns,
        })
    }

    /// One of the policies that come with the shim.
    ///
    /// # Errors
    /// [`PolicyError`] when there is none of that name.
    pub fn preset(name: &str, places: &Places) -> Result<Self, PolicyError> {
        let text = PRESETS.iter().find(|preset| preset.0 == name).map(|preset| preset.1);
        let names: Vec<&str> = PRESETS.iter().map(|preset| preset.0).collect();
        let text = text.ok_or_else(|| PolicyError {
            file: name.to_owned(),
            line: 1,
            what: format!("there is no such preset; expected one of {}", names.join(", ")),
        })?;
        Self::parse(text, name, places)
    }

    /// Decides about a file: by the names it was reached by, of which the last is the object itself, without links.
    #[must_use]
    pub fn file<'a>(&self, names: impl IntoIterator<Item = &'a Path>, write: bool) -> Verdict {
        let on = if write { On::Write } else { On::Read };
        decide(names.into_iter().map(|name| ask_path(&self.files, self.files_default, name, on)))
    }

    /// Decides about executing a program, by its names as [`Policy::file`] does.
    #[must_use]
    pub fn program<'a>(&self, names: impl IntoIterator<Item = &'a Path>) -> Verdict {
        decide(names.into_iter().map(|name| ask_path(&self.process, self.process_default, name, On::Any)))
    }

    /// Decides about an address, which is known to belong to the host names in `names`. Port 0 fits every port.
    #[must_use]
    pub fn address(&self, address: IpAddr, port: u16, names: &[String]) -> Verdict {
        let address = plain(address);
        let hit = self
            .network
            .iter()
            .find(|rule| rule.port.is_none_or(|p| p == port || port == 0) && rule.host.covers(address, names));
        match hit {
            Some(rule) => Verdict { action: rule.action, reason: Some(format!("{}: {}", rule.text, rule.reason)) },
            None => Verdict { action: self.network_default, reason: None },
        }
    }

    /// Whether the system's resolvers may be asked.
    #[must_use]
    pub fn dns(&self) -> Action {
        self.dns
    }

    /// The host names that rules name in full: what the shim itself looks up, to know an address by its name.
    #[must_use]
    pub fn host_names(&self) -> Vec<&str> {
        let names = self.network.iter().filter_map(|rule| match &rule.host {
            Host::Name(name) => Some(name.as_str()),
            Host::Any | Host::Loopback | Host::Net(..) | Host::Below(_) => None,
        });
        names.collect()
    }

    /// Whether every file may be touched: then the kernel needs no help with files.
    #[must_use]
    pub fn files_are_free(&self) -> bool {
        self.files_default == Action::Allow && self.files.iter().all(|rule| rule.action == Action::Allow)
    }

    /// Whether every program may be executed.
    #[must_use]
    pub fn programs_are_free(&self) -> bool {
        self.process_default == Action::Allow && self.process.iter().all(|rule| rule.action == Action::Allow)
    }

    /// The folders and files that rules single out with hold or deny: the fixed part of each pattern, which the kernel can guard.
    #[must_use]
    pub fn guarded(&self) -> Vec<PathBuf> {
        self.files
            .iter()
            .filter(|rule| rule.action != Action::Allow)
            .filter_map(|rule| fixed_part(&rule.pattern))
            .collect()
    }

    /// Whether some hold or deny rule has no fixed part (`**/.env`), so that every open must be carried out by the shim.
    #[must_use]
    pub fn has_floating_rules(&self) -> bool {
        self.files.iter().any(|rule| rule.action != Action::Allow && fixed_part(&rule.pattern).is_none())
    }

    /// With a default other than allow: the folders that rules allow as a whole.
    #[must_use]
    pub fn allowed_folders(&self) -> Option<Vec<PathBuf>> {
        if self.files_default == Action::Allow {
            return None;
        }
        let whole =
            |rule: &&PathRule| rule.action == Action::Allow && rule.on == On::Any && rule.pattern.ends_with("/**");
        Some(
            self.files
                .iter()
                .filter(whole)
                .filter_map(|rule| {
                    let folder = rule.pattern.strip_suffix("/**")?;
                    (!folder.contains(['*', '?', '[', '{'])).then(|| PathBuf::from(folder))
                })
                .collect(),
        )
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

/// The last verdict is about the object itself; one about a name that led to it counts when a rule speaks of that name, and is
/// stricter. A default does not: every link to an allowed folder would be refused because nobody listed the link.
fn decide(verdicts: impl Iterator<Item = Verdict>) -> Verdict {
    let rank = |verdict: &Verdict| match verdict.action {
        Action::Allow => 0,
        Action::Hold => 1,
        Action::Deny => 2,
    };
    let all: Vec<Verdict> = verdicts.collect();
    let stricter = |worst: Verdict, next: Verdict| {
        if next.reason.is_some() && rank(&next) > rank(&worst) { next } else { worst }
    };
    match all.split_last() {
        // Nothing was named, so nothing can be allowed.
        None => Verdict { action: Action::Deny, reason: None },
        Some((object, names)) => names.iter().cloned().fold(object.clone(), stricter),
    }
}

fn ask_path(rules: &[PathRule], default: Action, path: &Path, on: On) -> Verdict {
    let fits = |rule: &&PathRule| (rule.on == On::Any || on == On::Any || rule.on == on) && rule.matcher.is_match(path);
    match rules.iter().find(fits) {
        Some(rule) => Verdict { action: rule.action, reason: Some(format!("{}: {}", rule.pattern, rule.reason)) },
        None => Verdict { action: default, reason: None },
    }
}

fn path_rule(rule: PathRuleText, places: &Places) -> Result<PathRule, String> {
    let text = rule.r#match.into_inner();
    let place = |path: &Path| path.to_string_lossy().trim_end_matches('/').to_owned();
    let pattern = match text.strip_prefix('~') {
        Some("") => place(&places.home),
        Some(rest) if rest.starts_with('/') => format!("{}{rest}", place(&places.home)),
        _ => text.replace("${workspace}", &place(&places.workspace)),
    };
    if !(pattern.starts_with('/') || pattern.starts_with("**/")) {
        return Err(format!(
            "`{text}` is not a pattern for a whole path: expected it to begin with /, ~/, ${{workspace}}/ or **/"
        ));
    }
    // `folder/**` is meant to cover the folder itself as well: listing it tells what is in it.
    let glob = match pattern.strip_suffix("/**") {
        Some(folder) if !folder.is_empty() && folder != "**" => format!("{folder}{{,/**}}"),
        _ => pattern.clone(),
    };
    let matcher = GlobBuilder::new(&glob)
        .literal_separator(true)
        .backslash_escape(true)
        .empty_alternates(true)
        .build()
        .map_err(|error| format!("`{text}` is not a pattern: {}", error.kind()))?
        .compile_matcher();
    Ok(PathRule { pattern, matcher, on: rule.on, action: rule.action, reason: rule.reason })
}

fn network_rule(rule: NetworkRuleText) -> Result<NetworkRule, String> {
    let text = rule.r#match.into_inner();
    let (host, port) = split_port(&text)?;
    let host = Host::parse(host).ok_or_else(|| {
        format!("`{text}` names no host: expected a host, *.host, an address, address/bits, loopback or *")
    })?;
    Ok(NetworkRule { host, port, action: rule.action, reason: rule.reason, text })
}

/// Splits `host:port`; an IPv6 address needs brackets when a port follows.
fn split_port(text: &str) -> Result<(&str, Option<u16>), String> {
    let bad_port = |port: &str| format!("`{port}` is not a port: expected a number from 1 to 65535");
    let number = |port: &str| match port.parse::<u16>() {
        Ok(number) if number > 0 => Ok(Some(number)),
        _ => Err(bad_port(port)),
    };
    if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or_else(|| format!("`{text}` lacks a closing bracket"))?;
        return match after.strip_prefix(':') {
            Some(port) => Ok((host, number(port)?)),
            None if after.is_empty() => Ok((host, None)),
            None => Err(format!("`{after}` after the bracket: expected `:` and a port")),
        };
    }
    match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') => Ok((host, number(port)?)),
        _ => Ok((text, None)),
    }
}

impl Host {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "*" => return Some(Self::Any),
            "loopback" | "localhost" => return Some(Self::Loopback),
            _ => {}
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            let address = plain(address);
            return Some(Self::Net(address, bits(address)));
        }
        if let Some((address, length)) = text.split_once('/') {
            let address = address.parse::<IpAddr>().ok()?;
            let length = length.parse::<u8>().ok()?;
            return (length <= bits(address)).then_some(Self::Net(address, length));
        }
        let (below, name) = match text.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, text),
        };
        let label = |label: &str| {
            !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        if !name.split('.').all(label) {
            return None;
        }
        let name = name.to_ascii_lowercase();
        Some(if below { Self::Below(name) } else { Self::Name(name) })
    }

    fn covers(&self, address: IpAddr, names: &[String]) -> bool {
        match self {
            Self::Any => true,
            Self::Loopback => address.is_loopback(),
            Self::Net(net, length) => in_net(address, *net, *length),
            Self::Name(name) => names.iter().any(|n| n.eq_ignore_ascii_case(name)),
            Self::Below(name) => names.iter().any(|n| {
                let n = n.to_ascii_lowercase();
                n.strip_suffix(name.as_str()).is_some_and(|front| front.ends_with('.') && front.len() > 1)
            }),
        }
    }
}

/// An IPv4 address that came as IPv6, as IPv4; anything else as it is.
#[must_use]
pub fn plain(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

const fn bits(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn in_net(address: IpAddr, net: IpAddr, length: u8) -> bool {
    match (address, net) {
        (IpAddr::V4(a), IpAddr::V4(n)) => {
            let shift = 32 - u32::from(length);
            a.to_bits().checked_shr(shift) == n.to_bits().checked_shr(shift)
        }
        (IpAddr::V6(a), IpAddr::V6(n)) => {
            let shift = 128 - u32::from(length);
            a.to_bits().checked_shr(shift) == n.to_bits().checked_shr(shift)
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
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
        assert_eq!(error.to_string(), "lax:1: there is no such preset; expected one of workspace, strict, observe");
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
        assert_eq!(policy.guarded(), [PathBuf::from("/home/ada/.ssh")]);
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
            "p.toml:5: `99999` is not a port: expected a number from 1 to 65535"
        );
        assert_eq!(
            error(&format!("{head}match = \"a\"\naction = \"permit\"\nreason = \"r\"\n")),
            "p.toml:6: unknown variant `permit`, expected one of `allow`, `hold`, `deny`"
        );
        assert!(error("name = \"t\"\nnetwrk = 1\n").starts_with("p.toml:2: unknown field `netwrk`, expected"));
        assert_eq!(
            error(
                "name = \"t\"\n[files]\ndefault = \"allow\"\n[[files.rules]]\nmatch = \"secrets\"\naction = \"deny\"\nreason = \"r\"\n[network]\ndefault = \"hold\"\n"
            ),
            "p.toml:5: `secrets` is not a pattern for a whole path: expected it to begin with /, ~/, ${workspace}/ or **/"
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
                "name = \"t\"\n[files]\ndefault = \"allow\"\nrules = [{{ match = {}, action = \"deny\", reason = \"\" }}]\n[network]\ndefault = \"hold\"\nrules = [{{ match = {}, action = \"deny\", reason = \"\" }}]\n",
                quote(&pattern), quote(&host)
            );
            if let Ok(policy) = Policy::parse(&text, "f", &places()) {
                drop(policy.file([Path::new(&path)], true));
                drop(policy.address("192.0.2.1".parse().unwrap(), 1, std::slice::from_ref(&host)));
                drop((policy.guarded(), policy.allowed_folders()));
            }
        }
    }
}
