//! Sockets: what is done on a copy of the agent's socket, and passing a descriptor between processes.

use super::{check_int, check_size};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Makes a socket, closed on exec.
///
/// # Errors
/// What the kernel says.
pub(crate) fn socket(domain: i32, kind: i32, protocol: i32) -> io::Result<OwnedFd> {
    // SAFETY: no pointer is passed.
    let fd = check_int(unsafe { libc::socket(domain, kind | libc::SOCK_CLOEXEC, protocol) })?;
    // SAFETY: the kernel just made this descriptor for us and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Gives `socket` an address of its own, a `sockaddr` as bytes.
///
/// # Errors
/// `EADDRINUSE`, `EACCES` for a port below 1024 without the right to it, `EINVAL` when it has one already.
pub(crate) fn bind(socket: BorrowedFd<'_>, address: &[u8]) -> io::Result<()> {
    let len = libc::socklen_t::try_from(address.len()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    // SAFETY: the kernel reads `len` bytes from `address`, which is exactly that long.
    check_int(unsafe { libc::bind(socket.as_raw_fd(), address.as_ptr().cast(), len) }).map(drop)
}

/// Lets others connect to `socket`.
///
/// # Errors
/// `EADDRINUSE`, `EOPNOTSUPP` for a socket that has no connections.
pub(crate) fn listen(socket: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: no pointer is passed.
    check_int(unsafe { libc::listen(socket.as_raw_fd(), 1024) }).map(drop)
}

/// Makes the loopback interface of this process's network work: a new network comes without. Allocates nothing.
///
/// # Errors
/// `EPERM` without `CAP_NET_ADMIN` over the network.
pub(crate) fn loopback_up() -> io::Result<()> {
    let any = socket(libc::AF_INET, libc::SOCK_DGRAM, 0)?;
    // `struct ifreq`: sixteen bytes of name, then the flags.
    let mut request = [0_u8; 40];
    request[..2].copy_from_slice(b"lo");
    let flags = libc::IFF_UP | libc::IFF_RUNNING;
    request[16..18].copy_from_slice(&u16::try_from(flags).unwrap_or(0x41).to_ne_bytes());
    // SAFETY: the kernel reads a `struct ifreq`, which is 40 bytes here and less elsewhere.
    check_int(unsafe { libc::ioctl(any.as_raw_fd(), libc::SIOCSIFFLAGS, request.as_ptr()) }).map(drop)
}

/// Connects `socket` to the address in `address`, a `sockaddr` as bytes. Blocks as the socket does.
///
/// # Errors
/// What the kernel says: `EINPROGRESS` for a socket that does not block.
pub(crate) fn connect(socket: BorrowedFd<'_>, address: &[u8]) -> io::Result<()> {
    let len = libc::socklen_t::try_from(address.len()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    // SAFETY: the kernel reads `len` bytes from `address`, which is exactly that long.
    let result = unsafe { libc::connect(socket.as_raw_fd(), address.as_ptr().cast(), len) };
    check_int(result).map(drop)
}

/// Sends `data` to `address`; to the connected peer when `address` is empty.
///
/// # Errors
/// What the kernel says.
pub(crate) fn send_to(socket: BorrowedFd<'_>, data: &[u8], flags: i32, address: &[u8]) -> io::Result<usize> {
    let len = libc::socklen_t::try_from(address.len()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let pointer = if address.is_empty() { std::ptr::null() } else { address.as_ptr().cast() };
    // SAFETY: the kernel reads `data.len()` and `len` bytes from two slices that are exactly that long; MSG_NOSIGNAL keeps
    // a broken connection from ending the shim.
    let result = unsafe {
        libc::sendto(socket.as_raw_fd(), data.as_ptr().cast(), data.len(), flags | libc::MSG_NOSIGNAL, pointer, len)
    };
    check_size(result)
}

/// An option of a socket that is one `int` at the level `SOL_SOCKET`: `SO_TYPE`, `SO_DOMAIN`, `SO_PROTOCOL`.
///
/// # Errors
/// `ENOTSOCK` for another kind of descriptor.
pub(crate) fn option(socket: BorrowedFd<'_>, name: i32) -> io::Result<i32> {
    let mut value: libc::c_int = 0;
    let mut len = libc::socklen_t::try_from(size_of::<libc::c_int>()).expect("four fits");
    // SAFETY: the kernel writes at most `len` bytes into `value`, which is that long.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            name,
            std::ptr::from_mut(&mut value).cast(),
            std::ptr::from_mut(&mut len),
        )
    };
    check_int(result)?;
    Ok(value)
}

/// The address that `socket` is connected to, as bytes.
///
/// # Errors
/// `ENOTCONN` when it is not connected.
pub(crate) fn peer(socket: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    let mut address = vec![0_u8; size_of::<libc::sockaddr_storage>()];
    let mut len = libc::socklen_t::try_from(address.len()).expect("128 fits");
    // SAFETY: the kernel writes at most `len` bytes into `address`, which is that long.
    let result =
        unsafe { libc::getpeername(socket.as_raw_fd(), address.as_mut_ptr().cast(), std::ptr::from_mut(&mut len)) };
    check_int(result)?;
    address.truncate(usize::try_from(len).unwrap_or(0));
    Ok(address)
}

/// Room for one control message that carries one descriptor, aligned as the kernel wants it.
#[repr(C, align(8))]
struct Control([u8; 24]);

/// Sends `bytes` and a copy of `file` over a local socket.
///
/// # Errors
/// `EPIPE` when the other side is gone.
pub(crate) fn send_descriptor(socket: BorrowedFd<'_>, bytes: &[u8], file: BorrowedFd<'_>) -> io::Result<()> {
    let mut control = Control([0; 24]);
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let head = libc::cmsghdr { cmsg_len: 20, cmsg_level: libc::SOL_SOCKET, cmsg_type: libc::SCM_RIGHTS };
    // SAFETY: `control` is 24 bytes, aligned to eight, and a header takes 16 of them.
    unsafe { control.0.as_mut_ptr().cast::<libc::cmsghdr>().write(head) };
    control.0[16..20].copy_from_slice(&file.as_raw_fd().to_ne_bytes());
    // SAFETY: every field of a message header may be zero.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = std::ptr::from_mut(&mut part);
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = 24;
    // SAFETY: the header points at one part and one control message, all alive until the call returns.
    let result = unsafe { libc::sendmsg(socket.as_raw_fd(), std::ptr::from_ref(&message), libc::MSG_NOSIGNAL) };
    check_size(result).map(drop)
}

/// Receives bytes and, if one came along, a descriptor, which is closed on exec.
///
/// # Errors
/// What the kernel says.
pub(crate) fn receive_descriptor(socket: BorrowedFd<'_>, bytes: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut control = Control([0; 24]);
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: every field of a message header may be zero.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = std::ptr::from_mut(&mut part);
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = 24;
    // SAFETY: the header points at one part and at 24 bytes of room, all alive until the call returns.
    let result = unsafe { libc::recvmsg(socket.as_raw_fd(), std::ptr::from_mut(&mut message), libc::MSG_CMSG_CLOEXEC) };
    let received = check_size(result)?;
    if message.msg_controllen < 20 {
        return Ok((received, None));
    }
    // SAFETY: `control` is 24 bytes, aligned to eight, and the kernel wrote a header into the first 16 of them.
    let head = unsafe { control.0.as_ptr().cast::<libc::cmsghdr>().read() };
    if head.cmsg_level != libc::SOL_SOCKET || head.cmsg_type != libc::SCM_RIGHTS {
        return Ok((received, None));
    }
    let fd = i32::from_ne_bytes([control.0[16], control.0[17], control.0[18], control.0[19]]);
    // SAFETY: the kernel just made this descriptor for us and nobody else knows it.
    Ok((received, Some(unsafe { OwnedFd::from_raw_fd(fd) })))
}

/// The address that `socket` has itself, as bytes.
///
/// # Errors
/// `EBADF`, `ENOTSOCK`.
pub(crate) fn own(socket: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    let mut address = vec![0_u8; size_of::<libc::sockaddr_storage>()];
    let mut len = libc::socklen_t::try_from(address.len()).expect("128 fits");
    // SAFETY: the kernel writes at most `len` bytes into `address`, which is that long.
    let result =
        unsafe { libc::getsockname(socket.as_raw_fd(), address.as_mut_ptr().cast(), std::ptr::from_mut(&mut len)) };
    check_int(result)?;
    address.truncate(usize::try_from(len).unwrap_or(0));
    Ok(address)
}
