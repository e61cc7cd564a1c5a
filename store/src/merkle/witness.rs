//! What a witness is asked and what it answers: C2SP tlog-witness and tlog-cosignature. Pure.
//!
//! ```text
//! POST <witness>/add-checkpoint       old 512                 what the witness has seen of this log
//!                                     PlRNCrwHpqhG…           that the log only grew since, one hash a line
//!
//!                                     watchkeeper/5b6e…       the signed checkpoint
//!                                     …
//! 200                                 — witness.example/w1 CMp+6LWBU0an…      key id, time and Ed25519 signature
//! 409                                 498                     it has seen another size; asked again from there
//! ```
//! A cosignature says: at this time, this was the largest tree of this log that I have seen, and it contains every one before. It is what makes
//! the log prove something against its own operator.

use super::note::{Checkpoint, NoteError, key_id};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Verifier as _, VerifyingKey};
use std::fmt;
use std::str::FromStr;
use wk_schemas::Digest;

/// The algorithm byte of an Ed25519 cosignature.
const COSIGNATURE: u8 = 4;

/// The most hashes that a witness takes.
pub const PROOF_MAX: usize = 63;

/// A witness by its name and public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessKey {
    /// Its name.
    pub name: String,
    /// Its key.
    pub key: VerifyingKey,
}

/// Not the key of a witness.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no witness key; one looks like witness.example/w1+1f2e3d4c+BA… (Ed25519 cosignatures)")]
pub struct WitnessKeyError {
    /// What was said.
    pub text: String,
}

impl FromStr for WitnessKey {
    type Err = WitnessKeyError;

    fn from_str(text: &str) -> Result<Self, WitnessKeyError> {
        let read = || {
            let mut parts = text.splitn(3, '+');
            let (name, id, key) = (parts.next()?, parts.next()?, parts.next()?);
            let bytes = STANDARD.decode(key).ok()?;
            let (algorithm, bytes) = bytes.split_first()?;
            let key = VerifyingKey::from_bytes(bytes.try_into().ok()?).ok()?;
            let expected = u32::from_be_bytes(key_id(name, COSIGNATURE, &key));
            let holds = *algorithm == COSIGNATURE && !name.is_empty() && id == format!("{expected:08x}");
            holds.then(|| Self { name: name.to_owned(), key })
        };
        read().ok_or_else(|| WitnessKeyError { text: text.to_owned() })
    }
}

impl fmt::Display for WitnessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = u32::from_be_bytes(key_id(&self.name, COSIGNATURE, &self.key));
        let mut bytes = vec![COSIGNATURE];
        bytes.extend_from_slice(self.key.as_bytes());
        write!(f, "{}+{id:08x}+{}", self.name, STANDARD.encode(bytes))
    }
}

/// A witness's word about a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cosignature {
    /// When it said so, in seconds since 1970.
    pub time: u64,
    /// The signature line, without its end.
    pub line: String,
}

/// The body of a request: what the witness has seen, that the log only grew since, and the checkpoint.
#[must_use]
pub fn request(old: u64, proof: &[Digest], note: &str) -> String {
    let mut body = format!("old {old}\n");
    for hash in proof {
        body.push_str(&STANDARD.encode(hash.0));
        body.push('\n');
    }
    body.push('\n');
    body.push_str(note);
    body
}

impl WitnessKey {
    /// This witness's cosignature among the signature lines of `text`: a witness's answer, or what follows the text of a note.
    ///
    /// # Errors
    /// [`NoteError::OtherKey`] when this witness has not signed, [`NoteError::BadSignature`] when its signature does not fit the checkpoint.
    pub fn find(&self, text: &str, checkpoint: &Checkpoint) -> Result<Cosignature, NoteError> {
        let id = key_id(&self.name, COSIGNATURE, &self.key);
        for line in text.lines() {
            let Some((name, signature)) = line.strip_prefix("\u{2014} ").and_then(|l| l.split_once(' ')) else {
                continue;
            };
            let Ok(bytes) = STANDARD.decode(signature) else { continue };
            if name != self.name || bytes.get(..4) != Some(id.as_slice()) {
                continue;
            }
            let rest = bytes.get(4..).unwrap_or_default();
            let Some((time, signature)) = rest.split_first_chunk::<8>() else { return Err(NoteError::BadSignature) };
            let time = u64::from_be_bytes(*time);
            let signature = Signature::from_slice(signature).map_err(|_| NoteError::BadSignature)?;
            let message = format!("cosignature/v1\ntime {time}\n{}", checkpoint.text());
            return match self.key.verify(message.as_bytes(), &signature) {
                Ok(()) => Ok(Cosignature { time, line: line.to_owned() }),
                Err(_) => Err(NoteError::BadSignature),
            };
        }
        Err(NoteError::OtherKey { expected: self.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::{Signer as _, SigningKey};

    fn checkpoint() -> Checkpoint {
        Checkpoint { origin: "watchkeeper/lake".into(), size: 12, root: Digest::of(b"root") }
    }

    fn witness() -> (SigningKey, WitnessKey) {
        let key = SigningKey::from_bytes(&[3; 32]);
        let public = key.verifying_key();
        (key, WitnessKey { name: "witness.example/w1".into(), key: public })
    }

    fn cosign(time: u64) -> String {
        let (key, witness) = witness();
        let message = format!("cosignature/v1\ntime {time}\n{}", checkpoint().text());
        let mut bytes = key_id(&witness.name, COSIGNATURE, &witness.key).to_vec();
        bytes.extend_from_slice(&time.to_be_bytes());
        bytes.extend_from_slice(&key.sign(message.as_bytes()).to_bytes());
        format!("\u{2014} {} {}\n", witness.name, STANDARD.encode(bytes))
    }

    #[test]
    fn a_cosignature_holds_for_its_checkpoint_and_its_time_alone() {
        let (_, witness) = witness();
        let line = cosign(1_679_315_147);
        let found = witness.find(&format!("\u{2014} other AAAA\n{line}"), &checkpoint()).unwrap();
        assert_eq!((found.time, found.line.as_str()), (1_679_315_147, line.trim_end()));
        let other = Checkpoint { size: 13, ..checkpoint() };
        assert_eq!(witness.find(&line, &other), Err(NoteError::BadSignature));
        let stranger = WitnessKey { name: "witness.example/w2".into(), ..witness };
        assert!(matches!(stranger.find(&line, &checkpoint()), Err(NoteError::OtherKey { .. })));
    }

    #[test]
    fn a_key_is_read_as_it_is_written_and_a_bent_one_is_not() {
        let (_, witness) = witness();
        let text = witness.to_string();
        assert_eq!(text.parse(), Ok(witness));
        for bad in ["", "a+b+c", &text.replace("w1", "w2"), &text[..text.len() - 4]] {
            assert!(bad.parse::<WitnessKey>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_request_is_old_size_proof_and_note() {
        let proof = [Digest([0; 32])];
        assert_eq!(
            request(7, &proof, "a\n9\nroot\n\n\u{2014} a b\n"),
            "old 7\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\na\n9\nroot\n\n\u{2014} a b\n"
        );
    }
}
