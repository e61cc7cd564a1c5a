# what: connect by multipath TCP
# expect: blocked
# record: connection_attempted Denied
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
s.connect(('127.0.0.1', PORT))
escaped('connected')
