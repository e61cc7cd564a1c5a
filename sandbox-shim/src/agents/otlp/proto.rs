//! OTLP's protobuf, read into the JSON that OTLP also has, so that what follows knows only one form.
//!
//! A table says which field of which message is what; a field that is not in it is passed over, as protobuf demands. Ids come out in
//! hexadecimal and 64-bit numbers as text, as OTLP/JSON has them.

use serde_json::{Map, Value, json};

/// Values in values may lie so deep.
const DEPTH_MAX: u8 = 32;

/// Bytes that are no message of this kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ProtoError {
    #[error("the message ends in the middle of a field")]
    Truncated,
    #[error("a field of wire type {0}, which there is not")]
    WireType(u64),
    #[error("field {0} is not of the type that OTLP says")]
    Mismatch(u64),
    #[error("text that is not UTF-8")]
    Text,
    #[error("values in values, more than {DEPTH_MAX} deep")]
    Depth,
}

/// The fields of a message. Messages hold each other, so they are known by reference.
#[derive(Debug)]
struct Schema(&'static [Field]);

#[derive(Debug, Clone, Copy)]
enum Kind {
    Message(&'static Schema),
    Text,
    Hex,
    Bool,
    Int,
    Double,
    Fixed64,
}

#[derive(Debug, Clone, Copy)]
struct Field(u64, &'static str, Kind, Many);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Many {
    One,
    List,
}

use Kind::{Bool, Double, Fixed64, Hex, Int, Message, Text};
use Many::{List, One};

static VALUE: Schema = Schema(&[
    Field(1, "stringValue", Text, One),
    Field(2, "boolValue", Bool, One),
    Field(3, "intValue", Int, One),
    Field(4, "doubleValue", Double, One),
    Field(5, "arrayValue", Message(&ARRAY), One),
    Field(6, "kvlistValue", Message(&KEY_VALUES), One),
    Field(7, "bytesValue", Hex, One),
]);
static ARRAY: Schema = Schema(&[Field(1, "values", Message(&VALUE), List)]);
static KEY_VALUES: Schema = Schema(&[Field(1, "values", Message(&KEY_VALUE), List)]);
static KEY_VALUE: Schema = Schema(&[Field(1, "key", Text, One), Field(2, "value", Message(&VALUE), One)]);
static RESOURCE: Schema = Schema(&[Field(1, "attributes", Message(&KEY_VALUE), List)]);
static SCOPE: Schema = Schema(&[Field(1, "name", Text, One), Field(2, "version", Text, One)]);
static STATUS: Schema = Schema(&[Field(2, "message", Text, One), Field(3, "code", Int, One)]);
static EVENT: Schema = Schema(&[
    Field(1, "timeUnixNano", Fixed64, One),
    Field(2, "name", Text, One),
    Field(3, "attributes", Message(&KEY_VALUE), List),
]);
static SPAN: Schema = Schema(&[
    Field(1, "traceId", Hex, One),
    Field(2, "spanId", Hex, One),
    Field(4, "parentSpanId", Hex, One),
    Field(5, "name", Text, One),
    Field(7, "startTimeUnixNano", Fixed64, One),
    Field(8, "endTimeUnixNano", Fixed64, One),
    Field(9, "attributes", Message(&KEY_VALUE), List),
    Field(11, "events", Message(&EVENT), List),
    Field(15, "status", Message(&STATUS), One),
]);
static LOG: Schema = Schema(&[
    Field(1, "timeUnixNano", Fixed64, One),
    Field(5, "body", Message(&VALUE), One),
    Field(6, "attributes", Message(&KEY_VALUE), List),
    Field(9, "traceId", Hex, One),
    Field(10, "spanId", Hex, One),
    Field(11, "observedTimeUnixNano", Fixed64, One),
    Field(12, "eventName", Text, One),
]);
static SCOPE_SPANS: Schema =
    Schema(&[Field(1, "scope", Message(&SCOPE), One), Field(2, "spans", Message(&SPAN), List)]);
static SCOPE_LOGS: Schema =
    Schema(&[Field(1, "scope", Message(&SCOPE), One), Field(2, "logRecords", Message(&LOG), List)]);
static RESOURCE_SPANS: Schema =
    Schema(&[Field(1, "resource", Message(&RESOURCE), One), Field(2, "scopeSpans", Message(&SCOPE_SPANS), List)]);
static RESOURCE_LOGS: Schema =
    Schema(&[Field(1, "resource", Message(&RESOURCE), One), Field(2, "scopeLogs", Message(&SCOPE_LOGS), List)]);
static TRACES: Schema = Schema(&[Field(1, "resourceSpans", Message(&RESOURCE_SPANS), List)]);
static LOGS: Schema = Schema(&[Field(1, "resourceLogs", Message(&RESOURCE_LOGS), List)]);

/// An `ExportTraceServiceRequest`.
pub(super) fn traces(bytes: &[u8]) -> Result<Value, ProtoError> {
    message(bytes, &TRACES, 0)
}

/// An `ExportLogsServiceRequest`.
pub(super) fn logs(bytes: &[u8]) -> Result<Value, ProtoError> {
    message(bytes, &LOGS, 0)
}

/// What stands on the wire for one field.
enum Wire<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    Bytes(&'a [u8]),
    Other,
}

fn message(mut bytes: &[u8], schema: &Schema, depth: u8) -> Result<Value, ProtoError> {
    if depth > DEPTH_MAX {
        return Err(ProtoError::Depth);
    }
    let mut out = Map::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        let wire = match tag & 7 {
            0 => Wire::Varint(varint(&mut bytes)?),
            1 => Wire::Fixed64(take(&mut bytes, 8)?.try_into().map_err(|_| ProtoError::Truncated)?),
            2 => {
                let length = varint(&mut bytes)?;
                Wire::Bytes(take(&mut bytes, usize::try_from(length).map_err(|_| ProtoError::Truncated)?)?)
            }
            5 => {
                take(&mut bytes, 4)?;
                Wire::Other
            }
            other => return Err(ProtoError::WireType(other)),
        };
        let Some(Field(number, name, kind, many)) = schema.0.iter().find(|field| field.0 == tag >> 3) else { continue };
        let value = match (kind, wire) {
            (Message(schema), Wire::Bytes(bytes)) => message(bytes, schema, depth + 1)?,
            (Text, Wire::Bytes(bytes)) => std::str::from_utf8(bytes).map_err(|_| ProtoError::Text)?.into(),
            (Hex, Wire::Bytes(bytes)) => bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into(),
            (Bool, Wire::Varint(number)) => (number != 0).into(),
            (Int, Wire::Varint(number)) => number.cast_signed().into(),
            (Double, Wire::Fixed64(bytes)) => json!(f64::from_le_bytes(bytes)),
            (Fixed64, Wire::Fixed64(bytes)) => u64::from_le_bytes(bytes).to_string().into(),
            _ => return Err(ProtoError::Mismatch(*number)),
        };
        match (many, out.get_mut(*name).and_then(Value::as_array_mut)) {
            (List, Some(list)) => list.push(value),
            (List, None) => drop(out.insert((*name).to_owned(), json!([value]))),
            (One, _) => drop(out.insert((*name).to_owned(), value)),
        }
    }
    Ok(Value::Object(out))
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Result<&'a [u8], ProtoError> {
    let (taken, rest) = bytes.split_at_checked(count).ok_or(ProtoError::Truncated)?;
    *bytes = rest;
    Ok(taken)
}

fn varint(bytes: &mut &[u8]) -> Result<u64, ProtoError> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().ok_or(ProtoError::Truncated)?;
        *bytes = rest;
        number |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(ProtoError::Truncated)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A field with bytes in it.
    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let length = u8::try_from(bytes.len()).unwrap();
        assert!(length < 0x80);
        [&[(number << 3) | 2, length][..], bytes].concat()
    }

    fn attribute(key: &str, value: &[u8]) -> Vec<u8> {
        [field(1, key.as_bytes()), field(2, value)].concat()
    }

    #[test]
    fn a_span_is_read_as_its_json() {
        let number = [0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        let span = [
            field(2, &[0xab, 0x01]),
            field(5, b"execute_tool"),
            [&[0x39][..], &5_u64.to_le_bytes()].concat(),
            field(9, &attribute("a", &field(1, "é".as_bytes()))),
            field(9, &attribute("b", &number)),
            vec![0x85, 0x01, 1, 0, 0, 0], // flags, which nobody asks for
        ]
        .concat();
        let request = field(1, &field(2, &field(2, &span)));
        let expected = json!({"resourceSpans": [{"scopeSpans": [{"spans": [{
            "spanId": "ab01", "name": "execute_tool", "startTimeUnixNano": "5",
            "attributes": [{"key": "a", "value": {"stringValue": "é"}}, {"key": "b", "value": {"intValue": -1}}]}]}]}]});
        assert_eq!(traces(&request).unwrap(), expected);
        for end in 1..request.len() {
            assert!(traces(&request[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn values_in_values_come_to_an_end() {
        // A value that holds an array that holds a value, and so on: each costs four bytes, so thirty fit into one length byte.
        let nested = (0..20).fold(Vec::new(), |inner, _| field(5, &field(1, &inner)));
        let attributes = field(1, &attribute("deep", &nested));
        assert_eq!(message(&attributes, &RESOURCE, 0), Err(ProtoError::Depth));
        let shallow = (0..5).fold(Vec::new(), |inner, _| field(5, &field(1, &inner)));
        assert!(message(&field(1, &attribute("deep", &shallow)), &RESOURCE, 0).is_ok());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(traces(&bytes).is_ok_and(|v| v.is_object()) || traces(&bytes).is_err());
            prop_assert!(logs(&bytes).is_ok_and(|v| v.is_object()) || logs(&bytes).is_err());
        }
    }
}
