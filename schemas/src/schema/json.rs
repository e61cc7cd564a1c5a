//! Avro schemas as JSON: read into shapes, and written in one form.

use super::HEAD;
use crate::avro::{Field, Shape};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// More fields than this, named types counted wherever they stand, are no audit record.
const FIELDS_MAX: usize = 8192;

/// The first symbol of every enum, and its default.
const UNSPECIFIED: &str = "UNSPECIFIED";

/// A text that is no version of the audit record's schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// Not JSON.
    #[error("it is not JSON: {reason}")]
    Json {
        /// What the parser says.
        reason: String,
    },
    /// Not a record at its top.
    #[error("it is not a record, but {found}")]
    NotARecord {
        /// What it is.
        found: String,
    },
    /// A type that the audit record has nowhere, so no column is made for it.
    #[error("`{path}` is of a type that no audit record has: {found}")]
    Type {
        /// The field, nested ones joined with dots.
        path: String,
        /// Its type.
        found: String,
    },
    /// It begins with other fields.
    #[error("it does not begin as an audit record does: `{expected}` is not in its place")]
    Head {
        /// The first field that is not there, or of another type.
        expected: &'static str,
    },
    /// It has far too many fields.
    #[error("it has more than {FIELDS_MAX} fields")]
    TooBig,
}

/// Reads the fields of the record that the text describes.
pub(super) fn parse(text: &str) -> Result<Vec<Field>, SchemaError> {
    let json: Value = serde_json::from_str(text).map_err(|e| SchemaError::Json { reason: e.to_string() })?;
    match Parser::default().shape("", &json) {
        Ok(Shape::Record(_, _, fields)) => Ok(fields),
        Ok(_) => Err(SchemaError::NotARecord { found: brief(&json) }),
        Err(SchemaError::Type { path, found }) if path.is_empty() => Err(SchemaError::NotARecord { found }),
        Err(error) => Err(error),
    }
}

/// Which field is the record's kind, once the fields that place a record were found where they belong.
pub(super) fn placed(fields: &[Field]) -> Result<usize, SchemaError> {
    let text = Shape::Primitive("string", None);
    let expected = [
        text.clone(),
        text.clone(),
        text,
        Shape::Primitive("long", None),
        Shape::Primitive("bytes", None),
        Shape::Primitive("long", Some("timestamp-micros")),
    ];
    for (index, (name, shape)) in HEAD.iter().zip(&expected).enumerate() {
        if fields.get(index).is_none_or(|(found, _, found_shape)| found != name || found_shape != shape) {
            return Err(SchemaError::Head { expected: name });
        }
    }
    let is_kind = |(name, _, shape): &Field| name == "kind" && matches!(shape, Shape::Enum(..));
    fields.iter().position(is_kind).ok_or(SchemaError::Head { expected: "kind" })
}

#[derive(Default)]
struct Parser {
    /// Named types, once they are whole: a type within itself is not found.
    named: BTreeMap<String, Shape>,
    fields: usize,
}

