//! Effects that nobody needs to read one by one, counted.

use std::collections::BTreeSet;

/// How many names a folded line gives.
const NAMED: usize = 3;

/// Counts of effects of one kind of origin: a tool call's, or the agent's own.
#[derive(Debug, Default)]
pub(super) struct Fold {
    pub(super) processes: u64,
    pub(super) exits_bad: u64,
    pub(super) connections: u64,
    pub(super) names: u64,
    reads: u64,
    writes: u64,
    others: u64,
    written: BTreeSet<String>,
}

impl Fold {
    /// Takes a touch of a file: what was done, and its path.
    pub(super) fn file(&mut self, operation: &str, path: &str) {
        match operation {
            "read" => self.reads += 1,
            "write" | "create" | "truncate" => {
                self.writes += 1;
                self.written.insert(path.to_owned());
            }
            _ => self.others += 1,
        }
    }

    /// The counts in words; nothing when there is nothing to say.
    pub(super) fn words(&self) -> Option<String> {
        let mut words = Vec::new();
        let mut say = |n: u64, one: &str, many: &str| {
            if n > 0 {
                words.push(format!("{n} {}", if n == 1 { one } else { many }));
            }
        };
        say(self.processes, "more process", "more processes");
        say(self.exits_bad, "process failed", "processes failed");
        say(self.reads, "file read", "files read");
        say(self.writes, "file written", "files written");
        say(self.others, "file changed otherwise", "files changed otherwise");
        say(self.connections, "more connection", "more connections");
        say(self.names, "name resolved", "names resolved");
        if words.is_empty() {
            return None;
        }
        let mut names: Vec<&str> = self.written.iter().take(NAMED).map(String::as_str).collect();
        if self.written.len() > NAMED {
            names.push("…");
        }
        let names = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
        Some(format!("{}{names}", words.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fold_counts_and_names_what_was_written() {
        let mut fold = Fold::default();
        assert_eq!(fold.words(), None);
        fold.file("read", "/a");
        fold.file("read", "/b");
        fold.file("write", "/c");
        fold.processes = 1;
        assert_eq!(fold.words().as_deref(), Some("1 more process, 2 files read, 1 file written (/c)"));
    }
}
