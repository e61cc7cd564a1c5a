//! `wk run --ephemeral`, and `wk workspace`: an agent works on an overlay, and a person says what becomes of it.

use super::place;
use crate::harness::{Installation, Process, eventually, program, signal};
use serde_json::json;
use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Every name below a folder: kind, permission bits, and content or target.
fn tree(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let (path, meta) = (entry.path(), entry.metadata().unwrap());
            let what = if meta.is_dir() {
                folders.push(path.clone());
                "folder".to_owned()
            } else if meta.is_symlink() {
                format!("-> {}", std::fs::read_link(&path).unwrap().display())
            } else {
                String::from_utf8(std::fs::read(&path).unwrap()).unwrap()
            };
            found.insert(path.strip_prefix(root).unwrap().to_owned(), format!("{:o} {what}", meta.mode() & 0o7777));
        }
    }
    found
}

/// A workspace with something of every kind in it.
fn furnish(workspace: &Path) {
    for folder in ["keep", "gone/deep", "replaced", "moved"] {
        std::fs::create_dir_all(workspace.join(folder)).unwrap();
    }
    for (file, text) in [
        ("keep/a", "a\n"),
        ("change", "one\ntwo\nthree\n"),
        ("remove", "r\n"),
        ("rename", "n\n"),
        ("mode", "m\n"),
        ("gone/deep/file", "d\n"),
        ("replaced/old", "o\n"),
        ("moved/file", "f\n"),
        ("becomes-folder", "b\n"),
    ] {
        std::fs::write(workspace.join(file), text).unwrap();
    }
    symlink("keep/a", workspace.join("link")).unwrap();
}

/// What an agent may do to it.
const WORK: &str = r#"set -e
echo new > created
mkdir -p made/below && echo deep > made/below/file && chmod 750 made
printf 'one\nTWO\nthree\n' > change
rm remove && mv rename renamed && chmod 755 mode && rm -r gone
rm -r replaced && mkdir replaced && echo n > replaced/new
mv moved elsewhere
rm becomes-folder && mkdir becomes-folder && echo in > becomes-folder/file
ln -sfn keep link && ln -s nowhere dangling
ln created hard
cat change keep/a > /dev/null
"#;

/// Runs `WORK` on an overlay of a furnished workspace; the session's id, and what the work makes of a copy.
fn worked(installation: &Installation, dir: &Path, workspace: &Path) -> (String, BTreeMap<PathBuf, String>) {
    furnish(workspace);
    let copy = dir.join("copy");
    assert!(Command::new("cp").arg("-a").arg(workspace).arg(&copy).status().unwrap().success());
    assert!(Command::new("sh").args(["-c", WORK]).current_dir(&copy).status().unwrap().success());
    let before = tree(workspace);
    let done = installation.run(&["--ephemeral"], workspace, ["sh", "-c", WORK]);
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    assert!(said.contains("nothing of it is in the workspace"), "{said}");
    assert_eq!(tree(workspace), before, "the session wrote into the original");
    let session = said.split("discard ").nth(1).unwrap().split('`').next().unwrap().to_owned();
    (session, tree(&copy))
}

fn ask(installation: &Installation, arguments: &[&str]) -> (Option<i32>, String) {
    let done = installation.wk(arguments.iter().copied()).output().unwrap();
    (done.status.code(), String::from_utf8([done.stdout, done.stderr].concat()).unwrap())
}

