//! `WWW-Authenticate: Bearer resource_metadata="…"` (RFC 9728, section 5.1): where a server says that its metadata is. Pure.

use std::ops::Range;

const NAME: &str = "resource_metadata=";

/// The URL that a challenge names.
pub(super) fn named(challenge: &str) -> Option<&str> {
    place(challenge).map(|place| challenge[place].trim_matches('"'))
}

/// The same challenge with another URL, when it names one.
pub(super) fn with(challenge: &str, url: &str) -> Option<String> {
    let place = place(challenge)?;
    Some(format!("{}\"{url}\"{}", &challenge[..place.start], &challenge[place.end..]))
}

/// Where the URL stands, with its quotes if it has any.
fn place(challenge: &str) -> Option<Range<usize>> {
    let small = challenge.to_ascii_lowercase();
    let mut found = small.match_indices(NAME).filter(|(at, _)| {
        let before = small[..*at].chars().next_back();
        // A parameter of its own, and not a word within another one's quotes.
        before.is_none_or(|before| matches!(before, ' ' | ',' | '\t'))
            && small[..*at].matches('"').count().is_multiple_of(2)
    });
    let begin = found.next()?.0 + NAME.len();
    let rest = &challenge[begin..];
    let length = match rest.strip_prefix('"') {
        Some(quoted) => quoted.find('"')? + 2,
        None => rest.find([',', ' ', '\t']).unwrap_or(rest.len()),
    };
    Some(begin..begin + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_url_of_a_challenge_changes() {
        let challenge = r#"Bearer error="invalid_token", Resource_Metadata="https://a/x", scope="read write""#;
        assert_eq!(named(challenge), Some("https://a/x"));
        let expected = r#"Bearer error="invalid_token", Resource_Metadata="http://b/y", scope="read write""#;
        assert_eq!(with(challenge, "http://b/y").as_deref(), Some(expected));
        assert_eq!(
            with("Bearer resource_metadata=https://a/x, a=b", "u").as_deref(),
            Some("Bearer resource_metadata=\"u\", a=b")
        );
        for other in
            ["Bearer", "Basic realm=\"x\"", "Bearer a=\"b resource_metadata=c\"", "Bearer x_resource_metadata=1"]
        {
            assert_eq!((named(other), with(other, "u")), (None, None), "{other}");
        }
    }
}
