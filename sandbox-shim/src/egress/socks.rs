//! SOCKS5 (RFC 1928) as far as a proxy without passwords speaks it: CONNECT to a name or an address.

use crate::policy::Destination;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// What is said to the client at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reply {
    /// It is connected.
    Connected,
    /// The policy says no.
    NotAllowed,
    /// The host cannot be reached.
    Unreachable,
    /// Something other than CONNECT.
    NoSuchCommand,
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Hears where a client wants to go; `None` when it wants something else, which has been answered.
///
/// # Errors
/// When it does not speak SOCKS5 or goes away.
pub(crate) async fn hear(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<Option<(Destination, u16)>> {
    let [version, count] = take(stream).await?;
    let mut ways = vec![0; usize::from(count)];
    stream.read_exact(&mut ways).await?;
    if version != 5 || !ways.contains(&0) {
        stream.write_all(&[5, 0xff]).await?;
        return Err(invalid("not SOCKS5 without a password"));
    }
    stream.write_all(&[5, 0]).await?;
    let [version, command, _, kind] = take(stream).await?;
    if version != 5 {
        return Err(invalid("not SOCKS5"));
    }
    let to = match kind {
        1 => Destination::Address(Ipv4Addr::from(take::<4>(stream).await?).into()),
        3 => {
            let [length] = take(stream).await?;
            let mut name = vec![0; usize::from(length)];
            stream.read_exact(&mut name).await?;
            Destination::parse(std::str::from_utf8(&name).map_err(|_| invalid("a name that is no text"))?)
        }
        4 => Destination::Address(crate::policy::plain(Ipv6Addr::from(take::<16>(stream).await?).into())),
        _ => return Err(invalid("an address of no known kind")),
    };
    let port = u16::from_be_bytes(take(stream).await?);
    if command != 1 {
        answer(stream, Reply::NoSuchCommand).await?;
        return Ok(None);
    }
    Ok(Some((to, port)))
}

/// Says what became of it.
///
/// # Errors
/// When the client has gone away.
pub(crate) async fn answer(stream: &mut (impl AsyncWrite + Unpin), reply: Reply) -> io::Result<()> {
    let code = match reply {
        Reply::Connected => 0,
        Reply::NotAllowed => 2,
        Reply::Unreachable => 4,
        Reply::NoSuchCommand => 7,
    };
    stream.write_all(&[5, code, 0, 1, 0, 0, 0, 0, 0, 0]).await
}

async fn take<const N: usize>(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(said: &[u8]) -> (io::Result<Option<(Destination, u16)>>, Vec<u8>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (mut client, mut server) = tokio::io::duplex(1024);
            client.write_all(said).await.unwrap();
            client.shutdown().await.unwrap();
            let heard = hear(&mut server).await;
            drop(server);
            let mut answered = Vec::new();
            client.read_to_end(&mut answered).await.unwrap();
            (heard, answered)
        })
    }

    #[test]
    fn names_and_addresses_are_heard() {
        let (to, answered) = heard(b"\x05\x01\x00\x05\x01\x00\x03\x06A.test\x01\xbb");
        assert_eq!(to.unwrap(), Some((Destination::Name("a.test".into()), 443)));
        assert_eq!(answered, [5, 0]);
        let (to, _) = heard(b"\x05\x02\x02\x00\x05\x01\x00\x01\xc0\x00\x02\x07\x00\x50");
        assert_eq!(to.unwrap(), Some((Destination::parse("192.0.2.7"), 80)));
    }

    #[test]
    fn what_is_not_a_connect_is_answered_and_nonsense_ends() {
        let (to, answered) = heard(b"\x05\x01\x00\x05\x02\x00\x01\xc0\x00\x02\x07\x00\x50");
        assert_eq!((to.unwrap(), answered[2..4].to_vec()), (None, vec![5, 7]));
        let (to, answered) = heard(b"\x05\x01\x02");
        assert!(to.is_err());
        assert_eq!(answered, [5, 0xff]);
        assert!(heard(b"\x04\x01\x00\x50").0.is_err());
    }
}
