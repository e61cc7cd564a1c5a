//! Texts that are compared with many records: what is asked of them again and again is worked out once.

use super::{any_stem, names_host, names_lower, stems};
use std::collections::{BTreeSet, HashMap};

/// A text, and what is asked of it again and again.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Phrase {
    text: String,
    lower: String,
    stems: BTreeSet<String>,
    trigrams: Trigrams,
}

impl From<String> for Phrase {
    fn from(text: String) -> Self {
        let lower = text.to_lowercase();
        Self { trigrams: Trigrams::of(&lower), lower, stems: stems(&text), text }
    }
}

impl From<Phrase> for String {
    fn from(phrase: Phrase) -> Self {
        phrase.text
    }
}

impl From<&str> for Phrase {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl Phrase {
    /// The text as it is.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text in lower case.
    #[must_use]
    pub fn lower(&self) -> &str {
        &self.lower
    }

    /// See [`stems`].
    #[must_use]
    pub const fn stems(&self) -> &BTreeSet<String> {
        &self.stems
    }

    /// Whether the text may hold `part`, whatever the case of its letters. That it does not is certain, and told at once.
    #[must_use]
    pub fn may_hold(&self, part: &str) -> bool {
        !part.is_ascii() || self.trigrams.may_hold(part.as_bytes())
    }

    /// See [`names_lower`]; `needle` is lower case.
    #[must_use]
    pub fn names(&self, needle: &str) -> bool {
        names_lower(&self.lower, needle)
    }

    /// See [`names_host`].
    #[must_use]
    pub fn names_host(&self, host: &str) -> bool {
        self.may_hold(last_labels(host)) && names_host(&self.lower, host)
    }
}

/// The part of a host's name that stands in every name of it that counts: its last two labels, or an address as it is.
fn last_labels(host: &str) -> &str {
    if host.parse::<std::net::IpAddr>().is_ok() {
        return host;
    }
    host.rmatch_indices('.').nth(1).map_or(host, |(at, _)| &host[at + 1..])
}

/// Which runs of three bytes stand in a text: a bit for each, at a place that several may share.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Trigrams(Box<[u64]>);

impl Trigrams {
    /// About eight bits for each byte of `text`: of runs that are not in it, one in eight is taken to be.
    fn of(text: &str) -> Self {
        let mut bits = vec![0_u64; text.len().div_ceil(8).next_power_of_two()].into_boxed_slice();
        for run in text.as_bytes().windows(3) {
            let (word, bit) = place(run, bits.len());
            bits[word] |= bit;
        }
        Self(bits)
    }

    fn may_hold(&self, part: &[u8]) -> bool {
        part.windows(3).all(|run| {
            let (word, bit) = place(run, self.0.len());
            self.0.get(word).is_some_and(|bits| bits & bit != 0)
        })
    }
}

/// The word and the bit in it, of `words` words, for a run of bytes; letters count as small ones.
fn place(run: &[u8], words: usize) -> (usize, u64) {
    let number = run.iter().fold(0_u32, |n, b| (n << 8) | u32::from(b.to_ascii_lowercase()));
    let mixed = number.wrapping_mul(0x9E37_79B1) >> 8;
    let word = usize::try_from(mixed >> 6).unwrap_or(0) & (words.max(1) - 1);
    (word, 1 << (mixed & 63))
}

/// Texts that are asked together, at most 64: the steps of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(from = "Vec<Phrase>", into = "Vec<Phrase>")]
pub struct Phrases {
    all: Vec<Phrase>,
    /// By stem of more than two characters, the phrases that have it: bit n stands for phrase n.
    by_stem: HashMap<String, u64>,
}

impl Phrases {
    /// How many there are at most.
    pub const MAX: usize = 64;

    /// How many different stems of more than two characters each phrase shares with `text`; empty when none shares any.
    #[must_use]
    pub fn shared(&self, text: &str) -> Vec<usize> {
        let mut met: Vec<(&str, u64)> = Vec::new();
        any_stem(text, |stem| {
            if let Some((known, phrases)) = self.by_stem.get_key_value(stem)
                && !met.iter().any(|(s, _)| s == known)
            {
                met.push((known, *phrases));
            }
            false
        });
        if met.is_empty() {
            return Vec::new();
        }
        let of = |phrase: usize| met.iter().filter(|(_, phrases)| (phrases >> phrase) & 1 == 1).count();
        (0..self.all.len()).map(of).collect()
    }
}

impl From<Vec<Phrase>> for Phrases {
    fn from(mut all: Vec<Phrase>) -> Self {
        all.truncate(Self::MAX);
        let mut by_stem: HashMap<String, u64> = HashMap::new();
        for (number, phrase) in all.iter().enumerate() {
            for stem in phrase.stems.iter().filter(|s| s.len() > 2) {
                *by_stem.entry(stem.clone()).or_default() |= 1 << number;
            }
        }
        Self { all, by_stem }
    }
}

impl From<Phrases> for Vec<Phrase> {
    fn from(phrases: Phrases) -> Self {
        phrases.all
    }
}

impl FromIterator<Phrase> for Phrases {
    fn from_iter<I: IntoIterator<Item = Phrase>>(phrases: I) -> Self {
        phrases.into_iter().take(Self::MAX).collect::<Vec<_>>().into()
    }
}

impl std::ops::Deref for Phrases {
    type Target = [Phrase];

    fn deref(&self) -> &[Phrase] {
        &self.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_a_text_may_be_held_by_it_and_most_else_may_not() {
        let text = "Fix the total in src/Cart.rs, then ask docs.example.org about Ärger";
        let phrase = Phrase::from(text);
        for at in (0..text.len()).filter(|at| text.is_char_boundary(*at)) {
            for end in (at..=text.len()).filter(|end| text.is_char_boundary(*end)) {
                assert!(phrase.may_hold(&text[at..end]), "{}", &text[at..end]);
            }
        }
        assert!(phrase.may_hold("SRC/CART") && phrase.may_hold("ab"));
        assert!(!phrase.may_hold("README.md") && !phrase.may_hold("id_rsa"));
        assert!(!Phrase::default().may_hold("README.md") && Phrase::default().may_hold(""));
    }

    #[test]
    fn a_host_is_found_whether_or_not_it_is_ruled_out_first() {
        let phrase = Phrase::from("Fetch it from Example.org or 203.0.113.7, or from localhost");
        for host in ["files.example.org", "EXAMPLE.org", "203.0.113.7", "localhost", "a.b.example.org"] {
            assert!(phrase.names_host(host), "{host}");
        }
        for host in ["203.0.113.8", "example.com", "org", "host", "", "files.exämple.org"] {
            assert!(!phrase.names_host(host), "{host}");
        }
    }

    #[test]
    fn what_phrases_share_with_a_text_is_counted_once_for_each_stem() {
        let phrases: Phrases =
            ["Read src/cart.rs", "Fix the cart's total", "Run it"].map(Phrase::from).into_iter().collect();
        assert_eq!(phrases.shared("cart Cart carts total it"), [1, 2, 0]);
        assert_eq!(phrases.shared("is it in the"), [0_usize; 0]);
        let saved = serde_json::to_string(&phrases).unwrap();
        assert_eq!(saved, r#"["Read src/cart.rs","Fix the cart's total","Run it"]"#);
        assert_eq!(serde_json::from_str::<Phrases>(&saved).unwrap(), phrases);
    }
}
