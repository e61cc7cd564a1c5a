//! A record of one schema as a record of another: fields by name, as Avro resolves them.

use super::skip;
use crate::avro::{Field, Input, Shape, block, end_of_blocks, write_long};
use crate::codec::CodecError;

/// Reads a record of the fields `from` and appends it as one of the fields `to`.
///
/// The two are compatible: what `from` does not have is null, or an empty array.
pub(super) fn fields(from: &[Field], to: &[Field], input: &mut Input<'_>, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let mut found: Vec<Option<Vec<u8>>> = vec![None; to.len()];
    for (name, _, shape) in from {
        match to.iter().position(|(known, ..)| known == name) {
            Some(index) => {
                let mut value = Vec::new();
                one(shape, &to[index].2, input, &mut value)?;
                found[index] = Some(value);
            }
            None => skip(shape, input)?,
        }
    }
    for value in found {
        match value {
            Some(value) => out.extend_from_slice(&value),
            // Null in a union, and no items in an array, are the same byte.
            None => out.push(0),
        }
    }
    Ok(())
}

fn one(from: &Shape, to: &Shape, input: &mut Input<'_>, out: &mut Vec<u8>) -> Result<(), CodecError> {
    match (from, to) {
        (Shape::Optional(from), Shape::Optional(to)) => {
            if input.is_some()? {
                out.push(2);
                one(from, to, input, out)
            } else {
                out.push(0);
                Ok(())
            }
        }
        (Shape::Array(from), Shape::Array(to)) => {
            if let Some(count) = block(input)? {
                write_long(count, out);
                for _ in 0..count {
                    one(from, to, input, out)?;
                }
                end_of_blocks(input)?;
            }
            out.push(0);
            Ok(())
        }
        (Shape::Record(_, _, from), Shape::Record(_, _, to)) => fields(from, to, input, out),
        (Shape::Enum(name, from), Shape::Enum(_, to)) => {
            let symbol = input.symbol(name, from.len())?;
            // A symbol that is not known is read as the default, the first.
            let index = to.iter().position(|known| *known == from[symbol]).unwrap_or(0);
            write_long(i64::try_from(index).expect("an enum has few symbols"), out);
            Ok(())
        }
        _ => {
            let start = input.clone();
            skip(from, input)?;
            out.extend_from_slice(start.clone().take(input.position() - start.position())?);
            Ok(())
        }
    }
}
