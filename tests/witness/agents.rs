//! Sessions of real agents: all that the programs did which an agent ran is recorded as `strace -f` saw it in another run of the same session.
//!
//! An agent's own runtime does something else each time, so what is compared is what its tools do. They are programs of their own in the workspace: by
//! their path they are told from everything else.

use crate::act::Testimony;
use crate::differences::Comparison;
use crate::world::{Agent, World, say, shell, shown};
use crate::{first, harness, second, trace};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const TASK: &str = "Do what the script says";

/// What the tools are: copies under names that nothing else has.
const TOOLS: &[&str] = &[
    "sh", "cat", "cp", "mv", "ln", "rm", "rmdir", "mkdir", "sed", "grep", "find", "sort", "wc", "chmod", "touch",
    "python3",
];

/// Copies, changes, links and removes; some of it fails.
const FILES: &str = "set -u
cd \"$WORK\"
bin/mkdir -p made/deep
bin/cat notes/a notes/b notes/missing > made/both
bin/sed s/one/two/ made/both > made/changed
bin/cp made/changed made/both
bin/grep -rl two made notes > made/found
bin/cp made/both made/deep/copy
bin/ln -s ../both made/deep/link
bin/ln made/both made/deep/hard
bin/cat made/deep/link made/deep/hard > made/all
bin/mv made/deep/copy made/deep/moved
bin/chmod 600 made/deep/moved
bin/touch made/touched
bin/find made -type f > made/list
bin/sort made/list > made/sorted
bin/wc -c made/sorted > made/count
bin/rmdir made/deep
bin/rm -r made/deep made/nothing
exit 0
";

/// Reads by descriptors of folders, starts a program that is not there, knocks where nobody listens.
const PYTHON: &str = "import os, socket
notes = os.open('notes', os.O_RDONLY)
for name in ('a', 'b', 'missing'):
    try: os.close(os.open(name, os.O_RDONLY, dir_fd=notes))
    except OSError: pass
os.makedirs('out/deep', exist_ok=True)
with open('out/deep/file', 'w') as f: f.write('text')
os.rename('out/deep/file', 'out/file')
os.symlink('file', 'out/link')
open('out/link').close()
if os.fork() == 0:
    open('notes/a').close()
    os.execv('bin/cat', ['cat', 'out/file'])
os.wait()
with socket.create_server(('127.0.0.1', 0)) as server:
    socket.create_connection(server.getsockname()).close()
try: socket.create_connection(('127.0.0.1', 1))
except OSError: pass
os.remove('out/link')
os.remove('out/file')
os.rmdir('out/deep')
";

/// The world of a session, with its tools and what they work on.
fn world(agent: Agent) -> Option<World> {
    let mut world = World::new(agent)?;
    world.rules = "[[network.rules]]\nmatch = \"loopback\"\naction = \"allow\"\nreason = \"the work\"\n".to_owned();
    for folder in ["work/bin", "work/notes"] {
        std::fs::create_dir_all(world.path(folder)).unwrap();
    }
    for tool in TOOLS {
        std::fs::copy(program(tool), world.path("work/bin").join(tool)).unwrap();
    }
    world.write("work/notes/a", "one\n");
    world.write("work/notes/b", "one more\n");
    world.write("work/files.sh", &FILES.replace("$WORK", &shown(&world.path("work"))));
    world.write("work/more.py", PYTHON);
    Some(world)
}

/// The program itself behind the launchers that choose between versions.
fn program(tool: &str) -> PathBuf {
    let found = harness::program(tool).unwrap_or_else(|| panic!("{tool} is not installed"));
    if tool != "python3" {
        return found.canonicalize().unwrap();
    }
    let said = Command::new(found).args(["-c", "import sys; print(sys.executable)"]).output().unwrap();
    Path::new(String::from_utf8(said.stdout).unwrap().trim()).canonicalize().unwrap()
}

/// What the tools did; whatever else stands in it goes.
fn of_the_tools(seen: Testimony, bin: &str) -> Testimony {
    Testimony(seen.0.into_iter().filter(|(act, _)| act.image.starts_with(bin)).collect())
}

fn session(agent: Agent, commands: &[&str]) {
    let Some(strace) = harness::program("strace") else {
        return harness::skip("strace is not installed");
    };
    let Some(mut world) = world(agent) else { return };
    let work = shown(&world.path("work"));
    let bin = format!("{work}/bin/");
    let mut turns: Vec<Vec<Value>> = commands.iter().map(|command| vec![shell(agent, command)]).collect();
    turns.push(vec![say("It is done.")]);

    let port = world.start_model(&turns);
    let output = world.path("trace");
    let trace = format!("trace={}", second::TRACED);
    let arguments = ["-f", "--seccomp-bpf", "-y", "-s", "65536", "-e", &trace, "-o", &output.to_string_lossy()];
    let mut command = Command::new(strace);
    world.settle(&mut command);
    command.args(arguments).arg(agent.program().unwrap()).args(world.words(TASK)).current_dir(&work);
    world.introduce(&mut command, port);
    assert_eq!(world.start(command.stdin(Stdio::null())).end(), Some(0), "{}", world.printed());
    let text = std::fs::read_to_string(&output).unwrap();
    let traced = second::testimony(&trace::read(&text), &work, |image| image.starts_with(&bin));
    afresh(&world.path("work"));

    assert_eq!(world.begin(TASK, &turns).end(), Some(0), "{}", world.printed());
    world.is_complete();
    let sessions = world.column("SELECT session_id FROM records WHERE kind = 'session_started'", "session_id");
    let [id] = &sessions[..] else { panic!("one session, not {sessions:?}") };
    let recorded = of_the_tools(first::testimony(|query| world.sql(query), id), &bin);

    let mut comparison = Comparison::default();
    let (recorded, traced) = (comparison.normal(recorded), comparison.normal(traced));
    println!("{}: {} acts recorded, {} traced", agent.name(), recorded.total(), traced.total());
    assert!(traced.total() > 50, "strace saw next to nothing of {}", agent.name());
    let found = comparison.unexplained(&recorded, &traced);
    assert!(found.is_empty(), "{} differences are not explained: {found:#?}", found.len());
}

/// Takes away what the tools made.
fn afresh(work: &Path) {
    for made in ["made", "out"] {
        std::fs::remove_dir_all(work.join(made)).ok();
    }
}

const RUN_FILES: &str = "bin/sh files.sh";
const RUN_PYTHON: &str = "PYTHONDONTWRITEBYTECODE=1 PYTHONHASHSEED=0 bin/python3 -S more.py";

#[test]
fn codex_works_on_files() {
    session(Agent::Codex, &[RUN_FILES]);
}

#[test]
fn codex_runs_a_program_and_then_another() {
    session(Agent::Codex, &[RUN_PYTHON, "bin/sort notes/b notes/a", RUN_FILES]);
}

#[test]
fn claude_code_works_on_files() {
    session(Agent::ClaudeCode, &[RUN_FILES]);
}

#[test]
fn claude_code_runs_a_program_and_then_another() {
    session(Agent::ClaudeCode, &[RUN_PYTHON, "bin/sort notes/b notes/a", RUN_FILES]);
}

#[test]
fn gemini_runs_a_program_and_then_another() {
    session(Agent::Gemini, &[RUN_PYTHON, "bin/sort notes/b notes/a", RUN_FILES]);
}
