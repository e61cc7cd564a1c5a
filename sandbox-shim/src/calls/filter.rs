//! Compiles the list of calls into the filter that the kernel runs.
//!
//! ```text
//! other architecture  -> the process is killed
//! x32                 -> waits for the shim, which refuses it
//! a call newer than the list -> ENOSYS
//! for each call of the list that is not harmless: its lines in order
//! everything else     -> allow
//! ```
//! Pure: makes instructions, installs nothing.

use super::{Entry, Setup, Then, When};
use crate::sys::arch::Arch;
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
        Then::Harmless => op(RETURN, libc::SECCOMP_RET_ALLOW),
        Then::Trapped | Then::Told | Then::Observed | Then::Refused(_) | Then::Fenced(_) => {
            op(RETURN, libc::SECCOMP_RET_USER_NOTIF)
        }
        Then::Closed(errno) => op(RETURN, libc::SECCOMP_RET_ERRNO | errno.unsigned_abs()),
        Then::Muted => op(RETURN, libc::SECCOMP_RET_ERRNO),
    }
}

/// Compiles `entries` for an architecture; the lines of one call must stand together.
///
/// # Panics
/// When one call has so many lines that a jump would be longer than a jump may be; the list is ours.
#[must_use]
pub(crate) fn compile(entries: &[Entry], arch: &Arch, setup: Setup) -> Vec<Instruction> {
    let last = entries.iter().filter_map(|entry| arch.number(entry)).max().unwrap_or(0);
    let mut program = vec![
        op(LOAD, AT_ARCH),
        jump(JUMP_EQUAL, arch.audit, 1, 0),
        op(RETURN, libc::SECCOMP_RET_KILL_PROCESS),
        op(LOAD, AT_NR),
    ];
    if let Some(from) = arch.foreign_from {
        program.extend([jump(JUMP_GREATER, from - 1, 0, 1), verdict(Then::Refused(libc::ENOSYS))]);
    }
    program.extend([jump(JUMP_GREATER, last, 0, 1), verdict(Then::Closed(libc::ENOSYS))]);
    for group in entries.chunk_by(|a, b| a.name == b.name) {
        let Some(number) = arch.number(&group[0]) else { continue };
        if group.iter().all(|entry| setup.then(entry) == Then::Harmless) {
            continue;
        }
        let mut block = Vec::new();
        for entry in group {
            test(entry.when, setup.then(entry), &mut block);
        }
        let skip = u8::try_from(block.len()).expect("a call has a handful of lines");
        program.push(jump(JUMP_EQUAL, number, 0, skip));
        program.append(&mut block);
    }
    program.push(verdict(Then::Harmless));
    program
}

/// Appends the test of one line, and its verdict when the test holds.
fn test(when: When, then: Then, block: &mut Vec<Instruction>) {
    let place = |argument: usize| AT_ARGS + 8 * u32::try_from(argument).expect("a call has six arguments");
    let low = |argument: usize| op(LOAD, place(argument));
    let high = |argument: usize| op(LOAD, place(argument) + 4);
    match when {
        When::Always => {}
        When::NotNull(argument) => {
            block.extend([low(argument), jump(JUMP_EQUAL, 0, 0, 2), high(argument), jump(JUMP_EQUAL, 0, 1, 0)])
        }
        When::AnyBit(argument, bits) => block.extend([low(argument), jump(JUMP_SET, bits, 0, 1)]),
        When::Masked(argument, mask, value) => {
            block.extend([low(argument), op(AND, mask), jump(JUMP_EQUAL, value, 0, 1)]);
        }
    }
    block.push(verdict(then));
}

#[cfg(test)]
mod tests {
    use super::super::table;
    use super::*;
    use crate::sys::arch::{ARM64, X86_64};

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

    const SETUPS: [Setup; 3] = [
        Setup { fences: false, mutes: false, makes_sockets: false, tells_reads: true },
        Setup { fences: true, mutes: true, makes_sockets: false, tells_reads: false },
        Setup { fences: true, mutes: false, makes_sockets: true, tells_reads: false },
    ];

    #[test]
    fn the_filter_says_what_the_list_says_on_both_architectures() {
        let values = [
            0,
            1,
            2,
            3,
            4,
            5,
            8,
            10,
            16,
            17,
            40,
            0x5412,
            0x541c,
            0x20_0000,
            0x2000_0000,
            0x1000_0000,
            0x9_0800,
            1 << 40,
            u64::MAX,
        ];
        for (arch, setup) in [X86_64, ARM64].iter().flat_map(|arch| SETUPS.map(|setup| (arch, setup))) {
            let program = compile(table(), arch, setup);
            assert!(program.len() < 4096, "the kernel takes at most 4096 instructions");
            for number in 0..=last(arch) {
                let lines: Vec<&Entry> = table().iter().filter(|entry| arch.number(entry) == Some(number)).collect();
                for args in values.iter().flat_map(|a| values.map(|b| [*a, b, *a, b, *a, b])) {
                    let then = lines.iter().find(|line| line.when.applies(&args)).map(|line| setup.then(line));
                    let expected = verdict(then.unwrap_or(Then::Harmless)).k;
                    assert_eq!(run(&program, arch.audit, number, args), expected, "call {number} {args:?} {setup:?}");
                }
            }
        }
    }

    fn last(arch: &Arch) -> u32 {
        table().iter().filter_map(|entry| arch.number(entry)).max().unwrap()
    }

    #[test]
    fn foreign_and_future_calls_never_pass() {
        for arch in [X86_64, ARM64] {
            let program = compile(table(), &arch, Setup::default());
            let other = if arch.audit == X86_64.audit { ARM64.audit } else { X86_64.audit };
            for foreign in [0x4000_0003, other] {
                assert_eq!(run(&program, foreign, 5, [0; 6]), libc::SECCOMP_RET_KILL_PROCESS);
            }
            assert_eq!(run(&program, arch.audit, last(&arch) + 1, [0; 6]), verdict(Then::Closed(libc::ENOSYS)).k);
            assert_eq!(run(&program, arch.audit, u32::MAX, [0; 6]) & 0x7fff_0000, program_refuses(&arch));
        }
        let program = compile(table(), &X86_64, Setup::default());
        assert_eq!(run(&program, X86_64.audit, 0x4000_0002, [0; 6]), libc::SECCOMP_RET_USER_NOTIF);
    }

    /// The action on a number that nobody has: the shim's on x86-64, where it looks like x32, an error on arm64.
    fn program_refuses(arch: &Arch) -> u32 {
        if arch.foreign_from.is_some() { libc::SECCOMP_RET_USER_NOTIF } else { libc::SECCOMP_RET_ERRNO }
    }
}
