//! Lays the two testimonies side by side. What differs must be explained here, and every explanation must be needed.

use crate::act::{Act, Tally, Testimony};
use regex::Regex;
use std::collections::BTreeSet;

/// A part of a path or address that two runs of the same work never share.
///
/// What to look for, what to write instead, why it differs.
const CHANCE: &[(&str, &str, &str)] = &[
    (r"/\.git/t[A-Za-z0-9]{6}$", "/.git/t<random>", "git tries symbolic links on a file with a random name"),
    (
        r"/crate/target[A-Za-z0-9]{6}(/|$)",
        "/crate/target<random>$1",
        "cargo makes its target folder under a random name",
    ),
    (r"/(rmeta|rustc)[A-Za-z0-9]{6}(/|$)", "/$1<random>$2", "rustc's temporary folders have random names"),
    (r"\.tmp[0-9a-f]{7}$", ".tmp<random>", "the linker writes under a random name first"),
    (r"/tmp/cc[A-Za-z0-9]{6}\.", "/tmp/cc<random>.", "the compiler driver's temporary files have random names"),
    (r"\.pyc\.[0-9]+$", ".pyc.<random>", "Python writes compiled modules under a random name first"),
    (r"127\.0\.0\.1:(0|[3-6][0-9]{4})$", "127.0.0.1:<free>", "the kernel chooses a free port"),
];

/// How the two witnesses may differ about an act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Differs {
    /// Only the shim's records have it.
    OnlyRecorded,
    /// Only strace has it.
    OnlyTraced,
    /// Both have it, not equally often.
    InNumber,
}

/// A difference that is as it should be.
struct Allowed {
    how: Differs,
    /// A pattern in the text `image operation object`.
    act: &'static str,
    reason: &'static str,
}

const ALLOWED: &[Allowed] = &[
    Allowed {
        how: Differs::OnlyRecorded,
        act: r"python[0-9.]* LISTEN unix tmp/door$",
        reason: "the kernel names a listening socket by the text of its bind, here a relative path; the bind itself is recorded absolute",
    },
    Allowed {
        how: Differs::OnlyTraced,
        act: r"python[0-9.]* LISTEN unix /.*/tmp/door$",
        reason: "the other side of the one above: the trace is read with the folder that the bind was made in",
    },
];

/// A difference that was found.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Difference(pub(crate) String);

/// Compares, and remembers which explanations were needed.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    needed: BTreeSet<&'static str>,
}

impl Comparison {
    /// Puts a fixed text in place of what is up to chance.
    pub(crate) fn normal(&mut self, seen: Testimony) -> Testimony {
        let rules: Vec<_> = CHANCE.iter().map(|(find, put, _)| (Regex::new(find).unwrap(), *put, *find)).collect();
        let mut out = Testimony::default();
        for (act, tally) in seen.0 {
            let mut settle = |text: &str| {
                let mut text = text.to_owned();
                for (find, put, name) in &rules {
                    if find.is_match(&text) {
                        self.needed.insert(name);
                        text = find.replace_all(&text, *put).into_owned();
                    }
                }
                text
            };
            let act = Act { object: settle(&act.object), target: act.target.as_deref().map(&mut settle), ..act };
            let entry: &mut Tally = out.0.entry(act).or_default();
            entry.total += tally.total;
            for (result, count) in tally.results {
                *entry.results.entry(result).or_default() += count;
            }
        }
        out
    }

    /// The differences that nothing explains.
    pub(crate) fn unexplained(&mut self, recorded: &Testimony, traced: &Testimony) -> Vec<Difference> {
        let mut found = Vec::new();
        let acts: BTreeSet<&Act> = recorded.0.keys().chain(traced.0.keys()).collect();
        for act in acts {
            let (ours, theirs) = (recorded.0.get(act), traced.0.get(act));
            let number = |tally: Option<&Tally>| tally.map_or(0, |tally| tally.total);
            let how = match (ours, theirs) {
                (Some(_), None) => Differs::OnlyRecorded,
                (None, _) => Differs::OnlyTraced,
                (Some(a), Some(b)) if a.total != b.total => Differs::InNumber,
                (Some(a), Some(b)) => {
                    // A result that the shim claims to know must be one that the kernel gave.
                    let claims =
                        a.results.iter().filter(|(result, count)| b.results.get(*result).unwrap_or(&0) < *count);
                    found.extend(claims.map(|(result, count)| {
                        Difference(format!(
                            "{act}: recorded {count} times with result {result}, traced {:?}",
                            b.results
                        ))
                    }));
                    continue;
                }
            };
            if !self.is_allowed(how, act) {
                found.push(Difference(format!(
                    "{act}: recorded {} times, traced {} times",
                    number(ours),
                    number(theirs)
                )));
            }
        }
        found
    }

    fn is_allowed(&mut self, how: Differs, act: &Act) -> bool {
        let text = act.to_string();
        let allowed =
            ALLOWED.iter().find(|allowed| allowed.how == how && Regex::new(allowed.act).unwrap().is_match(&text));
        if let Some(allowed) = allowed {
            assert!(!allowed.reason.is_empty(), "an explanation without a reason: {}", allowed.act);
            self.needed.insert(allowed.act);
        }
        allowed.is_some()
    }

    /// Explanations that explained nothing.
    pub(crate) fn unneeded(&self) -> Vec<&'static str> {
        let all = CHANCE.iter().map(|(find, ..)| *find).chain(ALLOWED.iter().map(|allowed| allowed.act));
        all.filter(|explanation| !self.needed.contains(explanation)).collect()
    }
}
