//! Instructions for the kernel's programs, and an assembler that knows where its jumps lead.
//!
//! `Documentation/bpf/standardization/instruction-set.rst` of the kernel has the codes, `include/uapi/linux/bpf.h` the helpers' numbers. Pure.

use crate::sys::bpf::Instruction;
use std::os::fd::RawFd;

/// A register. A call takes its arguments in R1 to R5, answers in R0, and leaves R6 to R9 and the stack below R10 as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Register {
    R0,
    R1,
    R2,
    R3,
    R4,
    R6 = 6,
    R7,
    R8,
    R9,
    R10,
}

use Register::{R0, R1, R2, R3, R10};

/// What the kernel does for a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub(super) enum Helper {
    /// Finds a value of a map.
    MapLookup = 1,
    /// The process, and the thread below it.
    CurrentPidTgid = 14,
    /// Reads the kernel's memory; zeros where there is none. For programs under the GPL alone.
    ProbeReadKernel = 113,
    /// Reads text from the memory of the process; its length with the zero byte. For programs under the GPL alone.
    ProbeReadUserStr = 114,
    /// The same, from the kernel's. For programs under the GPL alone.
    ProbeReadKernelStr = 115,
    /// Puts something into a ring.
    RingbufOutput = 130,
    /// How much is in a ring.
    RingbufQuery = 134,
    /// The kernel's `task_struct`. For programs under the GPL alone.
    CurrentTaskBtf = 158,
}

/// When a jump is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum If {
    Always,
    /// The register is the number.
    Is(Register, i32),
    /// The register is not the number.
    Not(Register, i32),
    /// Both registers are equal.
    Same(Register, Register),
    /// They are not.
    Differ(Register, Register),
    /// The register, without a sign, is above the number.
    Above(Register, i32),
    /// The first register, without a sign, is the second or above it.
    AtLeast(Register, Register),
    /// The register, with its sign, is below the number.
    Below(Register, i32),
    /// The register, with its sign, is zero or above it.
    AtLeastZero(Register),
}

/// A place in the program that can be jumped to, once it is [`Assembly::here`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Label(usize);

/// A program that is being written.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    instructions: Vec<Instruction>,
    jumps: Vec<(usize, Label)>,
    places: Vec<Option<usize>>,
}

/// Widths of what is read and written.
const WORD: u8 = 0x00;
const DOUBLE_WORD: u8 = 0x18;

impl Assembly {
    fn push(&mut self, code: u8, to: Register, from: u8, offset: i16, immediate: i32) {
        let registers = from << 4 | to as u8;
        self.instructions.push(Instruction { code, registers, offset, immediate });
    }

    pub(super) fn copy(&mut self, to: Register, from: Register) {
        self.push(0xbf, to, from as u8, 0, 0);
    }

    /// Copies the lower half; the upper is zero.
    pub(super) fn copy_half(&mut self, to: Register, from: Register) {
        self.push(0xbc, to, from as u8, 0, 0);
    }

    pub(super) fn set(&mut self, to: Register, number: i32) {
        self.push(0xb7, to, 0, 0, number);
    }

    pub(super) fn add(&mut self, to: Register, number: i32) {
        self.push(0x07, to, 0, 0, number);
    }

    pub(super) fn add_register(&mut self, to: Register, from: Register) {
        self.push(0x0f, to, from as u8, 0, 0);
    }

    /// Leaves of the register the bits that the number has.
    pub(super) fn keep(&mut self, to: Register, bits: i32) {
        self.push(0x57, to, 0, 0, bits);
    }

    /// The bits that differ.
    pub(super) fn differ(&mut self, to: Register, from: Register) {
        self.push(0xaf, to, from as u8, 0, 0);
    }

    pub(super) fn shift_left(&mut self, to: Register, bits: i32) {
        self.push(0x67, to, 0, 0, bits);
    }

    pub(super) fn shift_right(&mut self, to: Register, bits: i32) {
        self.push(0x77, to, 0, 0, bits);
    }

    /// Reads 64 bits at a pointer.
    pub(super) fn read(&mut self, to: Register, pointer: Register, offset: i16) {
        self.push(0x61 | DOUBLE_WORD, to, pointer as u8, offset, 0);
    }

    /// Reads 32 bits at a pointer.
    pub(super) fn read_half(&mut self, to: Register, pointer: Register, offset: i16) {
        self.push(0x61 | WORD, to, pointer as u8, offset, 0);
    }

    /// Writes 64 bits at a pointer.
    pub(super) fn write(&mut self, pointer: Register, offset: i16, from: Register) {
        self.push(0x63 | DOUBLE_WORD, pointer, from as u8, offset, 0);
    }

    /// Writes a number of 64 bits at a pointer.
    pub(super) fn write_number(&mut self, pointer: Register, offset: i16, number: i32) {
        self.push(0x62 | DOUBLE_WORD, pointer, 0, offset, number);
    }

    /// Adds to the 64 bits at a pointer, whatever other processors do to them.
    pub(super) fn add_at(&mut self, pointer: Register, from: Register) {
        self.push(0xdb, pointer, from as u8, 0, 0);
    }

