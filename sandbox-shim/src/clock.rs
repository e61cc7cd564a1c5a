//! Owns the clock and makes ids: the one file of this crate that reads either.
#![expect(clippy::disallowed_methods, reason = "this is the file that owns the clock and makes ids")]

use crate::lock::lock;
use std::cell::Cell;
use std::fs::File;
use std::io::Read as _;
use std::marker::PhantomData;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};
use uuid::Uuid;
use wk_schemas::Timestamp;

thread_local! {
    /// What the clocks say to this thread as long as they stand still.
    static STILL: Cell<Option<(Instant, Timestamp)>> = const { Cell::new(None) };
}

/// Lets the clocks stand still for the calling thread, until this is dropped: all that is done about one system call is done at one
/// time, and a clock is read once for it. Reading one costs a tenth of a microsecond, and there were seven readings for each call.
#[derive(Debug)]
pub(crate) struct StandStill(PhantomData<*const ()>);

impl StandStill {
    /// From now on.
    pub(crate) fn begin() -> Self {
        STILL.set(Some((Instant::now(), time_of_day())));
        Self(PhantomData)
    }
}

impl Drop for StandStill {
    fn drop(&mut self) {
        STILL.set(None);
    }
}

/// The time of day.
#[must_use]
pub fn now() -> Timestamp {
    STILL.get().map_or_else(time_of_day, |(_, now)| now)
}

fn time_of_day() -> Timestamp {
    Timestamp::from_epoch(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO))
}

/// A point on the clock that never goes back; for measuring and for deadlines.
#[must_use]
pub fn instant() -> Instant {
    STILL.get().map_or_else(Instant::now, |(now, _)| now)
}

/// Microseconds since `start`.
#[must_use]
pub fn micros_since(start: Instant) -> i64 {
    i64::try_from(start.elapsed().as_micros()).unwrap_or(i64::MAX)
}

/// A fresh id (UUID version 7); later ids sort after earlier ones.
#[must_use]
pub fn new_id() -> Uuid {
    let millis = u64::try_from(now().0 / 1000).unwrap_or(0);
    let mut ids = lock(&IDS);
    ids.next(millis)
}

static IDS: Mutex<Ids> = Mutex::new(Ids { millis: 0, counter: 0, random: Vec::new() });

/// Bytes of randomness fetched at a time. One record is one id, and asking the kernel each time costs as much as all the rest of
/// making a record's header.
const RANDOM_BYTES: usize = 2048;

/// Bits of the counter behind the milliseconds.
const COUNTER_BITS: u32 = 42;

/// Makes ids: 48 bits of time, 42 bits of a counter that begins at random in each millisecond, 32 random bits.
#[derive(Debug)]
struct Ids {
    millis: u64,
    counter: u64,
    random: Vec<u8>,
}

impl Ids {
    fn next(&mut self, millis: u64) -> Uuid {
        if millis > self.millis {
            self.millis = millis;
            // The highest bit is left free, so that counting on does not overflow.
            self.counter = u64::from_be_bytes(self.random()) >> (64 - COUNTER_BITS + 1);
        } else {
            self.counter += 1;
            if self.counter >> COUNTER_BITS != 0 {
                self.millis += 1;
                self.counter = 0;
            }
        }
        let [a, b, c, d] = self.random();
        let [.., c0, c1, c2, c3, c4, c5] = self.counter.to_be_bytes();
        // The builder takes 12 bits of the first two bytes and 62 of the other eight, so the counter is laid around the gaps.
        let count = u64::from_be_bytes([0, 0, c0, c1, c2, c3, c4, c5]);
        let [.., high0, high1] = (count >> 30).to_be_bytes();
        let [.., low0, low1, low2, low3] = (count & 0x3fff_ffff).to_be_bytes();
        uuid::Builder::from_unix_timestamp_millis(self.millis, &[high0, high1, low0, low1, low2, low3, a, b, c, d])
            .into_uuid()
    }

    fn random<const N: usize>(&mut self) -> [u8; N] {
        if self.random.len() < N {
            self.random = fresh_random();
        }
        let rest = self.random.split_off(self.random.len() - N);
        rest.try_into().expect("as many bytes as were split off")
    }
}

fn fresh_random() -> Vec<u8> {
    let mut bytes = vec![0; RANDOM_BYTES];
    match File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)) {
        Ok(()) => bytes,
        // No such device here: a version 4 id has 15 random bytes before and behind its version, in whole bytes 14.
        Err(_) => {
            let id = Uuid::new_v4().into_bytes();
            [&id[..6], &id[9..]].concat()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_stand_still_for_one_thread_and_go_on_afterwards() {
        let still = StandStill::begin();
        let (at, now) = (instant(), super::now());
        while std::thread::spawn(super::now).join().unwrap() <= now {}
        assert_eq!((instant(), super::now()), (at, now));
        drop(still);
        while super::now() <= now {}
        assert!(instant() > at);
    }

    #[test]
    fn ids_are_version_7_say_their_time_and_sort_in_the_order_they_were_made() {
        let mut ids = Ids { millis: 0, counter: 0, random: Vec::new() };
        let mut made = Vec::new();
        // Time stands still, goes on, and goes back.
        for millis in [5, 5, 5, 6, 4, 4, 1000, 1000, 999] {
            made.push(ids.next(millis));
        }
        ids.counter = (1 << COUNTER_BITS) - 1;
        made.extend([ids.next(1000), ids.next(1000)]);
        assert!(made.is_sorted() && made.windows(2).all(|pair| pair[0] != pair[1]), "{made:?}");
        assert!(made.iter().all(|id| id.get_version_num() == 7 && id.get_variant() == uuid::Variant::RFC4122));
        assert_eq!(made[6].get_timestamp().unwrap().to_unix(), (1, 0));
        // More ids than one fetch of randomness is good for.
        let many: std::collections::BTreeSet<_> = (0..2000).map(|_| new_id()).collect();
        assert_eq!(many.len(), 2000);
    }
}
