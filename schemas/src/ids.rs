//! Identifiers as types, parsed once at the edge.

use crate::avro::{Avro, Input, Shape, write_blob};
use crate::codec::CodecError;
use std::fmt;
use uuid::Uuid;

/// Identifies one record, everywhere and for ever.
///
/// The shim makes version 7 (time-ordered) ids. What the watcher writes has version 5 ids, derived from the records that
/// caused it, so that deciding again gives the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId(pub Uuid);

/// Namespace of the ids that are derived from their causes.
const DERIVED: Uuid = Uuid::from_u128(0x7761_7463_686b_5065_b065_7072_6465_7276);

impl RecordId {
    /// Derives an id from what it follows from: the causes in order, and a name that tells siblings apart.
    #[must_use]
    pub fn derived(causes: &[Self], name: &str) -> Self {
        let mut bytes = Vec::with_capacity(causes.len() * 16 + name.len() + 8);
        bytes.extend_from_slice(&u64::try_from(causes.len()).unwrap_or(u64::MAX).to_be_bytes());
        for cause in causes {
            bytes.extend_from_slice(cause.0.as_bytes());
        }
        bytes.extend_from_slice(name.as_bytes());
        Self(Uuid::new_v5(&DERIVED, &bytes))
    }

    /// Parses the one form that is canonical in a record: lower case, hyphenated.
    ///
    /// # Errors
    /// [`IdError`] for every other form.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let bad = || IdError::Record { text: text.chars().take(64).collect() };
        let id = Uuid::try_parse(text).map_err(|_| bad())?;
        let mut buffer = Uuid::encode_buffer();
        if id.hyphenated().encode_lower(&mut buffer) == text { Ok(Self(id)) } else { Err(bad()) }
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl Avro for RecordId {
    fn write(&self, out: &mut Vec<u8>) {
        let mut buffer = Uuid::encode_buffer();
        write_blob(self.0.hyphenated().encode_lower(&mut buffer).as_bytes(), out);
    }
    fn read(input: &mut Input<'_>) -> Result<Self, CodecError> {
        let at = input.position();
        Self::parse(input.text()?).map_err(|source| CodecError::BadId { at, source })
    }
    fn skip(input: &mut Input<'_>) -> Result<(), CodecError> {
        Self::read(input).map(drop)
    }
    fn shape() -> Shape {
        Shape::Primitive("string", None)
    }
}

/// Identifies one run of an agent; the key of every message on the log.
///
/// 1 to 64 characters out of `A-Z a-z 0-9 . _ -`, so that it can stand in a file name and a URL as it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(String);

impl SessionId {
    /// Parses a session id.
    ///
    /// # Errors
    /// [`IdError::Session`] when it is empty, too long, or holds another character.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        Self::check(text)?;
        Ok(Self(text.to_owned()))
    }

    fn check(text: &str) -> Result<(), IdError> {
        let fits = (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
            && text != "."
            && text != "..";
        if fits { Ok(()) } else { Err(IdError::Session { text: text.chars().take(80).collect() }) }
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Avro for SessionId {
    fn write(&self, out: &mut Vec<u8>) {
        write_blob(self.0.as_bytes(), out);
    }
    fn read(input: &mut Input<'_>) -> Result<Self, CodecError> {
        let at = input.position();
        Self::parse(input.text()?).map_err(|source| CodecError::BadId { at, source })
    }
    fn skip(input: &mut Input<'_>) -> Result<(), CodecError> {
        let at = input.position();
        Self::check(input.text()?).map_err(|source| CodecError::BadId { at, source })
    }
    fn shape() -> Shape {
        Shape::Primitive("string", None)
    }
}

/// Text that is not the identifier it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not a lower-case hyphenated UUID.
    #[error("`{text}` is not a record id: a lower-case hyphenated UUID is expected")]
    Record {
        /// What was found, cut to 64 characters.
        text: String,
    },
    /// Not a session id.
    #[error("`{text}` is not a session id: 1 to 64 of A-Z a-z 0-9 . _ - are expected")]
    Session {
        /// What was found, cut to 80 characters.
        text: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_canonical_form_of_a_record_id_is_read() {
        let id = RecordId(Uuid::from_u128(7));
        assert_eq!(RecordId::parse(&id.to_string()), Ok(id));
        assert!(RecordId::parse(&id.to_string().replace('-', "")).is_err());
        assert!(RecordId::parse("00000000-0000-0000-0000-00000000000A").is_err());
    }

    #[test]
    fn derived_ids_depend_on_every_cause_and_on_the_name() {
        let (a, b) = (RecordId(Uuid::from_u128(1)), RecordId(Uuid::from_u128(2)));
        assert_eq!(RecordId::derived(&[a, b], "x"), RecordId::derived(&[a, b], "x"));
        assert_ne!(RecordId::derived(&[a, b], "x"), RecordId::derived(&[b, a], "x"));
        assert_ne!(RecordId::derived(&[a], "x"), RecordId::derived(&[a], "y"));
    }

    #[test]
    fn session_ids_that_could_leave_their_folder_are_refused() {
        for bad in ["", ".", "..", "a/b", "a b", "é", &"x".repeat(65)] {
            assert!(SessionId::parse(bad).is_err(), "{bad}");
        }
        assert!(SessionId::parse("0193-a.b_C").is_ok());
    }
}
