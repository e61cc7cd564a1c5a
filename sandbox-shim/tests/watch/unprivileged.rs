//! Everything again as an ordinary user and inside bubblewrap: this test program runs itself as uid 65534, and in a box.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// The tests that are run again; all but those that start this program once more.
const SKIPPED: &[&str] = &["unprivileged::", "helper_that_runs_a_shim"];

#[test]
fn everything_holds_for_an_ordinary_user_too() {
    let root = std::fs::metadata("/proc/self").map(|found| std::os::unix::fs::MetadataExt::uid(&found)).unwrap() == 0;
    if !root {
        println!("SKIPPED everything_holds_for_an_ordinary_user_too: this already is one");
        return;
    }
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let copy = folder.path().join("watch");
    std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    std::fs::set_permissions(&copy, PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"]).arg(&copy);
    for skipped in SKIPPED {
        command.args(["--skip", skipped]);
    }
    command.arg("--test-threads=2").env("TMPDIR", folder.path()).current_dir(folder.path());
    match command.output() {
        Err(error) => println!("SKIPPED everything_holds_for_an_ordinary_user_too: setpriv: {error}"),
        Ok(output) => {
            print!("{}", String::from_utf8_lossy(&output.stdout));
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        }
    }
}

/// What only holds in namespaces of the shim's own, which cannot be made inside bubblewrap: folders covered by a mount, loopback apart
/// from that of the box, memory that a process hides from its own user.
const NEEDS_NAMESPACES: &[&str] = &[
    "a_session_says_what_stands_between_it_and_the_network",
    "names_are_answered_only_when_they_may_be_reached",
    "the_agents_own_loopback_is_its_own",
    "a_server_in_a_network_of_its_own_is_reached_and_reaches_nobody",
    "a_protected_folder_is_unreachable_behind_an_empty_mount",
    "a_process_that_hides_its_memory_is_seen_all_the_same",
];

#[test]
fn everything_else_holds_inside_bubblewrap_without_a_capability() {
    let mut command = Command::new("bwrap");
    command.args(["--bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp"]);
    command.args(["--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-net", "--cap-drop", "ALL"]);
    command.arg("--die-with-parent").arg(std::env::current_exe().unwrap());
    for skipped in SKIPPED.iter().chain(NEEDS_NAMESPACES) {
        command.args(["--skip", skipped]);
    }
    let output = match command.arg("--test-threads=2").output() {
        Ok(output) => output,
        Err(error) => {
            println!("SKIPPED everything_else_holds_inside_bubblewrap_without_a_capability: bwrap: {error}");
            return;
        }
    };
    let (said, failed) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if !said.contains("running ") {
        println!("SKIPPED everything_else_holds_inside_bubblewrap_without_a_capability: {failed}");
        return;
    }
    print!("{said}");
    assert!(output.status.success(), "{said}\n{failed}");
}
