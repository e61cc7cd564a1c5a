//! The canonical Avro binary encoding, and the macro that ties a Rust struct to its Avro record.
//!
//! Avro 1.11 leaves a writer choices: an array may come in several blocks, a block may carry its size, a number may
//! be padded. A digest needs exactly one way to say a thing, so this module writes the shortest form and its reader
//! refuses every other. Whatever it accepts, re-encoding gives back the same bytes.
//!
//! ```text
//! int, long   zig-zag varint, shortest form          string, bytes  long length, then the bytes
//! boolean     one byte, 0 or 1                       double         8 bytes little endian, finite
//! enum        int index of the symbol                array          [count > 0, items...] once, then 0
//! union       int index: 0 = null, 1 = the value     record         its fields in order
//! ```

use crate::codec::CodecError;

/// A value with one canonical Avro encoding.
pub trait Avro: Sized {
    /// Appends the encoding of `self` to `out`.
    fn write(&self, out: &mut Vec<u8>);

    /// Reads one value and advances `input` past it.
    ///
    /// # Errors
    /// [`CodecError`] when the bytes are cut short or are not the canonical form.
    fn read(input: &mut Input<'_>) -> Result<Self, CodecError>;

    /// Proves that one canonical value is there and advances past it, without allocating.
    ///
    /// # Errors
    /// As [`Avro::read`].
    fn skip(input: &mut Input<'_>) -> Result<(), CodecError>;

    /// The Avro type, as it stands in the schema: used by the test that holds the `.avsc` and the types together.
    fn shape() -> Shape;
}

/// An Avro type as plain data.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// A primitive with its logical type, if any: `long`, `timestamp-micros`.
    Primitive(&'static str, Option<&'static str>),
    /// `["null", T]`.
    Optional(Box<Shape>),
    /// An array of one type.
    Array(Box<Shape>),
    /// A named enum and its symbols.
    Enum(String, Vec<String>),
    /// A named record: its doc, and its fields.
    Record(String, String, Vec<Field>),
}

/// A field of a record: its name, its doc and its type.
pub type Field = (String, String, Shape);

/// The bytes still to be read.
#[derive(Debug, Clone)]
pub struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    /// Starts at the first byte.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes have been read.
    #[must_use]
    pub fn position(&self) -> usize {
        self.at
    }

