//! The program that the kernel runs at the end of every system call, written down instruction by instruction.
//!
//! ```text
//! thread = bpf_get_current_pid_tgid()
//! if thread stands in one of the places of `awaited` at its number modulo BUCKETS:
//!     if the result is an error:
//!         put {thread, result} into `results`; if that has no room, add one to `lost`
//!     make the place zero
//! ```
//! It does that last, so that what is not awaited any more has been told. A raw tracepoint passes the result as its second argument
//! on every processor. `awaited` is an array and no hash, because the kernel looks into an array in a few instructions, and every call of the machine
//! passes here. Pure.

use super::assembly::Register::{R0, R1, R2, R3, R4, R6, R7, R8, R10};
use super::assembly::{Assembly, Helper, If, Label};
use crate::sys::bpf::Instruction;
use std::os::fd::RawFd;

/// How many buckets of threads there are, a power of two.
pub(super) const BUCKETS: u32 = 4096;
/// How many threads with the same number, modulo [`BUCKETS`], may be inside a call at the same moment.
pub(super) const PLACES: usize = 4;
/// How many bytes a place has.
pub(super) const PLACE_BYTES: usize = 8;

/// The maps that the program works on, by descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Maps {
    pub awaited: RawFd,
    pub results: RawFd,
    pub lost: RawFd,
}

// Places on the stack. The result lies behind the thread: together they are what is told.
const BUCKET: i16 = -24;
const THREAD: i16 = -16;
const RESULT: i16 = -8;
/// How much is told.
const TOLD_BYTES: i32 = 16;

/// Whoever reads the ring looks by itself; to be woken for each error would cost more than the call.
const NO_WAKEUP: i32 = 1;

/// The program.
#[must_use]
pub(super) fn program(maps: Maps) -> Vec<Instruction> {
    let mut code = Assembly::default();
    code.copy(R6, R1);
    how_it_ended(&mut code, maps);
    code.end();
    code.finish()
}

/// The same as a part of another program, which has its context in R6.
pub(super) fn how_it_ended(code: &mut Assembly, maps: Maps) {
    let end = code.label();
    code.call(Helper::CurrentPidTgid);
    code.copy(R7, R0);
    code.write(R10, THREAD, R0);
    code.keep(R0, i32::try_from(BUCKETS - 1).expect("a number of 12 bits"));
    code.write(R10, BUCKET, R0);
    code.look_up(maps.awaited, BUCKET);
    code.jump(If::Is(R0, 0), end);
    // R8 becomes the place, if the thread stands in one.
    code.set(R8, 0);
    for number in 0..PLACES {
        let at = i16::try_from(number * PLACE_BYTES).expect("a bucket of a few places");
        let other = code.label();
        code.read(R1, R0, at);
        code.jump(If::Differ(R1, R7), other);
        code.copy(R8, R0);
        code.add(R8, at.into());
        code.here(other);
    }
    code.jump(If::Is(R8, 0), end);
    let told = code.label();
    code.read(R1, R6, 8);
    code.jump(If::AtLeastZero(R1), told);
    tell(code, maps, told);
    code.here(told);
    code.set(R1, 0);
    code.write(R8, 0, R1);
    code.here(end);
}

/// Tells the result, R1, and goes to `told`.
fn tell(code: &mut Assembly, maps: Maps, told: Label) {
    code.write(R10, RESULT, R1);
    code.map(R1, maps.results);
    code.place(R2, THREAD);
    code.set(R3, TOLD_BYTES);
    code.set(R4, NO_WAKEUP);
    code.call(Helper::RingbufOutput);
    code.jump(If::Is(R0, 0), told);
    // Number 0 of the array, from where the result was.
    code.count_one(maps.lost, RESULT, told);
}
