# what: connect without waiting
# expect: blocked
# record: connection_attempted Denied
# bare: works
s = socket.socket()
s.setblocking(False)
error = s.connect_ex(('127.0.0.1', PORT))
if error not in (0, errno.EINPROGRESS): raise OSError(error, 'connect')
escaped('connecting')
