//! SHA-256 digests, and the chain that ties a writer's records together.
//!
//! ```text
//! record 0: seq 0, prev_digest 00…00        record n: seq n, prev_digest SHA-256(encoded record n-1)
//! ```
//! A chain belongs to one writer in one topic and session. Whoever holds record n can tell whether any record before
//! it was changed, left out, or put in.

use crate::avro::{Avro, Input, Shape, write_blob};
use crate::body::Body;
use crate::codec::{self, CodecError};
use crate::record::{Header, Record};
use sha2::{Digest as _, Sha256};
use std::fmt;

/// A SHA-256 digest; Avro `bytes` of length 32.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// 32 zero bytes: what stands before the first record of a chain.
    pub const ZERO: Self = Self([0; 32]);

    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Lower-case hex, 64 characters.
    #[must_use]
    pub fn to_hex(self) -> String {
        use fmt::Write as _;
        self.0.iter().fold(String::with_capacity(64), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("writing to a String does not fail");
            hex
        })
    }

    /// Reads 64 hex characters of either case.
    #[must_use]
    pub fn from_hex(hex: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if hex.len() != 64 || !hex.is_ascii() {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({})", self.to_hex())
    }
}

impl Avro for Digest {
    fn write(&self, out: &mut Vec<u8>) {
        write_blob(&self.0, out);
    }
    fn read(input: &mut Input<'_>) -> Result<Self, CodecError> {
        let at = input.position();
        let bytes = input.blob()?;
        bytes
            .try_into()
            .map(Self)
            .map_err(|_| CodecError::NotCanonical { at, what: "a digest that is not 32 bytes long" })
    }
    fn skip(input: &mut Input<'_>) -> Result<(), CodecError> {
        Self::read(input).map(drop)
    }
    fn shape() -> Shape {
        Shape::Primitive("bytes", None)
    }
}

/// The end of one writer's chain: what the next record has to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Chain {
    /// The next record's seq.
    pub next_seq: i64,
    /// Digest of the last record; zero when there is none.
    pub last: Digest,
}

impl Chain {
    /// The chain as it stands right after a record: where to go on after a gap.
    #[must_use]
    pub fn after(seq: i64, datum: &[u8]) -> Self {
        Self { next_seq: seq + 1, last: Digest::of(datum) }
    }

    /// Gives a record its place, encodes it, and moves on. What `header` says of seq and `prev_digest` is replaced.
    pub fn seal(&mut self, mut header: Header, body: Body) -> (Record, Vec<u8>) {
        let datum = self.seal_parts(&mut header, &body);
        (Record { header, body }, datum)
    }

    /// As [`Chain::seal`], for a writer that keeps its header from one record to the next.
    pub fn seal_parts(&mut self, header: &mut Header, body: &Body) -> Vec<u8> {
        header.seq = self.next_seq;
        header.prev_digest = self.last;
        let datum = codec::encode_parts(header, body);
        *self = Self { next_seq: self.next_seq + 1, last: Digest::of(&datum) };
        datum
    }

    /// Checks that a record follows here, and moves on when it does.
    ///
    /// # Errors
    /// [`ChainBreak`]; the chain stays where it was.
    pub fn follow(&mut self, seq: i64, prev_digest: Digest, datum: &[u8]) -> Result<(), ChainBreak> {
        if seq < self.next_seq {
            return Err(ChainBreak::Repeated { seq, next: self.next_seq });
        }
        if seq > self.next_seq {
            return Err(ChainBreak::Gap { from: self.next_seq, to: seq - 1 });
        }
        if prev_digest != self.last {
            return Err(ChainBreak::Altered { seq: seq - 1, expected: prev_digest, found: self.last });
        }
        *self = Self::after(seq, datum);
        Ok(())
    }
}

/// A record that does not follow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainBreak {
    /// The seq was there before: delivered twice, or two records claim one place.
    #[error("seq {seq} was there before; {next} is next")]
    Repeated {
        /// What was found.
        seq: i64,
        /// What was expected.
        next: i64,
    },
    /// Records are missing.
    #[error("the records with seq {from} to {to} are missing")]
    Gap {
        /// The first that is missing.
        from: i64,
        /// The last that is missing.
        to: i64,
    },
    /// The record before is not the one that this record was chained to.
    #[error("the record with seq {seq} was altered: its digest is {found}, its successor says {expected}")]
    Altered {
        /// The record before.
        seq: i64,
        /// The digest that its successor carries.
        expected: Digest,
        /// The digest of what is there.
        found: Digest,
    },
}
