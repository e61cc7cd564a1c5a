//! How gVisor's remote sink puts a message on its socket.
//!
//! ```text
//! sentry                                 here
//!   ├── Handshake { version: 1 } ────────► refused below 1, else
//!   ◄──────────── Handshake { version: 1 } ┤
//!   ├── header_size u16 │ type u16 │ dropped u32 │ … │ payload ──►     little-endian, for ever
//! ```
//! One message is one datagram of a `SOCK_SEQPACKET` socket. The header may grow: the payload starts where `header_size` says.
//! `dropped` counts what the sandbox could not send since it began, and wraps. Source: google/gvisor,
//! `pkg/sentry/seccheck/sinks/remote/{README.md,remote.go,wire/wire.go}`.

use super::points::Handshake;
use prost::Message as _;

/// The version of the protocol that is spoken here, and the least that is understood.
pub const VERSION: u32 = 1;

/// Bytes of a header of version 1.
pub const HEADER_BYTES: usize = 8;

/// The longest message that is read. A sentry cannot send more than its socket's buffer holds, which is 208 KiB as a rule.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// One message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What the payload is.
    pub kind: u16,
    /// How many messages the sandbox could not send, modulo 2^32.
    pub dropped: u32,
    /// A message in protobuf.
    pub payload: &'a [u8],
}

/// Why a message cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// There is no whole header.
    #[error("a message of {bytes} bytes, where a header alone has {HEADER_BYTES}")]
    Short {
        /// Bytes of the message.
        bytes: usize,
    },
    /// The header says that it is longer than the message, or shorter than a header.
    #[error("a header of {header} bytes in a message of {bytes}")]
    Header {
        /// What the header says.
        header: usize,
        /// Bytes of the message.
        bytes: usize,
    },
    /// Longer than a message may be.
    #[error("a message of more than {MESSAGE_BYTES_MAX} bytes")]
    Long,
    /// The payload is not what the header says.
    #[error("a message of type {kind} that cannot be read: {why}")]
    Payload {
        /// What the header says.
        kind: u16,
        /// What is wrong.
        why: String,
    },
    /// The peer speaks a version that is not understood, or none.
    #[error("a handshake that says {said}, where version {VERSION} or later is understood")]
    Version {
        /// What it says.
        said: String,
    },
}

/// Reads the sentry's first message and gives the answer to it.
///
/// # Errors
/// [`WireError::Version`]; then the connection must be closed.
pub fn answer(handshake: &[u8]) -> Result<Vec<u8>, WireError> {
    let theirs = Handshake::decode(handshake).map_err(|e| WireError::Version { said: e.to_string() })?;
    if theirs.version < VERSION {
        return Err(WireError::Version { said: format!("version {}", theirs.version) });
    }
    Ok(Handshake { version: VERSION }.encode_to_vec())
}

/// Takes a message apart.
///
/// # Errors
/// [`WireError::Short`], [`WireError::Header`] and [`WireError::Long`].
pub fn frame(message: &[u8]) -> Result<Frame<'_>, WireError> {
    let bytes = message.len();
    if bytes > MESSAGE_BYTES_MAX {
        return Err(WireError::Long);
    }
    let [h0, h1, k0, k1, d0, d1, d2, d3] = *message.first_chunk::<HEADER_BYTES>().ok_or(WireError::Short { bytes })?;
    let header = usize::from(u16::from_le_bytes([h0, h1]));
    if header < HEADER_BYTES || header > bytes {
        return Err(WireError::Header { header, bytes });
    }
    Ok(Frame {
        kind: u16::from_le_bytes([k0, k1]),
        dropped: u32::from_le_bytes([d0, d1, d2, d3]),
        payload: &message[header..],
    })
}

/// Puts a message together, as a sentry does.
#[must_use]
pub fn message(kind: u16, dropped: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES + payload.len());
    out.extend_from_slice(&8_u16.to_le_bytes());
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(&dropped.to_le_bytes());
    out.extend_from_slice(payload);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_header_that_has_grown_is_passed_over() {
        let mut grown = message(7, 3, b"");
        grown[0] = 12;
        grown.extend_from_slice(b"new!payload");
        assert_eq!(frame(&grown), Ok(Frame { kind: 7, dropped: 3, payload: b"payload" }));
    }

    #[test]
    fn what_is_no_message_is_refused_by_what_is_wrong_with_it() {
        assert_eq!(frame(b"seven.."), Err(WireError::Short { bytes: 7 }));
        let mut cut = message(7, 0, b"abc");
        cut[0] = 20;
        assert_eq!(frame(&cut), Err(WireError::Header { header: 20, bytes: 11 }));
        cut[0] = 4;
        assert_eq!(frame(&cut), Err(WireError::Header { header: 4, bytes: 11 }));
        assert_eq!(frame(&vec![0; MESSAGE_BYTES_MAX + 1]), Err(WireError::Long));
    }

    #[test]
    fn only_a_version_that_is_understood_is_answered() {
        assert_eq!(answer(&[8, 1]), Ok(vec![8, 1]));
        assert_eq!(answer(&[8, 9]), Ok(vec![8, 1]), "a newer peer decides for itself");
        assert!(matches!(answer(&[]), Err(WireError::Version { .. })));
        assert!(matches!(answer(b"GET / HTTP/1.1"), Err(WireError::Version { .. })));
    }

    proptest! {
        #[test]
        fn what_is_put_together_comes_apart(kind: u16, dropped: u32, payload: Vec<u8>) {
            let bytes = message(kind, dropped, &payload);
            prop_assert_eq!(frame(&bytes), Ok(Frame { kind, dropped, payload: &payload }));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            if let Ok(frame) = frame(&bytes) {
                drop(super::super::points::Point::decode(frame.kind % 40, frame.payload));
            }
        }
    }
}
