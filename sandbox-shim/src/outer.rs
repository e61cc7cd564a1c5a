//! Bubblewrap around the shim: the box that the shim, and the agent in it, are started in.
//!
//! The program that was started stays outside and waits; it runs itself once more inside, where the session is. Bubblewrap goes
//! outside because a session refuses the mounts that it makes.

use crate::config;
use crate::sys::process::{pidfd_open, pidfd_signal};
use anyhow::Context as _;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use tokio::signal::unix::{SignalKind, signal};

/// What is in `session_started` for a session inside the box.
pub const WORD: &str = "inside-bubblewrap";

/// Says where bubblewrap is, along the path of this process.
///
/// # Errors
/// A sentence about what to install.
pub fn installed() -> Result<PathBuf, NoBubblewrap> {
    let path = config::environment().into_iter().find(|(name, _)| name == "PATH").map(|(_, path)| path);
    find(path.as_deref())
}

fn find(path: Option<&OsStr>) -> Result<PathBuf, NoBubblewrap> {
    let folders = path.map(|path| std::env::split_paths(path).collect::<Vec<_>>()).unwrap_or_default();
    folders.into_iter().map(|folder| folder.join("bwrap")).find(|file| file.is_file()).ok_or(NoBubblewrap)
}

/// There is no bubblewrap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`bwrap` is not on the path: install bubblewrap, or leave `--wrap bwrap` away")]
pub struct NoBubblewrap;

/// The arguments of bubblewrap for a box in which everything is read-only but `writable`, and `command` is run.
///
/// Processes outside cannot be seen or signalled, and no capability is left. The network stays: the shim inside brings the records
/// to the log, and keeps the agent in by the policy's rules. The box ends with whoever started it.
fn bubblewrap(writable: &[PathBuf], cwd: &Path, command: &[OsString]) -> Vec<OsString> {
    let mut all: Vec<OsString> = Vec::new();
    let mut add = |words: &[&OsStr]| all.extend(words.iter().map(|word| (*word).to_owned()));
    let word = OsStr::new;
    let is_written = |path: &str| writable.iter().any(|written| written == Path::new(path));
    add(&[word(if is_written("/") { "--bind" } else { "--ro-bind" }), word("/"), word("/")]);
    add(&[word("--dev"), word("/dev"), word("--proc"), word("/proc")]);
    if !is_written("/") && !is_written("/tmp") {
        // The shim itself needs it for the session's socket.
        add(&[word("--tmpfs"), word("/tmp")]);
        if let Some(program) = command.first().filter(|program| Path::new(program).starts_with("/tmp")) {
            add(&[word("--ro-bind"), program.as_os_str(), program.as_os_str()]);
        }
    }
    // From the outermost inward, so that none is covered by another; what the box has of its own is not laid over again.
    let own = |path: &Path| path.starts_with("/dev") || path.starts_with("/proc") || path.parent().is_none();
    let mut writable: Vec<&PathBuf> = writable.iter().filter(|path| !own(path)).collect();
    writable.sort();
    writable.dedup();
    for path in writable {
        add(&[word("--bind-try"), path.as_os_str(), path.as_os_str()]);
    }
    add(&[word("--unshare-user"), word("--unshare-pid"), word("--unshare-ipc"), word("--unshare-uts")]);
    add(&[word("--cap-drop"), word("ALL"), word("--die-with-parent"), word("--chdir"), cwd.as_os_str(), word("--")]);
    all.extend_from_slice(command);
    all
}

/// The arguments of this program for its run inside: as they are, with more of them before the command of the agent.
fn inside(arguments: &[OsString], more: &[OsString]) -> Vec<OsString> {
    // Options after the agent's command would be the agent's.
    let end = arguments.iter().position(|word| word == "--").unwrap_or(arguments.len());
    [&arguments[..end], more, &arguments[end..]].concat()
}

