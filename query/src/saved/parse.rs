//! Reads the head of a saved question.

use super::{Parameter, Saved, ValueKind};

/// Takes a file apart. The error says what is wrong with its head.
pub(super) fn parse(name: &'static str, text: &'static str) -> Result<Saved, String> {
    let mut rest = text;
    let (mut title, mut about, mut parameters) = (None, None, Vec::new());
    while let Some(line) = rest.strip_prefix("-- ") {
        let (line, after) = line.split_once('\n').ok_or("it has no statement")?;
        let (key, said) = line.split_once(": ").ok_or_else(|| format!("`{line}` is no `key: value`"))?;
        match key {
            "title" => title = Some(said),
            "about" => about = Some(said),
            "param" => parameters.push(parameter(said).ok_or_else(|| format!("`{said}` is no parameter"))?),
            other => return Err(format!("`{other}` is no key of a head")),
        }
        rest = after;
    }
    let title = title.ok_or("it has no title")?;
    let about = about.ok_or("it does not say what it is about")?;
    Ok(Saved { name, title, about, parameters, text: rest.trim() })
}

/// `since time = 24h | What it means.`
fn parameter(said: &'static str) -> Option<Parameter> {
    let (declared, doc) = said.split_once(" | ")?;
    let (declared, default) = match declared.split_once(" = ") {
        Some((declared, default)) => (declared, Some(default)),
        None => (declared, None),
    };
    let (name, kind) = declared.split_once(' ')?;
    Some(Parameter { name, kind: ValueKind::read(kind)?, default, doc })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_becomes_title_words_and_parameters() {
        let saved =
            parse("x", "-- title: T\n-- about: A: b\n-- param: n integer = 3 | How many.\nSELECT $n\n").unwrap();
        let parameter = Parameter { name: "n", kind: ValueKind::Integer, default: Some("3"), doc: "How many." };
        assert_eq!(
            saved,
            Saved { name: "x", title: "T", about: "A: b", parameters: vec![parameter], text: "SELECT $n" }
        );
    }

    #[test]
    fn a_head_with_a_mistake_is_refused() {
        for (text, what) in [
            ("SELECT 1", "it has no title"),
            ("-- title: T\nSELECT 1", "it does not say what it is about"),
            ("-- nothing\nSELECT 1", "`nothing` is no `key: value`"),
            ("-- author: me\nSELECT 1", "`author` is no key of a head"),
            ("-- param: n number | How many.\nSELECT 1", "`n number | How many.` is no parameter"),
            ("-- title: T", "it has no statement"),
        ] {
            assert_eq!(parse("x", text), Err(what.to_owned()), "{text}");
        }
    }
}
