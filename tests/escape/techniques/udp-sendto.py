# what: send a datagram
# expect: blocked
# record: connection_attempted Denied
# bare: works
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'TOP SECRET', ('127.0.0.1', UDP))
escaped('sent')
