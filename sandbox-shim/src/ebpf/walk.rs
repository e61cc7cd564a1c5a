//! The program that tells of opens for reading, written down instruction by instruction.
//!
//! ```text
//! at the end of a call do what `program.rs` does; then, if it is an open for nothing but reading, and its process is in the session's process namespace:
//!     write down the thread, the result and the flags, and whose child the process is
//!     from the file that was opened, or else from the folder that its path is relative to:
//!         walk up to the root, and write down each name on the way
//!     write down the path that was asked for
//!     put all of it into the ring; if that has no room, add one to `lost`
//! ```
//! What was opened is what the kernel says it is; what was asked for is read after the call, and may be another path by then.
//!
//! The helpers that read memory are for programs under the GPL. This file may therefore be used under the GPL, version 2, or the MIT license, as
//! well as under that of the project. Pure.

use super::assembly::Register::{R0, R1, R2, R3, R4, R6, R7, R8, R9, R10};
use super::assembly::{Assembly, Helper, If, Label};
use super::layout::Layout;
use super::program;
use crate::sys::bpf::Instruction;
use std::os::fd::RawFd;

/// Flags of opens that are not for reading alone: `O_ACCMODE`, `O_CREAT`, `O_TRUNC`, `O_PATH` and the kernel's `__O_TMPFILE`, which
/// are the same on x86-64 and arm64. `calls/linux.txt` has the same number.
pub(super) const NOT_READING: i32 = 0x60_0243;

/// What comes first of what is told: each 8 bytes.
pub(super) mod head {
    pub(in super::super) const THREAD: i16 = 0;
    pub(in super::super) const RESULT: i16 = 8;
    pub(in super::super) const FLAGS: i16 = 16;
    pub(in super::super) const PARENT: i16 = 24;
    /// Nanoseconds after boot.
    pub(in super::super) const STARTED: i16 = 32;
    /// See [`super::ended`].
    pub(in super::super) const ENDED: i16 = 40;
    /// How many bytes of names follow, each with a zero byte at its end.
    pub(in super::super) const NAMES: i16 = 48;
    /// How many bytes of what was asked for follow these, with a zero byte at its end; 0 when it could not be read.
    pub(in super::super) const ASKED: i16 = 56;
    pub(in super::super) const BYTES: i16 = 64;
}

/// How a walk ended.
pub(super) mod ended {
    /// There was nothing to walk from.
    pub(in super::super) const NOWHERE: i32 = 0;
    /// At the root.
    pub(in super::super) const ROOT: i32 = 1;
    /// At a folder that hangs nowhere: a pipe, or what lies in memory alone.
    pub(in super::super) const LOOSE: i32 = 2;
    /// After as many names as are written down.
    pub(in super::super) const EARLY: i32 = 3;
}

/// As many steps up, over names and mounts, as are taken at most. The kernel looks through all of them when a session begins: a quarter of a
/// millisecond for each.
const STEPS_MAX: usize = 40;
/// As many bytes of names as are written down.
const NAMES_MAX: i32 = 4096;
/// A name with its zero byte.
const NAME_MAX: i32 = 256;
/// A path with its zero byte.
const PATH_MAX: i32 = 4096;
/// How much there is room for on the way: for all of it, and for one name more.
pub(super) const ROOM_BYTES: u32 = 64 + NAMES_MAX.unsigned_abs() + PATH_MAX.unsigned_abs() + NAME_MAX.unsigned_abs();

/// Whoever reads the ring is woken each time so many bytes, a power of two, have come into it.
pub(super) const WAKE_AT_BITS: i32 = 16;

/// The maps that the program works on, by descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Maps {
    /// The number of the session's process namespace.
    pub session: RawFd,
    /// Room for what is told, on each processor.
    pub room: RawFd,
    pub told: RawFd,
    pub lost: RawFd,
    /// What is told of how calls ended: two programs would cost every call of the machine twice as much.
    pub results: program::Maps,
}

/// Where a processor architecture keeps the arguments of a call, and the numbers of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Calls {
    /// Behind the start of `pt_regs`, as all of these.
    first: i16,
    second: i16,
    third: i16,
    number: i16,
    openat: i32,
    open: i32,
}

