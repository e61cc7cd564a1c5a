//! Compiles the table of calls into the filter that the kernel runs.
//!
//! ```text
//! other architecture  -> the process is killed
//! x32, or a call newer than this filter -> ENOSYS
//! for each call of the table: its entries in order, then allow
//! everything else     -> allow
//! ```
//! Pure: makes instructions, installs nothing.

use super::calls::{Entry, Then, When};
use crate::sys::arch::{AUDIT_ARCH, FOREIGN_ABI_FROM, LAST_KNOWN};
use crate::sys::seccomp::Instruction;

const LOAD: u16 = 0x20;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER: u16 = 0x25;
const JUMP_SET: u16 = 0x45;
const AND: u16 = 0x54;
const RETURN: u16 = 0x06;

const AT_NR: u32 = 0;
const AT_ARCH: u32 = 4;
const AT_ARGS: u32 = 16;

const fn op(code: u16, k: u32) -> Instruction {
    Instruction { code, jt: 0, jf: 0, k }
}

const fn jump(code: u16, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code, jt, jf, k }
}

const fn verdict(then: Then) -> Instruction {
    match then {
        Then::Allow => op(RETURN, libc::SECCOMP_RET_ALLOW),
        Then::Trap => op(RETURN, libc::SECCOMP_RET_USER_NOTIF),
        Then::Refuse(errno) => op(RETURN, libc::SECCOMP_RET_ERRNO | errno.unsigned_abs()),
    }
}

/// Compiles `entries`; those of one call must stand together.
///
/// # Panics
/// When one call has so many entries that a jump would be longer than a jump may be; the table is ours.
#[must_use]
pub(crate) fn compile(entries: &[Entry]) -> Vec<Instruction> {
    let mut program = vec![
        op(LOAD, AT_ARCH),
        jump(JUMP_EQUAL, AUDIT_ARCH, 1, 0),
        op(RETURN, libc::SECCOMP_RET_KILL_PROCESS),
        op(LOAD, AT_NR),
        jump(JUMP_GREATER, FOREIGN_ABI_FROM - 1, 1, 0),
        jump(JUMP_GREATER, LAST_KNOWN, 0, 1),
        verdict(Then::Refuse(libc::ENOSYS)),
    ];
    for group in entries.chunk_by(|a, b| a.nr == b.nr) {
        let mut block = Vec::new();
        for entry in group {
            test(entry, &mut block);
        }
        if group.iter().all(|entry| entry.when != When::Always) {
            block.push(verdict(Then::Allow));
        }
        let skip = u8::try_from(block.len()).expect("a call has a handful of entries");
        let nr = u32::try_from(group[0].nr).expect("system calls are numbered from 0");
        program.push(jump(JUMP_EQUAL, nr, 0, skip));
        program.append(&mut block);
    }
    program.push(verdict(Then::Allow));
    program
}

/// Appends the test of one entry, and its verdict when the test holds.
fn test(entry: &Entry, block: &mut Vec<Instruction>) {
    let low = |argument: u32| op(LOAD, AT_ARGS + 8 * argument);
    let high = |argument: u32| op(LOAD, AT_ARGS + 8 * argument + 4);
    match entry.when {
        When::Always => {}
        When::NotNull(argument) => {
            block.extend([low(argument), jump(JUMP_EQUAL, 0, 0, 2), high(argument), jump(JUMP_EQUAL, 0, 1, 0)])
        }
        When::AnyBit(argument, bits) => block.extend([low(argument), jump(JUMP_SET, bits, 0, 1)]),
        When::Masked(argument, mask, value) => {
            block.extend([low(argument), op(AND, mask), jump(JUMP_EQUAL, value, 0, 1)]);
        }
    }
    block.push(verdict(entry.then));
}

#[cfg(test)]
mod tests {
    use super::super::calls::{CALLS, KEEP_DUMPABLE};
    use super::*;

    /// Runs a program as the kernel does, on one system call.
    fn run(program: &[Instruction], arch: u32, nr: u32, args: [u64; 6]) -> u32 {
        let load = |at: u32| match at {
            AT_NR => nr,
            AT_ARCH => arch,
            _ => {
                let (argument, half) = ((at - AT_ARGS) / 8, (at - AT_ARGS) % 8);
                u32::try_from((args[argument as usize] >> (half * 8)) & 0xffff_ffff).unwrap()
            }
        };
        let (mut a, mut at) = (0_u32, 0_usize);
        loop {
            let i = program[at];
            at += 1;
            let test = match i.code {
                LOAD => {
                    a = load(i.k);
                    continue;
                }
                AND => {
                    a &= i.k;
                    continue;
                }
                RETURN => return i.k,
                JUMP_EQUAL => a == i.k,
                JUMP_GREATER => a > i.k,
                JUMP_SET => a & i.k != 0,
                code => panic!("unknown instruction {code}"),
            };
            at += usize::from(if test { i.jt } else { i.jf });
        }
    }

    /// What the table says, read as its documentation says.
    fn expected(entries: &[Entry], nr: u32, args: [u64; 6]) -> u32 {
        let low = |argument: u32| u32::try_from(args[argument as usize] & 0xffff_ffff).unwrap();
        let applies = |entry: &&Entry| match entry.when {
            When::Always => true,
            When::NotNull(argument) => args[argument as usize] != 0,
            When::AnyBit(argument, bits) => low(argument) & bits != 0,
            When::Masked(argument, mask, value) => low(argument) & mask == value,
        };
        let hit = entries.iter().filter(|entry| entry.nr == i64::from(nr)).find(applies);
        verdict(hit.map_or(Then::Allow, |entry| entry.then)).k
    }

    #[test]
    fn the_filter_says_what_the_table_says() {
        let entries: Vec<Entry> = CALLS.iter().copied().chain([KEEP_DUMPABLE]).collect();
        let program = compile(&entries);
        let values = [0, 1, 2, 3, 4, 5, 10, 16, 17, 40, 0x5412, 0x541c, 0x2000_0000, 0x1000_0000, 1 << 40, u64::MAX];
        for nr in 0..=LAST_KNOWN {
            for a in values {
                for b in values {
                    let args = [a, b, a, b, a, b];
                    assert_eq!(run(&program, AUDIT_ARCH, nr, args), expected(&entries, nr, args), "call {nr} {args:?}");
                }
            }
        }
    }

    #[test]
    fn foreign_calls_never_pass() {
        let program = compile(CALLS);
        assert_eq!(run(&program, 0x4000_0003, 5, [0; 6]), libc::SECCOMP_RET_KILL_PROCESS);
        let nosys = verdict(Then::Refuse(libc::ENOSYS)).k;
        assert_eq!(run(&program, AUDIT_ARCH, FOREIGN_ABI_FROM + 2, [0; 6]), nosys);
        assert_eq!(run(&program, AUDIT_ARCH, LAST_KNOWN + 1, [0; 6]), nosys);
        assert!(program.len() < 4096, "the kernel takes at most 4096 instructions");
    }
}
