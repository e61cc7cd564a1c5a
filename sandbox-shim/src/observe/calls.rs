//! The system calls that the shim watches or refuses: one entry a line, each with its reason.
//!
//! Entries for one call are read in order and the first that applies decides; a call without an entry, or to which none
//! applies, is let through without the shim hearing of it.

use crate::sys::arch::nr;
use libc::{
    AF_INET, AF_INET6, AF_NETLINK, AF_UNIX, EACCES, EAFNOSUPPORT, ENOSYS, EPERM, MSG_FASTOPEN, O_PATH, SOCK_RAW,
    SOCK_SEQPACKET,
};

/// When an entry applies. Arguments are counted from 0; only the low 32 bits are compared, except for null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// To every call.
    Always,
    /// The argument is not zero.
    NotNull(u32),
    /// The argument has one of these bits.
    AnyBit(u32, u32),
    /// The argument, masked, has this value.
    Masked(u32, u32, u32),
}

/// What becomes of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// It is let through, unseen.
    Allow,
    /// It waits for the shim.
    Trap,
    /// It fails with this error number, without the shim.
    Refuse(i32),
}

/// One line of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    /// Number of the system call.
    pub nr: i64,
    /// Its name.
    pub name: &'static str,
    /// When this line applies.
    pub when: When,
    /// What happens then.
    pub then: Then,
    /// Why.
    pub reason: &'static str,
}

const LOW: u32 = u32::MAX;
const KIND: u32 = 0xf;
const NEW_NAMESPACES: u32 = 0x7e02_0080;

const fn line(nr: i64, name: &'static str, when: When, then: Then, reason: &'static str) -> Entry {
    Entry { nr, name, when, then, reason }
}

const fn trap(nr: i64, name: &'static str, reason: &'static str) -> Entry {
    line(nr, name, When::Always, Then::Trap, reason)
}

const fn refuse(nr: i64, name: &'static str, reason: &'static str) -> Entry {
    line(nr, name, When::Always, Then::Refuse(EPERM), reason)
}

const fn is(argument: u32, value: i32) -> When {
    When::Masked(argument, LOW, value.unsigned_abs())
}

const fn kind(value: i32) -> When {
    When::Masked(1, KIND, value.unsigned_abs())
}

