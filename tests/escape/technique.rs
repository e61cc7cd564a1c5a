//! The techniques: their files, what stands in their heads, and how they become programs.

use crate::files::FILES;
use std::collections::BTreeMap;
use std::env::consts::ARCH;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use wk_shim::confine::Means;

/// The page that shows all of them.
pub(crate) const README: &str = include_str!("README.md");
const PYTHON: &str = include_str!("prelude.py");
const C: &str = include_str!("prelude.h");

/// What must come of a technique.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expect {
    /// It gets nowhere.
    Blocked,
    /// It works, and a record tells of it.
    Recorded,
}

/// One way out.
#[derive(Debug)]
pub(crate) struct Technique {
    /// The file's name.
    pub name: String,
    /// What it tries.
    pub what: String,
    /// What must come of it.
    pub expect: Expect,
    /// Kind and a piece of text of each record that must be there.
    pub records: Vec<(String, String)>,
    /// What the machine must have.
    pub needs: Option<String>,
    /// Whether what leaves goes through the proxy.
    pub behind_proxy: bool,
    /// Whether it is known to work without a shim, for root.
    pub works_bare: bool,
    text: String,
}

/// All of them, by name.
pub(crate) fn all() -> Vec<Technique> {
    let mut all: Vec<Technique> = FILES.iter().map(|(name, text)| Technique::read(name, text)).collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

impl Technique {
    fn read(name: &str, text: &str) -> Self {
        let lines = text.lines().filter_map(|line| line.trim_start_matches(['#', '/', ' ']).split_once(": "));
        let heads: Vec<(&str, &str)> = lines.take_while(|(word, _)| HEADS.contains(word)).collect();
        let value = |word: &str| heads.iter().find(|head| head.0 == word).map(|head| head.1.to_owned());
        let expect = match value("expect").as_deref() {
            Some("blocked") => Expect::Blocked,
            Some("recorded") => Expect::Recorded,
            other => panic!("{name} expects {other:?}"),
        };
        let records = heads.iter().filter(|head| head.0 == "record").map(|head| {
            let (kind, text) = head.1.split_once(' ').unwrap_or((head.1, ""));
            (kind.to_owned(), text.to_owned())
        });
        let records: Vec<_> = records.collect();
        assert!(expect == Expect::Blocked || !records.is_empty(), "{name} names no record");
        let what = value("what").unwrap_or_else(|| panic!("{name} does not say what it tries"));
        let works_bare = value("bare").as_deref() == Some("works");
        let behind_proxy = match value("policy").as_deref() {
            None => false,
            Some("proxy") => true,
            Some(other) => panic!("{name} is played under the policy {other}, which is unknown"),
        };
        let needs = value("needs");
        Self { name: name.to_owned(), what, expect, records, needs, behind_proxy, works_bare, text: text.to_owned() }
    }

    /// Whether a thread changes something while the shim decides.
    pub(crate) fn is_a_race(&self) -> bool {
        self.text.contains("TRIES")
    }

    /// Whether this machine and these means have what it needs.
    pub(crate) fn can_run(&self, means: &Means) -> bool {
        self.is_for_this_processor()
            && match self.needs.as_deref() {
                None | Some("x86_64" | "aarch64") => true,
                Some("namespaces") => means.namespaces,
                Some("32-bit ARM") => runs_32_bit_programs(),
                Some(other) => panic!("{} needs {other}, which is unknown", self.name),
            }
    }

    /// Whether it can be built at all.
    fn is_for_this_processor(&self) -> bool {
        match self.needs.as_deref() {
            Some("x86_64") => ARCH == "x86_64",
            Some("aarch64" | "32-bit ARM") => ARCH == "aarch64",
            _ => true,
        }
    }

    /// The command line that runs it.
    pub(crate) fn argv(&self, programs: &Programs) -> Vec<PathBuf> {
        let program = programs.paths[&self.name].clone();
        match Path::new(&self.name).extension().and_then(|end| end.to_str()) {
            Some("py") => vec!["/usr/bin/python3".into(), program],
            Some("sh") => vec!["/bin/sh".into(), program],
            _ => vec![program],
        }
    }
}

/// Whether the processor and the kernel do: many processors of arm64 have no 32-bit mode any more.
fn runs_32_bit_programs() -> bool {
    let asked = Command::new("setarch").args(["linux32", "true"]).output();
    asked.is_ok_and(|asked| asked.status.success())
}

const HEADS: &[&str] = &["what", "expect", "policy", "record", "needs", "bare"];

/// The techniques as programs.
pub(crate) struct Programs {
    _folder: tempfile::TempDir,
    paths: BTreeMap<String, PathBuf>,
}

/// Makes programs of all techniques that this processor can run.
pub(crate) fn build(techniques: &[Technique]) -> Programs {
    let folder = tempfile::tempdir().unwrap();
    let mut paths = BTreeMap::new();
    for technique in techniques.iter().filter(|technique| technique.is_for_this_processor()) {
        let source = folder.path().join(&technique.name);
        let prelude = match source.extension().and_then(|end| end.to_str()) {
            Some("c") => C,
            Some("py") => PYTHON,
            _ => "",
        };
        std::fs::write(&source, format!("{prelude}{}", technique.text)).unwrap();
        let program = if prelude == C {
            let program = source.with_extension("");
            let mut build = Command::new("cc");
            build.args(["-O1", "-w", "-pthread", "-o"]).arg(&program).arg(&source);
            assert!(build.status().unwrap().success(), "{} does not compile", technique.name);
            program
        } else {
            source
        };
        paths.insert(technique.name.clone(), program);
    }
    Programs { _folder: folder, paths }
}

/// The table for the README.
pub(crate) fn table(techniques: &[Technique]) -> String {
    let mut table =
        String::from("| technique | what it tries | comes of it | records that tell of it |\n|---|---|---|---|\n");
    for technique in techniques {
        let comes = match technique.expect {
            Expect::Blocked => "blocked",
            Expect::Recorded => "recorded",
        };
        let mut kinds: Vec<&str> = technique.records.iter().map(|record| record.0.as_str()).collect();
        kinds.dedup();
        writeln!(table, "| `{}` | {} | {comes} | {} |", technique.name, technique.what, kinds.join(", ")).unwrap();
    }
    table
}
