# what: send a datagram by sendmsg
# expect: blocked
# record: connection_attempted Denied
# bare: works
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendmsg([b'TOP SECRET'], [], 0, ('127.0.0.1', UDP))
escaped('sent')
