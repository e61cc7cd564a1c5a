//! Schemas that are not this program's own: an older or a newer version of the audit record, as a registry or a data file gives it.
//!
//! A version may add nullable fields, kinds, and symbols at the end of an enum; it takes nothing away and changes no type. Two schemas of which
//! that holds, whichever is the newer, are compatible ([`Schema::differences`] is empty), and records of both lie in one table: a column that
//! one of them does not have is null. The encoding of a record follows from the schema that it was written with, so that schema is kept with
//! it, and [`Schema::walk`] proves a datum as strictly as [`codec::walk`] does for this program's own.

mod difference;
mod json;
mod project;

pub use json::SchemaError;

use crate::SCHEMA;
use crate::avro::{Avro, Field, Input, Shape, block, end_of_blocks};
use crate::body::Kind;
use crate::codec::{self, CodecError, HeaderView};
use crate::digest::Digest;
use crate::ids::{RecordId, SessionId};
use crate::time::Timestamp;
use std::sync::{Arc, LazyLock};

/// The first released version. A data file that does not say which schema it was written with was written with this one.
const FIRST: &str = include_str!("../golden/v1/audit_record.avsc");

/// The fields that every version begins with: they place a record.
pub(crate) const HEAD: [&str; 6] = ["record_id", "session_id", "writer", "seq", "prev_digest", "occurred_at"];

/// A version of the audit record's schema. Two that differ in docs alone are the same.
#[derive(Debug, Clone)]
pub struct Schema {
    fields: Vec<Field>,
    text: String,
    fingerprint: Digest,
    kind: usize,
}

impl PartialEq for Schema {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

impl Eq for Schema {}

impl Schema {
    /// This program's own.
    ///
    /// # Panics
    /// Never: a test reads the schema that is built in.
    #[must_use]
    pub fn ours() -> Arc<Self> {
        static OURS: LazyLock<Arc<Schema>> =
            LazyLock::new(|| Arc::new(Schema::parse(SCHEMA).expect("the schema that is built in is one")));
        Arc::clone(&OURS)
    }

    /// The first that was released; data files need not carry it.
    ///
    /// # Panics
    /// Never, as [`Schema::ours`].
    #[must_use]
    pub fn first() -> Arc<Self> {
        static OLDEST: LazyLock<Arc<Schema>> =
            LazyLock::new(|| Arc::new(Schema::parse(FIRST).expect("the schema that was released first is one")));
        Arc::clone(&OLDEST)
    }

    /// Reads an Avro schema.
    ///
    /// # Errors
    /// [`SchemaError`] when it is none, has a type that the audit record has nowhere, or does not begin as an audit record does.
    pub fn parse(text: &str) -> Result<Self, SchemaError> {
        let fields = json::parse(text)?;
        let kind = json::placed(&fields)?;
        let text = json::write(&fields);
        let fingerprint = Digest::of(text.as_bytes());
        Ok(Self { fields, text, fingerprint, kind })
    }

    /// The record's fields, in their order.
    #[must_use]
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The schema in one form, without docs: what the fingerprint is over, and enough to decode records with.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// SHA-256 of [`Schema::text`]: schemas that differ in docs or white space alone have the same.
    #[must_use]
    pub const fn fingerprint(&self) -> Digest {
        self.fingerprint
    }

    /// The names of the kinds. A kind's sub-record is the field of the same name.
    #[must_use]
    pub fn kinds(&self) -> &[String] {
        match &self.fields[self.kind].2 {
            Shape::Enum(_, symbols) => symbols,
            Shape::Primitive(..) | Shape::Optional(_) | Shape::Array(_) | Shape::Record(..) => {
                unreachable!("`kind` was found to be an enum")
            }
        }
    }

    /// Whether a field is the sub-record of a kind.
    #[must_use]
    pub fn is_body(&self, field: &str) -> bool {
        self.kinds().iter().skip(1).any(|kind| kind == field)
    }

    /// Why records of the two cannot lie in one table, one sentence for each field; empty when they can.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<String> {
        difference::between(&self.fields, &other.fields)
    }

    /// Whether this program knows everything that a record of this schema can say: it is its own, or an older one.
    #[must_use]
    pub fn is_known(&self) -> bool {
        difference::is_within(&self.fields, &Self::ours().fields)
    }

