//! Tells, as root, how calls ended that were let through to the kernel.
//!
//! It stands beside the notifications, which see what a process asks for and not what came of it. A program of some fifty instructions
//! at the raw tracepoint `sys_exit` looks whether the end of the thread's call is awaited, and tells the errors.
//! `docs/0006-observers.md` says what is told and what is not.
//!
//! **Never**: decides anything, or reads anything that a process could have written.

mod assembly;
mod layout;
mod program;
mod reads;
mod results;
mod ring;
mod walk;

pub use reads::READS_WORD;
pub(crate) use reads::{Begun as ReadsBegun, Read, Reads, Told};
pub(crate) use results::{Results, Thread, offered};
pub(crate) use ring::Ring;

use crate::contract::{Observer, Sees};

/// Its word in `session_started`'s `confinement`.
pub const WORD: &str = "ebpf-results";

/// The `reason` of a record that says how a call ended that an earlier record says was let through.
pub const REASON: &str = "the call was let through, and failed";

/// How many threads may be inside a call at the same moment, so that its end is told.
pub(crate) const AWAITED_MAX: u32 = 4096;

/// Room for an error of each of them, with its header of 8 bytes. A power of two, and whole pages of every processor.
pub(crate) const RING_BYTES: u32 = 128 << 10;
const _: () = assert!(RING_BYTES >= 24 * AWAITED_MAX);

/// The error number of a call that ended with `result`. A call that is to be made again after a signal has none: if it is, it is seen
/// again.
#[must_use]
pub(crate) fn error_of(result: i64) -> Option<i32> {
    // ERESTARTSYS to ERESTART_RESTARTBLOCK, which only the kernel itself sees.
    const AGAIN: std::ops::RangeInclusive<i64> = 512..=516;
    const ERROR_MAX: i64 = 4095;
    let number = result.checked_neg().filter(|number| (1..=ERROR_MAX).contains(number) && !AGAIN.contains(number))?;
    i32::try_from(number).ok()
}

impl Observer for Results {
    fn word(&self) -> &'static str {
        WORD
    }

    fn sees(&self) -> Sees {
        Sees {
            programs: false,
            loaders: false,
            ends: false,
            opens: false,
            names: false,
            connections: false,
            results: true,
            holds: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_error_that_the_process_is_told_is_one() {
        for (result, error) in [
            (0, None),
            (3, None),
            (-2, Some(2)),
            (-4095, Some(4095)),
            (-511, Some(511)),
            (-512, None),
            (-516, None),
            (-517, Some(517)),
            (-4096, None),
            (i64::MIN, None),
        ] {
            assert_eq!(error_of(result), error, "{result}");
        }
    }
}