    /// How many bytes are left.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Takes `n` bytes.
    ///
    /// # Errors
    /// [`CodecError::Truncated`] when fewer are left.
    #[inline]
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], CodecError> {
        let taken = self.bytes[self.at..].get(..n).ok_or(CodecError::Truncated { at: self.at })?;
        self.at += n;
        Ok(taken)
    }

    /// Reads a zig-zag varint in its shortest form.
    ///
    /// # Errors
    /// [`CodecError::Truncated`], or [`CodecError::NotCanonical`] when it is padded or longer than 64 bits.
    #[inline]
    pub fn long(&mut self) -> Result<i64, CodecError> {
        // Most numbers are small: lengths, unions, symbols.
        match self.bytes.get(self.at) {
            Some(byte) if byte & 0x80 == 0 => {
                self.at += 1;
                Ok(unzigzag(u64::from(*byte)))
            }
            _ => self.long_of_several(),
        }
    }

    fn long_of_several(&mut self) -> Result<i64, CodecError> {
        let start = self.at;
        let mut value: u64 = 0;
        let mut shift = 0;
        loop {
            let byte = *self.bytes.get(self.at).ok_or(CodecError::Truncated { at: start })?;
            self.at += 1;
            if shift == 63 && byte > 1 {
                return Err(CodecError::NotCanonical { at: start, what: "a number longer than 64 bits" });
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                if byte == 0 && shift > 0 {
                    return Err(CodecError::NotCanonical { at: start, what: "a padded number" });
                }
                return Ok(unzigzag(value));
            }
            shift += 7;
        }
    }

    /// Reads a length-prefixed run of bytes.
    ///
    /// # Errors
    /// As [`Input::long`], and [`CodecError::NotCanonical`] for a negative length.
    #[inline]
    pub fn blob(&mut self) -> Result<&'a [u8], CodecError> {
        let at = self.at;
        let len =
            usize::try_from(self.long()?).map_err(|_| CodecError::NotCanonical { at, what: "a negative length" })?;
        self.take(len)
    }

    /// Reads a string without copying it.
    ///
    /// # Errors
    /// As [`Input::blob`], and [`CodecError::NotUtf8`].
    #[inline]
    pub fn text(&mut self) -> Result<&'a str, CodecError> {
        let at = self.at;
        std::str::from_utf8(self.blob()?).map_err(|_| CodecError::NotUtf8 { at })
    }

    /// Reads the index of a `["null", T]` union: is a value there?
    ///
    /// # Errors
    /// As [`Input::long`], and [`CodecError::NotCanonical`] for any index but 0 and 1.
    #[inline]
    pub fn is_some(&mut self) -> Result<bool, CodecError> {
        let at = self.at;
        match self.long()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(CodecError::NotCanonical { at, what: "a union index other than 0 or 1" }),
        }
    }

    /// Reads the index of an enum symbol below `symbols`.
    ///
    /// # Errors
    /// As [`Input::long`], and [`CodecError::UnknownSymbol`].
    #[inline]
    pub fn symbol(&mut self, name: &str, symbols: usize) -> Result<usize, CodecError> {
        let at = self.at;
        let index = self.long()?;
        let unknown = || CodecError::UnknownSymbol { at, name: name.to_owned(), index };
        usize::try_from(index).ok().filter(|i| *i < symbols).ok_or_else(unknown)
    }
}

#[expect(clippy::cast_sign_loss, reason = "zig-zag maps the sign into the lowest bit")]
fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[expect(clippy::cast_possible_wrap, reason = "zig-zag maps the lowest bit into the sign")]
fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Appends a zig-zag varint in its shortest form.
#[inline]
pub fn write_long(value: i64, out: &mut Vec<u8>) {
    let mut rest = zigzag(value);
    while rest >= 0x80 {
        out.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    out.push(rest.to_le_bytes()[0]);
}

/// Appends a length-prefixed run of bytes.
#[inline]
pub fn write_blob(bytes: &[u8], out: &mut Vec<u8>) {
    write_long(i64::try_from(bytes.len()).expect("a slice is never longer than i64::MAX"), out);
    out.extend_from_slice(bytes);
}

impl Avro for i64 {
    fn write(&self, out: &mut Vec<u8>) {
        write_long(*self, out);
    }
    fn read(input: &mut Input<'_>) -> Result<Self, CodecError> {
        input.long()
    }
    fn skip(input: &mut Input<'_>) -> Result<(), CodecError> {
        input.long().map(drop)
    }
    fn shape() -> Shape {
        Shape::Primitive("long", None)
    }
}

impl Avro for i32 {
    fn write(&self, out: &mut Vec<u8>) {
        write_long(i64::from(*self), out);
    }
    fn read(input: &mut Input<'_>) -> Result<Self, CodecError> {
        let at = input.position();
        Self::try_from(input.long()?).map_err(|_| CodecError::NotCanonical { at, what: "an int longer than 32 bits" })
    }
    fn skip(input: &mut Input<'_>) -> Result<(), CodecError> {
        Self::read(input).map(drop)
    }
    fn shape() -> Shape {
        Shape::Primitive("int", None)
    }
}

impl Avro for bool {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
    fn read(input: &mut Input<'_>) -> Result<Self, CodecError> {
        let at = input.position();
        match input.take(1)? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(CodecError::NotCanonical { at, what: "a boolean other than 0 or 1" }),
        }
    }
    fn skip(input: &mut Input<'_>) -> Result<(), CodecError> {
        Self::read(input).map(drop)
    }
    fn shape() -> Shape {
        Shape::Primitive("boolean", None)
    }
}

