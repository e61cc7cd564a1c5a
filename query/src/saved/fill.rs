//! Puts literals in the place of `$name`.

/// The statement with every `$name` of `literals` replaced. What stands in quotes is text and is left alone, and so is what was put in.
pub(super) fn fill(text: &str, literals: &[(&str, String)]) -> String {
    let mut filled = String::with_capacity(text.len() + 64);
    let mut quote = None;
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        if quote.is_none()
            && character == '$'
            && let Some((name, literal)) = longest(&rest[1..], literals)
        {
            filled.push_str(literal);
            rest = &rest[1 + name.len()..];
            continue;
        }
        match (quote, character) {
            (None, '\'' | '"') => quote = Some(character),
            (Some(open), _) if open == character => quote = None,
            _ => {}
        }
        filled.push(character);
        rest = &rest[character.len_utf8()..];
    }
    filled
}

/// The parameter whose whole name stands at the beginning of `text`.
fn longest<'a>(text: &str, literals: &'a [(&'a str, String)]) -> Option<(&'a str, &'a str)> {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    literals.iter().find(|(name, _)| *name == &text[..end]).map(|(name, literal)| (*name, literal.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_replaced_as_a_whole_and_outside_of_quotes() {
        let literals = [("a", "1".to_owned()), ("ab", "'$a'".to_owned())];
        assert_eq!(fill("$a $ab $abc '$a' \"$a\" 'x''$a' $a", &literals), "1 '$a' $abc '$a' \"$a\" 'x''$a' 1");
    }
}
