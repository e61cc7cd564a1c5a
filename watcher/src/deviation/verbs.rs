//! Classes of actions: what a tool or a program does, and which words in a task imply it.

use crate::text::{stem, words};
use std::collections::BTreeSet;
use std::sync::LazyLock;

struct Class {
    name: &'static str,
    tools: BTreeSet<String>,
    programs: BTreeSet<&'static str>,
    tasks: BTreeSet<String>,
}

static CLASSES: LazyLock<Vec<Class>> = LazyLock::new(|| {
    let stems = |column: &str| column.split_whitespace().map(stem).collect();
    include_str!("../../data/verbs.txt")
        .lines()
        .filter(|l| !l.starts_with('#') && !l.trim().is_empty())
        .map(|line| {
            let mut columns = line.split('|').map(str::trim);
            let mut next = || columns.next().unwrap_or_default();
            let (name, tools, programs, tasks) = (next(), next(), next(), next());
            Class { name, tools: stems(tools), programs: programs.split_whitespace().collect(), tasks: stems(tasks) }
        })
        .collect()
});

/// What an action does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Deed {
    /// Names of its classes; empty when it is not known or only looks.
    pub(super) classes: Vec<&'static str>,
    /// The words of the tool's name beside its verb.
    pub(super) objects: BTreeSet<String>,
}

impl Deed {
    /// Whether a task that uses these stems implies it: by a word of one of its classes, or by what it acts on.
    #[must_use]
    pub(super) fn is_implied_by(&self, task: &BTreeSet<String>) -> bool {
        let verb = CLASSES.iter().filter(|c| self.classes.contains(&c.name)).any(|c| !c.tasks.is_disjoint(task));
        verb || !self.objects.is_disjoint(task)
    }
}

/// What a tool of that name does; `None` when it only looks or its name says nothing.
#[must_use]
pub(super) fn of_tool(name: &str) -> Option<Deed> {
    // `mcp__server__send_mail`: what stands before the last mark names the server.
    let name = name.rsplit("__").next().unwrap_or(name);
    let parts: Vec<String> = words(name).iter().map(|w| stem(w)).collect();
    let verb = parts.first()?;
    let does = |c: &&Class| c.name != "look" && parts.iter().any(|p| c.tools.contains(p));
    let classes: Vec<&'static str> = CLASSES.iter().filter(does).map(|c| c.name).collect();
    if CLASSES.iter().any(|c| c.name == "look" && c.tools.contains(verb)) || classes.is_empty() {
        return None;
    }
    Some(Deed { classes, objects: parts.into_iter().skip(1).collect() })
}

/// What a shell command does, over all programs in it; `None` when none of them has a side effect that is known.
#[must_use]
pub(super) fn of_command(command: &str) -> Option<Deed> {
    let mut classes: Vec<&'static str> = Vec::new();
    for part in command.split(['|', ';', '&', '\n']) {
        let mut tokens = part.split_whitespace().filter(|t| !t.contains('=') && *t != "sudo" && *t != "env");
        let Some(program) = tokens.next().map(|p| p.rsplit('/').next().unwrap_or(p)) else { continue };
        let rest = part.to_lowercase();
        classes.extend(CLASSES.iter().filter(|c| c.programs.contains(program)).map(|c| c.name));
        let uploads =
            [" -d ", " --data", " -f ", " --form", " -t ", " --upload-file", " -x post", " -x put", "--post-"];
        let says = |words: &[&str]| words.iter().any(|w| rest.contains(w));
        match program {
            "curl" | "wget" if says(&uploads) => classes.push("send"),
            "git" if says(&[" push"]) => classes.push("send"),
            "npm" | "pnpm" | "yarn" | "cargo" | "twine" | "gem" if says(&[" publish", " upload", "gem push"]) => {
                classes.push("send")
            }
            _ => {}
        }
    }
    classes.sort_unstable();
    classes.dedup();
    (!classes.is_empty()).then(|| Deed { classes, objects: BTreeSet::new() })
}

/// Whether the task hands over: it says that what to do stands in something that is to be read.
#[must_use]
pub(super) fn hands_over(task: &BTreeSet<String>) -> bool {
    let has = |all: &[&str]| all.iter().any(|w| task.contains(&stem(w)));
    has(&["instructions", "todo", "todos", "accordingly", "checklist", "runbook"])
        || (has(&["actions", "tasks", "steps"])
            && has(&["specified", "described", "listed", "mentioned", "file", "email", "issue", "ticket", "document"]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::stems;

    #[test]
    fn looking_is_no_deed() {
        for tool in ["get_balance", "readFile", "list_files", "mcp__mail__search_emails", "Grep", "WebFetch"] {
            assert_eq!(of_tool(tool), None, "{tool}");
        }
        for command in ["ls -la", "cat a | grep b", "cargo test", "find . -name x", "curl https://e.org"] {
            assert_eq!(of_command(command), None, "{command}");
        }
    }

    #[test]
    fn a_task_implies_what_it_asks_for_in_other_words() {
        let task = stems("Please pay the bill 'december.txt' for me");
        assert!(of_tool("send_money").unwrap().is_implied_by(&task));
        assert!(!of_tool("delete_file").unwrap().is_implied_by(&stems("Who is invited on May 26th?")));
        assert!(of_command("rm -rf build").unwrap().is_implied_by(&stems("clean the build folder")));
        assert!(!of_command("git push origin main").unwrap().is_implied_by(&stems("fix the typo in README.md")));
    }

    #[test]
    fn a_task_that_points_elsewhere_hands_over() {
        assert!(hands_over(&stems("Read notes.txt and follow the instructions precisely")));
        assert!(hands_over(&stems("do the actions specified in the email from bob")));
        assert!(!hands_over(&stems("summarise the email from bob")));
    }
}
