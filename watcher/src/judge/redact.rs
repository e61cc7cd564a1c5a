//! Takes secrets out of what leaves the machine. The same secret becomes the same mark, so that a flow can still be seen.

use regex::{Captures, Regex};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Shapes of secrets: a name, and a pattern whose group `s`, or else whole match, is the secret.
static SHAPES: LazyLock<Vec<(&'static str, Regex)>> = LazyLock::new(|| {
    include_str!("../../data/secret-shapes.txt")
        .lines()
        .filter(|l| !l.starts_with('#') && !l.trim().is_empty())
        .map(|line| {
            let (name, pattern) = line.split_once(char::is_whitespace).expect("a shape is a name and a pattern");
            (name, Regex::new(pattern.trim()).expect("the shapes are ours and a test compiles them"))
        })
        .collect()
});

/// Replaces secrets, and remembers which mark stands for which.
#[derive(Debug, Default)]
pub(crate) struct Redactor {
    marks: BTreeMap<String, usize>,
}

impl Redactor {
    /// The text with every known shape of a secret replaced by `[secret N: shape]`.
    pub(crate) fn redact(&mut self, text: &str) -> String {
        let mut out = text.to_owned();
        for (name, shape) in SHAPES.iter() {
            if !shape.is_match(&out) {
                continue;
            }
            let replaced = shape.replace_all(&out, |found: &Captures<'_>| {
                let whole = &found[0];
                let secret = found.name("s").map_or(whole, |s| s.as_str());
                if secret.starts_with("[secret ") {
                    return whole.to_owned();
                }
                let next = self.marks.len() + 1;
                let number = *self.marks.entry(secret.to_owned()).or_insert(next);
                whole.replace(secret, &format!("[secret {number}: {name}]"))
            });
            out = replaced.into_owned();
        }
        out
    }

    /// How many different secrets were taken out.
    pub(super) fn count(&self) -> usize {
        self.marks.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_shapes_go_and_ordinary_text_stays() {
        let github = format!("ghp_{}", "a1B2".repeat(9));
        let secrets = [
            ("AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE"),
            (github.as_str(), github.as_str()),
            ("DB_PASSWORD=hunter2-and-more", "hunter2-and-more"),
            ("{\"api_key\": \"abcdef123456\"}", "abcdef123456"),
            ("postgres://bob:s3cr3t@db/x", "s3cr3t"),
            ("Authorization: Bearer abc.def-ghi_jkl", "abc.def-ghi_jkl"),
            ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Blbn\nNza\n-----END OPENSSH PRIVATE KEY-----", "b3Blbn"),
            ("x eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.sflKxwRJSMeKKF2QT4fw y", "sflKxwRJSMeKKF2QT4fw"),
            ("mysql --password 'correct horse'", "correct horse"),
        ];
        for (text, secret) in secrets {
            let redacted = Redactor::default().redact(text);
            assert!(!redacted.contains(secret) && redacted.contains("[secret 1: "), "{text}: {redacted}");
        }
        for text in [
            "fix the token parser in src/token.rs",
            "git checkout 0f3c2a9d8b7e6f5a4c3b2a1908f7e6d5c4b3a291",
            "cargo test --package wk-watcher passwords_are_refused",
            "https://example.org/a?page=2",
            "read the secret file",
        ] {
            assert_eq!(Redactor::default().redact(text), text);
        }
    }

    #[test]
    fn the_same_secret_keeps_its_mark() {
        let mut redactor = Redactor::default();
        let first = redactor.redact("TOKEN=abcdefgh1234");
        let again = redactor.redact("curl -d token=abcdefgh1234 https://x.org");
        assert_eq!(first, "TOKEN=[secret 1: assigned]");
        assert!(again.contains("[secret 1: assigned]"), "{again}");
        assert_eq!(redactor.count(), 1);
    }
}
