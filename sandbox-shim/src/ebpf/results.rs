//! One session's program, its maps, and what comes out of them.

use super::program::{BUCKETS, Maps, PLACE_BYTES, PLACES, program};
use super::ring::Ring;
use crate::sys::bpf::{self, Array, License};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

/// A thread, in the machine's own numbering: that of the kernel's programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Thread(u64);

impl Thread {
    /// Thread `thread` of process `process`.
    #[must_use]
    pub(crate) fn of(process: i32, thread: i32) -> Self {
        Self(u64::from(process.unsigned_abs()) << 32 | u64::from(thread.unsigned_abs()))
    }

    /// As the kernel's programs have it.
    pub(super) const fn from_kernel(number: u64) -> Self {
        Self(number)
    }

    /// The process.
    #[must_use]
    pub(crate) fn process(self) -> i32 {
        i32::try_from(self.0 >> 32).unwrap_or(0)
    }

    /// The thread, which of a process's first one is the same number.
    #[must_use]
    pub(crate) fn thread(self) -> i32 {
        i32::try_from(self.0 & u64::from(u32::MAX)).unwrap_or(0)
    }

    /// All threads of a process.
    #[must_use]
    pub(crate) fn all_of(process: i32) -> std::ops::RangeInclusive<Self> {
        Self::of(process, 0)..=Self(Self::of(process, 0).0 | u64::from(u32::MAX))
    }

    /// Where its bucket begins, in bytes.
    fn bucket(self) -> usize {
        let number = usize::try_from(self.0 % u64::from(BUCKETS)).expect("it is below the number of buckets");
        number * PLACES * PLACE_BYTES
    }
}

/// A call has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failed {
    /// Whose call.
    pub thread: Thread,
    /// What the kernel ended it with.
    pub result: i64,
}

/// Tells how calls end that are awaited.
#[derive(Debug)]
pub(crate) struct Results {
    /// Threads, four to a bucket; zero where there is none.
    awaited: Array,
    lost: Array,
    /// The program is at its place as long as this is open; where it is a part of another, that one says.
    _attached: Option<OwnedFd>,
}

/// Whether programs may be had here at all, and whether threads have the same numbers for them as for the shim.
#[must_use]
pub(crate) fn offered() -> bool {
    // What the kernel calls the namespaces that it starts with (PROC_PID_INIT_INO, PROC_USER_INIT_INO).
    let is_own =
        |name, first: &str| std::fs::read_link(format!("/proc/self/ns/{name}")).is_ok_and(|is| is.as_os_str() == first);
    let are_own = is_own("pid", "pid:[4026531836]") && is_own("user", "user:[4026531837]");
    are_own && u32::try_from(bpf::page_bytes()).is_ok_and(|page| bpf::ring(page).is_ok())
}

impl Results {
    /// Begins to tell, into a ring of so many bytes; nothing is awaited yet.
    ///
    /// # Errors
    /// What the kernel says: `EPERM` without the right to, `EINVAL` before Linux 5.8.
    pub(crate) fn begin(ring_bytes: u32) -> io::Result<(Self, Ring)> {
        let (results, ring, maps) = Self::beside(ring_bytes)?;
        let loaded = bpf::load(&program(maps), License::Apache, None)?;
        let attached = bpf::attach(Some(c"sys_exit"), loaded.as_fd())?;
        Ok((Self { _attached: Some(attached), ..results }, ring))
    }

    /// As [`Results::begin`], for a program that does with these maps what [`program`] does.
    pub(super) fn beside(ring_bytes: u32) -> io::Result<(Self, Ring, Maps)> {
        let bucket_bytes = u32::try_from(PLACES * PLACE_BYTES).expect("a bucket of a few places");
        let (awaited, lost) = (Array::new(bucket_bytes, BUCKETS)?, Array::new(8, 1)?);
        let ring = Ring::new(ring_bytes)?;
        let maps = Maps { awaited: awaited.number(), results: ring.number(), lost: lost.number() };
        Ok((Self { awaited, lost, _attached: None }, ring, maps))
    }

    fn places(&self, thread: Thread) -> impl Iterator<Item = &AtomicU64> {
        (0..PLACES).map(move |place| self.awaited.word(thread.bucket() + place * PLACE_BYTES))
    }