/// Those of this one, if the program knows it.
#[cfg(target_arch = "x86_64")]
pub(super) const CALLS: Option<Calls> =
    Some(Calls { first: 112, second: 104, third: 96, number: 120, openat: 257, open: 2 });

/// arm64 keeps them elsewhere, each in a place of its own.
#[cfg(not(target_arch = "x86_64"))]
pub(super) const CALLS: Option<Calls> = None;

// Places on the stack.
/// Of a value of the maps.
const KEY: i16 = -8;
/// Of the path that was asked for.
const PATH: i16 = -8 * 2;
/// What the path is relative to.
const FOLDER: i16 = -8 * 3;
const FLAGS: i16 = -8 * 4;
/// Whatever is read on the way.
const READ: i16 = -8 * 5;
const MOUNT: i16 = -8 * 6;

/// The program.
#[must_use]
pub(super) fn program(maps: Maps, calls: Calls, layout: &Layout) -> Vec<Instruction> {
    let mut code = Assembly::default();
    let end = code.label();
    code.copy(R6, R1);
    program::how_it_ended(&mut code, maps.results);
    arguments(&mut code, calls, end);
    code.call(Helper::CurrentTaskBtf);
    code.copy(R7, R0);
    only_of_the_session(&mut code, maps, layout, end);
    code.look_up(maps.room, KEY);
    code.jump(If::Is(R0, 0), end);
    code.copy(R9, R0);
    who_and_how(&mut code, layout);
    let (walked, walk) = (code.label(), code.label());
    where_from(&mut code, layout, walk, walked);
    code.here(walk);
    walk_up(&mut code, layout, walked);
    code.here(walked);
    asked(&mut code, end);
    tell(&mut code, maps, end);
    code.here(end);
    code.end();
    code.finish()
}

/// Ends unless the call is an open for reading alone.
fn arguments(code: &mut Assembly, calls: Calls, end: Label) {
    let (of_openat, chosen) = (code.label(), code.label());
    code.read(R1, R6, 0);
    code.read(R0, R1, calls.number);
    code.jump(If::Is(R0, calls.openat), of_openat);
    code.jump(If::Not(R0, calls.open), end);
    code.write_number(R10, FOLDER, libc::AT_FDCWD);
    code.read(R2, R1, calls.first);
    code.read(R3, R1, calls.second);
    code.jump(If::Always, chosen);
    code.here(of_openat);
    code.read(R2, R1, calls.first);
    code.write(R10, FOLDER, R2);
    code.read(R2, R1, calls.second);
    code.read(R3, R1, calls.third);
    code.here(chosen);
    code.write(R10, PATH, R2);
    code.write(R10, FLAGS, R3);
    code.keep(R3, NOT_READING);
    code.jump(If::Not(R3, 0), end);
}

/// Ends unless the process, R7, is in the session's process namespace or in one inside of it.
fn only_of_the_session(code: &mut Assembly, maps: Maps, layout: &Layout, end: Label) {
    code.read(R8, R7, at(layout.task_thread_pid));
    code.read_half(R1, R8, at(layout.pid_level));
    code.jump(If::Is(R1, 0), end);
    // The shim is in the namespace that there is from the start, so the session's is the one below it: the second.
    const UPID_BYTES: i32 = 16;
    code.read(R8, R8, at(layout.pid_numbers + UPID_BYTES + layout.upid_ns));
    code.read_half(R8, R8, at(layout.pid_namespace_ns + layout.ns_common_inum));
    code.write_number(R10, KEY, 0);
    code.look_up(maps.session, KEY);
    code.jump(If::Is(R0, 0), end);
    code.read(R1, R0, 0);
    code.jump(If::Differ(R1, R8), end);
}

/// Writes down the thread, the result, the flags, and whose child the process is.
fn who_and_how(code: &mut Assembly, layout: &Layout) {
    code.call(Helper::CurrentPidTgid);
    code.write(R9, head::THREAD, R0);
    code.read(R1, R6, 8);
    code.write(R9, head::RESULT, R1);
    code.read(R1, R10, FLAGS);
    code.write(R9, head::FLAGS, R1);
    code.read(R1, R7, at(layout.task_group_leader));
    code.read(R1, R1, at(layout.task_start_boottime));
    code.write(R9, head::STARTED, R1);
    code.read(R1, R7, at(layout.task_real_parent));
    code.read_half(R1, R1, at(layout.task_tgid));
    code.write(R9, head::PARENT, R1);
}

