//! What the policy in force lets through, as far as the watcher needs it: the network entries that allow.

use serde::{Deserialize, Serialize};

/// An entry of the policy that lets a connection through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowed {
    /// Host name, address, network, `loopback`, or `*.domain`; `*` for any.
    host: String,
    /// Port; `None` for any.
    port: Option<i32>,
}

impl Allowed {
    /// Reads the entries of a policy's text whose action is `allow` below `network`.
    ///
    /// Lenient on purpose: the shim has checked the text, and a newer policy may say more than this reader knows. What it does
    /// not understand lets nothing through here, which at worst raises a finding too many.
    #[must_use]
    pub fn read(text: &str) -> Vec<Self> {
        let Ok(table) = text.parse::<toml::Table>() else { return Vec::new() };
        let mut out = Vec::new();
        if let Some(network) = table.get("network") {
            collect(network, &mut out);
        }
        out
    }

    /// Whether the entry speaks of this host or address and port.
    #[must_use]
    pub fn covers(&self, host: &str, port: Option<i32>) -> bool {
        let port_fits = self.port.is_none() || self.port == port;
        let is_loopback = || host == "localhost" || host.parse().is_ok_and(|a: std::net::IpAddr| a.is_loopback());
        let host_fits = self.host == "*"
            || (self.host == "loopback" && is_loopback())
            || self.host.eq_ignore_ascii_case(host)
            || self
                .host
                .strip_prefix("*.")
                .is_some_and(|d| host.to_lowercase().ends_with(&format!(".{}", d.to_lowercase())))
            || in_network(&self.host, host);
        port_fits && host_fits
    }
}

fn collect(value: &toml::Value, out: &mut Vec<Allowed>) {
    match value {
        toml::Value::Array(items) => items.iter().for_each(|i| collect(i, out)),
        toml::Value::Table(table) => {
            let action = table.get("action").and_then(toml::Value::as_str);
            if action == Some("allow") {
                match table.get("match") {
                    Some(toml::Value::String(one)) => out.extend(entry(one)),
                    Some(toml::Value::Array(many)) => {
                        out.extend(many.iter().filter_map(toml::Value::as_str).filter_map(entry));
                    }
                    _ => {}
                }
            }
            for (key, inner) in table {
                if key != "match" {
                    collect(inner, out);
                }
            }
        }
        _ => {}
    }
}

/// `host`, `host:port`, `host:*`, `[v6]:port`, `net/bits:port`.
fn entry(text: &str) -> Option<Allowed> {
    let text = text.trim();
    let text = text.split_once("://").map_or(text, |(_, rest)| rest);
    if text.is_empty() {
        return None;
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let port = match port {
        None | Some("*" | "") => None,
        Some(port) => Some(port.parse().ok()?),
    };
    Some(Allowed { host: host.trim_matches(['[', ']']).to_owned(), port })
}

fn in_network(network: &str, host: &str) -> bool {
    use std::net::IpAddr;
    let Some((base, bits)) = network.split_once('/') else { return false };
    let (Ok(base), Ok(bits), Ok(host)) = (base.parse::<IpAddr>(), bits.parse::<u32>(), host.parse::<IpAddr>()) else {
        return false;
    };
    match (base, host) {
        (IpAddr::V4(a), IpAddr::V4(b)) if bits <= 32 => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            u32::from(a) & mask == u32::from(b) & mask
        }
        (IpAddr::V6(a), IpAddr::V6(b)) if bits <= 128 => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            u128::from(a) & mask == u128::from(b) & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_allowed_hosts_of_a_policy_are_found_in_either_layout() {
        let text = r#"
            [[network.rules]]
            match = "api.example.org:443"
            action = "allow"
            [[network.rules]]
            match = ["*.crates.io", "10.0.0.0/8:53"]
            action = "allow"
            [[network.rules]]
            match = "*"
            action = "hold"
            [[files.rules]]
            match = "/etc/**"
            action = "allow"
        "#;
        let allowed = Allowed::read(text);
        let lets = |h: &str, p| allowed.iter().any(|a| a.covers(h, Some(p)));
        assert_eq!(allowed.len(), 3);
        assert!(lets("api.example.org", 443) && !lets("api.example.org", 80));
        assert!(lets("static.crates.io", 443) && lets("10.1.2.3", 53));
        assert!(!lets("evil.example", 443) && !lets("10.1.2.3", 80));
        let flat = Allowed::read("network = [{ match = \"127.0.0.1:8080\", action = \"allow\" }]");
        assert!(flat[0].covers("127.0.0.1", Some(8080)));
        assert!(Allowed::read("not toml [").is_empty());
    }
}
