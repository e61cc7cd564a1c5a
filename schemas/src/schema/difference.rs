//! What keeps two schemas from being versions of one record, field by field.

use crate::avro::{Field, Shape};

/// One sentence for each field in which the two are not compatible. The first is spoken of, the second is what it is held against.
pub(super) fn between(these: &[Field], known: &[Field]) -> Vec<String> {
    let mut found = Vec::new();
    records("", these, known, &mut found);
    found
}

/// Whether all that the first can say is among what the second can: every field, and every symbol of an enum.
pub(super) fn is_within(these: &[Field], known: &[Field]) -> bool {
    these.iter().all(|(name, _, this)| {
        known.iter().find(|(known, ..)| known == name).is_some_and(|(_, _, known)| shape_is_within(this, known))
    })
}

fn shape_is_within(this: &Shape, known: &Shape) -> bool {
    match (this, known) {
        (Shape::Optional(this), Shape::Optional(known)) | (Shape::Array(this), Shape::Array(known)) => {
            shape_is_within(this, known)
        }
        (Shape::Record(_, _, these), Shape::Record(_, _, known)) => is_within(these, known),
        (Shape::Enum(_, these), Shape::Enum(_, known)) => these.iter().all(|this| known.contains(this)),
        (Shape::Primitive(this, logical), Shape::Primitive(known, other)) => (this, logical) == (known, other),
        _ => false,
    }
}

fn records(path: &str, these: &[Field], known: &[Field], found: &mut Vec<String>) {
    for (name, _, shape) in these {
        let path = join(path, name);
        match known.iter().find(|(known, ..)| known == name) {
            Some((_, _, known)) => shapes(&path, shape, known, found),
            None if is_nullable(shape) => {}
            None => found.push(format!("`{path}` is new and not nullable")),
        }
    }
    for (name, _, shape) in known {
        if !is_nullable(shape) && !these.iter().any(|(this, ..)| this == name) {
            found.push(format!("`{}` is missing", join(path, name)));
        }
    }
}

fn shapes(path: &str, this: &Shape, known: &Shape, found: &mut Vec<String>) {
    match (this, known) {
        (Shape::Optional(this), Shape::Optional(known)) => shapes(path, this, known, found),
        (Shape::Array(this), Shape::Array(known)) => shapes(&format!("{path}[]"), this, known, found),
        (Shape::Record(_, _, these), Shape::Record(_, _, known)) => records(path, these, known, found),
        (Shape::Enum(_, these), Shape::Enum(_, known)) => {
            if let Some((this, known)) = these.iter().zip(known).find(|(this, known)| this != known) {
                found.push(format!("`{path}` has the symbol {this} where {known} was"));
            }
        }
        (Shape::Primitive(this, logical), Shape::Primitive(known, other)) if (this, logical) == (known, other) => {}
        _ => found.push(format!("`{path}` is {} and was {}", name(this), name(known))),
    }
}

fn is_nullable(shape: &Shape) -> bool {
    matches!(shape, Shape::Optional(_))
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn name(shape: &Shape) -> String {
    match shape {
        Shape::Primitive(name, None) => format!("a {name}"),
        Shape::Primitive(name, Some(logical)) => format!("a {name} ({logical})"),
        Shape::Optional(inner) => format!("{} or null", name(inner)),
        Shape::Array(_) => "an array".into(),
        Shape::Enum(name, _) => format!("an enum {name}"),
        Shape::Record(name, ..) => format!("a record {name}"),
    }
}
