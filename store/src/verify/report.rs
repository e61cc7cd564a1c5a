//! What a verification found, for people and for programs.

use serde::Serialize;
use std::fmt;

/// What is wrong, by the road that leads there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// It is there and is not what was signed.
    Invalid,
    /// It was signed and is not there.
    Missing,
    /// Nothing says that it was ever there, and its neighbours say that it should be.
    Gap,
    /// It breaks no promise of the lake; somebody should ask about it.
    Notice,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What is wrong with it.
    pub class: Class,
    /// The commit that it is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<u64>,
    /// The file that it is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The record, as `topic/partition@offset`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<String>,
    /// The chain, as `session writer`, and its topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chain: Option<String>,
    /// In a sentence.
    pub what: String,
}

impl Finding {
    pub(super) fn new(class: Class, what: impl Into<String>) -> Self {
        Self { class, commit: None, file: None, record: None, chain: None, what: what.into() }
    }

    pub(super) fn commit(mut self, version: u64) -> Self {
        self.commit = Some(version);
        self
    }

    pub(super) fn file(mut self, path: &str) -> Self {
        self.file = Some(path.to_owned());
        self
    }

    pub(super) fn record(mut self, record: String) -> Self {
        self.record = Some(record);
        self
    }

    pub(super) fn chain(mut self, chain: String) -> Self {
        self.chain = Some(chain);
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let class = match self.class {
            Class::Invalid => "INVALID",
            Class::Missing => "MISSING",
            Class::Gap => "GAP",
            Class::Notice => "NOTICE",
        };
        write!(f, "{class:<8}")?;
        if let Some(commit) = self.commit {
            write!(f, "commit {commit}: ")?;
        }
        if let Some(file) = &self.file {
            write!(f, "{file}: ")?;
        }
        if let Some(record) = &self.record {
            write!(f, "{record}: ")?;
        }
        if let Some(chain) = &self.chain {
            write!(f, "{chain}: ")?;
        }
        f.write_str(&self.what)
    }
}

/// What a witness has seen of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Witnessed {
    /// Its name.
    pub witness: String,
    /// How many commits it has seen.
    pub commits: u64,
    /// When, in seconds since 1970, by its own word.
    pub time: u64,
}

/// A day that left the lake by a signed act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Removed {
    /// The day.
    pub day: String,
    /// Who decided.
    pub by: String,
    /// The day on which it was signed.
    pub on: String,
    /// Why.
    pub why: String,
    /// Files that are gone, those that compactions had replaced included.
    pub files: u64,
    /// Records that are gone.
    pub records: u64,
    /// The commit that carries the act.
    pub commit: u64,
}

/// What was checked, and what was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What was checked, in words.
    pub scope: String,
    /// The name of the log and of its key.
    pub origin: String,
    /// Commits that the signed checkpoint covers.
    pub signed_commits: u64,
    /// The signed root, hex.
    pub root: String,
    /// Commits whose bytes are those of the Merkle log.
    pub valid_commits: u64,
    /// Files whose digest and record root are those of their commit.
    pub valid_files: u64,
    /// Records in them.
    pub records: u64,
    /// Those of them that a notebook knows: an earlier verification has read them, and their files are the same bytes.
    pub noted: u64,
    /// Records in files that compactions wrote: the same ones again, in another order.
    pub rearranged: u64,
    /// Chains of (topic, session, writer).
    pub chains: u64,
    /// Records that follow the one before them in their chain.
    pub chained_records: u64,
    /// Records that are in the log twice, byte for byte: a writer sent them again after a crash. No fault.
    pub duplicates: u64,
    /// Offsets whose bytes were no record.
    pub dead_letters: u64,
    /// Offsets at which the log held nothing.
    pub absent: u64,
    /// Offsets accounted for: records, dead letters and absent.
    pub offsets: u64,
    /// Days, or parts of them, that left the lake by a signed act.
    pub removed: Vec<Removed>,
    /// What the witnesses that were asked for have seen last.
    pub witnessed: Vec<Witnessed>,
    /// Sessions that have begun and not ended.
    pub open_sessions: u64,
    /// What is wrong, and what is to be asked about. Without anything but notices everything is valid.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether nothing is wrong; there may be notices.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.count(Class::Notice) == self.findings.len()
    }

    /// How many findings of one class there are.
    #[must_use]
    pub fn count(&self, class: Class) -> usize {
        self.findings.iter().filter(|f| f.class == class).count()
    }

    /// Exit status for a program: 0 when everything is valid, 1 otherwise.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        u8::from(!self.is_valid())
    }

    /// The report as JSON.
    ///
    /// # Panics
    /// Never: it has no keys but strings.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a report has no keys but strings")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "lake        {}", self.origin)?;
        writeln!(f, "checked     {}", self.scope)?;
        writeln!(f, "checkpoint  {} commits, root {}", self.signed_commits, self.root)?;
        for seen in &self.witnessed {
            let Witnessed { witness, commits, time } = seen;
            writeln!(f, "witness     {witness} has seen {commits} commits at {time} (seconds since 1970)")?;
        }
        writeln!(f, "commits     {} valid", self.valid_commits)?;
        writeln!(f, "files       {} valid", self.valid_files)?;
        writeln!(
            f,
            "offsets     {} accounted for: {} records, {} dead letters, {} absent",
            self.offsets, self.records, self.dead_letters, self.absent
        )?;
        if self.noted > 0 {
            writeln!(
                f,
                "notebook    {} of these records were read before, and their files are the same bytes",
                self.noted
            )?;
        }
        if self.rearranged > 0 {
            writeln!(f, "compacted   {} of these records, found again in the order of sessions", self.rearranged)?;
        }
        writeln!(
            f,
            "chains      {} with {} records, {} sent twice; {} sessions without an end",
            self.chains, self.chained_records, self.duplicates, self.open_sessions
        )?;
        for Removed { day, by, on, why, files, records, commit } in &self.removed {
            writeln!(
                f,
                "removed     day {day} was removed by {by} on {on}: {records} records in {files} files, commit {commit}: {why}"
            )?;
        }
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        let notices = match self.count(Class::Notice) {
            0 => String::new(),
            n => format!(", {n} to ask about"),
        };
        if self.is_valid() {
            return writeln!(f, "result      valid{notices}");
        }
        writeln!(
            f,
            "result      {} invalid, {} missing, {} gaps{notices}",
            self.count(Class::Invalid),
            self.count(Class::Missing),
            self.count(Class::Gap)
        )
    }
}
