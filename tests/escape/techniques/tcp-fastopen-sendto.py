# what: send with MSG_FASTOPEN, which connects
# expect: blocked
# record: call_attempted sendto
s = socket.socket()
s.sendto(b'TOP SECRET', 0x20000000, ('127.0.0.1', PORT))
escaped('sent')
