//! Which hosts a rule about the network speaks of.

use std::net::IpAddr;

/// Which hosts a network rule speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Host {
    Any,
    Loopback,
    Net(IpAddr, u8),
    Name(String),
    Below(String),
}

/// Splits `host:port`; an IPv6 address needs brackets when a port follows.
pub(super) fn split_port(text: &str) -> Result<(&str, Option<u16>), String> {
    let bad_port = |port: &str| format!("`{port}` is not a port: expected a number from 1 to 65535");
    let number = |port: &str| match port.parse::<u16>() {
        Ok(number) if number > 0 => Ok(Some(number)),
        _ => Err(bad_port(port)),
    };
    if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or_else(|| format!("`{text}` lacks a closing bracket"))?;
        return match after.strip_prefix(':') {
            Some(port) => Ok((host, number(port)?)),
            None if after.is_empty() => Ok((host, None)),
            None => Err(format!("`{after}` after the bracket: expected `:` and a port")),
        };
    }
    match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') => Ok((host, number(port)?)),
        _ => Ok((text, None)),
    }
}

impl Host {
    /// Reads a host, `*.host`, an address, address/bits, `loopback` or `*`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "*" => return Some(Self::Any),
            "loopback" | "localhost" => return Some(Self::Loopback),
            _ => {}
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            let address = plain(address);
            return Some(Self::Net(address, bits(address)));
        }
        if let Some((address, length)) = text.split_once('/') {
            let address = address.parse::<IpAddr>().ok()?;
            let length = length.parse::<u8>().ok()?;
            return (length <= bits(address)).then_some(Self::Net(address, length));
        }
        let (below, name) = match text.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, text),
        };
        let label = |label: &str| {
            !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        if !name.split('.').all(label) {
            return None;
        }
        let name = name.to_ascii_lowercase();
        Some(if below { Self::Below(name) } else { Self::Name(name) })
    }

    /// Whether it covers a host that is known by its name alone.
    pub(super) fn covers_name(&self, name: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Loopback => name.eq_ignore_ascii_case("localhost"),
            Self::Net(..) => false,
            Self::Name(own) => own.eq_ignore_ascii_case(name),
            Self::Below(_) => self.covers(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), &[name.to_owned()]),
        }
    }

    /// Whether it covers an address that is known by these names.
    pub(super) fn covers(&self, address: IpAddr, names: &[String]) -> bool {
        match self {
            Self::Any => true,
            Self::Loopback => address.is_loopback(),
            Self::Net(net, length) => in_net(address, *net, *length),
            Self::Name(name) => names.iter().any(|n| n.eq_ignore_ascii_case(name)),
            Self::Below(name) => names.iter().any(|n| {
                let n = n.to_ascii_lowercase();
                n.strip_suffix(name.as_str()).is_some_and(|front| front.ends_with('.') && front.len() > 1)
            }),
        }
    }
}

/// An IPv4 address that came as IPv6, as IPv4; anything else as it is.
#[must_use]
pub fn plain(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

const fn bits(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn in_net(address: IpAddr, net: IpAddr, length: u8) -> bool {
    match (address, net) {
        (IpAddr::V4(a), IpAddr::V4(n)) => {
            let shift = 32 - u32::from(length);
            a.to_bits().checked_shr(shift) == n.to_bits().checked_shr(shift)
        }
        (IpAddr::V6(a), IpAddr::V6(n)) => {
            let shift = 128 - u32::from(length);
            a.to_bits().checked_shr(shift) == n.to_bits().checked_shr(shift)
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}