/// The table. The calls that come most often stand first, because the filter reads from the top.
#[rustfmt::skip]
pub(crate) const CALLS: &[Entry] = &[
    // Opening files.
    line(libc::SYS_openat, "openat", When::AnyBit(2, O_PATH.unsigned_abs()), Then::Allow, "a handle without access to content"),
    trap(libc::SYS_openat, "openat", "file access"),
    line(libc::SYS_open, "open", When::AnyBit(1, O_PATH.unsigned_abs()), Then::Allow, "a handle without access to content"),
    trap(libc::SYS_open, "open", "file access"),
    trap(libc::SYS_openat2, "openat2", "file access; its flags lie in memory, so that the filter cannot see them"),
    trap(libc::SYS_creat, "creat", "file access"),
    refuse(libc::SYS_open_by_handle_at, "open_by_handle_at", "goes past every path"),
    // Executing programs.
    trap(libc::SYS_execve, "execve", "process start"),
    trap(libc::SYS_execveat, "execveat", "process start"),
    trap(libc::SYS_setsid, "setsid", "a process about to leave its parent: seen while its parent is still known"),
    // Changing names.
    trap(libc::SYS_unlink, "unlink", "file change"),
    trap(libc::SYS_unlinkat, "unlinkat", "file change"),
    trap(libc::SYS_rmdir, "rmdir", "file change"),
    trap(libc::SYS_mkdir, "mkdir", "file change"),
    trap(libc::SYS_mkdirat, "mkdirat", "file change"),
    trap(libc::SYS_rename, "rename", "file change"),
    trap(libc::SYS_renameat, "renameat", "file change"),
    trap(libc::SYS_renameat2, "renameat2", "file change"),
    trap(libc::SYS_link, "link", "file change"),
    trap(libc::SYS_linkat, "linkat", "file change"),
    trap(libc::SYS_symlink, "symlink", "file change"),
    trap(libc::SYS_symlinkat, "symlinkat", "file change"),
    trap(libc::SYS_mknod, "mknod", "file change; devices are refused"),
    trap(libc::SYS_mknodat, "mknodat", "file change; devices are refused"),
    // Changing files by path.
    trap(libc::SYS_truncate, "truncate", "file change"),
    trap(libc::SYS_chmod, "chmod", "mode change"),
    trap(libc::SYS_fchmod, "fchmod", "mode change"),
    trap(libc::SYS_fchmodat, "fchmodat", "mode change"),
    trap(nr::FCHMODAT2, "fchmodat2", "mode change"),
    trap(libc::SYS_chown, "chown", "owner change"),
    trap(libc::SYS_lchown, "lchown", "owner change"),
    trap(libc::SYS_fchown, "fchown", "owner change"),
    trap(libc::SYS_fchownat, "fchownat", "owner change"),
    // The network.
    trap(libc::SYS_connect, "connect", "network"),
    line(libc::SYS_sendto, "sendto", When::NotNull(4), Then::Trap, "a datagram to an address"),
    line(libc::SYS_sendto, "sendto", When::AnyBit(3, MSG_FASTOPEN.unsigned_abs()), Then::Refuse(EPERM), "connects without connect"),
    line(libc::SYS_sendmsg, "sendmsg", When::AnyBit(2, MSG_FASTOPEN.unsigned_abs()), Then::Refuse(EPERM), "connects without connect"),
    trap(libc::SYS_sendmsg, "sendmsg", "may carry an address, which lies in memory"),
    line(libc::SYS_sendmmsg, "sendmmsg", When::AnyBit(3, MSG_FASTOPEN.unsigned_abs()), Then::Refuse(EPERM), "connects without connect"),
    trap(libc::SYS_sendmmsg, "sendmmsg", "may carry addresses, which lie in memory"),
    trap(libc::SYS_bind, "bind", "network"),
    trap(libc::SYS_listen, "listen", "network"),
    line(libc::SYS_socket, "socket", is(0, AF_UNIX), Then::Allow, "local; connect is watched"),
    line(libc::SYS_socket, "socket", is(0, AF_NETLINK), Then::Allow, "how programs list network interfaces; changes need a capability"),
    line(libc::SYS_socket, "socket", kind(SOCK_RAW), Then::Refuse(EPERM), "raw packets pass every check of addresses"),
    line(libc::SYS_socket, "socket", kind(10), Then::Refuse(EPERM), "raw packets pass every check of addresses"),
    line(libc::SYS_socket, "socket", kind(SOCK_SEQPACKET), Then::Refuse(EPERM), "SCTP connects when it sends"),
    line(libc::SYS_socket, "socket", is(0, AF_INET), Then::Allow, "connect and addressed sends are watched"),
    line(libc::SYS_socket, "socket", is(0, AF_INET6), Then::Allow, "connect and addressed sends are watched"),
    line(libc::SYS_socket, "socket", When::Always, Then::Refuse(EAFNOSUPPORT), "vsock, packet and other families that nothing here checks"),
    // Namespaces and mounts: another view of files or of the network would make the records untrue.
    line(libc::SYS_clone, "clone", When::AnyBit(0, NEW_NAMESPACES), Then::Refuse(EPERM), "new namespaces"),
    line(libc::SYS_clone3, "clone3", When::Always, Then::Refuse(ENOSYS), "its flags lie in memory; the C library falls back to clone"),
    line(libc::SYS_unshare, "unshare", When::AnyBit(0, NEW_NAMESPACES), Then::Refuse(EPERM), "new namespaces"),
    refuse(libc::SYS_setns, "setns", "another namespace"),
    refuse(libc::SYS_chroot, "chroot", "another root"),
    refuse(libc::SYS_pivot_root, "pivot_root", "another root"),
    refuse(libc::SYS_mount, "mount", "another view of files"),
    refuse(libc::SYS_umount2, "umount2", "another view of files"),
    refuse(libc::SYS_move_mount, "move_mount", "another view of files"),
    refuse(libc::SYS_open_tree, "open_tree", "another view of files"),
    refuse(nr::OPEN_TREE_ATTR, "open_tree_attr", "another view of files"),
    refuse(libc::SYS_fsopen, "fsopen", "another view of files"),
    refuse(libc::SYS_fsconfig, "fsconfig", "another view of files"),
    refuse(libc::SYS_fsmount, "fsmount", "another view of files"),
    refuse(libc::SYS_fspick, "fspick", "another view of files"),
    refuse(libc::SYS_mount_setattr, "mount_setattr", "another view of files"),
    // Ways around the filter.
    refuse(libc::SYS_io_uring_setup, "io_uring_setup", "opens and connects without a system call of its own"),
    refuse(libc::SYS_io_uring_enter, "io_uring_enter", "opens and connects without a system call of its own"),
    refuse(libc::SYS_io_uring_register, "io_uring_register", "opens and connects without a system call of its own"),
    // Reaching into other processes: what one process is seen to do must be its own doing.
    refuse(libc::SYS_ptrace, "ptrace", "drives another process"),
    refuse(libc::SYS_process_vm_writev, "process_vm_writev", "drives another process"),
    refuse(libc::SYS_pidfd_getfd, "pidfd_getfd", "takes descriptors of another process"),
    refuse(libc::SYS_kcmp, "kcmp", "looks into another process"),
    // The kernel itself.
    refuse(libc::SYS_bpf, "bpf", "code in the kernel"),
    refuse(libc::SYS_perf_event_open, "perf_event_open", "looks into the kernel and other processes"),
    refuse(libc::SYS_userfaultfd, "userfaultfd", "stops the kernel in the middle of reading an argument"),
    refuse(libc::SYS_init_module, "init_module", "code in the kernel"),
    refuse(libc::SYS_finit_module, "finit_module", "code in the kernel"),
    refuse(libc::SYS_delete_module, "delete_module", "code in the kernel"),
    refuse(libc::SYS_kexec_load, "kexec_load", "another kernel"),
    refuse(libc::SYS_kexec_file_load, "kexec_file_load", "another kernel"),
    refuse(libc::SYS_reboot, "reboot", "ends the watch"),
    refuse(libc::SYS_swapon, "swapon", "changes the host"),
    refuse(libc::SYS_swapoff, "swapoff", "changes the host"),
    refuse(libc::SYS_acct, "acct", "changes the host"),
    refuse(libc::SYS_quotactl, "quotactl", "changes the host"),
    refuse(libc::SYS_iopl, "iopl", "hardware"),
    refuse(libc::SYS_ioperm, "ioperm", "hardware"),
    refuse(libc::SYS_keyctl, "keyctl", "keys of other processes of the same user"),
    refuse(libc::SYS_add_key, "add_key", "keys of other processes of the same user"),
    refuse(libc::SYS_request_key, "request_key", "keys of other processes of the same user"),
    line(libc::SYS_fanotify_init, "fanotify_init", When::Always, Then::Refuse(EACCES), "holds the files of others"),
    line(libc::SYS_ioctl, "ioctl", When::Masked(1, LOW, 0x5412), Then::Refuse(EPERM), "TIOCSTI types into the user's terminal"),
    line(libc::SYS_ioctl, "ioctl", When::Masked(1, LOW, 0x541c), Then::Refuse(EPERM), "TIOCLINUX pastes into the user's terminal"),
];

