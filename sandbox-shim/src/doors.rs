//! Local sockets behind which a program outside the sandbox does what it is told: runs a container, a unit, a command in another
//! terminal. Whoever reaches one is no longer watched, so they are shut: covered by a mount where the shim may mount, and refused
//! when a process connects. A policy that allows the path by a rule of its own opens one again, but for the cover.

use globset::{Glob, GlobSet, GlobSetBuilder};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// One a line: pattern, and what is behind it.
#[rustfmt::skip]
const DOORS: &[(&str, &str)] = &[
    ("/{run,var/run}/docker.sock", "Docker runs containers with any folder of the host"),
    ("/run/user/*/docker.sock", "Docker runs containers with any folder of the user"),
    ("/{run,var/run}/podman/podman.sock", "Podman runs containers with any folder of the host"),
    ("/run/user/*/podman/podman.sock", "Podman runs containers with any folder of the user"),
    ("/{run,var/run}/containerd/containerd.sock", "containerd runs containers with any folder of the host"),
    ("/{run,var/run}/crio/crio.sock", "CRI-O runs containers with any folder of the host"),
    ("/var/lib/{lxd,incus}/unix.socket", "LXD and Incus run containers with any folder of the host"),
    ("/{run,var/run}/libvirt/libvirt-sock", "libvirt runs machines with any disk of the host"),
    ("/run/systemd/private", "systemd runs units"),
    ("/run/user/*/systemd/private", "systemd runs units as the user"),
    ("/{run,var/run}/dbus/system_bus_socket", "the system bus reaches systemd"),
    ("/run/user/*/bus", "the user's bus reaches systemd, which runs units as the user"),
    ("/tmp/tmux-*/*", "tmux types into other terminals"),
    ("/{run,var/run}/screen/*/*", "screen types into other terminals"),
    ("/run/user/*/emacs/*", "emacs evaluates what it is sent"),
];

fn patterns() -> &'static GlobSet {
    static PATTERNS: OnceLock<GlobSet> = OnceLock::new();
    PATTERNS.get_or_init(|| {
        let mut all = GlobSetBuilder::new();
        for (pattern, _) in DOORS {
            all.add(Glob::new(pattern).expect("the table holds patterns"));
        }
        all.build().expect("the table is small")
    })
}

/// What is behind a socket, if it is a door out of the sandbox.
#[must_use]
pub(crate) fn behind(socket: &Path) -> Option<&'static str> {
    patterns().matches(socket).first().map(|index| DOORS[*index].1)
}

/// Whether a service behind this socket looks names up outside, past the shim's own answers.
#[must_use]
pub(crate) fn answers_names(socket: &Path) -> bool {
    const SERVICES: [&str; 6] = [
        "/run/systemd/resolve/io.systemd.Resolve",
        "/run/systemd/resolve/io.systemd.Resolve.Monitor",
        "/run/nscd/socket",
        "/var/run/nscd/socket",
        "/run/avahi-daemon/socket",
        "/var/run/avahi-daemon/socket",
    ];
    SERVICES.iter().any(|service| socket == Path::new(service))
}

/// The doors that are there now.
#[must_use]
pub(crate) fn present() -> Vec<PathBuf> {
    // No door lies deeper than this below these folders.
    let mut found: Vec<PathBuf> = ["/run", "/tmp", "/var/lib/lxd", "/var/lib/incus"]
        .into_iter()
        .flat_map(|folder| sockets(Path::new(folder), 4))
        .collect();
    found.retain(|path| behind(path).is_some());
    found.sort();
    found
}

fn sockets(folder: &Path, depth: u8) -> Vec<PathBuf> {
    use std::os::unix::fs::FileTypeExt;
    let may_lead_on = folder.parent() != Some(Path::new("/tmp")) || folder.to_string_lossy().starts_with("/tmp/tmux-");
    if depth == 0 || !may_lead_on {
        return Vec::new();
    }
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_socket() => found.push(entry.path()),
            Ok(kind) if kind.is_dir() => found.extend(sockets(&entry.path(), depth - 1)),
            Ok(_) | Err(_) => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doors_are_known_and_other_sockets_are_not() {
        for door in ["/run/docker.sock", "/var/run/docker.sock", "/run/user/1000/bus", "/tmp/tmux-0/default"] {
            assert!(behind(Path::new(door)).is_some(), "{door}");
        }
        for other in ["/run/nscd/socket", "/tmp/agent.sock", "/run/user/1000/wk/agent.sock", "/tmp/tmux-0"] {
            assert_eq!(behind(Path::new(other)), None, "{other}");
        }
    }
}