    /// Awaits the end of the call that a thread is in. Whether it can be: not with four others of its bucket in calls of theirs.
    #[must_use]
    pub(crate) fn await_end(&self, thread: Thread) -> bool {
        let takes = |place: &AtomicU64| place.compare_exchange(0, thread.0, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        self.is_awaited(thread) || self.places(thread).any(takes)
    }

    /// Whether the end of a thread's call is still to come. What is not awaited any more has been told.
    #[must_use]
    pub(crate) fn is_awaited(&self, thread: Thread) -> bool {
        self.places(thread).any(|place| place.load(Ordering::SeqCst) == thread.0)
    }

    /// Awaits it no longer.
    pub(crate) fn forget(&self, thread: Thread) {
        for place in self.places(thread) {
            // It may have come, or another thread stands there.
            place.compare_exchange(thread.0, 0, Ordering::SeqCst, Ordering::SeqCst).ok();
        }
    }

    /// How many errors had no room in the ring so far.
    #[must_use]
    pub(crate) fn lost(&self) -> u64 {
        self.lost.word(0).load(Ordering::SeqCst)
    }
}

impl Ring {
    /// Takes the next failure out, or `None` when there is nothing.
    pub(crate) fn next_failed(&mut self) -> Option<Failed> {
        self.next().map(|[thread, result]| Failed { thread: Thread(thread), result: result.cast_signed() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::mpsc;

    const WAITS: u32 = 0;
    const FAILS: u32 = 1;
    const SUCCEEDS: u32 = 2;
    const ENDS: u32 = 3;

    /// A thread that makes no call but the one it is told to make.
    struct Caller {
        turn: Arc<AtomicU32>,
        thread: Thread,
    }

    impl Caller {
        fn start() -> Self {
            let turn = Arc::new(AtomicU32::new(WAITS));
            let its_turn = Arc::clone(&turn);
            let (tell, told) = mpsc::sync_channel(1);
            std::thread::spawn(move || {
                tell.send(PathBuf::from("/proc/thread-self").read_link().unwrap()).unwrap();
                drop(tell);
                loop {
                    match its_turn.load(Ordering::Acquire) {
                        FAILS => assert!(std::fs::File::open("/wk-is-not-there").is_err()),
                        // Kept open: closing it would be a second call.
                        SUCCEEDS => std::mem::forget(std::fs::File::open("/").unwrap()),
                        ENDS => return,
                        _ => {
                            std::hint::spin_loop();
                            continue;
                        }
                    }
                    its_turn.store(WAITS, Ordering::Release);
                }
            });
            // "<process>/task/<thread>"; when the channel has hung up, nothing is left to be done but to wait for the turn.
            let named: PathBuf = told.recv().unwrap();
            assert!(told.recv().is_err());
            let number = |at| named.iter().nth(at).unwrap().to_str().unwrap().parse().unwrap();
            Self { turn, thread: Thread::of(number(0), number(2)) }
        }

        fn does(&self, what: u32) {
            self.turn.store(what, Ordering::Release);
            while self.turn.load(Ordering::Acquire) != WAITS {
                std::hint::spin_loop();
            }
        }
    }

    impl Drop for Caller {
        fn drop(&mut self) {
            self.turn.store(ENDS, Ordering::Release);
        }
    }

    fn is_offered(test: &str) -> bool {
        let is = offered();
        if !is {
            println!("SKIPPED {test}: eBPF needs root in the machine's own namespaces");
        }
        is
    }

    #[test]
    fn a_call_that_fails_is_told_once_if_its_end_is_awaited() {
        if !is_offered("a_call_that_fails_is_told_once_if_its_end_is_awaited") {
            return;
        }
        let (results, mut ring) = Results::begin(super::super::RING_BYTES).unwrap();
        let (one, other) = (Caller::start(), Caller::start());
        one.does(FAILS);
        assert_eq!(ring.next_failed(), None, "nothing was awaited");
        assert!(results.await_end(one.thread));
        other.does(FAILS);
        assert!(results.is_awaited(one.thread));
        assert_eq!(ring.next_failed(), None, "of another thread");
        one.does(FAILS);
        one.does(FAILS);
        let failed = Failed { thread: one.thread, result: -i64::from(libc::ENOENT) };
        assert_eq!((ring.next_failed(), ring.next_failed()), (Some(failed), None));
        assert!(results.await_end(one.thread));
        one.does(SUCCEEDS);
        assert!(!results.is_awaited(one.thread));
        assert!(results.await_end(one.thread));
        results.forget(one.thread);
        one.does(FAILS);
        assert_eq!((ring.next_failed(), results.lost()), (None, 0));
    }

    #[test]
    fn what_has_no_room_in_the_ring_is_counted_and_there_is_room_again_when_it_was_read() {
        if !is_offered("what_has_no_room_in_the_ring_is_counted_and_there_is_room_again_when_it_was_read") {
            return;
        }
        let page = bpf::page_bytes();
        let (results, mut ring) = Results::begin(u32::try_from(page).unwrap()).unwrap();
        let caller = Caller::start();
        let fail = |times: usize| {
            for _ in 0..times {
                assert!(results.await_end(caller.thread));
                caller.does(FAILS);
            }
        };
        let room = (page - 1) / 24;
        // More than once around.
        for round in 1..=3 {
            fail(room + 7);
            assert_eq!(std::iter::from_fn(|| ring.next_failed()).count(), room);
            assert_eq!(results.lost(), 7 * round);
        }
    }

    #[test]
    fn four_threads_of_a_bucket_are_awaited_and_a_fifth_once_there_is_room() {
        if !is_offered("four_threads_of_a_bucket_are_awaited_and_a_fifth_once_there_is_room") {
            return;
        }
        let (results, _ring) = Results::begin(super::super::RING_BYTES).unwrap();
        let bucket = i32::try_from(BUCKETS).unwrap();
        let [one, two, three, four, five] = [1, 2, 3, 4, 5].map(|n| Thread::of(7, 40 + n * bucket));
        for thread in [one, two, three, four, two] {
            assert!(results.await_end(thread));
        }
        assert!(!results.await_end(five) && !results.is_awaited(five));
        assert!(results.await_end(Thread::of(7, 41)), "of another bucket");
        results.forget(three);
        results.forget(five);
        assert!(!results.is_awaited(three) && results.is_awaited(four));
        assert!(results.await_end(five) && results.is_awaited(five));
    }

    #[test]
    fn threads_of_a_process_lie_side_by_side() {
        let all = Thread::all_of(7);
        assert!(all.contains(&Thread::of(7, 7)) && all.contains(&Thread::of(7, i32::MAX)));
        assert!(!all.contains(&Thread::of(6, i32::MAX)) && !all.contains(&Thread::of(8, 1)));
    }
}