/// R6 becomes the name to begin with, and R7 its mount. Goes to `walked` if there is nothing.
fn where_from(code: &mut Assembly, layout: &Layout, walk: Label, walked: Label) {
    let (of_descriptor, of_folder) = (code.label(), code.label());
    code.write_number(R9, head::ENDED, ended::NOWHERE);
    code.write_number(R9, head::NAMES, 0);
    code.read(R8, R6, 8);
    code.jump(If::Below(R8, 0), of_folder);
    code.jump(If::Always, of_descriptor);
    code.here(of_folder);
    code.read(R8, R10, FOLDER);
    code.copy_half(R8, R8);
    code.write_number(R10, READ, libc::AT_FDCWD);
    code.read_half(R1, R10, READ);
    code.jump(If::Differ(R8, R1), of_descriptor);
    code.read(R8, R7, at(layout.task_fs));
    code.read(R6, R8, at(layout.fs_pwd + layout.path_dentry));
    code.read(R7, R8, at(layout.fs_pwd + layout.path_mnt));
    code.jump(If::Always, walk);
    code.here(of_descriptor);
    code.read(R6, R7, at(layout.task_files));
    code.read(R6, R6, at(layout.files_fdt));
    code.read_half(R1, R6, at(layout.fdt_max_fds));
    code.jump(If::AtLeast(R8, R1), walked);
    code.read(R6, R6, at(layout.fdt_fd));
    code.shift_left(R8, 3);
    code.add_register(R6, R8);
    code.follow(R1, READ, R6, 0);
    code.jump(If::Is(R1, 0), walked);
    code.cast(layout.rdonly_cast, layout.file);
    code.read(R6, R0, at(layout.file_f_path + layout.path_dentry));
    code.read(R7, R0, at(layout.file_f_path + layout.path_mnt));
}

/// Writes down names from R6 and R7 on, up to the root.
fn walk_up(code: &mut Assembly, layout: &Layout, walked: Label) {
    let (at_root, loose, early) = (code.label(), code.label(), code.label());
    as_pointers(code, layout);
    for _ in 0..STEPS_MAX {
        let (name, next) = (code.label(), code.label());
        code.read(R1, R7, at(layout.vfsmount_mnt_root));
        code.jump(If::Differ(R1, R6), name);
        over_to_the_mount(code, layout, at_root);
        code.jump(If::Always, next);
        code.here(name);
        // Read again each time, so that the kernel need not go back over all steps to see how far it can have come.
        code.read(R8, R9, head::NAMES);
        code.jump(If::Above(R8, NAMES_MAX - NAME_MAX), early);
        code.copy(R1, R9);
        code.add(R1, head::BYTES.into());
        code.add_register(R1, R8);
        code.set(R2, NAME_MAX);
        code.read(R3, R6, at(layout.dentry_d_name + layout.qstr_name));
        code.call(Helper::ProbeReadKernelStr);
        code.jump(If::Below(R0, 1), early);
        code.add_register(R8, R0);
        code.write(R9, head::NAMES, R8);
        code.read(R1, R6, at(layout.dentry_d_parent));
        code.jump(If::Same(R1, R6), loose);
        code.copy(R6, R1);
        code.here(next);
    }
    code.here(early);
    code.write_number(R9, head::ENDED, ended::EARLY);
    code.jump(If::Always, walked);
    code.here(at_root);
    code.write_number(R9, head::ENDED, ended::ROOT);
    code.jump(If::Always, walked);
    code.here(loose);
    code.write_number(R9, head::ENDED, ended::LOOSE);
}

