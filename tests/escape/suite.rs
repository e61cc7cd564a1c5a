//! Ways out of the sandbox, each a small program in `techniques/` that is run under the real shim: it must get nowhere, or what it
//! does must be recorded. Each file's head says what it tries, what must come of it, and which records must tell of it.
//!
//! All of them run as root, without namespaces of their own, as an ordinary user, and inside an unprivileged user namespace; inside
//! `--ephemeral` in `ephemeral.rs`. The table in `README.md` is held to what stands in the heads.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]
#![expect(
    clippy::disallowed_methods,
    reason = "this test runs itself again as another user, and is told how often to try"
)]

mod again;
mod files;
#[expect(dead_code, reason = "the harness of the shim's own tests offers more than is used here")]
#[path = "../../sandbox-shim/tests/watch/harness.rs"]
mod harness;
mod hold;
mod scene;
mod session;
mod technique;

use hold::hold;
use scene::Scene;
use technique::Technique;
use wk_shim::confine::Means;

/// Runs every technique and panics with what went wrong, if anything did.
fn all_hold(means: &Means) {
    let techniques = technique::all();
    assert!(techniques.len() >= 60, "there are {} techniques", techniques.len());
    hold(techniques, means);
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
    again_through(&again::ORDINARY_USER, None);
}

#[test]
fn every_technique_is_blocked_or_recorded_inside_an_unprivileged_user_namespace() {
    let user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "unshare", "--user", "--map-root-user"];
    again_through(&user, Some("every_technique_is_blocked_or_recorded"));
}

/// Runs this program once more, behind another one that makes it less.
fn again_through(wrapper: &[&str], only: Option<&str>) {
    if !again::is_root() || std::env::var_os("WK_ESCAPE_AGAIN").is_some() {
        println!("SKIPPED: only root can become an ordinary user");
        return;
    }
    let folder = again::folder();
    let mut words = only.map_or_else(|| vec!["every_technique"], |only| vec!["--exact", only]);
    words.push("--test-threads=1");
    again::through(wrapper, folder.path(), &words, ("WK_ESCAPE_AGAIN", "1".as_ref()), "test result: ok");
}

#[test]
fn the_readme_says_what_is_tried_and_what_comes_of_it() {
    let readme = technique::README;
    let table = technique::table(&technique::all());
    assert!(readme.contains(&table), "the table in tests/escape/README.md should be:\n{table}");
}

#[test]
fn without_the_shim_the_techniques_do_work() {
    if !again::is_root() {
        println!("SKIPPED: some of them need root, which is what makes them worth a try");
        return;
    }
    let techniques = technique::all();
    let (programs, means) = (technique::build(&techniques), Means::probe());
    let bare: Vec<_> =
        techniques.iter().filter(|technique| technique.works_bare && technique.can_run(&means)).collect();
    assert!(bare.len() >= 20, "too few techniques are known to work: {}", bare.len());
    for technique in bare {
        let said = Scene::new().play_bare(technique, &programs);
        assert!(said.contains("ESCAPED"), "{} does not work even without a shim: {said}", technique.name);
    }
}
