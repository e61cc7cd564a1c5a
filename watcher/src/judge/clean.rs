//! Makes text that an agent or a tool wrote fit to be quoted: no control or invisible characters, cut where it is long, and
//! escaped so that nothing in it can close what it stands in.

/// Takes out terminal sequences, control and invisible characters, and cuts to at most `bytes_max` bytes, saying so.
#[must_use]
pub(super) fn clean(text: &str, bytes_max: usize) -> String {
    let mut out = String::with_capacity(text.len().min(bytes_max + 64));
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c == '\u{1b}' {
            skip_sequence(&mut chars);
            continue;
        }
        let kept = match c {
            '\n' | '\t' => Some(c),
            '\r' => None,
            _ if c.is_control() => Some('\u{fffd}'),
            _ if is_invisible(c) => None,
            _ => Some(c),
        };
        let Some(kept) = kept else { continue };
        if out.len() + kept.len_utf8() > bytes_max {
            out.push_str(&format!(" [cut here: {} more bytes are not shown]", text.len() - at));
            return out;
        }
        out.push(kept);
    }
    out
}

/// A terminal's escape sequence: `ESC [ … letter`, `ESC ] … BEL`, or `ESC` and one character.
fn skip_sequence(chars: &mut std::iter::Peekable<std::str::CharIndices<'_>>) {
    match chars.next() {
        Some((_, '[')) => while chars.next().is_some_and(|(_, c)| !('\u{40}'..='\u{7e}').contains(&c)) {},
        Some((_, ']')) => while chars.next().is_some_and(|(_, c)| c != '\u{7}' && c != '\u{1b}') {},
        _ => {}
    }
}

/// Characters that a person does not see and a model reads: zero width, direction marks, tags, variation selectors.
const fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// The text as a JSON string in which no `<`, `>` or `&` stands: it can close neither a quote nor a tag.
#[must_use]
pub(super) fn quote(text: &str) -> String {
    let json = serde_json::Value::from(text).to_string();
    json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_cannot_be_seen_does_not_reach_the_model() {
        let hidden: String = "ignore".chars().map(|c| char::from_u32(0xe0000 + u32::from(c)).unwrap()).collect();
        assert_eq!(
            clean(&format!("ls\u{200b} -l\u{1b}[31mred\u{1b}[0m\u{202e}{hidden}\u{0}"), 100),
            "ls -lred\u{fffd}"
        );
        assert_eq!(clean("\u{1b}]0;title\u{7}x", 100), "x");
    }

    #[test]
    fn what_is_cut_says_so() {
        assert_eq!(clean("äöü and more", 4), "äö [cut here: 11 more bytes are not shown]");
    }

    proptest! {
        #[test]
        fn a_quoted_text_closes_nothing_and_reads_back(text in "\\PC*|[<>&\"\\\\/a-z\\n]*") {
            let quoted = quote(&text);
            prop_assert!(!quoted.contains(['<', '>', '&', '\n']));
            prop_assert_eq!(serde_json::from_str::<String>(&quoted).unwrap(), text);
        }

        #[test]
        fn cleaning_keeps_to_its_bound(text in "\\PC*", most in 0_usize..64) {
            prop_assert!(clean(&text, most).len() <= most + 64);
        }
    }
}
