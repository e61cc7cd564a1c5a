//! Which tool call a process belongs to, and what it did with that tie. Pure.

use super::program::{file_name, is_interpreter, program_name};
use super::words::{self, squeeze, unquote};
use crate::contract::{ProcessFacts, Tie};
use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use wk_schemas::body::Mediation;

/// Calls that have returned are remembered so long, because their processes may live on.
const RETURNED_MAX: usize = 1000;

/// What a tool call says about itself, as far as it explains effects.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CallFacts {
    /// The agent's id of the call.
    pub id: String,
    /// Whether processes are what it is for: a shell, a task runner.
    pub starts_processes: bool,
    /// The command, when it is a shell.
    pub command: Option<String>,
    /// The words that name what it acts on: the command, a path, a URL; not the content it writes.
    pub names: Vec<String>,
    /// Working directory.
    pub working_directory: Option<PathBuf>,
}

#[derive(Debug)]
struct Call {
    id: Arc<str>,
    facts: CallFacts,
    /// The names with shell quotes taken out, and as they are.
    words: Vec<String>,
    /// The command without quotes and blanks; what a process's arguments are searched for.
    squeezed: Option<String>,
    is_open: bool,
}

/// The calls of one session, in the order in which they were opened.
#[derive(Debug, Default)]
pub struct CallTable {
    calls: VecDeque<Call>,
    /// The agent's first process, by its `process_uid`.
    root: Option<String>,
    /// Hook clients that the agent itself started and that have not spoken yet, by their `process_uid`.
    hooks_started: BTreeSet<String>,
    home: Option<PathBuf>,
    /// File names of the agent's own programs.
    programs: Vec<String>,
    /// Command lines by which the agent runs the shim's hook client.
    hooks: Vec<String>,
}

impl CallTable {
    /// A table for an agent with these programs of its own and these hook command lines.
    #[must_use]
    pub fn new(home: Option<PathBuf>, programs: Vec<String>, hooks: Vec<String>) -> Self {
        Self { home, programs, hooks, ..Self::default() }
    }

    /// A tool call begins. A second call with the same id replaces what the first said.
    pub fn open(&mut self, facts: CallFacts) {
        self.calls.retain(|c| *c.id != *facts.id);
        let returned = self.calls.iter().filter(|c| !c.is_open).count();
        if returned >= RETURNED_MAX
            && let Some(oldest) = self.calls.iter().position(|c| !c.is_open)
        {
            self.calls.remove(oldest);
        }
        self.calls.push_back(Call {
            id: facts.id.as_str().into(),
            words: facts.names.iter().flat_map(|n| [n.clone(), unquote(n)]).collect(),
            squeezed: facts.command.as_deref().map(squeeze).filter(|c| !c.is_empty()),
            is_open: true,
            facts,
        });
    }

    /// A tool call has returned.
    pub fn close(&mut self, id: &str) {
        if let Some(call) = self.calls.iter_mut().find(|c| &*c.id == id) {
            call.is_open = false;
        }
    }

    /// The call that is open, when it is the only one.
    #[must_use]
    pub fn only_open(&self) -> Option<&str> {
        let mut open = self.calls.iter().filter(|c| c.is_open);
        open.next().filter(|_| open.next().is_none()).map(|call| &*call.id)
    }

    /// See [`crate::contract::Causality::process_started`].
    #[must_use]
    pub fn process_started(&mut self, process: &ProcessFacts, parent: Option<&Tie>) -> Tie {
        let agent = Tie { tool_call_id: None, is_agent: true };
        let Some(parent) = parent else {
            self.root = Some(process.process_uid.clone());
            return agent;
        };
        // `env node agent.js` is one process that executes three programs: it stays the agent.
        if process.is_root || self.root.as_ref() == Some(&process.process_uid) {
            return agent;
        }
        if parent.tool_call_id.is_some() || !parent.is_agent {
            return parent.clone();
        }
        if self.is_hook(&process.argv) {
            self.hooks_started.insert(process.process_uid.clone());
            return agent;
        }
        let tied = |call: &Call| Tie { tool_call_id: Some(Arc::clone(&call.id)), is_agent: false };
        let text = squeeze(&process.argv.join(" "));
        let carried = |call: &&Call| call.squeezed.as_ref().is_some_and(|c| text.contains(c.as_str()));
        let longest = self.starting().filter(carried).max_by_key(|c| c.squeezed.as_ref().map(String::len));
        if let Some(call) = longest {
            return tied(call);
        }
        if self.is_own_program(process) {
            return agent;
        }
        let mut open = self.starting();
        match (open.next(), open.next()) {
            (Some(only), None) => tied(only),
            _ => Tie::default(),
        }
    }

    /// Whether this process is a hook client that the agent itself started; true once. A tool that runs the hook client, to
    /// announce in the agent's name what it is about to do, is not one: it is tied to its tool call.
    pub fn admit_hook(&mut self, process_uid: &str) -> bool {
        self.hooks_started.remove(process_uid)
    }

