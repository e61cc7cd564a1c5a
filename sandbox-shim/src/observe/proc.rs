//! The agent's `/proc`, which numbers processes in its own way and whose links lead on to what processes have open: followed as text, as far as
//! that says where it leads.

use super::resolve::{LINKS_MAX, is_plain, link, open_name, without_dots};
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// What lies behind `..` after the folder, root or descriptor of a process, of which only the kernel knows where it is.
pub(crate) const UNCLEAR: &str = "/proc/?";

/// Whether a path leads to what only the kernel knows: see [`UNCLEAR`].
pub(super) fn goes_back_behind_a_process(whole: &Path) -> bool {
    if is_plain(whole.as_os_str().as_bytes()) {
        return false;
    }
    let (mut at, mut is_behind) = (PathBuf::from("/"), false);
    whole.components().any(|part| {
        match part {
            Component::Normal(name) => {
                let leads_on = ["cwd", "root", "fd", "exe", "map_files", "thread-self"].iter().any(|one| name == *one);
                is_behind |= leads_on && at.starts_with("/proc");
                at.push(name);
            }
            Component::ParentDir => {
                at.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
        is_behind && part == Component::ParentDir
    })
}

/// The object behind a path in the agent's `/proc`, however often it leads out of there and in again.
pub(super) fn object((process, thread): (i32, i32), mut text: PathBuf, follow: bool) -> PathBuf {
    for _ in 0..LINKS_MAX {
        match through_proc(process, thread, &text) {
            None => return text,
            Some(found) if found.starts_with("/proc") => return found,
            Some(found) => match into_proc(&found, follow) {
                Some(again) => text = again,
                None => return found,
            },
        }
    }
    text
}

/// Where a path leads whose links lead into `/proc`: as the text that it is from there on, which only the agent can follow.
pub(super) fn into_proc(whole: &Path, follow: bool) -> Option<PathBuf> {
    let names =
        |path: &Path| -> Vec<OsString> { path.components().rev().map(|part| part.as_os_str().into()).collect() };
    let (mut at, mut left, mut links) = (PathBuf::from("/"), names(whole), 0);
    while let Some(name) = left.pop() {
        match name.as_bytes() {
            b"/" => at = PathBuf::from("/"),
            b"." => {}
            b".." => {
                at.pop();
            }
            _ => at.push(name),
        }
        if at.starts_with("/proc") {
            at.extend(left.iter().rev());
            if goes_back_behind_a_process(&at) {
                return Some(UNCLEAR.into());
            }
            let text = without_dots(&at);
            links += 1;
            if text.starts_with("/proc") || links > LINKS_MAX {
                return Some(text);
            }
            left = names(&text);
            continue;
        }
        if left.is_empty() && !follow {
            return None;
        }
        if let Ok(target) = link(&at) {
            links += 1;
            if links > LINKS_MAX {
                return None;
            }
            at.pop();
            left.extend(names(&target));
        }
    }
    None
}

/// Where a path in the agent's `/proc` leads when it goes on through a process's root, working directory or descriptors.
fn through_proc(process: i32, thread: i32, name: &Path) -> Option<PathBuf> {
    let mut parts = name.components().skip(2);
    let Component::Normal(whose) = parts.next()? else { return None };
    let whose = match whose.to_str()? {
        "self" => process.to_string(),
        "thread-self" => thread.to_string(),
        number => in_host_numbering(process, number.parse().ok()?)?.to_string(),
    };
    let rest: PathBuf = parts.collect();
    let rest = rest.strip_prefix("task").map_or(rest.as_path(), |rest| {
        let mut parts = rest.components();
        parts.next();
        parts.as_path()
    });
    let kind = rest.components().next()?.as_os_str().to_str()?;
    if !matches!(kind, "root" | "cwd" | "fd" | "exe") || (kind == "fd" && rest.components().count() < 2) {
        return None;
    }
    let path = Path::new("/proc").join(whose).join(rest);
    // Through a root or working directory the last part may be missing, when it is about to be made.
    let found = open_name(&path, libc::O_PATH).or_else(|_| {
        let folder = path.parent().ok_or(io::ErrorKind::NotFound)?;
        Ok::<_, io::Error>(open_name(folder, libc::O_PATH)?.join(path.file_name().unwrap_or_default()))
    });
    found.ok().filter(|found| found.is_absolute())
}

/// The shim's number of the process that is `number` in the namespace of `process`.
fn in_host_numbering(process: i32, number: i32) -> Option<i32> {
    let inner = |pid: i32| -> Option<(i32, usize)> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let numbers: Vec<&str> = status.lines().find_map(|l| l.strip_prefix("NSpid:"))?.split_whitespace().collect();
        Some((numbers.last()?.parse().ok()?, numbers.len()))
    };
    let (own, depth) = inner(process)?;
    if own == number {
        return Some(process);
    }
    let entries = std::fs::read_dir("/proc").ok()?;
    entries
        .flatten()
        .filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok())
        .find(|pid| inner(*pid) == Some((number, depth)))
}
