//! Where a `sockaddr` leads, as the kernel reads it. Pure.

use crate::policy::plain;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Where something goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// An IP address.
    Internet(SocketAddr),
    /// A local socket with a path.
    Path(Vec<u8>),
    /// A local socket without a path, or one that another process of the session made for itself.
    Abstract(Vec<u8>),
    /// How a program asks the kernel about the network.
    Netlink,
    /// `AF_UNSPEC`: undoes a connect.
    Nothing,
    /// Another family.
    Other(u16),
}

/// Reads a `sockaddr`.
pub(crate) fn target(address: &[u8]) -> Target {
    let family = address.get(..2).map_or(0, |b| u16::from_ne_bytes([b[0], b[1]]));
    let port = || address.get(2..4).map(|b| u16::from_be_bytes([b[0], b[1]]));
    let fixed = |range: std::ops::Range<usize>| address.get(range);
    match i32::from(family) {
        libc::AF_UNSPEC => Target::Nothing,
        libc::AF_NETLINK => Target::Netlink,
        libc::AF_INET => match (port(), fixed(4..8).and_then(|b| <[u8; 4]>::try_from(b).ok())) {
            (Some(port), Some(ip)) => Target::Internet(SocketAddr::new(Ipv4Addr::from(ip).into(), port)),
            _ => Target::Other(family),
        },
        libc::AF_INET6 => match (port(), fixed(8..24).and_then(|b| <[u8; 16]>::try_from(b).ok())) {
            (Some(port), Some(ip)) => Target::Internet(SocketAddr::new(plain(Ipv6Addr::from(ip).into()), port)),
            _ => Target::Other(family),
        },
        libc::AF_UNIX => match address.get(2..) {
            Some([0, name @ ..]) => Target::Abstract(name.to_vec()),
            Some(path) if !path.is_empty() => {
                Target::Path(path.split(|byte| *byte == 0).next().unwrap_or_default().to_vec())
            }
            _ => Target::Abstract(Vec::new()),
        },
        _ => Target::Other(family),
    }
}

/// A local socket without a path, as records name it.
pub(crate) fn abstract_name(name: &[u8]) -> String {
    format!("@{}", Path::new(std::ffi::OsStr::from_bytes(name)).display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_the_kernel_reads_them() {
        let v4 = [2, 0, 0x01, 0xbb, 192, 0, 2, 7, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(target(&v4), Target::Internet("192.0.2.7:443".parse().unwrap()));
        let mut mapped = vec![10, 0, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1];
        assert_eq!(target(&mapped), Target::Internet("127.0.0.1:80".parse().unwrap()));
        mapped.truncate(20);
        assert_eq!(target(&mapped), Target::Other(10));
        assert_eq!(target(b"\x01\x00/run/x.sock\x00junk"), Target::Path(b"/run/x.sock".to_vec()));
        assert_eq!(target(b"\x01\x00\x00bus"), Target::Abstract(b"bus".to_vec()));
        assert_eq!(target(&[0, 0, 0, 0]), Target::Nothing);
        assert_eq!(target(&[40, 0, 0, 0]), Target::Other(40));
        assert_eq!(target(&[]), Target::Nothing);
    }
}
