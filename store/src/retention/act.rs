//! What a person decides about the lake, and what the signature under it covers.
//!
//! ```text
//! "watchkeeper.v1.LakeAct\n" | key id | "\n" | the act as JSON: members in the order of the types here, no spaces
//! ```
//! The lake and the act's own id are in it, so an act can neither be moved to another lake nor be repeated.

use crate::delta;
use crate::lake::Version;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use wk_schemas::Timestamp;
use wk_schemas::command::key_id;

/// What stands first in the signed bytes, so that a signature for something else never fits.
const CONTEXT: &str = "watchkeeper.v1.LakeAct";

/// A decision about the lake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Act {
    /// The lake's id.
    pub lake: String,
    /// The act's own id, a UUID; also that of its commit.
    pub id: String,
    /// When it was signed, in microseconds since 1970, by the clock of whoever signed.
    pub at_us: i64,
    /// Who decided.
    pub by: String,
    /// Why.
    pub why: String,
    /// What.
    pub deed: Deed,
}

/// What is decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Deed {
    /// The records of a day leave the lake.
    Remove(Removal),
    /// Nothing that the hold covers may leave the lake until it is released.
    Hold(Hold),
    /// A hold ends.
    Release {
        /// The id of the act that placed it.
        hold: String,
    },
}

/// A day that leaves the lake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Removal {
    /// The UTC day on which the log took the records, `YYYY-MM-DD`.
    pub day: String,
    /// What was committed for the day up to this version leaves; what came later stays.
    pub up_to: Version,
    /// Files, those that compactions had replaced included.
    pub files: u64,
    /// Records.
    pub records: u64,
    /// SHA-256 of the ledger, hex; see [`crate::retention::Ledger`].
    pub ledger: String,
}

/// What may not leave the lake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Hold {
    /// Days, both ends included, `YYYY-MM-DD`; without an end for ever.
    Days {
        /// The first day.
        from: String,
        /// The last day.
        to: Option<String>,
    },
    /// Every day that has a record of a session.
    Session(String),
}

impl Hold {
    /// Whether it covers a day that has records of these sessions.
    pub(crate) fn covers<'a>(&self, day: &str, mut sessions: impl Iterator<Item = &'a str>) -> bool {
        match self {
            Self::Days { from, to } => from.as_str() <= day && to.as_ref().is_none_or(|to| day <= to.as_str()),
            Self::Session(session) => sessions.any(|one| one == session),
        }
    }
}

impl std::fmt::Display for Hold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Days { from, to: Some(to) } if from == to => write!(f, "day {from}"),
            Self::Days { from, to: Some(to) } => write!(f, "days {from} to {to}"),
            Self::Days { from, to: None } => write!(f, "days from {from} on"),
            Self::Session(session) => write!(f, "session {session}"),
        }
    }
}

/// An act with its signature, as it stands in a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SignedAct {
    /// What was decided.
    pub act: Act,
    /// The key's id; see [`key_id`].
    pub key_id: String,
    /// The Ed25519 signature, base64.
    pub signature: String,
}

/// An act that does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActError {
    /// It speaks of another lake.
    #[error("it is about the lake {lake}, not about this one")]
    OtherLake {
        /// The one it is about.
        lake: String,
    },
    /// Nobody who is trusted has that key.
    #[error("it is signed with the key {key_id}, which is not one of those that are trusted")]
    OtherKey {
        /// The key.
        key_id: String,
    },
    /// The signature does not fit.
    #[error("its signature does not fit: somebody has changed it, or never signed it")]
    Forged,
}

impl Act {
    /// When it was signed.
    #[must_use]
    pub const fn at(&self) -> Timestamp {
        Timestamp(self.at_us)
    }

    /// Signs it.
    #[must_use]
    pub fn sign(self, key: &SigningKey) -> SignedAct {
        let key_id = key_id(&key.verifying_key());
        let signature = STANDARD.encode(key.sign(&signing_bytes(&self, &key_id)).to_bytes());
        SignedAct { act: self, key_id, signature }
    }
}

fn signing_bytes(act: &Act, key_id: &str) -> Vec<u8> {
    let mut bytes = format!("{CONTEXT}\n{key_id}\n").into_bytes();
    serde_json::to_writer(&mut bytes, act).expect("an act has no keys but strings, and a Vec takes all bytes");
    bytes
}

impl SignedAct {
    /// Checks that it is about a lake, and signed with one of the trusted keys.
    ///
    /// # Errors
    /// [`ActError`] says what is wrong.
    pub fn check(&self, lake: &str, trusted: &[VerifyingKey]) -> Result<(), ActError> {
        if self.act.lake != lake {
            return Err(ActError::OtherLake { lake: self.act.lake.clone() });
        }
        let key = trusted.iter().find(|key| key_id(key) == self.key_id);
        let key = key.ok_or_else(|| ActError::OtherKey { key_id: self.key_id.clone() })?;
        let signature = STANDARD.decode(&self.signature).ok();
        let signature = signature.and_then(|bytes| Signature::from_slice(&bytes).ok()).ok_or(ActError::Forged)?;
        key.verify_strict(&signing_bytes(&self.act, &self.key_id), &signature).map_err(|_| ActError::Forged)
    }

    /// The act that a commit carries, if it carries one.
    #[must_use]
    pub fn of_commit(text: &[u8]) -> Option<Self> {
        // Nearly no commit has one, and reading one as JSON costs more than looking for the word.
        let word: &[u8] = b"\"keyId\"";
        if !text.windows(word.len()).any(|part| part == word) {
            return None;
        }
        delta::read(text).ok()?.into_iter().find_map(|action| match action {
            delta::Action::CommitInfo(info) => info.watchkeeper?.act.map(|act| *act),
            _ => None,
        })
    }
}
