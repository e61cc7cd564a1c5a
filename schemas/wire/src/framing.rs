//! Confluent framing: which schema a value was written with.
//!
//! ```text
//! byte   0      1 2 3 4         5 ...
//!        magic  schema id (BE)  datum
//!        0
//! ```
//!
//! Any registry-aware client reads it. Digests and Merkle leaves are over the datum alone, because the id is the
//! registry's own number and another registry gives another.

/// Bytes in front of the datum.
pub const FRAME_BYTES: usize = 5;

const MAGIC: u8 = 0;

/// Why a value has no datum.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Shorter than a frame.
    #[error("value of {found} bytes is too short for a frame of {FRAME_BYTES}")]
    Truncated {
        /// How many bytes there are.
        found: usize,
    },
    /// Not framed as we frame: somebody else's message.
    #[error("value begins with byte {found:#04x}, expected the magic byte 0x00")]
    Foreign {
        /// The first byte.
        found: u8,
    },
    /// A schema id that no registry gives.
    #[error("schema id {found} is not positive")]
    SchemaId {
        /// The id read.
        found: i32,
    },
}

/// Puts the frame in front of `datum`.
#[must_use]
pub fn frame(schema_id: i32, datum: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(FRAME_BYTES + datum.len());
    value.push(MAGIC);
    value.extend_from_slice(&schema_id.to_be_bytes());
    value.extend_from_slice(datum);
    value
}

/// Takes the frame off: the schema id and the datum.
///
/// # Errors
/// [`FrameError`] says what was found instead. An empty datum is none: no record of ours is empty, but that is for the
/// decoder to say.
pub fn unframe(value: &[u8]) -> Result<(i32, &[u8]), FrameError> {
    match value {
        [MAGIC, a, b, c, d, datum @ ..] => {
            let id = i32::from_be_bytes([*a, *b, *c, *d]);
            if id < 1 {
                return Err(FrameError::SchemaId { found: id });
            }
            Ok((id, datum))
        }
        [first, ..] if *first != MAGIC => Err(FrameError::Foreign { found: *first }),
        short => Err(FrameError::Truncated { found: short.len() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_framed_is_unframed() {
        assert_eq!(frame(258, b"abc"), b"\0\0\0\x01\x02abc");
        assert_eq!(unframe(b"\0\0\0\x01\x02abc"), Ok((258, b"abc".as_slice())));
        assert_eq!(unframe(&frame(i32::MAX, b"")), Ok((i32::MAX, b"".as_slice())));
    }

    #[test]
    fn foreign_and_truncated_values_say_what_was_found() {
        assert_eq!(unframe(b""), Err(FrameError::Truncated { found: 0 }));
        assert_eq!(unframe(b"\0\0\0\x01"), Err(FrameError::Truncated { found: 4 }));
        assert_eq!(unframe(b"{\"a\":1}"), Err(FrameError::Foreign { found: b'{' }));
        assert_eq!(unframe(b"{"), Err(FrameError::Foreign { found: b'{' }));
        assert_eq!(unframe(b"\0\xff\xff\xff\xffabc"), Err(FrameError::SchemaId { found: -1 }));
        assert_eq!(unframe(b"\0\0\0\0\0abc"), Err(FrameError::SchemaId { found: 0 }));
        assert_eq!(
            FrameError::Foreign { found: b'{' }.to_string(),
            "value begins with byte 0x7b, expected the magic byte 0x00"
        );
    }
}
