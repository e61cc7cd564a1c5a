//! Words, names and values in text: what the context fields and the deviation score compare.
//!
//! Everything here is lexical and deterministic. It does not understand; it finds what is literally there.

mod phrase;

pub use phrase::{Phrase, Phrases};

use regex::Regex;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::LazyLock;
use wk_schemas::Digest;

/// Words that say nothing about what is meant, in order.
const STOP: &[&str] = &[
    "a", "an", "and", "any", "are", "as", "at", "be", "but", "by", "can", "could", "do", "does", "for", "from", "had",
    "has", "have", "how", "i", "if", "in", "into", "is", "it", "its", "just", "like", "me", "my", "no", "not", "of",
    "on", "or", "our", "out", "please", "should", "so", "some", "than", "that", "the", "their", "them", "then",
    "there", "these", "they", "this", "to", "up", "us", "was", "we", "what", "when", "which", "will", "with", "would",
    "you", "your",
];

/// The stems of the words in `text`, stop words left out. `readFile`, `read_file` and `reading files` give the same stems.
#[must_use]
pub fn stems(text: &str) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    any_stem(text, |stem| {
        if !out.contains(stem) {
            out.insert(stem.to_owned());
        }
        false
    });
    out
}

/// Whether `is` holds for one of the stems in `text`, as [`stems`] knows them; a stem that comes twice may be asked about twice.
pub fn any_stem(text: &str, mut is: impl FnMut(&str) -> bool) -> bool {
    let asked = each_word(text, |word| {
        if word.len() < 2 || STOP.binary_search(&word.as_str()).is_ok() {
            return ControlFlow::Continue(());
        }
        shorten(word);
        if is(word) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    asked.is_break()
}

/// The lower-case words in `text`; a change from small to capital letter begins a new one.
#[must_use]
pub fn words(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    let all = each_word(text, |word| {
        out.push(word.clone());
        ControlFlow::Continue(())
    });
    debug_assert!(all.is_continue(), "nothing stops it");
    out
}

/// Hands the words of `text` over one by one, until there are no more or enough of them. Most records' texts pass through
/// here, so that one word's memory serves for all.
fn each_word(text: &str, mut take: impl FnMut(&mut String) -> ControlFlow<()>) -> ControlFlow<()> {
    let mut word = String::new();
    let mut was_lower = false;
    for c in text.chars() {
        let is_part = c.is_alphanumeric();
        if (!is_part || (was_lower && c.is_uppercase())) && !word.is_empty() {
            take(&mut word)?;
            word.clear();
        }
        if c.is_ascii() && is_part {
            word.push(c.to_ascii_lowercase());
        } else if is_part {
            word.extend(c.to_lowercase());
        }
        was_lower = c.is_lowercase();
    }
    if word.is_empty() { ControlFlow::Continue(()) } else { take(&mut word) }
}

/// Takes the common English endings off a lower-case word: a crude stem, the same for all forms of most words.
#[must_use]
pub fn stem(word: &str) -> String {
    let mut stem = word.to_owned();
    shorten(&mut stem);
    stem
}

/// Makes a word its [`stem`].
fn shorten(w: &mut String) {
    if !w.is_ascii() || w.len() < 4 {
        return;
    }
    for (ending, put, least) in
        [("ies", "y", 5), ("sses", "ss", 5), ("ing", "", 6), ("ed", "", 5), ("es", "", 5), ("s", "", 4)]
    {
        if w.len() >= least && w.ends_with(ending) && !(ending == "s" && (w.ends_with("ss") || w.ends_with("us"))) {
            w.truncate(w.len() - ending.len());
            w.push_str(put);
            break;
        }
    }
    // `stopp` from `stopped`, `updat` from `updating`, `update`: the last doubled letter and a last `e` go.
    if let [.., a, b] = w.as_bytes()
        && a == b
        && !matches!(b, b'l' | b's' | b'e')
    {
        w.pop();
    }
    if w.len() > 3 && w.ends_with('e') {
        w.pop();
    }
}

/// Whether `needle` stands in `text` as a name of its own, not inside a longer one; case is ignored.
#[must_use]
pub fn names(text: &str, needle: &str) -> bool {
    names_lower(&text.to_lowercase(), &needle.to_lowercase())
}

/// As [`names`], for arguments that are lower case already.
#[must_use]
pub fn names_lower(text: &str, needle: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    !needle.is_empty()
        && text.match_indices(needle).any(|(at, found)| {
            let before = text[..at].chars().next_back();
            let mut after = text[at + found.len()..].chars();
            let next = after.next();
            // A full stop ends a sentence unless the name goes on behind it.
            let ends = match next {
                Some('.') => !after.next().is_some_and(is_part),
                Some(c) => !is_part(c),
                None => true,
            };
            ends && !before.is_some_and(|c| is_part(c) || (c == '.' && !needle.starts_with('.')))
        })
}

/// Whether `text`, which is lower case, names the host: in full, or the domain that it belongs to.
#[must_use]
pub fn names_host(text: &str, host: &str) -> bool {
    let host = host.to_lowercase();
    if host.is_empty() {
        return false;
    }
    if names_lower(text, &host) {
        return true;
    }
    if host.parse::<std::net::IpAddr>().is_ok() {
        return false;
    }
    let mut rest = host.as_str();
    while let Some((_, parent)) = rest.split_once('.') {
        // A top-level domain alone names nobody.
        if !parent.contains('.') {
            break;
        }
        if names_lower(text, parent) {
            return true;
        }
        rest = parent;
    }
    false
}

/// The form of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum Form {
    /// `mark@example.org`
    Email,
    /// `https://example.org/x` and bare `www.example.org`, `files.example.org`.
    Url,
    /// `203.0.113.7`
    Address,
    /// IBAN, card, account, phone: a long run with many digits.
    Number,
    /// `/etc/passwd`, `~/.ssh/id_rsa`
    Path,
    /// A long token of mixed characters: key, hash, password.
    Token,
}

/// A value worth following through a session, in a normal form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value {
    /// What it looks like.
    pub form: Form,
    /// Lower case, blanks and trailing punctuation taken off.
    pub text: String,
    /// Where it begins in the text it was found in.
    pub at: usize,
}

