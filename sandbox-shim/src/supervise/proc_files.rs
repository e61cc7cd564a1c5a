//! Files through which a process reaches into another, into the kernel, or past the file system.

use super::core::Core;
use crate::observe::proc::UNCLEAR;
use crate::observe::resolve::Resolved;
use crate::policy::{Action, Verdict};
use crate::process::Process;
use std::os::unix::fs::FileTypeExt;
use std::path::{Component, Path};

/// Where the kernel takes its settings and orders.
const SETTINGS: &[&str] =
    &["/sys", "/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/acpi", "/proc/scsi"];

impl Core {
    /// Refuses the memory of another process of the session: who could write it would act in that one's name, and who could read it
    /// would have its keys. Refuses the kernel's settings too, which an agent that is root could change, the groups that freeze it among
    /// them, and disks.
    pub(super) fn refuse_reaching_past(&self, process: &Process, at: &Resolved, writes: bool) -> Option<Verdict> {
        let deny = |reason: &str| Some(Verdict { action: Action::Deny, reason: Some(reason.to_owned()) });
        let names = || [&at.name, &at.real].into_iter().chain(&at.proc);
        if writes && SETTINGS.iter().any(|settings| names().any(|name| name.starts_with(settings))) {
            return deny("settings of the kernel");
        }
        if at.proc.as_deref() == Some(Path::new(UNCLEAR)) {
            return deny("a way back from the folder or descriptor of a process, which only the kernel can follow");
        }
        // Mounts cover the disks where the shim may mount.
        let is_disk = |path: &Path| path.symlink_metadata().is_ok_and(|found| found.file_type().is_block_device());
        if at.real.starts_with("/dev") && is_disk(&at.real) {
            return deny("a disk, past every path");
        }
        let is_own = |owner: &str| {
            owner == "self" || owner == "thread-self" || owner.parse().is_ok_and(|number| is_own(process, number))
        };
        let is_anothers = names().filter_map(|name| owner_of_memory(name)).any(|owner| !is_own(owner));
        if is_anothers { deny("memory of another process") } else { None }
    }
}

/// Whose memory a path in `/proc` is, if it is one's.
fn owner_of_memory(name: &Path) -> Option<&str> {
    if !name.starts_with("/proc") {
        return None;
    }
    let parts: Vec<&str> = name
        .components()
        .map(|part| match part {
            Component::Normal(part) => part.to_str(),
            Component::RootDir => Some("/"),
            Component::Prefix(_) | Component::CurDir | Component::ParentDir => None,
        })
        .collect::<Option<_>>()?;
    match parts.as_slice() {
        ["/", "proc", owner, "mem"] => Some(owner),
        ["/", "proc", _, "task", owner, "mem"] => Some(owner),
        _ => None,
    }
}

/// Whether the process has this number, as it sees itself; or one of its threads has.
fn is_own(process: &Process, number: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid)).unwrap_or_default();
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    numbers.and_then(|numbers| numbers.split_whitespace().last()?.parse().ok()) == Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_of_memory_is_read_from_its_path() {
        for (path, owner) in [
            ("/proc/self/mem", Some("self")),
            ("/proc/12/mem", Some("12")),
            ("/proc/self/task/14/mem", Some("14")),
            ("/proc/12/maps", None),
            ("/proc/mem", None),
            ("/home/proc/12/mem", None),
        ] {
            assert_eq!(owner_of_memory(Path::new(path)), owner, "{path}");
        }
    }
}
