//! Taking a lock, also after a thread has panicked with it.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Takes the lock. A thread that panicked with it may have left a change half done; to stop watching the agent because of that would
/// be worse.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
