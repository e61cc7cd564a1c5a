//! Who may talk through the proxy, and what of a message's envelope goes on.
//!
//! The proxy listens on loopback, where a web page in the user's browser reaches it as well: by its own name (`Origin`), or by a name
//! that was made to lead here (`Host`). Neither is let in.

use hyper::header::{self, HeaderMap};
use hyper::http::uri::Authority;
use std::net::IpAddr;
use url::Url;

/// Headers that belong to one connection, or that the next one makes anew. `Accept-Encoding` is among them: what is packed could not
/// be read on the way.
const OF_ONE_CONNECTION: [&str; 12] = [
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Why a request is not let in.
pub(super) fn refusal(headers: &HeaderMap) -> Option<&'static str> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
    if !host.is_some_and(|host| is_loopback(host.host())) {
        return Some("this proxy is reached by a name of this machine's own only");
    }
    let is_foreign = |origin: &header::HeaderValue| {
        let origin = origin.to_str().ok().and_then(|origin| Url::parse(origin).ok());
        !origin.is_some_and(|origin| origin.host_str().is_some_and(is_loopback))
    };
    headers
        .get_all(header::ORIGIN)
        .iter()
        .any(is_foreign)
        .then_some("web pages of other machines may not talk to this proxy")
}

/// The proxy, as a client that is let in calls it.
pub(super) fn here(headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    format!("http://{}", host.to_ascii_lowercase())
}

/// Whether a host name means this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// The headers that go on to the other side: keys, session and versions among them.
pub(super) fn passed_on(headers: &HeaderMap) -> HeaderMap {
    let named = headers.get_all(header::CONNECTION).iter().filter_map(|names| names.to_str().ok());
    let named: Vec<String> = named.flat_map(|names| names.split(',')).map(|name| name.trim().to_lowercase()).collect();
    let mut on = headers.clone();
    for name in headers.keys() {
        if OF_ONE_CONNECTION.contains(&name.as_str()) || named.iter().any(|other| other == name.as_str()) {
            on.remove(name);
        }
    }
    on
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderName;

    fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
        all.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn names_and_pages_of_this_machine_are_let_in_and_no_others() {
        for host in ["127.0.0.1:7", "localhost", "LOCALHOST:80", "[::1]:7", "127.1.2.3"] {
            assert_eq!(refusal(&headers(&[("host", host)])), None, "{host}");
            let origin = format!("http://{host}");
            assert_eq!(refusal(&headers(&[("host", host), ("origin", &origin)])), None, "{origin}");
        }
        for host in ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:7", "10.0.0.1", "", "a b"] {
            assert!(refusal(&headers(&[("host", host)])).is_some(), "{host}");
        }
        assert!(refusal(&headers(&[])).is_some());
        for origin in ["null", "https://evil.example", "http://localhost@evil.example", "file:///etc", "x"] {
            assert!(refusal(&headers(&[("host", "localhost"), ("origin", origin)])).is_some(), "{origin}");
        }
        let mut two = headers(&[("host", "localhost"), ("origin", "http://localhost")]);
        two.append("origin", "http://evil.example".parse().unwrap());
        assert!(refusal(&two).is_some());
    }

    #[test]
    fn what_is_one_connections_own_stays_and_keys_go_on() {
        let on = passed_on(&headers(&[
            ("authorization", "Bearer k"),
            ("mcp-session-id", "s"),
            ("mcp-protocol-version", "2025-06-18"),
            ("last-event-id", "7"),
            ("connection", "close, X-Mine"),
            ("x-mine", "1"),
            ("host", "localhost"),
            ("accept-encoding", "gzip"),
            ("content-length", "7"),
        ]));
        let mut names: Vec<_> = on.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["authorization", "last-event-id", "mcp-protocol-version", "mcp-session-id"]);
    }
}
