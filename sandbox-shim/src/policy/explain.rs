//! Questions that a person asks a policy: what would become of this, and does it still say what its own tests say.

use super::parse::word;
use super::{Action, Destination, Places, Policy, Verdict};
use serde::Deserialize;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use toml::Spanned;

/// Something that an agent might do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// Open a file for reading.
    Read(PathBuf),
    /// Write, make, rename or remove a file.
    Write(PathBuf),
    /// Execute a program with these arguments, of which the first is its path.
    Run(Vec<String>),
    /// Connect to a host, by name or address.
    Connect(String, u16),
}

impl Asked {
    /// Reads a question: `read`, `write`, `run` or `connect`, and what. `~` and `${workspace}` are put in.
    ///
    /// # Errors
    /// A sentence that says what was expected.
    pub fn parse(verb: &str, object: &str, places: &Places) -> Result<Self, String> {
        let path = || {
            let home = places.home.to_string_lossy();
            let given = object.strip_prefix("~/").map_or_else(|| object.to_owned(), |rest| format!("{home}/{rest}"));
            let given = given.replace("${workspace}", &places.workspace.to_string_lossy());
            // What is not absolute is meant from the workspace, where an agent starts.
            places.workspace.join(given)
        };
        match verb {
            "read" => Ok(Self::Read(path())),
            "write" => Ok(Self::Write(path())),
            "run" => {
                let words: Vec<String> = object.split_whitespace().map(str::to_owned).collect();
                match words.first() {
                    Some(program) if program.starts_with('/') => Ok(Self::Run(words)),
                    _ => Err(format!("`{object}` names no program: expected its whole path and its arguments")),
                }
            }
            "connect" => {
                let (host, port) = super::network::split_port(object)?;
                port.map(|port| Self::Connect(host.to_owned(), port))
                    .ok_or_else(|| format!("`{object}` names no port: expected host:port"))
            }
            other => Err(format!("`{other}` is nothing an agent does: expected read, write, run or connect")),
        }
    }
}

impl Policy {
    /// What would become of it.
    #[must_use]
    pub fn ask(&self, asked: &Asked) -> Verdict {
        match asked {
            Asked::Read(path) => self.file([path.as_path()], false),
            Asked::Write(path) => self.file([path.as_path()], true),
            Asked::Run(words) => {
                let program = words.first().map_or("", String::as_str);
                self.program([Path::new(program)], words)
            }
            Asked::Connect(host, port) => match host.parse::<IpAddr>() {
                Ok(address) => self.address(address, *port, &[]),
                Err(_) => self.host(host, *port),
            },
        }
    }

    /// Decides about a host that is known by its name alone.
    #[must_use]
    pub fn host(&self, name: &str, port: u16) -> Verdict {
        if name.eq_ignore_ascii_case("localhost") {
            return self.address(Ipv4Addr::LOCALHOST.into(), port, &[]);
        }
        if let Some(verdict) = self.leaving(&Destination::parse(name), port, None) {
            return verdict;
        }
        // No rule about addresses speaks of this one, but for those that speak of all.
        self.address(Ipv4Addr::UNSPECIFIED.into(), port, &[name.trim_end_matches('.').to_owned()])
    }

    /// The tests that stand in the policy itself, each with what came of it.
    #[must_use]
    pub fn run_tests(&self) -> Vec<(&Trial, Verdict)> {
        self.trials.iter().map(|trial| (trial, self.ask(&trial.asked))).collect()
    }
}

/// A test that stands in a policy: `[[tests]]`, with one of `read`, `write`, `run`, `connect`, and `expect`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// What is asked, as it stands in the file.
    pub text: String,
    /// What is asked.
    pub asked: Asked,
    /// What must come of it.
    pub expect: Action,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TrialText {
    read: Option<Spanned<String>>,
    write: Option<Spanned<String>>,
    run: Option<Spanned<String>>,
    connect: Option<Spanned<String>>,
    expect: Spanned<Action>,
}

impl TrialText {
    pub(super) fn read(self, places: &Places) -> Result<Trial, (std::ops::Range<usize>, String)> {
        let given = [("read", self.read), ("write", self.write), ("run", self.run), ("connect", self.connect)];
        let mut given = given.into_iter().filter_map(|(verb, object)| Some((verb, object?)));
        let (Some((verb, object)), None) = (given.next(), given.next()) else {
            let what = "a test asks one thing: expected exactly one of read, write, run, connect".to_owned();
            return Err((self.expect.span(), what));
        };
        let asked = Asked::parse(verb, object.as_ref(), places).map_err(|what| (object.span(), what))?;
        Ok(Trial { text: format!("{verb} {}", object.as_ref()), asked, expect: self.expect.into_inner() })
    }
}

impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(word(*self))
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, by {}", self.action, self.reason.as_deref().unwrap_or("the default"))
    }
}

impl std::fmt::Display for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "policy `{}`: files {} (writing {}), {} rules; processes {}, {} rules; network {}, {} rules; egress {}; {} tests",
            self.name,
            self.files_default,
            self.files_write,
            self.files.len(),
            self.process_default,
            self.process.len(),
            self.network_default,
            self.network.len(),
            self.egress
                .as_ref()
                .map_or_else(|| "as network".to_owned(), |e| format!("{}, {} rules", e.default, e.rules.len())),
            self.trials.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::PRESETS;
    use super::*;

    #[test]
    fn the_presets_say_what_their_own_tests_expect() {
        let places = Places { home: "/home/ada".into(), workspace: "/home/ada/project".into() };
        let mut asked = 0;
        for (name, _) in PRESETS {
            for (trial, verdict) in Policy::preset(name, &places).unwrap().run_tests() {
                assert_eq!(verdict.action, trial.expect, "{name}: {}: {verdict}", trial.text);
                asked += 1;
            }
        }
        assert!(asked >= 20);
    }

    #[test]
    fn a_question_is_read_and_answered_with_its_rule() {
        let places = Places { home: "/home/ada".into(), workspace: "/home/ada/project".into() };
        let policy = Policy::preset("workspace+network", &places).unwrap();
        let ask = |verb: &str, object: &str| policy.ask(&Asked::parse(verb, object, &places).unwrap()).to_string();
        assert_eq!(ask("read", "~/.ssh/id_rsa"), "hold, by /home/ada/.ssh/**: keys for other machines");
        assert_eq!(ask("write", "src/main.rs"), "allow, by /home/ada/project/**: the work itself");
        assert_eq!(ask("run", "/usr/bin/git push"), "hold, by **/git push*: what was written leaves this machine");
        assert_eq!(ask("connect", "example.com:443"), "allow, by the default");
        let wrong = |verb: &str, object: &str| Asked::parse(verb, object, &places).unwrap_err();
        assert_eq!(wrong("fly", "away"), "`fly` is nothing an agent does: expected read, write, run or connect");
        assert_eq!(wrong("connect", "example.com"), "`example.com` names no port: expected host:port");
        assert!(wrong("run", "git push").contains("expected its whole path"));
    }

    #[test]
    fn a_test_that_asks_two_things_is_named_with_its_place() {
        let text = "name = \"t\"\n[network]\ndefault = \"allow\"\n[[tests]]\nread = \"/a\"\nwrite = \"/b\"\nexpect = \"deny\"\n";
        let places = Places { home: "/h".into(), workspace: "/w".into() };
        let error = Policy::parse(text, "p.toml", &places).unwrap_err().to_string();
        assert_eq!(error, "p.toml:7:10: a test asks one thing: expected exactly one of read, write, run, connect");
    }
}
