//! How much a session may use: by its cgroup where that can count, else by limits on each process.

use super::LaunchError;
use crate::policy::Limits;
use std::path::Path;

/// A limit that each process is started with.
type OfEach = (libc::__rlimit_resource_t, (u64, u64));

/// Puts the policy's limits on the session's cgroup; what no cgroup can count is returned as limits of each process. Adds to `words`
/// what holds.
///
/// # Errors
/// When a limit that the policy asks for can be had in neither way: a session that may use everything is not what was asked for.
pub(super) fn put_on(
    limits: Limits,
    cgroup: Option<&Path>,
    own_user_namespace: bool,
    words: &mut Vec<String>,
) -> Result<Vec<OfEach>, LaunchError> {
    let counted = |file: &str, value: u64| {
        cgroup.is_some_and(|folder| {
            let path = folder.join(file);
            path.exists() && std::fs::write(path, value.to_string()).is_ok()
        })
    };
    let mut of_each = Vec::new();
    if let Some(bytes) = limits.memory_bytes {
        if counted("memory.max", bytes) {
            words.push("memory-limit".to_owned());
        } else {
            of_each.push((libc::RLIMIT_DATA, (bytes, bytes)));
            words.push("memory-limit-of-each-process".to_owned());
        }
    }
    if let Some(count) = limits.processes {
        if counted("pids.max", count) {
            words.push("process-limit".to_owned());
        } else if own_user_namespace {
            // The kernel counts a user's processes per user namespace, and this one has no others.
            of_each.push((libc::RLIMIT_NPROC, (count, count)));
            words.push("process-limit".to_owned());
        } else {
            return Err(LaunchError::NoProcessLimit);
        }
    }
    Ok(of_each)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_goes_to_the_cgroup_or_to_each_process_or_nothing_starts() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("memory.max"), "max").unwrap();
        let limits = Limits { memory_bytes: Some(1 << 20), processes: Some(7), time: None };
        let mut words = Vec::new();
        let of_each = put_on(limits, Some(folder.path()), true, &mut words).unwrap();
        assert_eq!(of_each, [(libc::RLIMIT_NPROC, (7, 7))]);
        assert_eq!(words, ["memory-limit", "process-limit"]);
        assert_eq!(std::fs::read_to_string(folder.path().join("memory.max")).unwrap(), (1 << 20).to_string());
        assert!(matches!(put_on(limits, None, false, &mut words), Err(LaunchError::NoProcessLimit)));
        assert_eq!(put_on(Limits::default(), None, false, &mut words).unwrap(), []);
    }
}
