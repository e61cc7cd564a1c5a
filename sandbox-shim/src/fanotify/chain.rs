//! Tells the program that was asked for from another, and either from what is opened for it.
//!
//! ```text
//! execve("./run.sh") ── asked ──► opened: ./run.sh    the program
//!                                 opened: bash        for it: its interpreter
//!                                 opened: ld.so       for it: its loader
//! execve("./a") ────── asked ──► opened: ./b          another: the path became another after it was read
//! ```
//! Pure: no clock, and no I/O but through the closure it is given.

use super::FileId;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// A program that was asked for and let through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The thread that asked. It has one exec under way at most.
    pub thread: i32,
    /// Where the path led when it was decided about.
    pub path: PathBuf,
    /// The file there. `None` when it is not opened on a mount of the session, so that nothing will be told of it: one that has no
    /// name, or came as a descriptor.
    pub file: Option<FileId>,
}

/// What the opening of a file means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// It is the program that was asked for.
    Program,
    /// It is another program than the one that was asked for.
    Another(Asked),
    /// The kernel opened it for a program, as its interpreter or loader.
    ForIt,
}

/// The execs of a session of which it is not known yet what was opened for them.
#[derive(Debug, Default)]
pub(crate) struct Chains {
    asked: HashMap<i32, Vec<Asked>>,
}

impl Chains {
    /// Process `pid` is about to execute a program. What the same thread asked for before has been told of, or has failed.
    pub(crate) fn ask(&mut self, pid: i32, asked: Asked) {
        let waiting = self.asked.entry(pid).or_default();
        waiting.retain(|before| before.thread != asked.thread);
        waiting.push(asked);
    }

    /// `file` was opened for process `pid`, by the name `path`. `is_interpreter_of` says whether it is the interpreter or loader of
    /// a program that was asked for; it is asked only about one whose own opening was not told.
    pub(crate) fn opened(
        &mut self,
        pid: i32,
        (path, file): (&Path, FileId),
        is_interpreter_of: impl Fn(&Asked) -> bool,
    ) -> Meaning {
        let Some(waiting) = self.asked.get_mut(&pid).filter(|waiting| !waiting.is_empty()) else {
            return Meaning::ForIt;
        };
        let is_it = |asked: &Asked| asked.file.is_some() && (asked.file == Some(file) || asked.path == path);
        let explained = waiting.iter().position(is_it).map(|at| (at, Meaning::Program)).or_else(|| {
            let unseen = |asked: &Asked| asked.file.is_none() || is_interpreter_of(asked);
            waiting.iter().position(unseen).map(|at| (at, Meaning::ForIt))
        });
        let (at, meaning) = explained.unwrap_or_else(|| (0, Meaning::Another(waiting[0].clone())));
        waiting.remove(at);
        meaning
    }

    /// A process has ended.
    pub(crate) fn forget(&mut self, pid: i32) {
        self.asked.remove(&pid);
    }

    /// Some openings were not told: what they would have been compared with says nothing any more.
    pub(crate) fn clear(&mut self) {
        self.asked.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOADER: FileId = FileId { device: 1, inode: 1 };
    const SHELL: FileId = FileId { device: 1, inode: 2 };
    const A: FileId = FileId { device: 1, inode: 10 };
    const B: FileId = FileId { device: 1, inode: 11 };

    fn asked(thread: i32, path: &str, file: impl Into<Option<FileId>>) -> Asked {
        Asked { thread, path: path.into(), file: file.into() }
    }

    /// What the openings of process 1 mean, one after the other; the loader is that of every program.
    fn meanings(chains: &mut Chains, opened: &[(&str, FileId)]) -> Vec<Meaning> {
        let open = |(path, file): &(&str, FileId)| chains.opened(1, (Path::new(path), *file), |_| *file == LOADER);
        opened.iter().map(open).collect()
    }

    #[test]
    fn what_follows_the_program_is_opened_for_it() {
        let mut chains = Chains::default();
        chains.ask(1, asked(1, "/w/run.sh", A));
        let opened = [("/w/run.sh", A), ("/bin/sh", SHELL), ("/lib/ld.so", LOADER)];
        assert_eq!(meanings(&mut chains, &opened), [Meaning::Program, Meaning::ForIt, Meaning::ForIt]);
    }

    #[test]
    fn another_file_under_another_name_is_another_program_and_what_follows_is_opened_for_that() {
        let mut chains = Chains::default();
        chains.ask(1, asked(1, "/w/a", A));
        let found = meanings(&mut chains, &[("/w/b", B), ("/lib/ld.so", LOADER)]);
        assert_eq!(found, [Meaning::Another(asked(1, "/w/a", A)), Meaning::ForIt]);
    }

    #[test]
    fn one_file_under_two_names_and_another_file_under_the_same_name_are_what_was_asked_for() {
        for opened in [("/w/link", A), ("/w/a", B)] {
            let mut chains = Chains::default();
            chains.ask(1, asked(1, "/w/a", A));
            assert_eq!(meanings(&mut chains, &[opened]), [Meaning::Program], "{opened:?}");
        }
    }

    #[test]
    fn a_program_whose_opening_is_not_told_is_not_taken_for_another() {
        for unseen in [asked(1, "/memfd:x", None), asked(1, "/w/on-a-mount-of-the-shim", A)] {
            let mut chains = Chains::default();
            chains.ask(1, unseen);
            chains.ask(2, asked(2, "/w/b", B));
            assert_eq!(meanings(&mut chains, &[("/lib/ld.so", LOADER)]), [Meaning::ForIt]);
            // It is not waited for any longer.
            assert_eq!(meanings(&mut chains, &[("/bin/sh", SHELL)]), [Meaning::ForIt]);
        }
    }

    #[test]
    fn an_exec_that_failed_is_forgotten_with_the_next_of_its_thread() {
        let mut chains = Chains::default();
        chains.ask(1, asked(1, "/w/fails", B));
        chains.ask(1, asked(1, "/w/a", A));
        assert_eq!(meanings(&mut chains, &[("/w/a", A), ("/bin/sh", SHELL)]), [Meaning::Program, Meaning::ForIt]);
    }

    #[test]
    fn of_two_threads_that_execute_at_once_neither_hides_the_other() {
        let mut chains = Chains::default();
        chains.ask(1, asked(1, "/w/a", A));
        chains.ask(1, asked(2, "/bin/sh", SHELL));
        let found = meanings(&mut chains, &[("/bin/sh", SHELL), ("/w/b", B)]);
        assert_eq!(found, [Meaning::Program, Meaning::Another(asked(1, "/w/a", A))]);
    }

    #[test]
    fn a_number_that_is_used_again_and_a_gap_leave_nothing_to_compare_with() {
        let ends: [fn(&mut Chains); 2] = [|chains| chains.forget(1), Chains::clear];
        for end in ends {
            let mut chains = Chains::default();
            chains.ask(1, asked(1, "/w/a", A));
            end(&mut chains);
            assert_eq!(meanings(&mut chains, &[("/bin/sh", SHELL)]), [Meaning::ForIt]);
        }
    }
}
