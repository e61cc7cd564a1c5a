//! What gVisor is asked to tell: the trace session, as `runsc --pod-init-config` and `runsc trace create --config` read it.
//!
//! A call that gVisor describes is asked for as it ends, with its result. Of the others only the registers are known, and those only
//! as it begins: the exit of a raw point carries what was asked for with its entry (google/gvisor,
//! `pkg/sentry/kernel/task_syscall.go`), which would be two messages for one call.

use serde_json::{Value, json};

/// Points with fields of their own, by name, and the optional field that is asked for. No environment is: it holds secrets.
const POINTS: &[(&str, Option<&str>)] = &[
    ("container/start", None),
    ("sentry/clone", None),
    ("sentry/execve", None),
    ("sentry/exit_notify_parent", None),
    ("sentry/task_exit", None),
    ("syscall/open/exit", None),
    ("syscall/openat/exit", Some("fd_path")),
    ("syscall/creat/exit", None),
    ("syscall/socket/exit", None),
    ("syscall/connect/exit", None),
    ("syscall/bind/exit", None),
    ("syscall/execve/exit", None),
    ("syscall/execveat/exit", Some("fd_path")),
];

/// A call of which gVisor tells only the registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RawCall {
    /// Its number on this machine.
    pub number: i64,
    /// Its name.
    pub name: &'static str,
    /// Why it is watched.
    pub reason: &'static str,
}

const NAMES: &str = "it changes names of files, and gVisor does not tell which";
const ATTRIBUTES: &str = "it changes attributes of a file, and gVisor does not tell of which";
const REACHES: &str = "it reaches into another process";
const SANDBOX: &str = "it changes what the process may see or do";
const SENDS: &str = "it may send to an address, and gVisor does not tell to which";
const OPENS: &str = "it opens a file, and gVisor does not tell which";

/// In the order of their numbers on x86-64.
#[rustfmt::skip]
pub(crate) const RAW: &[RawCall] = &[
    #[cfg(target_arch = "x86_64")] raw(libc::SYS_rename, "rename", NAMES),
    #[cfg(target_arch = "x86_64")] raw(libc::SYS_mkdir, "mkdir", NAMES),
    #[cfg(target_arch = "x86_64")] raw(libc::SYS_rmdir, "rmdir", NAMES),
    #[cfg(target_arch = "x86_64")] raw(libc::SYS_link, "link", NAMES),
    #[cfg(target_arch = "x86_64")] raw(libc::SYS_unlink, "unlink", NAMES),
    #[cfg(target_arch = "x86_64")] raw(libc::SYS_symlink, "symlink", NAMES),
    #[cfg(target_arch = "x86_64")] raw(libc::SYS_chmod, "chmod", ATTRIBUTES),
    #[cfg(target_arch = "x86_64")] raw(libc::SYS_chown, "chown", ATTRIBUTES),
    #[cfg(target_arch = "x86_64")] raw(libc::SYS_lchown, "lchown", ATTRIBUTES),
    #[cfg(target_arch = "x86_64")] raw(libc::SYS_mknod, "mknod", NAMES),
    raw(libc::SYS_sendto, "sendto", SENDS),
    raw(libc::SYS_truncate, "truncate", OPENS),
    raw(libc::SYS_fchmod, "fchmod", ATTRIBUTES),
    raw(libc::SYS_fchown, "fchown", ATTRIBUTES),
    raw(libc::SYS_ptrace, "ptrace", REACHES),
    raw(libc::SYS_pivot_root, "pivot_root", SANDBOX),
    raw(libc::SYS_chroot, "chroot", SANDBOX),
    raw(libc::SYS_mount, "mount", SANDBOX),
    raw(libc::SYS_umount2, "umount2", SANDBOX),
    raw(libc::SYS_setxattr, "setxattr", ATTRIBUTES),
    raw(libc::SYS_removexattr, "removexattr", ATTRIBUTES),
    raw(libc::SYS_mkdirat, "mkdirat", NAMES),
    raw(libc::SYS_mknodat, "mknodat", NAMES),
    raw(libc::SYS_fchownat, "fchownat", ATTRIBUTES),
    raw(libc::SYS_unlinkat, "unlinkat", NAMES),
    raw(libc::SYS_renameat, "renameat", NAMES),
    raw(libc::SYS_linkat, "linkat", NAMES),
    raw(libc::SYS_symlinkat, "symlinkat", NAMES),
    raw(libc::SYS_fchmodat, "fchmodat", ATTRIBUTES),
    raw(libc::SYS_unshare, "unshare", SANDBOX),
    raw(libc::SYS_open_by_handle_at, "open_by_handle_at", OPENS),
    raw(libc::SYS_setns, "setns", SANDBOX),
    raw(libc::SYS_process_vm_readv, "process_vm_readv", REACHES),
    raw(libc::SYS_process_vm_writev, "process_vm_writev", REACHES),
    raw(libc::SYS_renameat2, "renameat2", NAMES),
    raw(libc::SYS_memfd_create, "memfd_create", SANDBOX),
    raw(libc::SYS_bpf, "bpf", SANDBOX),
    raw(libc::SYS_io_uring_setup, "io_uring_setup", SANDBOX),
    raw(libc::SYS_openat2, "openat2", OPENS),
];

