//! What is known about this host and this user, read from `/proc` and `/etc/passwd`.

use std::fs;
use std::os::unix::fs::MetadataExt;

/// The user that the shim, and so the agent, runs as.
#[derive(Debug)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) id: i64,
}

pub(super) fn user() -> User {
    let id = fs::metadata("/proc/self").map_or(-1, |m| i64::from(m.uid()));
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse::<i64>() == Ok(id)).then(|| name.to_owned())
    });
    User { name: name.unwrap_or_else(|| id.to_string()), id }
}

pub(super) fn kernel() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").map_or_else(|_| "unknown".into(), |r| r.trim().to_owned())
}

/// Name of this host.
#[must_use]
pub fn host_name() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").map_or_else(|_| "localhost".into(), |n| n.trim().to_owned())
}