    pub(super) fn call(&mut self, helper: Helper) {
        self.push(0x85, R0, 0, 0, helper as i32);
    }

    /// Makes of the number in R1 a pointer to a type of the kernel's, R0, which can be read through as it is, and reads zeros where nothing is. `cast`
    /// and `of` are numbers of the kernel's types, the first of `bpf_rdonly_cast`. For programs under the GPL alone.
    pub(super) fn cast(&mut self, cast: u32, of: u32) {
        const OF_THE_KERNEL: u8 = 2;
        self.set(R2, of.cast_signed());
        self.push(0x85, R0, OF_THE_KERNEL, 0, cast.cast_signed());
    }

    /// The map itself, not its number; takes two instructions' room.
    pub(super) fn map(&mut self, to: Register, map: RawFd) {
        const IS_A_MAP: u8 = 1;
        self.push(0x18, to, IS_A_MAP, 0, map);
        self.push(0, R0, 0, 0, 0);
    }

    /// A pointer to a place on the stack.
    pub(super) fn place(&mut self, to: Register, place: i16) {
        self.copy(to, R10);
        self.add(to, place.into());
    }

    /// Looks for the value of a map whose key, of 32 bits, lies on the stack; R0 is it, or zero.
    pub(super) fn look_up(&mut self, map: RawFd, key: i16) {
        self.map(R1, map);
        self.place(R2, key);
        self.call(Helper::MapLookup);
    }

    /// Adds one to value 0 of a map, and goes to `then` if there is none; its key is made at this place on the stack.
    pub(super) fn count_one(&mut self, map: RawFd, key: i16, then: Label) {
        self.write_number(R10, key, 0);
        self.look_up(map, key);
        self.jump(If::Is(R0, 0), then);
        self.set(R1, 1);
        self.add_at(R0, R1);
    }

    /// Reads so many bytes of the kernel's memory onto the stack, from where the register points, and so far behind it.
    pub(super) fn probe(&mut self, place: i16, bytes: i32, pointer: Register, offset: i32) {
        self.copy(R3, pointer);
        self.add(R3, offset);
        self.place(R1, place);
        self.set(R2, bytes);
        self.call(Helper::ProbeReadKernel);
    }

    /// Reads a pointer of the kernel's into a register, by way of the stack.
    pub(super) fn follow(&mut self, to: Register, place: i16, pointer: Register, offset: i32) {
        self.probe(place, 8, pointer, offset);
        self.read(to, R10, place);
    }

    /// A label whose place is not known yet.
    pub(super) fn label(&mut self) -> Label {
        self.places.push(None);
        Label(self.places.len() - 1)
    }

    /// The next instruction is where this label is.
    pub(super) fn here(&mut self, label: Label) {
        self.places[label.0] = Some(self.instructions.len());
    }

    pub(super) fn jump(&mut self, when: If, to: Label) {
        self.jumps.push((self.instructions.len(), to));
        match when {
            If::Always => self.push(0x05, R0, 0, 0, 0),
            If::Is(register, number) => self.push(0x15, register, 0, 0, number),
            If::Not(register, number) => self.push(0x55, register, 0, 0, number),
            If::Same(one, other) => self.push(0x1d, one, other as u8, 0, 0),
            If::Differ(one, other) => self.push(0x5d, one, other as u8, 0, 0),
            If::AtLeastZero(register) => self.push(0x75, register, 0, 0, 0),
            If::Above(register, number) => self.push(0x25, register, 0, 0, number),
            If::AtLeast(one, other) => self.push(0x3d, one, other as u8, 0, 0),
            If::Below(register, number) => self.push(0xc5, register, 0, 0, number),
        }
    }

    /// Ends the program, with zero.
    pub(super) fn end(&mut self) {
        self.set(R0, 0);
        self.push(0x95, R0, 0, 0, 0);
    }

    /// The program.
    ///
    /// # Panics
    /// When a label that is jumped to was never [`Assembly::here`], or lies too far away; the programs are ours.
    pub(super) fn finish(mut self) -> Vec<Instruction> {
        for (at, label) in self.jumps {
            let to = self.places[label.0].expect("a label has a place");
            let over = to.checked_sub(at + 1).and_then(|over| i16::try_from(over).ok());
            self.instructions[at].offset = over.expect("jumps lead forward, and not far");
        }
        self.instructions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_leads_over_what_lies_between() {
        let mut code = Assembly::default();
        let (far, near) = (code.label(), code.label());
        code.jump(If::Is(R1, 7), far);
        code.jump(If::Always, near);
        code.here(near);
        code.map(R1, 3);
        code.here(far);
        code.end();
        let program = code.finish();
        assert_eq!((program[0].offset, program[1].offset), (3, 0));
        assert_eq!(program.last().map(|last| last.code), Some(0x95));
    }

    #[test]
    #[should_panic(expected = "a label has a place")]
    fn a_jump_to_nowhere_is_found() {
        let mut code = Assembly::default();
        let nowhere = code.label();
        code.jump(If::Always, nowhere);
        code.finish();
    }
}
