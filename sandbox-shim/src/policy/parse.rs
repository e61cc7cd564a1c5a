//! From the text of a policy to a [`Policy`] that can be asked, or to the place where it goes wrong.

use super::egress::{Egress, Rule};
use super::file::{
    EgressRuleText, EgressSection, File, FileRuleText, LimitSection, NetworkRuleText, NetworkSection, ProcessRuleText,
};
use super::network::{Host, split_port};
use super::rules::{Limits, NetworkRule, PathRule, Places, Policy};
use super::verdict::{Action, On};
use globset::{GlobBuilder, GlobMatcher};
use std::ops::Range;
use std::path::Path;
use toml::Spanned;
use wk_schemas::Digest;

/// What is wrong, and where in the text.
type Wrong = (Range<usize>, String);

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

impl Policy {
    /// Reads a policy that came from `source`.
    ///
    /// # Errors
    /// [`PolicyError`] names the line and the column, and what was expected there.
    pub fn parse(text: &str, source: &str, places: &Places) -> Result<Self, PolicyError> {
        let at = |(span, what): Wrong| PolicyError::at(text, source, span.start, what);
        let file: File = toml::from_str(text)
            .map_err(|error| at((error.span().unwrap_or(0..0), error.message().trim_end().to_owned())))?;
        let all = |result: Result<Vec<PathRule>, Wrong>| result.map_err(at);
        let files = all(file.files.rules.into_iter().map(|rule| file_rule(rule, places)).collect())?;
        let process = all(file.process.rules.into_iter().map(|rule| process_rule(rule, places)).collect())?;
        let network = match (file.network, &file.egress) {
            (Some(network), _) => network,
            // What leaves has its own rules; what stays on this machine's loopback is nobody else's business.
            (None, Some(_)) => NetworkSection { default: Action::Allow, dns: Action::Allow, rules: Vec::new() },
            (None, None) => return Err(at((0..0, "missing field `network`, or `egress`".to_owned()))),
        };
        let (network_default, dns) = (network.default, network.dns);
        let network = network.rules.into_iter().map(network_rule).collect::<Result<Vec<_>, _>>().map_err(at)?;
        Ok(Self {
            name: file.name,
            digest: Digest::of(text.as_bytes()),
            text: text.to_owned(),
            source: source.to_owned(),
            hold_timeout: file.hold_timeout,
            limits: limits(file.limits).map_err(at)?,
            files,
            files_default: file.files.default,
            files_write: file.files.write.unwrap_or(file.files.default),
            process,
            process_default: file.process.default,
            network,
            network_default,
            dns,
            also: None,
            egress: file.egress.map(egress).transpose().map_err(at)?,
            trials: file.tests.into_iter().map(|test| test.read(places)).collect::<Result<_, _>>().map_err(at)?,
        })
    }
}

impl PolicyError {
    /// An error at a byte of the text.
    pub(super) fn at(text: &str, source: &str, offset: usize, what: String) -> Self {
        let before = &text.as_bytes()[..offset.min(text.len())];
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let column = String::from_utf8_lossy(&before[line_start..]).chars().count() + 1;
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        Self { file: source.to_owned(), line, column, what }
    }
}

fn reason(reason: Spanned<String>) -> Result<String, Wrong> {
    if reason.as_ref().trim().is_empty() {
        return Err((reason.span(), "a rule needs a reason: expected a sentence for whoever it stops".to_owned()));
    }
    Ok(reason.into_inner())
}

