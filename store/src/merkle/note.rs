//! Signed checkpoints: C2SP signed-note and tlog-checkpoint.
//!
//! ```text
//! watchkeeper/5b6e…                      the log's name, which is also the name of its key
//! 1204                                   how many leaves
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2…      the root, base64
//!
//! — watchkeeper/5b6e… Az3grlgtzPICa5…    base64 of four bytes that name the key, and the Ed25519 signature of the text above
//! ```
//! Further signatures may follow: a witness adds its own. Only that of the expected key is looked at here.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, Verifier as _, VerifyingKey};
use sha2::{Digest as _, Sha256};
use wk_schemas::Digest;

/// The algorithm byte of an Ed25519 key in a signed note.
const ED25519: u8 = 1;

/// How many leaves a log has, and the root over them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name.
    pub origin: String,
    /// How many leaves.
    pub size: u64,
    /// The root over them.
    pub root: Digest,
}

impl Checkpoint {
    /// The text that is signed.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root.0))
    }

    /// Signs the checkpoint; the log's name is the key's name.
    #[must_use]
    pub fn sign(&self, key: &SigningKey) -> String {
        let text = self.text();
        let mut signature = key_id(&self.origin, ED25519, &key.verifying_key()).to_vec();
        signature.extend_from_slice(&key.sign(text.as_bytes()).to_bytes());
        format!("{text}\n\u{2014} {} {}\n", self.origin, STANDARD.encode(signature))
    }

    /// Reads a checkpoint without looking at its signatures.
    ///
    /// # Errors
    /// [`NoteError::Malformed`].
    pub fn read(note: &str) -> Result<Self, NoteError> {
        let malformed = |what| NoteError::Malformed { what };
        let (text, _) = note.split_once("\n\n").ok_or(malformed("no signature follows the text"))?;
        let mut lines = text.split('\n');
        let origin = lines.next().filter(|o| !o.is_empty()).ok_or(malformed("it names no log"))?;
        let size = lines.next().ok_or(malformed("it has no size"))?;
        let root = lines.next().ok_or(malformed("it has no root"))?;
        let canonical = |s: &str| s == "0" || (!s.starts_with('0') && s.bytes().all(|b| b.is_ascii_digit()));
        if !canonical(size) {
            return Err(malformed("its size is not a decimal number"));
        }
        let size = size.parse().map_err(|_| malformed("its size is not a decimal number"))?;
        let root = STANDARD
            .decode(root)
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .map(Digest)
            .ok_or(malformed("its root is not the base64 of 32 bytes"))?;
        Ok(Self { origin: origin.to_owned(), size, root })
    }

    /// Reads a checkpoint and checks that `key` has signed it under the log's name.
    ///
    /// # Errors
    /// [`NoteError::Malformed`], [`NoteError::OtherKey`] when this key has not signed, [`NoteError::BadSignature`].
    pub fn open(note: &str, key: &VerifyingKey) -> Result<Self, NoteError> {
        let checkpoint = Self::read(note)?;
        let (text, signatures) =
            note.split_once("\n\n").ok_or(NoteError::Malformed { what: "no signature follows the text" })?;
        let signed = format!("{text}\n");
        let id = key_id(&checkpoint.origin, ED25519, key);
        for line in signatures.split_terminator('\n') {
            let Some((name, signature)) = line.strip_prefix("\u{2014} ").and_then(|l| l.split_once(' ')) else {
                return Err(NoteError::Malformed { what: "a line of its signatures is none" });
            };
            let Ok(bytes) = STANDARD.decode(signature) else {
                return Err(NoteError::Malformed { what: "a signature is not base64" });
            };
            if name != checkpoint.origin || bytes.get(..4) != Some(id.as_slice()) {
                continue;
            }
            let signature = Signature::from_slice(&bytes[4..]).map_err(|_| NoteError::BadSignature)?;
            return match key.verify(signed.as_bytes(), &signature) {
                Ok(()) => Ok(checkpoint),
                Err(_) => Err(NoteError::BadSignature),
            };
        }
        Err(NoteError::OtherKey { expected: verifier_key(&checkpoint.origin, key) })
    }
}

/// The four bytes that name a key: of what is signed with it, by its name, the algorithm and the key.
pub(super) fn key_id(name: &str, algorithm: u8, key: &VerifyingKey) -> [u8; 4] {
    let hash =
        Sha256::new().chain_update(name).chain_update(b"\n").chain_update([algorithm]).chain_update(key.as_bytes());
    let hash: [u8; 32] = hash.finalize().into();
    [hash[0], hash[1], hash[2], hash[3]]
}

/// The public key in the form in which other verifiers take it: `name+id+base64`.
#[must_use]
pub fn verifier_key(name: &str, key: &VerifyingKey) -> String {
    let id = u32::from_be_bytes(key_id(name, ED25519, key));
    let mut bytes = vec![ED25519];
    bytes.extend_from_slice(key.as_bytes());
    format!("{name}+{id:08x}+{}", STANDARD.encode(bytes))
}

/// Why a note is not a checkpoint of this log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Not the form of a signed checkpoint.
    #[error("the checkpoint is malformed: {what}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
    /// Signed, but not by this key.
    #[error("the checkpoint is not signed by the key {expected}")]
    OtherKey {
        /// The key that was expected.
        expected: String,
    },
    /// This key's signature does not fit the text.
    #[error("the checkpoint's signature does not fit its text")]
    BadSignature,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> SigningKey {
        SigningKey::from_bytes(&[n; 32])
    }

    fn checkpoint() -> Checkpoint {
        Checkpoint { origin: "watchkeeper/lake".into(), size: 12, root: Digest::of(b"root") }
    }

    #[test]
    fn a_signed_checkpoint_opens_under_its_key_alone() {
        let note = checkpoint().sign(&key(1));
        assert_eq!(Checkpoint::open(&note, &key(1).verifying_key()), Ok(checkpoint()));
        assert!(matches!(Checkpoint::open(&note, &key(2).verifying_key()), Err(NoteError::OtherKey { .. })));
    }

    #[test]
    fn a_changed_size_root_or_signature_is_refused() {
        let note = checkpoint().sign(&key(1));
        let open = |note: &str| Checkpoint::open(note, &key(1).verifying_key());
        assert_eq!(open(&note.replacen("\n12\n", "\n13\n", 1)), Err(NoteError::BadSignature));
        let other = Checkpoint { root: Digest::of(b"other"), ..checkpoint() };
        let (root, bent) = (STANDARD.encode(checkpoint().root.0), STANDARD.encode(other.root.0));
        assert_eq!(open(&note.replacen(&root, &bent, 1)), Err(NoteError::BadSignature));
        for bad in ["", "x", "a\n1\n\n", "a\n01\nAAAA\n\n— a b\n", "a\n-1\nAAAA\n\n"] {
            assert!(matches!(open(bad), Err(NoteError::Malformed { .. })), "{bad:?}");
        }
    }

    #[test]
    fn a_witness_may_add_its_signature() {
        let witness = Checkpoint { origin: "witness.example".into(), ..checkpoint() }.sign(&key(3));
        let line = witness.split_once("\n\n").unwrap().1;
        let note = checkpoint().sign(&key(1)) + line;
        assert_eq!(Checkpoint::open(&note, &key(1).verifying_key()), Ok(checkpoint()));
    }
}
