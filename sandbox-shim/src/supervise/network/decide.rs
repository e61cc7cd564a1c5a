//! What becomes of an address or of a local socket, once all that has to be looked up is known. Pure.

use crate::policy::{Action, Policy, Verdict, plain};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// What was found at the path of a local socket.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Found {
    /// It is the shim's own.
    pub(super) is_protected: bool,
    /// What is behind it, when it is a door out of the sandbox.
    pub(super) door: Option<&'static str>,
    /// Names are looked up behind it, past the shim that answers them.
    pub(super) answers_names: bool,
    /// The process makes the socket; it does not reach one that is there.
    pub(super) is_made: bool,
}

/// Decides about a local socket; `asked` is what the policy says of its path. A door is opened only by a rule that names it.
pub(super) fn local(found: Found, asked: Verdict) -> Verdict {
    let refused = |reason: String| Verdict { action: Action::Deny, reason: Some(reason) };
    let by_rule = asked.action == Action::Allow && asked.reason.is_some();
    match found.door {
        _ if found.is_protected => refused("protected by the shim".to_owned()),
        Some(behind) if !found.is_made && !by_rule => refused(format!("leads out of the sandbox: {behind}")),
        None if found.answers_names => refused("names are answered by the shim alone".to_owned()),
        Some(_) | None => asked,
    }
}

/// Decides about an IP address that is known by `names`. The system's own resolvers are asked when no rule speaks of them and the
/// policy lets names be looked up; whether an address is one of them is asked only of port 53.
pub(super) fn address(
    policy: &Policy,
    to: SocketAddr,
    names: &[String],
    is_protected: bool,
    is_resolver: impl FnOnce(IpAddr) -> bool,
) -> Verdict {
    if is_protected {
        return Verdict { action: Action::Deny, reason: Some("protected by the shim".to_owned()) };
    }
    let (ip, port) = (plain(to.ip()), to.port());
    let local = if ip.is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { ip };
    let verdict = policy.address(local, port, names);
    if port == 53 && verdict.reason.is_none() && is_resolver(ip) {
        return Verdict { action: policy.dns(), reason: Some("dns: the system's own resolver".to_owned()) };
    }
    verdict
}

/// Whether what goes to `to` comes out at `endpoint`: on this machine there is more than one way to say the same place.
pub(super) fn leads_to(to: SocketAddr, endpoint: SocketAddr) -> bool {
    let (ip, protected) = (plain(to.ip()), plain(endpoint.ip()));
    let is_here = |ip: IpAddr| ip.is_loopback() || ip.is_unspecified();
    endpoint.port() == to.port() && (protected == ip || (is_here(ip) && is_here(protected)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Places;

    fn says(action: Action, reason: Option<&str>) -> Verdict {
        Verdict { action, reason: reason.map(str::to_owned) }
    }

    #[test]
    fn a_door_is_opened_only_by_a_rule_that_names_it_and_the_shims_own_by_none() {
        let door = Found { door: Some("it runs units"), ..Found::default() };
        let (by_default, by_rule) = (says(Action::Allow, None), says(Action::Allow, Some("r: why")));
        let refused = says(Action::Deny, Some("leads out of the sandbox: it runs units"));
        assert_eq!(local(door, by_default.clone()), refused);
        assert_eq!(local(door, by_rule.clone()), by_rule);
        assert_eq!(local(door, says(Action::Hold, Some("r: ask"))), refused);
        assert_eq!(local(Found { is_made: true, ..door }, by_default.clone()), by_default);
        let own = says(Action::Deny, Some("protected by the shim"));
        assert_eq!(local(Found { is_protected: true, ..door }, by_rule.clone()), own);
        let names = Found { answers_names: true, ..Found::default() };
        assert_eq!(local(names, by_rule.clone()), says(Action::Deny, Some("names are answered by the shim alone")));
        assert_eq!(local(Found::default(), by_rule.clone()), by_rule);
    }

    #[test]
    fn one_place_of_this_machine_is_known_by_each_of_its_addresses() {
        let reaches = |to: &str, endpoint: &str| leads_to(to.parse().unwrap(), endpoint.parse().unwrap());
        for to in
            ["127.0.0.1:9092", "127.9.9.9:9092", "0.0.0.0:9092", "[::1]:9092", "[::]:9092", "[::ffff:127.0.0.1]:9092"]
        {
            assert!(reaches(to, "127.0.0.1:9092") && reaches(to, "0.0.0.0:9092"), "{to}");
            assert!(!reaches(to, "127.0.0.1:9093") && !reaches(to, "192.0.2.1:9092"), "{to}");
        }
        assert!(reaches("192.0.2.1:9092", "192.0.2.1:9092") && reaches("[::ffff:192.0.2.1]:9092", "192.0.2.1:9092"));
        assert!(!reaches("192.0.2.2:9092", "192.0.2.1:9092") && !reaches("192.0.2.1:9092", "127.0.0.1:9092"));
    }

    #[test]
    fn the_systems_resolver_is_asked_unless_a_rule_speaks_of_it() {
        let policy = |rules: &str| {
            let text = format!("name = \"t\"\n[network]\ndefault = \"hold\"\ndns = \"allow\"\nrules = [{rules}]\n");
            let places = Places { home: "/home/ada".into(), workspace: "/w".into() };
            Policy::parse(&text, "t.toml", &places).unwrap()
        };
        let ask = |policy: &Policy, to: &str, is_protected: bool| {
            let resolver: IpAddr = "192.0.2.53".parse().unwrap();
            address(policy, to.parse().unwrap(), &[], is_protected, |ip| ip == resolver)
        };
        let silent = policy("");
        let resolver = says(Action::Allow, Some("dns: the system's own resolver"));
        assert_eq!(ask(&silent, "192.0.2.53:53", false), resolver);
        assert_eq!(ask(&silent, "[::ffff:192.0.2.53]:53", false), resolver);
        assert_eq!(ask(&silent, "192.0.2.53:54", false), says(Action::Hold, None));
        assert_eq!(ask(&silent, "192.0.2.54:53", false), says(Action::Hold, None));
        assert_eq!(ask(&silent, "192.0.2.53:53", true), says(Action::Deny, Some("protected by the shim")));
        let ruled = policy(r#"{ match = "192.0.2.53", action = "deny", reason = "r" }"#);
        assert_eq!(ask(&ruled, "192.0.2.53:53", false).action, Action::Deny);
        let loopback = policy(r#"{ match = "loopback", action = "allow", reason = "r" }"#);
        assert_eq!(ask(&loopback, "0.0.0.0:80", false).action, Action::Allow);
    }
}
