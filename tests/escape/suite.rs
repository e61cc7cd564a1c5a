//! Ways out of the sandbox, each a small program in `techniques/` that is run under the real shim: it must get nowhere, or what it
//! does must be recorded. Each file's head says what it tries, what must come of it, and which records must tell of it.
//!
//! All of them run as root, without namespaces of their own, as an ordinary user, and inside an unprivileged user namespace; the
//! table in `README.md` is held to what stands in the heads.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]
#![expect(
    clippy::disallowed_methods,
    reason = "this test runs itself again as another user, and is told how often to try"
)]

mod files;
#[expect(dead_code, reason = "the harness of the shim's own tests offers more than is used here")]
#[path = "../../sandbox-shim/tests/watch/harness.rs"]
mod harness;
mod scene;
mod session;
mod technique;

use scene::Scene;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::Mutex;
use technique::Technique;
use wk_shim::confine::Means;

/// Runs every technique and panics with what went wrong, if anything did.
fn all_hold(means: &Means) {
    let techniques = technique::all();
    assert!(techniques.len() >= 60, "there are {} techniques", techniques.len());
    hold(techniques, means);
}

fn hold(techniques: Vec<Technique>, means: &Means) {
    let programs = technique::build(&techniques);
    let left = Mutex::new(techniques.iter());
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some(technique) = left.lock().unwrap().next() else { return };
                    if !technique.can_run(means) {
                        println!(
                            "SKIPPED {}: needs {}",
                            technique.name,
                            technique.needs.as_deref().unwrap_or_default()
                        );
                        continue;
                    }
                    if let Err(what) = Scene::new().play(technique, &programs, means) {
                        failures.lock().unwrap().push(format!("{}: {what}", technique.name));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} of {} failed:\n{}", failures.len(), techniques.len(), failures.join("\n\n"));
}

#[test]
fn every_technique_is_blocked_or_recorded() {
    all_hold(&Means::probe());
}

#[test]
fn every_technique_is_blocked_or_recorded_without_namespaces() {
    all_hold(&Means { namespaces: false, own_proc: false, covers: false, user_namespace: false, ..Means::probe() });
}

/// What a thread of the agent changes while the shim decides; `WK_ESCAPE_TRIES` says how often each is tried.
#[test]
fn no_race_against_a_decision_is_ever_won() {
    let races: Vec<Technique> = technique::all().into_iter().filter(Technique::is_a_race).collect();
    assert!(races.len() >= 4);
    println!("{} races, {} tries each", races.len(), scene::tries());
    hold(races, &Means::probe());
}

#[test]
fn every_technique_is_blocked_or_recorded_as_an_ordinary_user() {
    again_through(&["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"], None);
}

#[test]
fn every_technique_is_blocked_or_recorded_inside_an_unprivileged_user_namespace() {
    let user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "unshare", "--user", "--map-root-user"];
    again_through(&user, Some("every_technique_is_blocked_or_recorded"));
}

fn is_root() -> bool {
    std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap()) == 0
}

/// Runs this program once more, behind another one that makes it less.
fn again_through(wrapper: &[&str], only: Option<&str>) {
    if !is_root() || std::env::var_os("WK_ESCAPE_AGAIN").is_some() {
        println!("SKIPPED: only root can become an ordinary user");
        return;
    }
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    let open = PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(folder.path(), open).unwrap();
    let copy = folder.path().join("escape");
    std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    std::fs::set_permissions(&copy, PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = Command::new(wrapper[0]);
    command
        .args(&wrapper[1..])
        .arg(&copy)
        .args(only.map_or_else(|| vec!["every_technique"], |only| vec!["--exact", only]));
    command.arg("--test-threads=1").env("TMPDIR", folder.path()).env("WK_ESCAPE_AGAIN", "1").current_dir(folder.path());
    match command.output() {
        Err(error) => println!("SKIPPED: {}: {error}", wrapper[0]),
        Ok(output) => {
            let (said, failed) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            print!("{said}");
            assert!(said.contains("test result: ok"), "{said}\n{failed}");
        }
    }
}

#[test]
fn the_readme_says_what_is_tried_and_what_comes_of_it() {
    let readme = technique::README;
    let table = technique::table(&technique::all());
    assert!(readme.contains(&table), "the table in tests/escape/README.md should be:\n{table}");
}

#[test]
fn without_the_shim_the_techniques_do_work() {
    if !is_root() {
        println!("SKIPPED: some of them need root, which is what makes them worth a try");
        return;
    }
    let techniques = technique::all();
    let programs = technique::build(&techniques);
    let bare: Vec<_> = techniques.iter().filter(|technique| technique.works_bare).collect();
    assert!(bare.len() >= 20, "too few techniques are known to work: {}", bare.len());
    for technique in bare {
        let said = Scene::new().play_bare(technique, &programs);
        assert!(said.contains("ESCAPED"), "{} does not work even without a shim: {said}", technique.name);
    }
}