/// R6, the root of what R7 shows, becomes the place where that is mounted, and R7 the mount which it is on. Goes to `at_root` if there is none.
fn over_to_the_mount(code: &mut Assembly, layout: &Layout, at_root: Label) {
    // `struct mount` has the one that is known by its middle: a number, before it is a pointer to something else.
    code.write(R10, MOUNT, R7);
    code.place(R3, MOUNT);
    code.place(R1, READ);
    code.set(R2, 8);
    code.call(Helper::ProbeReadKernel);
    code.read(R7, R10, READ);
    code.follow(R6, MOUNT, R7, layout.mount_mnt_parent - layout.mount_mnt);
    code.add(R6, layout.mount_mnt);
    code.jump(If::Same(R6, R7), at_root);
    code.follow(R1, READ, R7, layout.mount_mnt_mountpoint - layout.mount_mnt);
    code.copy(R7, R6);
    code.copy(R6, R1);
    as_pointers(code, layout);
}

/// R6 becomes a pointer to a name, and R7 one to a mount.
fn as_pointers(code: &mut Assembly, layout: &Layout) {
    for (register, of) in [(R6, layout.dentry), (R7, layout.vfsmount)] {
        code.copy(R1, register);
        code.cast(layout.rdonly_cast, of);
        code.copy(register, R0);
    }
}

/// An offset, as an instruction has room for it.
fn at(offset: i32) -> i16 {
    i16::try_from(offset).expect("the structures of the kernel are small")
}

/// Writes down the path behind the names, of which R8 has the bytes; R8 becomes the bytes of all.
fn asked(code: &mut Assembly, end: Label) {
    let (unread, read) = (code.label(), code.label());
    code.read(R8, R9, head::NAMES);
    code.jump(If::Above(R8, NAMES_MAX), end);
    code.add(R8, head::BYTES.into());
    code.copy(R1, R9);
    code.add_register(R1, R8);
    code.set(R2, PATH_MAX);
    code.read(R3, R10, PATH);
    code.call(Helper::ProbeReadUserStr);
    code.jump(If::Below(R0, 1), unread);
    code.jump(If::Above(R0, PATH_MAX), unread);
    code.write(R9, head::ASKED, R0);
    code.add_register(R8, R0);
    code.jump(If::Always, read);
    code.here(unread);
    code.write_number(R9, head::ASKED, 0);
    code.here(read);
}

/// Puts R8 bytes into the ring, and wakes whoever reads it if a good deal is there.
fn tell(code: &mut Assembly, maps: Maps, end: Label) {
    const AVAILABLE: i32 = 0;
    const NO_WAKEUP: i32 = 1;
    const WAKEUP: i32 = 2;
    code.map(R1, maps.told);
    code.set(R2, AVAILABLE);
    code.call(Helper::RingbufQuery);
    code.copy(R1, R0);
    code.add_register(R1, R8);
    // Its header, and what is left of its last word.
    code.add(R1, 16);
    code.differ(R1, R0);
    code.shift_right(R1, WAKE_AT_BITS);
    let quiet = code.label();
    code.set(R4, NO_WAKEUP);
    code.jump(If::Is(R1, 0), quiet);
    code.set(R4, WAKEUP);
    code.here(quiet);
    code.map(R1, maps.told);
    code.copy(R2, R9);
    code.copy(R3, R8);
    code.call(Helper::RingbufOutput);
    code.jump(If::Is(R0, 0), end);
    code.count_one(maps.lost, KEY, end);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calls::{Then, When, table};

    #[test]
    fn what_the_filter_lets_through_is_what_the_program_tells_of() {
        let told: Vec<_> = table().iter().filter(|entry| entry.then == Then::Told).collect();
        let Some(calls) = CALLS else { return };
        let numbers = told.iter().map(|entry| (entry.name, entry.x86_64.and_then(|number| i32::try_from(number).ok())));
        assert_eq!(numbers.collect::<Vec<_>>(), [("openat", Some(calls.openat)), ("open", Some(calls.open))]);
        for (entry, flags) in told.iter().zip([2, 1]) {
            assert_eq!(entry.when, When::Masked(flags, NOT_READING.unsigned_abs(), 0));
        }
        let all =
            libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC | libc::O_PATH | (libc::O_TMPFILE & !libc::O_DIRECTORY);
        assert_eq!(NOT_READING, all);
    }
}
