# what: the same by sendmsg
# expect: blocked
# record: call_attempted sendmsg
s = socket.socket()
s.sendmsg([b'TOP SECRET'], [], 0x20000000, ('127.0.0.1', PORT))
escaped('sent')
