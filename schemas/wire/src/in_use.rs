//! Opening what one process at a time may have open.

use std::fs::{File, TryLockError};
use std::io;
use std::thread::sleep;
use std::time::Duration;

/// Takes the lock of a file, as [`patiently`] does.
///
/// # Errors
/// [`TryLockError::WouldBlock`] when somebody else has it.
pub fn lock(file: &File) -> Result<(), TryLockError> {
    patiently(|error| matches!(error, TryLockError::WouldBlock), || file.try_lock())
}

/// Whether sled found its own lock taken: it keeps the kind of the failure in the text alone.
#[must_use]
pub fn is_sleds_lock(error: &io::Error) -> bool {
    error.to_string().contains("could not acquire lock")
}

/// Calls `open` again for half a second while it fails because somebody else has the lock; then that failure is the answer.
///
/// A lock given up a moment ago may still be held: a program that another thread is just starting has a copy of every open file until
/// its exec, and a lock goes with the file.
///
/// # Errors
/// Those of `open`.
pub fn patiently<T, E>(in_use: impl Fn(&E) -> bool, mut open: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    for _ in 0..50 {
        match open() {
            Err(error) if in_use(&error) => sleep(Duration::from_millis(10)),
            done => return done,
        }
    }
    open()
}

#[cfg(test)]
mod tests {
    use super::patiently;

    #[test]
    fn a_lock_that_is_given_up_is_waited_for_and_another_failure_is_not() {
        let mut tries = 0;
        let opened = patiently(
            |error| *error == "in use",
            || {
                tries += 1;
                if tries < 3 { Err("in use") } else { Ok(tries) }
            },
        );
        assert_eq!(opened, Ok(3));
        let mut tries = 0;
        let refused: Result<(), _> = patiently(
            |error| *error == "in use",
            || {
                tries += 1;
                Err("no such folder")
            },
        );
        assert_eq!((refused, tries), (Err("no such folder"), 1));
    }
}
