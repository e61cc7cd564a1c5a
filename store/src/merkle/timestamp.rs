//! Time stamps after RFC 3161: what an authority is asked, and whether it granted it. Pure.
//!
//! ```text
//! TimeStampReq   SEQUENCE { 1, { { sha256, NULL }, OCTET STRING digest }, INTEGER nonce, BOOLEAN TRUE (send the certificate) }
//! TimeStampResp  SEQUENCE { SEQUENCE { INTEGER status, … }, ContentInfo }          0 and 1 are granted
//! ```
//! The token's signature is not checked here: that takes the authority's certificate, and `openssl ts -verify`. What is checked is that the
//! authority granted this very request, so that what is kept is worth keeping.

use wk_schemas::Digest;

/// `{ 2.16.840.1.101.3.4.2.1 (SHA-256), NULL }`
const SHA256: [u8; 15] = [0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00];

/// The media type of a request.
pub const QUERY: &str = "application/timestamp-query";

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    digest: Digest,
    nonce: [u8; 8],
}

/// Why an answer is no time stamp.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StampError {
    /// Not a TimeStampResp.
    #[error("the answer is no time stamp response")]
    Malformed,
    /// It says no.
    #[error("the time stamp was not granted: status {status}")]
    Refused {
        /// RFC 3161, PKIStatus.
        status: u8,
    },
    /// It is about something else.
    #[error("the time stamp is not of this checkpoint")]
    Other,
}

impl Request {
    /// Asks for a time stamp of these bytes. The nonce ties the answer to the request; it needs to be new, not secret.
    #[must_use]
    pub fn new(bytes: &[u8], nonce: u64) -> Self {
        // An INTEGER whose first bit is set would be negative, and one that begins with zeros would not be the shortest form.
        let nonce = (nonce & 0x3fff_ffff_ffff_ffff) | 0x4000_0000_0000_0000;
        Self { digest: Digest::of(bytes), nonce: nonce.to_be_bytes() }
    }

    /// The request as DER.
    #[must_use]
    pub fn to_der(&self) -> Vec<u8> {
        let imprint = sequence(&[&SHA256[..], &tagged(0x04, &self.digest.0)].concat());
        sequence(&[&tagged(0x02, &[1])[..], &imprint, &tagged(0x02, &self.nonce), &tagged(0x01, &[0xff])].concat())
    }

    /// Whether an answer grants this request.
    ///
    /// # Errors
    /// [`StampError`].
    pub fn check(&self, answer: &[u8]) -> Result<(), StampError> {
        let response = contents(0x30, answer).ok_or(StampError::Malformed)?.0;
        let (info, token) = contents(0x30, response).ok_or(StampError::Malformed)?;
        let [status] = contents(0x02, info).ok_or(StampError::Malformed)?.0 else { return Err(StampError::Malformed) };
        if *status > 1 {
            return Err(StampError::Refused { status: *status });
        }
        let holds = |needle: &[u8]| token.windows(needle.len()).any(|window| window == needle);
        if holds(&tagged(0x04, &self.digest.0)) && holds(&tagged(0x02, &self.nonce)) {
            Ok(())
        } else {
            Err(StampError::Other)
        }
    }
}

fn sequence(contents: &[u8]) -> Vec<u8> {
    tagged(0x30, contents)
}

/// Tag, length and contents; everything here is shorter than 128 bytes.
fn tagged(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = u8::try_from(contents.len()).expect("a request is shorter than 128 bytes");
    assert!(length < 128, "a request is shorter than 128 bytes");
    [&[tag, length], contents].concat()
}

/// The contents of the value that stands first, and what follows it.
fn contents(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, rest) = der.split_first_chunk::<2>()?;
    if head[0] != tag {
        return None;
    }
    let (length, rest) = match head[1] {
        short @ 0..128 => (usize::from(short), rest),
        long => {
            let (bytes, rest) = rest.split_at_checked(usize::from(long & 0x7f)).filter(|(b, _)| b.len() <= 4)?;
            (bytes.iter().fold(0, |length, byte| (length << 8) | usize::from(*byte)), rest)
        }
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer that grants `request`, with nothing around digest and nonce but what the check looks for.
    fn granted(request: &Request, status: u8) -> Vec<u8> {
        let token = [&tagged(0x04, &request.digest.0)[..], &tagged(0x02, &request.nonce)].concat();
        sequence(&[&sequence(&tagged(0x02, &[status]))[..], &sequence(&token)].concat())
    }

    #[test]
    fn an_answer_to_this_request_is_taken_and_no_other() {
        let request = Request::new(b"note", 7);
        assert_eq!(request.check(&granted(&request, 0)), Ok(()));
        assert_eq!(request.check(&granted(&request, 2)), Err(StampError::Refused { status: 2 }));
        assert_eq!(request.check(&granted(&Request::new(b"other", 7), 0)), Err(StampError::Other));
        assert_eq!(request.check(&granted(&Request::new(b"note", 8), 0)), Err(StampError::Other));
        for bad in [&b""[..], b"\x30", b"\x30\x05ab", b"<html>", &[0x30, 0x85, 1, 1, 1, 1, 1], &[0x30, 0x84, 0xff]] {
            assert_eq!(request.check(bad), Err(StampError::Malformed), "{bad:?}");
        }
    }

    #[test]
    fn a_request_is_the_der_that_openssl_writes() {
        let der = Request::new(b"", 0).to_der();
        assert_eq!(der.len(), 2 + 3 + 51 + 10 + 3);
        assert_eq!(der[..5], [0x30, 67, 0x02, 1, 1]);
        assert_eq!(der[der.len() - 3..], [0x01, 1, 0xff]);
    }
}