fn file_rule(rule: FileRuleText, places: &Places) -> Result<PathRule, Wrong> {
    let (pattern, matcher) = path_pattern(&rule.r#match, places)?;
    Ok(PathRule { pattern, matcher, arguments: None, on: rule.on, action: rule.action, reason: reason(rule.reason)? })
}

fn process_rule(rule: ProcessRuleText, places: &Places) -> Result<PathRule, Wrong> {
    let (mut pattern, matcher) = path_pattern(&rule.r#match, places)?;
    let arguments = match rule.arguments {
        None => None,
        Some(text) => {
            // Arguments are no path: a star covers slashes too.
            let glob = GlobBuilder::new(text.as_ref()).literal_separator(false).build();
            let matcher = glob
                .map_err(|error| (text.span(), format!("`{}` is not a pattern: {}", text.as_ref(), error.kind())))?
                .compile_matcher();
            pattern = format!("{pattern} {}", text.as_ref());
            Some(matcher)
        }
    };
    Ok(PathRule { pattern, matcher, arguments, on: On::Any, action: rule.action, reason: reason(rule.reason)? })
}

fn path_pattern(text: &Spanned<String>, places: &Places) -> Result<(String, GlobMatcher), Wrong> {
    let (span, text) = (text.span(), text.as_ref());
    let place = |path: &Path| path.to_string_lossy().trim_end_matches('/').to_owned();
    let pattern = match text.strip_prefix('~') {
        Some("") => place(&places.home),
        Some(rest) if rest.starts_with('/') => format!("{}{rest}", place(&places.home)),
        _ => text.replace("${workspace}", &place(&places.workspace)),
    };
    if !(pattern.starts_with('/') || pattern.starts_with("**/")) {
        let what = format!(
            "`{text}` is not a pattern for a whole path: expected it to begin with /, ~/, ${{workspace}}/ or **/"
        );
        return Err((span, what));
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
        .map_err(|error| (span, format!("`{text}` is not a pattern: {}", error.kind())))?
        .compile_matcher();
    Ok((pattern, matcher))
}

fn host_and_port(text: Spanned<String>) -> Result<(String, Host, Option<u16>), Wrong> {
    let span = text.span();
    let text = text.into_inner();
    let (host, port) = split_port(&text).map_err(|what| (span.clone(), what))?;
    let host = Host::parse(host).ok_or_else(|| {
        let what = format!("`{text}` names no host: expected a host, *.host, an address, address/bits, loopback or *");
        (span, what)
    })?;
    Ok((text, host, port))
}

fn egress(section: EgressSection) -> Result<Egress, Wrong> {
    let rules = section.rules.into_iter().map(egress_rule).collect::<Result<_, _>>()?;
    Ok(Egress { default: section.default, rules })
}

fn egress_rule(rule: EgressRuleText) -> Result<Rule, Wrong> {
    let (text, host, port) = host_and_port(rule.r#match)?;
    let at = match rule.at {
        None => None,
        Some(at) => Some(at.as_ref().parse().map_err(|_| {
            let what = format!("`{}` is no address with a port: expected one like 192.0.2.7:443", at.as_ref());
            (at.span(), what)
        })?),
    };
    let methods = match rule.methods {
        None => None,
        Some(methods) if methods.as_ref().is_empty() => {
            let what = "a rule about no method speaks of nothing: expected methods such as GET".to_owned();
            return Err((methods.span(), what));
        }
        Some(methods) => Some(methods.into_inner().iter().map(|method| method.to_ascii_uppercase()).collect()),
    };
    Ok(Rule { text, host, port, methods, at, action: rule.action, reason: reason(rule.reason)? })
}

fn network_rule(rule: NetworkRuleText) -> Result<NetworkRule, Wrong> {
    let (text, host, port) = host_and_port(rule.r#match)?;
    Ok(NetworkRule { host, port, action: rule.action, reason: reason(rule.reason)?, text })
}

fn limits(section: LimitSection) -> Result<Limits, Wrong> {
    let memory = section.memory.map(|text| {
        let wrong = || {
            let what = format!("`{}` is no amount of memory: expected a number with KiB, MiB or GiB", text.as_ref());
            (text.span(), what)
        };
        bytes(text.as_ref()).ok_or_else(wrong)
    });
    let processes = section.processes.map(|count| match *count.as_ref() {
        0 => Err((count.span(), "a session without a process cannot run: expected a number above 0".to_owned())),
        number => Ok(number),
    });
    Ok(Limits { memory_bytes: memory.transpose()?, processes: processes.transpose()?, time: section.time })
}

/// An amount such as `512MiB`.
fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let (number, unit) = [("KiB", 10_u32), ("MiB", 20), ("GiB", 30)]
        .into_iter()
        .find_map(|(word, shift)| Some((text.strip_suffix(word)?, shift)))?;
    let number: u64 = number.trim().parse().ok()?;
    number.checked_mul(1 << unit).filter(|bytes| *bytes > 0)
}

/// The action in words.
pub(super) const fn word(action: Action) -> &'static str {
    match action {
        Action::Allow => "allow",
        Action::Hold => "hold",
        Action::Deny => "deny",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn places() -> Places {
        Places { home: "/home/ada".into(), workspace: "/home/ada/project".into() }
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
