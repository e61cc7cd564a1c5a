//! Points in time. This crate reads no clock: whoever owns one passes the time in.

use crate::avro::{Avro, Input, Shape};
use crate::codec::CodecError;

/// A point in time: microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Microseconds from `earlier` to `self`; negative when `self` is the earlier one.
    #[must_use]
    pub const fn micros_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// This point moved by `micros`.
    #[must_use]
    pub const fn plus_micros(self, micros: i64) -> Self {
        Self(self.0.saturating_add(micros))
    }

    /// The time since the epoch as the standard library says it; times before the epoch are taken as the epoch.
    #[must_use]
    pub fn from_epoch(duration: std::time::Duration) -> Self {
        Self(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX))
    }
}

impl Avro for Timestamp {
    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
    }
    fn read(input: &mut Input<'_>) -> Result<Self, CodecError> {
        input.long().map(Self)
    }
    fn skip(input: &mut Input<'_>) -> Result<(), CodecError> {
        input.long().map(drop)
    }
    fn shape() -> Shape {
        Shape::Primitive("long", Some("timestamp-micros"))
    }
}