impl Avro for f64 {
    fn write(&self, out: &mut Vec<u8>) {
        assert!(self.is_finite(), "a record never holds a number that is not finite");
        out.extend_from_slice(&self.to_le_bytes());
    }
    fn read(input: &mut Input<'_>) -> Result<Self, CodecError> {
        let at = input.position();
        let bytes = input.take(8)?.try_into().expect("eight bytes were taken");
        let value = Self::from_le_bytes(bytes);
        if value.is_finite() {
            Ok(value)
        } else {
            Err(CodecError::NotCanonical { at, what: "a number that is not finite" })
        }
    }
    fn skip(input: &mut Input<'_>) -> Result<(), CodecError> {
        Self::read(input).map(drop)
    }
    fn shape() -> Shape {
        Shape::Primitive("double", None)
    }
}

impl Avro for String {
    fn write(&self, out: &mut Vec<u8>) {
        write_blob(self.as_bytes(), out);
    }
    fn read(input: &mut Input<'_>) -> Result<Self, CodecError> {
        input.text().map(str::to_owned)
    }
    fn skip(input: &mut Input<'_>) -> Result<(), CodecError> {
        input.text().map(drop)
    }
    fn shape() -> Shape {
        Shape::Primitive("string", None)
    }
}

/// Bytes, as Avro `bytes`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bytes(pub Vec<u8>);

impl Avro for Bytes {
    fn write(&self, out: &mut Vec<u8>) {
        write_blob(&self.0, out);
    }
    fn read(input: &mut Input<'_>) -> Result<Self, CodecError> {
        input.blob().map(|b| Self(b.to_vec()))
    }
    fn skip(input: &mut Input<'_>) -> Result<(), CodecError> {
        input.blob().map(drop)
    }
    fn shape() -> Shape {
        Shape::Primitive("bytes", None)
    }
}

impl<T: Avro> Avro for Option<T> {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            None => out.push(0),
            Some(value) => {
                out.push(2);
                value.write(out);
            }
        }
    }
    fn read(input: &mut Input<'_>) -> Result<Self, CodecError> {
        if input.is_some()? { T::read(input).map(Some) } else { Ok(None) }
    }
    fn skip(input: &mut Input<'_>) -> Result<(), CodecError> {
        if input.is_some()? { T::skip(input) } else { Ok(()) }
    }
    fn shape() -> Shape {
        Shape::Optional(Box::new(T::shape()))
    }
}

/// Reads the one block header of an array; `None` for an empty one.
pub(crate) fn block(input: &mut Input<'_>) -> Result<Option<i64>, CodecError> {
    let at = input.position();
    match input.long()? {
        0 => Ok(None),
        count if count > 0 => Ok(Some(count)),
        _ => Err(CodecError::NotCanonical { at, what: "an array block with a size" }),
    }
}

pub(crate) fn end_of_blocks(input: &mut Input<'_>) -> Result<(), CodecError> {
    let at = input.position();
    match input.long()? {
        0 => Ok(()),
        _ => Err(CodecError::NotCanonical { at, what: "an array in more than one block" }),
    }
}

impl<T: Avro> Avro for Vec<T> {
    fn write(&self, out: &mut Vec<u8>) {
        if !self.is_empty() {
            write_long(i64::try_from(self.len()).expect("a Vec is never longer than i64::MAX"), out);
            for item in self {
                item.write(out);
            }
        }
        out.push(0);
    }
    fn read(input: &mut Input<'_>) -> Result<Self, CodecError> {
        let mut items = Self::new();
        if let Some(count) = block(input)? {
            for _ in 0..count {
                items.push(T::read(input)?);
            }
            end_of_blocks(input)?;
        }
        Ok(items)
    }
    fn skip(input: &mut Input<'_>) -> Result<(), CodecError> {
        if let Some(count) = block(input)? {
            // Every type in the schema takes at least one byte, so a count beyond the input ends in `Truncated`.
            for _ in 0..count {
                T::skip(input)?;
            }
            end_of_blocks(input)?;
        }
        Ok(())
    }
    fn shape() -> Shape {
        Shape::Array(Box::new(T::shape()))
    }
}