/// In place of the lines that let IP sockets be made, where the shim cannot copy them later: then it makes them itself.
#[must_use]
pub(crate) fn with_sockets_made_by_the_shim(entry: Entry) -> Entry {
    let makes_ip = entry.nr == libc::SYS_socket && (entry.when == is(0, AF_INET) || entry.when == is(0, AF_INET6));
    if makes_ip { Entry { then: Then::Trap, ..entry } } else { entry }
}

/// Added where the shim has no power over the agent's memory but being the same user: a process that hides its memory would
/// blind the shim, so the request is answered with success and nothing is changed.
pub(crate) const KEEP_DUMPABLE: Entry = line(
    libc::SYS_prctl,
    "prctl",
    When::Masked(0, LOW, 4),
    Then::Refuse(0),
    "PR_SET_DUMPABLE would blind a shim of the same user",
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_can_be_reached_and_gives_a_reason() {
        for (index, entry) in CALLS.iter().enumerate() {
            assert!(!entry.reason.is_empty(), "{} has no reason", entry.name);
            let shadowed = CALLS[..index].iter().any(|before| before.nr == entry.nr && before.when == When::Always);
            assert!(!shadowed, "an entry for {} stands below one that always applies", entry.name);
        }
    }

    #[test]
    fn entries_of_one_call_stand_together() {
        let mut seen = Vec::new();
        for entry in CALLS {
            if seen.last() != Some(&entry.nr) {
                assert!(!seen.contains(&entry.nr), "the entries for {} are scattered", entry.name);
                seen.push(entry.nr);
            }
        }
    }
}
