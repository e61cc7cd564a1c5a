//! Threads for what may block: a connect, a pipe that nobody has opened yet, a lookup of a name. Started when needed, kept a
//! while. The thread that receives notifications never does such work itself.

use crate::lock::lock;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Something to do.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// More than this many block at once only when the agent itself runs as many blocking calls; further ones wait in line.
const THREADS_MAX: usize = 512;
const IDLE_FOR: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Line {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
}

/// A line of jobs and the threads that do them.
#[derive(Clone, Default)]
pub(crate) struct Workers {
    shared: Arc<(Mutex<Line>, Condvar)>,
}

impl std::fmt::Debug for Workers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workers").finish_non_exhaustive()
    }
}

impl Workers {
    /// Has a job done on another thread, soon.
    pub(crate) fn run(&self, job: Job) {
        let (line, there_is_work) = &*self.shared;
        let mut line = lock(line);
        line.jobs.push_back(job);
        if line.idle >= line.jobs.len() || line.threads >= THREADS_MAX {
            there_is_work.notify_one();
            return;
        }
        let workers = self.clone();
        if std::thread::Builder::new().name("wk-worker".to_owned()).spawn(move || workers.work()).is_ok() {
            line.threads += 1;
        }
    }

    fn work(&self) {
        // A file creation mask of its own: files are made with the agent's mask, not with the shim's.
        drop(crate::sys::process::unshare_fs());
        let (line, there_is_work) = &*self.shared;
        let mut held = lock(line);
        loop {
            if let Some(job) = held.jobs.pop_front() {
                drop(held);
                job();
                held = lock(line);
                continue;
            }
            held.idle += 1;
            let (back, timeout) = there_is_work.wait_timeout(held, IDLE_FOR).unwrap_or_else(PoisonError::into_inner);
            held = back;
            held.idle -= 1;
            if timeout.timed_out() && held.jobs.is_empty() {
                held.threads -= 1;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn jobs_that_block_do_not_keep_others_waiting() {
        let workers = Workers::default();
        let (all_there, done) = (Arc::new(Barrier::new(41)), Arc::new(AtomicUsize::new(0)));
        for _ in 0..40 {
            let (all_there, done) = (Arc::clone(&all_there), Arc::clone(&done));
            workers.run(Box::new(move || {
                all_there.wait();
                done.fetch_add(1, Ordering::SeqCst);
                all_there.wait();
            }));
        }
        all_there.wait();
        all_there.wait();
        assert_eq!(done.load(Ordering::SeqCst), 40);
    }
}
