//! This program once more, as a process of its own that may do less.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// What makes root an ordinary user.
pub(crate) const ORDINARY_USER: [&str; 5] =
    ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"];

pub(crate) fn is_root() -> bool {
    std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap()) == 0
}

/// A folder that every user may write to.
pub(crate) fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
    folder
}

/// Runs it behind `wrapper`, with what it makes in `folder`; it must say `well`.
pub(crate) fn through(wrapper: &[&str], folder: &Path, words: &[&str], variable: (&str, &OsStr), well: &str) {
    let copy = folder.join("escape");
    std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    std::fs::set_permissions(&copy, PermissionsExt::from_mode(0o755)).unwrap();
    let copy = copy.to_str().unwrap();
    let argv: Vec<&str> = wrapper.iter().copied().chain([copy]).chain(words.iter().copied()).collect();
    let mut command = Command::new(argv[0]);
    command.args(&argv[1..]).env("TMPDIR", folder).env(variable.0, variable.1).current_dir(folder);
    match command.output() {
        Err(error) => println!("SKIPPED: {}: {error}", argv[0]),
        Ok(output) => {
            let (said, failed) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            print!("{said}");
            assert!(said.contains(well), "{said}\n{failed}");
        }
    }
}
