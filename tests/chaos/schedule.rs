//! Moments and victims from a seed, so that a run that failed can be had again.

use std::time::Duration;

/// Splitmix64: small, and the same everywhere.
#[derive(Debug)]
pub(crate) struct Schedule(u64);

impl Schedule {
    /// The seed of this run: `WK_CHAOS_SEED`, or a fixed one.
    #[expect(clippy::disallowed_methods, reason = "a seed is given by hand, to replay a failure")]
    pub(crate) fn of_this_run() -> Self {
        let seed =
            std::env::var("WK_CHAOS_SEED").ok().map_or(7, |text| text.parse().expect("WK_CHAOS_SEED is a number"));
        println!("replay with: WK_CHAOS_SEED={seed}");
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of `count` things.
    pub(crate) fn pick(&mut self, count: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(count).unwrap()).unwrap()
    }

    /// Waits up to so many milliseconds.
    pub(crate) fn wait(&mut self, most: u64) {
        std::thread::sleep(Duration::from_millis(self.next() % most));
    }
}