static VALUES: LazyLock<Vec<(Form, Regex)>> = LazyLock::new(|| {
    let compile =
        |form, pattern| (form, Regex::new(pattern).expect("the pattern is a constant and a test compiles it"));
    vec![
        compile(Form::Email, r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+"),
        compile(
            Form::Url,
            r"(?:https?|ftp|ssh|git)://[^\s'\x22<>()\[\]{}|\\^`]+|\b(?:www\.)[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+(?:/[^\s'\x22<>()]*)?",
        ),
        compile(Form::Address, r"\b(?:\d{1,3}\.){3}\d{1,3}\b"),
        compile(Form::Number, r"\b[A-Z]{2}\d{2}[A-Z0-9]{10,30}\b|\+?\b\d[\d -]{8,22}\d\b"),
        compile(Form::Path, r"(?:^|[\s'\x22=:(<>])(~?/[A-Za-z0-9._+@-]+(?:/[A-Za-z0-9._+@-]+)+)"),
        compile(Form::Token, r"\b[A-Za-z0-9_+/=-]{20,}\b"),
    ]
});

/// The values in `text`, at most `max`, in a fixed order. A value is found once under the first form that fits.
#[must_use]
pub fn values(text: &str, max: usize) -> Vec<Value> {
    let mut out: Vec<Value> = Vec::new();
    let mut taken: Vec<(usize, usize)> = Vec::new();
    let signs = Signs::of(text);
    for (form, regex) in VALUES.iter().filter(|(form, _)| signs.allow(*form)) {
        for found in regex.captures_iter(text) {
            let Some(whole) = found.get(1).or_else(|| found.get(0)) else { continue };
            let (start, end) = (whole.start(), whole.end());
            if taken.iter().any(|(s, e)| start < *e && *s < end) {
                continue;
            }
            let cleaned = normal(*form, whole.as_str());
            if !is_value(*form, &cleaned) {
                continue;
            }
            taken.push((start, end));
            if !out.iter().any(|v| v.form == *form && v.text == cleaned) {
                out.push(Value { form: *form, text: cleaned, at: start });
            }
            if out.len() >= max {
                return out;
            }
        }
    }
    out
}

/// What of a text can be told in one pass over its bytes: most texts hold no value of most forms, and are not searched for them.
#[derive(Debug, Default)]
struct Signs {
    is_ascii: bool,
    has_at: bool,
    has_scheme: bool,
    dots: usize,
    slashes: usize,
    digits: usize,
    /// Bytes of the longest run that a token may be.
    run: usize,
}

impl Signs {
    fn of(text: &str) -> Self {
        let mut signs = Self { is_ascii: true, ..Self::default() };
        let mut run = 0;
        for byte in text.bytes() {
            match byte {
                b'@' => signs.has_at = true,
                b'.' => signs.dots += 1,
                b'/' => signs.slashes += 1,
                b'0'..=b'9' => signs.digits += 1,
                0x80.. => signs.is_ascii = false,
                _ => {}
            }
            let is_of_token = byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'+' | b'/' | b'=' | b'-');
            run = if is_of_token { run + 1 } else { 0 };
            signs.run = signs.run.max(run);
        }
        signs.has_scheme = (signs.slashes > 1 && text.contains("://")) || (signs.dots > 1 && text.contains("www."));
        signs
    }

    /// Whether a value of that form may be in the text.
    const fn allow(&self, form: Form) -> bool {
        match form {
            Form::Email => self.has_at,
            Form::Url => self.has_scheme,
            // The pattern knows the digits of other scripts, too.
            Form::Address => !self.is_ascii || (self.dots > 2 && self.digits > 3),
            Form::Number => self.digits > 8,
            Form::Path => self.slashes > 1,
            Form::Token => self.digits > 3 && self.run > 19,
        }
    }
}

