//! Holds the contract (`avro/audit_record.avsc`) and the Rust types together, against a reader that is not ours.

use serde_json::{Value as Json, json};
use std::collections::BTreeSet;
use wk_schemas::avro::Shape;
use wk_schemas::{SCHEMA, codec};

const NAMESPACE: &str = "watchkeeper.v1";

/// Renders a shape as Avro JSON; a named type is written out once and named from then on.
fn render(shape: &Shape, doc: Option<&str>, seen: &mut BTreeSet<String>) -> Json {
    match shape {
        Shape::Primitive(name, None) => json!(name),
        Shape::Primitive(name, Some(logical)) => json!({"type": name, "logicalType": logical}),
        Shape::Optional(inner) => json!(["null", render(inner, None, seen)]),
        Shape::Array(inner) => json!({"type": "array", "items": render(inner, None, seen)}),
        Shape::Enum(name, _) | Shape::Record(name, _, _) if !seen.insert(name.clone()) => json!(name),
        Shape::Enum(name, symbols) => {
            json!({"type": "enum", "name": name, "symbols": symbols, "default": "UNSPECIFIED"})
        }
        Shape::Record(name, own, fields) => {
            let fields: Vec<Json> = fields
                .iter()
                .map(|(name, doc, shape)| {
                    let mut field = json!({"name": name, "type": render(shape, None, seen), "doc": doc});
                    match shape {
                        Shape::Optional(_) => field["default"] = Json::Null,
                        Shape::Array(_) => field["default"] = json!([]),
                        Shape::Enum(..) => field["default"] = json!("UNSPECIFIED"),
                        Shape::Primitive(..) | Shape::Record(..) => {}
                    }
                    field
                })
                .collect();
            json!({"type": "record", "name": name, "doc": doc.unwrap_or(own), "fields": fields})
        }
    }
}

fn rendered() -> Json {
    let doc = "One event in the life of an agent's session, and its place in the log. Exactly one of the nullable sub-records is set; `kind` says which.";
    let mut schema = render(&codec::shape(), Some(doc), &mut BTreeSet::new());
    schema["namespace"] = json!(NAMESPACE);
    schema
}

#[test]
fn the_contract_and_the_types_say_the_same() {
    let contract: Json = serde_json::from_str(SCHEMA).unwrap();
    let types = rendered();
    assert!(contract == types, "avro/audit_record.avsc differs from the types; as the types have it:\n{types:#}");
}

#[test]
fn every_field_is_documented() {
    fn walk(schema: &Json, path: &str, bare: &mut Vec<String>) {
        match schema {
            Json::Array(branches) => branches.iter().for_each(|b| walk(b, path, bare)),
            Json::Object(map) => {
                for field in map.get("fields").and_then(Json::as_array).into_iter().flatten() {
                    let path = format!("{path}.{}", field["name"].as_str().unwrap());
                    if field["doc"].as_str().unwrap_or_default().len() < 8 {
                        bare.push(path.clone());
                    }
                    walk(&field["type"], &path, bare);
                }
                for inner in ["items", "type"] {
                    if let Some(inner) = map.get(inner) {
                        walk(inner, path, bare);
                    }
                }
            }
            _ => {}
        }
    }
    let mut bare = Vec::new();
    walk(&serde_json::from_str(SCHEMA).unwrap(), "AuditRecord", &mut bare);
    assert_eq!(bare, Vec::<String>::new());
}