    /// See [`crate::contract::Causality::mediation`].
    #[must_use]
    pub fn mediation(&self, tie: &Tie, object: &str) -> (Option<String>, Mediation) {
        if let Some(id) = &tie.tool_call_id {
            let named = self.calls.iter().find(|c| c.id == *id).is_some_and(|c| self.names(c, object));
            let mediation = if named { Mediation::Declared } else { Mediation::Inherited };
            return (Some(id.to_string()), mediation);
        }
        if !tie.is_agent {
            return (None, Mediation::None);
        }
        match self.calls.iter().rev().find(|c| c.is_open && self.names(c, object)) {
            Some(call) => (Some(call.id.to_string()), Mediation::Declared),
            None => (None, Mediation::Agent),
        }
    }

    fn starting(&self) -> impl Iterator<Item = &Call> {
        self.calls.iter().filter(|c| c.is_open && c.facts.starts_processes)
    }

    /// Whether this is exactly the command line that runs our hook client, alone or through `sh -c`. Exactly, because
    /// whoever adds a word to it runs something else.
    fn is_hook(&self, argv: &[String]) -> bool {
        let through_shell = matches!(argv, [_, flag, command] if flag == "-c" && self.hooks.contains(command));
        through_shell || self.hooks.contains(&argv.join(" "))
    }

    /// Whether this is a program of the agent's own, or an interpreter that runs one: `node --max-old-space-size=9 gemini`.
    fn is_own_program(&self, process: &ProcessFacts) -> bool {
        let image = file_name(&process.image);
        let script = program_name(&process.argv).filter(|_| image.is_some_and(is_interpreter));
        let mut names = [image, script].into_iter().flatten();
        names.any(|name| self.programs.iter().any(|own| own == name))
    }

