//! What both witnesses are compared by: a program did something to an object, so many times, with these results.

use std::collections::BTreeMap;

/// One thing that a program did.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Act {
    /// The program that did it; empty for the first exec, whose caller is the witness itself.
    pub(crate) image: String,
    /// The record's word for it: `EXECUTE`, `READ`, `CONNECT`, ….
    pub(crate) operation: String,
    /// The absolute path, or the address.
    pub(crate) object: String,
    /// The second path of rename, link and symlink.
    pub(crate) target: Option<String>,
}

impl std::fmt::Display for Act {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.image, self.operation, self.object)?;
        self.target.iter().try_for_each(|target| write!(f, " -> {target}"))
    }
}

/// How often, and with which results as far as the witness knows them: 0 for success, else the number of the error.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// How often in all.
    pub(crate) total: i64,
    /// How often with each known result.
    pub(crate) results: BTreeMap<i64, i64>,
}

/// Everything that a witness saw of one run.
#[derive(Debug, Default)]
pub(crate) struct Testimony(pub(crate) BTreeMap<Act, Tally>);

impl Testimony {
    /// Adds `count` occurrences; `result` is `None` when the witness did not see what came of it.
    pub(crate) fn add(&mut self, act: Act, result: Option<i64>, count: i64) {
        let tally = self.0.entry(act).or_default();
        tally.total += count;
        if let Some(result) = result {
            *tally.results.entry(result).or_default() += count;
        }
    }

    /// How many occurrences in all.
    pub(crate) fn total(&self) -> i64 {
        self.0.values().map(|tally| tally.total).sum()
    }
}

/// Makes a path absolute and takes the dots out by their text; links stay.
pub(crate) fn absolute(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let start = if path.starts_with('/') { "" } else { folder };
    for part in start.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    format!("/{}", parts.join("/"))
}
