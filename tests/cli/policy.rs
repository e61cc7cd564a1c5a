//! `wk policy`: a person asks a policy before an agent does.

use super::place;
use crate::harness::{Process, eventually};
use std::net::TcpListener;

#[test]
fn a_policy_is_checked_explained_and_tested() {
    let (_dir, installation, workspace) = place();
    let ask = |arguments: &[&str]| {
        let done = installation.wk(arguments.iter().copied()).current_dir(&workspace).output().unwrap();
        let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
        (done.status.code(), said)
    };
    let (code, said) = ask(&["policy", "check"]);
    assert!(code == Some(0) && said.contains("workspace+network"), "{said}");
    let (code, said) = ask(&["policy", "explain", "build", "write", "src/main.rs"]);
    assert!(code == Some(0) && said.starts_with("allow, by ") && said.contains("the work itself"), "{said}");
    let (code, said) = ask(&["policy", "explain", "build", "run", "/usr/bin/npm", "publish"]);
    assert!(code == Some(0) && said.starts_with("deny, by ") && said.contains("becomes public"), "{said}");
    let (code, said) = ask(&["policy", "test", "read-only"]);
    assert!(code == Some(0) && said.contains("0 failed"), "{said}");
    let wrong = workspace.join("wrong.toml");
    let text =
        "name = \"w\"\n[network]\ndefault = \"deny\"\n[[tests]]\nconnect = \"a.example:1\"\nexpect = \"allow\"\n";
    std::fs::write(&wrong, text).unwrap();
    let (code, said) = ask(&["policy", "test", wrong.to_str().unwrap()]);
    assert!(code == Some(1) && said.contains("FAILED  connect a.example:1: deny, by the default"), "{said}");
    std::fs::write(&wrong, text.replace("deny", "deyn")).unwrap();
    let (code, said) = ask(&["policy", "check", wrong.to_str().unwrap()]);
    assert!(code == Some(2) && said.contains("wrong.toml:3:11: unknown variant `deyn`"), "{said}");
}

/// A session that reaches for a listener of ours again and again, and writes down what came of it.
const REACHES: &str =
    "while :; do if (exec 3<>/dev/tcp/127.0.0.1/$1) 2> /dev/null; then echo open; else echo shut; fi; sleep 0.1; done";

#[test]
fn another_policy_narrows_at_once_widens_on_an_answer_and_an_invalid_one_is_not_sent() {
    let (dir, installation, workspace) = place();
    let _up = installation.up();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let policy = |name: &str, text: String| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let network =
        |action: &str| format!("name = \"{action}\"\nhold_timeout = \"10m\"\n[network]\ndefault = \"{action}\"\n");
    let (open, shut) = (policy("open.toml", network("allow")), policy("shut.toml", network("deny")));
    let invalid = policy("invalid.toml", network("maybe"));
    // In a file: a shell that is told on its command line to tie itself to a connection is frozen as a reverse shell.
    let script = workspace.join("reach.sh");
    std::fs::write(&script, REACHES).unwrap();
    let mut run = installation.wk(["run", "--policy", &open, "--", "bash", script.to_str().unwrap(), &port]);
    let _session = Process::start(run.current_dir(&workspace), &installation.log("run"));
    let answers = |wanted: &str| {
        let before = installation.printed("run").len();
        eventually(&format!("it to be {wanted}"), || {
            installation.printed("run")[before..].lines().any(|line| line == wanted).then_some(())
        });
    };
    answers("open");
    let id = eventually("the session's folder", || {
        std::fs::read_dir(installation.data().join("sessions")).ok()?.flatten().next()?.file_name().into_string().ok()
    });
    let ask = |arguments: &[&str]| {
        let done = installation.wk(arguments.iter().copied()).current_dir(&workspace).output().unwrap();
        (done.status.code(), String::from_utf8([done.stdout, done.stderr].concat()).unwrap())
    };
    let (code, said) = ask(&["policy", "apply", &id, &invalid]);
    assert!(code == Some(2) && said.contains("invalid.toml:4:11: unknown variant `maybe`"), "{said}");
    let (code, said) = ask(&["policy", "apply", &id, &shut, "--wait", "600", "--reason", "enough"]);
    assert!(code == Some(0) && said.contains("the policy `deny`") && said.contains("is in force"), "{said}");
    answers("shut");
    let (code, said) = ask(&["policy", "apply", &id, &open, "--wait", "600"]);
    assert!(code == Some(0) && said.contains("waits for an answer"), "{said}");
    answers("shut");
    let ticket = eventually("the question", || {
        let (_, listed) = ask(&["approvals", "list"]);
        listed.contains("wants to put the policy `allow`").then(|| listed.split(' ').next().unwrap().to_owned())
    });
    let (code, said) = ask(&["approvals", "grant", &ticket, "--wait", "600"]);
    assert_eq!(code, Some(0), "{said}");
    answers("open");
}