    /// Proves that `datum` is exactly one canonical record of this schema; returns what places it, and its kind's place among [`Schema::kinds`].
    ///
    /// [`HeaderView::kind`] is unspecified for a kind that this program does not know.
    ///
    /// # Errors
    /// [`CodecError`] names what is wrong and at which byte.
    pub fn walk<'a>(&self, datum: &'a [u8]) -> Result<(HeaderView<'a>, usize), CodecError> {
        if *self == *Self::ours() {
            let view = codec::walk(datum)?;
            // The walk has read it as a symbol of the same enum.
            let kind = Kind::ALL.iter().position(|kind| *kind == view.kind).unwrap_or(0);
            return Ok((view, kind));
        }
        let (view, kind) = self.walk_fields(datum)?;
        // What this program knows of the record is held to what it knows: forms of ids, lengths of digests.
        if let Some(known) = self.to_ours(datum)? {
            codec::walk(&known)?;
        }
        Ok((view, kind))
    }

    /// Proves that the first `count` fields of a record are there, and advances past them.
    ///
    /// # Errors
    /// As [`Schema::walk`].
    pub fn skip_fields(&self, count: usize, input: &mut Input<'_>) -> Result<(), CodecError> {
        self.fields.iter().take(count).try_for_each(|(_, _, shape)| skip(shape, input))
    }

    fn walk_fields<'a>(&self, datum: &'a [u8]) -> Result<(HeaderView<'a>, usize), CodecError> {
        let mut input = Input::new(datum);
        let mut texts = input.clone();
        RecordId::skip(&mut input)?;
        SessionId::skip(&mut input)?;
        let (record_id, session_id) = (texts.text()?, texts.text()?);
        let (writer, seq) = (input.text()?, input.long()?);
        let (prev_digest, occurred_at) = (Digest::read(&mut input)?, Timestamp::read(&mut input)?);
        let (mut kind, mut bodies) = (0, Vec::new());
        for (index, (name, _, shape)) in self.fields.iter().enumerate().skip(HEAD.len()) {
            let at = input.position();
            if index == self.kind {
                kind = input.clone().symbol("Kind", self.kinds().len())?;
            } else if self.is_body(name) && input.clone().is_some()? {
                bodies.push((name, at));
            }
            skip(shape, &mut input)?;
        }
        if input.remaining() > 0 {
            return Err(CodecError::Trailing { at: input.position(), bytes: input.remaining() });
        }
        match bodies[..] {
            [] => Err(CodecError::NoBody),
            [(body, _)] if *body == self.kinds()[kind] => {
                let known = Kind::ALL.iter().copied().find(|known| known.as_str() == body).unwrap_or_default();
                let view = HeaderView { record_id, session_id, writer, seq, prev_digest, occurred_at, kind: known };
                Ok((view, kind))
            }
            [(_, at)] => Err(CodecError::NotCanonical { at, what: "another body than the record's kind" }),
            [_, (_, at), ..] => Err(CodecError::NotCanonical { at, what: "a record with two bodies" }),
        }
    }

    /// The record as this program's own schema says it, without what only this one has; `None` for a kind that this program does not know.
    ///
    /// # Errors
    /// [`CodecError`] when the datum is no record of this schema.
    pub fn to_ours(&self, datum: &[u8]) -> Result<Option<Vec<u8>>, CodecError> {
        let ours = Self::ours();
        if *self == *ours {
            return Ok(Some(datum.to_vec()));
        }
        let mut before = Input::new(datum);
        self.skip_fields(self.kind, &mut before)?;
        let kind = before.symbol("Kind", self.kinds().len())?;
        if !ours.kinds().contains(&self.kinds()[kind]) {
            return Ok(None);
        }
        let mut out = Vec::with_capacity(datum.len() + 8);
        project::fields(&self.fields, &ours.fields, &mut Input::new(datum), &mut out)?;
        Ok(Some(out))
    }
}

/// Proves that one canonical value is there and advances past it.
fn skip(shape: &Shape, input: &mut Input<'_>) -> Result<(), CodecError> {
    match shape {
        Shape::Primitive("string", _) => String::skip(input),
        Shape::Primitive("bytes", _) => input.blob().map(drop),
        Shape::Primitive("long", _) => i64::skip(input),
        Shape::Primitive("int", _) => i32::skip(input),
        Shape::Primitive("double", _) => f64::skip(input),
        Shape::Primitive("boolean", _) => bool::skip(input),
        Shape::Primitive(other, _) => unreachable!("no schema is read that has `{other}`"),
        Shape::Optional(inner) => {
            if input.is_some()? {
                skip(inner, input)?;
            }
            Ok(())
        }
        Shape::Array(item) => {
            if let Some(count) = block(input)? {
                // Every type takes at least one byte, so a count beyond the input ends in `Truncated`.
                for _ in 0..count {
                    skip(item, input)?;
                }
                end_of_blocks(input)?;
            }
            Ok(())
        }
        Shape::Enum(name, symbols) => input.symbol(name, symbols.len()).map(drop),
        Shape::Record(_, _, fields) => fields.iter().try_for_each(|(_, _, shape)| skip(shape, input)),
    }
}
