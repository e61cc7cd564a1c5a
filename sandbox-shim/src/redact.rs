//! Takes secrets out of the arguments of processes before they are recorded.
//!
//! A command line is evidence, and it is also where people put passwords. What is taken out is replaced by the beginning of its
//! SHA-256, so that two uses of one secret can be seen to be one, and a known secret can be looked for. Two kinds of rule, both by
//! form alone: a value behind a name that says it is secret (`--token x`, `PASSWORD=x`, `Authorization: Bearer x`, `user:x@host`),
//! and a value that looks like the tokens that services hand out.
//!
//! Pure. What no rule knows stays: a policy that must not show arguments at all is another matter.

use wk_schemas::Digest;

/// A name that contains one of these, and a value behind it.
const NAMES: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "api-key",
    "api_key",
    "access-key",
    "access_key",
    "accesskey",
    "private-key",
    "private_key",
    "credential",
    "authorization",
    "pgpassword",
    "x-api-key",
];

/// Names that contain one of the above and hold no secret.
const HARMLESS_NAMES: &[&str] =
    &["max-tokens", "max_tokens", "tokenizer", "password-file", "token-file", "secret-file", "password-stdin"];

/// Beginnings of the tokens that services hand out, and how long one is at least.
const SHAPES: &[(&str, usize)] = &[
    ("sk-", 20),
    ("rk_live_", 20),
    ("sk_live_", 20),
    ("ghp_", 30),
    ("gho_", 30),
    ("ghu_", 30),
    ("ghs_", 30),
    ("ghr_", 30),
    ("github_pat_", 40),
    ("glpat-", 20),
    ("xoxb-", 20),
    ("xoxp-", 20),
    ("xoxa-", 20),
    ("xapp-", 20),
    ("AKIA", 20),
    ("ASIA", 20),
    ("AIza", 35),
    ("npm_", 30),
    ("pypi-", 40),
    ("hf_", 30),
    ("dop_v1_", 40),
    ("shpat_", 30),
    ("SG.", 40),
    ("eyJ", 40),
];

/// Words of an `Authorization` header that stand before the secret.
const SCHEMES: &[&str] = &["bearer", "basic", "token", "digest"];

/// The arguments, with secrets replaced.
#[must_use]
pub(crate) fn arguments(arguments: &[String]) -> Vec<String> {
    let mut out = Vec::with_capacity(arguments.len());
    let mut value_follows = false;
    for argument in arguments {
        if value_follows && !argument.starts_with('-') {
            value_follows = false;
            out.push(replacement(argument));
            continue;
        }
        // `--token` alone: the next argument is the value.
        value_follows = argument.starts_with('-') && !argument.contains(['=', ' ', ':']) && is_secret_name(argument);
        out.push(text(argument));
    }
    out
}

/// A text, such as a script in an argument, with secrets replaced.
#[must_use]
pub(crate) fn text(text: &str) -> String {
    if text.contains("PRIVATE KEY-----") {
        return replacement(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut value_follows = false;
    for (word, gap) in words(text) {
        if word.is_empty() {
            out.push_str(gap);
            continue;
        }
        if value_follows && SCHEMES.contains(&word.to_ascii_lowercase().as_str()) {
            out.push_str(word);
        } else if value_follows && !word.starts_with('-') {
            value_follows = false;
            out.push_str(&replacement(word));
        } else {
            value_follows = expects_value(word);
            out.push_str(&one(word));
        }
        out.push_str(gap);
    }
    out
}

/// The words of a text, each with what stands between it and the next.
fn words(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let is_gap = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | ';' | '|' | '(' | ')' | '<' | '>');
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = rest.find(is_gap).unwrap_or(rest.len());
        let after = rest[end..].find(|c| !is_gap(c)).map_or(rest.len(), |length| end + length);
        let found = (&rest[..end], &rest[end..after]);
        rest = &rest[after..];
        Some(found)
    })
}

/// Whether the word is a name whose value is the next word: `--token`, `Authorization:`.
fn expects_value(word: &str) -> bool {
    let flag = word.starts_with('-') && !word.contains('=');
    let bare = word.trim_end_matches([':', '=']);
    let open = word.ends_with([':', '=']);
    (flag || open) && is_secret_name(bare)
}

