# what: behind the proxy: send a datagram past it, as QUIC does
# expect: blocked
# policy: proxy
# record: connection_attempted Denied
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'TOP SECRET', ('192.0.2.1', 443))
escaped('sent')