const fn raw(number: i64, name: &'static str, reason: &'static str) -> RawCall {
    RawCall { number, name, reason }
}

/// The raw call with this number.
pub(crate) fn raw_call(number: u64) -> Option<&'static RawCall> {
    let number = i64::try_from(number).ok()?;
    RAW.iter().find(|call| call.number == number)
}

/// What is asked about whoever did it.
const CONTEXT: &[&str] =
    &["time", "thread_id", "group_id", "thread_group_start_time", "container_id", "credentials", "cwd", "process_name"];

/// How often the sandbox tries to hand a message over, ten milliseconds apart at most, before it drops it: a minute. Until then the
/// process that did it waits, so that what is slow to be recorded slows the agent, and is not lost.
const RETRIES: u32 = 6000;

/// The configuration for a sandbox whose points go to the socket at `endpoint`. A sandbox that cannot reach the socket does not start.
#[must_use]
pub fn trace_session(endpoint: &str) -> Value {
    let named = POINTS.iter().map(|(name, optional)| {
        // The parent of an ended process is told outside of any working directory, and runsc refuses to be asked for one.
        let context = CONTEXT.iter().filter(|field| **field != "cwd" || *name != "sentry/exit_notify_parent");
        let mut point = json!({"name": name, "context_fields": context.collect::<Vec<_>>()});
        if let Some(optional) = optional {
            point["optional_fields"] = json!([optional]);
        }
        point
    });
    let raw = RAW
        .iter()
        .map(|call| json!({"name": format!("syscall/sysno/{}/enter", call.number), "context_fields": CONTEXT}));
    json!({"trace_session": {
        "name": "Default",
        // What an older runsc, or another processor, does not have is left away.
        "ignore_missing": true,
        "points": named.chain(raw).collect::<Vec<_>>(),
        "sinks": [{
            "name": "remote",
            "config": {"endpoint": endpoint, "retries": RETRIES, "backoff": "25us", "backoff_max": "10ms"},
        }],
    }})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_is_asked_for_once_and_no_environment_is() {
        let session = trace_session("/run/wk/gvisor.sock");
        let points = session["trace_session"]["points"].as_array().unwrap();
        let mut names: Vec<_> = points.iter().map(|point| point["name"].as_str().unwrap()).collect();
        assert_eq!(names.len(), POINTS.len() + RAW.len());
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), points.len());
        assert!(!session.to_string().contains("env"), "{session}");
        assert_eq!(session["trace_session"]["sinks"][0]["config"]["endpoint"], "/run/wk/gvisor.sock");
    }
}
