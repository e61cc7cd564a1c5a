//! Everything again as an ordinary user: this test program runs itself as uid 65534.

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