/// Joins the lines of a doc comment into the text that the schema carries.
#[must_use]
pub fn doc(lines: &[&str]) -> String {
    lines.iter().map(|l| l.trim()).collect::<Vec<_>>().join(" ").trim().to_owned()
}

/// Defines a struct together with its Avro record: same names, same order, same docs.
macro_rules! avro_record {
    ($(#[doc = $doc:literal])+ pub struct $name:ident {
        $($(#[doc = $fdoc:literal])+ pub $field:ident : $ty:ty,)*
    }) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name { $($(#[doc = $fdoc])+ pub $field: $ty,)* }

        impl $crate::avro::Avro for $name {
            fn write(&self, out: &mut Vec<u8>) {
                $($crate::avro::Avro::write(&self.$field, out);)*
            }
            fn read(input: &mut $crate::avro::Input<'_>) -> Result<Self, $crate::codec::CodecError> {
                Ok(Self { $($field: <$ty as $crate::avro::Avro>::read(input)?,)* })
            }
            fn skip(input: &mut $crate::avro::Input<'_>) -> Result<(), $crate::codec::CodecError> {
                $(<$ty as $crate::avro::Avro>::skip(input)?;)*
                Ok(())
            }
            fn shape() -> $crate::avro::Shape {
                $crate::avro::Shape::Record(
                    stringify!($name).to_owned(),
                    $crate::avro::doc(&[$($doc),+]),
                    vec![$((stringify!($field).to_owned(), $crate::avro::doc(&[$($fdoc),+]), <$ty as $crate::avro::Avro>::shape()),)*],
                )
            }
        }
    };
}

/// Defines an enum together with its Avro enum. The first symbol is `UNSPECIFIED`, the Avro default.
macro_rules! avro_enum {
    ($(#[doc = $doc:literal])+ pub enum $name:ident {
        $($(#[doc = $vdoc:literal])+ $variant:ident = $symbol:literal,)*
    }) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub enum $name {
            /// Not said; also what a reader of an older schema sees for a symbol it does not know.
            #[default]
            Unspecified,
            $($(#[doc = $vdoc])+ $variant,)*
        }

        impl $name {
            /// Every value, in the order of the schema.
            pub const ALL: &'static [Self] = &[Self::Unspecified, $(Self::$variant,)*];
            /// Every Avro symbol, in the order of the schema.
            pub const SYMBOLS: &'static [&'static str] = &["UNSPECIFIED", $($symbol,)*];

            /// The Avro symbol, which is also what SQL shows.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { Self::Unspecified => "UNSPECIFIED", $(Self::$variant => $symbol,)* }
            }

            /// Reads the Avro symbol.
            #[must_use]
            pub fn from_symbol(symbol: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|v| v.as_str() == symbol)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl $crate::avro::Avro for $name {
            fn write(&self, out: &mut Vec<u8>) {
                $crate::avro::write_long(*self as i64, out);
            }
            fn read(input: &mut $crate::avro::Input<'_>) -> Result<Self, $crate::codec::CodecError> {
                input.symbol(stringify!($name), Self::ALL.len()).map(|i| Self::ALL[i])
            }
            fn skip(input: &mut $crate::avro::Input<'_>) -> Result<(), $crate::codec::CodecError> {
                input.symbol(stringify!($name), Self::ALL.len()).map(drop)
            }
            fn shape() -> $crate::avro::Shape {
                $crate::avro::Shape::Enum(
                    stringify!($name).to_owned(),
                    Self::SYMBOLS.iter().map(|symbol| (*symbol).to_owned()).collect(),
                )
            }
        }
    };
}

pub(crate) use {avro_enum, avro_record};