fn normal(form: Form, text: &str) -> String {
    let trimmed = text.trim_end_matches(['.', ',', ';', ':', '!', '?']).to_lowercase();
    match form {
        Form::Number => trimmed.chars().filter(|c| c.is_alphanumeric()).collect(),
        Form::Url => trimmed.trim_end_matches('/').to_owned(),
        Form::Email | Form::Address | Form::Path | Form::Token => trimmed,
    }
}

/// Dates look like numbers and long words look like tokens: those are not worth following.
fn is_value(form: Form, text: &str) -> bool {
    let digits = text.chars().filter(char::is_ascii_digit).count();
    match form {
        Form::Number => digits >= 9 && !((text.starts_with("19") || text.starts_with("20")) && text.len() <= 14),
        Form::Token => digits >= 4 && text.chars().any(|c| c.is_ascii_alphabetic()),
        Form::Email | Form::Url | Form::Address | Form::Path => true,
    }
}

/// The host of a URL value, if it has one.
#[must_use]
pub fn host_of(url: &str) -> Option<&str> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = host.split(':').next()?;
    (!host.is_empty()).then_some(host)
}

/// The first `max` bytes of `text`, cut at a character.
#[must_use]
pub fn cut(text: &str, max: usize) -> &str {
    if text.len() <= max {
        return text;
    }
    let mut end = max;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// `text`, or when it is longer than `max` bytes its beginning and its digest: two long texts stay two.
///
/// `max` is more than the 67 bytes that mark and digest take.
#[must_use]
pub fn bounded(text: &str, max: usize) -> Cow<'_, str> {
    if text.len() <= max {
        return Cow::Borrowed(text);
    }
    let tail = format!("…{}", Digest::of(text.as_bytes()).to_hex());
    Cow::Owned(format!("{}{tail}", cut(text, max.saturating_sub(tail.len()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_kept_as_its_beginning_and_its_digest() {
        let long = |end: &str| format!("{}{end}", "ä".repeat(600));
        let (a, b) = (long("a"), long("b"));
        assert_eq!(bounded("short", 256), "short");
        assert!(bounded(&a, 256).len() <= 256 && bounded(&a, 256).starts_with("ää"));
        assert_ne!(bounded(&a, 256), bounded(&b, 256));
    }

    #[test]
    fn stop_words_are_in_order() {
        assert!(STOP.is_sorted());
        assert_eq!(stems("What is it that you should do with the files"), stems("file"));
    }

    #[test]
    fn forms_of_a_word_have_one_stem() {
        for group in [["update", "updates", "updating"], ["file", "files", "filed"], ["stop", "stops", "stopped"]] {
            let all: BTreeSet<String> = group.iter().map(|w| stem(w)).collect();
            assert_eq!(all.len(), 1, "{group:?}: {all:?}");
        }
        assert_eq!(stems("readFile"), stems("read the files"));
    }

    #[test]
    fn a_name_is_not_found_inside_a_longer_one() {
        assert!(names("look at id_rsa.", "id_rsa"));
        assert!(names("cat ~/.ssh/id_rsa", "id_rsa"));
        assert!(!names("cat id_rsa.pub", "id_rsa"));
        assert!(!names("my_id_rsa", "id_rsa"));
        assert!(names("edit .env now", ".env"));
    }

    #[test]
    fn a_host_is_named_by_its_domain_but_not_by_its_top_level_domain() {
        assert!(names_host("fetch it from example.org", "files.example.org"));
        assert!(!names_host("an org chart", "files.example.org"));
        assert!(!names_host("version 0.113.7", "203.0.113.7"));
    }

    #[test]
    fn values_are_found_in_prose_and_dates_are_not() {
        let found =
            values("Send it to Mark.B@x.org by 2024-05-30 10:20, see https://e.org/a. IBAN GB29NWBK60161331926819", 10);
        let texts: Vec<&str> = found.iter().map(|v| v.text.as_str()).collect();
        assert_eq!(texts, ["mark.b@x.org", "https://e.org/a", "gb29nwbk60161331926819"]);
    }

    #[test]
    fn host_of_a_url_is_without_user_and_port() {
        assert_eq!(host_of("https://u:p@e.org:8443/x"), Some("e.org"));
        assert_eq!(host_of("www.e.org/x"), Some("www.e.org"));
    }
}