/// Runs this program once more, in a box in which only `writable` can be written, with `more` among its options. What a shell would say of
/// how that ended.
///
/// # Errors
/// When it cannot be started, or not be waited for.
pub fn run_again(wall: &Path, writable: &[PathBuf], cwd: &Path, more: &[OsString]) -> anyhow::Result<u8> {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let program = std::env::current_exe().context("this program does not know its own path")?;
    let command = [vec![program.into_os_string()], inside(&arguments, more)].concat();
    let status = run(wall, &bubblewrap(writable, cwd, &command));
    Ok(code_of(status.with_context(|| format!("failed to run `{}`", wall.display()))?))
}

/// Runs bubblewrap and waits for it. What asks this process to end is passed on to the program in the box, so that the session ends
/// in order; a terminal says it to both by itself.
fn run(bubblewrap: &Path, arguments: &[OsString]) -> io::Result<ExitStatus> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // Before there is anything that they could miss.
        let (mut terminate, mut hang_up) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
        let (mut interrupt, mut quit) = (signal(SignalKind::interrupt())?, signal(SignalKind::quit())?);
        let mut child = tokio::process::Command::new(bubblewrap).args(arguments).spawn()?;
        let outermost = child.id().and_then(|pid| i32::try_from(pid).ok());
        loop {
            tokio::select! {
                status = child.wait() => return status,
                _ = terminate.recv() => pass_on(outermost, libc::SIGTERM),
                _ = hang_up.recv() => pass_on(outermost, libc::SIGHUP),
                _ = interrupt.recv() => {}
                _ = quit.recv() => {}
            }
        }
    })
}

/// What a shell would say of how a program ended.
#[must_use]
pub fn code_of(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| Some(128 + status.signal()?)).unwrap_or(1);
    u8::try_from(code & 0xff).unwrap_or(1)
}

/// Sends a signal to the program in the box. Bubblewrap itself would die of it, and take the box along without a word.
fn pass_on(outermost: Option<i32>, signal: i32) {
    let Some(mut at) = outermost else { return };
    while name_of(at).as_deref() == Some("bwrap") {
        let Some(child) = first_child(at) else { break };
        at = child;
    }
    if let Err(error) = pidfd_open(at).and_then(|process| pidfd_signal(process.as_fd(), signal)) {
        tracing::warn!(%error, signal, "a signal could not be passed into the box");
    }
}

fn name_of(pid: i32) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/comm")).ok().map(|name| name.trim_end().to_owned())
}

fn first_child(pid: i32) -> Option<i32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_box_is_read_only_but_for_what_is_named() {
        let writable = ["/work/b", "/work", "/dev/null", "/work"].map(PathBuf::from);
        let command = ["/usr/bin/wk", "run", "--", "sh"].map(OsString::from);
        let words = bubblewrap(&writable, Path::new("/work"), &command);
        let line = words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
        assert_eq!(
            line,
            "--ro-bind / / --dev /dev --proc /proc --tmpfs /tmp --bind-try /work /work --bind-try /work/b /work/b \
             --unshare-user --unshare-pid --unshare-ipc --unshare-uts --cap-drop ALL --die-with-parent --chdir /work -- \
             /usr/bin/wk run -- sh"
        );
    }

    #[test]
    fn a_policy_that_lets_everything_be_written_has_a_box_without_that_wall() {
        let words = bubblewrap(&["/", "/dev/null", "/tmp/work"].map(PathBuf::from), Path::new("/"), &[]);
        let line = words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
        assert!(
            line.starts_with("--bind / / --dev /dev --proc /proc --bind-try /tmp/work /tmp/work --unshare"),
            "{line}"
        );
    }

    #[test]
    fn what_is_added_stands_before_the_agents_command() {
        let words = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
        let more = words("--wrapped");
        assert_eq!(
            inside(&words("run --wrap bwrap -- sh -- x"), &more),
            words("run --wrap bwrap --wrapped -- sh -- x")
        );
        assert_eq!(inside(&words("run"), &more), words("run --wrapped"));
    }

    #[test]
    fn where_there_is_no_bubblewrap_it_is_said() {
        assert!(find(None).unwrap_err().to_string().contains("install bubblewrap"));
        assert!(find(Some(OsStr::new("/nowhere"))).is_err());
    }
}
