# what: connect lazily with TCP_FASTOPEN_CONNECT
# expect: blocked
# record: connection_attempted Denied
s = socket.socket()
s.setsockopt(6, 30, 1)
s.connect(('127.0.0.1', PORT))
s.send(b'TOP SECRET')
escaped('sent')
