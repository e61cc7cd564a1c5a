//! The way out: what the shim's proxy and its resolver are made of, without the supervision that decides.
//!
//! ```text
//! agent, in a network of its own that leads nowhere              shim, in the machine's network
//!   asks for a name          ──► NAMES :53 ── an address that stands for the name (fake.rs); nothing is forwarded
//!   connects anywhere        ──► RELAY     ── the shim turns the connect there, and knows where it was meant to go
//!   HTTP_PROXY, SOCKS        ──► DOOR      ── CONNECT, plain HTTP, SOCKS5 say themselves where they go
//!                                                └─ decided by the policy's egress rules, then dialled by name ──► outside
//! ```
//! The listening sockets are made inside by the init and served from outside, so nothing that serves them is in the agent's reach,
//! and with the shim they vanish. Where no network namespace can be made, the same services stand on the machine's loopback, and
//! it is the supervision alone that turns each connect to them; datagrams go nowhere but to the names.

pub(crate) mod dns;
pub(crate) mod fake;
pub(crate) mod hello;
pub(crate) mod routes;
pub(crate) mod socks;

use crate::policy::plain;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};

/// Of all the addresses of loopback, the one that the shim's own services have in the agent's network: nothing else is there.
pub(crate) const HOST: Ipv4Addr = Ipv4Addr::new(127, 87, 75, 1);
/// Where proxies are spoken to.
pub(crate) const DOOR: SocketAddrV4 = SocketAddrV4::new(HOST, 3128);
/// Where connects are turned to.
pub(crate) const RELAY: SocketAddrV4 = SocketAddrV4::new(HOST, 3129);
/// Where names are asked for.
pub(crate) const NAMES: SocketAddrV4 = SocketAddrV4::new(HOST, 53);

/// Whether an address is this machine's, its link's, or no single host's: whoever owns a name must not choose what it reaches there.
#[must_use]
pub(crate) fn is_near(address: IpAddr) -> bool {
    match plain(address) {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_link_local() || v4.is_unspecified() || v4.is_multicast(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unicast_link_local() || v6.is_unspecified() || v6.is_multicast(),
    }
}

/// A `sockaddr_in` as bytes.
#[must_use]
pub(crate) fn bytes(address: SocketAddrV4) -> [u8; 16] {
    let mut bytes = [0; 16];
    let family = u16::try_from(libc::AF_INET).unwrap_or(2);
    bytes[..2].copy_from_slice(&family.to_ne_bytes());
    bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
    bytes[4..8].copy_from_slice(&address.ip().octets());
    bytes
}

/// The same as a `sockaddr_in6`, for a socket of that family.
#[must_use]
pub(crate) fn mapped_bytes(address: SocketAddrV4) -> [u8; 28] {
    let mut bytes = [0; 28];
    let family = u16::try_from(libc::AF_INET6).unwrap_or(10);
    bytes[..2].copy_from_slice(&family.to_ne_bytes());
    bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
    bytes[8..24].copy_from_slice(&address.ip().to_ipv6_mapped().octets());
    bytes
}

/// Where the shim's own services are, for the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Services {
    /// Where proxies are spoken to.
    pub door: SocketAddrV4,
    /// Where connects are turned to.
    pub relay: SocketAddrV4,
    /// Where names are asked for over a stream.
    pub names: SocketAddrV4,
    /// Where names are asked for.
    pub questions: SocketAddrV4,
}

impl Services {
    /// In a network of the agent's own.
    pub(crate) const INSIDE: Self = Self { door: DOOR, relay: RELAY, names: NAMES, questions: NAMES };
}

/// What programs read to find a proxy. Loopback stays the agent's own.
pub(crate) fn put_into(environment: &mut Vec<(OsString, OsString)>, door: SocketAddrV4) {
    let http = format!("http://{door}");
    let near = "localhost,127.0.0.1,::1";
    let all = [
        ("HTTP_PROXY", http.as_str()),
        ("http_proxy", &http),
        ("HTTPS_PROXY", &http),
        ("https_proxy", &http),
        // As a SOCKS proxy it would make Python clients ask for a package that few have.
        ("ALL_PROXY", &http),
        ("all_proxy", &http),
        ("NO_PROXY", near),
        ("no_proxy", near),
        ("NODE_USE_ENV_PROXY", "1"),
    ];
    environment.retain(|(name, _)| !all.iter().any(|(own, _)| name == own));
    environment.extend(all.map(|(name, value)| (name.into(), value.into())));
}

/// A file that says where names are asked for, put over `/etc/resolv.conf`; removed when dropped.
#[derive(Debug)]
pub(crate) struct NamesFile(PathBuf);

impl NamesFile {
    /// Makes it.
    ///
    /// # Errors
    /// When `/tmp` cannot be written.
    pub(crate) fn make() -> io::Result<Self> {
        let path = Path::new("/tmp").join(format!("wk-names-{}", crate::clock::new_id().simple()));
        let mut file = std::fs::File::create_new(&path)?;
        let made = Self(path);
        write!(file, "nameserver {HOST}\noptions timeout:5 attempts:2\n")?;
        Ok(made)
    }

    /// Where it lies.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for NamesFile {
    fn drop(&mut self) {
        // What would be left is two lines in scratch space.
        drop(std::fs::remove_file(&self.0));
    }
}

/// Whether something listens on a port of loopback, in the network of a process: what its `/proc/<pid>/net/tcp` says.
#[must_use]
pub(crate) fn somebody_listens(tables: &[&str], port: u16) -> bool {
    let end = format!(":{port:04X}");
    tables.iter().flat_map(|table| table.lines()).any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let at = fields.next().is_some_and(|own| own.ends_with(&end));
        // 0A is LISTEN.
        at && fields.nth(1) == Some("0A")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_the_kernel_reads_them() {
        assert_eq!(bytes(NAMES), [2, 0, 0, 53, 127, 87, 75, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(mapped_bytes(DOOR)[2..4], [0x0c, 0x38]);
        assert_eq!(mapped_bytes(DOOR)[18..24], [0xff, 0xff, 127, 87, 75, 1]);
    }

    #[test]
    fn a_proxy_of_the_users_own_gives_way() {
        let mut all = vec![("https_proxy".into(), "http://corp:1".into()), ("HOME".into(), "/h".into())];
        put_into(&mut all, "127.0.0.1:9".parse().unwrap());
        let found: Vec<_> = all.iter().filter(|(name, _)| name == "https_proxy").collect();
        assert_eq!(found, [&("https_proxy".into(), "http://127.0.0.1:9".into())]);
        assert!(all.contains(&("HOME".into(), "/h".into())));
    }

    #[test]
    fn only_who_listens_is_found() {
        let table = "  sl  local_address rem_address   st tx_queue\n\
                       0: 0100007F:1F90 00000000:0000 0A 00000000:00000000\n\
                       1: 0100007F:1F91 0100007F:1F90 01 00000000:00000000\n";
        assert!(somebody_listens(&["", table], 8080));
        assert!(!somebody_listens(&[table], 8081));
        assert!(!somebody_listens(&[table], 80));
    }
}