#[test]
fn what_the_agent_did_is_shown_and_applied_exactly_on_a_persons_word() {
    let (dir, installation, workspace) = place();
    let (session, wanted) = worked(&installation, dir.path(), &workspace);
    let (_, listed) = ask(&installation, &["workspace", "list"]);
    assert!(listed.starts_with(&session), "{listed}");
    let (code, shown) = ask(&installation, &["workspace", "show", &session]);
    assert_eq!(code, Some(0), "{shown}");
    for line in ["created created", "removed gone/deep/file", "changed mode (0644 → 0755)", "-two", "+TWO", "+deep"] {
        assert!(shown.lines().any(|l| l == line), "`{line}` is missing in\n{shown}");
    }
    assert!(!shown.contains("keep/a"), "what was only read is no change:\n{shown}");
    let (code, said) = ask(&installation, &["workspace", "apply", &session[..13], "--reason", "as asked"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(tree(&workspace), wanted);
    let inode = |name: &str| std::fs::metadata(workspace.join(name)).unwrap().ino();
    assert_eq!(inode("created"), inode("hard"), "two names of one file are two files now");
    let (code, said) = ask(&installation, &["workspace", "apply", &session]);
    assert!(code == Some(2) && said.contains("wait for a word"), "{said}");
    assert!(!installation.data().join("sessions").join(&session).join("workspace").exists());
    let rows = installation.sql("SELECT action, state, answer, path FROM approvals");
    let answer = rows[0]["answer"].as_str().unwrap();
    assert!(answer.starts_with("applied: ") && answer.ends_with("; as asked"), "{rows:?}");
    assert_eq!((&rows[0]["action"], &rows[0]["state"]), (&json!("apply_workspace"), &json!("GRANTED")));
    assert_eq!(rows[0]["path"], json!(workspace.to_str().unwrap()));
    // The agent's own records name files as the agent does.
    let path = workspace.join("made/below/file");
    let rows = installation.sql(&format!("SELECT operation FROM file_access WHERE path = '{}'", path.display()));
    assert_eq!(rows, [json!({"operation": "CREATE"})]);
    let confined = "SELECT session_started['confinement'] AS c FROM records WHERE kind = 'session_started'";
    assert!(installation.sql(confined)[0]["c"].to_string().contains("ephemeral-workspace"));
    let verified = installation.wk(["verify"]).output().unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}

#[test]
fn what_somebody_changed_meanwhile_is_a_conflict_and_nothing_is_half_applied() {
    let (dir, installation, workspace) = place();
    let (session, _) = worked(&installation, dir.path(), &workspace);
    // A file that the agent changed, one in a folder that it removed, and a name that it took.
    std::fs::write(workspace.join("change"), "by hand\n").unwrap();
    std::fs::write(workspace.join("gone/deep/mine"), "by hand\n").unwrap();
    std::fs::write(workspace.join("created"), "by hand\n").unwrap();
    let before = tree(&workspace);
    let (code, said) = ask(&installation, &["workspace", "apply", &session]);
    assert!(code == Some(2) && said.contains("nothing was applied"), "{said}");
    for name in ["`change`", "`gone/deep`", "`created`"] {
        assert!(said.contains(name), "{said}");
    }
    assert_eq!(tree(&workspace), before);
    let (_, shown) = ask(&installation, &["workspace", "show", "--names", &session]);
    assert!(shown.contains("conflict change:"), "{shown}");
    let (code, said) = ask(&installation, &["workspace", "discard", &session]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(tree(&workspace), before);
    assert!(!installation.data().join("sessions").join(&session).join("workspace").exists());
    assert_eq!(ask(&installation, &["workspace", "list"]).1, "nothing waits for a word\n");
    assert_eq!(installation.sql("SELECT state FROM approvals"), [json!({"state": "DENIED"})]);
}

#[test]
fn a_killed_shim_leaves_the_original_untouched_and_its_layer_to_be_shown() {
    let (_dir, installation, workspace) = place();
    furnish(&workspace);
    let before = tree(&workspace);
    let up = installation.up();
    let mut run = installation.wk(["run", "--ephemeral", "--", "sh", "-c", "echo half > change; echo done; sleep 600"]);
    let mut session = Process::start(run.current_dir(&workspace), &installation.log("run"));
    eventually("the work to be done", || installation.printed("run").contains("done").then_some(()));
    let (_, listed) = ask(&installation, &["workspace", "list"]);
    assert!(listed.contains("still at work"), "{listed}");
    let id = listed.split(' ').next().unwrap().to_owned();
    let (code, said) = ask(&installation, &["workspace", "discard", &id]);
    assert!(code == Some(2) && said.contains("still works on it"), "{said}");
    signal(session.pid(), "KILL");
    session.wait();
    eventually("the layers to be let go", || {
        (!ask(&installation, &["workspace", "list"]).1.contains("still")).then_some(())
    });
    assert_eq!(tree(&workspace), before);
    let (code, shown) = ask(&installation, &["workspace", "show", &id]);
    assert!(code == Some(0) && shown.contains("+half"), "{shown}");
    let (code, said) = ask(&installation, &["workspace", "apply", &id]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(std::fs::read_to_string(workspace.join("change")).unwrap(), "half\n");
    assert!(up.stop().success());
    assert_eq!(installation.sql("SELECT state FROM approvals"), [json!({"state": "GRANTED"})]);
}

#[test]
fn rules_and_protection_hold_on_the_overlay_and_a_session_without_changes_leaves_nothing() {
    let (dir, installation, workspace) = place();
    furnish(&workspace);
    std::fs::write(workspace.join(".env"), "KEY=1\n").unwrap();
    let policy = dir.path().join("policy.toml");
    let text = "name = \"w\"\n[files]\ndefault = \"allow\"\n[[files.rules]]\nmatch = \"${workspace}/.env\"\n\
                action = \"deny\"\nreason = \"keys\"\n[network]\ndefault = \"deny\"\n";
    std::fs::write(&policy, text).unwrap();
    // Around the rule by a link made on the overlay, by another name of the file, and by the layers themselves.
    let tries = format!(
        "ln -s .env l; cat .env l; ln .env h && cat h; mv .env m && cat m; cat /proc/self/cwd/.env; ls {}/sessions; rm -f l; exit 0",
        installation.data().display()
    );
    let done =
        installation.run(&["--ephemeral", "--policy", policy.to_str().unwrap()], &workspace, ["sh", "-c", &tries]);
    let (out, said) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{said}");
    assert!(!out.contains("KEY=1") && out.trim().is_empty(), "{out}\n{said}");
    assert_eq!(ask(&installation, &["workspace", "list"]).1, "nothing waits for a word\n", "{said}");
    let rows = installation.sql("SELECT count(*) AS n FROM approvals");
    assert_eq!(rows, [json!({"n": 0})]);
}

#[test]
fn an_ordinary_user_works_on_an_overlay_too() {
    let root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    let (dir, installation, workspace) = place();
    if !root {
        // Then every other test here is this one.
        return;
    }
    if program("setpriv").is_none() {
        crate::harness::skip("setpriv is not installed");
        return;
    }
    furnish(&workspace);
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let copy = dir.path().join("wk");
    std::fs::copy(env!("CARGO_BIN_EXE_wk"), &copy).unwrap();
    assert!(Command::new("chown").args(["-R", "65534:65534"]).arg(dir.path()).status().unwrap().success());
    let wk = |arguments: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"]).arg(&copy);
        command.arg("--data").arg(installation.data()).args(arguments).current_dir(&workspace);
        let done = command.env("HOME", dir.path()).output().unwrap();
        (done.status.code(), String::from_utf8([done.stdout, done.stderr].concat()).unwrap())
    };
    let before = tree(&workspace);
    let (code, said) = wk(&["run", "--ephemeral", "--", "sh", "-c", &format!("{WORK}\nid -u")]);
    assert!(code == Some(0) && said.contains("65534\n"), "{said}");
    assert_eq!(tree(&workspace), before);
    let session = said.split("discard ").nth(1).unwrap().split('`').next().unwrap().to_owned();
    let (code, said) = wk(&["workspace", "apply", &session]);
    assert_eq!(code, Some(0), "{said}");
    let after = tree(&workspace);
    assert_eq!(after[Path::new("renamed")], "644 n\n");
    assert_eq!(after[Path::new("replaced/new")], "644 n\n");
    assert!(!after.contains_key(Path::new("gone")) && !after.contains_key(Path::new("replaced/old")));
    assert!(!installation.data().join("sessions").join(&session).join("workspace").exists());
}

#[test]
fn what_cannot_be_put_under_an_overlay_is_said_before_anything_starts() {
    let (dir, installation, _) = place();
    let done = installation.run(&["--ephemeral"], dir.path(), ["true"]);
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.code() == Some(2) && said.contains("lie in each other"), "{said}");
    let done = installation.run(&["--ephemeral", "--workspace", "/"], Path::new("/"), ["true"]);
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.code() == Some(2) && said.contains("in each other"), "{said}");
    let done = installation.run(&["--ephemeral", "--workspace", "/dev"], Path::new("/dev"), ["true"]);
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.code() == Some(2) && said.contains("is mounted inside the workspace"), "{said}");
}
