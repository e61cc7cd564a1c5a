//! The program that the kernel runs at the end of every system call, written down instruction by instruction.
//!
//! ```text
//! thread = bpf_get_current_pid_tgid()
//! if thread is in `awaited`:
//!     if the result is an error:
//!         put {thread, result} into `results`; if that has no room, add one to `lost`
//!     remove thread from `awaited`
//! ```
//! It removes last, so that what is not awaited any more has been told. A raw tracepoint passes the result as its second argument
//! on every processor. Pure.

use crate::sys::bpf::Instruction;
use std::os::fd::RawFd;

/// The maps that the program works on, by descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Maps {
    pub awaited: RawFd,
    pub results: RawFd,
    pub lost: RawFd,
}

// Registers: a call takes its arguments in R1 to R4, answers in R0, and leaves R6 and the stack below R10 as they are.
const R0: u8 = 0;
const R1: u8 = 1;
const R2: u8 = 2;
const R3: u8 = 3;
const R4: u8 = 4;
const R6: u8 = 6;
const R10: u8 = 10;

// Places on the stack. The result lies behind the thread: together they are what is told.
const THREAD: i16 = -16;
const RESULT: i16 = -8;
/// How much is told.
const TOLD_BYTES: i32 = 16;

// Helpers of the kernel, by number.
const MAP_LOOKUP: i32 = 1;
const MAP_DELETE: i32 = 3;
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
    let awaited = [
        &[read(R1, R6, 8)][..],
        &if_negative(R1, &tell),
        &map(R1, maps.awaited),
        &place(R2, THREAD),
        &[call(MAP_DELETE)],
    ]
    .concat();
    [
        &[copy(R6, R1), call(GET_CURRENT_PID_TGID), write(R10, THREAD, R0)][..],
        &look_up(maps.awaited, THREAD),
        &unless_zero(R0, &awaited),
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
        for (at, jump) in program.iter().enumerate().filter(|(_, one)| matches!(one.code, 0x15 | 0x75)) {
            let to = at + 1 + usize::try_from(jump.offset).unwrap();
            assert!(to < program.len() && !is_second_half(to), "from {at} to {to}");
        }
        assert_eq!(program.last(), Some(&end()));
    }
}
