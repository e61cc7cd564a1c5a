//! The techniques of this suite inside `--ephemeral`, as root and as an ordinary user: everything that is guarded lies on an overlay, in
//! namespaces that the shim has entered before. They hold as they do elsewhere, and nothing of what they do reaches the original.
//!
//! A program of its own, because a process enters an overlay before it has a second thread, and a test of Rust's has one at once.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]
#![expect(clippy::disallowed_methods, reason = "this test runs itself again as another user")]

mod again;
mod files;
#[expect(dead_code, reason = "the harness of the shim's own tests offers more than is used here")]
#[path = "../../sandbox-shim/tests/watch/harness.rs"]
mod harness;
mod hold;
#[expect(dead_code, reason = "what runs without a shim is looked at elsewhere")]
mod scene;
#[expect(dead_code, reason = "the table and the races are looked at elsewhere")]
mod technique;

use std::path::{Path, PathBuf};
use wk_shim::confine::Means;
use wk_shim::ephemeral::Overlay;

const NAME: &str = "every_technique_is_blocked_or_recorded_inside_an_ephemeral_workspace";
const INSIDE: &str = "WK_ESCAPE_EPHEMERAL";
const WELL: &str = "every technique holds";

fn main() {
    if let Some(folder) = std::env::var_os(INSIDE) {
        return inside(Path::new(&folder));
    }
    // As a test that Rust runs: not when another is asked for.
    let words: Vec<String> = std::env::args().skip(1).collect();
    let mut filters = words.iter().filter(|word| !word.starts_with('-')).peekable();
    if words.iter().any(|word| word == "--list") || (filters.peek().is_some() && !filters.any(|f| NAME.contains(f))) {
        return;
    }
    outside(&["env"]);
    if again::is_root() {
        outside(&again::ORDINARY_USER);
    }
    println!("test {NAME} ... ok");
}

/// Starts this program again, and looks from where there is no overlay.
fn outside(wrapper: &[&str]) {
    let folder = again::folder();
    for name in ["layers", "work"] {
        let path = folder.path().join(name);
        std::fs::create_dir(&path).unwrap();
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    }
    again::through(wrapper, folder.path(), &[], (INSIDE, folder.path().as_os_str()), WELL);
    let reached: Vec<PathBuf> =
        std::fs::read_dir(folder.path().join("work")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(reached, Vec::<PathBuf>::new(), "the original is as it was");
}

/// Plays everything on an overlay of the folder `work`.
fn inside(folder: &Path) {
    let work = folder.join("work");
    let overlay = match Overlay::enter(&folder.join("layers/session"), &work) {
        Ok(overlay) => overlay,
        Err(error) => {
            // What is missing is missing for `--ephemeral` as well, which then starts nothing.
            println!("SKIPPED: {error}: {:?}; so {WELL}", std::error::Error::source(&error).map(ToString::to_string));
            return;
        }
    };
    tempfile::env::override_temp_dir(&work).unwrap();
    hold::hold(technique::all(), &Means::probe());
    drop(overlay);
    println!("{WELL}");
}