impl Parser {
    fn shape(&mut self, path: &str, json: &Value) -> Result<Shape, SchemaError> {
        let unknown = || SchemaError::Type { path: path.to_owned(), found: brief(json) };
        match json {
            Value::String(name) => match primitive(name) {
                Some(name) => Ok(Shape::Primitive(name, None)),
                None => {
                    let shape = self.named.get(last(name)).cloned().ok_or_else(unknown)?;
                    self.count(size(&shape))?;
                    Ok(shape)
                }
            },
            Value::Array(branches) => match &branches[..] {
                [Value::String(null), one] if null == "null" && !one.is_array() => {
                    Ok(Shape::Optional(Box::new(self.shape(path, one)?)))
                }
                _ => Err(unknown()),
            },
            Value::Object(object) => {
                let text = |key: &str| object.get(key).and_then(Value::as_str);
                match text("type") {
                    Some("record") => self.record(path, json),
                    Some("enum") => self.symbols(path, json),
                    Some("array") => {
                        let items = object.get("items").ok_or_else(unknown)?;
                        Ok(Shape::Array(Box::new(self.shape(&format!("{path}[]"), items)?)))
                    }
                    Some("long") if text("logicalType") == Some("timestamp-micros") => {
                        Ok(Shape::Primitive("long", Some("timestamp-micros")))
                    }
                    Some(name) if text("logicalType").is_none() => {
                        primitive(name).map(|name| Shape::Primitive(name, None)).ok_or_else(unknown)
                    }
                    _ => Err(unknown()),
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => Err(unknown()),
        }
    }

    fn record(&mut self, path: &str, json: &Value) -> Result<Shape, SchemaError> {
        let unknown = || SchemaError::Type { path: path.to_owned(), found: brief(json) };
        let name = self.new_name(json).ok_or_else(unknown)?;
        let mut fields = Vec::new();
        let mut seen = BTreeSet::new();
        // A record of no fields would take no byte, and an array of them no end.
        for field in json["fields"].as_array().filter(|fields| !fields.is_empty()).ok_or_else(unknown)? {
            let name = field["name"].as_str().ok_or_else(unknown)?;
            let inner = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            self.count(1)?;
            if !seen.insert(name) || !is_name(name) {
                return Err(SchemaError::Type { path: inner, found: "a name that is there twice, or is none".into() });
            }
            let shape = self.shape(&inner, &field["type"])?;
            fields.push((name.to_owned(), field["doc"].as_str().unwrap_or_default().to_owned(), shape));
        }
        let doc = json["doc"].as_str().unwrap_or_default();
        let shape = Shape::Record(name.clone(), doc.to_owned(), fields);
        self.named.insert(name, shape.clone());
        Ok(shape)
    }

    fn symbols(&mut self, path: &str, json: &Value) -> Result<Shape, SchemaError> {
        let unknown = || SchemaError::Type { path: path.to_owned(), found: brief(json) };
        let name = self.new_name(json).ok_or_else(unknown)?;
        let symbols = json["symbols"].as_array().ok_or_else(unknown)?;
        let symbols: Option<Vec<String>> = symbols.iter().map(|s| Some(s.as_str()?.to_owned())).collect();
        let symbols = symbols.ok_or_else(unknown)?;
        let distinct: BTreeSet<&String> = symbols.iter().collect();
        // What a reader makes of a symbol that it does not know must be said, and a symbol's index is one byte in the table's own code.
        if symbols.first().is_none_or(|first| first != UNSPECIFIED)
            || distinct.len() < symbols.len()
            || symbols.len() > usize::from(u8::MAX)
            || !symbols.iter().all(|symbol| is_name(symbol))
        {
            return Err(unknown());
        }
        let shape = Shape::Enum(name.clone(), symbols);
        self.named.insert(name, shape.clone());
        Ok(shape)
    }

    /// The name of a type that is defined here: once, and without its namespace.
    fn new_name(&self, json: &Value) -> Option<String> {
        let name = last(json["name"].as_str()?);
        (is_name(name) && !self.named.contains_key(name)).then(|| name.to_owned())
    }

    fn count(&mut self, fields: usize) -> Result<(), SchemaError> {
        self.fields += fields;
        if self.fields > FIELDS_MAX { Err(SchemaError::TooBig) } else { Ok(()) }
    }
}

/// How many fields a type has, those of its members included.
fn size(shape: &Shape) -> usize {
    match shape {
        Shape::Primitive(..) | Shape::Enum(..) => 1,
        Shape::Optional(inner) | Shape::Array(inner) => size(inner),
        Shape::Record(_, _, fields) => fields.iter().map(|(_, _, shape)| size(shape) + 1).sum(),
    }
}

/// Names as Avro has them, so that none needs quotes or escapes anywhere.
fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn primitive(name: &str) -> Option<&'static str> {
    ["string", "bytes", "long", "int", "double", "boolean"].into_iter().find(|known| *known == name)
}

/// A type's name without its namespace.
fn last(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

fn brief(json: &Value) -> String {
    let text = json.to_string();
    if text.chars().count() <= 120 { text } else { text.chars().take(120).chain(['…']).collect() }
}

/// Writes the schema of a record with these fields: one text for one schema, without docs.
pub(super) fn write(fields: &[Field]) -> String {
    let mut out = String::with_capacity(16 * 1024);
    out.push_str(r#"{"type":"record","name":"AuditRecord","namespace":"watchkeeper.v1","fields":["#);
    let mut seen = BTreeSet::from(["AuditRecord".to_owned()]);
    write_fields(fields, &mut seen, &mut out);
    out.push_str("]}");
    out
}

fn write_fields(fields: &[Field], seen: &mut BTreeSet<String>, out: &mut String) {
    for (index, (name, _, shape)) in fields.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write!(out, r#"{{"name":"{name}","type":"#).expect("a String takes all text");
        write_shape(shape, seen, out);
        out.push_str(match shape {
            Shape::Optional(_) => r#","default":null}"#,
            Shape::Array(_) => r#","default":[]}"#,
            Shape::Enum(..) => r#","default":"UNSPECIFIED"}"#,
            Shape::Primitive(..) | Shape::Record(..) => "}",
        });
    }
}

fn write_shape(shape: &Shape, seen: &mut BTreeSet<String>, out: &mut String) {
    match shape {
        Shape::Primitive(name, None) => write!(out, r#""{name}""#),
        Shape::Primitive(name, Some(logical)) => write!(out, r#"{{"type":"{name}","logicalType":"{logical}"}}"#),
        Shape::Optional(inner) => {
            out.push_str(r#"["null","#);
            write_shape(inner, seen, out);
            write!(out, "]")
        }
        Shape::Array(item) => {
            out.push_str(r#"{"type":"array","items":"#);
            write_shape(item, seen, out);
            write!(out, "}}")
        }
        Shape::Enum(name, _) | Shape::Record(name, ..) if !seen.insert(name.clone()) => write!(out, r#""{name}""#),
        Shape::Enum(name, symbols) => {
            let symbols = symbols.join(r#"",""#);
            write!(out, r#"{{"type":"enum","name":"{name}","symbols":["{symbols}"],"default":"UNSPECIFIED"}}"#)
        }
        Shape::Record(name, _, fields) => {
            write!(out, r#"{{"type":"record","name":"{name}","fields":["#).expect("a String takes all text");
            write_fields(fields, seen, out);
            write!(out, "]}}")
        }
    }
    .expect("a String takes all text");
}
