//! By which name a program is known, from its command line.

use std::path::Path;

/// Programs that run an agent that is a script.
const INTERPRETERS: [&str; 4] = ["node", "bun", "deno", "python3"];

/// The name of the program that a command line runs: that of the script, when it runs an interpreter.
#[must_use]
pub fn program_name(argv: &[String]) -> Option<&str> {
    let (first, rest) = argv.split_first()?;
    let name = file_name(first)?;
    let script = || rest.iter().find(|word| !word.starts_with('-'));
    if is_interpreter(name) { script().and_then(|path| file_name(path)).or(Some(name)) } else { Some(name) }
}

/// Whether a program of this name runs scripts.
pub(super) fn is_interpreter(name: &str) -> bool {
    INTERPRETERS.contains(&name)
}

/// The last part of a path.
pub(super) fn file_name(path: &str) -> Option<&str> {
    Path::new(path).file_name().and_then(|name| name.to_str())
}