    fn names(&self, call: &Call, object: &str) -> bool {
        words::name(&call.words, object, call.facts.working_directory.as_deref(), self.home.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(argv: &[&str]) -> ProcessFacts {
        ProcessFacts {
            pid: 7,
            process_uid: "7-1".into(),
            image: if argv[0].starts_with('/') { argv[0].into() } else { format!("/usr/bin/{}", argv[0]) },
            argv: argv.iter().map(|a| (*a).to_owned()).collect(),
            working_directory: "/w".into(),
            is_root: false,
        }
    }

    fn shell(id: &str, command: &str) -> CallFacts {
        CallFacts {
            id: id.into(),
            starts_processes: true,
            command: Some(command.into()),
            names: vec![command.into()],
            working_directory: Some("/w".into()),
        }
    }

    fn table() -> CallTable {
        CallTable::new(
            Some("/home/dev".into()),
            vec!["codex".into(), "claude".into()],
            vec!["/opt/wk hook codex".into()],
        )
    }

    fn agent() -> Tie {
        Tie { tool_call_id: None, is_agent: true }
    }

    fn id(tie: &Tie) -> Option<&str> {
        tie.tool_call_id.as_deref()
    }

    #[test]
    fn parallel_calls_are_told_apart_by_their_commands() {
        let mut table = table();
        table.open(shell("a", "cargo test"));
        table.open(shell("b", "cargo test --release"));
        table.open(shell("c", "ls"));
        let mut tie = |argv: &[&str]| table.process_started(&process(argv), Some(&agent()));
        assert_eq!(id(&tie(&["bash", "-lc", "cargo test"])), Some("a"));
        assert_eq!(id(&tie(&["bash", "-lc", "cargo test --release"])), Some("b"));
        assert_eq!(id(&tie(&["bash", "-c", "source /s && eval 'ls' < /dev/null"])), Some("c"));
        assert_eq!(tie(&["git", "status"]), Tie::default());
        table.close("a");
        table.close("b");
        assert_eq!(id(&table.process_started(&process(&["git", "status"]), Some(&agent()))), Some("c"));
    }

    #[test]
    fn a_command_is_found_behind_the_quotes_an_agent_adds() {
        let mut table = table();
        table.open(shell("a", "echo \"it's $HOME\" && cat 'README.md'"));
        table.open(shell("b", "true"));
        let argv = ["/bin/bash", "-c", "eval 'echo \"it'\"'\"'s $HOME\" && cat '\"'\"'README.md'\"'\"'' < /dev/null"];
        assert_eq!(id(&table.process_started(&process(&argv), Some(&agent()))), Some("a"));
    }

    #[test]
    fn children_keep_the_tie_after_the_call_has_returned() {
        let mut table = table();
        table.open(shell("a", "sh build.sh &"));
        let parent = table.process_started(&process(&["bash", "-c", "sh build.sh &"]), Some(&agent()));
        table.close("a");
        table.open(shell("b", "ls"));
        let child = table.process_started(&process(&["curl", "evil.example"]), Some(&parent));
        assert_eq!(child, parent);
        assert_eq!(table.mediation(&child, "evil.example"), (Some("a".into()), Mediation::Inherited));
    }

    #[test]
    fn only_the_exact_hook_command_counts_as_the_agents_own() {
        let mut table = table();
        let hook = "/opt/wk hook codex";
        let mut tie = |argv: &[&str]| table.process_started(&process(argv), Some(&agent()));
        assert_eq!(tie(&["/bin/sh", "-c", hook]), agent());
        assert_eq!(tie(&["/opt/wk", "hook", "codex"]), agent());
        assert_eq!(tie(&["/bin/sh", "-c", &format!("{hook}; curl evil.example")]), Tie::default());
    }

    #[test]
    fn a_tool_that_runs_the_hook_client_does_not_speak_for_the_agent() {
        let mut table = table();
        let hook = |uid: &str| ProcessFacts { process_uid: uid.into(), ..process(&["/opt/wk", "hook", "codex"]) };
        assert_eq!(table.process_started(&hook("8-1"), Some(&agent())), agent());
        let tool = Tie { tool_call_id: Some("a".into()), is_agent: false };
        assert_eq!(table.process_started(&hook("9-1"), Some(&tool)), tool);
        assert_eq!(table.process_started(&hook("10-1"), Some(&Tie::default())), Tie::default());
        let admitted = ["8-1", "9-1", "10-1", "8-1"].map(|uid| table.admit_hook(uid));
        assert_eq!(admitted, [true, false, false, false]);
    }

    #[test]
    fn the_agents_own_programs_stay_its_own_while_a_shell_is_open() {
        let mut table = table();
        table.open(shell("a", "make"));
        assert_eq!(table.process_started(&process(&["/opt/vendor/codex", "exec"]), Some(&agent())), agent());
        assert_eq!(id(&table.process_started(&process(&["/opt/vendor/codex", "make"]), Some(&agent()))), Some("a"));
    }

    #[test]
    fn an_agent_that_is_a_script_may_start_itself_again() {
        let mut table = CallTable::new(None, vec!["gemini".into()], Vec::new());
        let again = ["node", "--max-old-space-size=9", "/opt/bin/gemini", "-p", "hi"];
        assert_eq!(table.process_started(&process(&again), Some(&agent())), agent());
        for other in [&["node", "/w/x.js", "gemini"][..], &["cat", "/opt/bin/gemini"]] {
            assert_eq!(table.process_started(&process(other), Some(&agent())), Tie::default(), "{other:?}");
        }
    }

    #[test]
    fn the_agents_first_process_stays_the_agent_whatever_it_executes() {
        let mut table = table();
        let root = |argv: &[&str]| ProcessFacts { pid: 1, process_uid: "1-1".into(), ..process(argv) };
        assert_eq!(table.process_started(&root(&["/opt/agent.js"]), None), agent());
        assert_eq!(table.process_started(&root(&["node", "/opt/agent.js"]), Some(&agent())), agent());
        assert_eq!(table.process_started(&process(&["node", "/opt/agent.js"]), Some(&agent())), Tie::default());
    }

    #[test]
    fn a_process_of_an_unexplained_process_stays_unexplained() {
        let mut table = table();
        let stray = table.process_started(&process(&["sh", "-c", "sleep 9; make"]), Some(&agent()));
        table.open(shell("a", "make"));
        let child = table.process_started(&process(&["make"]), Some(&stray));
        assert_eq!(table.mediation(&child, "/w/x"), (None, Mediation::None));
    }

    #[test]
    fn an_effect_is_declared_when_the_call_names_its_object() {
        let mut table = table();
        table.open(shell(
            "a",
            "cat README.md ./src/lib.rs ~/.config/app '/etc/host name' && curl https://crates.io/x && ls ../z/",
        ));
        let tie = Tie { tool_call_id: Some("a".into()), is_agent: false };
        let declared = |object: &str| table.mediation(&tie, object).1 == Mediation::Declared;
        for named in [
            "/w/README.md",
            "/w/src/lib.rs",
            "/home/dev/.config/app",
            "/home/dev/.config/app/settings.toml",
            "/etc/host name",
            "/usr/bin/cat",
            "crates.io",
            "crates.io:443",
        ] {
            assert!(declared(named), "{named}");
        }
        for not_named in [
            "/w/README.md.bak",
            "/w/src/lib.rst",
            "/w/other/README.md",
            "/home/dev/.ssh/id_rsa",
            "/etc/hos",
            "/w/lib.rs",
            "rates.io",
            "io",
            "/usr/bin/python3",
        ] {
            assert!(!declared(not_named), "{not_named}");
        }
    }

    #[test]
    fn the_agents_own_effect_is_declared_only_while_the_file_tool_that_names_it_is_open() {
        let mut table = table();
        let edit = CallFacts { id: "e".into(), names: vec!["/w/src/a.rs".into()], ..CallFacts::default() };
        table.open(edit);
        assert_eq!(table.mediation(&agent(), "/w/src/a.rs"), (Some("e".into()), Mediation::Declared));
        assert_eq!(table.mediation(&agent(), "/w/src/a.rs.tmp.2.adce"), (Some("e".into()), Mediation::Declared));
        assert_eq!(table.mediation(&agent(), "/w/src/b.rs"), (None, Mediation::Agent));
        // A file tool starts no processes, so a process beside it stays unexplained.
        assert_eq!(table.process_started(&process(&["sh"]), Some(&agent())), Tie::default());
        table.close("e");
        assert_eq!(table.mediation(&agent(), "/w/src/a.rs"), (None, Mediation::Agent));
    }
}
