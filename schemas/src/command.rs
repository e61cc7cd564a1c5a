//! What a signature over a command or an approval covers, and how it is made and checked.
//!
//! ```text
//! "watchkeeper.v1.Command\n" | session id | "\n" | record id | "\n" | canonical Avro of the body with an empty signature
//! ```
//! The session and the record id are covered, so a signed command can neither be moved to another session nor be
//! repeated under another id. The key's id is in the body, so it is covered too.

use crate::avro::{Avro, Bytes};
use crate::body::{Approval, Command};
use crate::digest::Digest;
use crate::ids::{RecordId, SessionId};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

/// A body that carries a signature over itself and its place.
pub trait Signed: Avro + Clone {
    /// Name that stands first in the signed bytes, so that a signature for one kind never fits another.
    const CONTEXT: &'static str;
    /// The key's id and the signature.
    fn seal(&mut self) -> (&mut String, &mut Bytes);

    /// The bytes that the signature covers.
    #[must_use]
    fn signing_bytes(&self, session: &SessionId, id: RecordId) -> Vec<u8> {
        let mut unsigned = self.clone();
        unsigned.seal().1.0.clear();
        let mut bytes = format!("{}\n{session}\n{id}\n", Self::CONTEXT).into_bytes();
        unsigned.write(&mut bytes);
        bytes
    }

    /// Fills in the key's id and the signature.
    fn sign(&mut self, session: &SessionId, id: RecordId, key: &SigningKey) {
        *self.seal().0 = key_id(&key.verifying_key());
        let signature = key.sign(&self.signing_bytes(session, id));
        *self.seal().1 = Bytes(signature.to_bytes().to_vec());
    }

    /// Checks the signature against one key.
    ///
    /// # Errors
    /// [`SignatureError`] says whether the key is another one or the signature does not fit.
    fn check(&self, session: &SessionId, id: RecordId, key: &VerifyingKey) -> Result<(), SignatureError> {
        let mut copy = self.clone();
        let (said, signature) = copy.seal();
        let expected = key_id(key);
        if *said != expected {
            return Err(SignatureError::OtherKey { said: said.clone(), expected });
        }
        let signature = Signature::from_slice(&signature.0).map_err(|source| SignatureError::Bad { source })?;
        key.verify_strict(&self.signing_bytes(session, id), &signature).map_err(|source| SignatureError::Bad { source })
    }
}

impl Signed for Command {
    const CONTEXT: &'static str = "watchkeeper.v1.Command";
    fn seal(&mut self) -> (&mut String, &mut Bytes) {
        (&mut self.key_id, &mut self.signature)
    }
}

impl Signed for Approval {
    const CONTEXT: &'static str = "watchkeeper.v1.Approval";
    fn seal(&mut self) -> (&mut String, &mut Bytes) {
        (&mut self.key_id, &mut self.signature)
    }
}

/// Stands between a person's reason and the policy that the person wants in force.
const POLICY_FOLLOWS: &str = "\n--- policy ---\n";

/// The reason of an approval that asks for another policy: an approval has no field for the text, so its reason carries both.
#[must_use]
pub fn reason_with_policy(reason: &str, policy: &str) -> String {
    format!("{reason}{POLICY_FOLLOWS}{policy}")
}

/// The reason and the policy in what [`reason_with_policy`] made; `None` when there is no policy in it.
#[must_use]
pub fn policy_in_reason(reason: &str) -> Option<(&str, &str)> {
    reason.split_once(POLICY_FOLLOWS)
}

/// Names a key: the first 16 hex digits of the SHA-256 of its 32 bytes.
#[must_use]
pub fn key_id(key: &VerifyingKey) -> String {
    Digest::of(key.as_bytes()).to_hex()[..16].to_owned()
}

/// A signature that does not hold.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// Signed by another key.
    #[error("signed by key {said}, but key {expected} is the one that is trusted")]
    OtherKey {
        /// Id in the body.
        said: String,
        /// Id of the trusted key.
        expected: String,
    },
    /// The signature does not fit the bytes.
    #[error("the signature does not fit")]
    Bad {
        /// What the verifier says.
        #[source]
        source: ed25519_dalek::SignatureError,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::Instruction;
    use crate::time::Timestamp;
    use uuid::Uuid;

    fn command() -> Command {
        Command {
            instruction: Instruction::Freeze,
            ticket: None,
            policy: None,
            reason: "secret read, then egress".into(),
            by: "watcher".into(),
            issued_at: Timestamp(1),
            expires_at: Timestamp(2),
            key_id: String::new(),
            signature: Bytes::default(),
        }
    }

    #[test]
    fn a_reason_gives_back_the_policy_that_it_carries() {
        let policy = "name = \"p\"\n--- policy ---\n";
        assert_eq!(policy_in_reason(&reason_with_policy("too wide", policy)), Some(("too wide", policy)));
        assert_eq!(policy_in_reason("--- policy ---"), None);
    }

    #[test]
    fn a_signed_command_holds_for_its_session_and_id_only() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let (session, id) = (SessionId::parse("s1").unwrap(), RecordId(Uuid::from_u128(1)));
        let mut signed = command();
        signed.sign(&session, id, &key);
        assert!(signed.check(&session, id, &key.verifying_key()).is_ok());
        assert!(signed.check(&SessionId::parse("s2").unwrap(), id, &key.verifying_key()).is_err());
        assert!(signed.check(&session, RecordId(Uuid::from_u128(2)), &key.verifying_key()).is_err());
        let mut altered = signed.clone();
        altered.instruction = Instruction::Kill;
        assert!(matches!(altered.check(&session, id, &key.verifying_key()), Err(SignatureError::Bad { .. })));
        let other = SigningKey::from_bytes(&[8; 32]);
        assert!(matches!(signed.check(&session, id, &other.verifying_key()), Err(SignatureError::OtherKey { .. })));
    }
}