/// One word, with the secret in it replaced.
fn one(word: &str) -> String {
    if let Some((name, value)) = word.split_once(['=', ':'])
        && !value.is_empty()
        && !value.starts_with("//")
        && is_secret_name(name)
    {
        let separator = &word[name.len()..=name.len()];
        return format!("{name}{separator}{}", replacement(value));
    }
    if let Some((scheme, rest)) = word.split_once("://")
        && let Some((user, host)) = rest.split_once('@')
        && !user.contains('/')
        && let Some((user, password)) = user.split_once(':')
    {
        return format!("{scheme}://{user}:{}@{}", replacement(password), pieces(host));
    }
    pieces(word)
}

/// Replaces every piece of a word that looks like a token.
fn pieces(word: &str) -> String {
    let is_end = |c: char| matches!(c, '=' | ':' | ',' | '@' | '/' | '&' | '?');
    let replaced = word.split_inclusive(is_end).map(|piece| {
        let value = piece.trim_end_matches(is_end);
        if looks_like_a_token(value) {
            format!("{}{}", replacement(value), &piece[value.len()..])
        } else {
            piece.to_owned()
        }
    });
    replaced.collect()
}

fn is_secret_name(name: &str) -> bool {
    let name = name.trim_start_matches('-').to_ascii_lowercase();
    NAMES.iter().any(|secret| name.contains(secret)) && !HARMLESS_NAMES.iter().any(|harmless| name.contains(harmless))
}

fn looks_like_a_token(value: &str) -> bool {
    let plain = value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    plain && SHAPES.iter().any(|(start, length)| value.starts_with(start) && value.len() >= *length)
}

fn replacement(secret: &str) -> String {
    let digest = Digest::of(secret.as_bytes()).to_hex();
    format!("[redacted sha256:{}]", &digest[..12])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn redacted(line: &[&str]) -> Vec<String> {
        arguments(&line.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn secrets_are_taken_out_and_nothing_else() {
        let hunter = replacement("hunter2");
        assert_eq!(hunter, "[redacted sha256:f52fbd32b2b3]");
        for (line, expected) in [
            (vec!["mysql", "--password=hunter2", "db"], vec!["mysql", &format!("--password={hunter}"), "db"]),
            (vec!["tool", "--token", "hunter2", "--verbose"], vec!["tool", "--token", &hunter, "--verbose"]),
            (vec!["env", "DB_PASSWORD=hunter2", "run"], vec!["env", &format!("DB_PASSWORD={hunter}"), "run"]),
            (
                vec!["sh", "-c", "curl -H 'Authorization: Bearer hunter2' https://x.example/a?b=c"],
                vec!["sh", "-c", &format!("curl -H 'Authorization: Bearer {hunter}' https://x.example/a?b=c")],
            ),
            (
                vec!["git", "clone", "https://ada:hunter2@git.example/repo"],
                vec!["git", "clone", &format!("https://ada:{hunter}@git.example/repo")],
            ),
            (vec!["tool", "--max-tokens", "400"], vec!["tool", "--max-tokens", "400"]),
            (vec!["cat", "/etc/passwd", "secret/plan.txt"], vec!["cat", "/etc/passwd", "secret/plan.txt"]),
            (vec!["git", "commit", "-m", "rotate the token"], vec!["git", "commit", "-m", "rotate the token"]),
        ] {
            assert_eq!(redacted(&line), expected);
        }
    }

    #[test]
    fn tokens_are_known_by_their_form() {
        for secret in [
            concat!("gh", "p_0123456789abcdefghijABCDEFGHIJ012345"),
            concat!("AKIA", "IOSFODNN7EXAMPLE"),
            concat!("sk-", "ant-api03-0123456789abcdefghij"),
        ] {
            for line in [format!("echo {secret}"), format!("echo \"{secret}\" > f"), format!("x={secret}")] {
                let said = text(&line);
                assert!(!said.contains(secret) && said.contains(&replacement(secret)), "{said}");
            }
        }
        assert_eq!(text("sk-short eyJ ghp_"), "sk-short eyJ ghp_");
    }

    proptest! {
        #[test]
        fn a_text_without_a_secret_is_left_as_it_is(line in "[ a-z0-9/.;|\"'-]{0,80}") {
            prop_assume!(!NAMES.iter().any(|name| line.contains(name)) && !line.contains("sk-"));
            prop_assert_eq!(text(&line), line);
        }

        #[test]
        fn no_text_makes_it_panic(line in ".{0,200}") {
            drop(text(&line));
        }
    }
}
