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

// Registers: a call takes its arguments in R1 to R4, answers in R0, and leaves R6 to R8 and the stack below R10 as they are.
const R0: u8 = 0;
const R1: u8 = 1;
const R2: u8 = 2;
const R3: u8 = 3;
const R4: u8 = 4;
const R6: u8 = 6;
const R7: u8 = 7;
const R8: u8 = 8;
const R10: u8 = 10;

// Places on the stack. The result lies behind the thread: together they are what is told.
const BUCKET: i16 = -24;
const THREAD: i16 = -16;
const RESULT: i16 = -8;
/// How much is told.
const TOLD_BYTES: i32 = 16;

// Helpers of the kernel, by number.
const MAP_LOOKUP: i32 = 1;
const GET_CURRENT_PID_TGID: i32 = 14;
const RINGBUF_OUTPUT: i32 = 130;

/// Whoever reads the ring looks by itself; to be woken for each error would cost more than the call.
const NO_WAKEUP: i32 = 1;

const fn instruction(code: u8, to: u8, from: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction { code, registers: from << 4 | to, offset, immediate }
}

const fn copy(to: u8, from: u8) -> Instruction {
    instruction(0xbf, to, from, 0, 0)
}

const fn set(to: u8, number: i32) -> Instruction {
    instruction(0xb7, to, 0, 0, number)
}

const fn add(to: u8, number: i32) -> Instruction {
    instruction(0x07, to, 0, 0, number)
}

/// Leaves of the register the bits that the number has.
const fn keep(to: u8, number: i32) -> Instruction {
    instruction(0x57, to, 0, 0, number)
}

/// Reads 64 bits at a pointer.
const fn read(to: u8, pointer: u8, offset: i16) -> Instruction {
    instruction(0x79, to, pointer, offset, 0)
}

/// Writes 64 bits at a pointer.
const fn write(pointer: u8, offset: i16, from: u8) -> Instruction {
    instruction(0x7b, pointer, from, offset, 0)
}

/// Adds to the 64 bits at a pointer, whatever other processors do to them.
const fn add_at(pointer: u8, from: u8) -> Instruction {
    instruction(0xdb, pointer, from, 0, 0)
}

const fn call(helper: i32) -> Instruction {
    instruction(0x85, 0, 0, 0, helper)
}

const fn end() -> Instruction {
    instruction(0x95, 0, 0, 0, 0)
}

/// The map itself, not its number; takes two instructions' room.
const fn map(to: u8, map: RawFd) -> [Instruction; 2] {
    const IS_A_MAP: u8 = 1;
    [instruction(0x18, to, IS_A_MAP, 0, map), instruction(0, 0, 0, 0, 0)]
}

/// A pointer to a place on the stack.
const fn place(to: u8, place: i16) -> [Instruction; 2] {
    [copy(to, R10), add(to, place as i32)]
}

fn jump(code: u8, register: u8, over: &[Instruction]) -> Instruction {
    instruction(code, register, 0, i16::try_from(over.len()).expect("a program of a few instructions"), 0)
}

/// Does `then` unless the register is zero.
fn unless_zero(register: u8, then: &[Instruction]) -> Vec<Instruction> {
    [&[jump(0x15, register, then)], then].concat()
}

/// Does `then` if the register, taken with its sign, is below zero.
fn if_negative(register: u8, then: &[Instruction]) -> Vec<Instruction> {
    [&[jump(0x75, register, then)], then].concat()
}

/// Does `then` if two registers are equal.
fn if_equal(one: u8, other: u8, then: &[Instruction]) -> Vec<Instruction> {
    let unequal = Instruction { registers: other << 4 | one, ..jump(0x5d, one, then) };
    [&[unequal], then].concat()
}

/// The program.
#[must_use]
pub(super) fn program(maps: Maps) -> Vec<Instruction> {
    let look_up = |in_map, key| [&map(R1, in_map)[..], &place(R2, key), &[call(MAP_LOOKUP)]].concat();
    let count_one = [set(R1, 1), add_at(R0, R1)];
    // Number 0 of the array, from where the result was.
    let count_lost =
        [&[set(R1, 0), write(R10, RESULT, R1)][..], &look_up(maps.lost, RESULT), &unless_zero(R0, &count_one)].concat();
    let tell = [
        &[write(R10, RESULT, R1)][..],
        &map(R1, maps.results),
        &place(R2, THREAD),
        &[set(R3, TOLD_BYTES), set(R4, NO_WAKEUP), call(RINGBUF_OUTPUT)],
        &unless_zero(R0, &count_lost),
    ]
    .concat();
    let awaited = [&[read(R1, R6, 8)][..], &if_negative(R1, &tell), &[set(R1, 0), write(R8, 0, R1)]].concat();
    let in_place = |number: usize| {
        let at = i16::try_from(number * PLACE_BYTES).expect("a bucket of a few places");
        [&[read(R1, R0, at)][..], &if_equal(R1, R7, &[copy(R8, R0), add(R8, at.into())])].concat()
    };
    let found = [set(R8, 0)].into_iter().chain((0..PLACES).flat_map(in_place)).collect::<Vec<_>>();
    let bucket = i32::try_from(BUCKETS - 1).expect("a number of 12 bits");
    [
        &[copy(R6, R1), call(GET_CURRENT_PID_TGID), copy(R7, R0), write(R10, THREAD, R0)][..],
        &[keep(R0, bucket), write(R10, BUCKET, R0)],
        &look_up(maps.awaited, BUCKET),
        &unless_zero(R0, &[&found[..], &unless_zero(R8, &awaited)].concat()),
        &[set(R0, 0), end()],
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_jump_leads_forward_to_an_instruction_and_the_last_one_ends_it() {
        let program = program(Maps { awaited: 3, results: 4, lost: 5 });
        let is_second_half = |at: usize| at > 0 && program[at - 1].code == 0x18;
        for (at, jump) in program.iter().enumerate().filter(|(_, one)| matches!(one.code, 0x15 | 0x5d | 0x75)) {
            let to = at + 1 + usize::try_from(jump.offset).unwrap();
            assert!(to < program.len() && !is_second_half(to), "from {at} to {to}");
        }
        assert_eq!(program.last(), Some(&end()));
    }
}
